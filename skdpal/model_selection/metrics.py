"""What scores count, with the sensitivity that they are priced for.

Both count patients: a patient with m samples enters each sum with weight 1/m a sample, so that a patient's row
is an average of the rows below, and no longer than the longest of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skdpal.privacy.identities import identify
from skdpal.privacy.mechanisms import GaussianSum, release, require_ledger
from skdpal.privacy.validation import check_one_of

__all__ = ["METRICS", "Metric", "metric_of", "noisy_counts", "recalls"]

Numbers = NDArray[np.float64]
_ROOT2 = math.sqrt(2.0)


@dataclass(frozen=True)
class Metric:
    """A score that is a function of noisy sums over patients.

    Attributes
    ----------
    name : str
        Public word.
    replace_one : float
        L2 distance of two patients' rows; the longest row has length 1.
    rows : callable
        Takes whether each sample is classified correctly, its class and the number of classes.
    value : callable
        Takes the noisy sums, the public number of patients and the noise multiplier.
    """

    name: str
    replace_one: float
    rows: Callable[[NDArray[np.bool_], NDArray[np.intp], int], Numbers]
    value: Callable[[Numbers, int, float], float]

    def mechanism(self, noise_multiplier: float) -> GaussianSum:
        """One Gaussian release of the sums."""
        return GaussianSum(noise_multiplier, replace_one=self.replace_one)


def _correct(correct: NDArray[np.bool_], codes: NDArray[np.intp], n_classes: int) -> Numbers:
    """The number of correct patients: a row is in [0, 1], two rows differ by 1 at most."""
    return correct[:, None].astype(np.float64)


def _by_class(correct: NDArray[np.bool_], codes: NDArray[np.intp], n_classes: int) -> Numbers:
    """Correct and all patients of each class: [correct, 1]/√2 at the class, of length 1 at most.

    No two rows have a negative product, so they are √2 apart at most.
    """
    table = np.zeros((len(codes), n_classes, 2))
    table[np.arange(len(codes)), codes] = np.column_stack([correct, np.ones(len(codes))]) / _ROOT2
    return table.reshape(len(codes), 2 * n_classes)


def recalls(sums: Numbers, noise_multiplier: float) -> Numbers:
    """The fraction of correct patients of each class, drawn to ½ as far as its number of patients is noise."""
    scale = _ROOT2 * noise_multiplier  # of the noise, in patients
    correct, number = _ROOT2 * sums.reshape(-1, 2).T
    return np.clip((correct + scale / 2) / (np.maximum(number, 0.0) + scale), 0.0, 1.0)


METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", 1.0, _correct, lambda sums, n_patients, noise: float(sums[0]) / n_patients),
        Metric("balanced_accuracy", _ROOT2, _by_class, lambda sums, n_patients, noise: recalls(sums, noise).mean()),
    )
}


def metric_of(name: Any) -> Metric:
    """The metric of a name."""
    return METRICS[check_one_of("scoring", name, METRICS, "Only these have a proven sensitivity.")]


def noisy_counts(
    metric: Metric,
    model: Any,
    X: Any,
    y: Any,
    *,
    ledger: Any,
    noise_multiplier: float,
    record_ids: Any = None,
    label: str = "evaluation",
) -> tuple[Numbers, int]:
    """Charge, then release the sums of a metric.

    Returns
    -------
    sums : ndarray
        Noisy, in units of sensitivity 1.
    n_patients : int
        Their number.
    """
    payer, mechanism = require_ledger(ledger), metric.mechanism(noise_multiplier)
    if payer is not None:
        payer.require(mechanism.event, label)
        if metric.name == "accuracy" and payer.hidden_rounds and not payer.root.settled(payer.account):
            raise ValueError(
                f"Expected patients whose number is public. Found account {payer.account!r} after a hidden selection, which "
                'moved some. Score a group that was split off before, such as ledger.within("cohort/evaluation"), or take the '
                "balanced accuracy, which needs no number."
            )
    predicted, labels = np.asarray(model.predict(X)), np.asarray(y)
    if labels.shape != predicted.shape or not len(labels):
        raise ValueError(
            "Expected y to have one label for each row of X, and at least one. Pass the labels of the same rows."
        )
    classes = model.classes_ if metric.name == "balanced_accuracy" else ()
    codes = _codes(labels, classes)
    ids = identify(X, record_ids)
    _, owners, samples = np.unique(ids, return_inverse=True, return_counts=True)

    def contributions() -> Numbers:
        return metric.rows(predicted == labels, codes, len(classes)) / samples[owners][:, None]

    return release(contributions, mechanism, ledger, label, record_ids=ids), len(samples)


def _codes(labels: NDArray[Any], classes: Sequence[Any]) -> NDArray[np.intp]:
    """Labels as positions in the public classes, if these matter."""
    if not len(classes):
        return np.zeros(len(labels), dtype=np.intp)
    codes = pd.Index(classes).get_indexer(pd.Index(labels))
    if (codes < 0).any():
        raise ValueError(f"Expected every label of y to be in the model's classes, {list(classes)}. Correct the label.")
    return codes
