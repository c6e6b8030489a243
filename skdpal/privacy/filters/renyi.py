"""The filter of Rényi divergences.

Invariant: for every leaf that pays, the divergence at one order, or at every order of a curve, including the
release stays at or below the ceiling; the orders are fixed when the ledger is created (Lemma Z).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from skdpal.privacy.accounting.amounts import Amounts, ceil_of, floor_of, value_of
from skdpal.privacy.accounting.renyi import ORDERS, best_epsilon, conversion, curve
from skdpal.privacy.accounting.search import bisect
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.errors import BudgetExhausted
from skdpal.privacy.events import Event
from skdpal.privacy.filters.base import Filter
from skdpal.privacy.validation import check_real

__all__ = ["RenyiFilter"]


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
            share = self._share(epsilon)
            return floor_of(share * value for value in self._curve)
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
