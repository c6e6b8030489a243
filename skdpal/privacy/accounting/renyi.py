"""Rényi differential privacy: the divergence of a release at each order.

Invariants
----------
* At one order, or at every order of a curve that was fixed beforehand, divergences add under any
  adaptivity (Feldman and Zrnic 2021). "Some order still fits" is no filter: docs/trusted_kernel.md.
* Both directions of zero-out are bounded. Rounding goes up.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy import events
from skdpal.privacy.events import Event

__all__ = ["ORDERS", "best_epsilon", "conversion", "curve"]

ORDERS = (*(round(1.1 + step / 10, 1) for step in range(99)), *range(11, 64), 128, 256, 512, 1024)
_ROUNDING = 1 + 1e-9


def conversion(order: float, delta: float) -> float:
    """What to add to the divergence at an order to get ε (Canonne, Kamath and Steinke 2020, Proposition 12)."""
    return math.log1p(-1 / order) - math.log(delta * order) / (order - 1)


def best_epsilon(divergences: Iterable[float], orders: Iterable[float], delta: float) -> float:
    """The least ε that one of the orders proves, for divergences known beforehand."""
    found = min(value + conversion(order, delta) for order, value in zip(orders, divergences, strict=True))
    return max(float(found), 0.0)


def curve(event: Event, orders: Sequence[float] = ORDERS) -> NDArray[np.float64]:
    """The Rényi divergence of an event at each order, rounded up; infinity where none is known."""
    return _curve(event, tuple(orders)) * _ROUNDING


@lru_cache(maxsize=512)
def _curve(event: Event, orders: tuple[float, ...]) -> NDArray[np.float64]:
    alpha = np.asarray(orders, dtype=np.float64)
    if isinstance(event, events.Composed):
        parts = [_curve(part, orders) for part in event.events]
        return np.asarray(event.count * np.sum([np.zeros(len(alpha)), *parts], axis=0))
    if isinstance(event, events.OneOf):
        return np.asarray(np.max([np.zeros(len(alpha)), *(_curve(part, orders) for part in event.events)], axis=0))
    if isinstance(event, events.Gaussian):
        return np.asarray(event.steps * alpha / (2 * event.noise_multiplier**2))
    if isinstance(event, events.RandomizedResponse):
        return _response(event, alpha)
    if isinstance(event, events.BoundedRange):  # zCDP of a peel (Cesar and Rogers 2021), and its pure ε
        eta = 1 / event.noise_multiplier
        return np.asarray(event.k * np.minimum(eta**2 * alpha / 8, eta))
    if isinstance(event, events.NonPrivate):
        return np.full(len(alpha), np.inf)
    # λ̂ of repeat-and-select is a public choice over the whole grid, also when one order is asked for
    others = ORDERS if isinstance(event, events.RepeatAndSelect) else ()
    return _accountant(_library(event), (*orders, *others))[: len(alpha)]


def _response(event: events.RandomizedResponse, alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divergence of the two laws whose true labels differ; the other labels are equally likely in both."""
    log_other = -np.logaddexp(event.epsilon, math.log(event.n_classes - 1))
    log_true, rest = event.epsilon + log_other, (event.n_classes - 2) * math.exp(log_other)
    both = np.logaddexp(alpha * log_true + (1 - alpha) * log_other, alpha * log_other + (1 - alpha) * log_true)
    total = np.logaddexp(both, math.log(rest)) if rest > 0 else both
    return np.asarray(np.maximum(total, 0.0) / (alpha - 1))


def _accountant(event: Any, orders: tuple[float, ...]) -> NDArray[np.float64]:
    from dp_accounting.privacy_accountant import NeighboringRelation  # imported late: most ledgers do without
    from dp_accounting.rdp import RdpAccountant

    if event is None:
        return np.full(len(orders), np.inf)
    accountant = RdpAccountant(orders, NeighboringRelation.REPLACE_SPECIAL)
    with _quiet():  # an order whose series does not converge is infinite, which is all there is to say
        return np.asarray(accountant.compose(event).rdp, dtype=np.float64)


@contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _library(event: Event) -> Any:
    """The event in dp-accounting's words; None if it has none there."""
    from dp_accounting import dp_event as library

    if isinstance(event, events.PoissonGaussian):
        step = library.PoissonSampledDpEvent(event.sampling_rate, library.GaussianDpEvent(event.noise_multiplier))
        return library.SelfComposedDpEvent(step, event.steps)
    if isinstance(event, events.Gaussian):
        return library.SelfComposedDpEvent(library.GaussianDpEvent(event.noise_multiplier), event.steps)
    if isinstance(event, events.Laplace):
        return library.LaplaceDpEvent(event.noise_multiplier)
    if isinstance(event, events.Composed):
        parts = [_library(part) for part in event.events]
        known = library.ComposedDpEvent([part for part in parts if part is not None])
        return library.SelfComposedDpEvent(known, event.count) if None not in parts else None
    if isinstance(event, events.RepeatAndSelect):
        run = _library(event.event)
        return None if run is None else library.RepeatAndSelectDpEvent(run, event.mean, event.shape)
    return None
