"""The journal, replayed: what a ledger knows.

Only public fields pass through here: events, labels, names of accounts, times.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from skdpal.privacy import events
from skdpal.privacy.accounts import POOL, Accounts
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.errors import LedgerError, LedgerTampered
from skdpal.privacy.events import Event, mu_squared
from skdpal.privacy.filter import GdpFilter
from skdpal.privacy.store import Row

__all__ = ["SCHEMA", "Receipt", "State"]

SCHEMA = 1


@dataclass(frozen=True)
class Receipt:
    """Proof that a release was paid for before it happened.

    Attributes
    ----------
    number : int
        Its row in the journal.
    label, account : str
        What was released, and who paid.
    event : Event
        The release, by its public parameters.
    epsilon : float
        ε of this release alone, at the ledger's δ.
    date : str
        Day, UTC, ISO 8601.
    """

    number: int
    label: str
    account: str
    event: Event
    epsilon: float
    date: str


@dataclass
class State:
    """Everything that follows from the rows seen so far."""

    seen: int = 0
    header: Row = field(default_factory=dict)
    accounts: Accounts = field(default_factory=Accounts)
    receipts: list[Receipt] = field(default_factory=list)
    reserved: dict[int, tuple[float, list[float]]] = field(default_factory=dict)  # μ² of each, and the draws on it
    splits: dict[str, int] = field(default_factory=lambda: {POOL: 0})  # row of the split that made each leaf
    void: list[str] = field(default_factory=list)
    hidden_rounds: int = 0

    _filter: GdpFilter | None = None

    @property
    def filter(self) -> GdpFilter:
        """What decides; fixed by the header."""
        if self._filter is None:
            raise LedgerError("The store has no header: it is not a skdpal ledger. Open another file.")
        return self._filter

    def apply(self, row: Row) -> None:
        """Take one more row into account; what cannot be understood is an error, never skipped."""
        try:
            self._apply(row)
        except (KeyError, TypeError, ValueError) as error:
            raise LedgerTampered(
                f"Row {self.seen} of the journal cannot be understood. Run verify(); update skdpal or restore the store."
            ) from error

    def _apply(self, row: Row) -> None:
        kind = row.get("kind")
        if kind == "header":
            self._open(row)
        elif kind == "charge":
            event = events.from_json(row["event"])
            self.accounts.charge(row["account"], mu_squared(event), mu_squared(event, replace_one=True))
            self.receipts.append(
                Receipt(row["number"], row["label"], row["account"], event, row["epsilon"], row["date"])
            )
            if row["reserve"]:
                self.reserved[row["number"]] = (mu_squared(event), [])
        elif kind == "draw":
            self.reserved[row["reservation"]][1].append(mu_squared(events.from_json(row["event"])))
        elif kind == "split":
            self.accounts.split(row["source"], row["into"])
            self.splits[row["into"]] = row["number"]
        elif kind == "void":
            self.void.append(row["reason"])
        elif kind == "hidden-round":
            self.hidden_rounds += 1
        else:
            raise LedgerError(f"The ledger holds an unknown kind of row, {kind!r}. Update skdpal to use it.")
        self.seen = row["number"] + 1

    def _open(self, row: Row) -> None:
        if self.header:
            raise LedgerError("The ledger has a second header: its ceiling never changes. Restore the store.")
        if row.get("schema") != SCHEMA:
            raise LedgerError(f"The ledger has schema {row.get('schema')!r}, not {SCHEMA}. Update skdpal to use it.")
        if row["filter"] != GdpFilter.kind:
            raise LedgerError(f"The ledger has an unknown filter, {row['filter']!r}. Update skdpal to use it.")
        self.header = row
        self._filter = GdpFilter(PrivacyBudget(row["epsilon"], row["delta"]))
