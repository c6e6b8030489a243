"""A statistic learnt from runs that judge nothing: for prices that rest on what is withheld.

Invariants
----------
* Weights and threshold come from the first half of the runs, verdicts from the second.
* What is read is what was published, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["weighed"]

Matrix = NDArray[np.float64]
_RIDGE = 1e-12


def weighed(present: Sequence[Mapping[str, Any]], absent: Sequence[Mapping[str, Any]]) -> tuple[Matrix, Matrix]:
    """One number a run: a sum of everything published, weighted by how far the worlds are apart in the first half.

    Parameters
    ----------
    present, absent : sequence of mapping
        What each run published, by path: arrays, or words.

    Returns
    -------
    tuple of ndarray of shape (n_runs,)
        The first half of each array helped to choose the weights.

    Notes
    -----
    Fisher's discriminant with a diagonal covariance; words count as columns of zeros and ones, one for each that occurred in the
    first half. Numbers whose shape changes are left out.
    """
    half = len(present) // 2
    known = [*present[:half], *absent[:half]]
    columns = _columns(known)
    there, gone = _matrix(present, columns), _matrix(absent, columns)
    if not there.shape[1]:
        return np.zeros(len(there)), np.zeros(len(gone))
    step = there[:half].mean(axis=0) - gone[:half].mean(axis=0)
    spread = (there[:half].var(axis=0) + gone[:half].var(axis=0)) / 2
    scale = np.maximum(spread, _RIDGE + 1e-9 * step**2)
    weights = step / scale
    return there @ weights, gone @ weights


def _columns(runs: Sequence[Mapping[str, Any]]) -> list[tuple[str, Any]]:
    """Numbers with a fixed shape, and words that occurred."""
    found: list[tuple[str, Any]] = []
    for path in dict.fromkeys(path for run in runs for path in run):
        values = [run.get(path) for run in runs]
        shapes = {value.shape if isinstance(value, np.ndarray) else None for value in values}
        if len(shapes) == 1 and None not in shapes:
            found.append((path, next(iter(shapes))))
        else:
            words = dict.fromkeys(value for value in values if isinstance(value, str))
            found.extend((path, word) for word in words if 1 < len(words) <= len(runs) // 4)
    return found


def _matrix(runs: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, Any]]) -> Matrix:
    rows = [np.concatenate([np.zeros(0), *(_numbers(run.get(path), kind) for path, kind in columns)]) for run in runs]
    return np.array(rows)


def _numbers(value: Any, kind: Any) -> Matrix:
    if isinstance(kind, str):
        return np.array([float(isinstance(value, str) and value == kind)])
    if isinstance(value, np.ndarray) and value.shape == kind:
        return np.asarray(np.nan_to_num(value.ravel(), posinf=1e300, neginf=-1e300), dtype=np.float64)
    return np.zeros(int(np.prod(kind)))
