"""Gaussian differential privacy: μ of a release, and what a sum of μ² means in (ε, δ).

Invariants
----------
* Gaussian releases compose exactly: μ² adds, under any adaptivity (Smith and Thakurta 2022;
  a self-contained proof is in docs/trusted_kernel.md, Lemma G). Other events enter with a μ that
  is proven, or with infinity.
* Rounding goes against us: prices up, ceilings down. No tolerance is ever added to a ceiling.
"""

from __future__ import annotations

import math
from functools import lru_cache

from scipy.special import expit, log_ndtr, ndtri

from skdpal.privacy import events
from skdpal.privacy.accounting.search import bisect
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.events import Event

__all__ = ["ceiling_mu_squared", "delta_of_mu", "epsilon_of_mu", "mu_squared"]

_ROUNDING = 1e-9  # relative, of the ε that is reported; covers the error of log_ndtr many times
_GRAIN = 1e-15  # of ε so small that the error of δ itself, 1e-16, is larger than that
_LEAST = math.ulp(0.0)
_MOST = 1e150  # so that sums of finite prices stay finite


def mu_squared(event: Event) -> float:
    """μ² of an event as a Gaussian-DP guarantee, rounded up; infinity if none is proven.

    ====================== =======================================================================================
    event                  μ
    ====================== =======================================================================================
    Gaussian, noisy scores √steps / noise multiplier, exact
    Laplace                2 Φ⁻¹(e^ε/(1+e^ε)) with ε = 1 / noise multiplier, as for any pure ε
    randomized response    Φ⁻¹(1−q) + Φ⁻¹(p), p and q the chances of the true and of one other label
    composed, one of       √Σ μ², max μ
    others                 infinity: Poisson-sampled Gaussian, bounded range, repeat and select, non-private
    ====================== =======================================================================================
    """
    if isinstance(event, events.Composed):
        return event.count * math.fsum(mu_squared(part) for part in event.events)
    if isinstance(event, events.OneOf):
        return max((mu_squared(part) for part in event.events), default=0.0)
    if isinstance(event, events.Gaussian):
        ratio = 1 / event.noise_multiplier
        mu2 = event.steps * ratio * ratio * (1 + 2.0**-50) + _LEAST  # above three roundings, and above underflow
    elif isinstance(event, events.Laplace):
        mu2 = _mu_of_pure(1 / event.noise_multiplier) ** 2
    elif isinstance(event, events.RandomizedResponse):
        mu2 = _mu_of_response(event.epsilon, event.n_classes) ** 2
    else:
        return math.inf
    return mu2 if mu2 < _MOST else math.inf


def _mu_of_pure(epsilon: float) -> float:
    """The least μ of all ε-DP mechanisms: the trade-off curves touch at their fixed points."""
    return _up(-2 * float(ndtri(expit(-epsilon))))


def _mu_of_response(epsilon: float, n_classes: int) -> float:
    """μ through the corner (q, 1−p) of the trade-off curve; between corners the curve is a chord, above any G_μ."""
    other = 1 / (math.exp(min(epsilon, 700.0)) + n_classes - 1)
    return _up(-float(ndtri(other) + ndtri((n_classes - 1) * other)))


def _up(mu: float) -> float:
    """Above the rounding of ndtri, of which a small μ is a difference."""
    return mu * (1 + 1e-12) + 2.0**-45


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
    return bisect(lambda epsilon: delta_of_mu(mu, epsilon) <= delta, low, high)[1] * (1 + _ROUNDING) + _GRAIN


@lru_cache(maxsize=256)
def ceiling_mu_squared(budget: PrivacyBudget) -> float:
    """B², the largest sum of μ² that the budget allows, rounded down."""

    def too_much(mu: float) -> bool:
        return epsilon_of_mu(mu, budget.delta) > budget.epsilon

    low, high = 0.0, 1.0
    while not too_much(high):
        low, high = high, 2 * high
    low, _ = bisect(too_much, low, high)
    return low * low
