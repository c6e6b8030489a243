"""Public rows embedded as if each had been new.

Scores of the very rows that shaped an encoder are too confident to set a threshold for patients.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold

from skdpal.estimators.public.scaling import Array
from skdpal.estimators.public.whitening import centres, to_sphere

__all__ = ["out_of_sample"]

Places = NDArray[np.intp]


def out_of_sample(
    own: Array, labels: NDArray[np.generic], n_folds: int, fit: Callable[[Places], Callable[[Places], Array]]
) -> Array:
    """Embed each row by an encoder that was fitted without it.

    Parameters
    ----------
    own : ndarray of shape (n_rows, n_components)
        The rows as the encoder of all rows embeds them: its axes are kept.
    labels : ndarray of shape (n_rows,)
    n_folds : int
        Encoders to fit.
    fit : callable
        Takes the positions of the rows to learn from; returns what embeds the rows at other positions.

    Returns
    -------
    ndarray of shape (n_rows, n_components)
        Rotated onto `own`, and moved so that a row lies as far from its class mean as if the mean had been taken without it.
    """
    own_centres, result = centres(own, labels), np.empty_like(own)
    for train, test in KFold(n_folds).split(own):
        embed = fit(train)
        seen, moved = embed(train), embed(test)
        left, _, right = np.linalg.svd(seen.T @ own[train], full_matrices=False)
        seen, moved = seen @ left @ right, moved @ left @ right
        for row, place in zip(moved, test, strict=True):
            peers = labels[train] == labels[place]
            if peers.any():
                row += own_centres[place] - seen[peers].mean(axis=0)
        result[test] = to_sphere(moved)
    return result
