"""The kinds of releases: frozen, compared by value, checked when they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from skdpal.privacy.validation import check_count, check_real

__all__ = [
    "KINDS",
    "BoundedRange",
    "Composed",
    "Event",
    "Gaussian",
    "Laplace",
    "Modalities",
    "NoisyScores",
    "NonPrivate",
    "OneOf",
    "PoissonGaussian",
    "RandomizedResponse",
    "RepeatAndSelect",
    "by_modality",
    "check_event",
]


@dataclass(frozen=True)
class Event:
    """A release. Use the functions of this module to make one."""

    def __post_init__(self) -> None:
        for field in fields(self):  # numpy's numbers become plain ones: events go to JSON
            value = _CHECKS[field.name](getattr(self, field.name))
            object.__setattr__(self, field.name, value)


@dataclass(frozen=True)
class Gaussian(Event):
    """`steps` Gaussian releases of L2 sensitivity 1 and standard deviation `noise_multiplier`.

    `replace_one` is the L2 sensitivity when a patient is exchanged for another instead of
    removed, in the same unit: 2 in general, √2 for one-hot prototype sums, 1 for a count.
    """

    noise_multiplier: float
    steps: int = 1
    replace_one: float = 2.0


@dataclass(frozen=True)
class NoisyScores(Gaussian):
    """Gaussian noise on all scores of one round, each patient moving one score: priced as `Gaussian`."""


@dataclass(frozen=True)
class PoissonGaussian(Event):
    """`steps` Gaussian releases, each of a fresh, secret Poisson sample of the patients."""

    noise_multiplier: float
    sampling_rate: float
    steps: int


@dataclass(frozen=True)
class Laplace(Event):
    """Laplace noise of scale `noise_multiplier` on a statistic of L1 sensitivity 1."""

    noise_multiplier: float


@dataclass(frozen=True)
class RandomizedResponse(Event):
    """One label of `n_classes`, true with probability e^ε/(e^ε + K − 1), else another; ε is label replacement."""

    epsilon: float
    n_classes: int


@dataclass(frozen=True)
class BoundedRange(Event):
    """`k` winners in order under Gumbel noise of scale `noise_multiplier`: k peels, each 1/`noise_multiplier`-bounded-range."""

    noise_multiplier: float
    k: int = 1


@dataclass(frozen=True)
class RepeatAndSelect(Event):
    """The best, by its own released score, of a secret random number of independent runs of `event`."""

    event: Event
    mean: float
    shape: float


@dataclass(frozen=True)
class OneOf(Event):
    """One of several releases; which of them a patient is in was settled by what came before."""

    events: tuple[Event, ...]


@dataclass(frozen=True)
class Composed(Event):
    """Several releases, `count` times over, priced as one."""

    events: tuple[Event, ...]
    count: int = 1


@dataclass(frozen=True)
class Modalities(Composed):
    """Releases of separate parts of a patient's data, `names` in the order of `events`; priced as `Composed`."""

    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.names) != len(self.events) or self.count != 1:
            raise ValueError(
                "Expected names to have one word for each of events. Use skdpal.privacy.events.modalities."
            )
        if any(map(by_modality, self.events)):  # its cap would not pay
            raise ValueError("Expected parts without parts of their own. Name all parts side by side.")


@dataclass(frozen=True)
class NonPrivate(Event):
    """Something that no noise covers. It costs infinity."""


def by_modality(event: Event) -> dict[str, Event]:
    """What of an event falls on each named part of the patients' data.

    Examples
    --------
    >>> from skdpal.privacy import events
    >>> events.by_modality(events.modalities({"rna": events.gaussian(4.0)}))
    {'rna': Gaussian(noise_multiplier=4.0, steps=1, replace_one=2.0)}
    """
    if isinstance(event, Modalities):
        return dict(zip(event.names, event.events, strict=True))
    if isinstance(event, RepeatAndSelect):  # how much of its price is whose, nothing proves
        return dict.fromkeys(by_modality(event.event), event)
    found: dict[str, list[Event]] = {}
    for inner in event.events if isinstance(event, Composed | OneOf) else ():
        for name, part in by_modality(inner).items():
            found.setdefault(name, []).append(part)
    if isinstance(event, OneOf):
        return {name: OneOf(tuple(parts)) for name, parts in found.items()}
    count = event.count if isinstance(event, Composed) else 1
    return {name: Composed(tuple(parts), count) for name, parts in found.items()}


def check_event(event: object) -> Event:
    """The event, if it is one."""
    if not isinstance(event, Event) or type(event) not in KINDS.values():
        raise TypeError(f"Expected an event from skdpal.privacy.events. Found {type(event).__name__}.")
    return event


def _check_some(events: tuple[Event, ...]) -> tuple[Event, ...]:
    return tuple(check_event(event) for event in events)


def _check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise ValueError(f"Expected modalities to have different words as names. Found {names!r}.")
    return tuple(names)


def _check_shape(value: Any) -> float:
    return float("inf") if value == float("inf") else check_real("shape", value, above=0.0, closed=True)


KINDS: dict[str, type[Event]] = {
    "gaussian": Gaussian,
    "noisy-scores": NoisyScores,
    "poisson-gaussian": PoissonGaussian,
    "laplace": Laplace,
    "randomized-response": RandomizedResponse,
    "bounded-range": BoundedRange,
    "repeat-and-select": RepeatAndSelect,
    "one-of": OneOf,
    "composed": Composed,
    "modalities": Modalities,
    "nonprivate": NonPrivate,
}
_CHECKS: dict[str, Callable[[Any], Any]] = {
    "noise_multiplier": lambda value: check_real("noise_multiplier", value, above=0.0),
    "steps": lambda value: check_count("steps", value, least=1),
    "replace_one": lambda value: check_real("replace_one", value, above=0.0, below=2.0, closed=True),
    "sampling_rate": lambda value: check_real("sampling_rate", value, above=0.0, below=1.0, closed=True),
    "epsilon": lambda value: check_real("epsilon", value, above=0.0),
    "n_classes": lambda value: check_count("n_classes", value, least=2),
    "k": lambda value: check_count("k", value, least=1),
    "mean": lambda value: check_real("mean", value, above=1.0),
    "shape": _check_shape,
    "count": lambda value: check_count("count", value, least=1),
    "event": check_event,
    "events": _check_some,
    "names": _check_names,
}
