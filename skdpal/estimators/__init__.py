"""Differentially private learners and public encoders, as scikit-learn estimators."""

from importlib import import_module
from typing import Any

from skdpal.estimators.linear import DPLinearClassifier
from skdpal.estimators.posterior import Posterior, Release
from skdpal.estimators.prior import PublicPrior
from skdpal.estimators.prototype import DPPrototypeClassifier
from skdpal.estimators.public import DPShift, PublicEncoder
from skdpal.estimators.transition import Transition

_NEURAL = ("DPEncoder", "DPNeuralClassifier")  # torch takes seconds to import

__all__ = [
    "DPEncoder",
    "DPLinearClassifier",
    "DPNeuralClassifier",
    "DPPrototypeClassifier",
    "DPShift",
    "Posterior",
    "PublicEncoder",
    "PublicPrior",
    "Release",
    "Transition",
]


def __getattr__(name: str) -> Any:
    if name in _NEURAL:
        return getattr(import_module("skdpal.estimators.neural"), name)
    raise AttributeError(f"module 'skdpal.estimators' has no attribute {name!r}")
