"""Privacy loss distributions: the tightest price of releases whose parameters were fixed beforehand.

Invariants
----------
* Every distribution is pessimistic: its δ(ε) is at least the true one, for zero-out in both directions.
* Never used to decide an adaptive charge: there it is no filter (docs/trusted_kernel.md).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr, ndtri

from skdpal.privacy import events
from skdpal.privacy.accounting.gaussian import mu_squared
from skdpal.privacy.accounting.repetition import gamma_of
from skdpal.privacy.events import Event

__all__ = ["compose", "dominating", "losses_of", "needs_profile"]

_REACH = 25.0  # ε beyond which what is left counts as certain disclosure


def losses_of(released: Iterable[Event], interval: float) -> Any:
    """The loss distribution of a list of releases on a grid of ε; None if a release has none."""
    mu2, counts = 0.0, dict[Event, int]()
    for event, count in _counted(released, 1):
        if isinstance(event, events.Gaussian):  # one distribution for all of them: exact, and quick
            mu2 += count * mu_squared(event)
        else:
            counts[event] = counts.get(event, 0) + count
    losses = [_gaussian(mu2, interval)] if mu2 > 0 else []
    for event, count in counts.items():
        loss = _loss_of(event, interval)
        if loss is None:
            return None
        losses.append(_repeated(loss, count))
    return compose(losses, interval)


def compose(losses: Iterable[Any], interval: float) -> Any:
    """The loss distribution of independent releases together."""
    from dp_accounting.pld import privacy_loss_distribution as library

    total = library.identity(value_discretization_interval=interval)
    for loss in losses:
        total = total.compose(loss)
    return total


def _repeated(loss: Any, count: int) -> Any:
    with np.errstate(over="ignore"):  # its search for where to cut the tail tries too much first
        return loss if count == 1 else loss.self_compose(count)


@lru_cache(maxsize=64)
def _loss_of(event: Event, interval: float) -> Any:
    """The loss distribution of one release."""
    from dp_accounting.pld import privacy_loss_distribution as library  # imported late: most ledgers do without
    from dp_accounting.privacy_accountant import NeighboringRelation

    grid = {"value_discretization_interval": interval}
    if isinstance(event, events.PoissonGaussian):
        step = library.from_gaussian_mechanism(
            event.noise_multiplier,
            sampling_prob=event.sampling_rate,
            neighboring_relation=NeighboringRelation.REPLACE_SPECIAL,
            **grid,
        )
        return _repeated(step, event.steps)
    if isinstance(event, events.Laplace):
        return library.from_laplace_mechanism(event.noise_multiplier, **grid)
    if isinstance(event, events.RandomizedResponse):
        total = event.n_classes / (math.exp(event.epsilon) + event.n_classes - 1)  # its chance to draw uniformly
        return library.from_randomized_response(total, event.n_classes, **grid)
    if isinstance(event, events.BoundedRange):
        eta = 1 / event.noise_multiplier
        return _repeated(_from_profile(lambda x: _bounded_range(x, eta), interval, min(eta, _REACH)), event.k)
    if isinstance(event, events.RepeatAndSelect):
        return _selected(event, interval)
    if isinstance(event, events.OneOf):
        return dominating([losses_of([part], interval) for part in event.events], interval)
    return None


def dominating(losses: Sequence[Any], interval: float) -> Any:
    """A distribution whose δ(ε) is that of the worst of several at every ε.

    Sound for a round in which earlier releases decide which of them a patient is in; dominating
    pairs of successive rounds compose (Zhu, Dong and Wang 2022).
    """
    if any(loss is None for loss in losses):
        return None
    if len(losses) == 1:
        return losses[0]
    return _from_profile(
        lambda x: np.max([1 - np.exp(np.minimum(x, 0.0)), *(loss.get_delta_for_epsilon(x) for loss in losses)], axis=0),
        interval,
    )


def needs_profile(event: Event) -> bool:
    """Whether a long grid is filled point by point, so that a coarse one must do."""
    if isinstance(event, events.Composed):
        return any(needs_profile(part) for part in event.events)
    return isinstance(event, events.OneOf | events.RepeatAndSelect)


def _counted(released: Iterable[Event], times: int) -> Iterator[tuple[Event, int]]:
    """Without compositions: dp-accounting ignores the count of some composed events."""
    for event in released:
        if isinstance(event, events.Composed):
            yield from _counted(event.events, times * event.count)
        else:
            yield event, times


@lru_cache(maxsize=64)
def _gaussian(mu2: float, interval: float) -> Any:
    from dp_accounting.pld import privacy_loss_distribution as library

    return library.from_gaussian_mechanism(1 / math.sqrt(mu2), value_discretization_interval=interval)


def _from_profile(profile: Any, interval: float, reach: float = _REACH) -> Any:
    """A pessimistic distribution from a convex upper bound on δ(ε) (Doroshenko et al. 2022)."""
    from dp_accounting.pld import pld_pmf
    from dp_accounting.pld import privacy_loss_distribution as library

    last = math.ceil(reach / interval)
    steps = np.arange(-last, last + 1)
    deltas = np.minimum.accumulate(np.clip(profile(steps * interval), 0.0, 1.0))
    return library.PrivacyLossDistribution(pld_pmf.create_pmf_pessimistic_connect_dots(interval, steps, deltas))


def _bounded_range(x: NDArray[np.float64], eta: float) -> NDArray[np.float64]:
    """δ(x) of one η-bounded-range release: the worst two-point law (derived in docs/trusted_kernel.md)."""
    inside = np.clip(x, -eta, eta)
    within = np.expm1((inside - eta) / 2) ** 2 / -math.expm1(-eta)
    return np.where(x <= -eta, -np.expm1(np.minimum(x, 0.0)), within)


def _selected(event: events.RepeatAndSelect, interval: float) -> Any:
    """Profile of the best of K runs of a μ-GDP release: E[K] δ(ε − c), made convex.

    K is truncated negative binomial; the density of the best is p(y) φ′(F(y)) with φ′ at most E[K], and the
    ratio of φ′ in the two worlds at most e^c (docs/trusted_kernel.md, Theorem S).
    """
    mu = math.sqrt(mu_squared(event.event))
    if math.isinf(mu) or math.isinf(event.shape):
        return None
    gamma = gamma_of(event.mean, event.shape)
    a = np.append(0.0, np.geomspace(1e-6 * gamma, 1.0, 200_000))
    # both parts of the ratio grow with a: between grid points, the next over the last is a bound
    ratio = (gamma + (1 - gamma) * a[1:]) / (gamma + (1 - gamma) * ndtr(ndtri(a[:-1]) - mu))
    shift = (event.shape + 1) * math.log(float(ratio.max()))
    return _from_profile(lambda x: _convex(x, np.minimum(event.mean * _delta(mu, x - shift), 1.0)), interval)


def _delta(mu: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
    first, second = log_ndtr(mu / 2 - x / mu), x + log_ndtr(-mu / 2 - x / mu)
    return np.asarray(np.exp(first) * -np.expm1(np.minimum(second - first, 0.0)))


def _convex(x: NDArray[np.float64], bound: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest convex function of e^x that starts at 1 and stays below a bound, itself convex where below 1."""
    slopes = (bound - 1) * np.exp(-x)
    touch = int(np.argmin(slopes))
    return np.where(x < x[touch], 1 + slopes[touch] * np.exp(np.minimum(x, x[touch])), bound)
