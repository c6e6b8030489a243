"""Attacks on warm-started studies: does what leaves tell more than the ledger was charged for?

Two worlds: a patient takes part, or the slot is empty; every public number stays. A study is the whole of `WarmStart`: shift of everybody at the
root, start, a query whose scorer the switch names, a round. The attacker knows code, charge, and everybody else's data.

* The patient is in the start: the shift's release and the start's together are Gaussian, so the exact log-likelihood ratio is the
  statistic, and √(μ_shift² + μ_round²) is attained. Faults: the shift is charged to nobody; to the pool alone, after the split; it is measured again
  and again for one charge; the embedding is learnt from patients.
* The patient is in the pool, and the others there are alike: whoever moves the switch moves the whole round. Faults: the rule looks at the
  pool; at exact accuracies.

Verdicts on faultless code are wrong with probability 1e-6 at most; so are the others (`test_the_attacks_are_sharp`).
"""

from functools import cache

import numpy as np
import pytest
from scipy.stats import binom, norm

from skdpal import PrivacyBudget, PrivacyLedger, PrivateActiveLearner, PrivateQuery, WarmStart
from skdpal.audit import attack
from skdpal.cohort import PublicSource, SwitchRule
from skdpal.cohort.warm_start import warm_start
from skdpal.estimators import DPShift, PublicEncoder
from skdpal.privacy import calibrate, epsilon_of, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.randomness import simulation
from skdpal.query.utilities import PerPatient
from tests.statistical.sharpness import MISSED, missed

SURE = 1 - 1e-6
LEAST, QUICK_LEAST = 0.05, 0.4  # of the charge; proven by the attack on faultless code
MU = 2.5  # what a patient pays in all
MU_SHIFT = 0.95 * MU
BUDGET = PrivacyBudget(epsilon_of([events.gaussian(1 / MU)], 1e-5) * (1 + 1e-9))
CLASSES = [0, 1, 2]
WIDTH = 4

RNG = np.random.default_rng(0)
SOURCE = PublicSource.unlabelled(RNG.normal(size=(30, WIDTH)), n_components=WIDTH, sample_scaling=None)


# ---- in the start: shift and first release -----------------------------------------------------------------------

START, WAITING = range(4), range(4, 10)  # the canary is first
GENES, LABELS = RNG.normal(size=(10, WIDTH)), np.array([2, 0, 1, 0, 1, 0, 1, 0, 1, 0])
IDS = np.array([f"patient {number}" for number in range(10)])
EXPECTED = {"everybody": 10, "start": 4}  # public


def entries(rows, labels):
    """What patients contribute to a release: shape (n, classes, features + 1), each of length 1."""
    table = np.zeros((len(rows), len(CLASSES), WIDTH + 1))
    table[np.arange(len(rows)), labels] = np.column_stack([rows, np.ones(len(rows))]) / np.sqrt(2)
    return table


def evidence(released, others, own, noise):
    """Log-likelihood ratio of a release that holds others, and perhaps the patient's contribution of length 1."""
    return float(np.sum((released - others) * own) - np.sum(own * own) / 2) / noise**2


def statistic(warm, first):
    """The log-likelihood ratio of the shift's and the start's releases: whether the canary is in both."""
    embedded, table = SOURCE.encoder.transform(GENES), entries(warm.transform(GENES[START]), LABELS[START])
    released = np.column_stack([first.sums, first.counts])
    of_shift = evidence(warm.shift.release_, embedded[1:].sum(axis=0), embedded[0], warm.shift.noise_multiplier)
    return of_shift + evidence(released, table[1:].sum(axis=0), table[0], first.noise_multiplier)


def study(present, rounds):
    """A whole study with its books."""
    everybody = np.arange(10)[0 if present else 1 :]
    start = everybody[everybody < len(START)]
    ledger = PrivacyLedger(BUDGET)
    warm = WarmStart(SOURCE, BUDGET, CLASSES, shift_noise=1 / MU_SHIFT)
    warm.correct_shift(
        GENES[everybody], ledger=ledger, expected_records=EXPECTED["everybody"], record_ids=IDS[everybody]
    )
    learner = PrivateActiveLearner(
        warm.estimator(),
        warm.query(n_pool=6),
        warm.transform(GENES[start]),
        LABELS[start],
        ledger,
        IDS[start],
        expected_records=EXPECTED["start"],
    )
    waiting = list(WAITING)
    for _ in range(rounds):
        chosen, rows = learner.query(warm.transform(GENES[waiting]), 2, record_ids=IDS[waiting])
        learner.teach(rows, LABELS[waiting][chosen], record_ids=IDS[waiting][chosen])
    assert ledger.spent() <= BUDGET.epsilon * (1 + 1e-9)
    return statistic(warm, learner.estimator.releases_[0])


def first_releases(present, shift_noise=1 / MU_SHIFT):
    """The same up to the start, without the books, which take most of the time."""
    everybody = np.arange(10)[0 if present else 1 :]
    start = everybody[everybody < len(START)]
    warm = WarmStart(SOURCE, BUDGET, CLASSES, shift_noise=shift_noise)
    warm.correct_shift(GENES[everybody], ledger=None, expected_records=10, record_ids=IDS[everybody])
    model = warm.estimator().fit(warm.transform(GENES[start]), LABELS[start], expected_records=4)
    return statistic(warm, model.releases_[0])


def world_of(run):
    def world(present, runs):
        with simulation(seed=int(present)):
            return [run(present) for _ in range(runs)]

    return world


START_RUNS, QUICK_RUNS, AGAIN_RUNS, LATE_RUNS, FREE_RUNS, TURNED_RUNS = 150, 500, 200, 1500, 250, 140
FITS, FREE_NOISE = 20, 1 / (2 * MU)
SLOW = pytest.mark.slow


def test_the_budget_is_divided_exactly():
    warm = WarmStart(SOURCE, BUDGET, CLASSES, shift_noise=1 / MU_SHIFT)
    assert np.hypot(MU_SHIFT, 1 / warm.noise_multiplier) == pytest.approx(MU, rel=1e-6)


def test_shift_and_start_tell_no_more_than_they_were_charged_together():
    found = attack(world_of(first_releases), QUICK_RUNS, threshold=0.0, confidence=SURE)
    assert QUICK_LEAST * MU < found.mu <= MU, str(found)


@SLOW
def test_a_whole_study_tells_no_more():
    found = attack(world_of(lambda present: study(present, rounds=2)), START_RUNS, threshold=0.0, confidence=SURE)
    assert LEAST * MU < found.mu <= MU, str(found)


def everything_for_training(patch):
    """As if the shift cost nothing."""
    patch.setattr(warm_start, "_noise_left", lambda budget, shift_noise: calibrate(events.gaussian, budget))


def test_a_shift_that_nobody_pays_for_is_found(monkeypatch):
    everything_for_training(monkeypatch)
    world = world_of(lambda present: first_releases(present, FREE_NOISE))
    found = attack(world, FREE_RUNS, threshold=0.0, confidence=SURE)
    assert found.beats(mu=MU), str(found)


@SLOW
def test_a_shift_charged_after_the_split_is_found(monkeypatch):
    """The pool pays for it, which the start has left; the books look fine."""
    everything_for_training(monkeypatch)
    ledger = PrivacyLedger(BUDGET)
    ledger.split(POOL, into="cohort/start", members=list(IDS[list(START)])).charge(
        events.gaussian(calibrate(events.gaussian, BUDGET)), "model"
    )
    ledger.charge(events.gaussian(1 / MU_SHIFT), "shift of the whole cohort", POOL)
    assert ledger.spent() <= BUDGET.epsilon
    found = attack(world_of(first_releases), LATE_RUNS, threshold=0.0, confidence=SURE)
    assert found.beats(mu=MU), str(found)


def test_the_ledger_refuses_to_let_the_pool_pay_for_the_start(monkeypatch):
    def late(ledger, source):
        ledger.split(POOL, into="cohort/start", members=list(IDS[list(START)]))
        return ledger.within(POOL)

    monkeypatch.setattr(warm_start, "_asking", late)
    monkeypatch.setattr(DPShift, "_check_ledger", lambda *arguments: None)  # which refuses it even earlier
    with simulation(0), pytest.raises(ValueError, match="patients of account 'cohort/pool' only"):
        study(True, rounds=0)


def test_a_shift_measured_again_for_one_charge_is_found(monkeypatch):
    """The mean of several releases has less noise than was charged."""
    fit = DPShift.fit

    def again(shift, X, y=None, **options):
        released = [fit(shift, X, y, **options).release_ for _ in range(FITS)]
        shift.release_ = np.mean(released, axis=0)
        return shift

    monkeypatch.setattr(DPShift, "fit", again)
    found = attack(world_of(first_releases), AGAIN_RUNS, threshold=0.0, confidence=SURE)
    assert found.beats(mu=MU), str(found)


OUTLIER = np.vstack([[60.0, 0.0, 0.0, 0.0], GENES[1:] / 5])


@cache
def own_encoder(present):
    return PublicEncoder(n_components=WIDTH).fit(OUTLIER[0 if present else 1 :])


@cache
def embedded_sum(present):
    return own_encoder(present).transform(OUTLIER[0 if present else 1 :]).sum(axis=0)


def shift_in_a_private_embedding(present):
    """The canary turns the embedding of everybody; the shift's release shows it."""
    source = PublicSource("unlabelled", own_encoder(present), None, None, np.zeros(WIDTH))
    warm = WarmStart(source, BUDGET, CLASSES, shift_noise=1 / MU_SHIFT)
    everybody = slice(0 if present else 1, None)
    warm.correct_shift(OUTLIER[everybody], ledger=None, expected_records=10, record_ids=IDS[everybody])
    there, gone = embedded_sum(True), embedded_sum(False)
    return float((warm.shift.release_ - (there + gone) / 2) @ (there - gone))


def test_an_embedding_learnt_from_patients_is_found():
    found = attack(world_of(shift_in_a_private_embedding), TURNED_RUNS, threshold=0.0, confidence=SURE)
    assert found.beats(mu=MU), str(found)


# ---- in the pool: the switch ------------------------------------------------------------------------------------------

POOL_MU = 1.0
POOL_BUDGET = PrivacyBudget(epsilon_of([events.gaussian(1 / POOL_MU)], 1e-5) * (1 + 1e-9))
TWINS, TUTORS, POOL_RUNS = 12, 20, 80
TYPICAL, SHY, ODD = np.eye(WIDTH)[0], np.eye(WIDTH)[1], -np.eye(WIDTH)[0]
TAUGHT, TAUGHT_LABELS = (
    np.vstack([np.tile(TYPICAL, (TUTORS, 1)), np.tile(SHY, (2, 1))]),
    np.array([0] * TUTORS + [1] * 2),
)
REFERENCE = np.vstack([TYPICAL, SHY, SHY, SHY])
EAGER = PerPatient(
    lambda model, X: float(X[0, 0] > 0.9), name="typical patients"
)  # all of them, or nobody, pass a threshold
ONE_TWIN = entries(TYPICAL[None], np.array([0]))[0]


class OfThePool(SwitchRule):
    """A rule that looks at the patients who wait."""

    def choose(self, released, public=None):
        return released if (self.reference @ TYPICAL).min() > 0 else None


class OfExactAccuracy(SwitchRule):
    """A rule that looks at how well the released model does on patients; all but the canary are of class 0."""

    def choose(self, released, public=None):
        right = released.predict(self.reference) == np.array([2] * (len(self.reference) - TWINS) + [0] * TWINS)
        return released if right.all() else None


def world_of_pool(canary, rule):
    """Twelve patients of the pool are alike. If the released model looks at them all are accepted; by coins, about one."""

    def run(present):
        waiting = np.vstack([np.array(canary)[None], np.tile(TYPICAL, (TWINS, 1))])[0 if present else 1 :]
        ids = [f"waiting {number}" for number in range(1 + TWINS)][0 if present else 1 :]
        ledger = PrivacyLedger(POOL_BUDGET)
        query = PrivateQuery(EAGER, "hidden", REFERENCE, 1 + TWINS, acceptance="threshold", scorer=rule(waiting))
        learner = PrivateActiveLearner(
            WarmStart(SOURCE, POOL_BUDGET, CLASSES).estimator(),
            query,
            TAUGHT,
            TAUGHT_LABELS,
            ledger,
            [f"start {number}" for number in range(len(TAUGHT))],
        )
        chosen, rows = learner.query(waiting, 1, record_ids=ids)
        learner.teach(
            rows, [2 if ids[place] == "waiting 0" else 0 for place in chosen], record_ids=[ids[at] for at in chosen]
        )
        assert ledger.spent() <= POOL_BUDGET.epsilon * (1 + 1e-9)
        last = learner.estimator.releases_[-1]
        accepted = float(np.sum(np.column_stack([last.sums, last.counts]) * ONE_TWIN))
        return TWINS / 2 - accepted  # the canary's presence makes the rules below fall back to coins

    return world_of(run)


CANARIES = {OfThePool: ODD, OfExactAccuracy: TYPICAL}


@pytest.mark.parametrize("rule", [OfThePool, pytest.param(OfExactAccuracy, marks=SLOW)])
def test_a_rule_that_looks_at_patients_is_found(rule):
    found = attack(
        world_of_pool(CANARIES[rule], lambda rows: rule(reference=rows)), POOL_RUNS, threshold=0.0, confidence=SURE
    )
    assert found.beats(mu=POOL_MU), str(found)


@SLOW
@pytest.mark.parametrize(("canary", "confidence"), [(ODD, 0.0), (TYPICAL, 1e9)], ids=["released", "coins"])
def test_the_switch_tells_no_more_than_was_charged(canary, confidence):
    rule = SwitchRule(confidence, REFERENCE)
    found = attack(world_of_pool(canary, lambda rows: rule), POOL_RUNS, threshold=0.0, confidence=SURE)
    assert found.mu <= POOL_MU, str(found)


# ---- how sharp --------------------------------------------------------------------------------------------------------


def test_the_attacks_are_sharp():
    def proves(error, runs, mu=MU):
        return missed((error, error), runs, mu=mu) < MISSED

    assert proves(norm.sf(MU / 2), START_RUNS, LEAST * MU)
    assert proves(norm.sf(MU / 2), QUICK_RUNS, QUICK_LEAST * MU)
    assert proves(norm.sf(np.hypot(1 / FREE_NOISE, MU) / 2), FREE_RUNS)
    assert proves(norm.sf(np.hypot(MU_SHIFT, MU) / 2), LATE_RUNS)
    # the statistic weighs the shift as if it had been measured once: its mean is that of one, its noise of several
    training = np.sqrt(MU**2 - MU_SHIFT**2)
    spread = np.hypot(MU_SHIFT / np.sqrt(FITS), training)
    assert proves(norm.sf(MU**2 / 2 / spread), AGAIN_RUNS)
    moved = np.linalg.norm(embedded_sum(True) - embedded_sum(False)) * MU_SHIFT
    assert proves(norm.sf(moved / 2), TURNED_RUNS)
    # all twins or a few by coins; exact accuracy errs in one run of a hundred at most, if the noise hides the tutors' class
    few = sum(
        binom.pmf(some, TWINS, 1 / (1 + TWINS)) * norm.sf((TWINS / 2 - some) * POOL_MU) for some in range(TWINS + 1)
    )
    assert proves(max(few, norm.sf(TWINS / 2 * POOL_MU)) + 0.01, POOL_RUNS, POOL_MU)
