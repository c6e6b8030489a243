"""A utility that knows an empty slot when it sees one."""

from __future__ import annotations

from typing import Any

import numpy as np

from skdpal.query.utilities import Utility, utility_of
from skdpal.query.utilities.base import Array, take

__all__ = ["SlotUtility"]


class SlotUtility(Utility):
    """Another utility's scores; a row of zeros is an empty slot, which is nobody and scores 1/2.

    For published selections under audit: an empty slot stays in a published pool, as a row of zeros
    (`AuditCohort.slots`), and the price of noisy scores is proven for a null patient who scores 1/2.

    Parameters
    ----------
    utility : str or Utility
        As in `PrivateQuery`.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> from skdpal.audit import SlotUtility
    >>> from skdpal.query.utilities import score
    >>> model = SimpleNamespace(predict_proba=lambda X: X)
    >>> score(SlotUtility("margin"), model, [[0.5, 0.5], [0.0, 0.0]])
    array([1. , 0.5])
    """

    def __init__(self, utility: str | Utility) -> None:
        self.utility = utility_of(utility)
        self.name = self.utility.name

    def of_rows(self, model: Any, X: Any) -> Array:
        """Scores of the rows that are not zeros."""
        filled = np.asarray(np.asarray(X, dtype=np.float64).any(axis=1))
        scores = np.full(len(filled), np.nan)
        if filled.any():
            scores[filled] = self.utility.of_rows(model, take(X, np.flatnonzero(filled)))
        return scores

    def __repr__(self) -> str:
        return f"SlotUtility({self.utility!r})"
