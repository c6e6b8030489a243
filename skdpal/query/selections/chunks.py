"""Public chunks: each round has a pool of its own, so that nobody is scored twice.

Invariants
----------
* Who is in which chunk follows from the protocol's list of ids and a public seed: no label, no measurement, and never
  who is left or who was asked. So chunks are public, and a null patient keeps the own place.
* No chunk is larger than the capacity; sizes differ by one at most.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy.validation import check_count

__all__ = ["Chunks", "PublicChunks"]

_DIGEST = "row-sha256:"  # of `identify`


@dataclass(frozen=True)
class PublicChunks:
    """How to cut the pool of a protocol into chunks, one a round.

    Parameters
    ----------
    n_chunks : int, optional
        How many. Give this or `capacity`.
    capacity : int, optional
        The most patients that the pathologist can label in a round: no chunk is larger, so that no number of accepted
        patients is too large, and no cap, which would let one patient displace another, is needed.
    seed : int, default=0
        Public; fixed by the protocol before the data are seen.

    Notes
    -----
    Each id has a public hash of (seed, id), whoever else takes part. The protocol's ids, sorted by it, are cut into
    parts of equal size: the rank in the list, and not the hash alone, decides, because hashes alone would make chunks of
    random sizes, which no capacity bounds. So a chunk depends on who is *in the list*, which zero-out leaves
    as it is and does not protect; with chunks, the guarantee of hidden rounds does not extend to membership in the list.

    Published rounds: everybody is scored once, so selection is paid once instead of √rounds times.

    Examples
    --------
    >>> from skdpal.query.selections.chunks import PublicChunks
    >>> chunks = PublicChunks(capacity=4).cut([f"p{number}" for number in range(10)], labels_per_round=2)
    >>> chunks.n_chunks, [len(chunks.members(number)) for number in range(3)]
    (3, [4, 3, 3])
    """

    n_chunks: int | None = None
    capacity: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.n_chunks is None) is (self.capacity is None):
            raise ValueError(
                f"Expected one of n_chunks and capacity. Found n_chunks={self.n_chunks!r}, capacity={self.capacity!r}."
            )
        for name in ("n_chunks", "capacity"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), least=1)
        check_count("seed", self.seed)

    def number_of(self, n_pool: int) -> int:
        """How many chunks a pool of a public size makes."""
        n_pool = check_count("n_pool", n_pool, least=1)
        return -(-n_pool // self.capacity) if self.n_chunks is None else self.n_chunks

    def check(self, n_pool: int, labels_per_round: int) -> None:
        """Raise unless the smallest chunk holds the labels wanted of it, and the capacity does.

        Raises
        ------
        ValueError
            If chunks, or the pathologist's capacity, are smaller than a round.
        """
        labels_per_round = check_count("labels_per_round", labels_per_round, least=1)
        if self.capacity is not None and self.capacity < labels_per_round:
            raise ValueError(
                f"Expected capacity to be at least labels_per_round={labels_per_round}. Found {self.capacity}. "
                "Ask for fewer labels a round, or let the pathologist take more."
            )
        smallest = n_pool // self.number_of(n_pool)
        if smallest < labels_per_round:
            raise ValueError(
                f"Expected chunks of at least labels_per_round={labels_per_round} patients. Found {smallest} of "
                f"n_pool={n_pool} in the smallest. Make fewer chunks, or ask for fewer labels a round."
            )

    def cut(self, record_ids: Sequence[Any], labels_per_round: int = 1) -> Chunks:
        """Cut the pool of the protocol, once; later rounds use what this returns, whoever is left.

        Parameters
        ----------
        record_ids : sequence of hashable
            Every patient of the protocol's pool, in any order.
        labels_per_round : int, default=1
            Labels wanted a round; chunks must hold so many.

        Raises
        ------
        ValueError
            If a patient appears twice or has no name, or a chunk would be too small.
        """
        ids = [str(patient) for patient in record_ids]
        if len(set(ids)) < len(ids):
            raise ValueError("Expected every patient of the protocol once. Merge rows with the same id first.")
        if any(patient.startswith(_DIGEST) for patient in ids):
            raise ValueError(
                "Expected names of patients. Found ids made of rows, which would let one patient's content move others "
                "to other chunks. Pass record_ids."
            )
        self.check(len(ids), labels_per_round)
        n_chunks = self.number_of(len(ids))
        ranked = sorted(ids, key=lambda patient: (_hash(self.seed, patient), patient))
        return Chunks(n_chunks, {patient: rank * n_chunks // len(ids) for rank, patient in enumerate(ranked)})


@dataclass(frozen=True)
class Chunks:
    """The chunks of a protocol; number 0 is the pool of the first round.

    Attributes
    ----------
    n_chunks : int
        As many rounds can be held.
    numbers : mapping of str to int
        The chunk of each patient.

    Examples
    --------
    >>> from skdpal.query import PublicChunks
    >>> chunks = PublicChunks(2).cut([f"p{n}" for n in range(10)])
    >>> len(chunks.members(0)) + len(chunks.members(1))
    10
    """

    n_chunks: int
    numbers: Mapping[str, int]

    def chunk_of(self, record_id: Any) -> int:
        """The chunk of a patient of the protocol.

        Raises
        ------
        ValueError
            If the protocol has no such patient.
        """
        try:
            return self.numbers[str(record_id)]
        except KeyError:
            raise ValueError(
                "Expected a patient of the protocol. Cut the chunks with the protocol's whole pool."
            ) from None

    def members(self, number: int) -> tuple[str, ...]:
        """The patients of a chunk, sorted."""
        self._check(number)
        return tuple(sorted(patient for patient, chunk in self.numbers.items() if chunk == number))

    def positions(self, record_ids: Sequence[Any], number: int) -> NDArray[np.intp]:
        """Where a chunk's patients are among rows, of whom some may have left and others been asked."""
        self._check(number)
        return np.flatnonzero(np.array([self.chunk_of(patient) for patient in record_ids], dtype=np.intp) == number)

    def __repr__(self) -> str:
        return f"<Chunks: {self.n_chunks} of {len(self.numbers)} patients>"

    def _check(self, number: int) -> None:
        if not 0 <= number < self.n_chunks:
            raise ValueError(
                f"Expected the number of a chunk, from 0 to {self.n_chunks - 1}. Found {number!r}. Every chunk is the "
                "pool of one round: plan no more rounds than chunks."
            )


def _hash(seed: int, patient: str) -> str:
    return hashlib.sha256(f"{seed}:{patient}".encode()).hexdigest()
