"""The same patient in two registers.

Ids are compared inside the hospitals that pool them. What leaves says which sites clash, never who or how many.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pandas as pd

__all__ = ["clashing", "duplicates", "suspects"]

_TCGA = re.compile(r"(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})(-.*)?", re.IGNORECASE)


def duplicates(members: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Who is registered at more than one site: a row for each registration, columns "patient" and "site"."""
    return _shared(_table(members).assign(key=lambda table: table["patient"])).drop(columns="key")


def suspects(members: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Who may be: ids of two sites, or of one, that differ only in how they are written; also the key they share."""
    table = _table(members).assign(key=lambda table: table["patient"].map(plain))
    return table[table.groupby("key")["patient"].transform("nunique") > 1].sort_values(
        ["key", "site"], ignore_index=True
    )


def clashing(members: Mapping[str, Sequence[str]]) -> list[str]:
    """The sites that share a patient with another."""
    return sorted(set(duplicates(members)["site"]))


def plain(patient: str) -> str:
    """An id without case, spaces, signs and leading zeros; of a TCGA barcode, the patient's part."""
    barcode = _TCGA.fullmatch(patient.strip())
    words = re.findall(r"[^\W\d_]+|\d+", (barcode[1] if barcode else patient).casefold())
    return "-".join(word.lstrip("0") or "0" for word in words)


def _table(members: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    rows = [(patient, site) for site, patients in members.items() for patient in dict.fromkeys(patients)]
    return pd.DataFrame(rows, columns=["patient", "site"], dtype=object)


def _shared(table: pd.DataFrame) -> pd.DataFrame:
    shared = table[table.groupby("key")["site"].transform("nunique") > 1]
    return shared.sort_values(["key", "site"], ignore_index=True)
