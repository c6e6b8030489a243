"""What a utility is: a score of one patient, from 0 to 1, that depends on nobody else."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["Array", "PerPatient", "Utility", "digest", "holder_of", "probabilities", "take"]

Array = NDArray[np.float64]

NULL = 0.5  # the score of nobody, of missing rows, and of NaN: the middle, so that one patient moves it by at most 1/2


class Utility(ABC):
    """How informative one patient's label would be.

    Subclasses give `name` and `of_rows`; callers use `skdpal.query.utilities.score`, which also turns NaN into 1/2 and clips.

    Attributes
    ----------
    name : str
        Public.

    Notes
    -----
    Charged: nothing by itself. The promise of every subclass: the score of a row depends on that row and on released or public
    things (`model`, parameters) only, never on the other rows, their number or their order. Then a hidden choice by it
    is free, and one patient moves a published vector of scores by at most 1/2 in L2. The representation names every
    public parameter (arrays by a digest), so that two questions can be told apart.

    Examples
    --------
    >>> import numpy as np
    >>> from types import SimpleNamespace
    >>> from skdpal.query import Utility, score
    >>> class Rare(Utility):
    ...     name = "rare"
    ...     def of_rows(self, model, X):
    ...         return 1 - model.predict_proba(X)[:, 0]
    >>> score(Rare(), SimpleNamespace(predict_proba=lambda X: np.array([[0.75, 0.25]])), np.zeros((1, 2)))
    array([0.25])
    """

    name: str

    def scores(self, model: Any, X: Any) -> Array:
        """Scores of all rows, each by itself.

        Parameters
        ----------
        model : object
            Released or public: an estimator, or a learner that holds one.
        X : array-like or DataFrame of shape (n_rows, n_features)
            Given to the model as it is. Zero rows are fine. A row that is not finite is
            nobody: it gets 1/2, and the model never sees it.

        Returns
        -------
        ndarray of shape (n_rows,)
        """
        usable = _complete(X)
        result = np.full(len(usable), NULL)
        if not usable.any():
            return result
        with np.errstate(
            all="ignore"
        ):  # a warning of an overflow would tell about a patient; what is no number gets 1/2
            if usable.all():
                return self.of_rows(model, X)
            result[usable] = self.of_rows(model, take(X, np.flatnonzero(usable)))
        return result

    @abstractmethod
    def of_rows(self, model: Any, X: Any) -> Array:
        """Scores of one or more complete rows."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class PerPatient(Utility):
    """A function of your own, called with one patient at a time, so that it cannot compare patients.

    Parameters
    ----------
    function : callable
        ``function(model, X)`` with X of one row, array or DataFrame as the pool is; returns one number from 0 to 1
        (others are clipped). It must look at its arguments and public things only, and remember no patient.
    name : str
        Public; give a new name to a new function.

    Examples
    --------
    >>> import numpy as np
    >>> from skdpal.query.utilities import PerPatient, score
    >>> first_feature = PerPatient(lambda model, X: X[0, 0], name="first feature")
    >>> score(first_feature, None, np.array([[0.2, 1.0], [0.7, 0.0]]))
    array([0.2, 0.7])
    """

    def __init__(self, function: Callable[[Any, Any], Any], name: str) -> None:
        if not callable(function):
            raise TypeError(f"Expected function to be callable. Found {type(function).__name__}. Pass f(model, X).")
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"Expected name to be a word that may be public. Found {name!r}.")
        self.function = function
        self.name = name

    def of_rows(self, model: Any, X: Any) -> Array:
        """Call the function once for each row."""
        return np.array([self._one(model, take(X, [position])) for position in range(len(X))])

    def _one(self, model: Any, row: Any) -> float:
        value = np.asarray(self.function(model, row), dtype=np.float64)
        if value.size != 1:
            raise ValueError(
                f"Expected the function {self.name!r} to return one number for one row. Found shape {value.shape}. "
                "Return the score of the only row of X."
            )
        return float(value.reshape(()))

    def __repr__(self) -> str:
        return f"PerPatient(name={self.name!r})"


def take(X: Any, positions: Any) -> Any:
    """Some rows, as a table of the same kind."""
    return X.iloc[positions] if isinstance(X, pd.DataFrame) else np.asarray(X)[positions]


def holder_of(model: Any, attribute: str) -> Any:
    """The model, or the estimator inside a learner, whichever has the attribute; None if neither has."""
    for holder in (model, getattr(model, "estimator", None)):
        if hasattr(holder, attribute):
            return holder
    return None


def probabilities(model: Any, X: Any) -> Array:
    """Class probabilities of shape (n_rows, n_classes)."""
    if not hasattr(model, "predict_proba"):
        raise TypeError(
            f"Expected a model with predict_proba. Found {type(model).__name__}. "
            'Use a classifier of skdpal, or utility="random".'
        )
    return np.asarray(model.predict_proba(X), dtype=np.float64)


def digest(array: Any) -> str:
    """A short name for public numbers."""
    array = np.ascontiguousarray(array, dtype=np.float64)
    return f"<{'x'.join(map(str, array.shape))} {hashlib.sha256(array.tobytes()).hexdigest()[:12]}>"


def _complete(X: Any) -> NDArray[np.bool_]:
    """Which rows hold neither NaN nor infinity."""
    try:
        rows = np.asarray(X, dtype=np.float64)
    except (TypeError, ValueError):  # words, or pandas' own missing values
        return ~pd.DataFrame(X).isna().any(axis=1).to_numpy()
    if rows.ndim != 2:
        raise ValueError(
            f"Expected X to be of shape (n_rows, n_features). Found {rows.ndim} dimensions. Pass one row for each patient."
        )
    with np.errstate(invalid="ignore", over="ignore"):
        return np.isfinite(rows @ np.ones(rows.shape[1]))  # a sum is finite if its parts are, and ten times faster
