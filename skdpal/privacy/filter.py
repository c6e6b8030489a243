"""Who may still afford what.

Invariants
----------
* The kind of filter and its ceiling are fixed when a ledger is created.
* "gdp": a release is allowed if, for every leaf that pays, the sum of μ² including it stays at
  or below the ceiling. Valid whatever earlier outputs led to the request (Lemma G).
* Refusals are computed from public parameters: they reveal nothing.
"""

from __future__ import annotations

import math

from skdpal.privacy import events
from skdpal.privacy.accounting import ceiling_mu_squared, epsilon_of_mu
from skdpal.privacy.accounts import Accounts
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.errors import BudgetExhausted
from skdpal.privacy.events import Event, mu_squared

__all__ = ["GdpFilter"]


class GdpFilter:
    """The exact filter for Gaussian releases.

    Parameters
    ----------
    budget : PrivacyBudget
        Its ceiling, as a sum of μ², is `ceiling`.
    """

    kind = "gdp"

    def __init__(self, budget: PrivacyBudget) -> None:
        self.budget = budget
        self.ceiling = ceiling_mu_squared(budget)

    def affords(self, accounts: Accounts, event: Event, account: str) -> bool:
        """Whether every leaf at or below an account can pay."""
        mu2 = mu_squared(event)
        leaves = accounts.under(accounts.check(account))
        return all(math.fsum([*accounts.leaves[leaf], mu2]) <= self.ceiling for leaf in leaves)

    def require(self, accounts: Accounts, event: Event, label: str, account: str) -> None:
        """Raise `BudgetExhausted`, with price, spent, ceiling and one way out, unless affordable."""
        if self.affords(accounts, event, account):
            return
        paid, delta, ceiling = accounts.spent(account), self.budget.delta, self.budget.epsilon
        price, spent = (epsilon_of_mu(math.sqrt(mu2), delta) for mu2 in (mu_squared(event), paid))
        raise BudgetExhausted(
            f"{label} costs ε={price:.2f}; spent {spent:.2f} of {ceiling:.2f} "
            f"(account {account!r}, δ={delta:g}). {self._remedy(event, self.ceiling - paid)}",
            price=price,
            spent=spent,
            ceiling=ceiling,
        )

    def _remedy(self, event: Event, left: float) -> str:
        if math.isinf(mu_squared(event)):
            return "No noise covers it: use a DP estimator, public data, or freeze what is public."
        if left > 1e-3 * self.ceiling:
            if isinstance(event, events.Gaussian):
                enough = math.ceil(1e3 * math.sqrt(event.steps / left)) / 1e3
                return f"Raise noise_multiplier to {enough:g}; see plan_study."
            factor = math.ceil(1e3 * math.sqrt(mu_squared(event) / left)) / 1e3
            return f"Multiply every noise_multiplier by {factor:g}, or release less often; see plan_study."
        return "Nothing is left for these patients: plan fewer releases; see plan_study."
