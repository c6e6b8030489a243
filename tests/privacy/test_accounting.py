"""Prices against computations that share no code with them."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from skdpal.privacy import PrivacyBudget, PrivacyLedger, calibrate, epsilon_of, events
from skdpal.privacy.accounting import ceiling_mu_squared, delta_of_mu, epsilon_of_mu, mu_squared
from skdpal.privacy.filters import GdpFilter, RenyiFilter

SIGMAS = st.floats(0.3, 50)


def quadrature(mu, epsilon):
    """δ by integrating (p - e^ε q)+ for p = N(μ, 1), q = N(0, 1): the definition."""
    crossing = mu / 2 + epsilon / mu

    def excess(x):
        return norm.pdf(x, mu) - math.exp(epsilon) * norm.pdf(x)

    return quad(excess, crossing, max(crossing, mu) + 12, epsabs=1e-14, epsrel=1e-10, limit=500)[0]


@pytest.mark.parametrize("mu", [0.05, 0.142, 0.5016, 1.0, 2.5, 5.0])
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0, 2.0, 6.0])
def test_delta_is_the_integral_of_its_definition(mu, epsilon):
    assert delta_of_mu(mu, epsilon) == pytest.approx(quadrature(mu, epsilon), rel=1e-6, abs=1e-13)


@pytest.mark.parametrize(("epsilon", "mu"), [(0.5, 0.142), (1, 0.268), (2, 0.502), (3, 0.719), (5, 1.121), (8, 1.666)])
def test_published_table_of_mu(epsilon, mu):
    assert math.sqrt(ceiling_mu_squared(PrivacyBudget(epsilon, 1e-5))) == pytest.approx(mu, abs=6e-4)


@pytest.mark.parametrize(("sigma", "steps"), [(4.0, 1), (1.994, 1), (8.0, 20), (1.0, 3), (30.0, 1)])
def test_agrees_with_a_privacy_loss_distribution(sigma, steps):
    from dp_accounting import GaussianDpEvent, NeighboringRelation
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(NeighboringRelation.REPLACE_SPECIAL)
    accountant.compose(GaussianDpEvent(sigma), steps)
    theirs = accountant.get_epsilon(1e-5)
    ours = epsilon_of([events.gaussian(sigma, steps)], 1e-5)
    assert ours <= theirs * 1.001  # theirs is rounded up on a grid
    assert ours == pytest.approx(theirs, rel=2e-3, abs=2e-4)


def test_replace_one_is_not_a_factor_two_in_epsilon():
    mu = math.sqrt(ceiling_mu_squared(PrivacyBudget(2.0, 1e-5)))
    assert epsilon_of_mu(2 * mu, 1e-5) == pytest.approx(4.39, abs=5e-3)
    assert epsilon_of_mu(math.sqrt(2) * mu, 1e-5) == pytest.approx(2.95, abs=5e-3)


@given(mu=st.floats(1e-4, 60), exponent=st.floats(-14, -0.5))
def test_epsilon_is_the_smallest_that_meets_delta_and_errs_upwards(mu, exponent):
    delta = 10**exponent
    epsilon = epsilon_of_mu(mu, delta)
    assert delta_of_mu(mu, epsilon) <= delta
    if epsilon > 1e-6:
        assert delta_of_mu(mu, epsilon * (1 - 1e-6) - 1e-12) > delta * (1 - 1e-12)


@given(sigma=SIGMAS, steps=st.integers(1, 200))
def test_composing_k_times_is_k_steps(sigma, steps):
    once = mu_squared(events.gaussian(sigma, steps))
    assert mu_squared(events.composed([events.gaussian(sigma)] * steps)) == pytest.approx(once, rel=1e-12)
    assert mu_squared(events.composed([events.gaussian(sigma)], count=steps)) == pytest.approx(once, rel=1e-12)


@given(st.permutations([0.7, 1.3, 2.0, 5.5]))
def test_order_does_not_matter(sigmas):
    there, back = (events.composed(list(map(events.gaussian, order))) for order in (sigmas, sorted(sigmas)))
    assert mu_squared(there) == mu_squared(back)
    for filter in (GdpFilter(PrivacyBudget(9.0)), RenyiFilter.at_one_order(PrivacyBudget(9.0))):
        assert filter.price(there) == filter.price(back)


@given(sigma=SIGMAS, more=st.floats(1.0001, 3))
def test_more_noise_never_costs_more(sigma, more):
    assert epsilon_of([events.gaussian(sigma * more)], 1e-5) <= epsilon_of([events.gaussian(sigma)], 1e-5)


@settings(max_examples=30, deadline=None)
@given(epsilon=st.floats(0.05, 30), exponent=st.floats(-12, -1), steps=st.integers(1, 40))
def test_what_is_calibrated_can_be_charged_and_hardly_less_noise_cannot(epsilon, exponent, steps):
    budget = PrivacyBudget(epsilon, 10**exponent)
    sigma = calibrate(lambda noise: events.gaussian(noise, steps), budget)
    ledger = PrivacyLedger(budget)
    assert not ledger.affords(events.gaussian(sigma * (1 - 1e-3), steps))
    for _ in range(steps):  # share by share, with all their roundings
        ledger.charge(events.gaussian(sigma), "share")
    assert ledger.spent() <= epsilon


@pytest.mark.parametrize("delta", [1e-12, 1e-300, 0.5, 0.999])
@pytest.mark.parametrize("epsilon", [1e-6, 1.0, 1e3])
def test_a_ceiling_is_rounded_down_and_not_by_much(epsilon, delta):
    budget = PrivacyBudget(epsilon, delta)
    mu = math.sqrt(ceiling_mu_squared(budget))
    assert epsilon_of_mu(mu, delta) <= epsilon
    assert epsilon_of_mu(mu * (1 + 1e-6), delta) > epsilon


@given(mu=st.floats(1e-3, 30), epsilon=st.floats(0, 50), more=st.floats(1.001, 2))
def test_delta_falls_with_epsilon_and_grows_with_mu(mu, epsilon, more):
    delta = delta_of_mu(mu, epsilon)
    assert 0 <= delta <= 1
    rounding = 1 + 1e-12
    assert delta_of_mu(mu, epsilon * more) <= delta * rounding <= delta_of_mu(mu * more, epsilon) * (1 + 1e-9)


def test_prices_are_rounded_up_and_by_almost_nothing():
    rng = np.random.default_rng(0)
    for sigma, steps in zip(rng.uniform(0.3, 50, 3000).tolist(), rng.integers(1, 200, 3000).tolist(), strict=True):
        exact = steps / Fraction(sigma) ** 2
        assert exact <= Fraction(mu_squared(events.gaussian(sigma, steps))) <= exact * (1 + Fraction(1, 2**48))


def test_calibrate_says_when_nothing_fits(budget):
    with pytest.raises(ValueError, match="Raise epsilon or release less"):
        calibrate(lambda noise: events.nonprivate(), budget)


def test_calibrate_returns_its_least_where_nothing_costs(budget):
    assert calibrate(lambda noise: events.composed([]), budget) == 1e-6


def test_extremes():
    assert epsilon_of([], 1e-5) == 0
    assert epsilon_of([events.nonprivate()], 1e-5) == math.inf
    assert delta_of_mu(0, 1) == 0
    assert delta_of_mu(math.inf, 1) == 1
    with pytest.raises(ValueError, match="mu >= 0"):
        epsilon_of_mu(-1, 1e-5)
    with pytest.raises(ValueError, match="delta"):
        epsilon_of([events.gaussian(1)], 0)


def test_a_gaussian_attack_reaches_the_price():
    """The best test between the two worlds has exactly the δ of the formula: the price is not slack either."""
    rng = np.random.default_rng(0)
    mu, epsilon, draws = 1.0, 0.5, 400_000
    threshold = mu / 2 + epsilon / mu
    power = (rng.normal(mu, 1, draws) > threshold).mean()
    alarms = (rng.normal(0, 1, draws) > threshold).mean()
    assert power - math.exp(epsilon) * alarms == pytest.approx(delta_of_mu(mu, epsilon), abs=6 * 2 / math.sqrt(draws))
