"""Noise on the scores of one round, or on the choice of the best.

Invariants
----------
* A score is cut to [0, 1] here, after everything else; a missing one counts ½, as a null patient does.
  So one patient moves one score, by at most ½.
* A score looks at its own patient only. Scores that are ranked, scaled or smoothed over the pool move
  together and must not come here (the caller's promise; docs/sharp_edges.md). The same holds for a cell.
* In a table of cells an entry is a score minus ½, in the own cell: a patient without score or cell has a row of
  zeros, as a null patient does, so that one patient moves one entry, by at most ½. (Not centred, it would be 1.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy import events
from skdpal.privacy.randomness import perturb, sampler
from skdpal.privacy.validation import check_count

__all__ = ["CellScores", "GumbelTopK", "LaplaceScores", "NoisyScores"]

_SENSITIVITY = 0.5


@dataclass(frozen=True)
class NoisyScores:
    """Gaussian noise on every score; any number of the best may be published.

    Parameters
    ----------
    noise_multiplier : float
        Standard deviation of the noise in units of the sensitivity, ½.
    """

    noise_multiplier: float
    one_row_each: ClassVar[bool] = True

    def __post_init__(self) -> None:
        events.noisy_scores(self.noise_multiplier)

    @property
    def event(self) -> events.NoisyScores:
        """The price: μ = 1 / noise_multiplier, whatever the number of scores."""
        return events.noisy_scores(self.noise_multiplier)

    def run(self, values: Any, ids: Sequence[str]) -> NDArray[np.float64]:
        """The noisy scores. Only `release` calls this, after the charge."""
        return perturb(_bounded(values, ids), self.noise_multiplier * _SENSITIVITY)


@dataclass(frozen=True)
class CellScores:
    """Gaussian noise on a table of scores, one row a patient, one column a cell of a public partition.

    It takes two columns: a score, and the number of a cell. Cells need not be public, though the partition is: which
    cell a patient is in is hidden by the same noise. Any choice from the table may be published.

    Parameters
    ----------
    noise_multiplier : float
        Standard deviation of the noise in units of the sensitivity, ½.
    n_cells : int
        Public number of cells; they are numbered from 0.
    """

    noise_multiplier: float
    n_cells: int
    one_row_each: ClassVar[bool] = True

    def __post_init__(self) -> None:
        events.noisy_scores(self.noise_multiplier)
        object.__setattr__(self, "n_cells", check_count("n_cells", self.n_cells, least=1))

    @property
    def event(self) -> events.NoisyScores:
        """The price: μ = 1 / noise_multiplier, whatever the number of scores and cells."""
        return events.noisy_scores(self.noise_multiplier)

    def run(self, values: Any, ids: Sequence[str]) -> NDArray[np.float64]:
        """The noisy table, 0 for a score of ½ or another cell. Only `release` calls this, after the charge."""
        scores, cells = _pairs(values, ids)
        table = np.where(cells[:, None] == np.arange(self.n_cells), scores[:, None] - _SENSITIVITY, 0.0)
        return perturb(table, self.noise_multiplier * _SENSITIVITY)


@dataclass(frozen=True)
class LaplaceScores:
    """Laplace noise on every score.

    Parameters
    ----------
    noise_multiplier : float
        Scale of the noise in units of the sensitivity, ½.
    """

    noise_multiplier: float
    one_row_each: ClassVar[bool] = True

    def __post_init__(self) -> None:
        events.laplace(self.noise_multiplier)

    @property
    def event(self) -> events.Laplace:
        """The price: pure ε = 1 / noise_multiplier."""
        return events.laplace(self.noise_multiplier)

    def run(self, values: Any, ids: Sequence[str]) -> NDArray[np.float64]:
        """The noisy scores. Only `release` calls this, after the charge."""
        return perturb(_bounded(values, ids), self.noise_multiplier * _SENSITIVITY, law="laplace")


@dataclass(frozen=True)
class GumbelTopK:
    """The positions of the `k` best under Gumbel noise, best first.

    Parameters
    ----------
    noise_multiplier : float
        Scale of the noise in units of the sensitivity, ½.
    k : int, default=1
        How many.
    """

    noise_multiplier: float
    k: int = 1
    one_row_each: ClassVar[bool] = True

    def __post_init__(self) -> None:
        events.gumbel_top_k(self.noise_multiplier, self.k)

    @property
    def event(self) -> events.BoundedRange:
        """The price: k peels, each bounded-range with η = 1 / noise_multiplier."""
        return events.gumbel_top_k(self.noise_multiplier, self.k)

    def run(self, values: Any, ids: Sequence[str]) -> NDArray[np.int64]:
        """The positions. Only `release` calls this, after the charge."""
        scores = _bounded(values, ids)
        return sampler().top_k(scores, self.noise_multiplier * _SENSITIVITY, min(self.k, len(scores)))


def _bounded(values: Any, ids: Sequence[str]) -> NDArray[np.float64]:
    try:
        scores = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        scores = np.empty(0)
    if scores.shape != (len(ids),):
        raise ValueError("Expected one score for each of record_ids.")
    return np.clip(np.where(np.isnan(scores), _SENSITIVITY, scores), 0.0, 1.0)


def _pairs(values: Any, ids: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores, and cells as they came: what is not the number of a cell is in none."""
    try:
        pairs = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        pairs = np.empty(0)
    if pairs.shape != (len(ids), 2):
        raise ValueError("Expected one score and one cell for each of record_ids.")
    return _bounded(pairs[:, 0], ids), pairs[:, 1]
