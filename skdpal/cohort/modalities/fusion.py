"""Late fusion: what each modality's releases say, put together for one patient.

Everything here is post-processing of releases, public priors and public constants. Class fractions π, which all noisy
counts tell together, count once; each modality that a patient has adds what it says beyond them::

    log p(y | x) = log π_y + w Σ_m [log p(y | x_m) − log π_y] + const        w = 1 / (1 + (M − 1) ρ)

with the M modalities that the patient has. If modalities were independent within a class, w would be 1. They repeat
each other (one tumour makes its RNA and its proteins), and for M scores of equal variance and correlation ρ within a
class the best linear weight is the w above. ρ is a public constant.

Many patients may lack a modality. How many is not read off the cohort: modality m is expected in a share a_m of the
patients, a public guess that the sum of its noisy counts corrects. With K classes, each count having noise of variance
2 σ²::

    a_m ~ N(guess, spread²)     √2 Σ_k count_rkm ~ N(N_r a_m, 2 K σ_rm²)     0 <= a_m <= 1

and a_m is the mean of what follows from both, a normal law cut to [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from scipy.stats import truncnorm

from skdpal.cohort.modalities.layout import Layout
from skdpal.cohort.modalities.prior import ModalityPrior
from skdpal.estimators.evidence import class_fractions
from skdpal.estimators.posterior import Posterior, Release, infer, likeliest

__all__ = ["Fusion", "ModalityRelease", "availability_of", "fuse", "nothing"]

Array = NDArray[np.float64]

SPREAD = 0.25  # of the share of patients who have a modality, around the public guess
_LEAST = 1e-300
_CAUSES = ("dp_noise", "sampling", "transfer", "overlap")


@dataclass(frozen=True, eq=False)
class ModalityRelease:
    """The noisy release of one cohort.

    Attributes
    ----------
    parts : dict of str to Release
        Class sums and counts of each modality that was released; `expected_records` is that of the whole cohort.
    """

    parts: dict[str, Release]


@dataclass(frozen=True, eq=False)
class Fusion:
    """What is believed about the classes.

    Attributes
    ----------
    posteriors : dict of str to Posterior
        Of each modality.
    fractions : ndarray of shape (n_classes,)
        Estimated class fractions, of all modalities together.
    availability : dict of str to float
        Estimated share of the patients who have each modality.
    correlation : float
        ρ, from 0 to 1.
    """

    posteriors: dict[str, Posterior]
    fractions: Array
    availability: dict[str, float]
    correlation: float = 0.0

    def only(self, names: Sequence[str]) -> Fusion:
        """The same belief, as far as it concerns some modalities."""
        return replace(self, posteriors={name: self.posteriors[name] for name in names})

    def predict_proba(self, blocks: Mapping[str, Array]) -> Array:
        """Class probabilities of patients, from unit rows of each modality; zeros are left out."""
        n_rows = len(next(iter(blocks.values())))
        log_fractions = np.log(self.fractions)
        told = np.zeros((n_rows, len(log_fractions)))
        for name, posterior in self.posteriors.items():
            there = blocks[name].any(axis=1)
            if there.any():
                found = posterior.predict_proba(blocks[name][there])
                told[there] += np.log(np.maximum(found, _LEAST)) - log_fractions
        return np.exp(log_softmax(log_fractions + self._weights(blocks)[:, None] * told, axis=1))

    def log_odds_variance(self, blocks: Mapping[str, Array]) -> dict[str, Array]:
        """Variance of the log-odds of each row's two likeliest classes, by cause, summed over its modalities."""
        first, second = likeliest(self.predict_proba(blocks))
        total = {cause: np.zeros(len(first)) for cause in _CAUSES}
        for name, posterior in self.posteriors.items():
            there = np.flatnonzero(blocks[name].any(axis=1))
            parts = posterior.log_odds_variance(blocks[name][there], (first[there], second[there]))
            for cause in _CAUSES:
                total[cause][there] += parts[cause]
        squares = self._weights(blocks) ** 2
        return {cause: squares * part for cause, part in total.items()}

    def _weights(self, blocks: Mapping[str, Array]) -> Array:
        """The weight w of each patient."""
        owned = sum(blocks[name].any(axis=1).astype(np.float64) for name in self.posteriors)
        return 1 / (1 + np.maximum(owned - 1, 0) * self.correlation)


def fuse(
    releases: Sequence[ModalityRelease],
    layout: Layout,
    prior: ModalityPrior | None,
    n_classes: int,
    *,
    prior_weight: float | None = None,
    class_prior: Array | None = None,
    availability: Mapping[str, float],
    correlation: float,
) -> Fusion:
    """Combine the releases of all cohorts with public priors.

    Parameters
    ----------
    releases : sequence of ModalityRelease
    layout : Layout
    prior : ModalityPrior or None
        A modality that it does not have begins with a vague belief.
    n_classes : int
    prior_weight, class_prior
        As in `skdpal.estimators.posterior.infer`.
    availability : mapping of str to float
        Public guess of the share of patients who have each modality.
    correlation : float
        As in `Fusion`.
    """
    seen = {name: [one.parts[name] for one in releases if name in one.parts] for name in layout.widths}
    shares = {name: availability_of(parts, availability[name]) for name, parts in seen.items()}
    seen = {
        name: [replace(part, expected_records=shares[name] * part.expected_records) for part in parts]
        or [nothing(n_classes, layout.widths[name])]
        for name, parts in seen.items()
    }
    if class_prior is None and prior is not None:
        class_prior = prior.fractions
    everything = [part for parts in seen.values() for part in parts]
    fractions = class_fractions(everything, class_prior, np.eye(n_classes))
    posteriors = {}
    for name, parts in seen.items():
        public = None if prior is None else prior.get(name)
        posteriors[name] = infer(
            parts,
            None if public is None else public.means,
            None if public is None else public.within,
            prior_weight,
            public_counts=None if public is None or prior_weight is not None else public.counts,
            fractions=fractions,
        )
    return Fusion(posteriors, fractions, shares, correlation)


def availability_of(releases: Sequence[Release], guess: float) -> float:
    """Share of the patients who have a modality: the public guess, corrected by noisy counts.

    Parameters
    ----------
    releases : sequence of Release
        Of one modality, with `expected_records` of the whole cohorts.
    guess : float
        Public, from 0 to 1.
    """
    precision, evidence = SPREAD**-2, guess * SPREAD**-2
    for release in releases:
        variance = 2 * len(release.counts) * release.noise_multiplier**2
        evidence += release.expected_records * np.sqrt(2) * release.counts.sum() / variance
        precision += release.expected_records**2 / variance
    mean, deviation = float(evidence / precision), float(precision**-0.5)
    nearest = float(np.clip(mean, 0.0, 1.0))
    if abs(mean - nearest) > 8 * deviation:  # far beyond a limit, the law sits at it
        return nearest
    low, high = (0.0 - mean) / deviation, (1.0 - mean) / deviation
    return float(np.clip(truncnorm.mean(low, high, loc=mean, scale=deviation), 0.0, 1.0))


def nothing(n_classes: int, width: int) -> Release:
    """A release about nobody."""
    return Release(np.zeros((n_classes, width)), np.zeros(n_classes), 1.0, 0.0)
