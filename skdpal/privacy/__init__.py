"""The trusted kernel: what a release costs, who may afford it, where noise comes from.

Read it in this order: `events` (what is released), `accounting` (what it costs),
`accounts` (who pays), `store` and `state` (how that is remembered), `ledger` (who says yes),
`mechanisms` (the one door) and `randomness` (where noise comes from).
"""

from skdpal.privacy import events
from skdpal.privacy.accounting import calibrate, epsilon_of
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.errors import BudgetExhausted, LedgerError, LedgerSealed, LedgerTampered, PrivacyLeakWarning
from skdpal.privacy.handle import Handle
from skdpal.privacy.ledger import PrivacyLedger
from skdpal.privacy.state import Receipt

__all__ = [
    "BudgetExhausted",
    "Handle",
    "LedgerError",
    "LedgerSealed",
    "LedgerTampered",
    "PrivacyBudget",
    "PrivacyLeakWarning",
    "PrivacyLedger",
    "Receipt",
    "calibrate",
    "epsilon_of",
    "events",
]
