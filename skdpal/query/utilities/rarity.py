"""Patients of classes that are rare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skdpal.privacy.validation import check_finite
from skdpal.query.utilities.base import NULL, Array, Utility, holder_of, probabilities

__all__ = ["Rarity"]


class Rarity(Utility):
    """Expected rarity of the patient's class.

    Parameters
    ----------
    fractions : mapping of label to float, or sequence of float of length n_classes, optional
        PUBLIC fractions of the classes; a sequence in the order of the model's `classes_`. Default: those that the model
        released (`posterior_.fractions`: noisy counts, shrunk to the public belief) or of its public prior. Never
        counts of the pool.

    Raises
    ------
    TypeError
        If there are neither fractions nor a model that released some.
    ValueError
        If they do not fit the model's classes.

    Notes
    -----
    With fractions f and probabilities p, ``Σ p_k (1 - f_k)``, moved and scaled so that a sure case of the
    commonest class has 0 and one of the rarest has 1: ``(max f - Σ p_k f_k) / (max f - min f)``. Equal fractions: 1/2 for all.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from skdpal.query.utilities import Rarity, score
    >>> model = SimpleNamespace(predict_proba=lambda X: X)  # rows that are probabilities already
    >>> score(Rarity([0.5, 0.4, 0.1]), model, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    array([0.  , 0.25, 1.  ])
    """

    name = "rarity"

    def __init__(self, fractions: Mapping[Any, float] | Sequence[float] | None = None) -> None:
        self.labels: list[Any] | None = None
        if isinstance(fractions, Mapping):
            self.labels, fractions = list(fractions), list(fractions.values())
        self.fractions = None if fractions is None else _proper(fractions)

    def of_rows(self, model: Any, X: Any) -> Array:
        """Expected rarity between the commonest and the rarest class."""
        found = probabilities(model, X)
        fractions = self._in_order(model)
        if len(fractions) != found.shape[1]:
            raise ValueError(
                f"Expected fractions to hold one number for each of {found.shape[1]} classes. Found {len(fractions)}. "
                "Pass them in the order of classes_, or as {label: fraction}."
            )
        common, rare = fractions.max(), fractions.min()
        if common == rare:
            return np.full(len(found), NULL)
        return (common - found @ fractions) / (common - rare)

    def _in_order(self, model: Any) -> Array:
        """Fractions in the order of the model's classes."""
        if self.fractions is None:
            return _released(model)
        if self.labels is None:
            return self.fractions
        holder = holder_of(model, "classes_")
        classes = [] if holder is None else list(holder.classes_)
        if set(classes) != set(self.labels):
            raise ValueError(
                f"Expected fractions to name the model's classes, {[str(label) for label in classes]}. "
                f"Found {[str(label) for label in self.labels]}. Name each class once."
            )
        return self.fractions[[self.labels.index(label) for label in classes]]

    def __repr__(self) -> str:
        if self.fractions is None:
            return "Rarity()"
        names = "" if self.labels is None else f"{[str(label) for label in self.labels]} "
        return f"Rarity({names}{[float(fraction) for fraction in self.fractions]})"


def _proper(fractions: Any) -> Array:
    array = check_finite("fractions", fractions)
    if array.ndim != 1 or not len(array) or (array < 0).any() or array.sum() <= 0:
        raise ValueError(
            f"Expected fractions to be one number, 0 or more, for each class. Found {fractions!r}. Pass public fractions."
        )
    return array / array.sum()


def _released(model: Any) -> Array:
    """Fractions that the model, or its public prior, holds."""
    for attribute in ("posterior_", "prior"):
        found = getattr(getattr(holder_of(model, attribute), attribute, None), "fractions", None)
        if found is not None:
            return np.asarray(found, dtype=np.float64)
    raise TypeError(
        f"Expected a model that released class fractions, as DPPrototypeClassifier does. Found {type(model).__name__}. "
        "Pass public ones: Rarity({label: fraction, ...})."
    )
