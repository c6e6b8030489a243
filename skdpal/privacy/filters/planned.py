"""A schedule that was frozen beforehand: the one case in which privacy loss distributions may decide.

Invariants
----------
* The schedule is fixed, and priced, when the ledger is created; its digest is in the header.
* The next charge or split must be the next of the schedule. Whatever else is refused.
* Within a round (between two splits) the role of a patient is settled by what came before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

from skdpal.privacy import events
from skdpal.privacy.accounting.amounts import Amounts
from skdpal.privacy.accounting.frozen import Role, epsilon_of, epsilon_of_roles
from skdpal.privacy.accounts import ROOT, Accounts
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.errors import BudgetExhausted
from skdpal.privacy.events import Event
from skdpal.privacy.filters.base import Filter

__all__ = ["Charge", "PlannedFilter", "Schedule", "Split"]


@dataclass(frozen=True)
class Charge:
    """A planned release, and who pays for it.

    Parameters
    ----------
    event : Event
        What is released.
    account : str, default="cohort"
        A leaf, or an inner account.

    Examples
    --------
    >>> from skdpal.privacy import Charge, Schedule, Split, events
    >>> schedule = Schedule([Split("cohort/pool", "cohort/round-1"), Charge(events.gaussian(2.0), "cohort/round-1")])
    >>> round(schedule.epsilon(1e-5), 2)
    1.99
    """

    event: Event
    account: str = ROOT


@dataclass(frozen=True)
class Split:
    """A planned split: patients move from one leaf to a new one.

    Parameters
    ----------
    source, into : str
        The leaf, and the new one.

    Examples
    --------
    >>> from skdpal.privacy import Split
    >>> Split("cohort/pool", into="cohort/round-1").into
    'cohort/round-1'
    """

    source: str
    into: str


@dataclass(frozen=True)
class Schedule:
    """Charges and splits in the order in which they will happen.

    Parameters
    ----------
    steps : sequence of Charge, Split or Event
        An event is a charge to everybody.

    Examples
    --------
    >>> from skdpal.privacy import Schedule, events
    >>> Schedule([events.poisson_gaussian(4.0, sampling_rate=0.25, steps=50)]).epsilon(delta=1e-5) < 1.9
    True
    """

    steps: Sequence[Charge | Split | Event]

    def __post_init__(self) -> None:
        checked = tuple(Charge(step) if isinstance(step, Event) else step for step in self.steps)
        if not checked or not all(isinstance(step, Charge | Split) for step in checked):
            raise TypeError("Expected schedule to be a list of Charge, Split or events, not empty. See Schedule.")
        object.__setattr__(self, "steps", checked)
        self.roles()  # accounts exist, splits are legal

    def roles(self, account: str = ROOT, first: int | None = None) -> list[Role]:
        """What the patients of each leaf were in, round by round, after the first steps."""
        return [role for group in self.groups(account, first) for role in group]

    def groups(self, account: str = ROOT, first: int | None = None) -> list[list[Role]]:
        """The roles by the leaf in which a patient was when the first release was made: that one no output decided."""
        accounts = Accounts(())
        history: dict[str, list[list[Event]]] = {leaf: [[]] for leaf in accounts.leaves}
        settled: dict[str, str] = {}  # by leaf: the leaf at the first release
        for step in self.steps[:first]:
            if isinstance(step, Split):
                accounts.split(step.source, step.into)
                history[step.into] = [list(turn) for turn in history[step.source]]
                for turns in history.values():
                    turns.append([])
                if settled:
                    settled[step.into] = settled[step.source]
            else:
                charge = step if isinstance(step, Charge) else Charge(step)
                settled = settled or {leaf: leaf for leaf in accounts.leaves}
                for leaf in accounts.under(accounts.check(charge.account)):
                    history[leaf][-1].append(charge.event)
        groups: dict[str, list[Role]] = {}
        for leaf in accounts.under(accounts.check(account)):
            groups.setdefault(settled.get(leaf, leaf), []).append(tuple(map(tuple, history[leaf])))
        return list(groups.values())

    def epsilon(self, delta: float) -> float:
        """ε of the whole schedule: in the dearest group, the smaller of dominating pairs and the sum over roles."""
        return max(epsilon_of_roles(roles, delta) for roles in self.groups())

    @property
    def event(self) -> Event:
        """All roles as one event."""
        return events.one_of([events.composed([event for turn in role for event in turn]) for role in self.roles()])

    def to_json(self) -> list[dict[str, Any]]:
        """Plain JSON."""
        return [
            {"event": events.to_json(step.event), "account": step.account} if isinstance(step, Charge) else vars(step)
            for step in self.steps
        ]

    @classmethod
    def from_json(cls, records: Iterable[dict[str, Any]]) -> Schedule:
        """The schedule of JSON records; anything unknown is refused."""
        return cls(
            [
                Charge(events.from_json(record["event"]), record["account"]) if "event" in record else Split(**record)
                for record in records
            ]
        )

    @property
    def digest(self) -> str:
        """SHA-256 of the steps."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


class PlannedFilter(Filter):
    """The next release is allowed if it is the next of the frozen schedule.

    Parameters
    ----------
    budget : PrivacyBudget
    schedule : Schedule
        Already priced: see `freeze`.
    """

    kind = "planned"
    words = "Privacy loss distributions of a frozen schedule: nothing else is allowed."
    ceiling: Amounts = ()

    def __init__(self, budget: PrivacyBudget, schedule: Schedule) -> None:
        super().__init__(budget)
        self.schedule = schedule

    @classmethod
    def freeze(cls, budget: PrivacyBudget, schedule: Schedule) -> PlannedFilter:
        """A filter for a new ledger; raises `BudgetExhausted` if the schedule does not fit the budget."""
        price = schedule.epsilon(budget.delta)
        if price > budget.epsilon:
            raise BudgetExhausted(
                f"The schedule costs ε={price:.2f}; spent 0.00 of {budget.epsilon:.2f}. "
                "Raise its noise multipliers, or plan fewer releases.",
                price=price,
                spent=0.0,
                ceiling=budget.epsilon,
            )
        return cls(budget, schedule)

    def header(self) -> dict[str, Any]:
        """The schedule and its digest."""
        return {"schedule": self.schedule.to_json(), "digest": self.schedule.digest}

    def price_of_one(self, event: Event) -> Amounts:
        """Nothing by itself: the whole schedule was paid for."""
        return ()

    def ceiling_of(self, epsilon: float) -> Amounts:
        """Refused: parts have no ceilings of their own."""
        raise ValueError(
            "Expected a gdp or renyi ledger for accounts or caps with ceilings of their own. Found a planned one. "
            "Put the limits into the schedule."
        )

    def epsilon(self, paid: Amounts) -> float:
        """The ceiling that the schedule commits to."""
        return self.budget.epsilon

    def epsilon_alone(self, event: Event) -> float:
        """ε of one event."""
        return epsilon_of([event], self.budget.delta)

    def spent(self, accounts: Accounts, account: str, cap: str | None = None) -> float:
        """ε of the steps so far."""
        return _epsilon(self.schedule, accounts.steps, accounts.check(account, cap), self.budget.delta)

    def affords(self, accounts: Accounts, event: Event, account: str, cap: str | None = None) -> bool:
        """Whether this is the next charge of the schedule."""
        accounts.check(account, cap)
        return self._next(accounts) == Charge(event, account)

    def require(self, accounts: Accounts, event: Event, label: str, account: str, cap: str | None = None) -> None:
        """Raise `BudgetExhausted` unless this is the next charge."""
        if not self.affords(accounts, event, account, cap):
            self._refuse(accounts, event, label)

    def require_split(self, accounts: Accounts, source: str, into: str) -> None:
        """Raise unless this is the next split."""
        accounts.check_split(source, into)
        if self._next(accounts) != Split(source, into):
            raise ValueError(
                f"A split into {into!r} is not the next step of the frozen schedule. {self._expected(accounts)}"
            )

    def require_branch(self, accounts: Accounts, source: str, into: str, event: Event, label: str) -> None:
        """Raise unless the next two steps are this split and this charge."""
        if (self._next(accounts), self._next(accounts, 1)) != (Split(source, into), Charge(event, into)):
            self._refuse(accounts, event, label)
        self.require_split(accounts, source, into)

    def require_sample(self, accounts: Accounts, source: str, into: str, event: Event, label: str) -> None:
        """Raise unless the next two steps are this charge and this split."""
        accounts.check_split(source, into)
        if (self._next(accounts), self._next(accounts, 1)) != (Charge(event, source), Split(source, into)):
            self._refuse(accounts, event, label)

    def _next(self, accounts: Accounts, skip: int = 0) -> Charge | Split | Event | None:
        number = accounts.steps + skip
        return self.schedule.steps[number] if number < len(self.schedule.steps) else None

    def _expected(self, accounts: Accounts) -> str:
        expected = self._next(accounts)
        following = "The schedule is done" if expected is None else f"Expected {expected}"
        return f"{following}. Follow the schedule, or use a gdp or renyi ledger for what is decided on the way."

    def _refuse(self, accounts: Accounts, event: Event, label: str) -> NoReturn:
        price, spent = self.epsilon_alone(event), self.spent(accounts, ROOT)
        raise BudgetExhausted(
            f"{label} costs ε={price:.2f}; spent {spent:.2f} of {self.budget.epsilon:.2f} (δ={self.budget.delta:g}); "
            f"it is not the next step of the frozen schedule. {self._expected(accounts)}",
            price=price,
            spent=spent,
            ceiling=self.budget.epsilon,
        )


@lru_cache(maxsize=256)
def _epsilon(schedule: Schedule, steps: int, account: str, delta: float) -> float:
    return max(epsilon_of_roles(roles, delta) for roles in schedule.groups(account, steps))
