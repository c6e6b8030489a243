"""One sum, for which several accounts pay different prices.

Invariants
----------
* A patient of an account with share C is clipped to C times the length of the others, and pays for noise that is 1/C
  times as large: the same proof as for one account (docs/trusted_kernel.md, "Shares").
* Which share a patient has is read in the transaction that charges, and shares are public: no leaf and no number can
  change in between.
* Only `release` charges, and only for sums: nothing else would count patients by their shares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from skdpal.privacy import events
from skdpal.privacy.accounts import ROOT
from skdpal.privacy.errors import LedgerError
from skdpal.privacy.events import Event
from skdpal.privacy.filters.planned import PlannedFilter
from skdpal.privacy.ledger.handle import Handle
from skdpal.privacy.validation import check_real

if TYPE_CHECKING:
    from skdpal.privacy.ledger import PrivacyLedger

__all__ = ["Shares"]


class Shares(Handle):
    """Several accounts of a ledger that pay for one release; made by `PrivacyLedger.among`.

    Parameters
    ----------
    ledger : PrivacyLedger
    shares : mapping of str to float
        Of each account, from 0 (excluded) to 1.
    """

    def __init__(self, ledger: PrivacyLedger, shares: Mapping[str, float]) -> None:
        super().__init__(ledger, ROOT)
        if not shares:
            raise ValueError("Expected shares of at least one account. Found none.")
        if isinstance(ledger._book.filter(), PlannedFilter):
            raise LedgerError("A planned ledger has no shares: put each account's releases into its schedule.")
        self.shares = {account: _share(share) for account, share in shares.items()}
        for account in self.shares:
            ledger.within(account)  # it exists

    def prices(self, event: Event) -> dict[str, Event]:
        """What each account pays for a release."""
        if type(event) is not events.Gaussian:
            raise ValueError(f"Expected a Gaussian release where accounts pay shares. Found {event}.")
        return {
            account: events.gaussian(event.noise_multiplier / share, event.steps, replace_one=event.replace_one)
            for account, share in self.shares.items()
        }

    def require(self, event: Event, label: str) -> None:
        """Raise `BudgetExhausted` unless every account affords its price."""
        for account, price in self.prices(event).items():
            self.root.require(price, label, account)

    def charge_each(self, event: Event, label: str, record_ids: Sequence[str]) -> dict[str, float]:
        """All accounts pay, or none; the share of each patient. For `release` alone."""
        owners = self.root._book.charge_each(self.prices(event), label, record_ids)[1]
        return {str(patient): self.shares[owner] for patient, owner in zip(record_ids, owners, strict=True)}

    def headroom(self, make_event: Callable[[Any], Event]) -> NoReturn:
        """Each account has its own."""
        raise LedgerError("Shares have no headroom in common. Ask the ledger for that of each account.")

    def _pay(self, event: Event, label: str, record_ids: Sequence[str] | None, key: Any) -> NoReturn:
        raise LedgerError("Shares pay for sums that skdpal's release makes, and for nothing else. Charge an account.")


def _share(value: Any) -> float:
    return check_real("share", check_real("share", value, above=0.0), below=1.0, closed=True)
