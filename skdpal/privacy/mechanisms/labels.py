"""Labels that may be published.

Invariants
----------
* The set of classes is public and fixed, the same for every patient: a list of likely classes that follows a
  patient's features would break the patient's guarantee at any ε.
* A patient without a label, as a null patient, emits a uniform one.
* Noise is drawn once and kept: drawing again is another release (`kept.Kept`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skdpal.privacy import events
from skdpal.privacy.randomness import perturb, sampler

__all__ = ["LaplaceLabels", "RandomizedResponse"]

_MISSING, _UNKNOWN = -1, -2


@dataclass(frozen=True)
class RandomizedResponse:
    """Each label is kept with probability e^ε / (e^ε + K − 1), else one of the others.

    Parameters
    ----------
    epsilon : float
        ε when one label is exchanged for another.
    classes : sequence
        All K classes, public.
    """

    epsilon: float
    classes: Sequence[Any]
    one_row_each: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", _checked(self.classes))
        object.__setattr__(self, "epsilon", events.randomized_response(self.epsilon, len(self.classes)).epsilon)

    @property
    def event(self) -> events.RandomizedResponse:
        """The price."""
        return events.randomized_response(self.epsilon, len(self.classes))

    @property
    def keep(self) -> float:
        """The probability with which a label is true, rounded down, and at least that of a uniform label."""
        others = len(self.classes) - 1
        return max((1 - 2.0**-50) / (1 + others * math.exp(-self.epsilon)), 1 / (others + 1))

    def run(self, values: Any, ids: Sequence[str]) -> NDArray[Any]:
        """The noisy labels. Only `release` calls this, after the charge."""
        codes, n_classes = _codes(values, ids, self.classes), len(self.classes)
        missing = codes == _MISSING
        noisy = sampler().response(np.where(missing, 0, codes), n_classes, self.keep)
        null = sampler().response(np.zeros(len(ids), dtype=np.int64), n_classes, 1 / n_classes)
        return np.asarray(self.classes)[np.where(missing, null, noisy)]


@dataclass(frozen=True)
class LaplaceLabels:
    """One-hot labels with Laplace noise of scale 2/ε on every entry.

    Exchanging one label for another moves two entries by 1 each, so that the scale of ε is 2/ε, not 1/ε. An empty slot
    is a row of zeros, half as far away.

    Parameters
    ----------
    epsilon : float
        ε when one label is exchanged for another.
    classes : sequence
        All K classes, public; a table has one column for each.
    """

    epsilon: float
    classes: Sequence[Any]
    one_row_each: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "classes", _checked(self.classes))
        limited = events.randomized_response(self.epsilon, len(self.classes))  # same limits
        object.__setattr__(self, "epsilon", limited.epsilon)

    @property
    def event(self) -> events.Laplace:
        """The price: pure ε."""
        return events.laplace(1 / self.epsilon)

    def run(self, values: Any, ids: Sequence[str]) -> NDArray[np.float64]:
        """The noisy table, of shape (n_rows, n_classes). Only `release` calls this, after the charge."""
        codes = _codes(values, ids, self.classes)
        table = (codes[:, None] == np.arange(len(self.classes))).astype(np.float64)
        return perturb(table, 2 / self.epsilon, law="laplace")


def _checked(classes: Any) -> tuple[Any, ...]:
    ordered = isinstance(classes, Iterable) and not isinstance(classes, str | bytes | Set | Mapping)
    plain = tuple(classes) if ordered else ()
    same = len(set(plain)) == len(plain) and np.asarray(plain).tolist() == list(plain)
    if not plain or not same or any(map(_is_missing, plain)):
        raise ValueError(f"Expected classes to be a list of different words or numbers of one type. Found {classes!r}.")
    return tuple(np.asarray(plain).tolist())


def _codes(values: Any, ids: Sequence[str], classes: Sequence[Any]) -> NDArray[np.int64]:
    """Positions of labels among the classes; a missing label has a code of its own."""
    flat = not isinstance(values, str | bytes | Mapping) and getattr(values, "ndim", 1) == 1
    labels = list(values) if flat else []
    code_of = {name: code for code, name in enumerate(classes)}
    codes = np.array([_code(label, code_of) for label in labels], dtype=np.int64)
    if len(labels) != len(ids) or (codes == _UNKNOWN).any():
        raise ValueError("Expected one label, of the given classes or missing, for each of record_ids.")
    return codes


def _code(label: Any, code_of: Mapping[Any, int]) -> int:
    """The number of a class; says nothing about what else a label may be."""
    try:
        return code_of[label]
    except (KeyError, TypeError):
        return _MISSING if _is_missing(label) else _UNKNOWN


def _is_missing(label: Any) -> bool:
    return (
        label is None
        or label is pd.NA
        or (isinstance(label, float | np.floating) and math.isnan(label))
        or label is pd.NaT
    )
