"""Hidden acceptance: one patient is accepted or not by a rule that looks at nobody else.

Then selection costs nothing, and a patient who is accepted once and trained on once pays once
(docs/trusted_kernel.md, Theorem C). The rule is made of public things: the protocol's rates, a
released model, scores of public reference rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skdpal.query.utilities import Utility, score
from skdpal.query.utilities.base import take

__all__ = ["AcceptanceRule", "accept", "accept_all", "largest_probability", "rate_of"]

Array = NDArray[np.float64]
_BLOCK = 16384  # rows at a time: bounds the memory
_ROUNDING = 1e-3  # float32 models, in other batches, differ by less


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

    Examples
    --------
    >>> import numpy as np
    >>> from skdpal.query import AcceptanceRule
    >>> AcceptanceRule(rate=0.2, tilt=0.5).probability(np.array([0.0, 0.5, 1.0])).round(2).tolist()
    [0.1, 0.2, 0.3]
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
        """Chance of acceptance for each score, each by itself; it never falls when the score grows."""
        scores = np.asarray(scores, dtype=np.float64)
        if self.rate >= 1:  # everybody who is left is wanted
            return np.ones(len(scores))
        if self.kind == "threshold":
            return (scores >= self._threshold()).astype(np.float64)
        return np.minimum(1.0, self.rate * (1 + self.tilt * (2 * self._rank(scores) - 1)))

    @property
    def largest(self) -> float:
        """No score has a higher chance."""
        return 1.0 if self.kind == "threshold" else largest_probability(self.rate, self.tilt)

    def _rank(self, scores: Array) -> Array:
        """Fraction of the reference below a score; ties count half."""
        if not self.levels:
            return np.clip(scores, 0.0, 1.0)
        below = np.concatenate([[0.0], np.cumsum(self.masses)])
        left, right = (np.searchsorted(self.levels, scores, side=side) for side in ("left", "right"))
        return np.clip((below[left] + below[right]) / 2, 0.0, 1.0)

    def _threshold(self) -> float:
        """The lowest score of the top `rate` of the reference."""
        from_top = np.cumsum(self.masses[::-1])
        return self.levels[::-1][min(int(np.searchsorted(from_top, self.rate)), len(self.levels) - 1)]


def rate_of(n_wanted: float, n_left: float) -> float:
    """Labels wanted by patients that the protocol expects to be left, at most 1."""
    return 1.0 if n_left <= n_wanted else n_wanted / n_left


def largest_probability(rate: float, tilt: float) -> float:
    """The highest chance that acceptance by probability gives anybody: what an amplified round is charged for."""
    return min(1.0, rate * (1 + tilt))


def accept(rows: Any, model: Any, utility: str | Utility, rule: AcceptanceRule, coin: float) -> bool:
    """Whether one patient is accepted.

    Parameters
    ----------
    rows : array-like or DataFrame
        The rows of this patient, nearly always one; nobody else is passed in, so nobody else can matter. The mean of
        their scores counts.
    model : object with predict_proba
        Released or public parameters only.
    utility : str or Utility
        See `skdpal.query.utilities`.
    rule : AcceptanceRule
        Public.
    coin : float
        This patient's secret uniform number in [0, 1) for this round.

    Returns
    -------
    bool
        Private: it goes to the pathologist, never outside.

    Examples
    --------
    >>> from skdpal.query import AcceptanceRule, accept
    >>> rule = AcceptanceRule(rate=0.2, tilt=0.5)
    >>> accept([[0.0]], None, "random", rule, coin=0.05), accept([[0.0]], None, "random", rule, coin=0.95)
    (True, False)
    """
    scores = [score(utility, model, take(rows, [position]))[0] for position in range(len(rows))]
    return bool(coin < rule.probability(np.array([np.mean(scores)]))[0])


def accept_all(
    X: Any, ids: Sequence[str], model: Any, utility: str | Utility, rule: AcceptanceRule, coins: Array
) -> NDArray[np.bool_]:
    """`accept` for every patient of a pool, at the speed of matrix products.

    The answer is that of `accept`, patient by patient. Whose coin no score could win is not scored at all. Rows of a block
    can differ in the last digits from the same row alone, as the order of sums differs; so whoever would be decided
    otherwise by a score a little higher or lower, at most a few in a thousand, is scored again, alone.

    Parameters
    ----------
    X : array-like or DataFrame of shape (n_rows, n_features)
        The pool.
    ids : sequence of str of length n_rows
        The patient of each row.
    model, utility, rule : object, str and AcceptanceRule
        As in `accept`.
    coins : ndarray of shape (n_rows,)
        The coin of each row's patient.

    Returns
    -------
    ndarray of bool of shape (n_rows,)
        Rows of one patient have one answer.

    Examples
    --------
    >>> import numpy as np
    >>> from skdpal.query import AcceptanceRule, accept_all
    >>> accept_all(np.zeros((2, 1)), ["p1", "p2"], None, "random", AcceptanceRule(rate=0.2), np.array([0.05, 0.95]))
    array([ True, False])
    """
    accepted = np.zeros(len(ids), dtype=np.bool_)
    possible = np.flatnonzero(coins < rule.largest)  # all rows of a patient share the coin
    if len(possible):
        rows = X if len(possible) == len(ids) else take(X, possible)
        accepted[possible] = _accept(rows, [ids[at] for at in possible], model, utility, rule, coins[possible])
    return accepted


def _accept(
    X: Any, ids: Sequence[str], model: Any, utility: str | Utility, rule: AcceptanceRule, coins: Array
) -> NDArray[np.bool_]:
    blocks = [slice(first, first + _BLOCK) for first in range(0, len(ids), _BLOCK)]  # views, not copies
    scores = np.concatenate([score(utility, model, take(X, block)) for block in blocks])
    several = len(set(ids)) < len(ids)
    owner = np.unique(np.asarray(ids, dtype=object).astype(str), return_inverse=True)[1] if several else None
    if owner is not None:
        scores = (np.bincount(owner, scores) / np.bincount(owner))[owner]
    accepted = coins < rule.probability(scores - _ROUNDING)
    for position in np.flatnonzero(accepted != (coins < rule.probability(scores + _ROUNDING))):
        own = [position] if owner is None else np.flatnonzero(owner == owner[position])
        accepted[position] = accept(take(X, own), model, utility, rule, coins[position])
    return accepted
