"""Public partitions: into which cell a patient falls, so that a choice can be spread over cells.

Invariants
----------
* The cells are public and fixed before a patient is read; the cell of a row depends on that row only, to the last bit.
* Cells of prototypes follow private rows: they enter a release through `CellScores` and nowhere else.
  Strata are public already: they may be used in the open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skdpal.privacy.validation import check_finite

__all__ = ["NO_CELL", "PublicPartition"]

NO_CELL = -1  # of a row with missing entries
_BLOCK = 65_536  # rows at a time


@dataclass(frozen=True, eq=False)
class PublicPartition:
    """Cells around PUBLIC prototypes, or PUBLIC strata of patients; frozen, the same object in every clone.

    Make one with `from_prototypes` or `from_strata`.

    Attributes
    ----------
    names : tuple of str
        One a cell.
    prototypes : ndarray of shape (n_cells, n_features) or None
        A row falls into the cell of the nearest (Voronoi cells); of equally near ones, of the first.
    feature_names : tuple of str or None
        Column names of the prototypes, if they had any.
    strata : mapping of str to int, or None
        The cell of each patient.

    Examples
    --------
    >>> import numpy as np
    >>> from skdpal.query.selections.partition import PublicPartition
    >>> partition = PublicPartition.from_prototypes([[0.0, 1.0], [1.0, 0.0]], names=["luminal", "basal"])
    >>> partition.cells(np.array([[0.1, 0.9], [0.8, 0.3]]))
    array([0, 1])
    >>> PublicPartition.from_strata({"p1": "Lyon", "p2": "Bern", "p3": "Bern"}).cells_of(["p3", "p1"])
    array([0, 1])
    """

    names: tuple[str, ...]
    prototypes: NDArray[np.float64] | None = None
    feature_names: tuple[str, ...] | None = None
    strata: Mapping[str, int] | None = field(default=None, repr=False)

    @classmethod
    def from_prototypes(cls, prototypes: Any, names: Sequence[Any] | None = None) -> Self:
        """Voronoi cells of public rows, such as `PublicPrior.means` or centres of clusters of cell lines.

        Parameters
        ----------
        prototypes : array-like or DataFrame of shape (n_cells, n_features)
            PUBLIC; embedded as the patients are.
        names : sequence of length n_cells, optional
            Default: "0", "1", ...

        Raises
        ------
        ValueError
            If prototypes are no table, or names do not fit them.

        Notes
        -----
        Nothing is charged. Which cell a patient is in is private.
        """
        columns = _columns(prototypes)
        rows = np.array(check_finite("prototypes", prototypes))
        if rows.ndim != 2 or not rows.size:
            raise ValueError(
                f"Expected prototypes of shape (n_cells, n_features). Found shape {rows.shape}. Pass public rows."
            )
        rows.setflags(write=False)
        words = tuple(map(str, range(len(rows)) if names is None else names))
        if len(words) != len(rows) or len(set(words)) < len(words):
            raise ValueError(f"Expected names to be {len(rows)} different words, one a prototype. Found {words}.")
        return cls(words, rows, columns)

    @classmethod
    def from_strata(cls, labels: Any, record_ids: Sequence[Any] | None = None) -> Self:
        """Strata that are known outside the hospital, such as sites, or a histology that is published.

        Parameters
        ----------
        labels : mapping or Series, or sequence with `record_ids`
            The PUBLIC stratum of each patient of the protocol's pool: by id, by the index of a public column, or in order.
        record_ids : sequence of hashable, optional
            The patients, if `labels` does not name them.

        Raises
        ------
        ValueError
            If patients and strata do not belong together.

        Notes
        -----
        Nothing is charged, and nothing about a stratum is protected: a column that the study has measured, or that
        is known inside the hospital only, is not public.
        """
        if record_ids is None and not isinstance(labels, Mapping | pd.Series):
            raise ValueError("Expected labels to be a mapping or a Series by patient. Pass record_ids with a sequence.")
        ids = list(labels.keys()) if record_ids is None else list(record_ids)
        words = list(labels.values() if isinstance(labels, Mapping) else labels)
        if len(words) != len(ids) or not ids:
            raise ValueError("Expected one stratum for each of record_ids, and at least one patient.")
        if pd.isna(pd.Series(words, dtype=object)).any():
            raise ValueError("Expected a stratum for every patient. Give those without one a stratum of their own.")
        names = tuple(sorted(set(map(str, words))))
        strata = {str(patient): names.index(str(word)) for patient, word in zip(ids, words, strict=True)}
        if len(strata) < len(ids):
            raise ValueError("Expected one stratum a patient. Merge entries of the same id first.")
        return cls(names, strata=strata)

    @property
    def n_cells(self) -> int:
        """How many."""
        return len(self.names)

    def cells(self, X: Any) -> NDArray[np.intp]:
        """The cell of each row; `NO_CELL` for a row with missing entries. Private, as the rows are.

        Raises
        ------
        ValueError
            If the columns are not those of the prototypes.
        """
        if self.prototypes is None:
            raise ValueError("Expected a partition of prototypes. Found strata. Use cells_of(record_ids).")
        rows = _numbers(X)
        n_features = self.prototypes.shape[1]
        if rows.ndim != 2 or rows.shape[1] != n_features:
            raise ValueError(f"Expected X with {n_features} columns, as the prototypes have. Embed both alike.")
        columns = _columns(X)
        if columns is not None and self.feature_names not in (None, columns):
            raise ValueError(
                "Expected the columns of X to be those of the prototypes, in this order. Embed both alike."
            )
        blocks = [self._nearest(rows[start : start + _BLOCK]) for start in range(0, len(rows), _BLOCK)]
        return np.concatenate(blocks) if blocks else np.empty(0, dtype=np.intp)

    def cells_of(self, record_ids: Sequence[Any]) -> NDArray[np.intp]:
        """The stratum of each patient.

        Raises
        ------
        ValueError
            If a patient has none.
        """
        if self.strata is None:
            raise ValueError("Expected a partition of strata. Found prototypes. Use cells(X).")
        cells = np.array([self.strata.get(str(patient), NO_CELL) for patient in record_ids], dtype=np.intp)
        if (cells == NO_CELL).any():
            raise ValueError("Expected a stratum for every patient. Make the partition for the protocol's whole pool.")
        return cells

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __sklearn_clone__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<PublicPartition: {self.n_cells} {'strata' if self.prototypes is None else 'cells'}>"

    def _nearest(self, rows: NDArray[np.float64]) -> NDArray[np.intp]:
        """No matrix product: its last bits depend on how many rows there are."""
        distances = [((rows - prototype) ** 2).sum(axis=1) for prototype in self.prototypes]
        return np.where(np.isfinite(rows).all(axis=1), np.argmin(distances, axis=0), NO_CELL).astype(np.intp)


def _columns(X: Any) -> tuple[str, ...] | None:
    return tuple(map(str, X.columns)) if hasattr(X, "columns") else None


def _numbers(X: Any) -> NDArray[np.float64]:
    try:
        return np.ascontiguousarray(X, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError("Expected X to be numeric. Convert its columns to numbers first.") from None
