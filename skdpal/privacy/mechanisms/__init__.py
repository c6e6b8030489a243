"""How private rows become something that may leave: `release` is the one door."""

from skdpal.privacy.mechanisms.blocks import GaussianBlocks
from skdpal.privacy.mechanisms.door import Mechanism, release, require_ledger
from skdpal.privacy.mechanisms.kept import Kept
from skdpal.privacy.mechanisms.labels import LaplaceLabels, RandomizedResponse
from skdpal.privacy.mechanisms.scores import CellScores, GumbelTopK, LaplaceScores, NoisyScores
from skdpal.privacy.mechanisms.sums import GaussianSum

__all__ = [
    "CellScores",
    "GaussianBlocks",
    "GaussianSum",
    "GumbelTopK",
    "Kept",
    "LaplaceLabels",
    "LaplaceScores",
    "Mechanism",
    "NoisyScores",
    "RandomizedResponse",
    "release",
    "require_ledger",
]
