"""Error rates of readers from counts of vote patterns, by expectation maximisation (Dawid and Skene 1979).

On exact counts of a cohort this couples patients: one patient's votes move what is believed of all others. It is for
counts that were released with noise, or are public.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["estimate"]

Array = NDArray[np.float64]
_CLOSE = 1e-9


def estimate(
    codes: NDArray[np.intp],
    weights: Array,
    guess: Sequence[Array],
    prior: Array,
    strength: Sequence[Array],
    prior_strength: float,
    n_iterations: int = 200,
) -> tuple[list[Array], Array]:
    """The likeliest error rates and class fractions, shrunk to a public guess.

    Parameters
    ----------
    codes : ndarray of int of shape (n_patterns, n_readers)
        Positions of labels; -1: not read.
    weights : ndarray of shape (n_patterns,)
        How often each pattern was counted; 0 or more.
    guess : sequence of ndarray of shape (n_classes, n_labels)
        Error rates of each reader, where to start and what to shrink to.
    prior : ndarray of shape (n_classes,)
        Class fractions, the same.
    strength : sequence of ndarray of shape (n_classes,)
        The guess counts as so many patients of each class, for each reader.
    prior_strength : float
        The same for the class fractions.
    n_iterations : int, default=200
        At most; fewer if nothing moves any more.

    Returns
    -------
    list of ndarray, ndarray
        Error rates of each reader, class fractions.
    """
    votes = [np.eye(matrix.shape[1] + 1)[column][:, :-1] for matrix, column in zip(guess, codes.T, strict=True)]
    rates, fractions = [np.array(matrix) for matrix in guess], np.array(prior)
    for _ in range(n_iterations):
        shares = fractions * np.ones((len(codes), 1))
        for matrix, table in zip(rates, votes, strict=True):
            shares *= np.where(table.any(axis=1)[:, None], table @ matrix.T, 1.0)
        total = shares.sum(axis=1, keepdims=True)
        shares = weights[:, None] * np.divide(shares, total, out=np.zeros_like(shares), where=total > 0)
        before = [*rates, fractions]
        rates = [
            _normalised(shares.T @ table + belief[:, None] * matrix, matrix)
            for table, matrix, belief in zip(votes, guess, strength, strict=True)
        ]
        fractions = _normalised((shares.sum(axis=0) + prior_strength * prior)[None, :], prior[None, :])[0]
        if max(float(abs(new - old).max()) for new, old in zip([*rates, fractions], before, strict=True)) < _CLOSE:
            break
    return rates, fractions


def _normalised(counts: Array, otherwise: Array) -> Array:
    """Rows with the sum 1; of nothing, the guess."""
    total = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, total, out=np.array(otherwise), where=total > 0)
