"""Neural networks trained by noisy gradients."""

from skdpal.estimators.neural.classifier import DPNeuralClassifier
from skdpal.estimators.neural.encoder import DPEncoder
from skdpal.estimators.neural.modules import GenomicClassifier, GenomicEncoder

__all__ = ["DPEncoder", "DPNeuralClassifier", "GenomicClassifier", "GenomicEncoder"]
