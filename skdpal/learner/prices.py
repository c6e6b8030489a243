"""What the next release of an estimator costs whoever pays for it."""

from __future__ import annotations

from typing import Any

from skdpal.privacy.events import Event

__all__ = ["price_for", "require_price"]


def price_for(estimator: Any, payer: Any, n_records: float | None = None) -> Event:
    """The event that an estimator would charge a payer; some leave out what the payer has no budget for."""
    asked = getattr(estimator, "privacy_event_for", None)
    return estimator.privacy_event(n_records) if asked is None else asked(payer)


def require_price(estimator: Any, payer: Any, words: str) -> None:
    """Raise `BudgetExhausted` unless a payer can afford the next release."""
    payer.require(price_for(estimator, payer), words)
