"""The trusted kernel: what a release costs, who may afford it, where noise comes from.

Read it in this order: `events` (what is released), `accounting` (what it costs), `accounts` (who pays),
`filters` (who may afford it), `storage` (how that is remembered), `ledger` (who says yes), `mechanisms` (the one
door) and `randomness` (where noise comes from).
"""

from skdpal.privacy import events
from skdpal.privacy.accounting import epsilon_of
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.errors import (
    BudgetExhausted,
    LedgerError,
    LedgerSealed,
    LedgerTampered,
    PriceWarning,
    PrivacyLeakWarning,
)
from skdpal.privacy.filters import Charge, Schedule, Split
from skdpal.privacy.filters.calibration import calibrate
from skdpal.privacy.ledger import Handle, PrivacyLedger, Receipt, Selection

__all__ = [
    "BudgetExhausted",
    "Charge",
    "Handle",
    "LedgerError",
    "LedgerSealed",
    "LedgerTampered",
    "PriceWarning",
    "PrivacyBudget",
    "PrivacyLeakWarning",
    "PrivacyLedger",
    "Receipt",
    "Schedule",
    "Selection",
    "Split",
    "calibrate",
    "epsilon_of",
    "events",
]
