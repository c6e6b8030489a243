"""What an event of a receipt costs, computed anew from its JSON.

A price is two numbers, low and high: no proof can be below the first, since some data attain it, and the second is
proven. Where a price is exact they are the same. Divergences are integrated from the densities, not taken from formulas.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp

from skdpal.audit.certificate.gaussian import mu_between

__all__ = ["DENSE", "WHOLE", "conversion", "divergences", "gamma_of", "mu_squared", "parts_of", "renyi_epsilon"]

Event = Mapping[str, Any]
Numbers = NDArray[np.float64]
DENSE = tuple(1 + 10 ** (-1.3 + 0.02 * step) for step in range(216))  # orders from 1.05 to 1000
WHOLE = tuple(float(order) for order in range(2, 64))
_TOGETHER = ("composed", "modalities")


def mu_squared(event: Event) -> Fraction | float:
    """μ² of an event, exact for Gaussian noise; infinity if a Gaussian ledger has no price for it."""
    kind = event["kind"]
    if kind in ("gaussian", "noisy-scores"):
        return Fraction(event["steps"]) / Fraction(event["noise_multiplier"]) ** 2
    if kind in _TOGETHER:
        total: Fraction | float = sum((mu_squared(part) for part in event["events"]), Fraction())
        return int(event["count"]) * total
    if kind == "one-of":
        return max(map(mu_squared, event["events"]), default=Fraction())
    laws = _laws(event)
    return math.inf if laws is None else Fraction(mu_between(*laws)) ** 2


def divergences(event: Event, orders: Sequence[float]) -> tuple[Numbers, Numbers]:
    """The Rényi divergence of an event at each order: low and high."""
    return _divergences(json.dumps(event), tuple(orders))


def conversion(orders: Sequence[float], delta: float) -> Numbers:
    """What to add to divergences to get ε (Canonne, Kamath and Steinke 2020, Proposition 12)."""
    alpha = np.asarray(orders)
    return np.asarray((math.log(1 / delta) - np.log(alpha)) / (alpha - 1) + np.log((alpha - 1) / alpha))


def renyi_epsilon(event: Event, delta: float) -> tuple[float, float]:
    """ε of one event by its divergences: low over all orders, high over whole ones."""
    low = divergences(event, DENSE)[0] + conversion(DENSE, delta)
    high = divergences(event, WHOLE)[1] + conversion(WHOLE, delta)
    return max(float(low.min()), 0.0), max(float(high.min()), 0.0)


def parts_of(event: Event) -> dict[str, list[Event]]:
    """What of an event falls on each named part of the data: releases one of which, or all of which, it costs."""
    kind = event["kind"]
    if kind == "modalities":
        return {name: [part] for name, part in zip(event["names"], event["events"], strict=True)}
    if kind == "repeat-and-select":
        return {name: [event] for name in parts_of(event["event"])}
    found: dict[str, list[Event]] = {}
    for inner in event.get("events", ()):
        for name, parts in parts_of(inner).items():
            found.setdefault(name, []).append(parts[0])
    together = {"schema": 2, "kind": "composed", "count": event.get("count", 1)}
    made = {"schema": 2, "kind": "one-of"} if kind == "one-of" else together
    return {name: [{**made, "events": parts}] for name, parts in found.items()}


@lru_cache(maxsize=512)
def _divergences(text: str, orders: tuple[float, ...]) -> tuple[Numbers, Numbers]:
    event, alpha = json.loads(text), np.asarray(orders)
    kind, nothing = event["kind"], np.zeros(len(orders))
    if kind in _TOGETHER or kind == "one-of":
        prices = [divergences(part, orders) for part in event["events"]]
        merge: Callable[..., Any] = np.max if kind == "one-of" else np.sum
        count = event.get("count", 1)
        low, high = (count * merge([nothing, *(price[side] for price in prices)], axis=0) for side in (0, 1))
        return np.asarray(low), np.asarray(high)
    if kind in ("gaussian", "noisy-scores"):
        exact = alpha * event["steps"] / (2 * event["noise_multiplier"] ** 2)
    elif kind == "poisson-gaussian":
        exact = event["steps"] * _sampled(event, alpha)
        # (α − 1) R(α) is convex, so a chord between whole orders is above
        below, above = np.floor(alpha), np.ceil(alpha)
        ends = np.unique(np.concatenate([below, above]))
        at = dict(zip(ends.tolist(), ((ends - 1) * event["steps"] * _sampled(event, ends)).tolist(), strict=True))
        share = alpha - below
        chord = (1 - share) * np.array([at[end] for end in below]) + share * np.array([at[end] for end in above])
        return exact, np.maximum(chord / (alpha - 1), exact)
    elif kind == "laplace":
        exact = _laplace(1 / event["noise_multiplier"], alpha)
    elif kind == "randomized-response":
        exact = _discrete(*_response(event["epsilon"], event["n_classes"]), alpha)
    elif kind == "bounded-range":
        eta = 1 / event["noise_multiplier"]
        one = _discrete(*_response(eta / 2, 2), alpha)  # two candidates, one of which a patient moves: one peel
        return one, event["k"] * np.minimum(eta * eta * alpha / 8, eta)  # Cesar and Rogers 2021
    else:
        return divergences(event["event"], orders)[0], _selected(event, alpha)
    return exact, exact


def _sampled(event: Event, alpha: Numbers) -> Numbers:
    """One step of Gaussian noise on a Poisson sample, the larger of both directions, by summing the densities."""
    sigma, rate = event["noise_multiplier"], event["sampling_rate"]
    found = np.zeros(len(alpha))
    for at, order in enumerate(alpha):
        if order == 1:
            continue
        x = np.linspace(-40 * sigma, order + 40 * sigma, 6000)
        without = -0.5 * (x / sigma) ** 2 - math.log(sigma * math.sqrt(2 * math.pi))
        ratio = np.logaddexp(math.log1p(-rate) if rate < 1 else -math.inf, math.log(rate) + (x - 0.5) / sigma**2)
        width = math.log(x[1] - x[0])
        both = logsumexp(without + order * ratio) + width, logsumexp(without + (1 - order) * ratio) + width
        found[at] = max(max(both) / (order - 1), 0.0)
    return found


def _laplace(epsilon: float, alpha: Numbers) -> Numbers:
    nodes, weights = np.polynomial.legendre.leggauss(120)
    between = (nodes + 1) / 2  # of the two centres, which are 1 apart; the scale is 1/ε
    inside = math.log(epsilon / 4) + np.log(weights) - epsilon * (1 - between)  # the density of the second law
    middle = logsumexp(inside + alpha[:, None] * epsilon * (1 - 2 * between), axis=1)
    left, right = math.log(0.5) - epsilon + alpha * epsilon, math.log(0.5) - alpha * epsilon
    return np.asarray(logsumexp([left, middle, right], axis=0) / (alpha - 1)).clip(0.0)


def _discrete(p: Sequence[float], q: Sequence[float], alpha: Numbers) -> Numbers:
    first, second = np.log(p), np.log(q)
    return np.asarray(logsumexp(alpha[:, None] * first + (1 - alpha[:, None]) * second, axis=1) / (alpha - 1)).clip(0.0)


def _response(epsilon: float, n_classes: int) -> tuple[list[float], list[float]]:
    """The laws of the answer for two true labels; the other labels are one value, being as likely in both."""
    small = math.exp(-min(epsilon, 600.0))
    true, other = 1 / (1 + (n_classes - 1) * small), small / (1 + (n_classes - 1) * small)
    rest = [(n_classes - 2) * other] if n_classes > 2 else []
    return [true, *rest, other], [other, *rest, true]


def _laws(event: Event) -> tuple[list[float], list[float]] | None:
    if event["kind"] == "laplace":  # of all mechanisms of its ε the hardest: two answers
        return _response(1 / event["noise_multiplier"], 2)
    return _response(event["epsilon"], event["n_classes"]) if event["kind"] == "randomized-response" else None


def gamma_of(mean: float, shape: float) -> float:
    """The parameter of the number of runs with this mean (truncated negative binomial)."""

    def average(gamma: float) -> float:
        if shape == 0:
            return (1 - gamma) / (gamma * -math.log(gamma))
        return float(shape * (1 - gamma) / (gamma * (1 - gamma**shape)))

    return float(brentq(lambda gamma: average(gamma) - mean, 1e-12, 1 - 1e-9))


def _selected(event: Event, alpha: Numbers) -> Numbers:
    """The best of a secret number of runs (Papernot and Steinke 2022, Theorems 2 and 6), at whole second orders.

    A bound at a larger order holds at a smaller one, too.
    """
    every, second, mean = np.union1d(alpha, WHOLE), np.asarray(WHOLE), event["mean"]
    run, runs = (divergences(event["event"], orders)[1] for orders in (every.tolist(), WHOLE))
    if event["shape"] == "inf":
        reach = np.log(every / (every - 1))
        lost = [((second - 1) * (runs - most + np.log((second - 1) / second)) - np.log(second)).min() for most in reach]
        extra = mean * np.exp(np.minimum(lost, 0.0))
    else:
        gamma = gamma_of(mean, event["shape"])
        extra = (1 + event["shape"]) * ((1 - 1 / second) * runs + math.log(1 / gamma) / second).min()
    bound = run + extra + math.log(mean) / (every - 1)
    return np.array([bound[every >= order].min() for order in alpha])
