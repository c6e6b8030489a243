"""What anybody may know of a ledger: it follows from its journal, which is public."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skdpal.privacy.accounts import ROOT
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.errors import LedgerError
from skdpal.privacy.events import Event
from skdpal.privacy.filters.calibration import dearest
from skdpal.privacy.filters.planned import PlannedFilter
from skdpal.privacy.ledger import certificate
from skdpal.privacy.ledger.book import Book
from skdpal.privacy.ledger.state import Receipt

__all__ = ["Readings"]


class Readings:
    """The part of `PrivacyLedger` that only reads; reading costs nothing and reveals nothing."""

    _book: Book

    @property
    def budget(self) -> PrivacyBudget:
        """The ceiling that the store was created with."""
        return self._book.read().filter.budget

    @property
    def filter(self) -> str:
        """The kind of filter that the store was created with."""
        return self._book.read().filter.kind

    @property
    def hidden_rounds(self) -> int:
        """How many rounds of hidden selection were begun."""
        return len(self._book.read().hidden)

    def settled(self, account: str) -> bool:
        """Whether the number of an account's patients is public: none came, or left, by a hidden selection.

        Parameters
        ----------
        account : str
            A leaf.

        Raises
        ------
        ValueError
            If there is no such account.
        """
        state = self._book.read()
        rows, account = state.history, state.accounts.check(account)
        first = next((at for at, row in enumerate(rows) if row["kind"] == "round" and row["hidden"]), len(rows))
        made = any(row["kind"] == "split" and row["into"] == account for row in rows[:first])
        moved = any(row["kind"] == "split" and account in (row["source"], row["into"]) for row in rows[first:])
        return first == len(rows) or (made and not moved)

    def spent(self, account: str = ROOT, *, cap: str | None = None) -> float:
        """ε spent so far by the most expensive leaf of an account: an odometer, not a guarantee.

        The guarantee is the ceiling. Whoever stops because of this reading has no
        right to quote it (docs/trusted_kernel.md, "Reading is not guaranteeing").
        """
        state = self._book.read()
        return state.filter.spent(state.accounts, account, cap)

    def affords(self, event: Event, account: str = ROOT, *, cap: str | None = None) -> bool:
        """Whether `charge` would say yes now. Costs nothing, reveals nothing."""
        state = self._book.read()
        return state.filter.affords(state.accounts, event, account, cap)

    def used_up(self, event: Event, account: str = ROOT) -> list[str]:
        """Names of the caps, such as modalities, that cannot pay their part of an event. Costs nothing, reveals nothing."""
        state = self._book.read()
        return state.filter.used_up(state.accounts, event, account)

    def require(self, event: Event, label: str, account: str = ROOT, *, cap: str | None = None) -> None:
        """Raise `BudgetExhausted` if `charge` would; write nothing."""
        state = self._book.read()
        state.filter.require(state.accounts, event, label, account, cap)

    def headroom(self, make_event: Callable[[Any], Event], account: str = ROOT, *, cap: str | None = None) -> float:
        """The parameter of the dearest event of a family that is still affordable.

        Parameters
        ----------
        make_event : callable
            Makes an event of a number of steps, a rate or an ε (dearer when it grows), or of a noise
            multiplier (cheaper when it grows).
        account, cap : str, optional
            As in `charge`.

        Returns
        -------
        float
            The largest affordable parameter; of a noise multiplier the smallest. 0, or infinity, if there is none.

        Raises
        ------
        LedgerError
            If the ledger is planned: its schedule is all that it allows.
        """
        state = self._book.read()
        if isinstance(state.filter, PlannedFilter):
            raise LedgerError(
                "A planned ledger has no headroom: its schedule is all that it allows. See certificate()."
            )
        return dearest(
            make_event,
            state.filter.epsilon_alone,
            lambda event: state.filter.affords(state.accounts, event, account, cap),
        )

    def rounds(self) -> dict[str, dict[str, Any]]:
        """All rounds of selection in order: what was public about each, by name."""
        return dict(self._book.read().rounds)

    def receipts(self) -> list[Receipt]:
        """All charges, in order."""
        return list(self._book.read().receipts)

    def accounts(self) -> list[str]:
        """The names of all leaves."""
        return list(self._book.read().accounts.leaves)

    def verify(self, head: str | None = None) -> str:
        """Check the chain of the journal; return its head.

        Parameters
        ----------
        head : str, optional
            A head that was printed earlier and kept elsewhere: the journal must still contain it.

        Raises
        ------
        LedgerTampered
            If a row was changed, removed or added by another hand.
        """
        return self._book.journal.verify(head)

    def certificate(self, account: str = ROOT) -> dict[str, Any]:
        """What may be published about the guarantee, as a JSON-ready dict.

        Parameters
        ----------
        account : str, default="cohort"
            For the patients of one account, such as a site with a lower ceiling: that ceiling, and the receipts that
            they paid. The status is that of the whole ledger.
        """
        return certificate.of(self._book.read(), head=self.verify(), account=account)

    def _repr_html_(self) -> str:
        from skdpal.privacy.ledger.panel import panel

        return panel(certificate.of(self._book.read()))
