"""What noisy sums say about class means, with the noise known exactly.

Everything here is post-processing of releases, the public prior and public constants:
no patient's row, no realised count reaches this file.

Model, for class k, cohort r and direction j of the public within-class covariance, whose variance there
is w_j (docs/prototype.md derives it)::

    mean_kj  = public_kj + shift_j + own_kj     shift_j ~ N(0, a w_j),  own_kj ~ N(0, (b + 1/public patients) w_j)
    sum_rkj  = n_rk mean_kj + N(0, n_rk w_j + 2 σ_r²)

`2 σ²` because a row [x, 1]/√2 has sensitivity 1. `n_rk` is the public expectation of the
cohort's size times the class fractions that the noisy counts suggest. The numbers a and b,
how far the private cohort lies from the public one, are not picked but averaged over, weighted by
how well each explains the releases: a prior that transfers badly is let go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

__all__ = ["Posterior", "Release", "infer"]

Array = NDArray[np.float64]

_BLOCK = 1024  # rows at a time
_CONCENTRATION = 2.0  # class fractions vary as a Dirichlet with this total around the uniform,
_PUBLIC_CONCENTRATION = 10.0  # and with this total around fractions that were given
_LEAST_FRACTION = 0.25  # of what was believed: no class is written off because of noise
# variances of the common shift and of each class's own shift, in units of the within-class variance, with the odds of
# each before a release is seen: laboratories shift all classes, but a class of its own rarely moves far
SHIFTS = (0.0, 0.1, 0.3, 1.0, 3.0)
SPREADS = (0.0, 0.1, 0.3, 1.0, 3.0)
SHIFT_ODDS = (1.0, 1.0, 1.0, 1.0, 1.0)
SPREAD_ODDS = (256.0, 64.0, 16.0, 4.0, 1.0)


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
        Along `axes`.
    covariances : dict of ndarray of shape (n_settings, n_features, n_classes, n_classes)
        Uncertainty of the means along each of `axes`, in exact additive parts: "transfer" (the
        prior does not fit), "sampling" (few patients), "dp_noise" (privacy).
    within : ndarray of shape (n_features,)
        Variance of a patient around the class mean, along each of `axes`.
    axes : ndarray of shape (n_features, n_features)
        Orthonormal columns.
    fractions : ndarray of shape (n_classes,)
        Estimated class fractions.
    """

    weights: Array
    means: Array
    covariances: dict[str, Array]
    within: Array
    axes: Array
    fractions: Array

    @property
    def class_means(self) -> Array:
        """Posterior mean of the class means, shape (n_classes, n_features)."""
        return np.einsum("s,skd->kd", self.weights, self.means) @ self.axes.T

    def predict_proba(self, rows: Array) -> Array:
        """Class probabilities, averaged over everything that is uncertain."""
        linear, quadratic, constant = self._scores
        result = np.empty((len(rows), len(self.fractions)))
        for first in range(0, len(rows), _BLOCK):  # a block of all settings stays in the cache
            block = rows[first : first + _BLOCK] @ self.axes
            scores = block @ linear  # class by class: reductions over classes then run along memory
            np.square(block, out=block)
            scores += block @ quadratic + constant
            scores -= scores.max(axis=0)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=0)
            result[first : first + _BLOCK] = (scores @ self.weights).T
        return result / result.sum(axis=1, keepdims=True)

    @cached_property
    def _scores(self) -> tuple[Array, Array, Array]:
        """Log densities as polynomials in a row along `axes`; shapes (n_classes, n_features or 1, n_settings)."""
        variances = sum(np.einsum("sdkk->skd", part) for part in self.covariances.values()) + self.within
        constant = np.log(self.fractions) - 0.5 * (self.means**2 / variances + np.log(variances)).sum(axis=2)
        linear, quadratic = (
            np.ascontiguousarray(part.T.swapaxes(0, 1)) for part in (self.means / variances, -0.5 / variances)
        )
        return linear, quadratic, constant.T[:, None, :]

    def log_odds_variance(self, rows: Array) -> dict[str, Array]:
        """Variance of the log-odds of each row's two likeliest classes, by cause.

        "overlap" is what a patient's own variation around the class mean contributes; the
        other parts are those of `covariances`, and doubt about the setting counts as "transfer".
        """
        order = np.argsort(-self.predict_proba(rows), axis=1)
        first, second = order[:, 0], order[:, min(1, order.shape[1] - 1)]
        means = np.einsum("s,skd->kd", self.weights, self.means)
        rows = rows @ self.axes
        to_first, to_second = (rows - means[first]) / self.within, (rows - means[second]) / self.within
        parts = {}
        for name, part in self.covariances.items():
            covariance = np.einsum("s,sdkl->kld", self.weights, part)
            parts[name] = (
                np.einsum("nd,nd->n", covariance[first, first], to_first**2)
                + np.einsum("nd,nd->n", covariance[second, second], to_second**2)
                - 2 * np.einsum("nd,nd->n", covariance[first, second], to_first * to_second)
            )
        away = self.means - means
        moved = np.einsum("nd,snd->ns", to_first, away[:, first]) - np.einsum("nd,snd->ns", to_second, away[:, second])
        parts["transfer"] = parts["transfer"] + moved**2 @ self.weights
        parts["overlap"] = ((means[first] - means[second]) ** 2 / self.within).sum(axis=1)
        return parts


def infer(
    releases: Sequence[Release],
    prior_means: Array | None,
    within: Array | float | None,
    prior_weight: float | None = None,
    *,
    public_counts: Array | None = None,
    class_prior: Array | None = None,
) -> Posterior:
    """Combine releases with a public prior.

    Parameters
    ----------
    releases : sequence of Release
        At least one; cohorts are combined by precision.
    prior_means : ndarray of shape (n_classes, n_features) or None
        Public class means. None: a vague belief around the origin of the unit ball.
    within : ndarray of shape (n_features, n_features), float or None
        Public within-class covariance, or variance if it is the same in all directions. None: that of
        directions without structure, 1/n_features.
    prior_weight : float, optional
        The prior counts as this many patients of each class, without a common shift.
        None: averaged over `SHIFTS` and `SPREADS`.
    public_counts : ndarray of shape (n_classes,), optional
        Public patients that `prior_means` rest on. None: infinitely many.
    class_prior : ndarray of shape (n_classes,), optional
        Public guess of the class fractions, counted as ten patients. None: uniform, as two.
    """
    n_classes, n_features = releases[0].sums.shape
    widths, axes = _directions(within, n_features)
    fractions = _fractions(releases, class_prior)
    seen = _combine(releases, fractions, widths, axes)
    centre = np.zeros((n_classes, n_features)) if prior_means is None else prior_means @ axes
    own = np.zeros(n_classes) if public_counts is None else 1 / np.asarray(public_counts, dtype=np.float64)

    scales = np.full(n_features, 1.0 / n_features) if prior_means is None else widths
    scores, means, parts = [], [], {"transfer": [], "sampling": [], "dp_noise": []}
    for shift, spread, odds in _settings(prior_means is not None, prior_weight, own):
        belief = scales[:, None, None] * (np.diag(spread) + shift)
        score, mean, split = _condition(centre, belief, *seen)
        scores.append(np.log(odds) + score)
        means.append(mean)
        for name, part in split.items():
            parts[name].append(part)
    weights = np.exp(np.array(scores) - logsumexp(scores))
    covariances = {name: np.array(part) for name, part in parts.items()}
    return Posterior(weights, np.array(means), covariances, widths, axes, fractions)


def _directions(within: Array | float | None, n_features: int) -> tuple[Array, Array]:
    """Variances of patients around their class mean, along orthonormal axes."""
    if within is None or np.ndim(within) == 0:
        return np.full(n_features, 1.0 / n_features if within is None else within), np.eye(n_features)
    return np.linalg.eigh(np.asarray(within, dtype=np.float64))


def _settings(informed: bool, weight: float | None, own: Array) -> list[tuple[float, Array, float]]:
    """Variance of the common shift, of the classes' own, and the odds, of each setting."""
    if not informed:
        return [(0.0, np.ones_like(own), 1.0)]
    if weight is not None:
        return [(0.0, np.full_like(own, 1 / weight), 1.0)]
    shifts, spreads = zip(SHIFTS, SHIFT_ODDS, strict=True), list(zip(SPREADS, SPREAD_ODDS, strict=True))
    return [(a, b + own, odds_a * odds_b) for a, odds_a in shifts for b, odds_b in spreads]


def _condition(
    centre: Array, belief: Array, estimate: Array, information: Array, sampling: Array, noise: Array
) -> tuple[float, Array, dict[str, Array]]:
    """Evidence of one setting, posterior means, and the parts of their covariance, direction by direction."""
    identity = np.eye(len(centre))
    residual = (estimate - centre).T[..., None]
    marginal = belief + identity / information.T[:, None, :]
    solved = np.linalg.solve(marginal, np.concatenate([belief, residual], axis=2))
    gain, whitened = np.swapaxes(solved[:, :, :-1], 1, 2), solved[:, :, -1:]
    explained = float((residual * whitened).sum())
    score = -0.5 * (explained + float(np.linalg.slogdet(marginal)[1].sum()))
    keep, turned = identity - gain, np.swapaxes(gain, 1, 2)
    split = {
        "transfer": keep @ belief @ np.swapaxes(keep, 1, 2),
        "sampling": (gain * sampling.T[:, None, :]) @ turned,
        "dp_noise": (gain * noise.T[:, None, :]) @ turned,
    }
    return score, centre + (gain @ residual)[..., 0].T, split


def _fractions(releases: Sequence[Release], believed: Array | None) -> Array:
    """Class fractions from noisy counts, shrunk to what was believed."""
    n_classes = len(releases[0].counts)
    centre = np.full(n_classes, 1.0 / n_classes) if believed is None else np.asarray(believed, dtype=np.float64)
    total = _CONCENTRATION if believed is None else _PUBLIC_CONCENTRATION
    precision = (1 + total) / np.maximum(centre * (1 - centre), 1e-12)
    evidence = precision * centre
    for release in releases:
        noise = 2 * release.noise_multiplier**2
        evidence = evidence + np.sqrt(2) * release.counts * release.expected_records / noise
        precision = precision + release.expected_records**2 / noise
    fractions = np.maximum(evidence / precision, _LEAST_FRACTION * centre)
    return fractions / fractions.sum()


def _combine(
    releases: Sequence[Release], fractions: Array, widths: Array, axes: Array
) -> tuple[Array, Array, Array, Array]:
    """Precision-weighted class means of all cohorts along the axes, with their precision and its two causes."""
    shape = releases[0].sums.shape
    information, weighted = np.full(shape, 1e-12), np.zeros(shape)
    sampling, noise = np.zeros(shape), np.zeros(shape)
    for release in releases:
        expected = release.expected_records * fractions[:, None]
        dp_variance = 2 * release.noise_multiplier**2
        weight = expected / (expected * widths + dp_variance)
        information += weight * expected
        weighted += weight * np.sqrt(2) * (release.sums @ axes)
        sampling += weight**2 * expected * widths
        noise += weight**2 * dp_variance
    return weighted / information, information, sampling / information**2, noise / information**2
