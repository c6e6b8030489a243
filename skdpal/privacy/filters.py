"""Who may still afford what, when the next release may depend on the last.

Invariants
----------
* The kind of filter and its ceiling are fixed when a ledger is created; PLD never decides here.
* "gdp": for every leaf that pays, the sum of μ² including the release stays at or below the
  ceiling. Valid whatever earlier outputs led to the request (Lemma G).
* "renyi": the same for the divergence at one order, or at every order of a curve, fixed at creation.
* What has no proven price under a filter is refused, with the way out.
* Refusals are computed from public parameters: they reveal nothing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from skdpal.privacy import events
from skdpal.privacy.accounting.gaussian import ceiling_mu_squared, epsilon_of_mu, mu_squared
from skdpal.privacy.accounting.renyi import ORDERS, best_epsilon, conversion, curve
from skdpal.privacy.accounting.search import bisect
from skdpal.privacy.accounts import Accounts, Leaf
from skdpal.privacy.amounts import Amounts, add, ceil_of, floor_of, value_of
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.errors import BudgetExhausted
from skdpal.privacy.events import Event
from skdpal.privacy.remedies import least_noise, way_out
from skdpal.privacy.validation import check_real

__all__ = ["Filter", "GdpFilter", "RenyiFilter"]


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
        if not isinstance(event, events.Composed):
            return self.price_of_one(event)
        total: Amounts = tuple(0 for _ in self.ceiling)
        for part in event.events:
            total = add(total, self.price(part))
        return tuple(event.count * amount for amount in total)

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
        return accounts.affords(account, self.price(event), cap)

    def require(self, accounts: Accounts, event: Event, label: str, account: str, cap: str | None = None) -> None:
        """Raise `BudgetExhausted`, with price, spent, ceiling and one way out, unless affordable."""
        if self.affords(accounts, event, account, cap):
            return
        payer = min(accounts.broke(account, self.price(event), cap), key=self._left)
        price, spent, ceiling = self.epsilon_alone(event), self.epsilon(payer.paid), self.epsilon_below(payer.ceiling)
        where = f"account {account!r}" if cap is None else f"account {account!r}, cap {cap!r}"
        raise BudgetExhausted(
            f"{label} costs ε={price:.2f}; spent {spent:.2f} of {ceiling:.2f} ({where}, δ={self.budget.delta:g}). "
            f"{self._remedy(event, lambda other: self.affords(accounts, other, account, cap))}",
            price=price,
            spent=spent,
            ceiling=ceiling,
        )

    def require_split(self, accounts: Accounts, source: str, into: str) -> None:
        """Raise unless a leaf may be split now; adaptive filters allow it at any time."""
        accounts.check_split(source, into)

    def require_branch(self, accounts: Accounts, source: str, into: str | None, event: Event, label: str) -> None:
        """Raise unless a leaf may be split from `source`, under this or any name, and then pay for an event."""
        if into is not None:
            self.require_split(accounts, source, into)
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


class GdpFilter(Filter):
    """The exact filter for Gaussian releases; others enter with a proven μ."""

    kind = "gdp"
    words = "Gaussian differential privacy: the sum of μ² of every account stays below the ceiling."

    def __init__(self, budget: PrivacyBudget) -> None:
        super().__init__(budget)
        self.ceiling = floor_of([ceiling_mu_squared(budget)])

    def price_of_one(self, event: Event) -> Amounts:
        """μ² of the event."""
        return ceil_of([mu_squared(event)])

    def ceiling_of(self, epsilon: float) -> Amounts:
        """B² of a lower ε."""
        return floor_of([ceiling_mu_squared(PrivacyBudget(epsilon, self.budget.delta))])

    def epsilon(self, paid: Amounts) -> float:
        """ε of a sum of μ²."""
        return epsilon_of_mu(math.sqrt(value_of(paid[0])), self.budget.delta)


class RenyiFilter(Filter):
    """Rényi divergences at one order, or at every order of a curve, fixed beforehand.

    Parameters
    ----------
    budget : PrivacyBudget
    orders : sequence of float
        Above 1.
    curve : sequence of float, optional
        The largest divergence at each order. Default, for one order only: what the budget leaves there.
    """

    kind = "renyi"

    def __init__(self, budget: PrivacyBudget, orders: Sequence[float], curve: Sequence[float] | None = None) -> None:
        super().__init__(budget)
        self.orders = tuple(check_real("order", order, above=1.0) for order in orders)
        self._curve = curve
        if curve is None:
            self.ceiling = self.ceiling_of(budget.epsilon)
            self.words = f"Rényi differential privacy at order {self.orders[0]:g}"
        else:
            self.ceiling = floor_of(curve)
            self.words = "Rényi differential privacy at every order of the planned curve"
        self.words += ": the divergence of every account stays below the ceiling."

    @classmethod
    def at_one_order(cls, budget: PrivacyBudget, order: float | None = None) -> RenyiFilter:
        """At a given order, or at the one where the budget pays for the least noise of a Gaussian release."""
        if order is None:
            order = max(ORDERS, key=lambda alpha: (budget.epsilon - conversion(alpha, budget.delta)) / alpha)
        return cls(budget, [order])

    @classmethod
    def along(cls, budget: PrivacyBudget, planned: Event) -> RenyiFilter:
        """Along the curve of what is planned, at every order where it is finite."""
        # a hair above, so that the parts, each rounded up, still fit
        values = zip(ORDERS, curve(planned) * (1 + 1e-12), strict=True)
        finite = {order: float(value) for order, value in values if value < math.inf}
        price = best_epsilon(list(finite.values()), list(finite), budget.delta) if finite else math.inf
        if price > budget.epsilon:
            raise BudgetExhausted(
                f"The schedule costs ε={price:.2f} by its Rényi curve; spent 0.00 of {budget.epsilon:.2f}. "
                "Raise its noise multipliers, or plan fewer releases.",
                price=price,
                spent=0.0,
                ceiling=budget.epsilon,
            )
        return cls(budget, list(finite), list(finite.values()))

    def header(self) -> dict[str, Any]:
        """The orders, and the curve if there is one."""
        return {"orders": list(self.orders), "curve": self._curve}

    def price_of_one(self, event: Event) -> Amounts:
        """The divergence at each order."""
        return ceil_of(curve(event, self.orders))

    def ceiling_of(self, epsilon: float) -> Amounts:
        """At one order what ε leaves; along a curve, as much of it as ε allows."""
        if self._curve is not None:
            return floor_of(self._share(epsilon) * value for value in self._curve)
        left = epsilon - conversion(self.orders[0], self.budget.delta)
        if left <= 0:
            raise ValueError(
                f"Expected epsilon above {epsilon - left:.3g}, which order {self.orders[0]:g} needs at "
                f"δ={self.budget.delta:g}. Found {epsilon:g}. Raise it, or leave order=None when the ledger is created."
            )
        return floor_of([left * (1 - 1e-12)])  # its own rounding

    def epsilon(self, paid: Amounts) -> float:
        """ε that the best of the orders proves."""
        if not any(paid):
            return 0.0
        return best_epsilon([value_of(amount) for amount in paid], self.orders, self.budget.delta)

    def epsilon_alone(self, event: Event) -> float:
        """ε of one event, at the order that suits it."""
        return best_epsilon(list(curve(event)), ORDERS, self.budget.delta)

    def _share(self, epsilon: float) -> float:
        def too_much(share: float) -> bool:
            return (
                best_epsilon([share * value for value in self._curve or ()], self.orders, self.budget.delta) > epsilon
            )

        return bisect(too_much, 0.0, 1.0)[0] if too_much(1.0) else 1.0


def _up(value: float) -> float:
    return math.ceil(1e3 * value) / 1e3
