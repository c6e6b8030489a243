"""Whom to ask about: pure utilities, and the private selection that uses them."""

from skdpal.query.acceptance import AcceptanceRule, accept
from skdpal.query.strategy import PrivateQuery
from skdpal.query.utility import UTILITIES

__all__ = ["UTILITIES", "AcceptanceRule", "PrivateQuery", "accept"]
