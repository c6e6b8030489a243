"""The way out of a refusal: how much more noise would do, or what to use instead."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from skdpal.privacy import events
from skdpal.privacy.accounting.search import bisect
from skdpal.privacy.events import Event

__all__ = ["least_noise", "scaled", "way_out"]

_ELSEWHERE = 'or PrivacyLedger(budget, filter="renyi" or "planned").'
_INSTEAD_OF: dict[type[Event], str] = {
    events.PoissonGaussian: f"A gdp ledger has no μ for Poisson sampling: use full batches (events.gaussian), {_ELSEWHERE}",
    events.BoundedRange: f"A gdp ledger has no μ for Gumbel noise: use events.noisy_scores, {_ELSEWHERE}",
    events.RepeatAndSelect: (
        "A gdp ledger has no μ for repeat-and-select: release all K runs, "
        f"events.gaussian(noise_multiplier, steps=K), {_ELSEWHERE}"
    ),
}


def way_out(event: Event, filter: str) -> str:
    """What to do instead of an event that a filter cannot price."""
    if filter == "gdp" and type(event) in _INSTEAD_OF:
        return _INSTEAD_OF[type(event)]
    return "No noise covers it: use a DP estimator, public data, or freeze what is public."


def least_noise(event: Event, fitting: Callable[[Event], bool]) -> float | None:
    """By what factor all noise must grow for an event to fit; None if not even a thousandfold does."""
    if not fitting(scaled(event, 1e3)):
        return None
    return bisect(lambda factor: fitting(scaled(event, factor)), 1.0, 1e3, 1e-4)[1]


def scaled(event: Event, factor: float) -> Event:
    """The event with all its noise multiplied."""
    match event:
        case events.Composed() | events.OneOf():
            return replace(event, events=tuple(scaled(part, factor) for part in event.events))
        case events.RepeatAndSelect():
            return replace(event, event=scaled(event.event, factor))
        case events.RandomizedResponse():
            return replace(event, epsilon=event.epsilon / factor)
        case events.Gaussian() | events.PoissonGaussian() | events.Laplace() | events.BoundedRange():
            return replace(event, noise_multiplier=event.noise_multiplier * factor)
    return event
