"""Tables from files: patients, and public data with a label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

__all__ = ["patients_of", "public_of"]

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}


def public_of(path: Path, label: str, id_column: str | None, ignore: Sequence[str]) -> tuple[pd.DataFrame, pd.Series]:
    """Public rows and their labels.

    Parameters
    ----------
    path : Path
        .csv, .tsv or .txt, also with .gz; or .parquet. One row a sample.
    label : str
        Column of the labels.
    id_column : str or None
        Column of ids, which is no measurement, if there is one.
    ignore : sequence of str
        Other columns that are no measurements.
    """
    table = _read(path, [label, *([id_column] if id_column else [])])
    _require(path, table, [label, *ignore])
    labels = table[label]
    if labels.isna().any() or (labels.astype(str).str.strip() == "").any():
        raise ValueError(f"Expected a label in every row of {path.name}. Column {label!r} has gaps. Drop those rows.")
    others = [name for name in (id_column, *ignore, label) if name in table.columns]
    genes = table.drop(columns=others)
    words = [str(name) for name in genes.columns if not pd.api.types.is_numeric_dtype(genes[name])]
    if words:
        raise ValueError(
            f"Expected measurements in the columns of {path.name}. {', '.join(words[:5])} hold words. "
            "Leave them out with --ignore COLUMN."
        )
    return genes.astype(np.float64), labels.astype(str).str.strip()


def patients_of(path: Path, id_column: str, show: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Patients, one row each, and their ids.

    Parameters
    ----------
    path : Path
        As in `public_of`.
    id_column : str
        Column of ids; kept as text, so that 00123 stays 00123.
    show : sequence of str
        Columns for the worksheet; kept as text.
    """
    table = _read(path, [id_column, *show])
    _require(path, table, [id_column, *show])
    ids = table[id_column]
    if ids.isna().any() or (ids.astype(str).str.strip() == "").any():
        raise ValueError(f"Expected an id in every row of {path.name}. Column {id_column!r} has gaps. Fill them.")
    return table.drop(columns=[id_column]), ids.astype(str).str.strip().tolist()


def _read(path: Path, texts: Sequence[str]) -> pd.DataFrame:
    kinds = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    kind = kinds[-1] if kinds else ""
    if kind == ".parquet":
        try:
            table = pd.read_parquet(path)
        except ImportError:
            raise ImportError(
                "Reading .parquet needs pyarrow. Install it (pip install pyarrow), or save the table as CSV."
            ) from None
    elif kind in _SEPARATORS:
        table = pd.read_csv(path, sep=_SEPARATORS[kind], dtype=dict.fromkeys(texts, str))
    else:
        raise ValueError(f"Expected a table as .csv, .tsv or .parquet. Found {path.name}. Convert it.")
    table.columns = [str(name) for name in table.columns]
    return table


def _require(path: Path, table: pd.DataFrame, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise ValueError(
            f"Expected the columns {', '.join(names)} in {path.name}. {', '.join(missing)} is not there. "
            f"Its first columns are {', '.join(table.columns[:5])}."
        )
