"""Accuracy on patients, for a price."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from skdpal.model_selection.metrics import METRICS, noisy_counts, recalls
from skdpal.privacy.mechanisms import require_ledger
from skdpal.privacy.validation import check_real

__all__ = ["PrivateBalancedScore", "PrivateScore", "private_accuracy", "private_balanced_accuracy"]


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

    Examples
    --------
    `private_accuracy` makes one.

    >>> from skdpal.model_selection import PrivateScore
    >>> PrivateScore(accuracy=0.8, low=0.5, high=1.0, confidence=0.95, n_patients=20, noise=0.1).n_patients
    20
    """

    accuracy: float
    low: float
    high: float
    confidence: float
    n_patients: int
    noise: float


@dataclass(frozen=True, eq=False)
class PrivateBalancedScore:
    """A noisy balanced accuracy and what is known about its error.

    Attributes
    ----------
    balanced_accuracy : float
        Mean of `recalls`.
    low, high : float
        Interval for the balanced accuracy on new patients, in [0, 1]: all noise within its reach at once
        (Bonferroni), and sampling at its largest (normal approximation). Wide for small classes.
    confidence : float
        Of the interval, at least.
    recalls : ndarray of shape (n_classes,)
        Noisy fraction of each class that is classified correctly, drawn to ½ as far as the noise requires.
    counts : ndarray of shape (n_classes,)
        Noisy number of patients of each class.
    noise : float
        Standard deviation of the privacy noise, in patients, of each count and of each number of correct ones.

    Examples
    --------
    `private_balanced_accuracy` makes one.

    >>> import numpy as np
    >>> from skdpal.model_selection import PrivateBalancedScore
    >>> PrivateBalancedScore(0.7, 0.4, 1.0, 0.95, np.array([0.9, 0.5]), np.array([12.3, 7.9]), 2.0).balanced_accuracy
    0.7
    """

    balanced_accuracy: float
    low: float
    high: float
    confidence: float
    recalls: np.ndarray
    counts: np.ndarray
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
        Released: it may leave.

    Notes
    -----
    Charged: one Gaussian release of a count, μ = 1 / noise_multiplier, also if a patient is exchanged.

    Examples
    --------
    >>> import numpy as np, skdpal
    >>> from skdpal.model_selection import private_accuracy
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> model = skdpal.DPPrototypeClassifier(noise_multiplier=4.0, classes=[0, 1], ledger=ledger)
    >>> model = model.fit(np.eye(4), [0, 0, 1, 1])
    >>> score = private_accuracy(model, -np.eye(4), [1, 1, 0, 0], ledger=ledger, noise_multiplier=3.0)
    >>> score.n_patients, score.noise, len(ledger.receipts())
    (4, 0.75, 2)
    """
    require_ledger(ledger)
    metric = METRICS["accuracy"]
    metric.mechanism(noise_multiplier)
    confidence = check_real("confidence", confidence, above=0.0, below=1.0)
    sums, n_patients = noisy_counts(
        metric, model, X, y, ledger=ledger, noise_multiplier=noise_multiplier, record_ids=record_ids
    )
    accuracy = float(sums[0]) / n_patients
    noise = noise_multiplier / n_patients
    reach = float(norm.ppf((1 + confidence) / 2)) * math.sqrt(noise**2 + 0.25 / n_patients)
    cut = [min(max(value, 0.0), 1.0) for value in (accuracy, accuracy - reach, accuracy + reach)]
    return PrivateScore(*cut, confidence=confidence, n_patients=n_patients, noise=noise)


def private_balanced_accuracy(
    model: Any,
    X: Any,
    y: Any,
    *,
    ledger: Any,
    noise_multiplier: float,
    record_ids: Any = None,
    confidence: float = 0.95,
) -> PrivateBalancedScore:
    """Release the balanced accuracy of a model on patients, with noise.

    Parameters
    ----------
    model : estimator
        Released, with public `classes_`; fitted on other patients, or these pay again.
    X, y : array-like
        The patients. Their number is not used; the numbers in each class are private, and released with noise.
    ledger : PrivacyLedger or Handle
        Who pays.
    noise_multiplier : float
        Standard deviation of the noise, in units of sensitivity 1; √2 times that in patients.
    record_ids : sequence, optional
        The patients. One with m samples counts 1/m for each.
    confidence : float, default=0.95
        Of the interval.

    Returns
    -------
    PrivateBalancedScore
        Released: it may leave.

    Notes
    -----
    Charged: one Gaussian release, μ = 1 / noise_multiplier. A patient of class k adds [c, 1]/√2 to the sums of
    class k, c in [0, 1] saying whether the patient is classified correctly: a row of length √((c² + 1)/2) <= 1, an average of
    such rows if there are several samples. So the L2 sensitivity is 1 under zero-out, for any number of classes;
    and √2 if a patient is exchanged, since no two such rows have a negative product.

    Examples
    --------
    >>> import numpy as np, skdpal
    >>> from skdpal.model_selection import private_balanced_accuracy
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> model = skdpal.DPPrototypeClassifier(noise_multiplier=4.0, classes=[0, 1], ledger=ledger)
    >>> model = model.fit(np.eye(4), [0, 0, 1, 1])
    >>> score = private_balanced_accuracy(model, -np.eye(4), [1, 1, 0, 0], ledger=ledger, noise_multiplier=3.0)
    >>> 0 <= score.low <= score.balanced_accuracy <= score.high <= 1
    True
    """
    require_ledger(ledger)
    metric = METRICS["balanced_accuracy"]
    metric.mechanism(noise_multiplier)
    confidence = check_real("confidence", confidence, above=0.0, below=1.0)
    sums, _ = noisy_counts(metric, model, X, y, ledger=ledger, noise_multiplier=noise_multiplier, record_ids=record_ids)
    found, noise = recalls(sums, noise_multiplier), math.sqrt(2.0) * noise_multiplier
    low, high = _interval(math.sqrt(2.0) * sums.reshape(-1, 2), noise, confidence)
    middle = float(found.mean())
    return PrivateBalancedScore(
        middle, min(low, middle), max(high, middle), confidence, found, math.sqrt(2.0) * sums[1::2], noise
    )


def _interval(counts: np.ndarray, noise: float, confidence: float) -> tuple[float, float]:
    """Half of the risk for the noise of all 2K counts, half for the sampling of patients."""
    risk = (1 - confidence) / 2
    within = noise * float(norm.isf(risk / (2 * counts.size)))
    correct, number = counts.T
    least = np.maximum(number - within, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        low = np.clip(np.nan_to_num((correct - within) / (number + within)), 0.0, 1.0)
        high = np.where(least > 0, np.clip((correct + within) / least, 0.0, 1.0), 1.0)
    low = np.where(number + within > 0, low, 0.0)
    sampling = float(norm.isf(risk / 2)) * math.sqrt((0.25 / np.maximum(least, 1.0)).sum()) / len(counts)
    return max(float(low.mean()) - sampling, 0.0), min(float(high.mean()) + sampling, 1.0)
