"""Choosing patients without looking at some of their modalities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from skdpal.query.utilities import Utility, utility_of
from skdpal.query.utilities.base import Array, holder_of

__all__ = ["OnlyModalities"]


class OnlyModalities(Utility):
    """A utility that sees some modalities only: the others are taken away from the rows and from the model.

    Acceptance that reads a modality makes what is released about it dearer than the whole patient
    (docs/guide/modalities.md); for the modalities left out here it does not.

    Parameters
    ----------
    names : str or sequence of str
        Modalities that may be looked at.
    utility : str or Utility, default="margin"
        How they are judged.

    Examples
    --------
    >>> from skdpal import PrivateQuery
    >>> from skdpal.cohort import OnlyModalities
    >>> PrivateQuery(utility=OnlyModalities("clinical"), n_pool=40).utility
    OnlyModalities(['clinical'], Margin())
    """

    name = "only-modalities"

    def __init__(self, names: str | Sequence[str], utility: Any = "margin") -> None:
        self.names = [names] if isinstance(names, str) else list(names)
        self.utility = utility_of(utility)

    def scores(self, model: Any, X: Any) -> Array:
        """As `Utility.scores`; not even whether the other columns are complete is looked at.

        Raises
        ------
        ValueError
            If X has other columns than the model's modalities.
        """
        view = self._view(model)
        layout = view.layout_
        rows = np.asarray(X, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] != layout.n_columns:
            raise ValueError(
                f"Expected X to have the {layout.n_columns} columns of the model's modalities. Pass rows of blocks.transform."
            )
        alone = layout.alone(rows, self.names)
        if isinstance(X, pd.DataFrame):
            alone = pd.DataFrame(alone, index=X.index, columns=X.columns)
        return self.utility.scores(view, alone)

    def of_rows(self, model: Any, X: Any) -> Array:
        """As `scores`."""
        return self.scores(model, X)

    def _view(self, model: Any) -> Any:
        holder = holder_of(model, "only")
        if holder is None:
            raise TypeError(
                f"Expected a model of several modalities, a DPModalityClassifier. Found {type(model).__name__}. "
                "With one modality there is nothing to leave out: use the utility itself."
            )
        return holder.only(*self.names)

    def __repr__(self) -> str:
        return f"OnlyModalities({self.names!r}, {self.utility!r})"
