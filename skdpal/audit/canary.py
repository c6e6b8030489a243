"""Canaries: in what two worlds a study is run, and which price must withstand the difference.

A canary is a patient of the cohort, put into a place where a study ought to tell about them as much as it may. The
statistic is an exact likelihood ratio, so that a canary need not be alone in a direction: it is enough that the contribution is
as long as a patient's may be.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from skdpal.audit.cohort import AuditCohort
from skdpal.privacy.accounts import ROOT
from skdpal.privacy.validation import check_real

__all__ = ["Canary", "GhostCanary", "LabelCanary", "ModalityCanary", "PatientCanary"]

Row = Any


@dataclass(frozen=True)
class Canary(ABC):
    """Two worlds, and who promises what about them.

    Attributes
    ----------
    name : str
        For tables.
    patient : int or str
        The slot, by position (also from the end) or name.
    account : str
        Whose price is attacked; default everybody's, which is the largest.
    protected : bool
        Whether anything is promised about the difference between the worlds.

    Examples
    --------
    A canary of your own: a patient who has one of two measurements.

    >>> from skdpal.audit import AuditCohort, Canary
    >>> class Shifted(Canary):
    ...     def worlds(self, cohort):
    ...         return cohort.changed(self.patient, [1, 0, 0, 0]), cohort.changed(self.patient, [0, 1, 0, 0])
    >>> there, gone = Shifted("shifted").worlds(AuditCohort.example())
    >>> there.X[0], gone.X[0]
    (array([1., 0., 0., 0.]), array([0., 1., 0., 0.]))
    """

    name: str
    patient: int | str = 0
    account: str = ROOT
    protected: ClassVar[bool] = True
    hides_coins: ClassVar[bool] = True

    @abstractmethod
    def worlds(self, cohort: AuditCohort) -> tuple[AuditCohort, AuditCohort]:
        """The cohort with what is to be hidden, and without.

        Parameters
        ----------
        cohort : AuditCohort
            As it was given.
        """


@dataclass(frozen=True)
class PatientCanary(Canary):
    """A patient with their whole content, or an empty slot: the adjacency of every certificate.

    Parameters
    ----------
    name : str
        For tables.
    patient : int or str
        The slot, by position (also from the end) or name.
    account : str
        Whose price is attacked.
    row : array-like, or callable, optional
        Their measurements; a callable gets the row that is there, as an array, and returns another. Default: as they are.
    label : optional
        Their label. Default: as it is.

    Examples
    --------
    >>> from skdpal.audit import AuditCohort, PatientCanary
    >>> canary = PatientCanary("long row", patient=0, row=lambda row: 10 * row)
    >>> there, gone = canary.worlds(AuditCohort.example())
    >>> there.n_patients == gone.n_patients, len(there.X) - len(gone.X)
    (True, 1)
    """

    row: Row | Callable[[Any], Any] | None = None
    label: Any = None

    def worlds(self, cohort: AuditCohort) -> tuple[AuditCohort, AuditCohort]:
        """With the content, and with the slot empty.

        Parameters
        ----------
        cohort : AuditCohort
            As it was given.
        """
        there = cohort.changed(self.patient, _row_of(self.row, cohort, self.patient), self.label)
        return there, cohort.emptied(self.patient)


@dataclass(frozen=True)
class LabelCanary(Canary):
    """A patient with one label, or with another; measurements are the same.

    Parameters
    ----------
    name : str
        For tables.
    patient : int or str
        The slot, by position (also from the end) or name.
    account : str
        Whose price is attacked.
    label, other : optional
        The two labels. Default: the patient's own, and the first other one that occurs.
    epsilon : float, optional
        What is promised about labels, such as that of `LabelPrivacy`; then every look at a noisy label is granted to the
        attacker, since it is noisy once and for all. Default: what the receipts say about one patient exchanged for another.

    Examples
    --------
    >>> from skdpal.audit import AuditCohort, LabelCanary
    >>> one, other = LabelCanary("label").worlds(AuditCohort.example())
    >>> int(one.y[0]), int(other.y[0])
    (0, 1)
    """

    label: Any = None
    other: Any = None
    epsilon: float | None = None

    def __post_init__(self) -> None:
        if self.epsilon is not None:
            check_real("epsilon", self.epsilon, above=0.0)

    def worlds(self, cohort: AuditCohort) -> tuple[AuditCohort, AuditCohort]:
        """With the one label, and with the other.

        Parameters
        ----------
        cohort : AuditCohort
            As it was given.

        Raises
        ------
        ValueError
            If there are no two labels.
        """
        own = cohort.labels[cohort.position(self.patient)] if self.label is None else self.label
        others = [label for label in cohort.labels.tolist() if label is not None and label != own]
        other = self.other if self.other is not None else next(iter(others), None)
        if own is None or other is None or own == other:
            raise ValueError(
                f"Expected two different labels for canary {self.name!r}. Found {own!r} and {other!r}. Pass label= and other=."
            )
        return cohort.changed(self.patient, label=own), cohort.changed(self.patient, label=other)


@dataclass(frozen=True)
class ModalityCanary(Canary):
    """A patient with a modality, or without it; the rest of them is the same.

    Parameters
    ----------
    name : str
        For tables.
    patient : int or str
        The slot, by position (also from the end) or name.
    account : str
        Whose price is attacked.
    modality : str
        As receipts and caps name it.
    columns : sequence of int
        Where it lies in X; who lacks it has zeros there, as after `ModalityBlocks.transform`.
    row : array-like, or callable, optional
        As in `PatientCanary`.

    Examples
    --------
    >>> from skdpal.audit import AuditCohort, ModalityCanary
    >>> there, gone = ModalityCanary("rna", modality="rna", columns=(0, 1)).worlds(AuditCohort.example())
    >>> bool(there.X[0, :2].any()), bool(gone.X[0, :2].any()), len(gone.X)
    (True, False, 12)
    """

    modality: str = ""
    columns: Sequence[int] = ()
    row: Row | Callable[[Any], Any] | None = None

    def worlds(self, cohort: AuditCohort) -> tuple[AuditCohort, AuditCohort]:
        """With the modality, and without.

        Parameters
        ----------
        cohort : AuditCohort
            As it was given.

        Raises
        ------
        ValueError
            If the modality or its columns are not named.
        """
        if not self.modality or not len(self.columns):
            raise ValueError(
                f"Expected modality and columns for canary {self.name!r}. Found {self.modality!r} and {self.columns!r}. "
                "Say where it lies in X."
            )
        row = _row_of(self.row, cohort, self.patient)
        there = cohort.changed(self.patient, row)
        without = np.array(there.row(self.patient), dtype=np.float64).ravel()
        without[list(self.columns)] = 0.0
        return there, there.changed(self.patient, without)


@dataclass(frozen=True)
class GhostCanary(Canary):
    """An empty slot, or no slot at all. It must be found: the roster is public, and nothing promises to hide it.

    Parameters
    ----------
    name : str
        For tables.
    patient : int or str
        The slot, by position (also from the end) or name.
    account : str
        Whose price is attacked.

    Notes
    -----
    Zero-out replaces a patient's content by nothing and keeps the slot. Adding or removing a slot is not promised: sizes of
    groups, rates of acceptance and normalisers follow the public number of slots, and an index that is published
    cannot hide that there was such a position, at any ε (docs/auditing.md).

    Examples
    --------
    >>> from skdpal.audit import AuditCohort, GhostCanary
    >>> empty, none = GhostCanary().worlds(AuditCohort.example())
    >>> empty.n_patients, none.n_patients, len(empty.X), len(none.X)
    (12, 11, 11, 11)
    """

    name: str = "ghost"
    protected: ClassVar[bool] = False

    def worlds(self, cohort: AuditCohort) -> tuple[AuditCohort, AuditCohort]:
        """With an empty slot, and without it.

        Parameters
        ----------
        cohort : AuditCohort
            As it was given.
        """
        return cohort.emptied(self.patient), cohort.removed(self.patient)


def _row_of(row: Any, cohort: AuditCohort, patient: int | str) -> Any:
    if not callable(row):
        return row
    return row(np.array(cohort.row(patient), dtype=np.float64).ravel())
