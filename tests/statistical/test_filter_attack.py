"""Attacks on adaptive filters: who chooses the next release by the outcome of the last must not get past the ceiling.

Everything here is exact: finite tables, or integrals over the privacy loss of the first release. An adversary who sees
the loss l of what came first and then picks among releases with profiles δ_m gets δ(ε) = E[max over m of δ_m(ε - l)].
Each filter of the kernel is held against that, beside a planted one that is known to be wrong.
"""

import math

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import norm

from skdpal.privacy import Charge, PrivacyBudget, PrivacyLedger, Schedule, Split, calibrate, epsilon_of, events
from skdpal.privacy.accounting.amounts import add, ceil_of, fits
from skdpal.privacy.accounting.frozen import epsilon_of_roles
from skdpal.privacy.accounting.gaussian import delta_of_mu
from skdpal.privacy.accounting.renyi import best_epsilon, conversion
from skdpal.privacy.accounts import POOL
from skdpal.privacy.filters import RenyiFilter

BUDGET = PrivacyBudget(2.0, 1e-5)
ORDERS = (8.0, 10.0, 12.0, 16.0, 20.0, 24.0, 32.0, 40.0)


# ---- profiles -----------------------------------------------------------------------------------------------------


def gaussian_profile(mu):
    return lambda x: ndtr(mu / 2 - x / mu) - np.exp(x) * ndtr(-mu / 2 - x / mu)


def laplace_profile(scale):
    def profile(x):
        inside = -np.expm1((np.minimum(x, 1 / scale) - 1 / scale) / 2)
        return np.where(x < -1 / scale, -np.expm1(np.minimum(x, 0)), inside)

    return profile


def response_profile(epsilon, n_classes):
    other = 1 / (math.exp(epsilon) + n_classes - 1)
    p = np.array([math.exp(epsilon) * other, other, (n_classes - 2) * other])
    q = p[[1, 0, 2]]
    return lambda x: np.maximum(p - np.exp(x)[..., None] * q, 0).sum(axis=-1)


def sampled_profile(sigma, rate):
    """One step of DP-SGD, the patient present against absent: outputs above t, where the loss passes x."""

    def profile(x):
        ratio = np.maximum(np.expm1(x) / rate, -1)
        with np.errstate(divide="ignore"):
            t = sigma**2 * np.log1p(ratio) + 0.5
        present = (1 - rate) * ndtr(-t / sigma) + rate * ndtr((1 - t) / sigma)
        return present - np.exp(x) * ndtr(-t / sigma)

    return profile


def after_gaussian(mu, profile, epsilon):
    """δ(ε) of a Gaussian release and what follows it."""
    loss = np.linspace(mu**2 / 2 - 9 * mu, mu**2 / 2 + 9 * mu, 20_001)
    return float(norm.pdf(loss, mu**2 / 2, mu) @ profile(epsilon - loss) * (loss[1] - loss[0]))


def epsilon_after_gaussian(mu, profile):
    return brentq(lambda epsilon: after_gaussian(mu, profile, epsilon) - BUDGET.delta, 0.01, 30)


# ---- "some order still fits" is no filter -------------------------------------------------------------------------


def divergence(p, q, order):
    """Rényi divergence of two answers, yes with probability p or q, the larger direction."""

    def one(p, q):
        yes = order * np.log(p) + (1 - order) * np.log(q)
        no = order * np.log1p(-p) + (1 - order) * np.log1p(-q)
        return np.logaddexp(yes, no) / (order - 1)

    return np.maximum(one(p, q), one(q, p))


EDGES = np.array([-np.inf, *np.linspace(-1.2, 2.2, 60), np.inf])
FIRST = np.diff(norm.cdf(EDGES - 0.2)), np.diff(norm.cdf(EDGES))  # N(0.2, 1) against N(0, 1), in bins
LOSS = np.log(FIRST[0] / FIRST[1])


def of_first(order):
    p, q = np.log(FIRST[0]), np.log(FIRST[1])
    return max(np.logaddexp.reduce(order * a + (1 - order) * b) for a, b in ((p, q), (q, p))) / (order - 1)


def best_answers(left, orders, n_gaps=40):
    """For each bin of the first release the yes-or-no answer that gains most and fits at every order: p, q, gain."""
    wanted = BUDGET.epsilon - LOSS
    gap = wanted[:, None] + np.geomspace(0.02, 8, n_gaps)  # log(p / q); with no gain below `wanted`
    gap = np.maximum(gap, 1e-9)

    def too_much(log_p):
        p = np.exp(log_p)
        return np.any(
            [divergence(p, p * np.exp(-gap), order) > most for order, most in zip(orders, left, strict=True)], axis=0
        )

    low, high = np.full(gap.shape, math.log(1e-14)), np.full(gap.shape, math.log(0.5))
    for _ in range(45):
        middle = (low + high) / 2
        above = too_much(middle)
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    p = np.exp(low) * (1 - 1e-9)
    gain = np.where((gap > wanted[:, None]) & ~too_much(low), p * -np.expm1(wanted[:, None] - gap), 0)
    rows, best = np.arange(len(gap)), np.argmax(gain, axis=1)
    gain = gain[rows, best]
    p, q = p[rows, best], p[rows, best] * np.exp(-gap[rows, best])
    return np.where(gain > 0, p, 0.5), np.where(gain > 0, q, 0.5), gain  # or ask nothing


def joint_delta(p, q, epsilon=BUDGET.epsilon):
    """Exact δ(ε) of both answers together, in the worse direction."""
    tables = [
        np.concatenate([first * answer, first * (1 - answer)]) for first, answer in zip(FIRST, (p, q), strict=True)
    ]
    assert [table.sum() for table in tables] == pytest.approx([1, 1])
    return max(np.maximum(a - math.exp(epsilon) * b, 0).sum() for a, b in (tables, tables[::-1]))


def test_the_adversary_beats_a_filter_that_lets_any_order_decide():
    """Planted: every path is within ε = 2 by dp-accounting's conversion, and δ is 1.76 times what that says."""
    answers = [
        best_answers([BUDGET.epsilon - conversion(order, BUDGET.delta) - of_first(order)], [order]) for order in ORDERS
    ]
    best = np.argmax([gain for _, _, gain in answers], axis=0)
    assert len(set(best)) > 2  # different orders on different paths
    p, q = (np.array([answers[order][part][place] for place, order in enumerate(best)]) for part in (0, 1))
    for place in range(len(LOSS)):
        spent = [of_first(order) + divergence(p[place], q[place], order) for order in ORDERS]
        assert best_epsilon(spent, ORDERS, BUDGET.delta) <= BUDGET.epsilon
    assert joint_delta(p, q) == pytest.approx(1.76e-5, abs=0.02e-5)
    assert brentq(lambda epsilon: joint_delta(p, q, epsilon) - BUDGET.delta, 1, 4) == pytest.approx(2.018, abs=2e-3)


@pytest.mark.parametrize("order", ORDERS)
def test_the_same_adversary_does_not_beat_one_order(order):
    filter = RenyiFilter.at_one_order(BUDGET, order)
    paid = ceil_of([of_first(order)])
    (left,) = (most - part for most, part in zip(filter.ceiling, paid, strict=True))
    p, q, gain = best_answers([left / 2**100], [order])
    for place in range(len(LOSS)):
        price = ceil_of([float(divergence(p[place], q[place], order))])
        assert fits(add(paid, price), filter.ceiling)
        if 0 < gain[place] and p[place] < 0.49:  # takes all that is left
            more = ceil_of([float(divergence(1.01 * p[place], 1.01 * q[place], order))])
            assert not fits(add(paid, more), filter.ceiling)
    assert gain.max() > 0
    assert joint_delta(p, q) <= BUDGET.delta


def test_the_same_adversary_does_not_beat_a_curve():
    plan = events.gaussian(calibrate(events.gaussian, BUDGET, filter="renyi") * 1.001)
    filter = RenyiFilter.along(BUDGET, plan)
    few = [place for place, order in enumerate(filter.orders) if order in (*range(2, 64, 2), 1.1, 1.5, 128)]
    paid = ceil_of(of_first(order) for order in filter.orders)
    left = [most - part for most, part in zip(filter.ceiling, paid, strict=True)]
    assert min(left) > 0
    p, q, gain = best_answers([left[place] / 2**100 for place in few], [filter.orders[place] for place in few], 24)
    for place in range(len(LOSS)):  # smaller until it fits at the others too
        while not fits(
            add(paid, ceil_of(float(divergence(p[place], q[place], order)) for order in filter.orders)), filter.ceiling
        ):
            p[place], q[place] = 0.98 * p[place], 0.98 * q[place]
    assert gain.max() > 0
    assert 0.05 * BUDGET.delta < joint_delta(p, q) <= BUDGET.delta


# ---- the gdp filter with pure releases in between -----------------------------------------------------------------

SHARES = 4


def affordable(paid):
    """Profiles of the releases that a gdp ledger affords when `paid` of four shares are spent; each takes all."""
    ledger = PrivacyLedger(BUDGET)
    share = calibrate(lambda noise: events.gaussian(noise, steps=SHARES), BUDGET)
    if paid:
        ledger.charge(events.gaussian(share, steps=paid), "before")
    profiles = {"gaussian": gaussian_profile(1 / ledger.headroom(events.gaussian))}
    for n_classes in (2, 10):
        epsilon = ledger.headroom(lambda epsilon, k=n_classes: events.randomized_response(epsilon, k))
        profiles[f"response of {n_classes}"] = response_profile(epsilon, n_classes)
    profiles["laplace"] = laplace_profile(ledger.headroom(events.laplace))
    return ledger, share, profiles


def the_best_of(profiles):
    return lambda x: np.max([profile(x) for profile in profiles.values()], axis=0)


@pytest.mark.parametrize("paid", [1, 2, 3])
def test_a_choice_between_gaussian_and_pure_releases_stays_below_delta(paid):
    """First a Gaussian release; then, by its outcome, all that is left for whichever release shows most."""
    ledger, share, profiles = affordable(paid)
    mu = math.sqrt(paid) / share
    fixed = {name: after_gaussian(mu, profile, BUDGET.epsilon) for name, profile in profiles.items()}
    assert fixed["gaussian"] == pytest.approx(BUDGET.delta, rel=1e-4)  # nothing is wasted on Gaussians
    chosen = after_gaussian(mu, the_best_of(profiles), BUDGET.epsilon)
    assert max(fixed.values()) <= chosen * (1 + 1e-9)
    assert chosen <= BUDGET.delta
    assert ledger.spent() < BUDGET.epsilon


def test_the_best_of_all_strategies_of_four_rounds_stays_below_delta():
    """Backwards from the last round: in each, a share of any kind, or at once all that is left, whatever shows most."""
    grid = np.linspace(-12, 12, 6001)
    share = affordable(0)[1]
    one_share = affordable(SHARES - 1)[2]
    value = the_best_of(one_share)(grid)  # one share left
    only_gaussian = one_share["gaussian"](grid)

    def expected(value, losses, masses):
        later = CubicSpline(grid, value)
        inside = np.clip(grid[:, None] - losses, grid[0], grid[-1])
        return later(inside) @ masses

    mu = 1 / share
    losses = np.linspace(mu**2 / 2 - 9 * mu, mu**2 / 2 + 9 * mu, 241)
    masses = norm.pdf(losses, mu**2 / 2, mu) * (losses[1] - losses[0])
    ledger = affordable(SHARES - 1)[0]
    epsilon = ledger.headroom(lambda epsilon: events.randomized_response(epsilon, 2))
    answer = np.array([epsilon, -epsilon]), np.array([1, math.exp(-epsilon)]) / (1 + math.exp(-epsilon))
    for left in range(2, SHARES + 1):
        at_once = the_best_of(affordable(SHARES - left)[2])(grid)
        value = np.max([at_once, expected(value, losses, masses), expected(value, *answer)], axis=0)
        only_gaussian = expected(only_gaussian, losses, masses)
    at_the_ceiling = np.searchsorted(grid, BUDGET.epsilon - 1e-9)
    assert grid[at_the_ceiling] == pytest.approx(BUDGET.epsilon)
    assert only_gaussian[at_the_ceiling] == pytest.approx(BUDGET.delta, rel=1e-4)
    assert value[at_the_ceiling] <= BUDGET.delta * (1 + 1e-4)  # the error of the grid


# ---- loss distributions of fixed roles are no filter --------------------------------------------------------------


@pytest.mark.parametrize(("mu", "rate", "times"), [(0.3, 0.5, 1.93), (0.4, 0.5, 1.74)])
def test_the_dearest_fixed_role_is_too_cheap_when_a_release_decides_the_role(mu, rate, times):
    """One release of scores; by its outcome a patient goes to DP-SGD or stays with Laplace; each path costs ε = 2."""
    sigma = brentq(lambda s: after_gaussian(mu, sampled_profile(s, rate), BUDGET.epsilon) - BUDGET.delta, 0.2, 20)
    scale = brentq(lambda b: after_gaussian(mu, laplace_profile(b), BUDGET.epsilon) - BUDGET.delta, 0.4, 30)
    profiles = {"child": sampled_profile(sigma, rate), "pool": laplace_profile(scale)}
    for profile in profiles.values():
        assert after_gaussian(mu, profile, BUDGET.epsilon) == pytest.approx(BUDGET.delta, rel=1e-6)
    true_delta = after_gaussian(mu, the_best_of(profiles), BUDGET.epsilon)
    true_epsilon = epsilon_after_gaussian(mu, the_best_of(profiles))
    assert true_delta == pytest.approx(times * BUDGET.delta, rel=0.01)
    assert 2.06 < true_epsilon < 2.08

    scores = events.noisy_scores(1 / mu)
    child, pool = events.poisson_gaussian(sigma, rate, 1), events.laplace(scale)
    for role in (child, pool):
        assert epsilon_of([scores, role], BUDGET.delta) == pytest.approx(BUDGET.epsilon, abs=3e-3)
    price = epsilon_of_roles([((scores,), (child,)), ((scores,), (pool,))], BUDGET.delta)
    assert true_epsilon <= price <= 1.01 * true_epsilon
    schedule = Schedule([scores, Split(POOL, "cohort/child"), Charge(child, "cohort/child"), Charge(pool, POOL)])
    assert schedule.epsilon(BUDGET.delta) == pytest.approx(price, rel=1e-6)


# ---- a reading is not a guarantee ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("rounds", "noise", "times"), [(1, 2.0, 1.0), (20, 1 / 0.3, 6.74), (10, 1.0, 5.61)])
def test_stopping_when_the_odometer_looks_low_breaks_what_it_reads(rounds, noise, times):
    """Stop when the loss is above the ε that `spent()` shows: δ is many times that. The ceiling holds."""
    ceiling = epsilon_of([events.gaussian(noise, steps=rounds)], BUDGET.delta) * (1 + 1e-8)
    ledger = PrivacyLedger(PrivacyBudget(ceiling, BUDGET.delta))
    mu = 1 / noise
    grid = np.linspace(-20, 45, 13_001)
    step = grid[1] - grid[0]
    kernel = norm.pdf(np.arange(-12 * mu, 12 * mu + mu**2, step), mu**2 / 2, mu) * step
    shift = -12 * mu
    density = norm.pdf(grid, mu**2 / 2, mu)
    of_reading = of_ceiling = 0.0
    for _ in range(rounds):
        ledger.charge(events.gaussian(noise), "round")
        reading = ledger.spent()
        stopped = grid > reading
        of_reading += (density * np.maximum(-np.expm1(reading - grid), 0))[stopped].sum() * step
        of_ceiling += (density * np.maximum(-np.expm1(np.minimum(ceiling - grid, 0)), 0))[stopped].sum() * step
        going_on = np.where(stopped, 0, density)
        density = np.interp(
            grid, grid[0] + shift + step * np.arange(len(grid) + len(kernel) - 1), np.convolve(going_on, kernel)
        )
    assert of_reading == pytest.approx(times * BUDGET.delta, rel=0.01)
    assert of_ceiling <= BUDGET.delta * (1 + 1e-4)  # the error of the grid
    assert reading <= ledger.certificate()["epsilon"] == ceiling
    assert delta_of_mu(math.sqrt(rounds) * mu, ceiling) <= BUDGET.delta
