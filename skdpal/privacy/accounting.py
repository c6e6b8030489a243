"""What releases cost together, and who may still afford what.

Invariants
----------
* Gaussian releases compose exactly: μ² adds, under any adaptivity (Smith and Thakurta 2022;
  a self-contained proof is in docs/trusted_kernel.md, Lemma G). So `sum of μ² <= B²`,
  checked before each release, is a valid filter for the ceiling ε(B).
* Rounding goes against us: prices up, ceilings down. No tolerance is ever added to a ceiling.
* Prices read public parameters only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache

from scipy.special import log_ndtr

from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.events import Event, mu_squared
from skdpal.privacy.validation import check_real

__all__ = ["calibrate", "ceiling_mu_squared", "delta_of_mu", "epsilon_of", "epsilon_of_mu", "price"]

_ROUNDING = 1e-9  # relative, of the ε that is reported; covers the error of log_ndtr many times


def delta_of_mu(mu: float, epsilon: float) -> float:
    """δ(ε) of μ-GDP: Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ) (Dong, Roth and Su 2022, Corollary 1)."""
    if mu <= 0:
        return 0.0
    if math.isinf(mu):
        return 1.0
    first = float(log_ndtr(mu / 2 - epsilon / mu))
    second = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    # exp(first) - exp(second), without the cancellation that eats a δ of 1e-12
    return math.exp(first) * -math.expm1(min(second - first, 0.0))


def epsilon_of_mu(mu: float, delta: float) -> float:
    """The smallest ε >= 0 for which μ-GDP is (ε, δ)-DP, rounded up."""
    if mu < 0 or math.isnan(mu):
        raise ValueError(f"Expected mu >= 0. Found {mu!r}.")
    if math.isinf(mu):
        return math.inf
    if delta_of_mu(mu, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while delta_of_mu(mu, high) > delta:
        low, high = high, 2 * high
    low, high = _bisect(lambda epsilon: delta_of_mu(mu, epsilon) <= delta, low, high)
    return high * (1 + _ROUNDING)


@lru_cache(maxsize=256)
def ceiling_mu_squared(budget: PrivacyBudget) -> float:
    """B², the largest sum of μ² that the budget allows, rounded down."""

    def too_much(mu: float) -> bool:
        return epsilon_of_mu(mu, budget.delta) > budget.epsilon

    low, high = 0.0, 1.0
    while not too_much(high):
        low, high = high, 2 * high
    low, high = _bisect(too_much, low, high)
    return low * low


def price(events: Iterable[Event], *, replace_one: bool = False) -> float:
    """Sum of μ² of releases; infinity if one has no proven μ."""
    return math.fsum(mu_squared(event, replace_one=replace_one) for event in events)


def epsilon_of(events: Iterable[Event], delta: float) -> float:
    """ε of a list of releases at δ, under zero-out.

    Parameters
    ----------
    events : iterable of Event
        From `skdpal.privacy.events`.
    delta : float
        0 < δ < 1.

    Returns
    -------
    float
        Exact up to a relative 1e-9, rounded up; infinity if a release is not private.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> round(epsilon_of([events.gaussian(4.0)], delta=1e-5), 3)
    0.926
    """
    delta = check_real("delta", delta, above=0.0, below=1.0)
    return epsilon_of_mu(math.sqrt(price(events)), delta)


def calibrate(make_event: Callable[[float], Event], budget: PrivacyBudget) -> float:
    """The smallest parameter for which an event fits a budget.

    Parameters
    ----------
    make_event : callable
        Takes a noise multiplier, returns an event that costs less when it grows.
    budget : PrivacyBudget
        The ceiling.

    Returns
    -------
    float
        Rounded up, so that charging the event once to a fresh ledger of this budget succeeds.

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
    ceiling = ceiling_mu_squared(budget)
    low, high = 1e-6, 1e9

    def fits(value: float) -> bool:
        return price([make_event(value)]) <= ceiling

    if not fits(high):
        raise ValueError("No noise_multiplier up to 1e9 fits the budget. Raise epsilon or release less.")
    if fits(low):
        return low
    # a hair above, so that k shares of a budget still fit after k roundings
    return _bisect(fits, low, high)[1] * (1 + 1e-12)


def _bisect(above: Callable[[float], bool], low: float, high: float) -> tuple[float, float]:
    """Neighbours (low, high) with above(low) false and above(high) true, to the last bits."""
    while low < (middle := _between(low, high)) < high and high - low > 1e-14 * high:
        low, high = (low, middle) if above(middle) else (middle, high)
    return low, high


def _between(low: float, high: float) -> float:
    return math.sqrt(low * high) if low > 0 and high / low > 4 else (low + high) / 2
