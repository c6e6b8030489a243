"""The labelled patients of one cohort, checked before anybody pays; no message quotes a value or a count."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d

from skdpal.estimators.rows import validated
from skdpal.privacy.identities import identify
from skdpal.privacy.randomness import current_simulation
from skdpal.privacy.validation import check_finite, check_real

__all__ = ["Patients", "expected_number", "read_patients", "refuse_weights"]


@dataclass(frozen=True, eq=False)
class Patients:
    """Rows and labels of a cohort; nothing of it but `classes` and `expected_records` is public.

    Attributes
    ----------
    rows : ndarray of shape (n_rows, n_features)
        Finite.
    codes : ndarray of int of shape (n_rows,)
        Labels, as positions in `classes`, or among the labels that may be given.
    ids : list of str of length n_rows
        The patient of each row.
    classes : ndarray of shape (n_classes,)
        Sorted; public.
    expected_records : float
        Public number, or expectation, of patients.
    """

    rows: NDArray[Any]
    codes: NDArray[np.intp]
    ids: list[str]
    classes: NDArray[Any]
    expected_records: float


def read_patients(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    classes: Any = None,
    record_ids: Any = None,
    expected_records: float | None = None,
    first: bool = True,
    least: int = 1,
    observed: Any = None,
) -> Patients:
    """Check a cohort; nothing is charged, and nothing learnt from it.

    Parameters
    ----------
    estimator : estimator
        Remembers the number and names of columns; `classes_` of its earlier cohorts bind later ones.
    X, y : array-like
        The rows and their labels.
    classes : sequence, optional
        All labels that may occur. Needed for the first cohort, except in a simulation.
    record_ids : sequence of length n_rows, optional
        The patients.
    expected_records : float, optional
        Default: the number of patients in X.
    first : bool, default=True
        Whether this is the estimator's first cohort.
    least : int, default=1
        Rows that X must have.
    observed : ndarray, optional
        Labels that y may hold, sorted, if they are not the classes.
    """
    rows = validated(estimator, X, reset=first, ensure_min_samples=least)
    if y is None:
        raise ValueError(f"{type(estimator).__name__} requires y to be passed, but the target y is None.")
    rows, labels = check_finite("X", rows), _labels(y)
    if len(labels) != len(rows):
        raise ValueError("Expected y to have one label for each row of X. Pass the labels of the same rows.")
    if len(labels):
        with warnings.catch_warnings():  # of many classes among few labels: a count of private labels
            warnings.simplefilter("ignore", UserWarning)
            check_classification_targets(labels)
    known = _classes(labels, classes) if first else estimator.classes_
    if not first and classes is not None and not np.array_equal(np.unique(np.asarray(classes)), known):
        raise ValueError(f"Expected classes to be those of the first cohort, {known.tolist()}. Leave classes out.")
    ids = identify(X, record_ids)
    number = len(set(ids)) if expected_records is None else expected_records
    return Patients(
        rows,
        _codes(labels, known, observed),
        ids,
        known,
        check_real("expected_records", number, above=0.0, closed=True),
    )


def expected_number(ledger: Any, expected_records: float | None) -> None:
    """Refuse, before X is read, to count patients whose number a hidden selection made private."""
    if ledger is not None and expected_records is None and ledger.hidden_rounds:
        raise ValueError(
            "Expected expected_records, the public expectation of the cohort's size: after a hidden "
            "selection the true number is private. Pass expected_records=n_instances."
        )


def refuse_weights(verb: str, unknown: dict[str, Any]) -> None:
    """Say why there is no `sample_weight`, and refuse whatever else a method does not know."""
    if "sample_weight" in unknown:
        raise TypeError(
            f"{verb}() takes no sample_weight: a patient who counts more than once would move the release by more than the "
            "sensitivity that is charged. Give classes a public weight (class_weight, prior), or leave patients out."
        )
    if unknown:
        raise TypeError(f"{verb}() got an unexpected keyword argument {next(iter(unknown))!r}")


def _classes(labels: NDArray[Any], given: Any) -> NDArray[Any]:
    if given is not None:
        return np.unique(np.asarray(given))
    if current_simulation() is not None:
        return np.unique(labels)
    raise ValueError(
        "Expected classes. Found None. Pass classes=[...] with every label that may occur, or a prior: "
        "inferring them from private labels would leak which classes occur."
    )


def _labels(y: Any) -> NDArray[Any]:
    """One column of labels, none missing."""
    if pd.isna(np.asarray(y, dtype=object)).any():
        raise ValueError("Expected every label of y to be in classes; y holds a missing one (NaN or None). Fill it in.")
    try:
        return column_or_1d(y, warn=True)
    except ValueError:
        pass
    raise ValueError("Expected y to be a 1d array of labels, one for each row of X. Pass one column.")


def _codes(labels: Sequence[Any], classes: NDArray[Any], observed: Any) -> NDArray[np.intp]:
    if not len(labels):
        return np.zeros(0, dtype=np.intp)
    known, name = (classes, "classes") if observed is None else (observed, "the labels of the transition")
    codes = pd.Index(known).get_indexer(pd.Index(labels))
    if (codes < 0).any():
        raise ValueError(
            f"Expected every label of y to be in {name}={known.tolist()}. Correct the label, or list it in {name}."
        )
    return codes
