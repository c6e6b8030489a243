"""What noisy sums say about class means, with the noise known exactly.

Everything here is post-processing of releases, the public prior and public constants:
no patient's row, no realised count reaches this file.

Model, for class k, cohort r and direction j of the public within-class covariance, whose variance there
is w_j (docs/guide/prototype.md derives it)::

    mean_kj  = public_kj + shift_j + own_kj     shift_j ~ N(0, a w_j),  own_kj ~ N(0, (b + 1/public patients) w_j)
    sum_rkj  = n_rk mean_kj + N(0, n_rk w_j + 2 σ_r²)

`2 σ²` because a row [x, 1]/√2 has sensitivity 1. `n_rk` is the public expectation of the
cohort's size times the class fractions that the noisy counts suggest. The numbers a and b,
how far the private cohort lies from the public one, are not picked but averaged over, weighted by
how well each explains the releases: a prior that transfers badly is let go. Where labels may be wrong, sums
are those of labels, each a mixture of classes (`evidence`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from skdpal.estimators.evidence import Evidence, Release, class_fractions, combine
from skdpal.estimators.noisy_labels import Misread

__all__ = ["Posterior", "Release", "infer", "likeliest"]

Array = NDArray[np.float64]

_BLOCK = 1024  # rows at a time
# variances of the common shift and of each class's own shift, in units of the within-class variance, with the odds of
# each before a release is seen: laboratories shift all classes, but a class of its own rarely moves far
SHIFTS = (0.0, 0.1, 0.3, 1.0, 3.0)
SPREADS = (0.0, 0.1, 0.3, 1.0, 3.0)
SHIFT_ODDS = (1.0, 1.0, 1.0, 1.0, 1.0)
SPREAD_ODDS = (256.0, 64.0, 16.0, 4.0, 1.0)


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

    Examples
    --------
    >>> import numpy as np
    >>> from skdpal import DPPrototypeClassifier
    >>> from skdpal.estimators import Release
    >>> released = Release(np.array([[9.0, 0.0], [0.0, 9.0]]), np.array([14.0, 14.0]), 2.0, 40.0)
    >>> posterior = DPPrototypeClassifier(classes=["a", "b"]).restore([released]).posterior_
    >>> posterior.predict_proba(np.eye(2)).round(2).tolist()
    [[0.75, 0.25], [0.25, 0.75]]
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

    def log_odds_variance(self, rows: Array, pair: tuple[NDArray, NDArray] | None = None) -> dict[str, Array]:
        """Variance of the log-odds of two classes of each row, by default its likeliest, by cause.

        "overlap" is what a patient's own variation around the class mean contributes; the
        other parts are those of `covariances`, and doubt about the setting counts as "transfer".
        """
        first, second = likeliest(self.predict_proba(rows)) if pair is None else pair
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


def likeliest(probabilities: Array) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The two likeliest classes of each row."""
    order = np.argsort(-probabilities, axis=1)
    return order[:, 0], order[:, min(1, order.shape[1] - 1)]


def infer(
    releases: Sequence[Release],
    prior_means: Array | None,
    within: Array | float | None,
    prior_weight: float | None = None,
    *,
    public_counts: Array | None = None,
    class_prior: Array | None = None,
    transition: Array | None = None,
    fractions: Array | None = None,
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
    transition : ndarray of shape (n_classes, n_labels), optional
        The chance of each label for each true class. None: labels are the classes.
    fractions : ndarray of shape (n_classes,), optional
        Class fractions that more than these releases told. None: from these and `class_prior`.
    """
    n_labels, n_features = releases[0].sums.shape
    n_classes = n_labels if transition is None else len(transition)
    widths, axes = _directions(within, n_features)
    centre = np.zeros((n_classes, n_features)) if prior_means is None else prior_means @ axes
    own = np.zeros(n_classes) if public_counts is None else 1 / np.asarray(public_counts, dtype=np.float64)

    scales = np.full(n_features, 1.0 / n_features) if prior_means is None else widths
    settings = _settings(prior_means is not None, prior_weight, own)
    odds = np.array([odds for _, _, odds in settings])
    beliefs = np.array([scales[:, None, None] * (np.diag(spread) + shift) for shift, spread, _ in settings])
    if transition is None:
        classes = np.eye(n_classes)
        fractions = class_fractions(releases, class_prior, classes) if fractions is None else fractions
        seen = combine(releases, [release.expected_records * fractions for release in releases], widths, axes)
        return Posterior(*_condition(centre, beliefs, odds, classes, seen), widths, axes, fractions)

    labels = Misread.of(releases, class_prior, fractions, transition)
    numbers = [labels.expected(release) for release in releases]
    moments = _second_moments(odds / odds.sum(), np.repeat(centre[None], len(odds), axis=0), beliefs)
    for _ in range(2):  # what the classes of one label differ by: as was believed, then as was found
        seen = combine(releases, numbers, widths + labels.spread(moments), axes)
        seen = replace(seen, shared=labels.unknown(moments))
        weights, means, covariances = _condition(centre, beliefs, odds, labels.classes, seen)
        moments = _second_moments(weights, means, sum(covariances.values()))
    return Posterior(weights, means, covariances, widths, axes, labels.fractions)


def _second_moments(weights: Array, means: Array, covariances: Array) -> Array:
    """Of the class means, direction by direction, over all settings."""
    return np.einsum("s,sdkl->dkl", weights, covariances) + np.einsum("s,skd,sld->dkl", weights, means, means)


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
    centre: Array, beliefs: Array, odds: Array, classes: Array, seen: Evidence
) -> tuple[Array, Array, dict[str, Array]]:
    """Weights of the settings, posterior means, and the parts of their covariances, direction by direction."""
    residual = (seen.estimate - classes @ centre).T[..., None]
    crossed = classes @ beliefs
    shared = 0.0 if seen.shared is None else seen.shared
    marginal = crossed @ classes.T + np.eye(len(classes)) / seen.information.T[:, None, :] + shared
    again = np.broadcast_to(residual, (*marginal.shape[:-1], 1))
    solved = np.linalg.solve(marginal, np.concatenate([crossed, again], axis=-1))
    gain, whitened = np.swapaxes(solved[..., :-1], -1, -2), solved[..., -1:]
    explained = (residual * whitened).sum(axis=(1, 2, 3))
    scores = np.log(odds) - 0.5 * (explained + np.linalg.slogdet(marginal)[1].sum(axis=1))
    keep, turned = np.eye(len(centre)) - gain @ classes, np.swapaxes(gain, -1, -2)
    covariances = {
        "transfer": keep @ beliefs @ np.swapaxes(keep, -1, -2),
        "sampling": (gain * seen.sampling.T[:, None, :]) @ turned
        + (0.0 if seen.shared is None else gain @ shared @ turned),
        "dp_noise": (gain * seen.noise.T[:, None, :]) @ turned,
    }
    means = centre + np.swapaxes((gain @ residual)[..., 0], 1, 2)
    return np.exp(scores - logsumexp(scores)), means, covariances
