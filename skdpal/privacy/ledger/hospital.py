"""What a ledger tells the hospital, and nobody else: who is where, and the secret coins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy.accounts import POOL
from skdpal.privacy.identities import identify
from skdpal.privacy.ledger.book import Book

__all__ = ["HospitalSide"]


class HospitalSide:
    """The part of `PrivacyLedger` whose answers must not leave."""

    _book: Book

    def accounts_of(self, record_ids: Sequence[str]) -> list[str]:
        """The leaf of each patient."""
        return self._book.accounts_of(record_ids)

    def waiting(self, record_ids: Sequence[str], round: str, source: str = POOL) -> NDArray[np.bool_]:
        """Whether each patient was in a leaf when a round began."""
        state, leaves = self._book.read(), self._book.accounts_of(record_ids)
        order = list(state.rounds)
        later = set(order[order.index(round) :] if round in order else [])
        return np.array([leaf == source or state.selected.get(leaf) in later for leaf in leaves], dtype=np.bool_)

    def coins(self, label: str, record_ids: Sequence[str]) -> NDArray[np.float64]:
        """A secret uniform number in [0, 1) for each patient, the same for the same label."""
        return self._book.vault.coins(label, identify(record_ids, record_ids))

    def keep(self, name: str, record_ids: Sequence[str], drawn: NDArray[Any]) -> NDArray[Any]:
        """What was first drawn for each patient under a name: these draws, or earlier ones; for `mechanisms.Kept`."""
        return self._book.keep(name, record_ids, drawn)

    def tag(self, text: str) -> str:
        """A name for a text, such as a list of patients, that tells nothing to whoever has no vault; it may leave."""
        return self._book.vault.tag(text)
