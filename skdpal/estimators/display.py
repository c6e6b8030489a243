"""How a private estimator looks in a notebook: scikit-learn's diagram, and below it what the ledger has left."""

from __future__ import annotations

from html import escape
from typing import Any

from sklearn.utils import estimator_html_repr

from skdpal.privacy.ledger.panel import bar, framed

__all__ = ["BudgetRepr", "budget_bar"]


class BudgetRepr:
    """Adds a budget bar to the HTML of an estimator with a `ledger`."""

    def _html_repr(self) -> str:
        return estimator_html_repr(self) + budget_bar(self.ledger)


def budget_bar(ledger: Any) -> str:
    """HTML of a bar: ε spent (odometer) of the committed ceiling; it reads the ledger, never patients.

    Parameters
    ----------
    ledger : PrivacyLedger or Handle or None
        None gives a sentence instead of a bar.
    """
    if ledger is None:
        return framed("no ledger: fits inside simulation() only")
    spent, budget = ledger.spent(), ledger.budget
    words = f"ε {spent:.2f} spent (odometer) of {budget.epsilon:.2f}, δ={budget.delta:g}, account {ledger.account}"
    return framed(bar(spent, budget.epsilon, words), escape(words))
