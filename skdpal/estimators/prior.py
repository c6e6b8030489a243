"""What public data say about the classes before any patient is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, softmax

from skdpal.privacy.validation import check_finite

__all__ = ["PublicPrior"]

_LEAST = 1e-6  # within-class variance, per feature
_TEMPERATURES = np.array([1.0, 1.25, 1.5, 2.0, 3.0, 5.0])
_MOST_JUDGES = 500  # rows that choose the temperature


@dataclass(frozen=True, eq=False)
class PublicPrior:
    """Class means and spread of PUBLIC data; frozen, and the same object in every clone.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        Sorted labels.
    means : ndarray of shape (n_classes, n_features)
        Means of the rows of each class, each row scaled into the unit ball.
    within_variance : float
        Mean squared distance of a row to its class mean, per feature.
    feature_names : tuple of str or None
        Column names, if the data had any.
    covariance : ndarray of shape (n_features, n_features) or None
        Within-class covariance, shrunk towards `within_variance` times the identity as if n_features more rows had been
        seen, and widened by as much as leave-one-out predictions of the public labels ask for. None: `within_variance` in
        all directions.
    counts : ndarray of shape (n_classes,) or None
        Public rows of each class. None: not known; the means are then taken as they are, the classes as equally frequent.

    Examples
    --------
    >>> import numpy as np
    >>> from skdpal.estimators import PublicPrior
    >>> prior = PublicPrior.from_public(np.eye(4), ["a", "a", "b", "b"])
    >>> prior.means.shape
    (2, 4)
    """

    classes: NDArray[Any]
    means: NDArray[np.float64]
    within_variance: float
    feature_names: tuple[str, ...] | None = None
    covariance: NDArray[np.float64] | None = None
    counts: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for array in (self.classes, self.means, self.covariance, self.counts):
            if array is not None:
                array.setflags(write=False)

    @classmethod
    def from_public(cls, X: Any, y: Any) -> Self:
        """Compute the prior from public rows and labels; nothing is charged.

        Raises
        ------
        ValueError
            If X and y do not belong together.
        """
        names = tuple(map(str, X.columns)) if hasattr(X, "columns") else None
        rows, labels = check_finite("X", X), np.asarray(y)
        if rows.ndim != 2 or len(rows) != len(labels) or not len(rows):
            raise ValueError("Expected X of shape (n_rows, n_features) and y with one label a row. Pass public data.")
        rows = unit_ball(rows)
        classes, codes = np.unique(labels, return_inverse=True)
        counts = np.bincount(codes).astype(np.float64)
        means = np.array([rows[codes == code].mean(axis=0) for code in range(len(classes))])
        scatter = (rows - means[codes]).T @ (rows - means[codes])
        freedom = max(len(rows) - len(classes), 1)
        variance = max(float(np.trace(scatter)) / (freedom * rows.shape[1]), _LEAST)
        covariance = _shrunk(scatter, freedom, variance) * _temperature(rows, codes, means, counts, scatter, variance)
        return cls(classes, means, variance, names, covariance, counts)

    @property
    def within(self) -> NDArray[np.float64] | float:
        """`covariance`, or `within_variance` if it is None."""
        return self.within_variance if self.covariance is None else self.covariance

    @property
    def fractions(self) -> NDArray[np.float64] | None:
        """Public class fractions, with one more row of each class; None if `counts` is."""
        return None if self.counts is None else (self.counts + 1) / (self.counts + 1).sum()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __sklearn_clone__(self) -> Self:
        return self

    def __repr__(self) -> str:
        return f"<PublicPrior: {len(self.classes)} classes, {self.means.shape[1]} features>"


def unit_ball(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale rows longer than 1 to length 1."""
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return rows / np.maximum(norms, 1.0)[:, None]


def _shrunk(scatter: NDArray[np.float64], freedom: float, variance: float) -> NDArray[np.float64]:
    """Covariance, with as many rows of equal variance in all directions as there are directions."""
    size = len(scatter)
    return (scatter + size * variance * np.eye(size)) / (freedom + size)


def _temperature(
    rows: NDArray[np.float64],
    codes: NDArray[np.intp],
    means: NDArray[np.float64],
    counts: NDArray[np.float64],
    scatter: NDArray[np.float64],
    variance: float,
) -> float:
    """Factor of the covariance: each row is predicted from the others, factors are weighted by how well they predict."""
    judges = np.flatnonzero(counts[codes] > 1)
    judges = judges[:: max(1, len(judges) // _MOST_JUDGES)]
    evidence = np.zeros(len(_TEMPERATURES))
    for judge in judges:
        own, count = codes[judge], counts.copy()
        count[own] -= 1
        away = rows[judge] - means[own]
        others = means.copy()
        others[own] -= away / count[own]
        left = scatter - np.outer(away, away) * counts[own] / count[own]
        covariance = _shrunk(left, max(len(rows) - 1 - len(counts), 1), variance)
        gaps = rows[judge] - others
        distances = np.einsum("kd,dk->k", gaps, np.linalg.solve(covariance, gaps.T))
        widths = _TEMPERATURES[:, None] * (1 + 1 / np.maximum(count, 1.0))
        scores = np.log(count + 1) - 0.5 * (distances / widths + rows.shape[1] * np.log(widths))
        evidence += log_softmax(scores, axis=1)[:, own]
    return float(np.exp(softmax(evidence) @ np.log(_TEMPERATURES)))
