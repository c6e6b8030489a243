"""An attack on the whole hidden loop: does everything that was released tell more than the ledger was charged for?

Two worlds: in one a patient takes part, in the other the patient's content is nothing; the slot stays in every public
number. In each, a study runs many times: a start, three hidden queries, three teaches, each depending on what was released
before. The attacker knows the code, the charge and the patient, and looks at all releases. Every threshold on
a statistic gives a lower bound of μ from exact bounds on both error rates (Clopper and Pearson, shared among thresholds); the
largest is wrong with probability at most 1e-6. For the code it stays below the charge; planted faults push it above, with the
power that `test_the_attack_is_honest_and_sharp` computes.

Canaries of the start have a class each, in which nobody else ever is, and noise is independent among classes: a study with
25 of them is 25 independent runs. A canary of the pool is alone.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import beta, binom, norm

from skdpal import DPPrototypeClassifier, PrivateActiveLearner, PrivateQuery
from skdpal.privacy import PrivacyBudget, PrivacyLedger, epsilon_of, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.identities import sum_by_patient
from skdpal.privacy.mechanisms import GaussianSum, sums
from skdpal.privacy.randomness import perturb, simulation
from tests.statistical.sharpness import MISSED, missed

SIGMA = 0.5
MU = 1 / SIGMA  # the charge
BUDGET = PrivacyBudget(epsilon_of([events.gaussian(SIGMA)], 1e-5) * (1 + 1e-6))  # one release, and no more
WIDTH, ROUNDS, WANTED = 4, 3, 2
N_POOL = 4
MANY = 25  # canaries in a start

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(7 + MANY, WIDTH))
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
LABELS = np.array([2, 0, 1, 0, 1, 0, 1, *range(3, 3 + MANY)])
IDS = np.array([f"patient {number}" for number in range(7 + MANY)])
CANARY, CANARIES = 0, tuple(range(7, 7 + MANY))  # of the pool, in class 2; of the start, in classes of their own
ENTRIES = np.zeros((7 + MANY, 3 + MANY, WIDTH + 1))  # what each patient contributes, of length 1
ENTRIES[np.arange(7 + MANY), LABELS] = np.column_stack([ROWS, np.ones(7 + MANY)]) / np.sqrt(2)
QUEUES = (CANARY, 3, 4, 5), (3, 4, 5, 6)  # the pool with the canary, and without


def along(released, entry):
    """Projections on a contribution, in units of the charged noise: a patient shifts one of them by μ² = 1 / SIGMA²."""
    return np.tensordot(released, entry[: released.shape[2]], axes=entry.ndim) / SIGMA**2


def attack_start(released):
    """Each canary of the start: its release alone, and all releases together."""
    each = np.concatenate([along(released, ENTRIES[canary]) for canary in CANARIES])
    return np.column_stack([each[:, 0], each.sum(axis=1) / np.sqrt(1 + ROUNDS)])


def attack_pool(released):
    """The canary is in the pool: log-likelihood ratios for one of the rounds, and for a place in a queue."""
    entries = ENTRIES[:, : released.shape[2]]
    any_round = logsumexp(along(released[:, 1:], entries[CANARY]) - MU**2 / 2, axis=1, b=1 / ROUNDS)
    with_canary, without = (entries[list(queue[:ROUNDS])] for queue in QUEUES)
    in_turn = along(released[:, 1:] - (with_canary + without) / 2, with_canary - without)
    return np.column_stack([any_round, in_turn])


@dataclass(frozen=True)
class Setting:
    """Who is in the start and in the pool, with the canaries and without; `expected` patients in the start are public."""

    present: tuple
    absent: tuple
    n_classes: int
    expected: int
    statistics: Callable
    thresholds: np.ndarray
    canaries: int


OTHERS, WAITING = (1, 2), (3, 4, 5, 6)
EXPECTED = 8  # for each three who come
SETTINGS = {
    "start": Setting(
        ((*OTHERS, *CANARIES), WAITING),
        (OTHERS, WAITING),
        3 + MANY,
        (2 + MANY) * EXPECTED // 3,
        attack_start,
        MU**2 * np.array([1 / 2, 1, 4 / 3]),  # half-way for half the noise, four trainings, the normaliser
        MANY,
    ),
    "pool": Setting(
        (OTHERS, QUEUES[0]), (OTHERS, QUEUES[1][:3]), 3, EXPECTED, attack_pool, np.array([-1.0, 0.0, 1.0]), 1
    ),
}


def study(setting, start, pool):
    """Everything that one study releases: an array of shape (releases, classes, features + 1)."""
    ledger = PrivacyLedger(BUDGET)
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(SIGMA, classes=range(setting.n_classes)),
        PrivateQuery(n_pool=N_POOL),
        ROWS[start],
        LABELS[start],
        ledger=ledger,
        record_ids=IDS[start],
        expected_records=setting.expected,
    )
    for _ in range(ROUNDS):
        chosen, rows = learner.query(ROWS[pool], WANTED, record_ids=IDS[pool])
        learner.teach(rows, LABELS[pool[chosen]], record_ids=IDS[pool[chosen]])
    assert len(ledger.receipts()) == 1 + ROUNDS
    assert ledger.spent() <= BUDGET.epsilon
    return np.array([np.column_stack([one.sums, one.counts]) for one in learner.estimator.releases_])


def upper(errors, runs, tail):
    """Clopper and Pearson's upper bound of an error rate."""
    return np.where(errors < runs, beta.ppf(1 - tail, errors + 1, np.maximum(runs - errors, 1)), 1.0)


def share(false_alarm):
    """Share of one error rate, at one of three thresholds, of one of two statistics."""
    return false_alarm / (2 * 3 * 2)


def mu_bound(where, runs, false_alarm):
    """The largest lower bound of μ that a statistic and a threshold prove, for canaries in the start or one in the pool."""
    setting = SETTINGS[where]
    assert runs % setting.canaries == 0
    statistics = []
    for seed, (start, pool) in enumerate((setting.present, setting.absent)):
        with simulation(seed):
            released = [study(setting, np.array(start), np.array(pool)) for _ in range(runs // setting.canaries)]
        statistics.append(setting.statistics(np.array(released)))
    assert [len(one) for one in statistics] == [runs, runs]
    proven = [
        norm.isf(upper((statistics[1] > threshold).sum(axis=0), runs, share(false_alarm)))
        - norm.ppf(upper((statistics[0] <= threshold).sum(axis=0), runs, share(false_alarm)))
        for threshold in setting.thresholds
    ]
    return np.max(proven)


def half_the_noise(patch):
    patch.setattr(sums, "perturb", lambda values, scale: perturb(values, scale / 2))


def retraining_on_everybody(patch):
    """Every release covers all cohorts so far, each charged as if it covered its own."""
    run, cohorts = GaussianSum.run, []

    def cumulative(mechanism, contributions, ids):
        if IDS[1] in ids:  # a start
            cohorts.clear()
        cohorts.append((contributions, list(ids)))
        return run(mechanism, np.vstack([rows for rows, _ in cohorts]), sum((names for _, names in cohorts), []))

    patch.setattr(GaussianSum, "run", cumulative)


def the_realised_count_as_normaliser(patch):
    """The mean over whoever came, with noise for those who were expected."""

    def mean(mechanism, contributions, ids):
        patients = sum_by_patient(contributions, ids)
        expected = SETTINGS["start"].expected
        return perturb(patients.sum(axis=0) * expected / max(len(patients), 1), mechanism.noise_multiplier)

    patch.setattr(GaussianSum, "run", mean)


def one_a_round_in_turn(patch):
    """The pathologist does one case a round; whoever waits moves everybody behind them."""

    def first(query, learner, X_pool, n_instances=3, *, record_ids=None):
        query.ledger = learner.ledger
        waiting = [at for at, leaf in enumerate(learner.ledger.accounts_of(record_ids)) if leaf == POOL]
        return np.array(waiting[:1], dtype=int)

    patch.setattr(PrivateQuery, "__call__", first)


HONEST_RUNS, FAULTY_RUNS = 400, 400
LEAST = 0.3  # of the charge; proven by the attack on faultless code, or it would not work


def test_a_study_tells_no_more_than_its_charge(false_alarm):
    bound = mu_bound("start", HONEST_RUNS, false_alarm)
    assert LEAST * MU < bound <= MU


@pytest.mark.parametrize("fault", [half_the_noise, retraining_on_everybody, the_realised_count_as_normaliser])
def test_a_fault_tells_more_than_was_charged(monkeypatch, fault, false_alarm):
    fault(monkeypatch)
    assert mu_bound("start", FAULTY_RUNS, false_alarm) > MU


@pytest.mark.slow
def test_a_patient_whom_the_loop_chooses_is_told_no_more_than_the_charge(false_alarm):
    assert mu_bound("pool", 600, false_alarm) <= MU


@pytest.mark.slow
def test_a_queue_tells_more_than_was_charged(monkeypatch, false_alarm):
    """Each patient is accepted once and trained on once, and yet the canary moves every release."""
    one_a_round_in_turn(monkeypatch)
    assert mu_bound("pool", 600, false_alarm) > MU


def test_canaries_of_the_start_are_runs_of_their_own():
    """No entry of a release holds two of them, or one and a patient of another kind."""
    for canary in CANARIES:
        others = [number for number in range(len(IDS)) if number != canary]
        assert not (ENTRIES[canary] * ENTRIES[others]).any()


def test_the_attack_is_honest_and_sharp(false_alarm):
    """For Gaussian statistics the chance of a wrong bound, and of a missed fault, can be summed exactly."""

    def exceeds(runs, alarm, miss):
        """How often one threshold with these error rates proves more than the charge."""
        errors = np.arange(runs + 1)
        proven = norm.isf(upper(errors, runs, share(false_alarm)))
        chance = np.outer(binom.pmf(errors, runs, alarm), binom.pmf(errors, runs, miss))
        return chance[proven[:, None] + proven > MU].sum()

    def fails(runs, *rates, level=MU):
        return missed(rates, runs, mu=level, confidence=1 - 2 * share(false_alarm))

    halfway, middle, last = SETTINGS["start"].thresholds / MU
    for runs in {HONEST_RUNS, FAULTY_RUNS}:
        honest = [exceeds(runs, norm.sf(at), norm.cdf(at - MU)) for at in (halfway, middle, last)]
        assert 2 * sum(honest) <= false_alarm
    assert fails(HONEST_RUNS, norm.sf(halfway), norm.cdf(halfway - MU), level=LEAST * MU) <= false_alarm
    assert fails(FAULTY_RUNS, norm.sf(halfway / 0.5), norm.cdf((halfway - MU) / 0.5)) <= MISSED
    assert fails(FAULTY_RUNS, norm.sf(middle), norm.cdf(middle - MU * np.sqrt(1 + ROUNDS))) <= MISSED
    assert fails(FAULTY_RUNS, norm.sf(last), norm.cdf(last - MU * EXPECTED / 3)) <= MISSED
    moved = ENTRIES[list(QUEUES[0][:ROUNDS])] - ENTRIES[list(QUEUES[1][:ROUNDS])]
    error = norm.sf(np.linalg.norm(moved) * MU / 2)  # of each kind, half-way
    assert fails(600, error, error) <= MISSED
