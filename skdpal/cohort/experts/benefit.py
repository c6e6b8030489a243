"""What one more read of a patient is expected to be worth.

Everything is a function of one patient's own votes and rows, of public numbers, and of released models.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import entr

from skdpal.cohort.experts.panel import NOT_READ, Codes, Panel
from skdpal.query.utilities import Utility, score
from skdpal.query.utilities.base import probabilities, take

__all__ = ["BENEFITS", "SecondRead"]

Array = NDArray[np.float64]
BENEFITS = ("error", "information", "disagreement")


class SecondRead(Utility):
    """The expected benefit of a read by one more reader, from 0 to 1.

    Parameters
    ----------
    panel : Panel
        Public or released.
    reader : str
        Who would read.
    benefit : {"error", "information", "disagreement"}
        "error": how much the chance of a wrong label of `Panel.labels` is expected to fall. "information":
        mutual information of the read and the class, divided by ln K. "disagreement": 1 if the votes differ, else 0.

    Notes
    -----
    With q the probabilities of the classes before the read, from the votes and, if there is a model, from the model
    instead of the class prior, T the reader's matrix, ℓ the label of the votes and ℓ(a) the one after the answer a: the
    error falls by Σ_a q_ℓ(a) T_ℓ(a),a − q_ℓ. Labels are made of votes only, so that the model decides whom to ask, and
    never what the label is.

    Rows hold coded votes first, one column a reader, and then what the model reads.
    """

    name = "second_read"

    def __init__(self, panel: Panel, reader: str, benefit: str) -> None:
        self.panel, self.reader, self.benefit = panel, reader, benefit

    def scores(self, model: Any, X: Any) -> Array:
        """The benefit of each row; where the model's columns are incomplete, as without a model."""
        codes, rest = self._parts(X)
        if model is None:
            return self._table[np.ravel_multi_index(tuple((codes + 1).T), self._shape)]
        complete = ~pd.DataFrame(rest).isna().any(axis=1).to_numpy()
        prior = np.tile(self.panel.class_prior, (len(codes), 1))
        if complete.any():
            prior[complete] = self.believed(model, take(rest, np.flatnonzero(complete)))
        return self.of_codes(codes, prior)

    def of_rows(self, model: Any, X: Any) -> Array:
        """As `scores`."""
        return self.scores(model, X)

    def relative(self, model: Any, X: Any, largest: float) -> Array:
        """Scores to be published, in units of the largest; an empty slot, without votes and rows, counts 1/2 as in every pool."""
        codes, rest = self._parts(X)
        nothing = (codes == NOT_READ).all(axis=1) & pd.DataFrame(rest).isna().all(axis=1).to_numpy()
        return np.where(nothing, 0.5, score(self, model, X) / largest)

    def _parts(self, X: Any) -> tuple[Codes, Any]:
        """Coded votes, and what the model reads."""
        n_readers = len(self.panel.readers)
        votes, rest = (
            (X.iloc[:, :n_readers], X.iloc[:, n_readers:])
            if isinstance(X, pd.DataFrame)
            else (np.asarray(X)[:, :n_readers], np.asarray(X)[:, n_readers:])
        )
        return np.asarray(votes, dtype=np.float64).astype(np.intp), rest

    def of_codes(self, codes: Codes, prior: Array | None = None) -> Array:
        """The same of coded votes; `prior`: what a model says of each row, of shape (n_rows, n_classes)."""
        if self.benefit == "disagreement":
            found = _disagreement(self._said(codes))
        else:
            before = self.panel.of_codes(codes, prior)
            found = self._information(before) if self.benefit == "information" else self._error(codes, before)
        at = self.panel.names.index(self.reader)
        return np.where(codes[:, at] == NOT_READ, np.clip(found, 0.0, 1.0), 0.0)

    @cached_property
    def _table(self) -> Array:
        """Without a model: the benefit of every pattern of votes, so that a patient's is looked up."""
        return self.of_codes(np.array(list(np.ndindex(*self._shape)), dtype=np.intp) - 1)

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(len(reader.observed) + 1 for reader in self.panel.readers.values())

    def _error(self, codes: Codes, before: Array) -> Array:
        matrix, at = self.panel.readers[self.reader].matrix, self.panel.names.index(self.reader)
        right = np.zeros(len(codes))
        for answer in range(matrix.shape[1]):
            after = codes.copy()
            after[:, at] = answer
            label = self.panel.decide(after)
            right += np.take_along_axis(before * matrix[:, answer], label[:, None], axis=1)[:, 0]
        now = np.take_along_axis(before, self.panel.decide(codes)[:, None], axis=1)[:, 0]
        return right - now

    def _information(self, before: Array) -> Array:
        matrix = self.panel.readers[self.reader].matrix
        answers = np.stack([before @ column for column in matrix.T], axis=1)
        gain = entr(answers).sum(axis=1) - before @ entr(matrix).sum(axis=1)
        return gain / np.log(max(before.shape[1], 2))

    def believed(self, model: Any, X: Any) -> Array:
        """What the model says of each row, for the panel's classes."""
        classes = getattr(model, "classes_", getattr(getattr(model, "estimator", None), "classes_", None))
        if classes is None or not np.array_equal(classes, self.panel.classes):
            found = None if classes is None else list(classes)
            raise ValueError(
                f"Expected a model of the panel's classes, {self.panel.classes.tolist()}. Found {found}. Fit it with "
                "classes= those of the panel, and transition= for labels that are none."
            )
        return probabilities(model, X)

    def _said(self, codes: Codes) -> Codes:
        """Labels instead of each reader's own positions, so that readers can be compared."""
        known = {label: at for at, label in enumerate(self._words())}
        columns = []
        for column, reader in zip(codes.T, self.panel.readers.values(), strict=True):
            numbers = np.array([*(known[label] for label in reader.observed.tolist()), NOT_READ])
            columns.append(numbers[column])  # -1 is the last
        return np.stack(columns, axis=1)

    def _words(self) -> list[Any]:
        return sorted({label for reader in self.panel.readers.values() for label in reader.observed.tolist()})

    def __repr__(self) -> str:
        return f"SecondRead(reader={self.reader!r}, benefit={self.benefit!r})"


def _disagreement(said: Codes) -> Array:
    """1 where two readers said different things."""
    low = np.where(said == NOT_READ, np.iinfo(np.intp).max, said).min(axis=1)
    return (said.max(axis=1) > low).astype(np.float64)
