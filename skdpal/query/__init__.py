"""Whom to ask about: pure utilities, and the private selection that uses them."""

from skdpal.query.selections import (
    AcceptanceRule,
    Chunks,
    PublicChunks,
    PublicPartition,
    PublishedSelection,
    accept,
    accept_all,
)
from skdpal.query.strategy import PrivateQuery
from skdpal.query.utilities import UTILITIES, Utility, score

__all__ = [
    "UTILITIES",
    "AcceptanceRule",
    "Chunks",
    "PrivateQuery",
    "PublicChunks",
    "PublicPartition",
    "PublishedSelection",
    "Utility",
    "accept",
    "accept_all",
    "score",
]
