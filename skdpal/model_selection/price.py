"""The price of fitting anything scikit-learn can nest, found by walking it.

Tags do not survive a `Pipeline`, so the walk looks at the parts: what reads private rows to learn from
them must charge, be frozen, or be stateless. Whatever is not known to be one of these costs infinity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut, LeavePOut, ParameterGrid, ShuffleSplit
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

from skdpal.estimators import PublicEncoder
from skdpal.privacy import events
from skdpal.privacy.accounting import mu_squared
from skdpal.privacy.events import Event

__all__ = ["Price", "price_of"]

# splitters that assign rows by position alone; stratified ones read the labels of all patients
_BLIND_SPLITTERS = (KFold, ShuffleSplit, LeaveOneOut, LeavePOut)


@dataclass(frozen=True)
class Price:
    """What a fit costs.

    Attributes
    ----------
    event : Event
        All its releases.
    culprit : str
        Why it is not private; empty if it is.
    exact_scores : bool
        Whether exact scores of held-out private rows decide something.
    """

    event: Event
    culprit: str = ""
    exact_scores: bool = False


_FREE = Price(events.composed([]))


def price_of(estimator: Any, X: Any, y: Any = None) -> Price:
    """Price `estimator.fit(X, y)` without fitting.

    Parameters
    ----------
    estimator : estimator
        A DP estimator, or a `Pipeline`, `ColumnTransformer`, `FeatureUnion` or `GridSearchCV` around one.
    X, y : array-like
        Only their number of rows is used.

    Returns
    -------
    Price

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import Normalizer, StandardScaler
    >>> from skdpal import DPPrototypeClassifier
    >>> from skdpal.model_selection import price_of
    >>> X = np.zeros((10, 2))
    >>> len(price_of(make_pipeline(Normalizer(), DPPrototypeClassifier()), X).event.events)
    1
    >>> price_of(make_pipeline(StandardScaler(), DPPrototypeClassifier()), X).culprit
    'StandardScaler learns from private rows'
    """
    if isinstance(estimator, GridSearchCV):
        return _search(estimator, X)
    if isinstance(estimator, Pipeline):
        return _together([price_of(step, X) for _, step in estimator.steps])
    if isinstance(estimator, ColumnTransformer):
        return _together([price_of(step, X) for _, step, _ in [*estimator.transformers, ("", estimator.remainder, [])]])
    if isinstance(estimator, FeatureUnion):
        return _together([price_of(step, X) for _, step in estimator.transformer_list])
    if hasattr(estimator, "privacy_event"):
        return Price(events.composed(_parts(estimator.privacy_event(len(X)))))
    if estimator is None or isinstance(estimator, str | FrozenEstimator):
        return _FREE
    if isinstance(estimator, PublicEncoder):
        frozen = hasattr(estimator, "components_")
        return _FREE if frozen else _infinite("PublicEncoder is not fitted on public data yet")
    if isinstance(estimator, FunctionTransformer) and estimator.func is not None:
        return _infinite("FunctionTransformer may compute across patients")
    if type(estimator).__module__.startswith("sklearn.") and not get_tags(estimator).requires_fit:
        return _FREE  # scikit-learn's stateless steps treat each row by itself; nobody vouches for others'
    return _infinite(f"{type(estimator).__name__} learns from private rows")


def _search(search: GridSearchCV, X: Any) -> Price:
    splitter = search.cv
    if not isinstance(splitter, _BLIND_SPLITTERS):  # None and numbers stratify classifiers
        return _infinite(f"cv={splitter!r} may split by the labels of all patients; pass cv=KFold(5)")
    candidates = [clone(search.estimator).set_params(**chosen) for chosen in ParameterGrid(search.param_grid)]
    prices = [price_of(candidate, X) for candidate in candidates]
    fits = [price for price in prices for _ in range(splitter.get_n_splits(X))]
    if search.refit:  # of whichever wins: the least noisy is the dearest
        fits.append(max(prices, key=lambda price: mu_squared(price.event)))
    return _together(fits, exact_scores=True)


def _together(prices: list[Price], *, exact_scores: bool = False) -> Price:
    culprit = next((price.culprit for price in prices if price.culprit), "")
    scores = exact_scores or any(price.exact_scores for price in prices)
    parts = [part for price in prices for part in _parts(price.event)]
    return Price(events.composed(parts), culprit, scores)


def _parts(event: Event) -> tuple[Event, ...]:
    return event.events if isinstance(event, events.Composed) else (event,)


def _infinite(culprit: str) -> Price:
    return Price(events.composed([events.nonprivate()]), culprit)
