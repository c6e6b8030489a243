"""The trusted kernel: what a release costs, who may afford it, where noise comes from.

Read it in this order: `events` (what is released), `accounting` (what it costs), `filters` and `planned`
(who may afford it), `accounts` (who pays), `database`, `journal`, `vault` and `state` (how that is
remembered), `book` (where it is decided), `ledger` and `handle` (what users hold), `mechanisms` (the one
door) and `randomness` (where noise comes from).
"""

from skdpal.privacy import events
from skdpal.privacy.accounting import epsilon_of
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.calibration import calibrate
from skdpal.privacy.errors import BudgetExhausted, LedgerError, LedgerSealed, LedgerTampered, PrivacyLeakWarning
from skdpal.privacy.handle import Handle
from skdpal.privacy.ledger import PrivacyLedger
from skdpal.privacy.planned import Charge, Schedule, Split
from skdpal.privacy.state import Receipt

__all__ = [
    "BudgetExhausted",
    "Charge",
    "Handle",
    "LedgerError",
    "LedgerSealed",
    "LedgerTampered",
    "PrivacyBudget",
    "PrivacyLeakWarning",
    "PrivacyLedger",
    "Receipt",
    "Schedule",
    "Split",
    "calibrate",
    "epsilon_of",
    "events",
]
