"""Patients, votes and public fractions as they come in, checked without quoting a patient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skdpal.privacy.identities import identify

__all__ = ["fractions_of", "patients_of"]


def patients_of(table: Any, record_ids: Any = None) -> list[str]:
    """The patients of labels or votes: labels alone name nobody."""
    indexed = isinstance(table, pd.Series | pd.DataFrame)
    made_up = indexed and isinstance(table.index, pd.RangeIndex) and table.index.name is None
    if record_ids is None and (not indexed or made_up):
        raise ValueError(
            "Expected record_ids, because labels alone do not say whose they are. Pass record_ids=[...], or a pandas object "
            "with the patients as its index."
        )
    ids = identify(table, table.index if record_ids is None else record_ids)
    if len(set(ids)) < len(ids):
        raise ValueError("Expected each patient once. Pass one row for each patient.")
    return ids


def fractions_of(name: str, given: Any, classes: Sequence[Any]) -> NDArray[np.float64]:
    """Public class fractions in the order of the classes; uniform by default."""
    if given is None:
        return np.full(len(classes), 1 / len(classes))
    if isinstance(given, Mapping | pd.Series):
        table = dict(given)
        given = [table[label] for label in classes] if set(table) == set(classes) else []
    try:
        fractions = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        fractions = np.empty(0)
    if fractions.shape != (len(classes),) or not (fractions > 0).all() or abs(fractions.sum() - 1) > 1e-6:
        raise ValueError(
            f"Expected {name} to be one positive fraction for each of {list(classes)}, with sum 1. Found {given!r}. "
            "Pass public fractions, the same for every patient."
        )
    return fractions / fractions.sum()
