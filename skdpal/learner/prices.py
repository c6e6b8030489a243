"""What the next release of an estimator costs whoever pays for it."""

from __future__ import annotations

import warnings
from typing import Any

from skdpal.privacy import PriceWarning, epsilon_of
from skdpal.privacy.events import Event

__all__ = ["price_for", "require_price", "warn_of_everybody"]


def price_for(estimator: Any, payer: Any, n_records: float | None = None) -> Event:
    """The event that an estimator would charge a payer; some leave out what the payer has no budget for."""
    asked = getattr(estimator, "privacy_event_for", None)
    return estimator.privacy_event(n_records) if asked is None else asked(payer)


def require_price(estimator: Any, payer: Any, words: str) -> None:
    """Raise `BudgetExhausted` unless a payer can afford the next release."""
    payer.require(price_for(estimator, payer), words)


def warn_of_everybody(event: Event, ledger: Any) -> None:
    """Say what learning from everybody again costs."""
    warnings.warn(
        f"only_new=False learns from everybody again: ε={epsilon_of([event], ledger.budget.delta):.2f} more for every patient, "
        f"also for those who paid before; spent {ledger.spent():.2f} of {ledger.budget.epsilon:.2f}. "
        "only_new=True charges the new cohort alone.",
        PriceWarning,
        stacklevel=3,
    )
