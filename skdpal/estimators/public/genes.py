"""Which columns of a private table are the genes that a public encoder knows.

Only names are read: they are the schema of a platform, not patients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["GeneMatch", "column_names", "match_genes"]

_EXAMPLES = 5


@dataclass(frozen=True, repr=False)
class GeneMatch:
    """How the columns of a table fit the genes of an encoder.

    Attributes
    ----------
    known : tuple of str
        The genes of the encoder.
    given : tuple of str
        The columns of the table.
    sources : tuple of tuple of int
        For each known gene, the positions of its columns: none if it is missing, several if it was
        measured more than once.

    Examples
    --------
    >>> from skdpal.estimators.public.genes import match_genes
    >>> match_genes(["TP53", "MYCN", "MYOD1"], ["mycn", "TP53", "EGFR"])
    2 of 3 genes matched by name (66.7%); missing: 1 (MYOD1); not used: 1 (EGFR)
    """

    known: tuple[str, ...]
    given: tuple[str, ...]
    sources: tuple[tuple[int, ...], ...]

    @property
    def n_matched(self) -> int:
        """Genes that the table has."""
        return sum(map(bool, self.sources))

    @property
    def n_missing(self) -> int:
        """Genes that it lacks; they are taken to be as in the public mean."""
        return len(self.missing)

    @property
    def n_extra(self) -> int:
        """Columns that the encoder does not know; they are not used."""
        return len(self.extra)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the genes that the table lacks."""
        return tuple(name for name, columns in zip(self.known, self.sources, strict=True) if not columns)

    @property
    def used(self) -> tuple[int, ...]:
        """Positions of the columns that are used, in the table's order."""
        return tuple(sorted({column for columns in self.sources for column in columns}))

    @property
    def extra(self) -> tuple[str, ...]:
        """Names of the columns that are not used."""
        used = set(self.used)
        return tuple(name for column, name in enumerate(self.given) if column not in used)

    @property
    def fraction(self) -> float:
        """Part of the encoder's genes that the table has, in [0, 1]."""
        return self.n_matched / len(self.known)

    def to_frame(self) -> pd.DataFrame:
        """One row a gene: "gene", "status" ("matched", "missing" or "extra") and "columns", how many measure it."""
        status = ["matched" if columns else "missing" for columns in self.sources]
        table = pd.DataFrame(
            {"gene": list(self.known), "status": status, "columns": [len(columns) for columns in self.sources]}
        )
        more = pd.DataFrame({"gene": list(self.extra), "status": "extra", "columns": 1})
        return pd.concat([table, more], ignore_index=True) if self.extra else table

    def require(self, least: float) -> None:
        """Raise `ValueError` if too few genes are there."""
        if self.fraction < least or not self.n_matched:
            raise ValueError(
                f"Expected X to have at least {least:.0%} of the encoder's genes (min_matched={least:g}). Found: {self}. "
                "Name the columns of X as the public data do, or lower min_matched."
            )

    def select(self, X: Any) -> Any:
        """The `used` columns of a pandas or polars table; pandas' without names, which may occur twice."""
        used = list(self.used)
        if isinstance(X, pd.DataFrame):
            return X.iloc[:, used].set_axis(range(len(used)), axis=1)
        return X[:, used]

    def take(self, rows: NDArray[np.floating]) -> NDArray[np.float64]:
        """The `used` columns in the encoder's order: missing genes are NaN, genes measured several times are averaged."""
        result = np.full((len(rows), len(self.known)), np.nan)
        column_of = {column: place for place, column in enumerate(self.used)}
        for place, columns in enumerate(self.sources):
            if columns:
                found = rows[:, [column_of[column] for column in columns]]
                result[:, place] = found[:, 0] if len(columns) == 1 else _mean_of_present(found)
        return result

    def __repr__(self) -> str:
        parts = [f"{self.n_matched:,} of {len(self.known):,} genes matched by name ({self.fraction:.1%})"]
        if self.missing:
            parts.append(f"missing: {self.n_missing:,} ({_examples(self.missing)})")
        if self.extra:
            parts.append(f"not used: {self.n_extra:,} ({_examples(self.extra)})")
        return "; ".join(parts)


def column_names(X: Any) -> tuple[str, ...] | None:
    """The names of a table's columns; None if it has none, or not only words."""
    names = tuple(getattr(X, "columns", ()))
    return tuple(map(str, names)) if names and all(isinstance(name, str) for name in names) else None


def match_genes(known: Sequence[str], given: Sequence[str]) -> GeneMatch:
    """Find each known gene among the given columns.

    Upper and lower case and spaces around a name count only where a name is not there as written. A name that
    occurs as often on both sides is matched in order; else all its columns belong to each of its genes.
    """
    exact, loose = _places(given), _places([_plain(name) for name in given])
    wanted = set(known)
    times: dict[str, int] = defaultdict(int)
    often = {name: len(places) for name, places in _places(known).items()}
    sources = []
    for name in known:
        columns = exact.get(name) or tuple(place for place in loose.get(_plain(name), ()) if given[place] not in wanted)
        if often[name] == len(columns):
            columns = columns[times[name] : times[name] + 1]
        times[name] += 1
        sources.append(columns)
    return GeneMatch(tuple(known), tuple(given), tuple(sources))


def _plain(name: str) -> str:
    return name.strip().casefold()


def _places(names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, name in enumerate(names):
        places[name].append(place)
    return {name: tuple(found) for name, found in places.items()}


def _mean_of_present(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    present = ~np.isnan(rows)
    number = present.sum(axis=1)
    total = np.where(present, rows, 0.0).sum(axis=1)
    return np.divide(total, number, out=np.full(len(rows), np.nan), where=number > 0)


def _examples(names: Sequence[str]) -> str:
    return ", ".join(names[:_EXAMPLES]) + (", …" if len(names) > _EXAMPLES else "")
