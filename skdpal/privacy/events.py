"""What is released, described by public parameters only.

Invariants
----------
* An event holds what is needed to price a release, and nothing read from patients:
  a refusal computed from it reveals nothing.
* Events are frozen, compare by value and go to JSON and back under a schema version.
  An unknown kind, field or version is refused: an event that cannot be read costs infinity.
* Sensitivities are for zero-out: a patient's whole content becomes nothing, the slot stays.
  `noise_multiplier` is always the scale of the noise divided by the sensitivity.
* Arithmetic is elsewhere (`accounting/`): events describe, accountants interpret.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from skdpal.privacy.validation import check_count, check_real

__all__ = [
    "Event",
    "composed",
    "from_json",
    "gaussian",
    "gumbel_top_k",
    "laplace",
    "modalities",
    "noisy_scores",
    "nonprivate",
    "one_of",
    "by_modality",
    "poisson_gaussian",
    "randomized_response",
    "repeat_and_select",
    "to_json",
]

SCHEMA = 2


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


def noisy_scores(noise_multiplier: float) -> NoisyScores:
    """Describe Gaussian noise on every score of one round; any number of the best may be published.

    Parameters
    ----------
    noise_multiplier : float
        Standard deviation divided by the sensitivity: ½ for scores in [0, 1] whose null
        patient scores ½. One patient moves one score, so the number of scores does not matter.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> round(epsilon_of([events.noisy_scores(4.0)], delta=1e-5), 3)
    0.926
    """
    return NoisyScores(noise_multiplier)


def poisson_gaussian(noise_multiplier: float, sampling_rate: float, steps: int) -> PoissonGaussian:
    """Describe DP-SGD with Poisson sampling.

    Parameters
    ----------
    noise_multiplier : float
        Standard deviation divided by the clipping norm.
    sampling_rate : float
        0 < rate <= 1, public, the same for every patient, with fresh secret coins in each step.
    steps : int
        Number of steps.

    Notes
    -----
    Shuffled batches are not Poisson samples and must not be charged as such (Chua et al. 2024).

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> round(epsilon_of([events.poisson_gaussian(4.0, sampling_rate=0.25, steps=50)], delta=1e-5), 2)
    1.85
    """
    return PoissonGaussian(noise_multiplier, sampling_rate, steps)


def laplace(noise_multiplier: float) -> Laplace:
    """Describe Laplace noise on a statistic of L1 sensitivity 1: pure ε = 1 / noise_multiplier.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> round(epsilon_of([events.laplace(2.0)], delta=1e-9), 2)
    0.5
    """
    return Laplace(noise_multiplier)


def randomized_response(epsilon: float, n_classes: int) -> RandomizedResponse:
    """Describe a published label under randomized response.

    Parameters
    ----------
    epsilon : float
        ε when one label is exchanged for another. It covers zero-out too, whatever public mixture of
        labels an empty slot emits (a uniform one, say), and is what is charged.
    n_classes : int
        2 or more; a fixed public set.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> round(epsilon_of([events.randomized_response(1.0, n_classes=4)], delta=1e-9), 2)
    1.0
    """
    return RandomizedResponse(epsilon, n_classes)


def gumbel_top_k(noise_multiplier: float, k: int = 1) -> BoundedRange:
    """Describe the `k` best of noisy scores, in order, under Gumbel noise.

    Parameters
    ----------
    noise_multiplier : float
        Scale of the noise divided by the sensitivity of one score, when one patient moves one score.
    k : int, default=1
        Number of winners. From k = 3 on, `noisy_scores` is cheaper.

    Notes
    -----
    One-shot Gumbel noise is k peels of the exponential mechanism (Durfee and Rogers 2019), each
    η-bounded-range with η = 1 / noise_multiplier.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> epsilon_of([events.gumbel_top_k(2.0, k=3)], delta=1e-5) < 1.5
    True
    """
    return BoundedRange(noise_multiplier, k)


def repeat_and_select(event: Event, mean: float, shape: float = 1.0) -> RepeatAndSelect:
    """Describe private tuning: the best of a random number of runs, all else withheld.

    Parameters
    ----------
    event : Event
        One run: fit and private score together, for the dearest candidate.
    mean : float
        Expected number of runs, above 1.
    shape : float, default=1.0
        Law of the number: 1 geometric, 0 logarithmic (cheapest), inf Poisson
        (truncated negative binomial in between; Papernot and Steinke 2022).

    Notes
    -----
    The number of runs must be secret: whoever can time the search must not learn it.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> one = events.gaussian(3.73)  # ε = 1
    >>> round(epsilon_of([events.repeat_and_select(one, mean=10)], delta=1e-5), 1)
    1.6
    """
    return RepeatAndSelect(event, mean, shape)


def one_of(events: Sequence[Event]) -> OneOf:
    """Describe a round in which each patient is in one of several releases.

    Which one must follow from earlier releases (and the patient's own data and coins), never
    from this round's. It costs the dominating pair, less than all together.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> either = events.one_of([events.gaussian(4.0), events.noisy_scores(5.0)])
    >>> round(epsilon_of([either], delta=1e-5), 3)
    0.926
    """
    return OneOf(tuple(events))


def composed(events: Sequence[Event], count: int = 1) -> Composed:
    """Describe several releases that are charged together, as for a grid search.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> twice = events.composed([events.randomized_response(1.0, 2)], count=2)
    >>> round(epsilon_of([twice], delta=1e-9), 2)
    2.0
    """
    return Composed(tuple(events), count)


def modalities(events: Mapping[str, Event]) -> Modalities:
    """Describe releases of separate parts of the patients' data, such as "rna" and "methylation".

    The patient pays for all of them together. Where an account has a cap of one of these names
    (`PrivacyLedger.cap`), that cap pays its own part as well, in the same transaction.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> both = events.modalities({"rna": events.gaussian(3.73), "methylation": events.gaussian(6.92)})
    >>> round(epsilon_of([both], delta=1e-5), 2)  # of ε = 1 and 0.5
    1.15
    """
    return Modalities(tuple(events.values()), 1, tuple(events))


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
        return {name: one_of(parts) for name, parts in found.items()}
    count = event.count if isinstance(event, Composed) else 1
    return {name: composed(parts, count) for name, parts in found.items()}


def nonprivate() -> NonPrivate:
    """Describe a release without noise. Every ledger refuses it.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> epsilon_of([events.nonprivate()], delta=1e-5)
    inf
    """
    return NonPrivate()


def to_json(event: Event) -> dict[str, Any]:
    """An event as plain JSON, with its schema version."""
    _check_event(event)
    body = {field.name: _plain(getattr(event, field.name)) for field in fields(event)}
    return {"schema": SCHEMA, "kind": next(kind for kind, made in _KINDS.items() if made is type(event)), **body}


def from_json(record: Mapping[str, Any]) -> Event:
    """The event of a JSON record; anything unknown is refused."""
    body = dict(record)
    schema, kind = body.pop("schema", None), body.pop("kind", None)
    if schema != SCHEMA:
        raise ValueError(f"Expected an event of schema {SCHEMA}. Found {schema!r}. Update skdpal to read it.")
    if not isinstance(kind, str) or kind not in _KINDS or set(body) != {field.name for field in fields(_KINDS[kind])}:
        raise ValueError(
            f"Expected a known kind of event with its own fields. Found kind={kind!r}. Update skdpal to read it."
        )
    return _KINDS[kind](**{name: _parsed(value) for name, value in body.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, Event):
        return to_json(value)
    return "inf" if value == float("inf") else value  # JSON has no infinity


def _parsed(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(part if isinstance(part, str) else from_json(part) for part in value)  # names, or events
    if isinstance(value, dict):
        return from_json(value)
    return float("inf") if value == "inf" else value


def _check_event(event: object) -> Event:
    if not isinstance(event, Event) or type(event) not in _KINDS.values():
        raise TypeError(f"Expected an event from skdpal.privacy.events. Found {type(event).__name__}.")
    return event


def _check_some(events: tuple[Event, ...]) -> tuple[Event, ...]:
    return tuple(_check_event(event) for event in events)


def _check_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        raise ValueError(f"Expected modalities to have different words as names. Found {names!r}.")
    return tuple(names)


def _check_shape(value: Any) -> float:
    return float("inf") if value == float("inf") else check_real("shape", value, above=0.0, closed=True)


_KINDS: dict[str, type[Event]] = {
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
    "event": _check_event,
    "events": _check_some,
    "names": _check_names,
}
