"""Hidden acceptance: one patient is accepted or not by a rule that looks at nobody else.

Then selection costs nothing, and a patient who is accepted once and trained on once pays once
(docs/trusted_kernel.md, Theorem C). The rule is made of public things: the protocol's rates, a
released model, scores of public reference rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skdpal.query.utility import UTILITIES

__all__ = ["AcceptanceRule", "accept"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AcceptanceRule:
    """The probability with which a patient is accepted, as a function of the own score.

    Parameters
    ----------
    rate : float
        Public: labels wanted divided by patients that the protocol expects to be left, at most 1.
    kind : {"probability", "threshold"}
        "probability": ``rate`` times 1 - tilt for the lowest score up to 1 + tilt for the highest,
        by rank among the reference. So whatever the patients look like, the expected number
        accepted is within a factor 1 + tilt above, and 1 - tilt below, of the number wanted.
        "threshold": whoever scores in the top ``rate`` of the reference. It selects more sharply, but if
        patients score unlike the reference, many more or fewer are accepted than wanted.
    tilt : float
        From 0 (random) to 1.
    levels : tuple of float
        Sorted scores of the public reference; empty: the score itself is the rank.
    masses : tuple of float
        Weights of the reference rows, thinned as the pool was by earlier rounds; they sum to 1.
    """

    rate: float
    kind: str = "probability"
    tilt: float = 0.5
    levels: tuple[float, ...] = ()
    masses: tuple[float, ...] = ()

    @classmethod
    def from_reference(cls, rate: float, kind: str, tilt: float, scores: Array, weights: Array) -> Self:
        """Sort reference scores and weights into a rule."""
        order = np.argsort(scores, kind="stable")
        total = max(float(weights.sum()), 1e-300)
        return cls(rate, kind, tilt, tuple(scores[order].tolist()), tuple((weights[order] / total).tolist()))

    def probability(self, scores: Array) -> Array:
        """Chance of acceptance for each score, each by itself."""
        scores = np.asarray(scores, dtype=np.float64)
        if self.rate >= 1:  # everybody who is left is wanted
            return np.ones(len(scores))
        if self.kind == "threshold":
            return (scores >= self._threshold()).astype(np.float64)
        return np.minimum(1.0, self.rate * (1 + self.tilt * (2 * self._rank(scores) - 1)))

    def _rank(self, scores: Array) -> Array:
        """Fraction of the reference below a score; ties count half."""
        if not self.levels:
            return np.clip(scores, 0.0, 1.0)
        below = np.concatenate([[0.0], np.cumsum(self.masses)])
        left, right = (np.searchsorted(self.levels, scores, side=side) for side in ("left", "right"))
        return np.clip((below[left] + below[right]) / 2, 0.0, 1.0)

    def _threshold(self) -> float:
        """The lowest score of the top `rate` of the reference."""
        if self.rate >= 1:
            return -np.inf
        from_top = np.cumsum(self.masses[::-1])
        return self.levels[::-1][min(int(np.searchsorted(from_top, self.rate)), len(self.levels) - 1)]


def accept(row: Any, model: Any, utility: str, rule: AcceptanceRule, coin: float) -> bool:
    """Whether one patient is accepted.

    Parameters
    ----------
    row : array-like or DataFrame of one row
        This patient; nobody else is passed in, so nobody else can matter.
    model : object with predict_proba
        Released parameters only.
    utility : str
        A key of `UTILITIES`.
    rule : AcceptanceRule
        Public.
    coin : float
        This patient's secret uniform number in [0, 1) for this round.
    """
    score = UTILITIES[utility](np.asarray(model.predict_proba(row), dtype=np.float64))
    return bool(coin < rule.probability(score)[0])
