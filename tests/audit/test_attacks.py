"""Attacks on the mechanism that releases every sum, with the noise of production.

Zero-out: the patient's rows are there, or are zeros in the same slots. Verdicts on faultless code are wrong with probability
1e-6 at most; so are the others, which `test_the_attacks_are_sharp_enough` sums exactly.
"""

import numpy as np
import pytest
from scipy.stats import norm

from skdpal.audit import attack, likelihood_ratio, power, repeated
from skdpal.privacy import epsilon_of, events
from skdpal.privacy.identities import sum_by_patient
from skdpal.privacy.mechanisms import GaussianSum
from skdpal.privacy.mechanisms import sums as mechanism_of_sums
from skdpal.privacy.randomness import perturb
from tests.statistical.sharpness import MISSED, missed

SURE = 1 - 1e-6
DELTA = 1e-5
SIGMA = 1.0
MU = 1 / SIGMA  # the price
RUNS = 600  # that judge, in each world
EPSILON = epsilon_of([events.gaussian(SIGMA)], DELTA)  # the price, in the other currency
OTHERS = np.array([[0.6, 0.8, 0.0], [0.0, -1.0, 0.0], [0.3, 0.0, 0.4]])
CANARY = np.array([2 / 3, -1 / 3, 2 / 3])  # of length 1
ONE_ROW, LONG, FOUR_ROWS = CANARY[None], 3 * CANARY[None], np.tile(CANARY, (4, 1))


def sums(mechanism, rows):
    """A world: one released sum a run, of the canary's rows, or zeros, and those of others.

    Without clipping, the statistic is as likely to err either way at 0.
    """
    names = ["a", "b", "c", *["canary"] * len(rows)]
    contributions = {there: np.vstack([OTHERS, rows * there]) for there in (True, False)}
    statistic = likelihood_ratio(contributions[True].sum(axis=0), contributions[False].sum(axis=0), SIGMA)
    return repeated(lambda there: mechanism.run(contributions[there], names), statistic)


def counts(scale):
    """A world of many counts at once, each with noise of its own."""
    return lambda there, runs: perturb(np.full(runs, float(there)), scale)


class NoClipping(GaussianSum):
    """The sum as it is."""

    def run(self, contributions, ids):
        return perturb(sum_by_patient(contributions, ids).sum(axis=0), self.noise_multiplier)


class ClippedByRow(GaussianSum):
    """Each sample of length 1, however many a patient has."""

    def run(self, contributions, ids):
        return super().run(contributions, [str(row) for row in range(len(ids))])


@pytest.mark.parametrize("rows", [ONE_ROW, LONG, FOUR_ROWS])
def test_a_sum_tells_no_more_than_its_price(rows):
    found = attack(sums(GaussianSum(SIGMA), rows), RUNS, confidence=SURE)
    assert not found.beats(mu=MU), str(found)
    assert not found.beats(epsilon=EPSILON, delta=DELTA), str(found)


def test_many_counts_tell_nearly_their_price_and_no_more():
    """At least 0.7 of μ = 1, or the attack would not work: with probability > 1 - 1e-6."""
    found = attack(counts(SIGMA), 10_000, threshold=0.5, confidence=SURE)
    assert found.beats(mu=0.7 * MU), str(found)
    assert not found.beats(mu=MU), str(found)


def test_counts_tell_no_more_where_one_kind_of_error_is_rare():
    found = attack(counts(SIGMA), 5_000, delta=DELTA, confidence=SURE)
    assert not found.beats(epsilon=EPSILON, delta=DELTA), str(found)
    assert not found.beats(mu=MU), str(found)


def test_half_the_noise_is_found(monkeypatch):
    """μ = 2 at the price of 1."""
    monkeypatch.setattr(mechanism_of_sums, "perturb", lambda values, scale: perturb(values, scale / 2))
    found = attack(sums(GaussianSum(SIGMA), ONE_ROW), RUNS, threshold=0.0, confidence=SURE)
    assert found.beats(mu=MU), str(found)


@pytest.mark.parametrize(
    ("mechanism", "rows"), [(NoClipping, LONG), (NoClipping, FOUR_ROWS), (ClippedByRow, FOUR_ROWS)]
)
def test_a_patient_who_is_not_clipped_is_found(mechanism, rows):
    """μ = 3 or 4 at the price of 1."""
    found = attack(sums(mechanism(SIGMA), rows), RUNS, threshold=0.0, confidence=SURE)
    assert found.beats(mu=MU), str(found)


def test_no_clipping_is_found_at_a_threshold_of_the_attackers_choice():
    """μ = 4 at the price of 1; the choice may be 1.5 off half-way."""
    assert attack(sums(NoClipping(SIGMA), FOUR_ROWS), RUNS, confidence=SURE).beats(mu=MU)


def test_a_tenth_less_noise_is_found():
    """μ = 1/0.9 at the price of 1."""
    assert attack(counts(0.9 * SIGMA), 50_000, threshold=0.5, confidence=SURE).beats(mu=MU)


def test_a_quarter_of_the_noise_is_found_by_epsilon():
    """μ = 4 at the price of 1."""
    found = attack(counts(SIGMA / 4), 5_000, threshold=3.5 * SIGMA / 4, confidence=SURE)
    assert found.beats(epsilon=EPSILON, delta=DELTA), str(found)


def test_the_attacks_are_sharp_enough():
    assert power(1.0, 0.7, 10_000, confidence=SURE) > 1 - MISSED

    def half_way(mu, runs, off=0.0):
        return missed((norm.sf(mu / 2 + off), norm.sf(mu / 2 - off)), runs, mu=MU)

    assert half_way(1 / 0.9, 50_000) < MISSED
    assert all(half_way(mu, RUNS) < MISSED for mu in (2.0, 3.0, 4.0))
    assert all(half_way(4.0, RUNS, off) < MISSED for off in (-1.5, 1.5))
    assert missed((norm.sf(3.5), norm.cdf(3.5 - 4)), 5_000, epsilon=EPSILON, delta=DELTA) < MISSED
