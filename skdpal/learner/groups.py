"""Who starts, who waits in the pool, who evaluates: by ids and public randomness, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Groups", "assign_groups"]


@dataclass(frozen=True)
class Groups:
    """Disjoint groups of patients, each an array of ids."""

    start: tuple[str, ...]
    pool: tuple[str, ...]
    evaluation: tuple[str, ...]


def assign_groups(ids: Sequence[str], n_start: int, n_pool: int, n_evaluation: int, *, seed: int = 0) -> Groups:
    """Shuffle sorted ids by a public seed and cut them into groups.

    Labels and measurements are not read: a stratified split would let one patient move others.

    Parameters
    ----------
    ids : sequence of str
        Distinct patients, in any order.
    n_start, n_pool, n_evaluation : int
        Public sizes.
    seed : int, default=0
        Public; fixed by the protocol before the data are seen. Drawing again until
        a split looks good would be an uncharged release.

    Examples
    --------
    >>> groups = assign_groups(["p1", "p2", "p3", "p4"], 1, 2, 1)
    >>> len(groups.start), len(groups.pool), len(groups.evaluation)
    (1, 2, 1)
    """
    wanted = n_start + n_pool + n_evaluation
    if len(set(ids)) != len(ids):
        raise ValueError("Expected one row a patient. Merge rows with the same id first.")
    if wanted > len(ids):
        raise ValueError(
            f"Expected at least {wanted} patients for the groups of {n_start}, {n_pool} and {n_evaluation}. "
            f"Found {len(ids)}. Make the groups smaller."
        )
    shuffled = np.random.default_rng(seed).permutation(np.array(sorted(ids), dtype=object))
    cuts = np.cumsum([n_start, n_pool, n_evaluation])
    return Groups(*(tuple(part) for part in np.split(shuffled, cuts)[:3]))
