"""What pipelines and searches cost, the guard that reserves it, searches and scores that pay."""

from skdpal.model_selection.accuracy import (
    PrivateBalancedScore,
    PrivateScore,
    private_accuracy,
    private_balanced_accuracy,
)
from skdpal.model_selection.guard import BudgetGuard
from skdpal.model_selection.price import Price, price_of
from skdpal.model_selection.public_search import PublicSearchCV
from skdpal.model_selection.scorers import make_private_scorer, public_scorer
from skdpal.model_selection.search import PrivateSearchCV

__all__ = [
    "BudgetGuard",
    "Price",
    "PrivateBalancedScore",
    "PrivateScore",
    "PrivateSearchCV",
    "PublicSearchCV",
    "make_private_scorer",
    "price_of",
    "private_accuracy",
    "private_balanced_accuracy",
    "public_scorer",
]
