"""The only one who says yes."""

from skdpal.privacy.ledger.handle import Handle, Selection
from skdpal.privacy.ledger.ledger import PrivacyLedger
from skdpal.privacy.ledger.shares import Shares
from skdpal.privacy.ledger.state import Receipt

__all__ = ["Handle", "PrivacyLedger", "Receipt", "Selection", "Shares"]
