"""The filter of Gaussian releases.

Invariant: for every leaf that pays, the sum of μ² including the release stays at or below the ceiling.
Valid whatever earlier outputs led to the request (Lemma G).
"""

from __future__ import annotations

import math

from skdpal.privacy.accounting.amounts import Amounts, ceil_of, floor_of, value_of
from skdpal.privacy.accounting.gaussian import ceiling_mu_squared, epsilon_of_mu, mu_squared
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.events import Event
from skdpal.privacy.filters.base import Filter

__all__ = ["GdpFilter"]


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
