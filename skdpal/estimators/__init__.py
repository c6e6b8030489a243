"""Differentially private learners and the frozen public encoder, as scikit-learn estimators."""

from skdpal.estimators.posterior import Posterior, Release
from skdpal.estimators.prior import PublicPrior
from skdpal.estimators.prototype import DPPrototypeClassifier
from skdpal.estimators.public.encoder import PublicEncoder

__all__ = ["DPPrototypeClassifier", "Posterior", "PublicEncoder", "PublicPrior", "Release"]
