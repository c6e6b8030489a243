"""The journal, replayed: what a ledger knows.

Only public fields pass through here: events, labels, names of accounts, days.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime

from skdpal.privacy import events
from skdpal.privacy.accounting import epsilon_of_mu
from skdpal.privacy.accounts import POOL, Accounts
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.errors import BudgetExhausted, LedgerError, LedgerTampered
from skdpal.privacy.events import Event, mu_squared
from skdpal.privacy.filter import GdpFilter
from skdpal.privacy.randomness import current_simulation
from skdpal.privacy.store import Row
from skdpal.privacy.validation import check_one_of

__all__ = ["SCHEMA", "Receipt", "State", "header_of", "today"]

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

    def require_reserved(self, reservation: int, event: Event, label: str) -> None:
        """Raise `BudgetExhausted` if a reservation has not enough left for a release."""
        reserved, drawn = self.reserved[reservation]
        if math.fsum([*drawn, mu_squared(event)]) > reserved:
            budget, left = self.filter.budget, max(reserved - math.fsum(drawn), 0.0)
            amounts = (mu_squared(event), left, self.accounts.spent())
            price, rest, spent = (epsilon_of_mu(math.sqrt(mu2), budget.delta) for mu2 in amounts)
            raise BudgetExhausted(
                f"{label} costs ε={price:.2f}; {rest:.2f} of the reservation is left (spent {spent:.2f} of "
                f"{budget.epsilon:.2f} in all). Reserve for every fit that will run; see BudgetGuard.",
                price=price,
                spent=spent,
                ceiling=budget.epsilon,
            )

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


def header_of(budget: PrivacyBudget, filter: str) -> Row:
    """The first row of a new ledger: everything that never changes."""
    if not isinstance(budget, PrivacyBudget):
        raise TypeError(f"Expected budget to be a PrivacyBudget. Found {type(budget).__name__}.")
    check_one_of("filter", filter, [GdpFilter.kind])
    block = current_simulation()
    return {
        "schema": SCHEMA,
        "filter": filter,
        "epsilon": budget.epsilon,
        "delta": budget.delta,
        "adjacency": "zero-out",
        "unit": "patient",
        "simulation": block.token if block else None,
        "created": today(),
    }


def today() -> str:
    """The day, in UTC. Finer times would tell how long the pathologist was busy, and so with how many."""
    return datetime.now(UTC).date().isoformat()
