"""What pipelines and searches cost, the guard that reserves it, and scores that pay."""

from skdpal.model_selection.accuracy import PrivateScore, private_accuracy
from skdpal.model_selection.guard import BudgetGuard
from skdpal.model_selection.price import Price, price_of

__all__ = ["BudgetGuard", "Price", "PrivateScore", "price_of", "private_accuracy"]
