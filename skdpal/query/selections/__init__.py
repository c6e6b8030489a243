"""Whom a round asks: accepted one by one and hidden, or the best of noisy scores; partitions and chunks of the pool."""

from skdpal.query.selections.acceptance import AcceptanceRule, accept, accept_all
from skdpal.query.selections.chunks import Chunks, PublicChunks
from skdpal.query.selections.partition import PublicPartition
from skdpal.query.selections.published import PublishedSelection

__all__ = ["AcceptanceRule", "Chunks", "PublicChunks", "PublicPartition", "PublishedSelection", "accept", "accept_all"]
