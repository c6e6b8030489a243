"""An attack on the releases of a start and two rounds: worlds with a patient, and with the patient blanked out.

The attacker knows everything but one patient, and projects every released number on that patient's contribution. At a threshold
fixed beforehand, Clopper-Pearson bounds at 5e-7 on both error rates give a lower bound of μ, which must stay below the charge
(false-alarm rate 1e-6). With 2000 runs a world and a charge of μ = 1, half the noise (μ = 2) and a patient who is
taught in two rounds but charged once (μ = √2) are caught with a probability above 0.999.
"""

import numpy as np
from scipy.stats import beta, norm

from skdpal import DPPrototypeClassifier
from skdpal.privacy.randomness import simulation

RUNS, ALARM, SIGMA = 2000, 1e-6, 1.0
OTHERS = np.array([[1.0, 0, 0], [0, 0.9, 0], [0, 0, 0.8]])
CANARY = np.array([[0.6, 0.8, 0.0]])
DIRECTION = np.append(CANARY[0], 1.0) / np.sqrt(2)


def studies(present, sigma, rounds_with_canary, seed):
    """Projections of the releases of many studies on the canary's contribution."""
    results = []
    with simulation(seed):
        for _ in range(RUNS):
            model = DPPrototypeClassifier(sigma, classes=["a", "b"]).fit(OTHERS[:1], ["b"])
            for number in (1, 2):
                rows, labels = OTHERS[[number]], ["b"]
                if present and number <= rounds_with_canary:
                    rows, labels = np.vstack([rows, CANARY]), ["b", "a"]
                model.partial_fit(rows, labels, expected_records=1)
            released = model.releases_[1 : 1 + rounds_with_canary]
            results.append(sum(np.append(one.sums[0], one.counts[0]) @ DIRECTION for one in released))
    return np.array(results)


def mu_bound(sigma=SIGMA, rounds_with_canary=1):
    """A lower bound of μ that holds with probability 1 - 1e-6."""
    inside = studies(True, sigma, rounds_with_canary, seed=1)
    outside = studies(False, sigma, rounds_with_canary, seed=2)
    threshold = rounds_with_canary / 2
    alarms, misses = (outside > threshold).sum(), (inside <= threshold).sum()
    alarm_rate, miss_rate = (beta.ppf(1 - ALARM / 2, count + 1, RUNS - count) for count in (alarms, misses))
    return -norm.ppf(alarm_rate) - norm.ppf(miss_rate)


def test_the_releases_reveal_no_more_than_their_charge():
    assert 0.5 < mu_bound() <= 1 / SIGMA  # near enough to show that the attack works


def test_half_the_noise_is_caught():
    assert mu_bound(sigma=SIGMA / 2) > 1 / SIGMA


def test_a_patient_taught_twice_but_charged_once_is_caught():
    assert mu_bound(rounds_with_canary=2) > 1 / SIGMA
