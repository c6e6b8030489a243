"""What public data say about the classes before any patient is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy.validation import check_finite

__all__ = ["PublicPrior"]


@dataclass(frozen=True, eq=False)
class PublicPrior:
    """Class means of PUBLIC data; frozen, and the same object in every clone.

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

    @classmethod
    def from_public(cls, X: Any, y: Any) -> Self:
        """Compute the prior from public rows and labels; nothing is charged."""
        names = tuple(map(str, X.columns)) if hasattr(X, "columns") else None
        rows, labels = check_finite("X", X), np.asarray(y)
        if rows.ndim != 2 or len(rows) != len(labels) or not len(rows):
            raise ValueError("Expected X of shape (n_rows, n_features) and y with one label a row. Pass public data.")
        rows = unit_ball(rows)
        classes, codes = np.unique(labels, return_inverse=True)
        means = np.array([rows[codes == code].mean(axis=0) for code in range(len(classes))])
        freedom = max(len(rows) - len(classes), 1)
        variance = float(((rows - means[codes]) ** 2).sum() / (freedom * rows.shape[1]))
        means.setflags(write=False)
        classes.setflags(write=False)
        return cls(classes, means, max(variance, 1e-6), names)

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
