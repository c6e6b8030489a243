"""Attacks on whole studies of the real learner: amplified rounds, held starts, published rounds.

Two worlds: patients take part, or their slots are empty. Each patient has a class of their own, and their acceptance looks at
nothing but public numbers, the own coin and the own class of what was released; so a study of 200 patients is 200 independent
runs. The attacker knows the code and looks at all releases. Thresholds are fixed beforehand.

Verdicts on faultless code are wrong with probability 1e-6 at most; so are the others (the tests that are named sharp sum it
from exact error rates).
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
from scipy.stats import binom, norm

from skdpal import DPPrototypeClassifier, PrivateActiveLearner, PrivateQuery
from skdpal.audit import attack
from skdpal.privacy import PrivacyBudget, PrivacyLedger, epsilon_of, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.filters import Charge, Schedule, Split
from skdpal.privacy.ledger.book import Book
from skdpal.privacy.ledger.handle import Handle
from skdpal.privacy.mechanisms import GaussianSum, NoisyScores, release, sums
from skdpal.privacy.randomness import perturb, simulation
from skdpal.privacy.storage.vault import Vault
from skdpal.query import strategy
from skdpal.query.utilities import Utility
from tests.statistical.sharpness import MISSED, missed

SURE = 1 - 1e-6
SLOW = pytest.mark.slow
pytestmark = pytest.mark.filterwarnings("ignore:The number of unique classes:UserWarning")  # one each, here

PATIENTS = 200
ANGLES = np.arange(PATIENTS + 1) / PATIENTS
ROWS = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)])  # the last row is a bystander
LABELS = np.arange(PATIENTS + 1)
IDS = np.array([f"patient {number}" for number in range(PATIENTS)] + ["bystander"])
ENTRIES = np.column_stack([ROWS, np.ones(PATIENTS + 1)]) / math.sqrt(2)  # each in the own class, of length 1


def along(release):
    """What a release says about each patient: N(0, σ²), shifted by 1 if they are in it."""
    return (np.column_stack([release.sums, release.counts]) * ENTRIES).sum(axis=1)[:PATIENTS]


def everybody(present):
    """Positions of those who are in the pool."""
    return np.arange(0 if present else PATIENTS, PATIENTS + 1)


def world_of(study, statistic):
    """As many studies as the runs take; a statistic for each patient."""

    def world(present, runs):
        assert runs % PATIENTS == 0
        with simulation(seed=int(present)):
            return np.concatenate([statistic(study(present)) for _ in range(runs // PATIENTS)])

    return world


# ---- amplified rounds ---------------------------------------------------------------------------------------------

DELTA = 0.05  # at small δ a sample's price rests on events that no number of runs shows
START_NOISE = 4.0  # the start is a group of its own, and cheaper than the pool
N_POOL = 1_000_000  # of the protocol, so that each round can have the same rate exactly


class OwnRelease(Utility):
    """Wants those of whom the releases so far say that they are not in."""

    name = "own release"

    def of_rows(self, model, X):
        own = np.rint(np.arctan2(X[:, 1], X[:, 0]) * PATIENTS).astype(int)
        seen = sum(np.column_stack([one.sums, one.counts]) for one in model.estimator.releases_[1:])
        said = (seen * ENTRIES).sum(axis=1) if len(model.estimator.releases_) > 1 else np.zeros(len(ENTRIES))
        return (said[own] <= 0.5).astype(float)


@dataclass(frozen=True)
class Amplified:
    """Rounds of one rate and noise."""

    sigma: float
    rate: float
    rounds: int
    adaptive: bool = False

    @property
    def rounds_cost(self):
        return [events.poisson_gaussian(self.sigma, self.rate, 1)] * self.rounds

    @lru_cache  # noqa: B019 - frozen, and few
    def schedule(self):
        start = events.gaussian(START_NOISE, replace_one=math.sqrt(2))
        steps = [Split(POOL, "cohort/start"), Charge(start, "cohort/start")]
        for number, event in enumerate(self.rounds_cost, start=1):
            steps += [Charge(event, POOL), Split(POOL, f"cohort/round-{number}")]
        return Schedule(steps)

    @lru_cache  # noqa: B019
    def charged(self):
        """What a planned ledger says in the end; a renyi ledger, which is faster, says more."""
        budget = PrivacyBudget(self.schedule().epsilon(DELTA) * (1 + 1e-9), DELTA)
        with simulation(seed=9):
            charged = self.carry_out(True, PrivacyLedger(budget, "planned", schedule=self.schedule()))[1].spent()
            assert charged <= self.carry_out(True)[1].spent()
        return charged

    def carry_out(self, present, ledger=None):
        """What the rounds say about each patient, of shape (rounds, patients), and the ledger."""
        ledger = PrivacyLedger(PrivacyBudget(50.0, DELTA), "renyi") if ledger is None else ledger
        utility, tilt = (OwnRelease(), 1.0) if self.adaptive else ("random", 0.0)
        learner = PrivateActiveLearner(
            DPPrototypeClassifier(START_NOISE, classes=range(PATIENTS + 1)),
            PrivateQuery(utility, n_pool=N_POOL, tilt=tilt),
            ROWS[-1:],
            LABELS[-1:],
            ledger=ledger,
            record_ids=["start"],
            amplified=True,
        )
        learner.estimator.set_params(noise_multiplier=self.sigma)
        left, pool = N_POOL, everybody(present)
        for _ in range(self.rounds):
            wanted = round(left * self.rate / (2 if self.adaptive else 1))
            chosen, rows = learner.query(ROWS[pool], wanted, record_ids=IDS[pool])
            learner.teach(rows, LABELS[pool[chosen]], record_ids=IDS[pool[chosen]])
            left -= wanted
        return np.array([along(one) for one in learner.estimator.releases_[1:]]), ledger

    def found(self, statistic, runs, threshold):
        world = world_of(lambda present: self.carry_out(present)[0], statistic)
        return attack(world, runs, threshold=threshold, confidence=SURE)


def largest(released):
    return released.max(axis=0)


def total(released):
    return released.sum(axis=0)


def first(released):
    return released[0]


# exact error rates of these statistics at a threshold, without and with the patient


def rates_of_largest(t, sigma, rate, rounds):
    below, own = norm.cdf(t, 0, sigma), norm.cdf(t, 1, sigma)
    never = (1 - rate) ** rounds
    return 1 - below**rounds, (never * below + (1 - never) * own) * below ** (rounds - 1)


def rates_of_total(t, sigma, rate, rounds):
    """Used again by fresh coins."""
    spread = sigma * math.sqrt(rounds)
    with_ = sum(binom.pmf(k, rounds, rate) * norm.cdf(t, k, spread) for k in range(rounds + 1))
    return norm.sf(t, 0, spread), with_


def rates_of_one_coin(t, sigma, rate, rounds):
    """Used again by the same coin."""
    spread = sigma * math.sqrt(rounds)
    return norm.sf(t, 0, spread), (1 - rate) * norm.cdf(t, 0, spread) + rate * norm.cdf(t, rounds, spread)


def rates_if_sure(t, sigma, rate, rounds):
    return norm.sf(t, 0, sigma), norm.cdf(t, 1, sigma)


def rates_of_two_draws(t, sigma, rate, rounds):
    return rates_of_largest(t, sigma / math.sqrt(2), rate, rounds)


# faults


def used_again(patch):
    """Whoever is accepted is trained on, also those who were before."""
    accept_all, run, accepted = strategy.accept_all, GaussianSum.run, []

    def remember(X, ids, *others):
        answer = accept_all(X, ids, *others)
        accepted[:] = np.flatnonzero(np.isin(IDS, np.asarray(ids)[answer]))
        return answer

    def everybody_accepted(mechanism, contributions, ids):
        if "start" in ids:
            return run(mechanism, contributions, ids)
        table = np.zeros((PATIENTS + 1, 3))
        table[accepted] = ENTRIES[accepted]
        return perturb(table.ravel(), mechanism.noise_multiplier)

    patch.setattr(strategy, "accept_all", remember)
    patch.setattr(GaussianSum, "run", everybody_accepted)


def one_coin_for_all_rounds(patch):
    coins = Vault.coins
    patch.setattr(Vault, "coins", lambda vault, label, patients: coins(vault, "every round", patients))


def one_coin_and_used_again(patch):
    one_coin_for_all_rounds(patch)
    used_again(patch)


def by_threshold(patch):
    """Every patient's score is above the threshold."""
    patch.setattr(strategy, "accept_all", lambda X, ids, *others: np.ones(len(ids), dtype=bool))


def by_threshold_unnoticed(patch):
    by_threshold(patch)
    patch.setattr(Book, "_check_coins", lambda *arguments: None)


def released_twice(patch):
    run = GaussianSum.run
    patch.setattr(
        GaussianSum, "run", lambda mechanism, rows, ids: (run(mechanism, rows, ids) + run(mechanism, rows, ids)) / 2
    )


def nothing(patch):
    pass


AMPLIFIED_HONEST = {  # setting, plant, statistic, rates, threshold, runs, proven of the price
    "once": (Amplified(0.5, 0.3, 2), nothing, largest, rates_of_largest, 1.07, 4_000, 0.2),
    "used again by fresh coins": (Amplified(0.6, 0.5, 2), used_again, total, rates_of_total, 1.78, 4_000, 0.3),
}
AMPLIFIED_FAULTS = {
    "one coin, used again": (Amplified(0.7, 0.2, 6), one_coin_and_used_again, total, rates_of_one_coin, 5.4, 8_000),
    "threshold": (Amplified(0.7, 0.2, 2), by_threshold_unnoticed, first, rates_if_sure, 1.3, 2_000),
    "released twice": (Amplified(0.7, 0.5, 1), released_twice, largest, rates_of_two_draws, 1.18, 10_000),
}


@pytest.mark.parametrize("name", AMPLIFIED_HONEST)
def test_amplified_rounds_tell_no_more_than_their_price(monkeypatch, name):
    setting, plant, statistic, _, threshold, runs, least = AMPLIFIED_HONEST[name]
    price = setting.charged()
    plant(monkeypatch)
    found = setting.found(statistic, runs, threshold)
    assert least * price < found.epsilon(DELTA) <= price, str(found)


@SLOW
@pytest.mark.parametrize("threshold", [0.6, 1.2])
def test_acceptance_that_follows_what_was_released_tells_no_more(threshold):
    setting = Amplified(0.5, 0.4, 3, adaptive=True)
    found = setting.found(largest, 4_000, threshold)
    assert 0 < found.epsilon(DELTA) <= setting.charged(), str(found)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=SLOW) if name != "threshold" else name for name in AMPLIFIED_FAULTS]
)
def test_a_fault_of_amplified_rounds_is_seen(monkeypatch, name):
    setting, plant, statistic, _, threshold, runs = AMPLIFIED_FAULTS[name]
    price = setting.charged()
    plant(monkeypatch)
    found = setting.found(statistic, runs, threshold)
    assert found.beats(epsilon=price, delta=DELTA), str(found)


@pytest.mark.parametrize("name", [*AMPLIFIED_HONEST, *AMPLIFIED_FAULTS])
def test_the_attacks_on_amplified_rounds_are_sharp(name):
    setting, _, _, rates, threshold, runs, *least = (AMPLIFIED_HONEST | AMPLIFIED_FAULTS)[name]
    wrong = rates(threshold, setting.sigma, setting.rate, setting.rounds)
    claim = (least[0] if least else 1) * setting.charged()
    assert missed(wrong, runs, epsilon=claim, delta=DELTA) < MISSED


def test_the_pool_pays_for_the_rounds():
    setting = Amplified(0.5, 0.3, 2)
    assert setting.charged() == pytest.approx(epsilon_of(setting.rounds_cost, DELTA), rel=1e-3)


@pytest.mark.usefixtures("simulated")
def test_the_ledger_refuses_a_threshold_and_a_second_training(monkeypatch):
    setting = Amplified(0.7, 0.2, 2)
    ledger = setting.carry_out(True)[1]
    with pytest.raises(ValueError, match="whom secret coins chose"):
        ledger.within("cohort/round-1").charge(events.gaussian(30.0), "again")
    by_threshold(monkeypatch)
    with pytest.raises(ValueError, match="coins are below the rate"):
        setting.carry_out(True)


# ---- starts that are held -------------------------------------------------------------------------------------------

SIGMA = 0.8
MU = 1 / SIGMA
ONE_RELEASE = PrivacyBudget(epsilon_of([events.gaussian(SIGMA)], 1e-5) * (1 + 1e-6))
PRIOR = DPPrototypeClassifier.prior_from_public(
    np.repeat(ROWS, 2, axis=0) + np.tile([[0.01], [-0.01]], (PATIENTS + 1, 1)), np.repeat(LABELS, 2)
)


def held(where, present):
    """Releases of a start with the first round and of a second, which takes everybody: patients are in the one or the other."""
    ledger = PrivacyLedger(ONE_RELEASE)
    there, nobody = everybody(present), everybody(False)
    start, pool = (there, nobody[:0]) if where == "start" else (nobody, there[:-1])
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(SIGMA, prior=PRIOR, prior_weight=1.0),
        PrivateQuery("random", n_pool=PATIENTS),
        ROWS[start],
        LABELS[start],
        ledger=ledger,
        record_ids=IDS[start],
        expected_records=PATIENTS,
        hold_start=True,
    )
    assert ledger.receipts() == []
    for wanted in (PATIENTS // 2, PATIENTS // 2):
        chosen, rows = learner.query(ROWS[pool], wanted, record_ids=IDS[pool])
        learner.teach(rows, LABELS[pool[chosen]], record_ids=IDS[pool[chosen]])
    assert len(ledger.receipts()) == 2
    assert ledger.spent() <= ONE_RELEASE.epsilon
    return np.array([along(one) for one in learner.estimator.releases_])


def in_first(released):
    return (released[0] - 0.5) / SIGMA**2


def in_all(released):
    return (released.sum(axis=0) - len(released) / 2) / SIGMA**2


def in_one(released):
    return np.logaddexp.reduce((released - 0.5) / SIGMA**2, axis=0) - math.log(len(released))


def half_the_noise(patch):
    patch.setattr(sums, "perturb", lambda values, scale: perturb(values, scale / 2))


def a_start_in_every_release(patch):
    run, kept = GaussianSum.run, []

    def with_start(mechanism, contributions, ids):
        if "bystander" in ids:
            kept[:] = [(contributions, list(ids))]
            return run(mechanism, contributions, ids)
        return run(mechanism, np.vstack([kept[0][0], contributions]), [*kept[0][1], *ids])

    patch.setattr(GaussianSum, "run", with_start)


HELD = {  # where the patients are, plant, statistic, true μ if it is Gaussian, runs
    "start": ("start", nothing, in_first, MU, 2_000),
    "pool": ("pool", nothing, in_one, None, 4_000),
    "start, half the noise": ("start", half_the_noise, in_first, 2 * MU, 1_000),
    "start, in every release": ("start", a_start_in_every_release, in_all, math.sqrt(2) * MU, 2_000),
    "pool, half the noise": ("pool", half_the_noise, in_one, None, 4_000),
}


def rates_in_one(scale):
    """Upper bounds of the errors of `in_one` at 0, by integrals over both releases."""
    t = np.linspace(-7 * scale, 7 * scale + 1, 1_501)
    null, own = (norm.pdf(t, centre, scale) * (t[1] - t[0]) for centre in (0, 1))
    said = np.logaddexp.outer((t - 0.5) / SIGMA**2, (t - 0.5) / SIGMA**2) > math.log(2)
    return 1.001 * (null @ said @ null), 1.001 * (own @ ~said @ null)


@pytest.mark.parametrize("name", HELD)
def test_a_held_start_pays_once(monkeypatch, name):
    where, plant, statistic, _, runs = HELD[name]
    plant(monkeypatch)
    found = attack(world_of(lambda present: held(where, present), statistic), runs, threshold=0.0, confidence=SURE)
    assert found.beats(mu=MU) is (plant is not nothing), str(found)
    assert found.mu > 0.3 * MU, str(found)


@pytest.mark.parametrize("name", HELD)
def test_the_attacks_on_held_starts_are_sharp(name):
    _, plant, _, mu, runs = HELD[name]
    rates = [norm.sf(mu / 2)] * 2 if mu else rates_in_one(SIGMA / (2 if plant is half_the_noise else 1))
    assert missed(rates, runs, mu=(0.3 if plant is nothing else 1) * MU) < MISSED


# ---- published rounds: everybody is scored, chosen and trained on ----------------------------------------------------

SCORES, TRAINING = 1.0, 2.0  # noise multipliers
BOTH = math.hypot(1 / SCORES, 1 / TRAINING)
PUBLISHED = PrivacyBudget(epsilon_of([events.gaussian(SCORES), events.gaussian(TRAINING)], 1e-5) * (1 + 1e-6))


class Presence(Utility):
    """1 for a row, ½ for none."""

    name = "presence"

    def of_rows(self, model, X):
        return 0.5 + 0.5 * (np.square(X).sum(axis=1) > 0.5)


def published(present, asks):
    """Log-likelihood ratios of all scores that left, in each of `asks` answers, and of the training."""
    ledger, answers = PrivacyLedger(PUBLISHED), []
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(TRAINING, classes=range(PATIENTS + 1)),
        PrivateQuery(Presence(), release="published", noise_multiplier=SCORES),
        ROWS[-1:],
        LABELS[-1:],
        ledger=ledger,
        record_ids=IDS[-1:],
    )
    pool = np.arange(PATIENTS)
    rows = ROWS[pool] * present
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            strategy, "release", lambda *args, **keywords: answers.append(release(*args, **keywords)) or answers[-1]
        )
        for _ in range(asks):
            chosen, _ = learner.query(rows, PATIENTS, record_ids=IDS[pool])
    taught = chosen if present else chosen[:0]
    learner.teach(rows[taught], LABELS[taught], record_ids=IDS[taught])
    accounts = [receipt.account for receipt in ledger.receipts()]
    assert accounts == ["cohort/start", POOL, "cohort/round-1"]
    assert epsilon_of([events.gaussian(1 / BOTH)], 1e-5) == pytest.approx(ledger.spent(), rel=1e-6)
    # the answers came in the order of names; equal answers are one
    by_name = np.argsort(IDS[pool])
    distinct = np.unique(np.array(answers), axis=0)
    scored = np.empty((len(distinct), PATIENTS))
    scored[:, by_name] = distinct
    trained = along(learner.estimator.releases_[1])
    return ((scored - 0.75) * 0.5).sum(axis=0) / (SCORES / 2) ** 2 + (trained - 0.5) / TRAINING**2


def half_the_noise_of_scores(patch):
    run = NoisyScores.run
    patch.setattr(
        NoisyScores, "run", lambda mechanism, values, ids: run(NoisyScores(mechanism.noise_multiplier / 2), values, ids)
    )


def no_memory(patch):
    patch.setattr(Handle, "recall", lambda *arguments: None)
    patch.setattr(Handle, "remember", lambda handle, event, answer: handle._settle(handle._turn) or answer)


ASKED = {  # plant, times asked, true μ, runs
    "asked twice": (nothing, 2, BOTH, 4_000),
    "half the noise": (half_the_noise_of_scores, 2, math.hypot(2 / SCORES, 1 / TRAINING), 2_000),
    "drawn anew twice": (no_memory, 2, math.hypot(math.sqrt(2) / SCORES, 1 / TRAINING), 4_000),
}


@pytest.mark.parametrize("name", ASKED)
def test_selection_and_training_together_tell_no_more_than_their_sum(monkeypatch, name):
    plant, asks, _, runs = ASKED[name]
    plant(monkeypatch)
    found = attack(world_of(lambda present: published(present, asks), np.asarray), runs, threshold=0.0, confidence=SURE)
    assert found.beats(mu=BOTH) is (plant is not nothing), str(found)
    assert found.mu > 0.6 * BOTH, str(found)


@pytest.mark.parametrize("name", ASKED)
def test_the_attacks_on_published_rounds_are_sharp(name):
    plant, _, mu, runs = ASKED[name]
    # with half the noise of scores the weights are not the best, and both errors those of this sum
    shift, spread = 1 / SCORES**2 + 1 / TRAINING**2, math.hypot(1 / (2 * SCORES), 1 / TRAINING)
    error = norm.sf(shift / spread / 2) if plant is half_the_noise_of_scores else norm.sf(mu / 2)
    assert missed((error, error), runs, mu=(0.6 if plant is nothing else 1) * BOTH) < MISSED
