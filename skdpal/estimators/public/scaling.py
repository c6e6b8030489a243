"""Scaling of each row by itself: it reads one patient, so it is free, and it removes what a platform does to a sample.

Nothing is copied but ranks: rows are scaled block by block when they are needed, so that a public
matrix of 1,000 rows and 20,000 genes is learnt from in little more than its own memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SCALINGS", "ScaledRows", "scale"]

Array = NDArray[np.float64]

SCALINGS = ("standardize", "rank")
_CELLS = 2**20  # in a block
_NOTHING = 1e-12  # a row whose values differ by less than this, relative to their size, is flat


@dataclass(frozen=True, eq=False)
class ScaledRows:
    """Rows as they are after scaling: ``(values - offset) / spread``; missing cells are NaN.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_columns)
        What came in, or its ranks.
    offset, spread : ndarray of shape (n_rows, 1)
        Of each row.
    complete : bool
        Whether no cell is missing.
    """

    values: NDArray[np.generic]
    offset: Array
    spread: Array
    complete: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.values.shape

    def means(self) -> Array:
        """Mean of each column over the rows that have it; NaN if none has."""
        means = np.empty(self.shape[1])
        for columns in self.column_blocks():
            block = self._scaled(slice(None), columns)
            present = len(block) if self.complete else (~np.isnan(block)).sum(axis=0)
            total = block.sum(axis=0) if self.complete else np.nansum(block, axis=0)
            means[columns] = np.divide(total, present, out=np.full(len(total), np.nan), where=np.asarray(present) > 0)
        return means

    def centred(self, means: Array, rows: slice = slice(None), columns: slice = slice(None)) -> Array:
        """A block minus the public means; missing cells are 0, as if they were the mean."""
        block = self._scaled(rows, columns)
        block -= means[columns]
        if not self.complete:
            np.nan_to_num(block, copy=False, nan=0.0)
        return block

    def project(self, means: Array, directions: Array) -> Array:
        """Coordinates along directions of shape (n_directions, n_columns), seen from the means."""
        result = np.zeros((self.shape[0], len(directions)))
        for columns in self.column_blocks():
            result += self.centred(means, columns=columns) @ directions[:, columns].T
        return result

    def column_blocks(self) -> Iterator[slice]:
        """Slices of columns that fit into a block."""
        return _slices(self.shape[1], self.shape[0])

    def row_blocks(self) -> Iterator[slice]:
        """Slices of rows that fit into a block."""
        return _slices(self.shape[0], self.shape[1])

    def _scaled(self, rows: slice, columns: slice) -> Array:
        block = self.values[rows, columns].astype(np.float64)
        block -= self.offset[rows]
        block /= self.spread[rows]
        return block


def scale(rows: NDArray[np.floating], how: str | None = None) -> ScaledRows:
    """Scale each row by what it holds itself.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_columns)
        Without infinity; NaN is a missing cell.
    how : {None, "standardize", "rank"}
        "standardize": mean 0 and variance 1 over the row's own columns. "rank": the same of its ranks,
        ties averaged, so that any increasing distortion of a sample changes nothing.
    """
    complete = not any(np.isnan(rows[block]).any() for block in _slices(*rows.shape))
    if how is None:
        return ScaledRows(rows, np.zeros((len(rows), 1)), np.ones((len(rows), 1)), complete)
    values = _ranks(rows, complete) if how == "rank" else rows
    offset, spread = np.zeros((len(rows), 1)), np.ones((len(rows), 1))
    for block in _slices(*rows.shape):
        offset[block], spread[block] = _offset_and_spread(values[block].astype(np.float64))
    return ScaledRows(values, offset, spread, complete)


def _offset_and_spread(block: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of each row; a flat row has infinite spread, so that it becomes 0."""
    present = np.maximum((~np.isnan(block)).sum(axis=1, keepdims=True), 1)
    offset = np.nansum(block, axis=1, keepdims=True) / present
    size = np.fmax.reduce(np.abs(block), axis=1, keepdims=True, initial=0.0)
    block -= offset
    block *= block
    spread = np.sqrt(np.nansum(block, axis=1, keepdims=True) / present)
    return offset, np.where(spread > _NOTHING * size, spread, np.inf)


def _ranks(rows: NDArray[np.floating], complete: bool) -> NDArray[np.generic]:
    """Twice the rank of each cell in its row: whole numbers, also of ties; two bytes each where that is enough."""
    small = complete and 2 * rows.shape[1] < 2**16
    ranks = np.empty(rows.shape, dtype=np.uint16 if small else np.float32)
    for row, result in zip(rows, ranks, strict=True):
        order = np.argsort(row)
        values = row[order]
        starts = np.flatnonzero(np.append(True, values[1:] != values[:-1])) if len(row) else order
        ends = np.append(starts[1:], len(row))
        result[order] = np.repeat(starts + 1 + ends, ends - starts)  # first and last rank of a tie, added
        if not complete:
            result[np.isnan(row)] = np.nan
    return ranks


def _slices(length: int, breadth: int) -> Iterator[slice]:
    step = max(1, _CELLS // max(breadth, 1))
    return (slice(start, start + step) for start in range(0, length, step))
