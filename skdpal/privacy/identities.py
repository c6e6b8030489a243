"""Who a row belongs to.

Invariants
----------
* The unit of privacy is the patient: rows with one id are one patient, summed before clipping.
* Ids come from `record_ids=`, else from a named pandas index, else from the row's own values,
  so that the same row is the same patient wherever it turns up.
* Ids stay in memory and, as keyed digests, in the hospital-only vault. They are never written
  to the ledger, a receipt, a certificate or an error message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["identify", "sum_by_patient"]


def identify(X: Any, record_ids: Any = None) -> list[str]:
    """One id for each row of X.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_rows, n_columns)
        The rows.
    record_ids : sequence of hashable of length n_rows, optional
        The patients. Default: the index of a DataFrame, unless it is the unnamed
        0, 1, 2, ... that pandas makes up; else a digest of the row.

    Returns
    -------
    list of str
        Of length n_rows; equal strings mean one patient.
    """
    if record_ids is not None:
        ids = list(record_ids)
        if len(ids) != len(X):
            raise ValueError("Expected record_ids to have one entry for each row of X. Pass the ids of the same rows.")
        if set(map(type, ids)) <= {str}:
            return ids
        if pd.isna(pd.Series(ids, dtype=object)).any():
            raise ValueError("Expected record_ids without missing entries. Give every row the id of its patient.")
        return [str(entry) for entry in ids]
    if isinstance(X, pd.DataFrame) and not _made_up(X.index):
        return identify(X.to_numpy(), X.index)
    rows = np.asarray(X)
    if rows.dtype != object:
        rows = np.ascontiguousarray(rows, dtype=np.float64) + 0.0  # -0.0 and 0.0 are one value
        return [f"row-sha256:{hashlib.sha256(row.tobytes()).hexdigest()}" for row in rows]
    return [f"row-sha256:{hashlib.sha256(repr(list(row)).encode()).hexdigest()}" for row in rows]


def sum_by_patient(contributions: NDArray[np.float64], ids: Sequence[str]) -> NDArray[np.float64]:
    """Add up the rows of each patient, in the order in which patients first appear.

    Numbers are first cut to ±1e100, so that no patient is too large to add up and clip.
    """
    if contributions.ndim != 2 or len(contributions) != len(ids):
        raise ValueError("Expected contributions to be a table with one row for each of record_ids.")
    slots: dict[str, int] = {}
    owners = np.array([slots.setdefault(str(entry), len(slots)) for entry in ids], dtype=np.intp)
    sums = np.zeros((len(slots), contributions.shape[1]))
    np.add.at(sums, owners, np.clip(contributions, -1e100, 1e100))
    return sums


def _made_up(index: pd.Index) -> bool:
    return isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1 and index.name is None
