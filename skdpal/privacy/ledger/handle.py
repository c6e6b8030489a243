"""A ledger as seen from one account.

A handle has the ledger's interface, so an estimator does not know which of the two it holds.
Copies and clones are the same handle; a pickle reopens the ledger. A handle of a branch makes
its split together with its first charge; a handle of a reservation draws on what was reserved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

from skdpal.privacy.errors import BudgetExhausted, LedgerError
from skdpal.privacy.events import Event

if TYPE_CHECKING:
    from skdpal.privacy.budget import PrivacyBudget
    from skdpal.privacy.ledger import PrivacyLedger
    from skdpal.privacy.ledger.state import Receipt

__all__ = ["Handle"]


class Handle:
    """One account of a ledger; made by `PrivacyLedger.within`, `split`, `branch` and `reserve`."""

    def __init__(
        self,
        ledger: PrivacyLedger,
        account: str,
        *,
        source: str | None = None,
        members: tuple[str, ...] = (),
        reservation: int | None = None,
        cap: str | None = None,
    ) -> None:
        self.root = ledger
        self.account = account
        self.cap = cap
        self._source, self._members = source, members
        self._reservation = reservation

    @property
    def budget(self) -> PrivacyBudget:
        """The ceiling of the ledger."""
        return self.root.budget

    @property
    def hidden_rounds(self) -> int:
        """How many rounds of hidden selection were begun."""
        return self.root.hidden_rounds

    def charge(
        self, event: Event, label: str, account: str | None = None, record_ids: Sequence[str] | None = None
    ) -> Receipt:
        """As `PrivacyLedger.charge`, for this account."""
        if account not in (None, self.account):
            raise ValueError(
                f"Expected account to be {self.account!r}, to which this handle is bound. Found {account!r}."
            )
        if self._reservation is not None:
            return self.root._book.draw(self._reservation, event, label, self.account, record_ids)
        if self._source is not None:
            receipt = self.root._book.branch(self._source, self.account, self._members, event, label, record_ids)
            self._source, self._members = None, ()  # made: from now on an account like any other
            return receipt
        return self.root.charge(event, label, self.account, record_ids, cap=self.cap)

    def affords(self, event: Event) -> bool:
        """As `PrivacyLedger.affords`, for this account."""
        try:
            self.require(event, "release")
        except BudgetExhausted:
            return False
        return True

    def require(self, event: Event, label: str) -> None:
        """As `PrivacyLedger.require`, for this account."""
        if self._reservation is not None:
            self.root._book.read().require_reserved(self._reservation, event, label)
        elif self._source is not None:
            state = self.root._book.read()
            state.filter.require_branch(state.accounts, self._source, self.account, event, label)
        else:
            self.root.require(event, label, self.account, cap=self.cap)

    def headroom(self, make_event: Callable[[Any], Event]) -> float:
        """As `PrivacyLedger.headroom`, for this account."""
        if self._reservation is not None:
            raise LedgerError("A reservation has no headroom: it pays for what it was made for. Ask the ledger.")
        return self.root.headroom(make_event, self._payer, cap=self.cap)

    def spent(self) -> float:
        """As `PrivacyLedger.spent`, for this account."""
        return self.root.spent(self._payer, cap=self.cap)

    def receipts(self) -> list[Receipt]:
        """All charges of the ledger, in order."""
        return self.root.receipts()

    def certificate(self) -> dict[str, Any]:
        """The certificate of the whole ledger."""
        return self.root.certificate()

    def within(self, account: str, *, cap: str | None = None) -> Handle:
        """A handle on another account of the same ledger."""
        return self.root.within(account, cap=cap)

    def mark_void(self, reason: str) -> None:
        """As `PrivacyLedger.mark_void`."""
        self.root.mark_void(reason)

    @property
    def _payer(self) -> str:
        """The leaf whose payments count: the source, as long as the branch is not made."""
        return self.account if self._source is None else self._source

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __sklearn_clone__(self) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_members": ()}  # ids of patients do not travel

    def __repr__(self) -> str:
        return f"<{self.account!r} of {self.root!r}>"
