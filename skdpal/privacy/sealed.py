"""What a pickle of an in-memory ledger becomes: it can be read, never charged.

Otherwise every worker process would own a budget of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from skdpal.privacy.errors import LedgerSealed

__all__ = ["SealedJournal", "SealedVault"]


class SealedJournal:
    """A journal without rows of its own, to which nothing can be added."""

    path = None

    @contextmanager
    def transaction(self) -> Iterator[SealedJournal]:
        """Itself."""
        yield self

    def rows(self, first: int = 0) -> list[Any]:
        """None: the state came with the pickle."""
        return []

    def append(self, row: Any) -> NoReturn:
        """Refuse."""
        _refuse()

    def verify(self) -> NoReturn:
        """Refuse."""
        _refuse()


class SealedVault:
    """No members, no secret."""

    def __getattr__(self, name: str) -> Any:
        _refuse()


def _refuse() -> NoReturn:
    raise LedgerSealed(
        "This is a copy of an in-memory ledger and cannot pay. "
        "Use PrivacyLedger.create(path) where work goes to other processes or is reloaded."
    )
