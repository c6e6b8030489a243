"""Labels that are wrong at a known rate, in sums over the labels that were given.

With class fractions π and chances T (`Transition`), a share q_l = Σ_c π_c T_cl of the patients gets label l, and P_lc =
π_c T_cl / q_l of these are of class c. Along an axis where the patients of a class vary by w, the mean of those with label l has

    expectation   Σ_c P_lc mean_c
    covariance    (w + Σ_c P_lc mean_c² − (Σ_c P_lc mean_c)²) / n_l      who happened to be read as l
                  + Σ_cd V_cd T_cl (mean_c − Σ P_l mean)/q_l ...         V: what is not known of π

The means of the classes, in the covariance, are first those that were believed, then those that were found. T enters the
likelihood and is never inverted; if it is the identity, all of this vanishes and a label is a class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from skdpal.estimators.evidence import LEAST_FRACTION, Release, fractions_of, label_errors

__all__ = ["Misread"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Misread:
    """Who is behind each label.

    Attributes
    ----------
    rates : ndarray of shape (n_classes, n_labels)
        T.
    shares : ndarray of shape (n_labels,)
        q.
    classes : ndarray of shape (n_labels, n_classes)
        P; rows sum to 1. A label that nobody gets tells nothing, whatever its row.
    fractions : ndarray of shape (n_classes,)
        π.
    doubt : ndarray of shape (n_classes, n_classes)
        V, the covariance of π.
    """

    rates: Array
    shares: Array
    classes: Array
    fractions: Array
    doubt: Array

    @classmethod
    def of(cls, releases: Sequence[Release], believed: Array | None, fractions: Array | None, rates: Array) -> Self:
        """From noisy counts and what was believed; or from fractions that more than these counts told."""
        found, doubt = fractions_of(releases, believed, rates)
        fractions = found if fractions is None else fractions
        shares = fractions @ rates
        given, everybody = (fractions[:, None] * rates).T, np.tile(fractions, (rates.shape[1], 1))
        classes = np.divide(given, shares[:, None], out=everybody, where=shares[:, None] > 0)
        return cls(rates, shares, classes, fractions, doubt)

    def expected(self, release: Release) -> Array:
        """Patients of each label in one cohort, shape (n_labels,): the expectation, given the noisy counts."""
        mean = release.expected_records * self.shares
        errors = release.expected_records * label_errors(self.fractions, self.rates)
        noisy = errors + 2 * release.noise_multiplier**2 * np.eye(len(mean))
        moved = errors @ np.linalg.solve(noisy, np.sqrt(2) * release.counts - mean)
        return np.maximum(mean + moved, LEAST_FRACTION * mean)

    def spread(self, means: Array) -> Array:
        """Variance of the class means among the patients of a label, shape (n_labels, n_features).

        Parameters
        ----------
        means : ndarray of shape (n_features, n_classes, n_classes)
            Second moments of the class means, direction by direction.
        """
        own = (
            self.classes[:, :, None] * np.eye(self.classes.shape[1])
            - self.classes[:, :, None] * self.classes[:, None, :]
        )
        return np.maximum(np.einsum("lab,dab->ld", own, means), 0.0)

    def unknown(self, means: Array) -> Array:
        """Covariance of the means by label through what is not known of the fractions, (n_features, n_labels, n_labels).

        Parameters
        ----------
        means : ndarray of shape (n_features, n_classes, n_classes)
            As for `spread`.
        """
        n_labels, n_classes = self.classes.shape
        weight = np.divide(
            self.rates.T, self.shares[:, None], out=np.zeros((n_labels, n_classes)), where=self.shares[:, None] > 0
        )
        slopes = weight[:, :, None] * (np.eye(n_classes) - self.classes[:, None, :])  # of P in π
        pairs = np.einsum("lka,kj,mjb->lmab", slopes, self.doubt, slopes, optimize=True)
        return np.einsum("lmab,dab->dlm", pairs, means, optimize=True)
