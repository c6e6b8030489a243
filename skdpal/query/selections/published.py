"""Published selection: whoever sees whom the study asks sees noisy scores, paid by everybody who was scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy.events import Event
from skdpal.privacy.mechanisms import CellScores, GumbelTopK, LaplaceScores, Mechanism, NoisyScores
from skdpal.privacy.validation import check_count, check_one_of
from skdpal.query.selections.partition import PublicPartition

__all__ = ["NOISES", "PublishedSelection"]

Array = NDArray[np.float64]
NOISES = ("gaussian", "laplace", "gumbel")


@dataclass(frozen=True)
class PublishedSelection:
    """The best of noisy scores. It knows no ledger: it names the mechanism, the price, and reads what was released.

    Parameters
    ----------
    noise : {"gaussian", "laplace", "gumbel"}
        "gaussian": noise on every score; any number of the best, μ = 1 / noise_multiplier. Every ledger takes it.
        "laplace": the same with ε = 1 / noise_multiplier. A gdp ledger takes it at the μ that is proven for any
        mechanism of that ε, which is more than it needs; better under "renyi" or "planned".
        "gumbel": the best k at once and nothing else; k winners cost about √k of one, and from k = 3 on more than
        "gaussian". A gdp ledger has no μ for it and refuses; use "renyi" or "planned".
    noise_multiplier : float
        Scale of the noise in units of the sensitivity, ½.
    partition : PublicPartition, optional
        Spread the choice over its cells: the best of each cell in turn. With prototypes the table of
        `CellScores` is released, with strata the scores alone; both cost what scores without a partition cost.

    Notes
    -----
    Charged by whoever releases: `event`, once a round, to everybody in the pool that is scored; under zero-out, a
    null patient scoring ½. Scores are cut to [0, 1] by the mechanism, and missing ones count ½, whatever was done to them
    before; each may depend on its own patient and on what was released before (docs/sharp_edges.md). Scores scaled,
    ranked or smoothed over the pool are not covered. Who is in the pool is public, and is not protected.

    One patient moves one score by ½ at most: μ = ½ / (½ noise_multiplier) for Gaussian noise (Dong, Roth and Su 2022).
    Gumbel noise is k peels of the exponential mechanism (Durfee and Rogers 2019).

    Examples
    --------
    >>> import numpy as np
    >>> from skdpal import PrivacyBudget, PrivacyLedger
    >>> from skdpal.privacy.mechanisms import release
    >>> from skdpal.query.selections.published import PublishedSelection
    >>> selection, ledger = PublishedSelection("gaussian", 4.0), PrivacyLedger(PrivacyBudget(2.0))
    >>> ids, scores = ["a", "b", "c"], np.array([0.1, 0.9, 0.5])
    >>> released = release(lambda: selection.values(scores), selection.mechanism(2), ledger, "round 1", record_ids=ids)
    >>> len(selection.choose(released, k=2))
    2
    """

    noise: str
    noise_multiplier: float
    partition: PublicPartition | None = None

    def __post_init__(self) -> None:
        check_one_of("noise", self.noise, NOISES)
        if self.partition is not None and self.noise == "gumbel":
            raise ValueError(
                'Expected partition=None with noise="gumbel", which releases winners and no scores. Found a partition. '
                'Use noise="gaussian".'
            )
        if self.of_rows and self.noise != "gaussian":
            raise ValueError(
                f'Expected noise="gaussian" with a partition of prototypes. Found {self.noise!r}. Change the noise, or '
                "use strata."
            )
        self.mechanism(1)  # checks the noise

    @property
    def of_rows(self) -> bool:
        """Whether there are cells, and they follow the patients' rows."""
        return self.partition is not None and self.partition.prototypes is not None

    def mechanism(self, k: int) -> Mechanism:
        """What releases, for `k` to choose."""
        k = check_count("k", k, least=1)
        if self.of_rows:
            return CellScores(self.noise_multiplier, self.partition.n_cells)
        if self.noise == "gumbel":
            return GumbelTopK(self.noise_multiplier, k)
        return {"gaussian": NoisyScores, "laplace": LaplaceScores}[self.noise](self.noise_multiplier)

    def event(self, k: int) -> Event:
        """The price of one round, for everybody who is scored."""
        return self.mechanism(k).event

    def values(self, scores: Any, X: Any = None) -> Array:
        """What the mechanism reads, after the charge: scores, with their cells if those follow the rows of X."""
        if not self.of_rows:
            return np.asarray(scores, dtype=np.float64)
        return np.column_stack([np.asarray(scores, dtype=np.float64), self.partition.cells(X)])

    def choose(self, released: Any, k: int, *, record_ids: Sequence[Any] | None = None) -> NDArray[np.intp]:
        """The positions of the chosen, best first: of what was released, so free, and always the same.

        Parameters
        ----------
        released : ndarray
            What the mechanism made.
        k : int
            How many; fewer only if the pool is smaller.
        record_ids : sequence of length n_rows, optional
            The patients; needed for strata.

        Returns
        -------
        ndarray of int of shape (min(k, n_rows),)

        Raises
        ------
        ValueError
            If values are of another shape, or a partition of strata gets no patients.
        """
        k, released = check_count("k", k, least=1), np.asarray(released)
        if released.shape[1:] != ((self.partition.n_cells,) if self.of_rows else ()):
            raise ValueError(
                "Expected what this selection's own mechanism released. Found another shape. Ask as the round was asked "
                "before: with the same partition."
            )
        if self.noise == "gumbel":
            return released[:k].astype(np.intp)
        if self.partition is None:
            return np.argsort(-released, kind="stable")[:k]
        if not self.of_rows:
            if record_ids is None:
                raise ValueError("Expected record_ids for a partition of strata. Pass the patients.")
            own = self.partition.cells_of(record_ids)[:, None] == np.arange(self.partition.n_cells)
            released = np.where(own, released[:, None], -np.inf)
        return _best_in_turn(released, k)


def _best_in_turn(table: Array, k: int) -> NDArray[np.intp]:
    """The best of each column that is not taken yet, round after round; the column with the largest entry begins."""
    taken: dict[int, None] = {}
    wanted = min(k, len(table))
    columns = np.argsort(-table.max(axis=0, initial=-np.inf), kind="stable")
    order = np.argsort(-table, axis=0, kind="stable")
    queues = [iter(order[table[order[:, column], column] > -np.inf, column].tolist()) for column in columns]
    while len(taken) < wanted:
        for queue in queues:
            best = next((position for position in queue if position not in taken), None)
            if best is not None and len(taken) < wanted:
                taken[best] = None
    return np.array(list(taken), dtype=np.intp)
