"""Who is public, who is a patient, and what is to be predicted.

Where nature offers a public cohort (cell lines, another laboratory) it is used. Elsewhere random patients are declared public, anew in
each split, the same for every method.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skdpal.datasets import load_srbct

__all__ = ["COHORTS", "Cohort", "Split", "load_cohort"]

LEAST_TEST = 5  # patients that must remain to judge


@dataclass(frozen=True, eq=False)
class Cohort:
    """Rows with labels, some of them public.

    Attributes
    ----------
    name, public : str
        The question, and who is public, in words.
    X : ndarray of shape (n_rows, n_genes)
    y : ndarray of str of shape (n_rows,)
    is_public : ndarray of bool of shape (n_rows,) or None
        None: `n_public` random patients are declared public.
    n_public : int
        How many.
    sizes : tuple of int
        Numbers of labelled patients to try.
    sample_scaling : str or None
        Of the encoder: "standardize" for expression data, each sample by itself.
    """

    name: str
    public: str
    X: np.ndarray
    y: np.ndarray
    is_public: np.ndarray | None = None
    n_public: int = 0
    sizes: tuple[int, ...] = (8, 16, 32, 64)
    sample_scaling: str | None = "standardize"

    @property
    def n_private(self) -> int:
        """Patients that are not public."""
        return len(self.y) - (self.n_public if self.is_public is None else int(self.is_public.sum()))

    @property
    def possible_sizes(self) -> tuple[int, ...]:
        """The sizes that leave somebody to judge."""
        return tuple(size for size in self.sizes if size <= self.n_private - LEAST_TEST)

    def split(self, seed: int) -> Split:
        """Public rows, and the patients in random order."""
        random = np.random.default_rng(seed)
        public = self.is_public if self.is_public is not None else self._declare(random)
        patients = random.permutation(np.flatnonzero(~public))
        rows = self.X
        if self.sample_scaling is None:  # clinical columns, in units of their own
            rows = (rows - rows[public].mean(axis=0)) / rows[public].std(axis=0)
        return Split(np.unique(self.y), rows[public], self.y[public], rows[patients], self.y[patients])

    def _declare(self, random: np.random.Generator) -> np.ndarray:
        """Random patients, the classes in proportion, at least two of each."""
        public = np.zeros(len(self.y), dtype=bool)
        for label in np.unique(self.y):
            places = random.permutation(np.flatnonzero(self.y == label))
            public[places[: max(2, round(self.n_public / len(self.y) * len(places)))]] = True
        return public


@dataclass(frozen=True, eq=False)
class Split:
    """What is public, and private rows in random order: the first n are labelled, the others judge."""

    classes: np.ndarray
    X_public: np.ndarray
    y_public: np.ndarray
    X: np.ndarray
    y: np.ndarray


def _folder(name: str) -> Path:
    if "SKDPAL_DATA" not in os.environ:
        raise FileNotFoundError("Expected the environment variable SKDPAL_DATA to name the folder of the cohorts.")
    return Path(os.environ["SKDPAL_DATA"]) / name


def _table(cohort: str, file: str = "X.npz") -> np.ndarray:
    with np.load(_folder(cohort) / file) as archive:
        return np.asarray(archive["X"], dtype=np.float64)


def _meta(cohort: str, file: str = "meta.csv.gz") -> pd.DataFrame:
    return pd.read_csv(_folder(cohort) / file, index_col=0)


def _declared(name: str, X: np.ndarray, y: pd.Series, n_public: int | None = None, **options: Any) -> Cohort:
    """Random patients, by default a third of those with a label, are declared public."""
    known = y.notna().to_numpy()
    n_public = n_public or round(known.sum() / 3)
    words = f"{n_public} of the {known.sum()} patients, by declaration"
    return Cohort(name, words, X[known], y[known].astype(str).to_numpy(), n_public=n_public, **options)


def _srbct() -> Cohort:
    data = load_srbct()
    return Cohort("SRBCT tumours", "46 cell lines", data.data, np.asarray(data.target, dtype=str), data.is_cell_line)


def _acc() -> Cohort:
    meta, path = _meta("miniacc_multiomics"), _folder("miniacc_multiomics") / "rna.npz"
    with np.load(path, allow_pickle=True) as archive:  # names are stored as objects
        rows, patients = np.asarray(archive["X"], dtype=np.float64), [str(name)[:12] for name in archive["samples"]]
    return _declared("ACC C1A/C1B", rows, meta["C1A.C1B"].reindex(patients))


def _golub() -> Cohort:
    rows = np.log(np.maximum(_table("golub_leukemia", "X5000.npz"), 20.0))
    return _declared("Golub ALL/AML", rows, _meta("golub_leukemia", "meta5000.csv.gz")["label3"].str[:3])


def _all(name: str, label: Callable[[pd.DataFrame], pd.Series]) -> Cohort:
    return _declared(name, _table("all_leukemia"), label(_meta("all_leukemia")))


def _fusion(meta: pd.DataFrame) -> pd.Series:
    asked = meta["BT"].str.startswith("B") & meta["mol.biol"].isin(["BCR/ABL", "NEG"])
    return meta["mol.biol"].where(asked)


def _bladder() -> Cohort:
    meta = _meta("bladder_batch")
    labels, public = np.where(meta["cancer"] == "Cancer", "cancer", "other"), (meta["batch"] == 2).to_numpy()
    words = f"the {public.sum()} samples of batch 2"
    return Cohort("Bladder cancer/other", words, _table("bladder_batch"), labels, public)


def _metabric() -> Cohort:
    labels = _meta("metabric_small")["dead_5y"].map({0: "alive", 1: "dead"})
    rows = _table("metabric_small")
    sizes = (8, 16, 32, 64, 256, 1000)
    return _declared("METABRIC dead in 5 years", rows, labels, 100, sizes=sizes, sample_scaling=None)


COHORTS: dict[str, Callable[[], Cohort]] = {
    "srbct": _srbct,
    "acc": _acc,
    "golub": _golub,
    "lineage": lambda: _all("ALL lineage B/T", lambda meta: meta["BT"].str[0]),
    "fusion": lambda: _all("ALL BCR/ABL or not", _fusion),
    "bladder": _bladder,
    "metabric": _metabric,
    "remission": lambda: _all("ALL remission", lambda meta: meta["remission"]),
    "relapse": lambda: _all("ALL relapse", lambda meta: meta["relapse"].map({True: "yes", False: "no"})),
}


@cache
def load_cohort(name: str) -> Cohort:
    """A cohort of `COHORTS`; all but "srbct" need SKDPAL_DATA."""
    return COHORTS[name]()
