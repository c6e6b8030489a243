"""The journal, replayed: what a ledger knows.

Only public fields pass through here: events, labels, names of accounts, days.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from skdpal.privacy import events
from skdpal.privacy.accounting.amounts import Amounts
from skdpal.privacy.accounts import POOL, ROOT, Accounts, Leaf
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.errors import BudgetExhausted, LedgerError, LedgerTampered
from skdpal.privacy.events import Event
from skdpal.privacy.filters import Filter, GdpFilter, RenyiFilter
from skdpal.privacy.filters.planned import PlannedFilter, Schedule
from skdpal.privacy.randomness import current_simulation, nonce
from skdpal.privacy.storage.journal import GENESIS, Row
from skdpal.privacy.validation import check_one_of

__all__ = ["SCHEMA", "Question", "Receipt", "State", "header_of", "today"]

SCHEMA = 4
Question = tuple[str, str, Event]  # its name, the account that asks, the release


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
    cap : str or None
        The part of the account, such as a modality, that also paid.
    question : str or None
        Public name under which the answer is kept, so that it may be asked for again.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.privacy import events
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> receipt = ledger.charge(events.gaussian(4.0), label="fit round 1")
    >>> receipt.label, receipt.account, round(receipt.epsilon, 2)
    ('fit round 1', 'cohort', 0.93)
    """

    number: int
    label: str
    account: str
    event: Event
    epsilon: float
    date: str
    cap: str | None = None
    question: str | None = None

    @classmethod
    def of(cls, row: Row) -> Receipt:
        """The receipt of a row."""
        event, question = events.from_json(row["event"]), row["question"]
        return cls(
            row["number"], row["label"], row["account"], event, row["epsilon"], row["date"], row["cap"], question
        )


@dataclass
class State:
    """Everything that follows from the rows seen so far."""

    seen: int = 0
    head: str = GENESIS
    header: Row = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)
    reserved: dict[int, tuple[Receipt, Leaf]] = field(default_factory=dict)  # with what was drawn, as if by a leaf
    splits: dict[str, int] = field(default_factory=lambda: {POOL: 0})  # row of the split that made each leaf
    void: list[str] = field(default_factory=list)
    asked: dict[Question, Receipt] = field(default_factory=dict)  # what may be asked again
    answered: set[int] = field(default_factory=set)  # receipts whose answer is in the vault
    redrawn: list[int] = field(default_factory=list)  # receipts whose first answer was lost before it left
    rounds: dict[str, Row] = field(default_factory=dict)  # of selection: what was public when they began
    hidden: set[str] = field(default_factory=set)  # rounds whose chosen stay inside
    selected: dict[str, str] = field(default_factory=dict)  # leaf: the round that filled it
    history: list[Row] = field(default_factory=list)  # every row, in order: its kind, and what a price depends on

    _filter: Filter | None = None
    _accounts: Accounts | None = None

    @property
    def filter(self) -> Filter:
        """What decides; fixed by the header."""
        if self._filter is None:
            raise LedgerError("The store has no header: it is not a skdpal ledger. Open another file.")
        return self._filter

    @property
    def accounts(self) -> Accounts:
        """Who paid what."""
        if self._accounts is None:
            self._accounts = Accounts(self.filter.ceiling)
        return self._accounts

    def apply(self, row: Row) -> None:
        """Take one more row into account; what cannot be understood is an error, never skipped."""
        try:
            kind = row["kind"]
            if kind not in _APPLY:
                raise LedgerError(f"The ledger holds an unknown kind of row, {kind!r}. Update skdpal to use it.")
            _APPLY[kind](self, row)
            self.history.append({name: row[name] for name in ("number", "kind", *_TOLD.get(kind, ()))})
            self.seen = row["number"] + 1
        except (KeyError, TypeError, ValueError) as error:
            raise LedgerTampered(
                f"Row {self.seen} of the journal cannot be understood. Run verify(); update skdpal or restore the store."
            ) from error

    def require_reserved(self, reservation: int, event: Event, label: str) -> None:
        """Raise `BudgetExhausted` if a reservation has not enough left for a release."""
        drawn = self.reserved[reservation][1]
        filter, budget = self.filter, self.filter.budget
        within = [name in drawn.caps and drawn.caps[name].fits(part) for name, part in filter.parts(event).items()]
        if not drawn.fits(filter.price(event)) or not all(within):
            left = tuple(whole - part for whole, part in zip(drawn.ceiling, drawn.paid, strict=True))
            price, rest, spent = filter.epsilon_alone(event), filter.epsilon(left), filter.spent(self.accounts, ROOT)
            raise BudgetExhausted(
                f"{label} costs ε={price:.2f}; {rest:.2f} of the reservation is left (spent {spent:.2f} of "
                f"{budget.epsilon:.2f} in all). Reserve for every fit that will run; see BudgetGuard.",
                price=price,
                spent=spent,
                ceiling=budget.epsilon,
            )

    def payers(self, receipt: Receipt) -> set[str]:
        """The leaves whose patients paid for a receipt: those below its account then, and what was split from them."""
        parents = self.accounts.parents

        def then(leaf: str) -> str:
            while self.splits[leaf] > receipt.number:
                leaf = parents[leaf]
            return leaf

        account = receipt.account
        return {leaf for leaf in self.splits if account in (ROOT, then(leaf)) or then(leaf).startswith(f"{account}/")}

    def committed(self, account: str) -> Amounts:
        """The largest ceiling of the patients of an account that stood before anything of theirs was released.

        One that was lowered later may have been chosen by what they released: it limits, and guarantees nothing.
        """
        if account == ROOT:
            return self.filter.ceiling
        ceilings = [self.accounts.leaves[self._first(leaf)].ceiling for leaf in self.accounts.under(account)]
        return tuple(map(max, zip(*ceilings, strict=True)))

    def _first(self, leaf: str) -> str:
        """The leaf in which the patients of a leaf were when they first paid."""
        paid = [receipt.number for receipt in self.receipts if leaf in self.payers(receipt)]
        while paid and self.splits[leaf] > paid[0]:
            leaf = self.accounts.parents[leaf]
        return leaf

    def _open(self, row: Row) -> None:
        if self.header:
            raise LedgerError("The ledger has a second header: its ceiling never changes. Restore the store.")
        if row.get("schema") != SCHEMA:
            raise LedgerError(f"The ledger has schema {row.get('schema')!r}, not {SCHEMA}. Update skdpal to use it.")
        self._filter, self.header = _filter_of(row), {"id": row["id"], **row}  # all have a name

    def _charge(self, row: Row) -> None:
        receipt = Receipt.of(row)
        event = receipt.event
        self.accounts.charge(receipt.account, self.filter.price(event), self.filter.parts(event, receipt.cap))
        self.receipts.append(receipt)
        if receipt.question is not None:
            self.asked[receipt.question, row["asker"], receipt.event] = receipt
        if row["reserve"]:
            nothing = tuple(0 for _ in self.filter.ceiling)
            parts = {name: Leaf(nothing, part) for name, part in self.filter.parts(event).items()}
            self.reserved[row["number"]] = receipt, Leaf(nothing, self.filter.price(event), parts)

    def _draw(self, row: Row) -> None:
        receipt, drawn = self.reserved[row["reservation"]]
        event = events.from_json(row["event"])
        self.reserved[receipt.number] = receipt, drawn.charged(self.filter.price(event), self.filter.parts(event))

    def _split(self, row: Row) -> None:
        ceiling = None if row["epsilon"] is None else self.filter.ceiling_of(row["epsilon"])
        self.accounts.split(row["source"], row["into"], ceiling)
        self.splits[row["into"]] = row["number"]
        if row["round"] is not None:
            self.selected[row["into"]] = row["round"]
        if row["sampled"]:
            self.accounts.sampled[row["into"]] = row["source"]

    def _cap(self, row: Row) -> None:
        self.accounts.cap(row["account"], row["name"], self.filter.ceiling_of(row["epsilon"]))

    def _void(self, row: Row) -> None:
        self.void.append(row["reason"])

    def _round(self, row: Row) -> None:
        self.rounds[row["label"]] = row["parameters"]
        if row["hidden"]:
            self.hidden.add(row["label"])

    def _answer(self, row: Row) -> None:
        self.answered.add(row["receipt"])

    def _redraw(self, row: Row) -> None:
        self.redrawn.append(row["receipt"])


_APPLY: Mapping[str, Callable[[State, Row], None]] = {
    "header": State._open,
    "charge": State._charge,
    "draw": State._draw,
    "split": State._split,
    "cap": State._cap,
    "void": State._void,
    "round": State._round,
    "answer": State._answer,
    "redraw": State._redraw,
}
_TOLD = {  # of a row that is no receipt, in the certificate
    "split": ("source", "into", "epsilon", "sampled"),
    "cap": ("account", "name", "epsilon"),
    "void": ("reason",),
    "round": ("hidden",),
    "redraw": ("receipt",),
}


def header_of(budget: PrivacyBudget, filter: str, order: float | None = None, schedule: Any = None) -> Row:
    """The first row of a new ledger: everything that never changes."""
    if not isinstance(budget, PrivacyBudget):
        raise TypeError(f"Expected budget to be a PrivacyBudget. Found {type(budget).__name__}.")
    block = current_simulation()
    return {
        "schema": SCHEMA,
        "id": nonce(),
        "filter": filter,
        "epsilon": budget.epsilon,
        "delta": budget.delta,
        **_new_filter(budget, filter, order, schedule).header(),
        "adjacency": "zero-out",
        "unit": "patient",
        "simulation": block.token if block else None,
        "created": today(),
    }


def today() -> str:
    """The day, in UTC. Finer times would tell how long the pathologist was busy, and so with how many."""
    return datetime.now(UTC).date().isoformat()


def _new_filter(budget: PrivacyBudget, kind: str, order: float | None, schedule: Any) -> Filter:
    check_one_of("filter", kind, ["gdp", "renyi", "planned"])
    if order is not None and (kind != "renyi" or schedule is not None):
        raise ValueError(
            f"Expected order= with filter='renyi' and no schedule. Found filter={kind!r}. Leave order out."
        )
    if (schedule is None and kind == "planned") or (schedule is not None and kind == "gdp"):
        raise ValueError(
            f"Expected schedule= for filter='planned', and none for 'gdp'. Found filter={kind!r}. See skdpal.privacy.Schedule."
        )
    if kind == "gdp":
        return GdpFilter(budget)
    if schedule is None:
        return RenyiFilter.at_one_order(budget, order)
    steps = getattr(schedule, "schedule", schedule)  # a plan holds one
    frozen = steps if isinstance(steps, Schedule) else Schedule(steps)
    return PlannedFilter.freeze(budget, frozen) if kind == "planned" else RenyiFilter.along(budget, frozen.event)


def _filter_of(header: Row) -> Filter:
    """The filter of a first row, as it was when the ledger was created."""
    budget = PrivacyBudget(header["epsilon"], header["delta"])
    if header["filter"] == GdpFilter.kind:
        return GdpFilter(budget)
    if header["filter"] == RenyiFilter.kind:
        return RenyiFilter(budget, header["orders"], header["curve"])
    if header["filter"] == PlannedFilter.kind:
        schedule = Schedule.from_json(header["schedule"])
        if schedule.digest != header["digest"]:
            raise ValueError("The schedule is not the one that was frozen.")
        return PlannedFilter(budget, schedule)
    raise LedgerError(f"The ledger has an unknown filter, {header['filter']!r}. Update skdpal to use it.")
