"""Rényi differential privacy: the divergence of a release at each order.

Invariants
----------
* At one order, or at every order of a curve that was fixed beforehand, divergences add under any
  adaptivity (Feldman and Zrnic 2021). "Some order still fits" is no filter: docs/trusted_kernel.md.
* Both directions of zero-out are bounded. Rounding goes up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp, xlog1py

from skdpal.privacy import events
from skdpal.privacy.accounting.repetition import gamma_of
from skdpal.privacy.events import Event

__all__ = ["ORDERS", "best_epsilon", "conversion", "curve"]

ORDERS = (*(round(1.1 + step / 10, 1) for step in range(99)), *range(11, 64), 128, 256, 512, 1024)
_ROUNDING = 1 + 1e-9
_LEAST = 2.0**-100  # nothing is free, however small
Numbers = NDArray[np.float64]


def conversion(order: float, delta: float) -> float:
    """What to add to the divergence at an order to get ε (Canonne, Kamath and Steinke 2020, Proposition 12)."""
    return math.log1p(-1 / order) - math.log(delta * order) / (order - 1)


def best_epsilon(divergences: Iterable[float], orders: Iterable[float], delta: float) -> float:
    """The least ε that one of the orders proves, for divergences known beforehand."""
    found = min(value + conversion(order, delta) for order, value in zip(orders, divergences, strict=True))
    return max(float(found), 0.0)


def curve(event: Event, orders: Sequence[float] = ORDERS) -> Numbers:
    """The Rényi divergence of an event at each order, rounded up; infinity where none is known."""
    return _curve(event, tuple(orders)) * _ROUNDING


@lru_cache(maxsize=512)
def _curve(event: Event, orders: tuple[float, ...]) -> Numbers:
    alpha = np.asarray(orders, dtype=np.float64)
    match event:
        case events.Composed():
            parts = [_curve(part, orders) for part in event.events]
            return np.asarray(event.count * np.sum([np.zeros(len(alpha)), *parts], axis=0))
        case events.OneOf():
            return np.asarray(np.max([np.zeros(len(alpha)), *(_curve(part, orders) for part in event.events)], axis=0))
        case events.Gaussian():
            return np.asarray(event.steps * alpha * (0.5 / event.noise_multiplier / event.noise_multiplier) + _LEAST)
        case events.PoissonGaussian():
            return event.steps * _sampled(event.noise_multiplier, event.sampling_rate, alpha)
        case events.Laplace():
            return _laplace(1 / event.noise_multiplier, alpha)
        case events.RandomizedResponse():
            return _response(event.epsilon, event.n_classes, alpha)
        case events.BoundedRange():  # zCDP of a peel (Cesar and Rogers 2021), and its pure ε
            eta = 1 / event.noise_multiplier
            return np.asarray(event.k * np.minimum(eta * eta * alpha / 8, eta) + _LEAST)
        case events.RepeatAndSelect():
            return _selected(event, orders)
    return np.full(len(alpha), np.inf)


def _sampled(sigma: float, rate: float, alpha: Numbers) -> Numbers:
    """One step of the sampled Gaussian mechanism (Mironov, Talwar and Zhang 2019, Theorem 5).

    At whole orders the sum minus one has positive terms only, so small divergences keep their digits. Between them
    (α − 1) R(α), a cumulant, is convex: the chord is a bound.
    """
    below, above = np.maximum(np.floor(alpha), 1.0), np.ceil(alpha)
    whole = {order: _sampled_whole(sigma, rate, int(order)) for order in {*below.tolist(), *above.tolist()}}
    part = alpha - below
    low, high = (np.array([whole[order] for order in orders.tolist()]) for orders in (below, above))
    return np.asarray(((1 - part) * low + part * high) / (alpha - 1))


def _sampled_whole(sigma: float, rate: float, order: int) -> float:
    """(α − 1) R(α)."""
    if order == 1:
        return 0.0
    k = np.arange(2, order + 1)
    choose = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
    grown = k * (k - 1) / (2 * sigma * sigma)
    terms = choose + k * math.log(rate) + xlog1py(order - k, -rate)
    # e^grown - 1 in logarithms, for grown of any size
    total = float(logsumexp(terms + grown + np.log(-np.expm1(-grown))))
    return float(np.logaddexp(0.0, total)) + _LEAST


def _laplace(epsilon: float, alpha: Numbers) -> Numbers:
    """Mironov 2017, Proposition 6; the last term is above the rounding of a logarithm near 1."""
    near = np.log(alpha / (2 * alpha - 1)) + (alpha - 1) * epsilon
    far = np.log((alpha - 1) / (2 * alpha - 1)) - alpha * epsilon
    return np.asarray((np.maximum(np.logaddexp(near, far), 0.0) + 2.0**-46) / (alpha - 1))


def _response(epsilon: float, n_classes: int, alpha: Numbers) -> Numbers:
    """Divergence of the two laws whose true labels differ; the other labels are equally likely in both."""
    log_other = -np.logaddexp(epsilon, math.log(n_classes - 1))
    up, down = alpha * epsilon, (alpha - 1) * epsilon
    # sum - 1 = other (e^up - 1) (1 - e^-down): a product, so that small divergences keep their digits
    excess = log_other + up + np.log(-np.expm1(-up)) + np.log(-np.expm1(-down))
    return np.asarray(np.logaddexp(0.0, excess) / (alpha - 1) + _LEAST)


def _selected(event: events.RepeatAndSelect, orders: tuple[float, ...]) -> Numbers:
    """The best of a random number of runs (Papernot and Steinke 2022, Theorems 2 and 6).

    The second order λ̂, and the δ̂ of Poisson numbers, are public choices over the whole grid. Divergences grow with
    the order: a bound at a larger order holds at a smaller one.
    """
    every = tuple(sorted({*orders, *ORDERS}))
    alpha, grid, run = np.asarray(every), np.asarray(ORDERS), _curve(event.event, every)
    runs = run[np.searchsorted(alpha, grid)]
    if math.isinf(event.shape):
        reach = np.log1p(1 / (alpha - 1))[:, None]
        log_delta = (grid - 1) * (runs - reach + np.log1p(-1 / grid)) - np.log(grid)
        extra = event.mean * np.exp(np.minimum(log_delta.min(axis=1), 0.0))
    else:
        spread = (1 - 1 / grid) * runs - math.log(gamma_of(event.mean, event.shape)) / grid
        extra = np.full(len(alpha), (1 + event.shape) * spread.min())
    bound = run + extra + math.log(event.mean) / (alpha - 1)
    return np.minimum.accumulate(bound[::-1])[::-1][np.searchsorted(alpha, np.asarray(orders))]
