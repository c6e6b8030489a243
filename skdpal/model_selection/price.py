"""The price of fitting anything scikit-learn can nest, found by walking it.

Tags do not survive a `Pipeline`, so the walk looks at the parts: what reads private rows to learn from
them must charge, be frozen, or be stateless. Whatever is not known to be one of these costs infinity.

Two small protocols say so: `privacy_event(n_records)` of what charges, and `frozen_on_public` of what was
fitted on public data (True), or should have been (False).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags

from skdpal.estimators.scoring import MARK
from skdpal.model_selection.candidates import candidates_of_search, folds_of_search
from skdpal.model_selection.payers import parts_of
from skdpal.model_selection.scorers import PrivateScorer, scorers_in
from skdpal.privacy import events
from skdpal.privacy.events import Event

__all__ = ["Price", "any_of", "price_of"]

_LABELS = "infers the classes from private labels"
_REFUSED: dict[type, str] = {
    VotingClassifier: f"VotingClassifier {_LABELS}; fit the models one by one and average their probabilities",
    BaggingClassifier: f"BaggingClassifier {_LABELS} and draws patients several times; a DP model is not a bag of copies",
    StackingClassifier: f"StackingClassifier {_LABELS}, and splits by them",
}


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

    Examples
    --------
    >>> import numpy as np
    >>> from skdpal import DPPrototypeClassifier
    >>> from skdpal.model_selection import price_of
    >>> price = price_of(DPPrototypeClassifier(noise_multiplier=4.0), np.zeros((10, 2)))
    >>> price.culprit, price.exact_scores
    ('', False)
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
        A DP estimator, or a `Pipeline`, `ColumnTransformer`, `FeatureUnion`, `GridSearchCV`,
        `RandomizedSearchCV`, `PrivateSearchCV` or `BudgetGuard` around one.
    X, y : array-like
        Only their number of rows is used.

    Returns
    -------
    Price
        With infinity, and the culprit's name, for what is not private.

    Notes
    -----
    A `RandomizedSearchCV` over lists pays for the dearest candidate in every draw; with ``random_state=<int>``, and
    then also over distributions, for the candidates that it will draw.

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
    return _price(estimator, len(X))


def any_of(alternatives: list[Event]) -> Event:
    """The event that bounds each of several, order by order."""
    distinct = list(dict.fromkeys(alternatives))
    return distinct[0] if len(distinct) == 1 else events.one_of(distinct)


def _price(estimator: Any, n: int) -> Price:
    if isinstance(estimator, BaseSearchCV):
        return _search(estimator, n)
    if isinstance(estimator, Pipeline | ColumnTransformer | FeatureUnion):
        return _together([_price(step, n) for step in _steps(estimator)])
    if hasattr(estimator, "privacy_event"):
        return Price(events.composed(parts_of(estimator.privacy_event(n))))
    if estimator is None or isinstance(estimator, str | FrozenEstimator):
        return _FREE
    frozen = getattr(estimator, "frozen_on_public", None)
    if frozen is not None:
        return _FREE if frozen else _infinite(f"{type(estimator).__name__} is not fitted on public data yet")
    if isinstance(estimator, FunctionTransformer) and estimator.func is not None:
        return _infinite("FunctionTransformer may compute across patients")
    if type(estimator) in _REFUSED:
        return _infinite(_REFUSED[type(estimator)])
    if type(estimator).__module__.startswith("sklearn.") and not get_tags(estimator).requires_fit:
        return _FREE  # scikit-learn's stateless steps treat each row by itself; nobody vouches for others'
    return _infinite(f"{type(estimator).__name__} learns from private rows")


def _steps(estimator: Any) -> list[Any]:
    if isinstance(estimator, Pipeline):
        return [step for _, step in estimator.steps]
    if isinstance(estimator, FeatureUnion):
        return [step for _, step in estimator.transformer_list]
    return [step for _, step, _ in estimator.transformers] + [estimator.remainder]


def _search(search: BaseSearchCV, n: int) -> Price:
    folds, culprit = folds_of_search(search, n)
    candidates, draws, unknown = candidates_of_search(search)
    if culprit or unknown:
        return _infinite(culprit or unknown)
    parts: list[Price] = []
    for size, count in folds.items():
        prices = [_price(candidate, size) for candidate in candidates]
        if draws is None:
            parts += [_times(price, count) for price in prices]
        else:
            parts.append(_times(_dearest(prices), draws * count))
    if search.refit:  # of whichever wins
        parts.append(_dearest([_price(candidate, n) for candidate in candidates]))
    runs = sum(folds.values()) * (len(candidates) if draws is None else draws) * (1 + bool(search.return_train_score))
    scorers = list(scorers_in(search.scoring))
    parts += [_times(Price(scorer.event), runs) for scorer in scorers if isinstance(scorer, PrivateScorer)]
    return _together(parts, exact_scores=not all(hasattr(scorer, MARK) for scorer in scorers))


def _times(price: Price, count: int) -> Price:
    event = price.event if count == 1 else events.composed(parts_of(price.event), count=count)
    return Price(event, price.culprit, price.exact_scores)


def _dearest(prices: list[Price]) -> Price:
    """A bound for whichever of several candidates it is."""
    whole = _together(prices)
    return Price(_part_by_part([price.event for price in prices]), whole.culprit, whole.exact_scores)


def _part_by_part(alternatives: list[Event]) -> Event:
    """A bound of several that also bounds the sum of their parts, each charged, and rounded up, by itself."""
    lists = [event for event in alternatives if type(event) is events.Composed]
    if len(lists) < len(alternatives) or len({event.count for event in lists}) > 1:
        return any_of(alternatives)
    columns = zip_longest(*(event.events for event in lists))
    parts = [_part_by_part([part for part in column if part is not None]) for column in columns]
    return events.composed(parts, count=lists[0].count)


def _together(prices: list[Price], *, exact_scores: bool = False) -> Price:
    culprit = next((price.culprit for price in prices if price.culprit), "")
    scores = exact_scores or any(price.exact_scores for price in prices)
    parts = [part for price in prices for part in parts_of(price.event)]
    return Price(events.composed(parts), culprit, scores)


def _infinite(culprit: str) -> Price:
    return Price(events.composed([events.nonprivate()]), culprit)
