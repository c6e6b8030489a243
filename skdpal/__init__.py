"""Differentially private active learning for precision oncology, in scikit-learn's idiom.

Heavy parts (modAL, matplotlib, OpenDP) are imported when they are first used.
"""

from importlib import import_module
from typing import Any

from skdpal.privacy import BudgetExhausted, PrivacyBudget, PrivacyLeakWarning, PrivacyLedger

__version__ = "0.1.0"

_LATE = {
    "ActiveLearningStudy": "skdpal.learner",
    "BudgetGuard": "skdpal.model_selection",
    "DPEncoder": "skdpal.estimators",
    "DPLinearClassifier": "skdpal.estimators",
    "DPModalityClassifier": "skdpal.cohort",
    "DPNeuralClassifier": "skdpal.estimators",
    "DPPrototypeClassifier": "skdpal.estimators",
    "ModalityBlocks": "skdpal.cohort",
    "PrivateActiveLearner": "skdpal.learner",
    "PrivateQuery": "skdpal.query",
    "PrivateSearchCV": "skdpal.model_selection",
    "PublicEncoder": "skdpal.estimators",
    "PublicSearchCV": "skdpal.model_selection",
    "WarmStart": "skdpal.cohort",
    "plan_study": "skdpal.learner",
}
_MODULES = ("audit", "cohort", "datasets", "estimators", "learner", "model_selection", "privacy", "query", "report")

__all__ = ["BudgetExhausted", "PrivacyBudget", "PrivacyLeakWarning", "PrivacyLedger", "__version__", *_LATE, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    if name in _MODULES:
        return import_module(f"skdpal.{name}")
    raise AttributeError(f"module 'skdpal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
