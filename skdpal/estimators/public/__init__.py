"""What is learnt from public data, then frozen; and how far patients are from it."""

from skdpal.estimators.public.encoder import PublicEncoder
from skdpal.estimators.public.genes import GeneMatch
from skdpal.estimators.public.shift import DPShift

__all__ = ["DPShift", "GeneMatch", "PublicEncoder"]
