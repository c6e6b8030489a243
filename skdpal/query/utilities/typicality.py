"""Patients who are typical, whose contributions add up in a noisy sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skdpal.privacy.validation import check_finite
from skdpal.query.utilities.base import Array, Utility, digest, holder_of, probabilities

__all__ = ["Coherence", "Typicality"]


class Typicality(Utility):
    """Closeness to the nearest public prototype.

    Parameters
    ----------
    prototypes : array-like of shape (n_prototypes, n_features)
        PUBLIC: rows of cell lines or atlases, or class means of a public prior, embedded as the pool is. None of length 0.

    Notes
    -----
    ``(1 + cos) / 2`` of the angle between a row and the nearest prototype: 1 in its direction, 0 opposite, 1/2 at right angles
    and for a row of zeros. The model is not asked. Typical patients teach most when labels are few (Hacohen et al., 2022); there
    typicality is density in the pool, which one patient moves for everybody, so here public rows stand for the pool.

    Examples
    --------
    >>> from skdpal.query.utilities import Typicality, score
    >>> score(Typicality([[1.0, 0.0]]), None, [[0.3, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    array([1. , 0.5, 0. ])
    """

    name = "typicality"

    def __init__(self, prototypes: Any) -> None:
        rows = check_finite("prototypes", prototypes)
        lengths = np.linalg.norm(rows, axis=-1, keepdims=True) if rows.ndim == 2 else np.zeros(1)
        if not rows.size or not (lengths > 0).all():
            raise ValueError(
                f"Expected prototypes to be one or more rows of public numbers, none of length 0. Found shape {rows.shape}. "
                "Pass public rows, embedded as the pool is."
            )
        self.prototypes = rows / lengths
        self.feature_names = list(prototypes.columns) if isinstance(prototypes, pd.DataFrame) else None

    def of_rows(self, model: Any, X: Any) -> Array:
        """(1 + cosine) / 2."""
        if self.feature_names and isinstance(X, pd.DataFrame) and list(X.columns) != self.feature_names:
            raise ValueError("Expected X to have the columns of prototypes, in their order. Reorder or rename them.")
        rows = _like(X, self.prototypes, "prototypes")
        lengths = np.linalg.norm(rows, axis=1)
        nearest = (rows @ self.prototypes.T).max(axis=1)
        return (1.0 + np.divide(nearest, lengths, out=np.zeros(len(rows)), where=lengths > 0)) / 2

    def __repr__(self) -> str:
        return f"Typicality({digest(self.prototypes)})"


class Coherence(Utility):
    """How much of the patient's contribution is expected to add up with that of the own class.

    Parameters
    ----------
    means : array-like of shape (n_classes, n_features), optional
        PUBLIC or released class means, in the order of the model's `classes_` and at most 1 long, such as `prior.means`. Default:
        those of the model's posterior.

    Raises
    ------
    TypeError
        If there are neither means nor a model that released some.

    Notes
    -----
    Privacy noise has a fixed size, so what counts is how long the sum of a class grows in the direction that tells it
    from the others. A confident, typical patient adds nearly the own length to it. Patients at the boundary, whom margin and entropy
    prefer, lie at right angles to it or on the wrong side half of the time, and cancel. With class means m_k, their mean
    m, directions c_k = (m_k − m)/‖m_k − m‖ and x scaled into the unit ball, ::

        s(x) = Σ_k p_k(x) ⟨x − m, c_k⟩    from −(1 + ‖m‖) to 1 + ‖m‖

    and the score is ½ + ½ s / (1 + ‖m‖): ½ where the contribution is expected to cancel.
    It chooses who confirms the model, so it learns little where the model is wrong: best for early rounds with much noise.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> import numpy as np
    >>> from skdpal.query.utilities import Coherence, score
    >>> sure = SimpleNamespace(predict_proba=lambda X: np.column_stack([X[:, 0] > 0, X[:, 0] <= 0]))
    >>> score(Coherence([[0.5, 0.0], [-0.5, 0.0]]), sure, np.array([[1.0, 0.0], [0.2, 0.9], [-1.0, 0.0]]))
    array([1. , 0.6, 1. ])
    """

    name = "coherence"

    def __init__(self, means: Any = None) -> None:
        self.means = None if means is None else check_finite("means", means)
        if self.means is not None and (self.means.ndim != 2 or not self.means.size):
            raise ValueError(
                f"Expected means of shape (n_classes, n_features). Found shape {self.means.shape}. Pass public class means."
            )

    def of_rows(self, model: Any, X: Any) -> Array:
        """Expected projection on the direction of the class, scaled to [0, 1]."""
        found, means = probabilities(model, X), self._means(model)
        if len(means) != found.shape[1]:
            raise ValueError(
                f"Expected means to hold one row for each of {found.shape[1]} classes. Found {len(means)}. "
                "Pass them in the order of classes_."
            )
        rows = _like(X, means, "means")
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1), 1.0)[:, None]
        centre = means.mean(axis=0)
        away = means - centre
        lengths = np.linalg.norm(away, axis=1, keepdims=True)
        directions = np.divide(away, lengths, out=np.zeros_like(away), where=lengths > 0)
        projected = (found * ((rows - centre) @ directions.T)).sum(axis=1)
        return 0.5 + 0.5 * projected / (1.0 + np.linalg.norm(centre))

    def _means(self, model: Any) -> Array:
        if self.means is not None:
            return self.means
        holder = holder_of(model, "posterior_")
        if holder is None:
            found = type(getattr(model, "estimator", model)).__name__
            raise TypeError(
                f"Expected a model with released class means, as DPPrototypeClassifier has. Found {found}. "
                "Pass public ones: Coherence(prior.means)."
            )
        return holder.posterior_.class_means

    def __repr__(self) -> str:
        return "Coherence()" if self.means is None else f"Coherence({digest(self.means)})"


def _like(X: Any, rows: Array, name: str) -> Array:
    """The patients' rows as numbers, with as many columns as the public rows."""
    found = np.asarray(X, dtype=np.float64)
    if found.shape[1] != rows.shape[1]:
        raise ValueError(
            f"Expected X to have the {rows.shape[1]} columns of {name}. Found {found.shape[1]}. "
            "Embed the pool and the public rows with the same PublicEncoder."
        )
    return found
