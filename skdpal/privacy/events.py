"""What is released, described by public parameters only.

Invariants
----------
* An event holds what is needed to price a release, and nothing read from patients:
  a refusal computed from it reveals nothing.
* Events are frozen, compare by value and go to JSON and back under a schema version.
  An unknown kind, field or version is refused: an event that cannot be read costs infinity.
* Sensitivities are for zero-out: a patient's whole content becomes nothing, the slot stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from skdpal.privacy.validation import check_count, check_real

__all__ = ["Composed", "Event", "Gaussian", "NonPrivate", "composed", "from_json", "gaussian", "nonprivate", "to_json"]

SCHEMA = 1
_LEAST = math.ulp(0.0)
_MOST = 1e150  # so that sums of finite prices stay finite


@dataclass(frozen=True)
class Event:
    """A release. Use the functions of this module to make one."""


@dataclass(frozen=True)
class Gaussian(Event):
    """`steps` Gaussian releases of L2 sensitivity 1 and standard deviation `noise_multiplier`.

    `replace_one` is the L2 sensitivity when a patient is exchanged for another instead of
    removed, in the same unit: 2 in general, √2 for one-hot prototype sums, 1 for a count.
    """

    noise_multiplier: float
    steps: int = 1
    replace_one: float = 2.0

    def __post_init__(self) -> None:
        plain = {  # also when numpy's numbers come in: events go to JSON
            "noise_multiplier": check_real("noise_multiplier", self.noise_multiplier, above=0.0),
            "steps": check_count("steps", self.steps, least=1),
            "replace_one": check_real("replace_one", self.replace_one, above=0.0, below=2.0, closed=True),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class NonPrivate(Event):
    """Something that no noise covers. It costs infinity."""


@dataclass(frozen=True)
class Composed(Event):
    """Several releases, priced as one."""

    events: tuple[Event, ...]


def gaussian(noise_multiplier: float, steps: int = 1, *, replace_one: float = 2.0) -> Gaussian:
    """Describe Gaussian noise on a statistic of L2 sensitivity 1 (full batch).

    Parameters
    ----------
    noise_multiplier : float
        Standard deviation of the noise divided by the L2 sensitivity under zero-out.
    steps : int, default=1
        Number of such releases.
    replace_one : float, default=2.0
        Sensitivity under exchange of a patient, relative to zero-out, at most 2.

    Returns
    -------
    Gaussian
        It is exactly μ-GDP with μ = √steps / noise_multiplier (Dong, Roth and Su 2022).

    Examples
    --------
    >>> from skdpal.privacy import events
    >>> events.gaussian(noise_multiplier=2.0)
    Gaussian(noise_multiplier=2.0, steps=1, replace_one=2.0)
    """
    return Gaussian(noise_multiplier, steps, replace_one)


def nonprivate() -> NonPrivate:
    """Describe a release without noise. Every ledger refuses it.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> epsilon_of([events.nonprivate()], delta=1e-5)
    inf
    """
    return NonPrivate()


def composed(events: Sequence[Event]) -> Composed:
    """Describe several releases that are charged together, as for a grid search."""
    for event in events:
        _check_event(event)
    return Composed(tuple(events))


def to_json(event: Event) -> dict[str, Any]:
    """An event as plain JSON, with its schema version."""
    _check_event(event)
    if isinstance(event, Composed):
        return {"schema": SCHEMA, "kind": "composed", "events": [to_json(part) for part in event.events]}
    kind = "gaussian" if isinstance(event, Gaussian) else "nonprivate"
    return {"schema": SCHEMA, "kind": kind, **asdict(event)}


def from_json(record: Mapping[str, Any]) -> Event:
    """The event of a JSON record; anything unknown is refused."""
    fields = dict(record)
    schema, kind = fields.pop("schema", None), fields.pop("kind", None)
    if schema != SCHEMA:
        raise ValueError(f"Expected an event of schema {SCHEMA}. Found {schema!r}. Update skdpal to read it.")
    if kind == "composed" and set(fields) == {"events"}:
        return Composed(tuple(from_json(part) for part in fields["events"]))
    if kind == "gaussian" and set(fields) == {"noise_multiplier", "steps", "replace_one"}:
        return Gaussian(**fields)
    if kind == "nonprivate" and not fields:
        return NonPrivate()
    raise ValueError(
        f"Expected a known kind of event with its own fields. Found kind={kind!r}. Update skdpal to read it."
    )


def _check_event(event: object) -> None:
    if not isinstance(event, Gaussian | NonPrivate | Composed):
        raise TypeError(f"Expected an event from skdpal.privacy.events. Found {type(event).__name__}.")


def mu_squared(event: Event, *, replace_one: bool = False) -> float:
    """μ² of an event as a Gaussian-DP guarantee, rounded up; infinity if none is proven."""
    _check_event(event)
    if isinstance(event, Composed):
        return math.fsum(mu_squared(part, replace_one=replace_one) for part in event.events)
    if isinstance(event, Gaussian):
        scale = event.replace_one if replace_one else 1.0
        ratio = scale / event.noise_multiplier
        mu2 = event.steps * ratio * ratio * (1 + 2.0**-50) + _LEAST  # above four roundings, and above underflow
        return mu2 if mu2 < _MOST else math.inf
    return math.inf
