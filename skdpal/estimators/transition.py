"""Labels that are wrong at a known rate: a reader who errs, or noise that protects the label."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skdpal.privacy.mechanisms import RandomizedResponse
from skdpal.privacy.validation import check_finite, check_real

__all__ = ["Transition"]

_SLACK = 1e-6  # how far a row may be from the sum 1
_ROUNDING = 1e-14


@dataclass(frozen=True, eq=False)
class Transition:
    """The chance of each label that may be given, for each true class; PUBLIC, and the same for every patient.

    Parameters
    ----------
    matrix : array-like or DataFrame of shape (n_classes, n_observed)
        ``matrix[c, k]``: the chance that a patient of class c gets the label k. Rows sum to 1.
    classes : sequence of length n_classes, optional
        The true classes. Default: the index of a DataFrame.
    observed : sequence of length n_observed, optional
        The labels that may be given, of the same type; one that is no class, such as "defer", says that somebody would not
        decide. Default: the columns of a DataFrame, or the classes.

    Attributes
    ----------
    matrix : ndarray of shape (n_classes, n_observed)
    classes : ndarray of shape (n_classes,)
        Sorted, and the rows of `matrix` with them.
    observed : ndarray of shape (n_observed,)
        Sorted, and the columns of `matrix` with them.

    Raises
    ------
    ValueError
        If a row does not sum to 1, an entry is negative, or labels are missing, repeated, or of several types.

    Notes
    -----
    Hand it to ``DPPrototypeClassifier(transition=...)``: patients contribute the labels as they are, so that the price stays
    what it was, and the posterior takes the errors into account. The inverse of the matrix is never put into a patient's row:
    it would move a release by more than is charged. Nor may the matrix depend on the patient (an easy slide, a hard one): a
    sum of such matrices over the cohort would be private, and nothing pays for it.

    If the matrix was estimated from patients of the study, without noise, it is no public matrix.

    Examples
    --------
    >>> from skdpal.estimators import Transition
    >>> reader = Transition([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]], ["adenoma", "carcinoma"], ["adenoma", "carcinoma", "defer"])
    >>> noisy = reader @ Transition.randomized_response(1.0, reader.observed)
    >>> noisy.frame.round(2)
               adenoma  carcinoma  defer
    adenoma       0.50       0.25   0.25
    carcinoma     0.28       0.47   0.25
    """

    matrix: NDArray[np.float64]
    classes: Any = None
    observed: Any = None

    __array_ufunc__ = None  # numpy arrays do not multiply it

    def __post_init__(self) -> None:
        table, classes, observed = self.matrix, self.classes, self.observed
        if isinstance(table, pd.DataFrame):
            classes = table.index if classes is None else classes
            observed = table.columns if observed is None else observed
        if classes is None:
            raise ValueError(
                "Expected classes, the true classes of the rows of matrix. Found None. Pass classes=[...], or a DataFrame."
            )
        rows, columns = _labels("classes", classes), _labels("observed", classes if observed is None else observed)
        if rows.dtype.kind != columns.dtype.kind and {rows.dtype.kind, columns.dtype.kind} - set("iu"):
            raise ValueError(
                f"Expected observed to be of the type of classes, {rows.tolist()}. Found {columns.tolist()}. "
                "Use words for all of them."
            )
        matrix = _stochastic(table, (len(rows), len(columns)))
        down, across = np.argsort(rows, kind="stable"), np.argsort(columns, kind="stable")
        matrix = matrix[np.ix_(down, across)]
        for name, array in (("matrix", matrix), ("classes", rows[down]), ("observed", columns[across])):
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def from_counts(cls, counts: Any, classes: Any = None, observed: Any = None, *, pseudo_count: float = 0.0) -> Self:
        """From a PUBLIC table of how often each label was given to each class.

        Parameters
        ----------
        counts : array-like or DataFrame of shape (n_classes, n_observed)
            True classes down, labels that were given across.
        classes, observed : sequence, optional
            As for `Transition`.
        pseudo_count : float, default=0.0
            Added to every entry: 1 keeps an error that a small table happens not to show from counting as impossible.

        Raises
        ------
        ValueError
            If a count is negative, or a row has none.

        Examples
        --------
        >>> Transition.from_counts([[8, 2], [1, 9]], ["benign", "malignant"], pseudo_count=1).matrix.round(2)
        array([[0.75, 0.25],
               [0.17, 0.83]])
        """
        table = check_finite("counts", counts)
        extra = check_real("pseudo_count", pseudo_count, above=0.0, closed=True)
        if table.ndim != 2 or (table < 0).any() or not ((table + extra).sum(axis=1) > 0).all():
            raise ValueError(
                "Expected counts to be a table of numbers, 0 or more, with something in each row. "
                "Drop a class of which nothing is known, or pass pseudo_count=1."
            )
        rates = (table + extra) / (table + extra).sum(axis=1, keepdims=True)
        if isinstance(counts, pd.DataFrame):
            rates = pd.DataFrame(rates, index=counts.index, columns=counts.columns)
        return cls(rates, classes, observed)

    @classmethod
    def randomized_response(cls, epsilon: float, classes: Any) -> Self:
        """That of `skdpal.privacy.mechanisms.RandomizedResponse`: kept with chance e^ε / (e^ε + K − 1), else one of the others.

        Parameters
        ----------
        epsilon : float
            ε when one label is exchanged for another.
        classes : sequence of length K
            All labels that may come in, and so may come out.

        Examples
        --------
        >>> Transition.randomized_response(1.0, ["a", "b"]).matrix.round(3)
        array([[0.731, 0.269],
               [0.269, 0.731]])
        """
        labels = _labels("classes", classes)
        keep = RandomizedResponse(epsilon, tuple(labels.tolist())).keep
        matrix = np.full((len(labels), len(labels)), (1 - keep) / max(len(labels) - 1, 1))
        np.fill_diagonal(matrix, keep)
        return cls(matrix / matrix.sum(axis=1, keepdims=True), labels)

    def __matmul__(self, then: Any) -> Self:
        """First this, then what happens to the label that was given: ``reader @ randomized_response``."""
        if not isinstance(then, Transition):
            return NotImplemented
        if not np.array_equal(self.observed, then.classes):
            raise ValueError(
                f"Expected the second transition to start from the labels of the first, {self.observed.tolist()}. "
                f"Found {then.classes.tolist()}. Make it with classes=first.observed."
            )
        return type(self)(self.matrix @ then.matrix, self.classes, then.observed)

    @property
    def frame(self) -> pd.DataFrame:
        """`matrix` with its labels."""
        return pd.DataFrame(self.matrix, index=self.classes, columns=self.observed)

    @property
    def tells_apart(self) -> bool:
        """Whether many labels would tell the frequencies of all classes: the rows are linearly independent."""
        return int(np.linalg.matrix_rank(self.matrix)) == len(self.classes)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __sklearn_clone__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<Transition: {len(self.classes)} classes, {len(self.observed)} labels>"


def _labels(name: str, given: Any) -> NDArray[Any]:
    """Different labels of one type."""
    plain = [] if isinstance(given, str | bytes) or not np.iterable(given) else list(given)
    labels = np.asarray(plain, dtype=None if len({isinstance(entry, str) for entry in plain}) < 2 else object)
    if labels.dtype == object or labels.ndim != 1 or not plain or pd.isna(labels).any():
        raise ValueError(f"Expected {name} to be a list of words, or of numbers, none missing. Found {given!r}.")
    if len(set(labels.tolist())) != len(labels):
        raise ValueError(
            f"Expected {name} to be different from each other. Found {labels.tolist()}. Merge those that are equal."
        )
    return labels


def _stochastic(given: Any, shape: tuple[int, int]) -> NDArray[np.float64]:
    """A table of chances, each row with the sum 1; sums are made exact."""
    matrix = check_finite("matrix", given)
    if matrix.ndim > 2:
        raise ValueError(
            f"Expected matrix to be one table for all patients, of shape {shape}. Found shape {matrix.shape}. A matrix for "
            "each patient would make what is summed over the cohort private: pass their public average."
        )
    if matrix.shape != shape:
        raise ValueError(
            f"Expected matrix to have a row for each of {shape[0]} classes and a column for each of {shape[1]} labels. "
            f"Found shape {matrix.shape}. True classes go down, labels that are given go across."
        )
    sums = matrix.sum(axis=1)
    if (matrix < 0).any() or (abs(sums - 1) > _SLACK).any():
        raise ValueError(
            f"Expected each row of matrix to be chances with the sum 1. Found rows with the sums {np.round(sums, 6).tolist()} "
            f"and a least entry of {matrix.min():g}. Divide rows of counts by their sums: Transition.from_counts."
        )
    return (
        matrix / np.where(abs(sums - 1) < _ROUNDING, 1.0, sums)[:, None]
    )  # a matrix that was made exact stays as it is
