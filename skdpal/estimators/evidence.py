"""What noisy sums and counts say by themselves, before any belief about the class means comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST_FRACTION", "Evidence", "Release", "class_fractions", "combine", "fractions_of", "label_errors"]

Array = NDArray[np.float64]

_CONCENTRATION = 2.0  # class fractions vary as a Dirichlet with this total around the uniform,
_PUBLIC_CONCENTRATION = 10.0  # and with this total around fractions that were given
LEAST_FRACTION = 0.25  # of what was believed: no class is written off because of noise


@dataclass(frozen=True, eq=False)
class Release:
    """One noisy release of sums and counts by label, in units of sensitivity 1.

    Attributes
    ----------
    sums : ndarray of shape (n_labels, n_features)
        Σ x/√2 over the patients of each label, plus noise. Labels are the classes, unless they may be wrong.
    counts : ndarray of shape (n_labels,)
        Number of patients of each label, divided by √2, plus noise.
    noise_multiplier : float
        Standard deviation of the noise.
    expected_records : float
        The public number, or expectation, of patients. Never the realised number of a hidden cohort.

    Examples
    --------
    >>> import numpy as np
    >>> from skdpal.estimators import Release
    >>> Release(np.zeros((2, 8)), np.array([14.1, 13.8]), noise_multiplier=2.0, expected_records=40.0).noise_multiplier
    2.0
    """

    sums: Array
    counts: Array
    noise_multiplier: float
    expected_records: float


@dataclass(frozen=True, eq=False)
class Evidence:
    """Means of the patients of each label, along axes, from all cohorts together.

    Attributes
    ----------
    estimate : ndarray of shape (n_labels, n_features)
        Precision-weighted mean.
    information : ndarray of shape (n_labels, n_features)
        Its precision.
    sampling, noise : ndarray of shape (n_labels, n_features)
        The two parts of its variance: few patients, and privacy.
    shared : ndarray of shape (n_features, n_labels, n_labels) or None
        Covariance that the labels share, beside that variance; counted as sampling.
    """

    estimate: Array
    information: Array
    sampling: Array
    noise: Array
    shared: Array | None = None


def class_fractions(releases: Sequence[Release], believed: Array | None, rates: Array) -> Array:
    """Fractions of the true classes: the first of `fractions_of`."""
    return fractions_of(releases, believed, rates)[0]


def fractions_of(releases: Sequence[Release], believed: Array | None, rates: Array) -> tuple[Array, Array]:
    """Fractions of the true classes from noisy counts of labels, shrunk to what was believed, and their covariance.

    Parameters
    ----------
    releases : sequence of Release
    believed : ndarray of shape (n_classes,) or None
        None: uniform, and with less weight.
    rates : ndarray of shape (n_classes, n_labels)
        Chances of the labels; the identity if labels are right.
    """
    n_classes, n_labels = rates.shape
    centre = np.full(n_classes, 1.0 / n_classes) if believed is None else np.asarray(believed, dtype=np.float64)
    total = _CONCENTRATION if believed is None else _PUBLIC_CONCENTRATION
    weights = (1 + total) / np.maximum(centre * (1 - centre), 1e-12)
    evidence, precision = weights * centre, np.diag(weights)
    errors = label_errors(centre, rates)
    for release in releases:
        noise = 2 * release.noise_multiplier**2 * np.eye(n_labels) + release.expected_records * errors
        gain = np.linalg.solve(noise, release.expected_records * rates.T).T
        evidence = evidence + gain @ (np.sqrt(2) * release.counts)
        precision = precision + release.expected_records * gain @ rates.T
    fractions = np.maximum(np.linalg.solve(precision, evidence), LEAST_FRACTION * centre)
    return fractions / fractions.sum(), np.linalg.inv(precision)


def label_errors(fractions: Array, rates: Array) -> Array:
    """Covariance of how many get each label, for one patient of known classes: nothing, if none is wrong."""
    return np.diag(fractions @ rates) - rates.T @ (fractions[:, None] * rates)


def combine(releases: Sequence[Release], expected: Sequence[Array], widths: Array, axes: Array) -> Evidence:
    """Means by label of all cohorts along the axes, weighted by precision.

    Parameters
    ----------
    releases : sequence of Release
    expected : sequence of ndarray of shape (n_labels,)
        Patients of each label, cohort by cohort.
    widths : ndarray of shape (n_features,) or (n_labels, n_features)
        Variance of the patients of a label along the axes.
    axes : ndarray of shape (n_features, n_features)
    """
    shape = releases[0].sums.shape
    information, weighted = np.full(shape, 1e-12), np.zeros(shape)
    sampling, noise = np.zeros(shape), np.zeros(shape)
    for release, numbers in zip(releases, expected, strict=True):
        number = numbers[:, None]
        dp_variance = 2 * release.noise_multiplier**2
        weight = number / (number * widths + dp_variance)
        information += weight * number
        weighted += weight * np.sqrt(2) * (release.sums @ axes)
        sampling += weight**2 * number * widths
        noise += weight**2 * dp_variance
    return Evidence(weighted / information, information, sampling / information**2, noise / information**2)
