"""How informative one patient's label would be: pure scores of one patient, from 0 to 1.

Scores that depend on other patients of the pool (core-set, BADGE, ranked batches, ranks, z-scores) are refused:
one patient would move everybody's score, and the price with it.
"""

from skdpal.query.utilities.base import PerPatient, Utility
from skdpal.query.utilities.committee import Disagreement
from skdpal.query.utilities.dropout import Aleatoric, Bald
from skdpal.query.utilities.information import InformationGain
from skdpal.query.utilities.probabilities import Entropy, LeastConfidence, Margin, Random
from skdpal.query.utilities.rarity import Rarity
from skdpal.query.utilities.registry import REFUSED, UTILITIES, score, utility_of
from skdpal.query.utilities.typicality import Coherence, Typicality

__all__ = [
    "REFUSED",
    "UTILITIES",
    "Aleatoric",
    "Bald",
    "Coherence",
    "Disagreement",
    "Entropy",
    "InformationGain",
    "LeastConfidence",
    "Margin",
    "PerPatient",
    "Random",
    "Rarity",
    "Typicality",
    "Utility",
    "score",
    "utility_of",
]
