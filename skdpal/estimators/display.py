"""How a private estimator looks in a notebook: scikit-learn's diagram, and below it what the ledger has left."""

from __future__ import annotations

from html import escape
from typing import Any

from sklearn.utils import estimator_html_repr

__all__ = ["BudgetDisplay", "budget_bar"]


class BudgetDisplay:
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
    style = "font:13px sans-serif;margin:.4em 0;max-width:24em"
    if ledger is None:
        return f'<div style="{style}">no ledger: fits inside simulation() only</div>'
    spent, ceiling = ledger.spent(), ledger.budget.epsilon
    share = min(spent / ceiling, 1.0)
    words = f"ε {spent:.2f} spent (odometer) of {ceiling:.2f}, δ={ledger.budget.delta:g}, account {ledger.account}"
    return (
        f'<div style="{style}" role="img" aria-label="{escape(words)}"><div style="background:#ddd;height:.6em;border-radius:3px">'
        f'<div style="width:{100 * share:.1f}%;height:100%;border-radius:3px;background:{"#b3261e" if share > 0.9 else "#2f6f8f"}">'
        f"</div></div>{escape(words)}</div>"
    )
