"""The patients of a study, embedded, as they are kept in the hospital."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from skdpal.learner.groups import Groups, assign_groups
from skdpal.learner.plan import StudyPlan
from skdpal.learner.study.submission import text_of

__all__ = ["Roster", "shown"]


@dataclass(frozen=True)
class Roster:
    """Everybody who was enrolled.

    Attributes
    ----------
    rows : DataFrame of shape (n_patients, n_components)
        The embedding, by patient.
    display : DataFrame of shape (n_patients, n_columns)
        Texts for the pathologist, by patient.
    groups : Groups
        Who starts, waits in the pool, evaluates; drawn once.
    """

    rows: pd.DataFrame
    display: pd.DataFrame
    groups: Groups

    @classmethod
    def draw(
        cls, ids: list[str], rows: np.ndarray, display: pd.DataFrame, plan: StudyPlan, seed: int, labelled: Any
    ) -> Self:
        """Assign groups by public randomness.

        Parameters
        ----------
        ids : list of str
        rows : ndarray
        display : DataFrame
        plan : StudyPlan
        seed : int
        labelled : sequence or None
            Patients who have a label already; the start is drawn from them.
        """
        index = pd.Index(ids, name="patient", dtype=object)
        groups = _groups(ids, plan, seed, labelled)
        return cls(pd.DataFrame(rows, index=index), display.set_axis(index, axis=0), groups)

    def save(self, path: Path) -> None:
        """Write plain arrays."""
        place = {patient: at for at, patient in enumerate(self.rows.index)}
        groups = {
            name: np.array([place[patient] for patient in getattr(self.groups, name)], dtype=np.int64)
            for name in ("start", "pool", "evaluation")
        }
        np.savez(
            path,
            ids=_texts(self.rows.index),
            rows=self.rows.to_numpy(),
            columns=_texts(self.display.columns),
            cells=_texts(self.display.to_numpy().ravel()),
            **groups,
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote; nothing in it can be executed."""
        with np.load(path, allow_pickle=False) as stored:
            ids = [str(patient) for patient in stored["ids"]]
            columns = [str(name) for name in stored["columns"]]
            cells = stored["cells"].astype(object).reshape(len(ids), len(columns))
            groups = Groups(*(tuple(ids[at] for at in stored[name]) for name in ("start", "pool", "evaluation")))
            index = pd.Index(ids, name="patient", dtype=object)
            return cls(pd.DataFrame(stored["rows"], index=index), pd.DataFrame(cells, index, columns), groups)


def shown(X: Any, worksheet_columns: Any, reserved: tuple[str, ...]) -> tuple[Any, pd.DataFrame]:
    """Split what the pathologist sees from what is embedded.

    Parameters
    ----------
    X : array-like or DataFrame
    worksheet_columns : DataFrame, sequence of str or None
        A table with the rows of X; or names of columns of X, which are taken out of X.
    reserved : tuple of str
        Names that the worksheet needs itself.

    Returns
    -------
    X : as given
        Without the columns that were named.
    display : DataFrame
        Of texts.
    """
    if worksheet_columns is None:
        table = pd.DataFrame(index=range(len(X)))
    elif isinstance(worksheet_columns, pd.DataFrame):
        table = worksheet_columns
    else:
        names = list(worksheet_columns)
        missing = [name for name in names if name not in getattr(X, "columns", ())]
        if isinstance(worksheet_columns, str) or missing:
            raise ValueError(
                "Expected worksheet_columns to be a DataFrame with the rows of X, or a list of columns of X. "
                f"Found {worksheet_columns!r}. Check the names."
            )
        table, X = X[names], X.drop(columns=names)
    if len(table) != len(X):
        raise ValueError("Expected worksheet_columns to have one row for each row of X. Pass the same patients.")
    names = [str(name) for name in table.columns]
    taken = {name.casefold() for name in reserved}
    wrong = [name for name in names if name.casefold() in taken or names.count(name) > 1]
    if wrong:
        raise ValueError(
            f"Expected names of worksheet_columns once each, and not one of {', '.join(reserved)}. Found {wrong}. Rename."
        )
    cells = [[text_of(cell) for cell in row] for row in table.itertuples(index=False, name=None)]
    return X, pd.DataFrame(cells, columns=names, dtype=object, index=range(len(X)))


def _groups(ids: list[str], plan: StudyPlan, seed: int, labelled: Any) -> Groups:
    if labelled is None:
        return assign_groups(ids, plan.n_labelled, plan.n_pool, plan.n_evaluation, seed=seed)
    known = {str(patient) for patient in labelled}
    if not known <= set(ids):
        raise ValueError("Expected labelled to be patients of X. Pass their ids as in record_ids.")
    start = assign_groups([patient for patient in ids if patient in known], plan.n_labelled, 0, 0, seed=seed).start
    rest = assign_groups(
        [patient for patient in ids if patient not in start], 0, plan.n_pool, plan.n_evaluation, seed=seed
    )
    return Groups(start, rest.pool, rest.evaluation)


def _texts(values: Any) -> np.ndarray:
    """Texts as an array that needs no pickle, also if there are none."""
    return np.array([str(value) for value in values], dtype=str)
