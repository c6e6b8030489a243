"""Nothing is fitted unless all of it is affordable."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skdpal.estimators.scoring import SETTLED
from skdpal.model_selection.payers import with_payer
from skdpal.model_selection.price import Price, price_of
from skdpal.privacy import BudgetExhausted, PrivacyLeakWarning, events
from skdpal.privacy.mechanisms import require_ledger

__all__ = ["BudgetGuard"]


def _has(name: str) -> Any:
    return available_if(lambda guard: hasattr(getattr(guard, "estimator_", guard.estimator), name))


class BudgetGuard(MetaEstimatorMixin, BaseEstimator):
    """Price a pipeline or a search before it runs, reserve the whole price, then run it.

    Without the guard, each fit inside a grid search charges as it goes, and scikit-learn turns a refusal half-way
    into a score of NaN. With it, either everything runs or nothing does.

    Parameters
    ----------
    estimator : estimator
        A DP estimator, alone or inside a `Pipeline`, `ColumnTransformer`, `FeatureUnion`, `GridSearchCV`,
        `RandomizedSearchCV` or `PrivateSearchCV`.
    ledger : PrivacyLedger or Handle
        Who pays, as one receipt.
    public_scores : bool, default=False
        Declare that the scorer of a search reads public data only. Otherwise its exact scores of
        private rows decide which model wins, and the certificate becomes void; except for scorers that pay or
        were declared public one by one (`make_private_scorer`, `public_scorer`).

    Attributes
    ----------
    estimator_ : estimator
        The fitted clone.

    Notes
    -----
    Charged: `privacy_event`, every fit that will run, and every private score, at once. In a search every patient pays for every fold. Folds must not
    depend on labels (`cv=KFold(5)`): in a stratified split one patient moves others between folds.

    Examples
    --------
    >>> import numpy as np, skdpal
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> model = skdpal.DPPrototypeClassifier(noise_multiplier=4.0, classes=[0, 1])
    >>> guard = skdpal.BudgetGuard(model, ledger=ledger).fit(np.eye(4), [0, 0, 1, 1])
    >>> guard.predict(np.eye(4)).shape, len(ledger.receipts())
    ((4,), 1)
    """

    def __init__(self, estimator: Any, ledger: Any = None, *, public_scores: bool = False) -> None:
        self.estimator = estimator
        self.ledger = ledger
        self.public_scores = public_scores

    def price(self, X: Any, y: Any = None) -> Price:
        """What `fit` would charge. Costs nothing."""
        return price_of(with_payer(clone(self.estimator), self.ledger), X, y)

    def fit(self, X: Any, y: Any = None, **fit_params: Any) -> Self:
        """Reserve, then fit.

        Raises
        ------
        BudgetExhausted
            Before anything is fitted, with the price of everything.

        Warns
        -----
        PrivacyLeakWarning
            If exact scores decide.
        """
        ledger, price = require_ledger(self.ledger), self.price(X, y)
        label = f"fit of {type(self.estimator).__name__}"
        if ledger is None:
            self.estimator_ = clone(self.estimator).fit(X, y, **fit_params)
            return self
        if price.culprit:
            raise BudgetExhausted(
                f"{label} costs ε=inf ({price.culprit}); spent {ledger.spent():.2f} of {ledger.budget.epsilon:.2f}. "
                "Fit such a part on public data and wrap it in sklearn.frozen.FrozenEstimator, or leave it out.",
                price=float("inf"),
                spent=ledger.spent(),
                ceiling=ledger.budget.epsilon,
            )
        handle = ledger.root.reserve(price.event, label, ledger.account)
        setattr(handle, SETTLED, True)
        if price.exact_scores and not self.public_scores:
            ledger.mark_void("chosen by uncharged scores")
            warnings.warn(
                f"{label} chooses by exact scores of private rows; the certificate is now void. Pass scoring="
                "make_private_scorer(...) to pay for them, or public_scores=True if they read public data only.",
                PrivacyLeakWarning,
                stacklevel=2,
            )
        self.estimator_ = with_payer(clone(self.estimator), handle).fit(X, y, **fit_params)
        return self

    @_has("predict")
    def predict(self, X: Any) -> np.ndarray:
        """As of the fitted estimator."""
        check_is_fitted(self)
        return self.estimator_.predict(X)

    @_has("predict_proba")
    def predict_proba(self, X: Any) -> np.ndarray:
        """As of the fitted estimator."""
        check_is_fitted(self)
        return self.estimator_.predict_proba(X)

    @_has("transform")
    def transform(self, X: Any) -> Any:
        """As of the fitted estimator."""
        check_is_fitted(self)
        return self.estimator_.transform(X)

    @property
    def classes_(self) -> np.ndarray:
        """As of the fitted estimator."""
        check_is_fitted(self)
        return self.estimator_.classes_

    def privacy_event(self, n_records: int) -> events.Event:
        """All releases of `fit` on that many records."""
        return self.price(np.empty((n_records, 0))).event

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.estimator)
