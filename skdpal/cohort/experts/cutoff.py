"""From which benefit on another reader is asked: from public numbers and released models alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skdpal.cohort.experts.benefit import SecondRead
from skdpal.cohort.experts.panel import Patterns

__all__ = ["Cutoff", "Levels"]

Array = NDArray[np.float64]
_SAME = 1e-9  # scores that differ by less are one level


@dataclass(frozen=True)
class Cutoff:
    """Who scores above a public cut is asked; on it, a public share of them; an `AcceptanceRule` of its own kind.

    Parameters
    ----------
    cut : float
    share : float
        Chance of being asked with a score on the cut; 0 to 1.
    """

    cut: float
    share: float
    largest: float = 1.0

    @classmethod
    def of(cls, rate: float, levels: Array, masses: Array) -> Cutoff:
        """The cut above which, and with the share at which, a public law of scores has a given mass."""
        order = np.argsort(-levels, kind="stable")
        levels, masses = levels[order], masses[order] / masses.sum()
        starts = np.flatnonzero(np.append(True, levels[:-1] - levels[1:] > _SAME))
        grouped, above = np.add.reduceat(masses, starts), 0.0
        for start, mass in zip(starts, grouped, strict=True):
            if above + mass >= rate - 1e-12 or start == starts[-1]:
                return cls(float(levels[start]), float(min(max((rate - above) / mass, 0.0), 1.0)) if mass > 0 else 0.0)
            above += float(mass)
        raise AssertionError("no level")

    def probability(self, scores: Array) -> Array:
        """Chance of being asked for each score, each by itself."""
        scores = np.asarray(scores, dtype=np.float64)
        on = np.abs(scores - self.cut) <= _SAME
        return np.where(scores <= _SAME, 0.0, np.where(on, self.share, scores > self.cut))


@dataclass(frozen=True, eq=False)
class Levels:
    """Benefits over all patterns of votes and public rows, with how often each is expected.

    Attributes
    ----------
    benefits : ndarray of shape (n_rows, n_patterns)
    masses : ndarray of shape (n_rows, n_patterns, n_classes)
        They sum to 1.
    """

    benefits: Array
    masses: Array

    @classmethod
    def of(cls, utility: SecondRead, patterns: Patterns, believed: Array) -> Levels:
        """`believed`: class probabilities of each public row, or the class prior as the only one."""
        one_by_one = [utility.of_codes(patterns.codes, np.tile(row, (len(patterns.codes), 1))) for row in believed]
        return cls(np.stack(one_by_one), believed[:, None, :] * patterns.chances[None] / len(believed))

    def cutoff(self, rate: float) -> Cutoff:
        """The cut above which a share `rate` is expected."""
        return Cutoff.of(rate, self.benefits.ravel(), self.masses.sum(axis=2).ravel())

    def asked(self, rule: Cutoff) -> Array:
        """Chance of being asked for each pattern and class, of shape (n_patterns, n_classes)."""
        chances = rule.probability(self.benefits.ravel()).reshape(self.benefits.shape)
        total, asked = self.masses.sum(axis=0), (chances[..., None] * self.masses).sum(axis=0)
        return np.divide(asked, total, out=np.zeros_like(asked), where=total > 0)
