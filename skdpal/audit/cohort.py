"""The patients of a study under audit, in one of two worlds.

Invariants
----------
* The roster, and with it every number of slots, is the same in both worlds: it is public. What differs is one patient's
  content: a patient without content has a slot, and no row.
* A study that takes public numbers from `n_patients`, as a protocol does, tells the two worlds apart only by what it
  learnt from the patient; one that counts rows is found out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["AuditCohort", "Slots"]


@dataclass(frozen=True, eq=False)
class Slots:
    """Rows for every slot: of a patient without content, zeros and None as label.

    Attributes
    ----------
    X, y : table and ndarray
    record_ids : list of str
    """

    X: Any
    y: NDArray[Any]
    record_ids: list[str]


@dataclass(frozen=True, eq=False)
class AuditCohort:
    """Patients as a study factory gets them; make one with `from_arrays`.

    Attributes
    ----------
    roster : tuple of str
        Who has a slot. Public, the same in both worlds.
    table, labels : table and ndarray
        Rows and labels of all slots, also of those that are empty: not for a study, which takes `X` and `y`.
    empty : frozenset of str
        Whose slot is empty.
    names : mapping of str to str or None
        Other names under which patients appear.
    world : str
        Words for messages; a study must not look at it.
    workspace : callable or None
        See `folder`.

    Examples
    --------
    >>> import numpy as np
    >>> from skdpal.audit import AuditCohort
    >>> cohort = AuditCohort.from_arrays(np.eye(3), ["a", "b", "a"], record_ids=["p1", "p2", "p3"])
    >>> start, pool = cohort[:2], cohort[2:]
    >>> start.n_patients, start.X.shape, pool.record_ids
    (2, (2, 3), ['p3'])
    >>> without = cohort.emptied("p1")[:2]
    >>> without.n_patients, without.X.shape, without.slots.X[0]
    (2, (1, 3), array([0., 0., 0.]))
    """

    roster: tuple[str, ...]
    table: Any
    labels: NDArray[Any]
    empty: frozenset[str] = frozenset()
    names: Mapping[str, str] | None = None
    world: str = "with the patient"
    workspace: Callable[[], Path] | None = None

    @classmethod
    def from_arrays(cls, X: Any, y: Any = None, record_ids: Sequence[Any] | None = None) -> Self:
        """A cohort of one row a patient.

        Parameters
        ----------
        X : array-like, DataFrame, or mapping of str to DataFrame, of n_patients rows
            A mapping has one table a modality.
        y : sequence of length n_patients, optional
            Labels; None where there is none.
        record_ids : sequence of length n_patients, optional
            Default: the index of a DataFrame, else "patient-00", "patient-01", ...

        Raises
        ------
        ValueError
            If lengths differ, or a patient appears twice.
        """
        table = dict(X) if isinstance(X, Mapping) else X if isinstance(X, pd.DataFrame) else np.asarray(X)
        first = next(iter(table.values())) if isinstance(table, dict) else table
        default = list(first.index) if isinstance(first, pd.DataFrame) else _numbered(len(first))
        roster = tuple(map(str, default if record_ids is None else record_ids))
        labels = np.empty(len(roster), dtype=object)
        if y is not None and len(y) != len(roster):
            raise ValueError(
                f"Expected y to have one label for each of {len(roster)} patients. Found {len(y)}. Use None for no label."
            )
        labels[:] = list(y) if y is not None else [None] * len(roster)
        tables = list(table.values()) if isinstance(table, dict) else [table]
        if len(set(roster)) < len(roster) or any(len(one) != len(roster) for one in tables):
            raise ValueError(
                "Expected one row for each patient, and each patient once. Merge rows of one patient, such as their mean."
            )
        return cls(roster, table, labels)

    @classmethod
    def example(cls, n_patients: int = 12, n_features: int = 4, n_classes: int = 3) -> Self:
        """Made-up patients in a small embedding, rows of length 1, always the same ones.

        Parameters
        ----------
        n_patients, n_features, n_classes : int
            How many of each.

        Examples
        --------
        >>> AuditCohort.example().X.shape
        (12, 4)
        """
        grid = np.arange(1.0, n_patients * n_features + 1).reshape(n_patients, n_features)
        labels = np.arange(n_patients) % n_classes
        rows = np.sin(12.9898 * grid) + 1.5 * np.eye(n_features)[labels % n_features]
        return cls.from_arrays(rows / np.linalg.norm(rows, axis=1, keepdims=True), labels)

    # -- what a study sees -------------------------------------------------------------------

    @property
    def n_patients(self) -> int:
        """Number of slots: public, the same in both worlds."""
        return len(self.roster)

    @property
    def X(self) -> Any:
        """Rows of those who have content."""
        return _rows(self.table, self._full)

    @property
    def y(self) -> NDArray[Any]:
        """Their labels."""
        return _plain(self.labels[self._full])

    @property
    def record_ids(self) -> list[str]:
        """Their names."""
        return [self._name(self.roster[at]) for at in self._full]

    @property
    def slots(self) -> Slots:
        """Rows of all slots, in every world as many.

        For a published pool, whose positions are public (see `SlotUtility`); and for an evaluation group, where a patient
        without a diagnosis counts as misclassified, whatever the row.
        """
        gone = [at for at, patient in enumerate(self.roster) if patient in self.empty]
        labels = self.labels.copy()
        labels[gone] = None
        return Slots(_blanked(self.table, gone), labels, [self._name(patient) for patient in self.roster])

    @property
    def folder(self) -> Path:
        """An empty folder of this run, for studies that need one; it goes when the run is over.

        Raises
        ------
        ValueError
            Outside an audit.
        """
        if self.workspace is None:
            raise ValueError(
                "Expected to be inside an audit, which lends a folder. Make one yourself to try the study."
            )
        return self.workspace()

    def __getitem__(self, key: slice | Sequence[int]) -> Self:
        """Some slots, by position: a group that the protocol fixes."""
        positions = list(range(self.n_patients))[key] if isinstance(key, slice) else [int(at) for at in key]
        return replace(
            self,
            roster=tuple(self.roster[at] for at in positions),
            table=_rows(self.table, positions),
            labels=self.labels[positions],
        )

    def __len__(self) -> int:
        return self.n_patients

    def __repr__(self) -> str:
        return f"<AuditCohort: {self.n_patients} slots>"

    # -- how a world is made -----------------------------------------------------------------

    def position(self, patient: int | str) -> int:
        """The slot of a patient.

        Parameters
        ----------
        patient : int or str
            Position, also from the end, or name.

        Raises
        ------
        ValueError
            If there is no such slot.
        """
        if isinstance(patient, str):
            if patient not in self.roster:
                raise ValueError(
                    f"Expected patient to be one of the roster. Found {patient!r}. Name one of record_ids."
                )
            return self.roster.index(patient)
        if not -self.n_patients <= patient < self.n_patients:
            raise ValueError(f"Expected patient to be one of {self.n_patients} slots. Found {patient!r}.")
        return int(patient) % self.n_patients

    def emptied(self, patient: int | str) -> Self:
        """The patient's whole content is replaced by nothing; the slot stays.

        Parameters
        ----------
        patient : int or str
            As in `position`.
        """
        gone = self.roster[self.position(patient)]
        return replace(self, empty=self.empty | {gone}, world="with the patient's slot empty")

    def removed(self, patient: int | str) -> Self:
        """Not even the slot is left: another roster.

        Parameters
        ----------
        patient : int or str
            As in `position`.
        """
        at = self.position(patient)
        return replace(self[[other for other in range(self.n_patients) if other != at]], world="without the slot")

    def changed(self, patient: int | str, row: Any = None, label: Any = None) -> Self:
        """Another content in the patient's slot.

        Parameters
        ----------
        patient : int or str
            As in `position`.
        row : array-like, optional
            Their measurements. Default: as they are.
        label : optional
            Their label. Default: as it is.
        """
        at, table, labels = self.position(patient), self.table, self.labels.copy()
        if label is not None:
            labels[at] = label
        if row is not None:
            table = _written(table, at, row)
        return replace(self, table=table, labels=labels)

    def renamed(self, patient: int | str, name: str) -> Self:
        """The patient under another name, and so with other coins.

        Parameters
        ----------
        patient : int or str
            As in `position`.
        name : str
            The other name.
        """
        return replace(self, names={**(self.names or {}), self.roster[self.position(patient)]: name})

    def row(self, patient: int | str) -> Any:
        """The row of one slot, as a table of one row.

        Parameters
        ----------
        patient : int or str
            As in `position`.
        """
        return _rows(self.table, [self.position(patient)])

    @property
    def _full(self) -> list[int]:
        return [at for at, patient in enumerate(self.roster) if patient not in self.empty]

    def _name(self, patient: str) -> str:
        return patient if self.names is None else self.names.get(patient, patient)


def _numbered(number: int) -> list[str]:
    return [f"patient-{at:02d}" for at in range(number)]


def _rows(table: Any, positions: Sequence[int]) -> Any:
    if isinstance(table, dict):
        return {name: _rows(part, positions) for name, part in table.items()}
    return table.iloc[list(positions)] if isinstance(table, pd.DataFrame) else table[list(positions)]


def _blanked(table: Any, positions: Sequence[int]) -> Any:
    for at in positions:
        table = _written(table, at, 0.0)
    return table


def _written(table: Any, at: int, row: Any) -> Any:
    """The table with another row; one number fills all of it."""
    if isinstance(table, dict):
        new = row if isinstance(row, Mapping) else dict.fromkeys(table, row)
        return {name: _written(part, at, new[name]) if name in new else part for name, part in table.items()}
    numbers = np.asarray(row, dtype=np.float64).ravel()
    if isinstance(table, pd.DataFrame):
        frame = table.astype(np.float64)
        frame.iloc[at] = numbers if numbers.size > 1 else float(numbers[0])
        return frame
    changed = np.array(table, dtype=np.float64)
    changed[at] = numbers
    return changed


def _plain(labels: NDArray[Any]) -> NDArray[Any]:
    """Labels as an array of words or numbers, if none is missing."""
    if len(labels) == 0 or any(label is None for label in labels):
        return labels
    return np.asarray(labels.tolist())
