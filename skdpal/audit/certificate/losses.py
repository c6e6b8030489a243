"""The loss of a frozen schedule, by our own discretisation and convolution (fast Fourier transform).

Every loss is rounded up to a grid, so what is computed is above the truth; it is below it after a shift by one step of
the grid for each release. So both ends of an interval around the true ε come from one computation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from skdpal.audit.certificate.gaussian import delta_of, epsilon_of
from skdpal.audit.certificate.prices import WHOLE, conversion, divergences, gamma_of, mu_squared, renyi_epsilon

__all__ = ["bounds"]

Event = Mapping[str, Any]
Numbers = NDArray[np.float64]
Role = Sequence[Sequence[Event]]  # what a patient was in, round by round
_LONGEST = 2**20
_MOST = 10_000


def bounds(roles: Sequence[Role], delta: float) -> tuple[float, float]:
    """ε of a schedule in which earlier releases decide the role of each patient: not below low, proven to be high.

    The proofs: sums of μ², sums of divergences, the sum of δ over roles, and dominating pairs of each round
    (docs/trusted_kernel.md, Lemmas G and Z, Theorem R).
    """
    flat = list({repr(events): events for events in (list(_flat(sum(map(list, role), []))) for role in roles)}.values())
    mu2 = [sum(float(mu_squared(event)) for event in events) for events in flat]
    high = epsilon_of(math.sqrt(max(mu2)), delta) if max(mu2) < math.inf else math.inf
    if all(event["kind"] in ("gaussian", "noisy-scores") for events in flat for event in events):
        return high, high
    high = min(high, _by_divergences(flat, delta))
    if high > 100:
        return 0.0, high
    coarse = any(event["kind"] in ("one-of", "repeat-and-select") for events in flat for event in events)
    reach = max(_by_divergences(flat, 1e-6 * delta) + 1, 35.0)
    count = max(_count(events) for events in flat)
    step = 1e-3 if coarse or len(flat) > 1 else min(1e-3, 2e-3 * high / count)
    length = 2 ** math.ceil(math.log2(2 * reach / step))
    grid = Grid(2 * reach / min(length, _LONGEST), min(length, _LONGEST) // 2)
    low = 0.0
    for events in flat:
        certain = [part for event in events for part in _attained(event, delta)]
        low = max(low, max(loss.epsilon(delta) for loss in both(certain, grid)) - _count(certain) * grid.step)
    losses = [both(events, grid) for events in flat]
    high = min(high, _root(lambda epsilon: sum(_delta(pair, epsilon) for pair in losses) - delta, high))
    return max(low, 0.0), min(high, _by_rounds(roles, delta, grid))


@dataclass(frozen=True)
class Grid:
    """Losses -half * step, ..., (half - 1) * step, in the order of a Fourier transform: from zero on."""

    step: float
    half: int

    @property
    def points(self) -> Numbers:
        """In ascending order."""
        return np.asarray(self.step * np.arange(-self.half, self.half), dtype=np.float64)

    def loss(self, distribution: Callable[[Numbers], Numbers]) -> Loss:
        """Of a distribution function, rounded up."""
        points = self.points
        below = distribution(np.append(points[0] - self.step, points))
        mass = np.diff(below)
        mass[0] += below[0]
        return Loss(self, np.fft.rfft(np.fft.ifftshift(mass)), 1 - float(below[-1]))


@dataclass(frozen=True)
class Loss:
    """A discrete law of the loss, as its transform, and the mass of certain disclosure."""

    grid: Grid
    transform: NDArray[np.complex128]
    infinite: float

    def __mul__(self, other: Loss) -> Loss:
        return Loss(self.grid, self.transform * other.transform, 1 - (1 - self.infinite) * (1 - other.infinite))

    def __pow__(self, times: int) -> Loss:
        return Loss(self.grid, self.transform**times, 1 - (1 - self.infinite) ** times)

    def profile(self) -> tuple[Numbers, Numbers]:
        """Losses from zero on, and δ there."""
        half = self.grid.half
        mass = np.fft.irfft(self.transform, 2 * half)[:half].clip(0.0)
        at = np.asarray(self.grid.step * np.arange(half), dtype=np.float64)
        above = np.cumsum(mass[::-1])[::-1], np.cumsum((mass * np.exp(-at))[::-1])[::-1]
        return at, above[0] - np.exp(at) * above[1] + self.infinite

    def delta(self, epsilon: float) -> float:
        """δ at ε, between grid points linear in e^ε, as it is."""
        at, delta = self.profile()
        return float(np.interp(math.exp(min(epsilon, at[-1])), np.exp(at), delta))

    def epsilon(self, delta: float) -> float:
        """ε at δ."""
        at, deltas = self.profile()
        if deltas[0] <= delta:
            return 0.0
        after = int(np.argmax(deltas <= delta)) or len(at) - 1
        share = (deltas[after - 1] - delta) / max(deltas[after - 1] - deltas[after], 1e-300)
        return float(np.log(np.exp(at[after - 1]) * (1 - share) + np.exp(at[after]) * share))


def both(events: Sequence[Event], grid: Grid) -> tuple[Loss, Loss]:
    """The losses of releases together, when a patient is taken out and when one is put in."""
    mu2 = float(sum(event["steps"] / event["noise_multiplier"] ** 2 for event in events if _is_gaussian(event)))
    mu = math.sqrt(mu2)
    found = [grid.loss(lambda loss: np.where(loss >= 0, 1.0, 0.0) if mu == 0 else ndtr(loss / mu - mu / 2))] * 2
    for event in events:
        if not _is_gaussian(event):
            found = [left * right for left, right in zip(found, _of(event, grid), strict=True)]
    return found[0], found[1]


def _of(event: Event, grid: Grid) -> tuple[Loss, Loss]:
    kind = event["kind"]
    if kind == "poisson-gaussian":
        one, other = (grid.loss(law) for law in _sampled(event["noise_multiplier"], event["sampling_rate"]))
        return one ** event["steps"], other ** event["steps"]
    if kind == "laplace":
        epsilon = 1 / event["noise_multiplier"]
        same = grid.loss(
            lambda loss: np.where(
                loss >= epsilon, 1.0, np.where(loss < -epsilon, 0.0, np.exp(-(epsilon - loss).clip(0.0) / 2) / 2)
            )
        )
    elif kind == "randomized-response":
        epsilon, others = event["epsilon"], event["n_classes"] - 1
        true, other = 1 / (1 + others * math.exp(-epsilon)), 1 / (others + math.exp(epsilon))
        same = grid.loss(
            lambda loss: other * (loss >= -epsilon) + (others - 1) * other * (loss >= 0) + true * (loss >= epsilon)
        )
    elif kind == "bounded-range":
        eta = 1 / event["noise_multiplier"]
        same = _from_profile(grid, lambda x: np.expm1((np.minimum(x, eta) - eta) / 2) ** 2 / -math.expm1(-eta))
        same = same ** event["k"]
    elif kind == "repeat-and-select":
        same = _from_profile(grid, _selected(event))
    else:
        same = _dominating([both(list(_flat([part])), grid) for part in event["events"]], grid)
    return same, same


def _sampled(sigma: float, rate: float) -> tuple[Callable[[Numbers], Numbers], Callable[[Numbers], Numbers]]:
    """Distribution functions of the loss of Gaussian noise on a Poisson sample: log(1 − q + q e^((x − 1/2)/σ²))."""

    def place(loss: Numbers) -> Numbers:
        with np.errstate(divide="ignore", invalid="ignore"):
            above = np.expm1(loss) + rate
            found = sigma * sigma * np.log(np.maximum(above, 0.0) / rate) + 0.5
        return np.where(above > 0, found, -np.inf)

    def taken(loss: Numbers) -> Numbers:
        x = place(loss)
        return np.asarray((1 - rate) * ndtr(x / sigma) + rate * ndtr((x - 1) / sigma))

    return taken, lambda loss: np.asarray(ndtr(-place(-loss) / sigma))


def _from_profile(grid: Grid, profile: Callable[[Numbers], Numbers]) -> Loss:
    """A pair of laws with a given δ(ε), ε >= 0, in both directions, rounded up between grid points."""
    at = np.asarray(grid.step * np.arange(grid.half + 1), dtype=np.float64)
    above = np.minimum.accumulate(profile(at).clip(0.0, 1.0))
    below = 1 - np.exp(-at[:0:-1]) * (1 - above[:0:-1])  # the same, seen from the other law
    deltas = np.concatenate([below, above])
    slope = np.diff(deltas)
    mass = slope[1:] / math.expm1(grid.step) + slope[:-1] / math.expm1(-grid.step)
    mass = np.append(0.0, mass).clip(0.0)[: 2 * grid.half]
    return Loss(grid, np.fft.rfft(np.fft.ifftshift(mass)), max(1 - float(mass.sum()), float(above[-1])))


def _dominating(pairs: Sequence[tuple[Loss, Loss]], grid: Grid) -> Loss:
    """A pair of laws whose δ is that of the worst of several at every ε."""
    worst = np.max([np.zeros(grid.half), *(loss.profile()[1] for pair in pairs for loss in pair)], axis=0)
    return _from_profile(grid, lambda at: np.append(worst, worst[-1]))


def _selected(event: Event) -> Callable[[Numbers], Numbers]:
    """Theorem S of docs/trusted_kernel.md: at most E[K] δ(ε − c), and convex in e^ε."""
    mu2 = float(mu_squared(event["event"]))
    if math.isinf(mu2) or event["shape"] == "inf":
        return np.ones_like
    mu, mean, gamma = math.sqrt(mu2), event["mean"], gamma_of(event["mean"], event["shape"])
    score = np.linspace(-30.0, 10.0, 400_001)  # quantiles of the score without the patient
    grown = np.log((gamma + (1 - gamma) * ndtr(score)) / (gamma + (1 - gamma) * ndtr(score - mu)))
    shift = (event["shape"] + 1) * float(grown.max())
    curve = np.linspace(-5.0, 40.0, 20_000)
    bound = np.array([min(1.0, mean * _gaussian_delta(mu, x - shift)) for x in curve])
    chords = (1 - bound) / np.exp(curve)
    touch = int(chords.argmax())

    def profile(x: Numbers) -> Numbers:
        above = np.interp(x, curve, bound, right=0.0)
        return np.asarray(np.where(x < curve[touch], 1 - chords[touch] * np.exp(np.minimum(x, curve[touch])), above))

    return profile


def _gaussian_delta(mu: float, epsilon: float) -> float:
    return delta_of(mu, epsilon) if epsilon >= 0 else 1 - math.exp(epsilon) * (1 - delta_of(mu, -epsilon))


def _by_divergences(flat: Sequence[Sequence[Event]], delta: float) -> float:
    worst = np.max(
        [sum((divergences(event, WHOLE)[1] for event in events), np.zeros(len(WHOLE))) for events in flat], axis=0
    )
    return max(float((worst + conversion(WHOLE, delta)).min()), 0.0)


def _by_rounds(roles: Sequence[Role], delta: float, grid: Grid) -> float:
    if len({repr(role) for role in roles}) == 1:
        return math.inf
    total = grid.loss(lambda loss: np.where(loss >= 0, 1.0, 0.0))
    for turn in zip(*roles, strict=True):
        choices = {repr(events): events for events in turn if events}
        if choices:
            pairs = [both(list(_flat(events)), grid) for events in choices.values()]
            total = total * _dominating(pairs, grid)
    return total.epsilon(delta)


def _attained(event: Event, delta: float) -> Iterable[Event]:
    """Releases that some data tell apart as well as this one at least."""
    if event["kind"] == "repeat-and-select":  # if all runs score the same
        yield from (part for inner in _flat([event["event"]]) for part in _attained(inner, delta))
    elif event["kind"] == "bounded-range":  # the first of two candidates
        yield {"kind": "randomized-response", "epsilon": 1 / event["noise_multiplier"] / 2, "n_classes": 2}
    elif event["kind"] != "one-of":
        yield event
    elif event["events"]:
        dearest = max(event["events"], key=lambda part: renyi_epsilon(part, delta)[0])
        yield from (part for inner in _flat([dearest]) for part in _attained(inner, delta))


def _flat(events: Iterable[Event]) -> Iterable[Event]:
    """Without compositions."""
    for event in events:
        if event["kind"] in ("composed", "modalities"):
            inner = list(_flat(event["events"]))
            if len(inner) * event["count"] > _MOST:
                raise ValueError(f"more than {_MOST} releases together")
            yield from inner * event["count"]
        else:
            yield event


def _count(events: Iterable[Event]) -> int:
    """How many losses are rounded."""
    own = [event for event in events if not _is_gaussian(event)]
    return 1 + sum(int(event.get("steps", event.get("k", 1))) for event in own)


def _is_gaussian(event: Event) -> bool:
    return event["kind"] in ("gaussian", "noisy-scores")


def _delta(pair: tuple[Loss, Loss], epsilon: float) -> float:
    return max(loss.delta(epsilon) for loss in pair)


def _root(function: Callable[[float], float], high: float) -> float:
    """Where a falling function is zero, to a relative 1e-5; infinity if it is beyond `high`."""
    if function(high) > 0:
        return math.inf
    low = 0.0
    while high - low > 1e-5 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if function(middle) > 0 else (low, middle)
    return high
