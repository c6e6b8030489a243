"""Attacks on hidden acceptance, and on the price of rounds whose coins are fresh and secret.

The first half runs whole studies of `PrivateActiveLearner` with `PrivateQuery`, in two worlds: the pool with a patient, and with
the slot empty. Planted faults let patients meet: a cap, a quantile of the pool, asking again when nobody was accepted, a
z-score. (Half the noise, retraining, a realised normaliser and a queue: test_loop_attack.py. An order of one's
choice: test_filter_attack.py. A split before the charge: test_query_attack.py.)

The second half simulates the mechanism of Theorem C (iii) without the package, and holds it against the package's price.
A persistent coin with re-use, coins that are known, and a threshold must be dearer than that price.

Verdicts on faultless code are wrong with probability 1e-6 at most; so are the others (the tests that are named sharp).
"""

import math
from functools import lru_cache

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from skdpal import DPPrototypeClassifier, PrivateActiveLearner, PrivateQuery
from skdpal.audit import attack, likelihood_ratio
from skdpal.privacy import PrivacyBudget, PrivacyLedger, epsilon_of, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.randomness import simulation
from tests.statistical.sharpness import MISSED, missed

DELTA = 1e-5
SURE = 1 - 1e-6

# ---- studies ------------------------------------------------------------------------------------------------------

CLASSES, WIDTH = 3, 12
POOLED, START = range(12), [12, 13]
RNG = np.random.default_rng(1)
ROWS = RNG.normal(size=(14, WIDTH))
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)
LABELS = np.array([2, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1])
IDS = np.array([f"patient {number}" for number in range(14)])
CANARY = 0  # alone in class 2
ENTRIES = np.zeros((14, CLASSES, WIDTH + 1))  # what each patient contributes, of length 1
ENTRIES[np.arange(14), LABELS] = np.column_stack([ROWS, np.ones(14)]) / np.sqrt(2)
REFERENCE = np.random.default_rng(2).normal(size=(12, WIDTH)) / 4


def study(present, query, sigma, rounds, wanted):
    """Everything that the rounds of one study release: an array of shape (rounds, classes, features + 1)."""
    pool = np.array(POOLED)[0 if present else 1 :]
    ledger = PrivacyLedger(PrivacyBudget(*one_release(sigma)))
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(sigma, classes=range(CLASSES)),
        query(),
        ROWS[START],
        LABELS[START],
        ledger=ledger,
        record_ids=IDS[START],
    )
    for _ in range(rounds):
        chosen, rows = learner.query(ROWS[pool], wanted, record_ids=IDS[pool])
        learner.teach(rows, LABELS[pool[chosen]], record_ids=IDS[pool[chosen]])
    assert ledger.spent() <= ledger.budget.epsilon
    return np.array([np.column_stack([one.sums, one.counts]) for one in learner.estimator.releases_[1:]])


@lru_cache
def one_release(sigma):
    """The budget: no more."""
    return epsilon_of([events.gaussian(sigma)], DELTA) * (1 + 1e-6), DELTA


def world_of(statistic, sigma, rounds, query=lambda: PrivateQuery(n_pool=len(POOLED)), wanted=2):
    def world(present, runs):
        with simulation(seed=int(present)):
            return [statistic(study(present, query, sigma, rounds, wanted)) for _ in range(runs)]

    return world


# rules that look at the pool as a whole: rows of those who wait come in, positions go out


def scoring(*scores):
    """A public direction along which those of the pool score as told; each score looks at the own row only."""
    direction = np.linalg.solve(ROWS[list(POOLED)], scores)
    return lambda rows: rows @ direction


IN_ORDER = scoring(*np.linspace(1.0, 0.35, 12))
FAR = scoring(50.0, *[0.8] * 10, 0.1)


def capped(rows):
    """Accepted by a public threshold, but one a round at most."""
    scores = IN_ORDER(rows)
    return np.argsort(-np.where(scores > 0.3, scores, -np.inf))[:1]


def quantile(rows):
    """The threshold is a quantile of the pool."""
    scores = IN_ORDER(rows)
    return np.flatnonzero(scores >= np.quantile(scores, 0.95))


def asked_again(rows):
    """A public threshold; if nobody passes, all are asked."""
    accepted = np.flatnonzero(IN_ORDER(rows) > 0.97)
    return accepted if len(accepted) else np.arange(len(rows))


def standing_out(rows):
    """A public threshold on the z-score."""
    scores = FAR(rows)
    return np.flatnonzero(scores - scores.mean() > 0.1 * scores.std())


SLOW = pytest.mark.slow
PLANTED_RULES = [  # rule, noise multiplier, rounds, runs of each world
    pytest.param(capped, 0.5, 4, 140, marks=SLOW),
    pytest.param(quantile, 0.5, 4, 140, marks=SLOW),
    (asked_again, 1.0, 1, 60),
    (standing_out, 1.0, 1, 60),
]


def cohorts(rule, present, rounds):
    """Whom a rule accepts, round by round."""
    waiting, accepted = list(POOLED)[0 if present else 1 :], []
    for _ in range(rounds):
        accepted.append([waiting[at] for at in rule(ROWS[waiting])])
        waiting = [patient for patient in waiting if patient not in accepted[-1]]
    return accepted


def exact(rule, present, rounds):
    """What the rounds release before noise."""
    return np.array([ENTRIES[cohort].sum(axis=0) for cohort in cohorts(rule, present, rounds)])


def plant(patch, rule):
    """The books are kept as always; whom to ask comes from the rule."""
    keep_books = PrivateQuery.__call__

    def faulty(query, learner, X_pool, n_instances=3, *, record_ids=None, **more):
        keep_books(query, learner, X_pool, n_instances, record_ids=record_ids, **more)
        waiting = [at for at, leaf in enumerate(learner.ledger.accounts_of(record_ids)) if leaf == POOL]
        return np.array([waiting[at] for at in rule(np.asarray(X_pool)[waiting])], dtype=np.intp)

    patch.setattr(PrivateQuery, "__call__", faulty)


@pytest.mark.parametrize(("rule", "sigma", "rounds", "runs"), PLANTED_RULES)
def test_patients_who_meet_tell_more_than_was_charged(monkeypatch, rule, sigma, rounds, runs):
    plant(monkeypatch, rule)
    statistic = likelihood_ratio(exact(rule, True, rounds), exact(rule, False, rounds), sigma)
    found = attack(world_of(statistic, sigma, rounds), runs, threshold=0.0, confidence=SURE)
    assert found.beats(mu=1 / sigma), str(found)


@pytest.mark.parametrize(("rule", "sigma", "rounds", "runs"), PLANTED_RULES)
def test_the_attacks_on_them_are_sharp(rule, sigma, rounds, runs):
    """The canary moves others, which acceptance never does."""
    there, gone = exact(rule, True, rounds), exact(rule, False, rounds)
    error = norm.sf(np.linalg.norm(there - gone) / sigma / 2)
    assert missed((error, error), runs, mu=1 / sigma) < MISSED
    first = [cohorts(rule, present, 1)[0] for present in (True, False)]
    assert CANARY in first[0]
    assert set(first[0]) - {CANARY} != set(first[1])


def everybody_at_once(sigma):
    """Log-likelihood ratio if the first round accepts the whole pool."""
    others = ENTRIES[1:12].sum(axis=0)
    ratio = likelihood_ratio(others + ENTRIES[CANARY], others, sigma)
    return lambda released: ratio(released[0])


def in_some_round(sigma):
    """Log-likelihood ratio if the canary is in one of the rounds, all equally likely, and nobody else is."""

    def statistic(released):
        along = np.tensordot(released, ENTRIES[CANARY])
        return float(np.logaddexp.reduce((along - 0.5) / sigma**2) - math.log(len(released)))

    return statistic


HONEST_RUNS = 80
LEAST = 0.15  # of the charge; proven if everybody is accepted
SETTINGS = {
    "everybody": (everybody_at_once, lambda: PrivateQuery(n_pool=12), 0.2, 1, 12, LEAST),
    "probability": (in_some_round, lambda: PrivateQuery(n_pool=12, tilt=1.0), 0.5, 3, 4, 0.0),
    "threshold": (
        in_some_round,
        lambda: PrivateQuery(reference=REFERENCE, n_pool=12, acceptance="threshold"),
        0.5,
        3,
        4,
        0.0,
    ),
}


@pytest.mark.parametrize(
    "setting", ["everybody", pytest.param("probability", marks=SLOW), pytest.param("threshold", marks=SLOW)]
)
def test_hidden_rounds_tell_no_more_than_the_charge(setting):
    make, query, sigma, rounds, wanted, least = SETTINGS[setting]
    world = world_of(make(sigma), sigma, rounds, query, wanted)
    found = attack(world, HONEST_RUNS, threshold=0.0, confidence=SURE)
    assert least / sigma <= found.mu <= 1 / sigma, str(found)


def test_the_attack_on_everybody_is_sharp():
    error = norm.sf(1 / 0.2 / 2)
    assert missed((error, error), HONEST_RUNS, mu=LEAST / 0.2) < MISSED


# ---- the price of fresh secret coins ---------------------------------------------------------------------------------

PRICES = [(1.99, 0.1, 5), (1.99, 0.2, 5), (1.0, 0.1, 5)]  # noise multiplier, largest rate, rounds


@lru_cache
def amplified(sigma, rate, rounds):
    """What the package charges for such rounds."""
    return epsilon_of([events.poisson_gaussian(sigma, rate, 1)] * rounds, DELTA)


class Loop:
    """One patient in hidden rounds, many runs at once: each round releases b + noise, b whether the patient is in it.

    In the world without, b is 0. `statistic` returns the exact log-likelihood ratio of what was released, so that no attack
    is sharper.
    """

    def __init__(self, sigma, rate, rounds, seed=0):
        self.sigma, self.rate, self.rounds, self.seed = sigma, rate, rounds, seed

    def world(self, present, runs):
        random = np.random.default_rng([self.seed, present])
        coins = random.random((self.rounds, runs))
        noise = random.normal(0, self.sigma, (self.rounds, runs))
        return self.play(coins if present else np.ones_like(coins), noise)

    def evidence(self, released):
        """Likelihood ratio of one release, if the patient is in it."""
        return np.exp((released - 0.5) / self.sigma**2)

    def play(self, coins, noise):
        """Fresh coins; accepted once."""
        released = noise.copy()
        waiting = np.ones(noise.shape[1], dtype=bool)
        ratio, left = np.zeros(noise.shape[1]), np.ones(noise.shape[1])
        for number in range(self.rounds):
            rate = self.rate_after(released[:number])
            accepted = waiting & (coins[number] < rate)
            released[number] += accepted
            waiting &= ~accepted
            ratio += left * rate * self.evidence(released[number])
            left *= 1 - rate
        return np.log(ratio + left)

    def rate_after(self, released):
        return np.full(released.shape[1], self.rate)


class Adaptive(Loop):
    """The rate of acceptance follows what was released, up to the largest rate."""

    def rate_after(self, released):
        return np.where(released.sum(axis=0) >= 0, self.rate, self.rate / 4)


class Reused(Loop):
    """Accepted again and again, each time by a fresh coin: the composition that is charged."""

    def play(self, coins, noise):
        released = noise + (coins < self.rate)
        return np.log1p(self.rate * (self.evidence(released) - 1)).sum(axis=0)


class Persistent(Loop):
    """Accepted again and again by the same coin."""

    def play(self, coins, noise):
        released = noise + (coins[0] < self.rate)
        return released.sum(axis=0)  # the likelihood ratio increases with it


class Threshold(Loop):
    """Accepted for sure in the first round, as a threshold accepts for some content."""

    def play(self, coins, noise):
        return noise[0] + (coins[0] < 1)


class Known(Loop):
    """Accepted once, by fresh coins that the attacker knows: it is looked at only if accepted."""

    def play(self, coins, noise):
        accepted = coins < self.rate
        return np.where(accepted.any(axis=0), noise[accepted.argmax(axis=0), np.arange(noise.shape[1])] + 1, -np.inf)

    def world(self, present, runs):
        random = np.random.default_rng([self.seed, present])
        coins = random.random((self.rounds, runs))
        noise = random.normal(0, self.sigma, (self.rounds, runs))
        return self.play(coins, noise) - (not present)


HONEST = [Loop, Adaptive, Reused]
AMPLIFIED_RUNS = 30_000
ATTACKED_RUNS = 400_000


@pytest.mark.parametrize("price", PRICES)
@pytest.mark.parametrize("kind", HONEST)
def test_fresh_coins_tell_no_more_than_the_amplified_price(kind, price):
    found = attack(kind(*price).world, AMPLIFIED_RUNS, delta=DELTA, confidence=SURE)
    assert found.epsilon(DELTA) <= amplified(*price), str(found)


@pytest.mark.parametrize(("kind", "least"), [(Reused, 0.3), (Loop, 0.2), (Adaptive, 0.2)])
def test_the_attack_on_fresh_coins_works(kind, least):
    """Where noise is little, it proves a good part of the price. (The stream is fixed, so this cannot fail by chance.)"""
    price = (1.0, 0.3, 3)
    found = attack(kind(*price).world, 3 * AMPLIFIED_RUNS, delta=DELTA, confidence=SURE)
    assert least * amplified(*price) < found.epsilon(DELTA) <= amplified(*price), str(found)


def rates(kind, threshold, sigma, rate, rounds):
    """Exact error rates, without and with the patient."""
    if kind is Persistent:
        gone, there = norm(0, sigma * math.sqrt(rounds)), norm(rounds, sigma * math.sqrt(rounds))
        return gone.sf(threshold), (1 - rate) * gone.cdf(threshold) + rate * there.cdf(threshold)
    if kind is Threshold:
        return norm.sf(threshold, 0, sigma), norm.cdf(threshold, 1, sigma)
    accepted = 1 - (1 - rate) ** rounds
    return accepted * norm.sf(threshold, 0, sigma), 1 - accepted * norm.sf(threshold, 1, sigma)


PLANTED = {
    "a persistent coin, with re-use": (Persistent, (1.99, 0.2, 10), 22.0),
    "a threshold": (Threshold, (1.99, 0.1, 5), 5.0),
    "coins that are known": (Known, (1.99, 0.1, 5), 4.0),
}


@pytest.mark.parametrize("name", PLANTED)
def test_the_amplified_price_is_too_low_for(name):
    kind, price, threshold = PLANTED[name]
    found = attack(kind(*price).world, ATTACKED_RUNS, threshold=threshold, confidence=SURE)
    assert found.beats(epsilon=amplified(*price), delta=DELTA), str(found)


@pytest.mark.parametrize("name", PLANTED)
def test_the_attacks_on_the_amplified_price_are_sharp(name):
    kind, price, threshold = PLANTED[name]
    wrong = rates(kind, threshold, *price)
    assert missed(wrong, ATTACKED_RUNS, epsilon=amplified(*price), delta=DELTA) < MISSED


# without chance


def delta_of(density, log_ratio, epsilon):
    """δ at ε in both directions: `density` weighs the points by their chance in the world without."""
    ratio = np.exp(log_ratio)
    return max(
        float(density @ np.maximum(ratio - math.exp(epsilon), 0)),
        float(density @ np.maximum(1 - math.exp(epsilon) * ratio, 0)),
    )


@pytest.mark.parametrize("price", [(1.99, 0.1), (1.99, 0.36), (1.0, 0.2)])
def test_two_rounds_cost_what_is_charged_at_most_by_exact_integrals(price):
    sigma, rate = price
    points = np.linspace(-9 * sigma, 9 * sigma + 1, 1_501)
    chance = norm.pdf(points, 0, sigma) * (points[1] - points[0])
    first, second = np.meshgrid(points, points, indexing="ij")
    weights = np.outer(chance, chance).ravel()
    loop, epsilon = Loop(sigma, rate, 2), amplified(sigma, rate, 2)
    one, two = loop.evidence(first), loop.evidence(second)
    once = np.log(rate * one + (1 - rate) * rate * two + (1 - rate) ** 2)
    again = np.log1p(rate * (one - 1)) + np.log1p(rate * (two - 1))
    assert delta_of(weights, once.ravel(), epsilon) <= DELTA * (1 + 1e-3)  # the error of the grid
    assert 0.9 * DELTA <= delta_of(weights, again.ravel(), epsilon) <= DELTA * (1 + 1e-3)  # the charge is tight


@pytest.mark.parametrize(("rounds", "true", "charged"), [(2, 1.87, 1.43), (5, 3.73, 2.11), (10, 6.15, 2.91)])
def test_a_persistent_coin_with_re_use_by_exact_integrals(rounds, true, charged):
    """The figures of an independent computation."""
    sigma, rate = 1.99, 0.36
    spread = sigma * math.sqrt(rounds)
    points = np.linspace(-9 * spread, 9 * spread + rounds, 20_001)
    weights = norm.pdf(points, 0, spread) * (points[1] - points[0])
    log_ratio = np.log1p(rate * np.expm1((points - rounds / 2) / sigma**2))
    epsilon = brentq(lambda at: delta_of(weights, log_ratio, at) - DELTA, 0.1, 20)
    assert epsilon == pytest.approx(true, abs=0.01)
    assert amplified(sigma, rate, rounds) == pytest.approx(charged, abs=0.02)
    assert delta_of(weights, log_ratio, amplified(sigma, rate, rounds)) > 5 * DELTA
