"""Accuracy on patients, for a price."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from skdpal.privacy.identities import identify
from skdpal.privacy.mechanisms import GaussianSum, release, require_ledger
from skdpal.privacy.validation import check_real

__all__ = ["PrivateScore", "private_accuracy"]


@dataclass(frozen=True)
class PrivateScore:
    """A noisy accuracy and what is known about its error.

    Attributes
    ----------
    accuracy : float
        Noisy fraction of patients classified correctly, cut to [0, 1].
    low, high : float
        Interval for the accuracy on new patients: privacy noise, and sampling of n patients at
        its largest (normal approximation), cut to [0, 1].
    confidence : float
        Of the interval.
    n_patients : int
        Public.
    noise : float
        Standard deviation of the privacy noise, on the scale of the accuracy.
    """

    accuracy: float
    low: float
    high: float
    confidence: float
    n_patients: int
    noise: float


def private_accuracy(
    model: Any,
    X: Any,
    y: Any,
    *,
    ledger: Any,
    noise_multiplier: float,
    record_ids: Any = None,
    confidence: float = 0.95,
) -> PrivateScore:
    """Release the accuracy of a model on patients, with noise.

    Parameters
    ----------
    model : estimator
        Released; fitted on other patients, or these pay again.
    X, y : array-like
        The patients, whose number must be public: a group fixed by the protocol.
    ledger : PrivacyLedger or Handle
        Who pays; for a group of its own, ``ledger.within("cohort/evaluation")``.
    noise_multiplier : float
        Standard deviation of the noise on the number of correct patients.
    record_ids : sequence, optional
        The patients. One counts as correct by the fraction of their samples that are.
    confidence : float, default=0.95
        Of the interval.

    Returns
    -------
    PrivateScore

    Notes
    -----
    Charged: one Gaussian release of a count, μ = 1 / noise_multiplier, also if a patient is exchanged.
    """
    payer = require_ledger(ledger)
    mechanism = GaussianSum(noise_multiplier, replace_one=1.0)
    confidence = check_real("confidence", confidence, above=0.0, below=1.0)
    if payer is not None:
        payer.require(mechanism.event, "evaluation")
    predicted, labels = np.asarray(model.predict(X)), np.asarray(y)
    if labels.shape != predicted.shape or not len(labels):
        raise ValueError(
            "Expected y to have one label for each row of X, and at least one. Pass the labels of the same rows."
        )
    ids = identify(X, record_ids)
    _, owners, samples = np.unique(ids, return_inverse=True, return_counts=True)

    def contributions() -> np.ndarray:
        return ((predicted == labels) / samples[owners])[:, None].astype(float)

    correct = float(release(contributions, mechanism, ledger, "evaluation", record_ids=ids)[0])
    n_patients = len(samples)
    accuracy = correct / n_patients
    noise = noise_multiplier / n_patients
    reach = float(norm.ppf((1 + confidence) / 2)) * math.sqrt(noise**2 + 0.25 / n_patients)
    cut = [min(max(value, 0.0), 1.0) for value in (accuracy, accuracy - reach, accuracy + reach)]
    return PrivateScore(*cut, confidence=confidence, n_patients=n_patients, noise=noise)
