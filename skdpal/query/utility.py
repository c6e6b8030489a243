"""How informative one patient's label would be, from 0 to 1.

A utility is a pure function of one patient's class probabilities under a released model. Scores that
depend on other patients of the pool (core-set, BADGE, ranked batches, ranks, z-scores)
are not here: one patient would move everybody's score, and the price with it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr

__all__ = ["UTILITIES", "entropy", "least_confidence", "margin", "random"]

Array = NDArray[np.float64]


def margin(probabilities: Array) -> Array:
    """One minus the gap between the two likeliest classes.

    Parameters
    ----------
    probabilities : ndarray of shape (n_rows, n_classes)

    Returns
    -------
    ndarray of shape (n_rows,), in [0, 1]

    Examples
    --------
    >>> import numpy as np
    >>> margin(np.array([[0.5, 0.5], [1.0, 0.0]]))
    array([1., 0.])
    """
    ordered = np.sort(probabilities, axis=1)
    second = ordered[:, -2] if ordered.shape[1] > 1 else 0.0
    return np.clip(1.0 - (ordered[:, -1] - second), 0.0, 1.0)


def entropy(probabilities: Array) -> Array:
    """Entropy in units of its largest value, the logarithm of the number of classes.

    Examples
    --------
    >>> import numpy as np
    >>> entropy(np.array([[0.5, 0.5], [1.0, 0.0]]))
    array([1., 0.])
    """
    most = np.log(max(probabilities.shape[1], 2))
    return np.clip(entr(probabilities).sum(axis=1) / most, 0.0, 1.0)


def least_confidence(probabilities: Array) -> Array:
    """Missing probability of the likeliest class, scaled so that the uniform has 1.

    Examples
    --------
    >>> import numpy as np
    >>> least_confidence(np.array([[0.5, 0.5], [1.0, 0.0]]))
    array([1., 0.])
    """
    n_classes = max(probabilities.shape[1], 2)
    return np.clip((1.0 - probabilities.max(axis=1)) * n_classes / (n_classes - 1), 0.0, 1.0)


def random(probabilities: Array) -> Array:
    """The same for everybody: choose without looking.

    Examples
    --------
    >>> import numpy as np
    >>> random(np.array([[0.9, 0.1]]))
    array([0.5])
    """
    return np.full(len(probabilities), 0.5)


UTILITIES: dict[str, Callable[[Array], Array]] = {
    "margin": margin,
    "entropy": entropy,
    "least_confidence": least_confidence,
    "random": random,
}
