"""What noisy sums say about class means, with the noise known exactly.

Everything here is post-processing of releases, the public prior and public constants:
no patient's row, no realised count reaches this file.

Model, for class k, cohort r and feature j (docs/prototype.md derives it)::

    mean_k  = public_k + shift + own_k         shift ~ N(0, a I),  own_k ~ N(0, b I)
    sum_rk  = n_rk mean_k + N(0, n_rk s² + 2 σ_r²)

`2 σ²` because a row [x, 1]/√2 has sensitivity 1. `n_rk` is the public expectation of the
cohort's size times the class fractions that the noisy counts suggest. The variances a and b,
how far the private cohort lies from the public one, are not picked but averaged over, weighted by
how well each explains the releases: a prior that transfers badly is let go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

__all__ = ["Posterior", "Release", "infer"]

Array = NDArray[np.float64]

_CONCENTRATION = 2.0  # class fractions vary as a Dirichlet with this total around the uniform
_LEAST_FRACTION = 0.25  # of the uniform: no class is written off because of noise
SHIFTS = (0.0, 0.1, 0.3, 1.0, 3.0)  # variance of the common shift, in units of within-class variance
SPREADS = (0.03, 0.1, 0.3, 1.0, 3.0)  # variance of each class's own shift, likewise


@dataclass(frozen=True, eq=False)
class Release:
    """One noisy release of class sums and counts, in units of sensitivity 1.

    Attributes
    ----------
    sums : ndarray of shape (n_classes, n_features)
        Σ x/√2 over the patients of each class, plus noise.
    counts : ndarray of shape (n_classes,)
        Number of patients of each class, divided by √2, plus noise.
    noise_multiplier : float
        Standard deviation of the noise.
    expected_records : float
        The public number, or expectation, of patients. Never the realised number of a hidden cohort.
    """

    sums: Array
    counts: Array
    noise_multiplier: float
    expected_records: float


@dataclass(frozen=True, eq=False)
class Posterior:
    """A mixture of Gaussian beliefs about the class means.

    Attributes
    ----------
    weights : ndarray of shape (n_settings,)
        Posterior weight of each setting of the shift variances.
    means : ndarray of shape (n_settings, n_classes, n_features)
    covariances : dict of ndarray of shape (n_settings, n_classes, n_classes)
        Uncertainty of the means per feature, in exact additive parts: "transfer" (the
        prior does not fit), "sampling" (few patients), "dp_noise" (privacy).
    within_variance : float
        Variance of a patient around the class mean, per feature.
    fractions : ndarray of shape (n_classes,)
        Estimated class fractions.
    """

    weights: Array
    means: Array
    covariances: dict[str, Array]
    within_variance: float
    fractions: Array

    @property
    def class_means(self) -> Array:
        """Posterior mean of the class means, shape (n_classes, n_features)."""
        return np.einsum("j,jkd->kd", self.weights, self.means)

    def predict_proba(self, rows: Array) -> Array:
        """Class probabilities, averaged over everything that is uncertain."""
        n_settings, n_classes, n_features = self.means.shape
        flat = self.means.reshape(-1, n_features)
        distances = -2 * rows @ flat.T + np.einsum("nd,nd->n", rows, rows)[:, None] + np.einsum("md,md->m", flat, flat)
        variance = sum(np.einsum("jkk->jk", part) for part in self.covariances.values()) + self.within_variance
        scores = -distances.reshape(-1, n_settings, n_classes) / (2 * variance)
        scores += np.log(self.fractions) - n_features / 2 * np.log(variance)
        scores -= logsumexp(scores, axis=2, keepdims=True)
        result = np.einsum("j,njk->nk", self.weights, np.exp(scores))
        return result / result.sum(axis=1, keepdims=True)

    def log_odds_variance(self, rows: Array) -> dict[str, Array]:
        """Variance of the log-odds of each row's two likeliest classes, by cause.

        "overlap" is what a patient's own variation around the class mean contributes; the
        other parts are those of `covariances`.
        """
        order = np.argsort(-self.predict_proba(rows), axis=1)
        first, second = order[:, 0], order[:, min(1, order.shape[1] - 1)]
        means = self.class_means
        to_first, to_second = rows - means[first], rows - means[second]
        scale = self.within_variance**2
        parts = {}
        for name, part in self.covariances.items():
            covariance = np.einsum("j,jkl->kl", self.weights, part)
            parts[name] = (
                covariance[first, first] * np.einsum("nd,nd->n", to_first, to_first)
                + covariance[second, second] * np.einsum("nd,nd->n", to_second, to_second)
                - 2 * covariance[first, second] * np.einsum("nd,nd->n", to_first, to_second)
            ) / scale
        gap = means[first] - means[second]
        parts["overlap"] = np.einsum("nd,nd->n", gap, gap) / self.within_variance
        return parts


def infer(
    releases: Sequence[Release],
    prior_means: Array | None,
    within_variance: float | None,
    prior_weight: float | None = None,
) -> Posterior:
    """Combine releases with a public prior.

    Parameters
    ----------
    releases : sequence of Release
        At least one; cohorts are combined by precision.
    prior_means : ndarray of shape (n_classes, n_features) or None
        Public class means. None: a vague belief around the origin of the unit ball.
    within_variance : float or None
        Public within-class variance. None: that of directions without structure, 1/n_features.
    prior_weight : float, optional
        The prior counts as this many patients of each class, without a common shift.
        None: averaged over `SHIFTS` and `SPREADS`.
    """
    n_classes, n_features = releases[0].sums.shape
    within = 1.0 / n_features if within_variance is None else within_variance
    if prior_means is None:
        centre, settings = np.zeros((n_classes, n_features)), [(0.0, 1.0 / n_features)]
    elif prior_weight is not None:
        centre, settings = prior_means, [(0.0, within / prior_weight)]
    else:
        centre, settings = prior_means, [(within * a, within * b) for a in SHIFTS for b in SPREADS]
    fractions = _fractions(releases, n_classes)
    estimate, information, sampling, noise = _combine(releases, fractions, within)

    scores, means, parts = [], [], {"transfer": [], "sampling": [], "dp_noise": []}
    residual = estimate - centre
    for shift, spread in settings:
        belief = spread * np.eye(n_classes) + shift
        marginal = belief + np.diag(1 / information)
        gain = np.linalg.solve(marginal, belief).T
        explained = np.einsum("kd,kd->", residual, np.linalg.solve(marginal, residual))
        scores.append(-0.5 * (explained + n_features * np.linalg.slogdet(marginal)[1]))
        means.append(centre + gain @ residual)
        keep = np.eye(n_classes) - gain
        parts["transfer"].append(keep @ belief @ keep.T)
        parts["sampling"].append(gain * sampling @ gain.T)
        parts["dp_noise"].append(gain * noise @ gain.T)
    weights = np.exp(np.array(scores) - logsumexp(scores))
    covariances = {name: np.array(part) for name, part in parts.items()}
    return Posterior(weights, np.array(means), covariances, within, fractions)


def _fractions(releases: Sequence[Release], n_classes: int) -> Array:
    """Class fractions from noisy counts, shrunk to the uniform."""
    uniform = 1.0 / n_classes
    precision = (1 + _CONCENTRATION) / max(uniform * (1 - uniform), 1e-12)
    total, evidence = precision, np.full(n_classes, precision * uniform)
    for release in releases:
        noise = 2 * release.noise_multiplier**2
        evidence += np.sqrt(2) * release.counts * release.expected_records / noise
        total += release.expected_records**2 / noise
    fractions = np.maximum(evidence / total, _LEAST_FRACTION * uniform)
    return fractions / fractions.sum()


def _combine(releases: Sequence[Release], fractions: Array, within: float) -> tuple[Array, Array, Array, Array]:
    """Precision-weighted class means of all cohorts, with their precision and its two causes."""
    information, weighted = np.full(len(fractions), 1e-12), np.zeros_like(releases[0].sums)
    sampling, noise = np.zeros(len(fractions)), np.zeros(len(fractions))
    for release in releases:
        expected = release.expected_records * fractions
        dp_variance = 2 * release.noise_multiplier**2
        weight = expected / (expected * within + dp_variance)
        information += weight * expected
        weighted += weight[:, None] * np.sqrt(2) * release.sums
        sampling += weight**2 * expected * within
        noise += weight**2 * dp_variance
    return weighted / information[:, None], information, sampling / information**2, noise / information**2
