"""Prices that are too low: each against what the release really tells, by exact sums."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom, norm

from skdpal.privacy import epsilon_of, events
from skdpal.privacy.accounting import renyi

DELTA = 1e-5


def delta_between(there, gone, epsilon):
    """Exact δ(ε) of two laws on one list of outcomes, in the worse direction."""
    e = math.exp(epsilon)
    return max(np.maximum(there - e * gone, 0).sum(), np.maximum(gone - e * there, 0).sum())


# ---- randomized response, asked k times -------------------------------------------------------------------------------


def dp_accounting_price(epsilon, times):
    """The library's price of one event that is composed with itself; its count is ignored there (version 0.6.0)."""
    from dp_accounting import NeighboringRelation, dp_event
    from dp_accounting.pld import PLDAccountant

    once = dp_event.RandomizedResponseDpEvent(2 / (1 + math.exp(epsilon)), 2)
    accountant = PLDAccountant(NeighboringRelation.REPLACE_ONE)
    accountant.compose(dp_event.SelfComposedDpEvent(once, times))
    return accountant.get_epsilon(DELTA)


def our_price(epsilon, times):
    return epsilon_of([events.composed([events.randomized_response(epsilon, 2)], count=times)], DELTA)


def told(epsilon, times, price):
    """δ at a price, of so many answers about one label."""
    keep = math.exp(epsilon) / (1 + math.exp(epsilon))
    number = np.arange(times + 1)
    return delta_between(binom.pmf(number, times, keep), binom.pmf(number, times, 1 - keep), price)


@pytest.mark.parametrize("times", [2, 5])
def test_repeated_answers_at_the_price_of_one(times):
    assert told(1.0, times, our_price(1.0, times)) <= DELTA * (1 + 1e-9)
    planted = dp_accounting_price(1.0, times)
    assert planted == pytest.approx(1.0, abs=1e-3)  # or the library is mended, and this fault is history
    assert told(1.0, times, planted) > 0.15


# ---- the best of a secret number of runs ------------------------------------------------------------------------------

SIGMA, MEAN = 3.73, 10.0  # one run costs ε = 1
BEST = np.linspace(-9, 9 + 1 / SIGMA, 4001)
STEP = BEST[1] - BEST[0]


def best_and_number(mu):
    """Masses of the best of k scores N(mu, 1), for each geometric k: shape (numbers, scores)."""
    number = np.arange(1, 301)[:, None]
    chance = (1 / MEAN) * (1 - 1 / MEAN) ** (number - 1)
    return chance * number * np.exp(norm.logpdf(BEST - mu) + (number - 1) * norm.logcdf(BEST - mu)) * STEP


def test_a_number_of_runs_that_is_seen_is_worth_more_than_the_price():
    """Without a chance, and without 150,000 searches (tests/statistical/test_search_attack.py has these)."""
    price = epsilon_of([events.repeat_and_select(events.gaussian(SIGMA), MEAN)], DELTA)
    there, gone = best_and_number(1 / SIGMA), best_and_number(0.0)
    assert there.sum() == pytest.approx(1.0, abs=1e-9)
    assert delta_between(there.sum(axis=0), gone.sum(axis=0), price) <= DELTA  # the best alone
    assert delta_between(there, gone, price) > 30 * DELTA  # the best, and how many there were
    true = brentq(lambda epsilon: delta_between(there, gone, epsilon) - DELTA, price, 8)
    assert price == pytest.approx(1.63, abs=0.01)
    assert true == pytest.approx(3.56, abs=0.05)


def test_a_second_order_that_is_not_taken_from_the_grid_is_seen(monkeypatch):
    """It costs more than it must; the check is that the price of an order is that of the whole curve at this order."""
    event, order = events.repeat_and_select(events.gaussian(SIGMA), MEAN), 20.0

    def checked():
        renyi._curve.cache_clear()
        return renyi.curve(event, (order,))[0]

    expected = renyi.curve(event)[renyi.ORDERS.index(order)]
    assert checked() == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(renyi, "ORDERS", (order,))  # λ̂ = the order that is asked for
    planted = checked()
    renyi._curve.cache_clear()
    assert planted > 1.05 * expected
