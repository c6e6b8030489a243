"""Scores made of one patient's class probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import entr

from skdpal.query.utilities.base import NULL, Array, Utility, probabilities

__all__ = ["Entropy", "LeastConfidence", "Margin", "Random"]


class Margin(Utility):
    """One minus the gap between the two likeliest classes.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from skdpal.query.utilities import Margin, score
    >>> model = SimpleNamespace(predict_proba=lambda X: X)  # rows that are probabilities already
    >>> score(Margin(), model, [[0.5, 0.5], [1.0, 0.0]])
    array([1., 0.])
    """

    name = "margin"

    def of_rows(self, model: Any, X: Any) -> Array:
        """1 - (p1 - p2)."""
        found = probabilities(model, X)
        if found.shape[1] < 2:
            return 1.0 - found[:, -1]
        ordered = np.partition(found, -2, axis=1)
        return 1.0 - (ordered[:, -1] - ordered[:, -2])


class Entropy(Utility):
    """Entropy in units of its largest value, the logarithm of the number of classes.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from skdpal.query.utilities import Entropy, score
    >>> model = SimpleNamespace(predict_proba=lambda X: X)  # rows that are probabilities already
    >>> score(Entropy(), model, [[0.5, 0.5], [1.0, 0.0]])
    array([1., 0.])
    """

    name = "entropy"

    def of_rows(self, model: Any, X: Any) -> Array:
        """-Σ p log p / log K."""
        found = probabilities(model, X)
        return (
            entr(found) @ np.ones(found.shape[1]) / np.log(max(found.shape[1], 2))
        )  # faster than a sum over few columns


class LeastConfidence(Utility):
    """Missing probability of the likeliest class, scaled so that the uniform has 1.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from skdpal.query.utilities import LeastConfidence, score
    >>> model = SimpleNamespace(predict_proba=lambda X: X)  # rows that are probabilities already
    >>> score(LeastConfidence(), model, [[0.5, 0.5], [1.0, 0.0]])
    array([1., 0.])
    """

    name = "least_confidence"

    def of_rows(self, model: Any, X: Any) -> Array:
        """(1 - p1) K / (K - 1)."""
        found = probabilities(model, X)
        n_classes = max(found.shape[1], 2)
        return (1.0 - np.partition(found, -1, axis=1)[:, -1]) * n_classes / (n_classes - 1)


class Random(Utility):
    """The same for everybody: choose without looking, neither at the patients nor at the model.

    Examples
    --------
    >>> from skdpal.query.utilities import Random, score
    >>> score(Random(), None, [[0.9, 0.1]])
    array([0.5])
    """

    name = "random"

    def scores(self, model: Any, X: Any) -> Array:
        """1/2 for each row; only their number is read."""
        return np.full(len(X), NULL)

    def of_rows(self, model: Any, X: Any) -> Array:
        """As `scores`."""
        return self.scores(model, X)
