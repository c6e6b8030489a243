"""Attacks on published selections: does what leaves, scores or only who was chosen, tell more than was charged?

Two worlds: a patient scores the highest there is, or the slot is null. Everything runs through `PublishedSelection` and
the door of the kernel. Verdicts on faultless code are wrong with probability 1e-6 at most, and so are the others, which
`test_the_attacks_are_sharp` sums from the exact error rates of each attack.
(The mechanisms alone, with the noise of production: test_mechanism_attacks.py.)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import comb

import numpy as np
import pytest
from scipy.stats import gumbel_r, laplace, norm

from skdpal.audit import attack, epsilon_lower_bound, likelihood_ratio, mu_lower_bound
from skdpal.privacy import PrivacyBudget, PrivacyLedger, epsilon_of, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.mechanisms import CellScores, GaussianSum, GumbelTopK, LaplaceScores, NoisyScores, release
from skdpal.privacy.randomness import perturb, simulation
from skdpal.query.selections.partition import PublicPartition
from skdpal.query.selections.published import PublishedSelection
from tests.statistical.sharpness import MISSED, missed

DELTA = 1e-5
SURE = 1 - 1e-6
NOISE = 1.0  # in units of ½
SCALE = NOISE / 2

price_of = lru_cache(lambda event: epsilon_of([event], DELTA))


@dataclass(frozen=True)
class Case:
    """An attack whose exact error rates at the threshold, without and with the patient, are known.

    `release` runs once; `statistic` makes a number of it. Of faultless code, the attack proves `least` of the price.
    """

    release: Callable
    statistic: Callable
    event: events.Event
    rates: tuple
    threshold: float = 0.0
    runs: int = 2_000
    least: float = 0.0

    def proves(self, errors):
        """The price that so many errors prove, over the price that was charged."""
        if isinstance(self.event, events.Gaussian):
            return mu_lower_bound(*errors, self.runs, SURE) * self.event.noise_multiplier
        return epsilon_lower_bound(*errors, self.runs, DELTA, SURE) / price_of(self.event)

    def carry_out(self):
        def world(present, runs):
            with simulation(seed=int(present)):
                return [self.statistic(self.release(present)) for _ in range(runs)]

        found = attack(world, self.runs, threshold=self.threshold, confidence=SURE)
        return found, self.proves((found.false_positives, found.false_negatives))

    def missed(self, share):
        """How often less than this share of the price is proven."""
        if isinstance(self.event, events.Gaussian):
            return missed(self.rates, self.runs, mu=share / self.event.noise_multiplier)
        return missed(self.rates, self.runs, epsilon=share * price_of(self.event), delta=DELTA)


def publish(selection, scores, X=None, k=1):
    """One round, as `PrivateQuery` publishes it."""
    ids = list(map(str, range(len(scores))))
    return release(lambda: selection.values(scores, X), selection.mechanism(k), None, "round 1", record_ids=ids)


# ---- all scores are seen ------------------------------------------------------------------------------------------

OTHERS = np.linspace(0.4, 0.6, 8)
CORNERS = PublicPartition.from_prototypes(np.eye(3))
ROWS = np.eye(3)[[0, 0, 1, 2, 0, 1, 2, 0, 1]]


def pool(present, best=1.0):
    return np.array([best if present else math.nan, *OTHERS])


def half_if_missing(scores):
    return np.nan_to_num(scores, nan=0.5)


def cut(scores):
    return np.clip(half_if_missing(scores), 0, 1)


def in_cells(values):
    """The table of centred scores."""
    return np.eye(3)[ROWS.argmax(axis=1)] * (np.asarray(values) - 0.5)[:, None]


def gaussian(selection, exact, runs, prepare=lambda scores: scores, best=1.0, scale=SCALE, **more):
    """All outputs together, by the likelihood ratio: exact is what is released before noise."""
    there, gone = exact(pool(True, best)), exact(pool(False, best))
    mu = np.linalg.norm(there - gone) / scale
    return Case(
        lambda present: publish(selection, prepare(pool(present, best)), ROWS),
        likelihood_ratio(there, gone, scale),
        selection.event(1),
        (norm.sf(mu / 2), norm.sf(mu / 2)),
        runs=runs,
        **more,
    )


def laplace_scores(selection, scale=SCALE, runs=4_000, **more):
    """Nine tenths of the largest log-likelihood ratio."""
    own = 0.5 / scale
    return Case(
        lambda present: publish(selection, pool(present)),
        lambda released: (abs(released[0] - 0.5) - abs(released[0] - 1.0)) / scale,
        selection.event(1),
        (0.5 * math.exp(-0.95 * own), 0.5 * math.exp(-0.05 * own)),
        0.9 * own,
        runs,
        **more,
    )


class Uncut(NoisyScores):
    """Scores as they come."""

    def run(self, values, ids):
        return perturb(half_if_missing(values), self.noise_multiplier / 2)


class Uncentred(CellScores):
    """The score itself in the own cell; a null patient has a row of zeros."""

    def run(self, values, ids):
        scores, cells = np.asarray(values).T
        table = (cells[:, None] == np.arange(self.n_cells)) * np.nan_to_num(scores, nan=0.0)[:, None]
        return perturb(table, self.noise_multiplier / 2)


class Twice(NoisyScores):
    """Asked again, it draws again: both answers leave."""

    def run(self, values, ids):
        return np.stack([super().run(values, ids), super().run(values, ids)])


class HalfNoisy(NoisyScores):
    def run(self, values, ids):
        return NoisyScores(self.noise_multiplier / 2).run(values, ids)


class HalfLaplace(LaplaceScores):
    def run(self, values, ids):
        return LaplaceScores(self.noise_multiplier / 2).run(values, ids)


class HalfGumbel(GumbelTopK):
    def run(self, values, ids):
        return GumbelTopK(self.noise_multiplier / 2, self.k).run(values, ids)


class HalfCells(CellScores):
    def run(self, values, ids):
        return CellScores(self.noise_multiplier / 2, self.n_cells).run(values, ids)


TWINS = {"gaussian": HalfNoisy, "laplace": HalfLaplace, "gumbel": HalfGumbel}


@dataclass(frozen=True)
class Faulty(PublishedSelection):
    """A selection whose mechanism is not the one that is priced."""

    twin: Callable = None

    def mechanism(self, k):
        return self.twin(*vars(super().mechanism(k)).values())


def null_is_zero(scores):
    return np.nan_to_num(scores, nan=0.0)


def min_max(scores):
    scores = half_if_missing(scores)
    return (scores - scores.min()) / np.ptp(scores)


def z_score(scores):
    """Cut to [0, 1] afterwards, which does not help."""
    scores = half_if_missing(scores)
    return np.clip(0.5 + (scores - scores.mean()) / (4 * scores.std()), 0, 1)


# ---- only the chosen are seen -------------------------------------------------------------------------------------

LAWS = {"gaussian": norm, "laplace": laplace, "gumbel": gumbel_r}


def grid(scale):
    return np.linspace(-25 * scale, 25 * scale + 1, 20_001)


@lru_cache
def ranks(noise, own, level, others, k, scale):
    """Chances of the canary's rank among the chosen, first to k-th, and of not being chosen; others score alike."""
    t, law = grid(scale), LAWS[noise](scale=scale)
    density, below, above = law.pdf(t - own), law.cdf(t - level), law.sf(t - level)
    chances = [
        comb(others, better) * np.trapezoid(density * above**better * below ** (others - better), t)
        for better in range(k)
    ]
    return np.array([*chances, 1 - sum(chances)])


def minus_rank(chosen):
    """Nothing else of the choice tells the worlds apart, since the others score alike."""
    places = np.flatnonzero(np.asarray(chosen) == 0)
    return -float(places[0]) if len(places) else -math.inf


def chosen_only(selection, k, level, others, scale, runs=4_000, **more):
    """The canary is said to be there if it is among the chosen."""
    scores = {present: [1.0 if present else math.nan] + [level] * others for present in (True, False)}
    chances = [ranks(selection.noise, own, level, others, k, scale)[:k].sum() for own in (0.5, 1.0)]
    return Case(
        lambda present: selection.choose(publish(selection, scores[present], k=k), k),
        minus_rank,
        selection.event(k),
        (chances[0], 1 - chances[1]),
        -k + 0.5,
        runs,
        **more,
    )


def chosen_in_cells(selection, scale, others=7, runs=4_000, **more):
    """One is chosen, from the largest entry of the table; all others score ½, which is 0 in every cell."""
    t = grid(scale)
    below, inside = norm.cdf(t / scale), norm.pdf(t / scale) / scale
    own_below, own = norm.cdf((t - 0.5) / scale), norm.pdf((t - 0.5) / scale) / scale
    largest = own * below**2 + 2 * inside * own_below * below
    with_ = np.trapezoid(largest * below ** (3 * others), t)
    scores = {present: [1.0 if present else math.nan] + [0.5] * others for present in (True, False)}
    rows = np.eye(3)[np.arange(others + 1) % 3]
    return Case(
        lambda present: selection.choose(publish(selection, scores[present], rows), 1),
        minus_rank,
        selection.event(1),
        (1 / (others + 1), 1 - with_),
        -0.5,
        runs,
        **more,
    )


SCORES, CELLS = PublishedSelection("gaussian", NOISE), PublishedSelection("gaussian", NOISE, CORNERS)
LAPLACE, GUMBEL = PublishedSelection("laplace", NOISE), PublishedSelection("gumbel", 0.5)
CELLS_LOUD = PublishedSelection("gaussian", 0.5, CORNERS)


def half(selection):
    twin = HalfCells if selection.of_rows else TWINS[selection.noise]
    return Faulty(selection.noise, selection.noise_multiplier, selection.partition, twin)


FAULTLESS = {
    "scores": lambda: gaussian(SCORES, cut, 4_000, best=math.inf, least=0.6),
    "scores, little noise": lambda: gaussian(
        replace(SCORES, noise_multiplier=0.5), cut, 2_000, scale=SCALE / 2, least=0.6
    ),
    "cells": lambda: gaussian(CELLS, lambda scores: in_cells(cut(scores)), 4_000, best=7.0, least=0.6),
    "laplace": lambda: laplace_scores(LAPLACE, least=0.4),
    "the chosen": lambda: chosen_only(SCORES, 3, 0.5, 30, SCALE, least=0.45),
    "the chosen, laplace": lambda: chosen_only(LAPLACE, 3, 0.5, 4, SCALE, least=0.3),
    "the chosen, gumbel": lambda: chosen_only(GUMBEL, 1, 0.0, 30, SCALE / 2, least=0.3),
    "the three chosen, gumbel": lambda: chosen_only(GUMBEL, 3, 0.0, 8, SCALE / 2, least=0.2),
    "the chosen in cells": lambda: chosen_in_cells(CELLS_LOUD, SCALE / 2, least=0.4),
}
FAULTY = {
    "null counts 0": lambda: gaussian(SCORES, null_is_zero, 1_000, null_is_zero),
    "min-max over the pool": lambda: gaussian(SCORES, min_max, 500, min_max),
    "z-score over the pool": lambda: gaussian(SCORES, z_score, 4_000, z_score),
    "scores are not cut": lambda: gaussian(Faulty("gaussian", NOISE, None, Uncut), half_if_missing, 300, best=3.0),
    "cells are not centred": lambda: gaussian(
        Faulty("gaussian", NOISE, CORNERS, Uncentred),
        lambda scores: np.eye(3)[ROWS.argmax(axis=1)] * null_is_zero(scores)[:, None],
        1_000,
    ),
    "drawn twice": lambda: gaussian(
        Faulty("gaussian", NOISE, None, Twice), lambda scores: np.stack([cut(scores)] * 2), 4_000
    ),
    "half the noise": lambda: gaussian(half(SCORES), cut, 1_000, scale=SCALE / 2),
    "half the noise in cells": lambda: gaussian(
        half(CELLS), lambda scores: in_cells(cut(scores)), 1_000, scale=SCALE / 2
    ),
    "half of laplace": lambda: laplace_scores(half(LAPLACE), SCALE / 2),
    "the chosen, half the noise": lambda: chosen_only(half(SCORES), 3, 0.5, 30, SCALE / 2),
    "the chosen, half of laplace": lambda: chosen_only(half(LAPLACE), 3, 0.5, 4, SCALE / 2),
    "the chosen, half of gumbel": lambda: chosen_only(half(GUMBEL), 1, 0.0, 30, SCALE / 4),
    "the chosen in cells, half the noise": lambda: chosen_in_cells(half(CELLS_LOUD), SCALE / 4),
}


@pytest.mark.parametrize("name", FAULTLESS)
def test_nothing_tells_more_than_its_price(name):
    case = FAULTLESS[name]()
    found, proven = case.carry_out()
    assert case.least <= proven <= 1, str(found)
    assert not found.beats(epsilon=price_of(case.event), delta=DELTA), str(found)


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_tells_more_than_its_price(name):
    found, proven = FAULTY[name]().carry_out()
    assert proven > 1, str(found)


@pytest.mark.parametrize("name", [*FAULTLESS, *FAULTY])
def test_the_attacks_are_sharp(name):
    """They prove more than the price; of faultless code, a share of it."""
    case = (FAULTLESS | FAULTY)[name]()
    assert case.missed(case.least if name in FAULTLESS else 1.0) < MISSED


@pytest.mark.parametrize("name", FAULTLESS)
def test_the_rates_are_allowed_by_the_price(name):
    """Without chance: 1 - FNR <= e^ε FPR + δ, and the other way round."""
    case = FAULTLESS[name]()
    positive, negative = case.rates
    limit = math.exp(price_of(case.event)) * (1 + 1e-9)  # of the grid
    assert 1 - negative <= limit * positive + DELTA
    assert 1 - positive <= limit * negative + DELTA


@pytest.mark.parametrize("noise", LAWS)
@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_the_rank_among_the_chosen_is_worth_its_price(noise, k, level):
    """From exact chances, for every set of ranks, in both directions."""
    selection = PublishedSelection(noise, NOISE)
    for others in (3, 20):
        worlds = [ranks(noise, own, level, others, k, SCALE) for own in (0.0, 0.5, 1.0)]
        for first, second in ((worlds[2], worlds[1]), (worlds[1], worlds[2]), (worlds[0], worlds[1])):
            assert np.maximum(first - math.exp(price_of(selection.event(k))) * second, 0).sum() <= DELTA


# ---- the selection, then the training: who pays for both -----------------------------------------------------------

TRAINING = 1.0  # noise multiplier
CANARY = np.array([0.6, 0.8])
CONTENT = np.array([[0.6, 0.8], [1.0, 0.0], [0.0, 1.0]])
NAMES = ["canary", "b", "c"]
BOTH = math.hypot(1 / TRAINING, 1 / NOISE)  # μ of a patient who is scored, chosen and trained on
SPLIT_RUNS = 4_000


def a_round(present):
    """Everybody is scored, which is published, and chosen, and trained on: the log-likelihood ratio of both releases."""
    scores = [1.0 if present else math.nan, 0.3, 0.7]
    rows = CONTENT * np.array([[present], [True], [True]])
    released = publish(SCORES, scores, k=3)
    trained = release(lambda: rows, GaussianSum(TRAINING), None, "training", record_ids=NAMES)
    rest = CONTENT[1:].sum(axis=0)
    return (released[0] - 0.75) * 0.5 / SCALE**2 + (trained - rest - CANARY / 2) @ CANARY / TRAINING**2


def pay(ledger, split_first):
    """What the accounts have paid for such a round; whoever forgets to say whose rows they are may split first."""
    selection, training = SCORES.event(3), GaussianSum(TRAINING).event
    if split_first:
        child = ledger.split(POOL, "cohort/round-1", NAMES)
        ledger.charge(selection, "selection", account=POOL)
    else:
        ledger.charge(selection, "selection", account=POOL, record_ids=NAMES)
        child = ledger.split(POOL, "cohort/round-1", NAMES)
    child.charge(training, "training", record_ids=NAMES)
    return ledger.spent()


def test_a_split_before_the_charge_tells_more_than_the_ledger_says():
    """L5: the chosen take along what they have paid for being scored."""
    ledgers = [PrivacyLedger(PrivacyBudget(60.0, DELTA)) for _ in range(2)]
    right, wrong = (pay(ledger, split_first) for ledger, split_first in zip(ledgers, (False, True), strict=True))
    assert right == pytest.approx(epsilon_of([SCORES.event(3), events.gaussian(TRAINING)], DELTA), rel=1e-6)
    assert wrong == pytest.approx(epsilon_of([events.gaussian(TRAINING)], DELTA), rel=1e-6)

    def world(present, runs):
        with simulation(seed=int(present)):
            return [a_round(present) for _ in range(runs)]

    found = attack(world, SPLIT_RUNS, threshold=0.0, confidence=SURE)
    assert not found.beats(mu=BOTH), str(found)
    assert found.beats(mu=1 / TRAINING), str(found)
    assert missed((norm.sf(BOTH / 2), norm.sf(BOTH / 2)), SPLIT_RUNS, mu=1 / TRAINING) < MISSED


def test_the_door_refuses_to_score_patients_for_an_account_that_they_have_left(untouchable):
    ledger = PrivacyLedger(PrivacyBudget(60.0, DELTA))
    ledger.split(POOL, "cohort/round-1", NAMES)
    with pytest.raises(ValueError, match="patients of account 'cohort/pool' only"):
        release(untouchable, SCORES.mechanism(3), ledger.within(POOL), "selection", record_ids=NAMES)
    assert ledger.receipts() == []
