"""What a pickle of an in-memory ledger becomes: it can be read, never charged.

Otherwise every worker process would own a budget of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from skdpal.privacy.errors import LedgerSealed

__all__ = ["SealedJournal", "SealedVault"]

T = TypeVar("T")


class SealedJournal:
    """A journal without rows of its own, to which nothing can be added."""

    address = None
    name = "sealed copy"

    def read(self, work: Callable[[Any], T]) -> T:
        """The result of `work` on what came with the pickle."""
        return work(self)

    def rows(self, first: int, head: str) -> tuple[list[Any], str]:
        """None: the state came with the pickle."""
        return [], head

    def hash_of(self, number: int) -> NoReturn:
        """Refuse: answers are in the vault."""
        _refuse()

    def write(self, work: Callable[[Any], T]) -> NoReturn:
        """Refuse."""
        _refuse()

    def verify(self, head: str | None = None) -> NoReturn:
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
