"""Who may still afford what, when the next release may depend on the last.

Invariants
----------
* The kind of filter and its ceiling are fixed when a ledger is created; PLD never decides an adaptive charge.
* What has no proven price under a filter is refused, with the way out.
* Refusals are computed from public parameters: they reveal nothing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from skdpal.privacy import events
from skdpal.privacy.accounting.amounts import Amounts, add
from skdpal.privacy.accounts import Accounts, Leaf
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.errors import BudgetExhausted
from skdpal.privacy.events import Event
from skdpal.privacy.filters.remedies import least_noise, way_out

__all__ = ["Filter"]


class Filter(ABC):
    """What all filters share: amounts, one for each order, each below its ceiling.

    Attributes
    ----------
    kind : str
        Its name in a ledger's header.
    words : str
        What it is, for the certificate.
    ceiling : Amounts
        What a leaf may pay at most.
    """

    kind: ClassVar[str]
    words: str
    ceiling: Amounts

    def __init__(self, budget: PrivacyBudget) -> None:
        self.budget = budget

    def price(self, event: Event) -> Amounts:
        """What an event costs, parts of a composition added exactly; infinite if nothing is proven."""
        total: Amounts = tuple(0 for _ in self.ceiling)
        if isinstance(event, events.OneOf):  # whichever it is, it fits into what was reserved for one of them
            return tuple(map(max, total, total, *map(self.price, event.events)))
        if not isinstance(event, events.Composed):
            return self.price_of_one(event)
        for part in event.events:
            total = add(total, self.price(part))
        return tuple(event.count * amount for amount in total)

    def parts(self, event: Event, cap: str | None = None) -> dict[str, Amounts]:
        """What of an event falls on each named part of an account; all of it on `cap`."""
        whose = events.by_modality(event) if cap is None else {**events.by_modality(event), cap: event}
        return {name: self.price(part) for name, part in whose.items()}

    @abstractmethod
    def price_of_one(self, event: Event) -> Amounts:
        """What an event that is no composition costs."""

    @abstractmethod
    def ceiling_of(self, epsilon: float) -> Amounts:
        """What an account with a ceiling of its own may pay at most."""

    @abstractmethod
    def epsilon(self, paid: Amounts) -> float:
        """ε of amounts, as an odometer reads it."""

    def header(self) -> dict[str, Any]:
        """What a ledger's first row must hold to make this filter again."""
        return {}

    def epsilon_below(self, ceiling: Amounts) -> float:
        """ε that a ceiling commits to."""
        return self.budget.epsilon if ceiling == self.ceiling else self.epsilon(ceiling)

    def epsilon_alone(self, event: Event) -> float:
        """ε of one event under this filter."""
        return self.epsilon(self.price(event))

    def spent(self, accounts: Accounts, account: str, cap: str | None = None) -> float:
        """ε that the most expensive leaf of an account has spent."""
        return self.epsilon(accounts.spent(account, cap))

    def affords(self, accounts: Accounts, event: Event, account: str, cap: str | None = None) -> bool:
        """Whether every leaf at or below an account can pay."""
        accounts.check(account, cap)
        return accounts.affords(account, self.price(event), self.parts(event, cap))

    def used_up(self, accounts: Accounts, event: Event, account: str) -> list[str]:
        """Names of the caps that cannot pay their part of an event."""
        parts, nothing = self.parts(event), tuple(0 for _ in self.ceiling)
        poor = {name for _, name in accounts.broke(accounts.check(account), nothing, parts)}
        return [name for name in parts if name in poor]

    def require(self, accounts: Accounts, event: Event, label: str, account: str, cap: str | None = None) -> None:
        """Raise `BudgetExhausted`, with price, spent, ceiling and one way out, unless affordable."""
        if self.affords(accounts, event, account, cap):
            return
        poor = accounts.broke(account, self.price(event), self.parts(event, cap))
        payer, name = min(poor, key=lambda one: self._left(one[0]))
        asked = event if name is None or name == cap else events.by_modality(event)[name]
        price, spent, ceiling = self.epsilon_alone(asked), self.epsilon(payer.paid), self.epsilon_below(payer.ceiling)
        whose = cap if name is None else name
        where = f"account {account!r}" if whose is None else f"account {account!r}, cap {whose!r}"
        leave = "" if asked is event else f"Leave {name!r} out. Or: "
        raise BudgetExhausted(
            f"{label} costs ε={price:.2f}; spent {spent:.2f} of {ceiling:.2f} ({where}, δ={self.budget.delta:g}). "
            f"{leave}{self._remedy(event, lambda other: self.affords(accounts, other, account, cap))}",
            price=price,
            spent=spent,
            ceiling=ceiling,
        )

    def require_split(self, accounts: Accounts, source: str, into: str) -> None:
        """Raise unless a leaf may be split now; adaptive filters allow it at any time."""
        accounts.check_split(source, into)

    def require_branch(self, accounts: Accounts, source: str, into: str, event: Event, label: str) -> None:
        """Raise unless a leaf may be split from `source`, and then pay for an event."""
        self.require_split(accounts, source, into)
        self.require(accounts, event, label, source)

    def require_sample(self, accounts: Accounts, source: str, into: str, event: Event, label: str) -> None:
        """Raise unless a leaf may pay for a sample of its patients, who then move to a new leaf."""
        accounts.check_split(source, into)
        self.require(accounts, event, label, source)

    def _left(self, payer: Leaf) -> float:
        """ε between what a leaf has paid and its ceiling."""
        return self.epsilon_below(payer.ceiling) - self.epsilon(payer.paid)

    def _remedy(self, event: Event, fitting: Callable[[Event], bool]) -> str:
        culprit = self._culprit(event)
        if culprit is not None:
            return way_out(culprit, self.kind)
        factor = least_noise(event, fitting)
        if factor is None:
            return "Nothing is left for these patients: plan fewer releases; see plan_study."
        multiplier = getattr(event, "noise_multiplier", None)
        if multiplier is not None:
            return f"Raise noise_multiplier to {_up(multiplier * factor):g}; see plan_study."
        return f"Multiply every noise_multiplier by {_up(factor):g}, or release less often; see plan_study."

    def _culprit(self, event: Event) -> Event | None:
        if math.inf not in self.price(event):
            return None
        parts = event.events if isinstance(event, events.Composed | events.OneOf) else ()
        return next((found for part in parts if (found := self._culprit(part)) is not None), event)


def _up(value: float) -> float:
    return math.ceil(1e3 * value) / 1e3
