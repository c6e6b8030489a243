"""The rows that a learner was taught: in memory, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd

__all__ = ["Taught"]


@dataclass(frozen=True, eq=False, repr=False)
class Taught:
    """Patients with their labels; a pickle keeps the public expectation of their number, and no patient.

    Attributes
    ----------
    X, y : array-like or None
        Rows and labels; None if nobody was taught, or after a pickle.
    ids : tuple of str
        The patient of each row.
    expected : float
        Public number, or expectation, of patients.
    complete : bool
        Whether the rows are here.
    """

    X: Any = None
    y: Any = None
    ids: tuple[str, ...] = ()
    expected: float = 0.0
    complete: bool = field(default=True)

    def plus(self, X: Any, y: Any, ids: Sequence[str], expected: float) -> Self:
        """These patients and some more; nothing is changed here."""
        total = self.expected + expected
        if self.X is None or not len(self.X):
            return type(self)(X, y, tuple(ids), total, self.complete)
        if not len(X):
            return type(self)(self.X, self.y, self.ids, total, self.complete)
        frames = isinstance(X, pd.DataFrame) and isinstance(self.X, pd.DataFrame)
        rows = pd.concat([self.X, X]) if frames else np.vstack([self.X, X])
        labels = np.concatenate([np.asarray(self.y), np.asarray(y)])
        return type(self)(rows, labels, (*self.ids, *ids), total, self.complete)

    def require_rows(self) -> None:
        """Raise if the rows did not come along."""
        if not self.complete:
            raise ValueError(
                "Expected the rows taught before. They do not travel in pickles: make the learner anew from its start, "
                "on the same ledger, and nobody pays again."
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (None, None, (), self.expected, self.X is None and self.complete)
