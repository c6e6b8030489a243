"""Attacks on the mechanisms for scores, labels and gradients, with the noise of production.

Zero-out: the patient's score or label is the worst there is, or is missing. Verdicts on faultless code are wrong with
probability 1e-6 at most, and so are the others: `test_the_attacks_are_sharp` sums it from the exact error rates of each
attack. (Sums: tests/audit/test_attacks.py.)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from skdpal.audit import attack, epsilon_lower_bound, likelihood_ratio, mu_lower_bound, repeated
from skdpal.estimators.neural.noise import gaussian_noise
from skdpal.privacy import PrivacyBudget, PrivacyLedger, epsilon_of, events
from skdpal.privacy.mechanisms import (
    GaussianBlocks,
    GumbelTopK,
    LaplaceLabels,
    LaplaceScores,
    NoisyScores,
    RandomizedResponse,
    release,
)
from skdpal.privacy.randomness import perturb
from tests.statistical.sharpness import MISSED, missed

DELTA = 1e-5
SURE = 1 - 1e-6


@dataclass(frozen=True)
class Case:
    """An attack whose error rates are known.

    `rates` are those without and with the patient at the threshold. If the code is faultless, `least` is a share of the
    price that the attack proves, or it would not work.
    """

    world: Callable
    event: events.Event
    threshold: float
    rates: tuple
    runs: int = 2_000
    least: float = 0.0

    @property
    def mu(self):
        """The price as μ; None if it has none that is exact."""
        gaussian = isinstance(self.event, events.Gaussian)
        return math.sqrt(self.event.steps) / self.event.noise_multiplier if gaussian else None

    @property
    def price(self):
        return self.mu or price_of(self.event)

    def proves(self, errors):
        if self.mu:
            return mu_lower_bound(*errors, self.runs, SURE)
        return epsilon_lower_bound(*errors, self.runs, DELTA, SURE)

    def carry_out(self, **options):
        found = attack(self.world, self.runs, confidence=SURE, **options)
        return found, self.proves((found.false_positives, found.false_negatives))


price_of = lru_cache(lambda event: epsilon_of([event], DELTA))


def through_the_door(mechanism, there, gone, statistic):
    """A world of one release, in which each run is a patient; they have nothing to do with one another."""

    def world(present, runs):
        ledger = PrivacyLedger(PrivacyBudget(60.0, DELTA), "renyi")
        names = [str(run) for run in range(runs)]
        released = release(lambda: [there if present else gone] * runs, mechanism, ledger, "x", record_ids=names)
        return statistic(released)

    return world


# scores

NOISE = 1.0  # in units of ½: μ = 1 and ε = 1
HALF = NOISE / 2


class Half:
    """Half the noise that is charged."""

    def run(self, values, ids):
        twin = type(self).__mro__[2](self.noise_multiplier / 2, *([self.k] if hasattr(self, "k") else []))
        return twin.run(values, ids)


class HalfNoisy(Half, NoisyScores):
    pass


class HalfLaplace(Half, LaplaceScores):
    pass


class HalfGumbel(Half, GumbelTopK):
    pass


class Uncut(NoisyScores):
    """Scores as they come."""

    def run(self, values, ids):
        return perturb(np.nan_to_num(np.array(values, dtype=float), nan=0.5), self.noise_multiplier / 2)


class NullIsZero(NoisyScores):
    """An empty slot counts 0, at the price of ½."""

    def run(self, values, ids):
        return super().run(np.nan_to_num(np.array(values, dtype=float), nan=0.0), ids)


class Scaled(NoisyScores):
    """Scores in units of the best one's."""

    def run(self, values, ids):
        scores = np.nan_to_num(np.array(values, dtype=float), nan=0.5)
        return super().run(scores / scores.max(), ids)


class OneForAll(NoisyScores):
    """The same noise on all scores."""

    def run(self, values, ids):
        return np.nan_to_num(np.array(values, dtype=float), nan=0.5) + perturb(0.0, self.noise_multiplier / 2)


def gaussian_ratio(there, gone, scale):
    """Log-likelihood ratio of each number; half-way between the worlds it is 0."""
    return lambda released: (released - (there + gone) / 2) * (there - gone) / scale**2


def laplace_ratio(there, gone, scale):
    return lambda released: (abs(released - gone) - abs(released - there)) / scale


def half_way(mu):
    return norm.sf(mu / 2), norm.sf(mu / 2)


def noisy_scores(mechanism, there=math.inf, counted=1.0, null=0.5, scale=NOISE / 2, **more):
    """The canary's score alone."""
    world = through_the_door(mechanism, there, math.nan, gaussian_ratio(counted, null, scale))
    return Case(world, mechanism.event, 0.0, half_way(abs(counted - null) / scale), **more)


def laplace_scores(mechanism, noise, there=1.0, **more):
    """Nine tenths of the largest ratio: pure ε is as sharp there as anywhere."""
    edge = 0.9 / noise  # the score is then 0.225 of a scale inside
    world = through_the_door(mechanism, there, None, laplace_ratio(float(there > 0.5), 0.5, noise / 2))
    inside = 0.05 / noise  # distance from the score, in scales
    rates = 0.5 * math.exp(-(1 / noise - inside)), 0.5 * math.exp(-inside)
    return Case(world, mechanism.event, edge, rates, **more)


def many_scores(mechanism, exact, **more):
    """The canary and eight others, all outputs together."""
    scores = {there: [1.0 if there else math.nan] + [0.5] * 8 for there in (True, False)}
    statistic = likelihood_ratio(exact(1.0), exact(0.5), NOISE / 2)
    mu = np.linalg.norm(np.subtract(exact(1.0), exact(0.5))) / (NOISE / 2)
    world = repeated(lambda there: mechanism.run(scores[there], range(9)), statistic)
    return Case(world, mechanism.event, 0.0, half_way(mu), **more)


def one_for_all():
    """The first score minus the second: there is no noise in it."""
    world = repeated(
        lambda there: OneForAll(NOISE).run([1.0 if there else None, 0.0], "ab"), lambda out: out[0] - out[1]
    )
    return Case(world, events.noisy_scores(NOISE), 0.75, (0.0, 0.0), runs=200)


# the choice of the best


def log_chance(order, scores, scale):
    """Of an ordered choice under Gumbel noise (Plackett and Luce)."""
    weights = np.exp((np.asarray(scores) - max(scores)) / scale)
    left, total = weights.sum(), 0.0
    for position in order:
        total += math.log(weights[position] / left)
        left -= weights[position]
    return total


@lru_cache
def chances(scores, scale, k):
    """Of all ordered choices."""
    orders = permutations(range(len(scores)), min(k, len(scores)))
    return np.exp([log_chance(order, scores, scale) for order in orders])


def choice_of_the_best(mechanism, scale, others, level, threshold, **more):
    """The canary's 1 among equal scores of others; all of the ordered choice is looked at."""
    there, gone = (1.0, *[level] * others), (0.5, *[level] * others)
    missing = (None, *there[1:])

    def ratio(order):
        return log_chance(order, there, scale) - log_chance(order, gone, scale)

    world = repeated(lambda present: mechanism.run(there if present else missing, range(others + 1)), ratio)
    with_, without = chances(there, scale, mechanism.k), chances(gone, scale, mechanism.k)
    says_yes = np.log(with_ / without) > threshold
    return Case(world, mechanism.event, threshold, (without[says_yes].sum(), with_[~says_yes].sum()), **more)


# labels

EPSILON = 1.0
CLASSES = (0, 1, 2, 3)


class TwiceEpsilon(RandomizedResponse):
    """Labels are kept as if ε were twice as large."""

    def run(self, values, ids):
        return RandomizedResponse(2 * self.epsilon, self.classes).run(values, ids)


class NullIsFirst(RandomizedResponse):
    """A missing label is published as the first class."""

    def run(self, values, ids):
        missing = np.array([value is None for value in values])
        return np.where(missing, self.classes[0], super().run(values, ids))


class DrawnTwice(RandomizedResponse):
    """The labels are drawn again at every look; two digits, one a look."""

    def run(self, values, ids):
        return 10 * super().run(values, ids) + super().run(values, ids)


class LikelyClasses(RandomizedResponse):
    """Noise among the two classes that a patient's features allow."""

    def run(self, values, ids):
        pair = RandomizedResponse(self.epsilon, (0, 1)).run([value % 2 for value in values], ids)
        return pair + 2 * (np.asarray(values) // 2)


def kept(epsilon):
    """The chances of the own label, and of each other one."""
    return math.exp(epsilon) / (math.exp(epsilon) + 3), 1 / (math.exp(epsilon) + 3)


def labels(mechanism, gone=1, says_yes=0, rates=None, there=0, **more):
    """The canary's label is 0, and is exchanged for `gone`."""
    world = through_the_door(mechanism, there, gone, lambda released: (released == says_yes).astype(float))
    return Case(world, mechanism.event, 0.5, rates, **more)


def right(epsilon, gone=1):
    own, other = kept(epsilon)
    return (other if gone is not None else 1 / 4), 1 - own


class HalfOfTheScale(LaplaceLabels):
    """Scale 1/ε, as if one entry moved."""

    def run(self, values, ids):
        return LaplaceLabels(2 * self.epsilon, self.classes).run(values, ids)


class LaplaceTwice(LaplaceLabels):
    """The mean of two tables of one label."""

    def run(self, values, ids):
        return (super().run(values, ids) + super().run(values, ids)) / 2


def table(mechanism, scale, there=0, gone=1, **more):
    """The canary's row: the entry of the label less that of the other one, exact up to where the ratio ends.

    The log-likelihood ratio of two entries of Laplace noise, each cut to ±1/scale, is at its end when the own entry is above 1
    and the other one below 0.
    """
    reach = 1 / scale

    def ratio(released):
        first, second = (laplace_ratio(1.0, 0.0, scale)(released[:, at]) for at in (0, 1))
        return first - second if gone is not None else first

    ends, edge = (2, 1.99) if gone is not None else (1, 0.995)
    world = through_the_door(mechanism, there, gone, ratio)
    return Case(world, mechanism.event, edge * reach, rates_of_table(reach, ends, edge), **more)


def rates_of_table(reach, ends, edge):
    """Of the sum of one or two ratios of Laplace noise above `edge` times `reach`, by numbers."""
    inside = np.linspace(-reach, reach, 20_001)

    def law(present):  # mass at each end, and between
        far, near = 0.5 * math.exp(-reach), 0.5
        top, bottom = (near, far) if present else (far, near)
        cells = 0.25 * np.exp(-(reach - inside if present else reach + inside) / 2) * (inside[1] - inside[0])
        cells *= (1 - top - bottom) / cells.sum()
        return np.concatenate([[bottom], cells, [top]])

    places = np.concatenate([[-reach], inside, [reach]])
    rates = []
    for present in (False, True):
        one = law(present)
        above = [one[places > edge * reach - other].sum() for other in (places if ends == 2 else [0.0])]
        rates.append(float(np.dot(one, above)) if ends == 2 else above[0])
    return rates[0], 1 - rates[1]


# parts of a release

PARTS = {"rna": (0.5, 2), "wes": (1.0, 1)}
NOISES = (0.5, 0.5, 1.0)
BOTH = events.gaussian(1 / math.sqrt(1 / 0.5**2 + 1))  # what a patient pays
ROW = np.array([0.6, 0.8, 1.0])


class UnclippedParts(GaussianBlocks):
    """Clipped to the length √m of all parts together: one part alone may be longer than its price."""

    def run(self, contributions, ids):
        lengths = np.linalg.norm(contributions, axis=1, keepdims=True)
        rows = contributions * np.minimum(1.0, math.sqrt(len(self.blocks)) / np.maximum(lengths, 1e-12))
        widths = [width for _, width in self.blocks.values()]
        scales = np.repeat([noise for noise, _ in self.blocks.values()], widths)
        return perturb(np.zeros(len(scales)), 1.0) * scales + rows.sum(axis=0)


class NoiseOfTheOther(GaussianBlocks):
    """Parts take one another's noise."""

    def run(self, contributions, ids):
        names, noises = list(self.blocks), [noise for noise, _ in self.blocks.values()][::-1]
        pairs = zip(names, noises, self.blocks.values(), strict=True)
        return GaussianBlocks({name: (noise, width) for name, noise, (_, width) in pairs}).run(contributions, ids)


class OneNoiseForAll(GaussianBlocks):
    """All parts get the noise of the least noisy one."""

    def run(self, contributions, ids):
        least = min(noise for noise, _ in self.blocks.values())
        return GaussianBlocks({name: (least, width) for name, (_, width) in self.blocks.items()}).run(
            contributions, ids
        )


def blocks(mechanism, event, scales=NOISES, looked_at=1, row=ROW, sent=None, **more):
    """A patient's row against nothing, along the direction that tells most; `sent` before it is clipped."""
    shift = np.asarray(looked_at) * row / scales
    mu = float(np.linalg.norm(shift))
    rows = np.array([row if sent is None else sent])

    def world(present, runs):
        noisy = np.array([mechanism.run(rows * present, ["canary"]) for _ in range(runs)])
        return noisy / scales @ shift / mu - mu / 2

    return Case(world, event, 0.0, half_way(mu), **more)


# gradients

OTHERS = np.array([0.3, -2.0, 0.1, 5.0])
CANARY = np.array([0.5, -0.5, 0.5, -0.5])  # of length 1


def gradients(scale, steps=1, charged=None, precision="float32", **more):
    """The mean, over the steps, of noisy sums of clipped gradients, the canary's among them."""
    import torch

    dtype = getattr(torch, precision)

    def world(present, runs):
        total = torch.tensor(OTHERS + CANARY * present, dtype=dtype)
        noisy = [total + gaussian_noise((runs, 4), scale, dtype=dtype) for _ in range(steps)]
        along = sum((one.double().numpy() - OTHERS) @ CANARY for one in noisy) / steps
        return along - 0.5

    mu = math.sqrt(steps) / scale
    return Case(world, events.gaussian(NOISE, charged or steps), 0.0, half_way(mu), **more)


class Seeded:
    """Noise from numpy's global generator, which the attacker has seeded: they subtract it."""

    @staticmethod
    def world(present, runs):
        np.random.seed(0)
        noisy = np.random.normal(0, NOISE, runs) + present
        np.random.seed(0)
        return noisy - np.random.normal(0, NOISE, runs)


FAULTLESS = {
    "noisy scores": lambda: noisy_scores(NoisyScores(NOISE), runs=5_000, least=0.6),
    "noisy scores, the least": lambda: noisy_scores(NoisyScores(NOISE), -math.inf, 0.0),
    "noisy scores, little noise": lambda: noisy_scores(NoisyScores(0.5), scale=0.25, least=0.6),
    "noisy scores, nine of them": lambda: many_scores(NoisyScores(NOISE), lambda own: [own] + [0.5] * 8, runs=400),
    "laplace": lambda: laplace_scores(LaplaceScores(NOISE), NOISE, runs=5_000, least=0.5),
    "laplace, beyond": lambda: laplace_scores(LaplaceScores(NOISE), NOISE, there=-7.0),
    "laplace, little noise": lambda: laplace_scores(LaplaceScores(0.5), 0.5, runs=5_000, least=0.6),
    "the best": lambda: choice_of_the_best(GumbelTopK(NOISE), 0.5, 4, 0.0, -0.3, runs=5_000, least=0.2),
    "the best, dear": lambda: choice_of_the_best(GumbelTopK(0.25), 0.125, 30, 0.0, 0.0, runs=1_000, least=0.3),
    "the best two": lambda: choice_of_the_best(GumbelTopK(HALF, 2), 0.25, 6, 0.0, -3.05, least=0.2),
    "the best three": lambda: choice_of_the_best(GumbelTopK(HALF, 3), 0.25, 10, 0.0, -4.05, least=0.2),
    "a label": lambda: labels(RandomizedResponse(EPSILON, CLASSES), rates=right(EPSILON), runs=4_000, least=0.5),
    "a missing label": lambda: labels(RandomizedResponse(EPSILON, CLASSES), None, rates=right(EPSILON, None)),
    "a label, little noise": lambda: labels(RandomizedResponse(3.0, CLASSES), rates=right(3.0), least=0.6),
    "a table of labels": lambda: table(LaplaceLabels(EPSILON, CLASSES), 2 / EPSILON, runs=8_000, least=0.45),
    "a table, a missing label": lambda: table(LaplaceLabels(EPSILON, CLASSES), 2 / EPSILON, gone=None, runs=4_000),
    "a table, little noise": lambda: table(LaplaceLabels(3.0, CLASSES), 2 / 3.0, runs=4_000, least=0.5),
    "all parts": lambda: blocks(GaussianBlocks(PARTS), BOTH, least=0.7),
    "all parts, a large patient": lambda: blocks(GaussianBlocks(PARTS), BOTH, sent=9 * ROW, least=0.7),
    "one part": lambda: blocks(GaussianBlocks(PARTS), events.gaussian(1.0), looked_at=(0, 0, 1), least=0.4),
    "one part, a patient large in the other": lambda: blocks(
        GaussianBlocks(PARTS), events.gaussian(0.5), looked_at=(1, 1, 0), sent=ROW * [9, 9, 1], least=0.6
    ),
    "gradients": lambda: gradients(NOISE, runs=100_000, least=0.9),
    "gradients in double precision": lambda: gradients(NOISE, precision="float64", runs=100_000, least=0.9),
    "gradients of four steps": lambda: gradients(NOISE, steps=4, runs=50_000, least=0.9),
}
FAULTY = {
    "half the noise on scores": lambda: noisy_scores(HalfNoisy(NOISE), scale=HALF / 2, runs=1_000),
    "scores that are not cut": lambda: noisy_scores(Uncut(NOISE), there=3.0, counted=3.0, runs=500),
    "an empty slot that counts 0": lambda: noisy_scores(NullIsZero(NOISE), null=0.0, runs=1_000),
    "scores in units of the best": lambda: many_scores(Scaled(NOISE), lambda best: [1.0] + [0.5 / best] * 8, runs=300),
    "one noise for all": one_for_all,
    "half of laplace": lambda: laplace_scores(HalfLaplace(NOISE), HALF, runs=2_000),
    "half the noise on the best": lambda: choice_of_the_best(HalfGumbel(NOISE), 0.25, 4, 0.0, -1.63, runs=4_000),
    "half the noise on two": lambda: choice_of_the_best(HalfGumbel(NOISE, 2), 0.25, 6, 0.0, -3.05, runs=8_000),
    "twice epsilon": lambda: labels(TwiceEpsilon(EPSILON, CLASSES), rates=right(2 * EPSILON)),
    "a missing label is the first": lambda: labels(
        NullIsFirst(EPSILON, CLASSES), None, says_yes=1, there=1, rates=(0.0, 1 - kept(EPSILON)[0])
    ),
    "likely classes": lambda: labels(
        LikelyClasses(EPSILON, CLASSES), gone=2, rates=(0.0, 1 / (1 + math.exp(EPSILON))), runs=200
    ),
    "a table of scale 1/ε": lambda: table(HalfOfTheScale(EPSILON, CLASSES), 1 / EPSILON, runs=8_000),
    "a part clipped with the others": lambda: blocks(
        UnclippedParts(PARTS), events.gaussian(0.5), row=np.array([0.6, 0.8, 0.0]) * 2**0.5
    ),
    "noise of the other part": lambda: blocks(
        NoiseOfTheOther(PARTS), events.gaussian(1.0), (1.0, 1.0, 0.5), looked_at=(0, 0, 1), runs=1_000
    ),
    "the noise of the least noisy part": lambda: blocks(OneNoiseForAll(PARTS), BOTH, (0.5, 0.5, 0.5), runs=3_000),
    "half the noise on gradients": lambda: gradients(HALF, runs=1_000),
    "a tenth less noise on gradients": lambda: gradients(0.9 * NOISE, runs=100_000),
    "four steps for one": lambda: gradients(NOISE, steps=4, charged=1, runs=1_000),
    "noise from a seed": lambda: Case(Seeded.world, events.gaussian(NOISE), 0.5, (0.0, 0.0), runs=500),
}
SLOW = {
    "labels drawn twice": lambda: labels(
        DrawnTwice(EPSILON, CLASSES), rates=(kept(EPSILON)[1] ** 2, 1 - kept(EPSILON)[0] ** 2), runs=4_000
    ),
    "half the noise on three": lambda: choice_of_the_best(HalfGumbel(NOISE, 3), 0.25, 10, 0.0, -4.05, runs=16_000),
}


@pytest.mark.parametrize("name", FAULTLESS)
def test_nothing_tells_more_than_its_price(name):
    case = FAULTLESS[name]()
    found, proven = case.carry_out(threshold=case.threshold)
    assert case.least * case.price <= proven <= case.price, str(found)
    assert not found.beats(epsilon=price_of(case.event), delta=DELTA), str(found)


@pytest.mark.parametrize("name", ["noisy scores", "laplace", "the best", "the best three", "a label", "gradients"])
def test_nor_at_a_threshold_of_the_attackers_choice(name):
    case = FAULTLESS[name]()
    found = attack(case.world, 1_500, confidence=SURE, delta=DELTA)
    assert not found.beats(epsilon=price_of(case.event), delta=DELTA), str(found)


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_tells_more_than_its_price(name):
    case = FAULTY[name]()
    found, proven = case.carry_out(threshold=case.threshold)
    assert proven > case.price, str(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_a_rarely_visible_fault_tells_more_than_its_price(name):
    case = SLOW[name]()
    found, proven = case.carry_out(threshold=case.threshold)
    assert proven > case.price, str(found)


@pytest.mark.parametrize("name", [*FAULTLESS, *FAULTY, *SLOW])
def test_the_attacks_are_sharp(name):
    """They prove more than the price; of faultless code, a share of it."""
    case = (FAULTLESS | FAULTY | SLOW)[name]()
    claim = (case.least if name in FAULTLESS else 1.0) * case.price
    claims = {"mu": claim} if case.mu else {"epsilon": claim, "delta": DELTA}
    assert claim == 0 or missed(case.rates, case.runs, **claims) < MISSED


@pytest.mark.parametrize("name", FAULTLESS)
def test_the_rates_are_allowed_by_the_price(name):
    """Without chance: the error rates of faultless code obey 1 - FNR <= e^ε FPR + δ, and the other way round."""
    case = FAULTLESS[name]()
    positive, negative = case.rates
    limit = math.exp(price_of(case.event)) * (1 + 1e-12)  # of rounding
    assert 1 - negative <= limit * positive + DELTA
    assert 1 - positive <= limit * negative + DELTA


SCORES = st.floats(0, 1)


@given(
    others=st.lists(SCORES, max_size=4),
    own=SCORES,
    noise=st.sampled_from([0.5, 1.0, 3.0]),
    k=st.integers(1, 3),
)
def test_the_choice_of_the_best_is_worth_its_price_whatever_the_others_score(others, own, noise, k):
    """From exact chances, in both directions: what exceeds e^ε times the other world is δ at most."""
    worlds = [chances((score, *others), noise / 2, k) for score in (own, 0.5)]
    limit = math.exp(price_of(events.gumbel_top_k(noise, k))) * (1 + 1e-12)
    for first, second in (worlds, worlds[::-1]):
        assert np.maximum(first - limit * second, 0).sum() <= DELTA


def test_half_the_noise_would_not_be():
    for k, others in ((1, 4), (2, 6), (3, 10)):
        first, second = (chances((score, *[0.0] * others), HALF / 2, k) for score in (0.5, 1.0))
        limit = math.exp(price_of(events.gumbel_top_k(NOISE, k)))
        assert np.maximum(first - limit * second, 0).sum() > 100 * DELTA
