"""Who is in the batch: everybody, or each patient by a coin of their own.

Invariants
----------
* Rate and normaliser are public; neither is computed from the patients who are there.
* Coins come from the operating system (`entropy`), one for each patient and step, however many rows the patient has.
* An empty batch is a batch.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy.randomness import entropy

__all__ = ["batches", "slots_of"]


def slots_of(ids: list[str]) -> NDArray[np.int64]:
    """The slot of each row's patient, 0 for the first patient."""
    slots: dict[str, int] = {}
    return np.array([slots.setdefault(name, len(slots)) for name in ids], dtype=np.int64)


def batches(owners: NDArray[np.int64], steps: int, sampling_rate: float | None) -> Iterator[NDArray[np.intp]]:
    """Positions of the rows of each step's batch.

    Parameters
    ----------
    owners : ndarray of int of shape (n_rows,)
        From `slots_of`.
    steps : int
        Number of batches.
    sampling_rate : float or None
        Chance of each patient to be in a batch (Poisson sampling); None is everybody.
    """
    everybody = np.arange(len(owners))
    n_patients = int(owners.max()) + 1 if len(owners) else 0
    for _ in range(steps):
        if sampling_rate is None:
            yield everybody
            continue
        coins = np.frombuffer(entropy(8 * n_patients), dtype=np.uint64)
        tossed = coins < np.uint64(min(int(sampling_rate * 2**64), 2**64 - 1))  # at most the rate that was charged
        yield everybody[tossed[owners]] if n_patients else everybody
