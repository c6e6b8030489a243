"""Principal directions of public rows, whitened.

Rows are read in blocks. With more columns than rows, the directions come from inner products of rows
(an n x n matrix), else from the covariance of columns; small tables go straight to a singular value decomposition.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.covariance import oas

from skdpal.estimators.public.scaling import Array, ScaledRows

__all__ = ["Whitening", "centres", "coordinates", "to_sphere", "whiten"]

_SMALL = 2**20  # cells of a table that is decomposed as it is: exact, and soon done


@dataclass(frozen=True, eq=False)
class Whitening:
    """A linear map; frozen.

    Attributes
    ----------
    mean : ndarray of shape (n_columns,)
    components : ndarray of shape (n_components, n_columns)
        Whitened directions.
    shrinkage : float
        Weight of the identity in the covariance (Chen et al. 2010, oracle approximating shrinkage).
    """

    mean: Array
    components: Array
    shrinkage: float

    def __post_init__(self) -> None:
        self.mean.setflags(write=False)
        self.components.setflags(write=False)

    def __call__(self, rows: ScaledRows) -> Array:
        """Embed rows; each result has length 1, or 0 if nothing is known of the row."""
        return to_sphere(rows.project(self.mean, self.components))


def whiten(rows: ScaledRows, y: Any, n_components: int) -> Whitening:
    """Principal components, whitened by their pooled within-class covariance (total covariance without labels)."""
    mean = rows.means()
    directions = _directions(rows, mean, n_components)
    projected = rows.project(mean, directions)
    residual = projected - centres(projected, y)
    if not residual.any():  # a class for every row says nothing of what varies within classes
        residual = projected
    covariance, shrinkage = oas(residual, assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    least = 1e-12 * values.max() or 1.0
    whitening = (vectors / np.sqrt(np.maximum(values, least))) @ vectors.T
    return Whitening(mean, whitening @ directions, float(shrinkage))


def coordinates(rows: ScaledRows) -> Array:
    """Public rows in at most as many columns as there are rows, with the same distances between them."""
    n_rows, n_columns = rows.shape
    mean = rows.means()
    if n_columns <= n_rows:
        return rows.centred(mean)
    values, vectors = eigh(_inner_products(rows, mean))
    return vectors * np.sqrt(np.maximum(values, 0.0))


def centres(rows: Array, y: Any) -> Array:
    """The class mean of each row; the overall mean without labels."""
    if y is None:
        return np.broadcast_to(rows.mean(axis=0), rows.shape)
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    means = np.array([rows[codes == code].mean(axis=0) for code in range(len(classes))])
    return means[codes]


def to_sphere(rows: NDArray[np.floating]) -> Array:
    """Scale rows to length 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)


def _directions(rows: ScaledRows, mean: Array, n_components: int) -> Array:
    """The first principal directions, as orthonormal rows."""
    n_rows, n_columns = rows.shape
    if n_rows * n_columns <= _SMALL:
        return np.linalg.svd(rows.centred(mean), full_matrices=False)[2][:n_components]
    if n_columns <= n_rows:
        return _top(_covariance(rows, mean), n_components)
    left = _top(_inner_products(rows, mean), n_components)
    images = np.empty((n_components, n_columns))
    for columns in rows.column_blocks():
        images[:, columns] = left @ rows.centred(mean, columns=columns)
    return np.linalg.svd(images, full_matrices=False)[2]  # orthonormal, even where nothing varies


def _top(matrix: Array, number: int) -> Array:
    """The eigenvectors of the largest eigenvalues, as rows, largest first."""
    size = len(matrix)
    _, vectors = eigh(matrix, subset_by_index=[size - number, size - 1], overwrite_a=True, check_finite=False)
    return vectors.T[::-1]


def _inner_products(rows: ScaledRows, mean: Array) -> Array:
    result = np.zeros((rows.shape[0], rows.shape[0]))
    for columns in rows.column_blocks():
        block = rows.centred(mean, columns=columns)
        result += block @ block.T
    return result


def _covariance(rows: ScaledRows, mean: Array) -> Array:
    result = np.zeros((rows.shape[1], rows.shape[1]))
    for some in rows.row_blocks():
        block = rows.centred(mean, rows=some)
        result += block.T @ block
    return result
