"""What goes wrong, by name."""

from __future__ import annotations

__all__ = ["BudgetExhausted", "LedgerError", "LedgerSealed", "LedgerTampered", "PriceWarning", "PrivacyLeakWarning"]


class BudgetExhausted(RuntimeError):
    """A release was refused because the account cannot afford it.

    Nothing was computed, released or written. The message holds the price, the
    spend and the ceiling, all public, and one way out.

    Parameters
    ----------
    message : str
        What the user reads.
    price, spent, ceiling : float, optional
        ε of the refused release alone, ε spent so far, ε of the ceiling.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.privacy import events
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=1.0))
    >>> try:
    ...     ledger.charge(events.gaussian(1.0), label="too dear")
    ... except skdpal.BudgetExhausted as refusal:
    ...     print(round(refusal.price, 2), refusal.spent, refusal.ceiling, len(ledger.receipts()))
    4.38 0.0 1.0 0
    """

    def __init__(
        self,
        message: str,
        *,
        price: float | None = None,
        spent: float | None = None,
        ceiling: float | None = None,
    ) -> None:
        super().__init__(message)
        self.price = price
        self.spent = spent
        self.ceiling = ceiling


class LedgerError(RuntimeError):
    """The ledger cannot be used as asked."""


class LedgerSealed(LedgerError):
    """A copy of an in-memory ledger: it can be read, never charged."""


class LedgerTampered(LedgerError):
    """The store does not hold what the ledger wrote."""


class PriceWarning(UserWarning):
    """Something that could be had for less is about to be paid."""


class PrivacyLeakWarning(UserWarning):
    """Something leaves, or could leave, that no receipt pays for."""
