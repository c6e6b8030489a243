"""Who pays inside a search: ledgers are found in an estimator and exchanged for what was reserved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from skdpal.estimators.scoring import SETTLED
from skdpal.model_selection.scorers import with_ledger
from skdpal.privacy import LedgerError, events
from skdpal.privacy.events import Event
from skdpal.privacy.ledger.handle import Handle
from skdpal.privacy.ledger.state import Receipt

__all__ = ["Prepaid", "Rehearsal", "Stopped", "is_ledger", "parts_of", "with_payer"]


def is_ledger(name: str) -> bool:
    """Whether a parameter holds a ledger."""
    return name == "ledger" or name.endswith("__ledger")


def with_payer(estimator: Any, payer: Any) -> Any:
    """The estimator itself, with every ledger in it, and in its scorers, exchanged."""
    found = estimator.get_params()
    exchanged = {name: payer for name in found if is_ledger(name)}
    for name, value in found.items():
        if name.rpartition("__")[2] == "scoring":
            exchanged[name] = with_ledger(value, payer)
    return estimator.set_params(**exchanged)


def parts_of(event: Event) -> tuple[Event, ...]:
    """The releases of an event that is a plain list of them; else the event."""
    if type(event) is events.Composed and event.count == 1:  # parts of modalities stay together
        return tuple(part for inner in event.events for part in parts_of(inner))
    return (event,)


class Prepaid(Handle):
    """Stands for a ledger in one run of a search that is paid for already, and writes nothing.

    A draw on a reservation would be a row of the journal, and their number is the secret of a search.

    Parameters
    ----------
    payer : PrivacyLedger or Handle
        Who paid.
    event : Event
        The releases of one run: no other is allowed, and each once.
    receipt : Receipt
        That of the whole search.
    """

    def __init__(self, payer: Any, event: Event, receipt: Receipt | None = None) -> None:
        super().__init__(payer.root, payer.account)
        self._left, self._receipt = list(parts_of(event)), receipt
        setattr(self, SETTLED, True)

    def charge(self, event: Event, label: str, account: str | None = None, record_ids: Any = None) -> Any:
        """Take one of the releases that are paid for."""
        self.require(event, label)
        for part in parts_of(event):
            self._left.remove(part)
        return self._receipt

    def require(self, event: Event, label: str) -> None:
        """Raise `LedgerError` if a release is not paid for."""
        left = list(self._left)
        for part in parts_of(event):
            if part not in left:
                raise LedgerError(
                    f"{label} releases {part}, which its privacy_event did not announce to the search. "
                    "Make privacy_event(n_records) say all that fit releases."
                )
            left.remove(part)

    def affords(self, event: Event) -> bool:
        """Whether a release is paid for."""
        try:
            self.require(event, "release")
        except LedgerError:
            return False
        return True

    def used_up(self, event: Event) -> list[str]:
        """The parts that were not announced, because they had no budget when the run was paid for."""
        announced = {name for part in self._left for name in events.by_modality(part)}
        return [name for name in events.by_modality(event) if name not in announced]

    def headroom(self, make_event: Callable[[Any], Event]) -> NoReturn:
        """A run of a search has none."""
        raise LedgerError("A run of a search has no headroom: it is paid for already. Ask the ledger.")


class Stopped(Exception):
    """A rehearsal came to the point where it would pay."""


class Rehearsal(Prepaid):
    """Lets a fit check its input, and stops it where it would pay: bad input costs no budget."""

    def charge(self, event: Event, label: str, account: str | None = None, record_ids: Any = None) -> NoReturn:
        """Stop."""
        self.require(event, label)
        raise Stopped
