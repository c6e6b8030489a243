"""Prices turned round: the noise, or the number of steps, that a budget pays for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from skdpal.privacy.accounting.amounts import fits
from skdpal.privacy.accounting.frozen import epsilon_of
from skdpal.privacy.accounting.gaussian import mu_squared
from skdpal.privacy.accounting.search import bisect
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.events import Event
from skdpal.privacy.filters import Filter, GdpFilter, RenyiFilter
from skdpal.privacy.validation import check_one_of

__all__ = ["calibrate", "dearest"]

_LEAST, _MOST = 1e-6, 1e9


def calibrate(
    make_event: Callable[[float], Event],
    budget: PrivacyBudget,
    *,
    filter: str | None = None,
    order: float | None = None,
) -> float:
    """The smallest noise with which an event fits a budget.

    Parameters
    ----------
    make_event : callable
        Takes a noise multiplier, returns an event that costs less when it grows.
    budget : PrivacyBudget
        The ceiling.
    filter : {"gdp", "renyi", "planned"}, optional
        The kind of ledger that will be charged. Default: "gdp" if the event has a proven μ, else "planned".
    order : float, optional
        Of a "renyi" ledger.

    Returns
    -------
    float
        Rounded up, so that charging the event once to a fresh ledger of this budget and kind succeeds;
        to the last digits if the price is in closed form, to a relative 1e-4 for loss distributions.

    Raises
    ------
    ValueError
        If no noise multiplier between 1e-6 and 1e9 fits.

    Examples
    --------
    >>> from skdpal import PrivacyBudget
    >>> from skdpal.privacy import calibrate, events
    >>> round(calibrate(lambda sigma: events.gaussian(sigma, steps=20), PrivacyBudget(2.0, 1e-5)), 3)
    8.917
    """
    if filter is None:
        filter = "gdp" if math.isfinite(mu_squared(make_event(1.0))) else "planned"
    check_one_of("filter", filter, ["gdp", "renyi", "planned"])
    if filter == "planned":
        return _smallest(lambda value: epsilon_of([make_event(value)], budget.delta) <= budget.epsilon, 1e-2, 1e-4)
    adaptive: Filter = GdpFilter(budget) if filter == "gdp" else RenyiFilter.at_one_order(budget, order)
    return _smallest(lambda value: fits(adaptive.price(make_event(value)), adaptive.ceiling), _LEAST, 1e-14)


def _smallest(fitting: Callable[[float], bool], low: float, tolerance: float) -> float:
    if fitting(low):
        return low
    high = 1.0
    while not fitting(high):
        low, high = high, 4 * high
        if high > _MOST:
            raise ValueError("No noise_multiplier up to 1e9 fits the budget. Raise epsilon or release less.")
    # a hair above, so that k shares of a budget still fit after k roundings
    return bisect(fitting, low, high, tolerance)[1] * (1 + 1e-12)


def dearest(
    make_event: Callable[[Any], Event], price: Callable[[Event], float], affords: Callable[[Event], bool]
) -> float:
    """The parameter of the dearest event of a family that is still affordable; see `PrivacyLedger.headroom`."""

    def fitting(value: float) -> bool:
        try:
            return affords(make_event(value))
        except ValueError:  # outside the family, as a sampling rate above 1
            return False

    try:
        cheaper = price(make_event(0.5)) < price(make_event(0.25))
    except ValueError:
        return _largest_whole(fitting)
    if cheaper:
        return _smallest(fitting, _LEAST, 1e-9) if fitting(_MOST) else math.inf
    low, high = 0.0, _LEAST
    while fitting(high):
        low, high = high, 2 * high
        if high > _MOST:
            return math.inf
    return bisect(lambda value: not fitting(value), low, high, 1e-9)[0] if low else 0.0


def _largest_whole(fitting: Callable[[float], bool]) -> float:
    low, high = 0, 1
    while fitting(high):
        low, high = high, 2 * high
        if high > _MOST:
            return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fitting(middle) else (low, middle)
    return low
