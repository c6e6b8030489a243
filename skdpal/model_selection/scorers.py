"""Scorers for scikit-learn's searches: those that pay, and those that need not.

Both carry a mark that `skdpal.estimators.scoring` looks for; a search with any other scorer voids the certificate.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sklearn.metrics import get_scorer

from skdpal.estimators.scoring import MARK
from skdpal.model_selection.metrics import metric_of, noisy_counts
from skdpal.privacy.events import Event
from skdpal.privacy.mechanisms import require_ledger

__all__ = ["PrivateScorer", "PublicScorer", "make_private_scorer", "public_scorer", "scorers_in", "with_ledger"]


class PrivateScorer:
    """A scorer that charges a ledger each time it is called; made by `make_private_scorer`."""

    def __init__(self, scoring: str, ledger: Any, noise_multiplier: float) -> None:
        self.scoring, self.ledger, self.noise_multiplier = scoring, ledger, noise_multiplier
        self.event  # noqa: B018 - bad arguments are found before a search
        setattr(self, MARK, "private")

    @property
    def event(self) -> Event:
        """What one call costs."""
        return metric_of(self.scoring).mechanism(self.noise_multiplier).event

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """Charge, then score; not cut to [0, 1], so that means over folds are unbiased."""
        metric = metric_of(self.scoring)
        sums, n_patients = noisy_counts(
            metric, estimator, X, y, ledger=self.ledger, noise_multiplier=self.noise_multiplier, label="score"
        )
        return float(metric.value(sums, n_patients, self.noise_multiplier))

    def __repr__(self) -> str:
        return f"make_private_scorer({self.scoring!r}, noise_multiplier={self.noise_multiplier:g})"


class PublicScorer:
    """A scorer whose rows were declared public; made by `public_scorer`."""

    def __init__(self, scoring: Any, X: Any = None, y: Any = None) -> None:
        self.scoring, self.X, self.y = scoring, X, y
        setattr(self, MARK, "public")

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """The exact score."""
        score = self.scoring if callable(self.scoring) else get_scorer(self.scoring)
        rows = (X, y) if self.X is None else (self.X, self.y)
        return float(score(estimator, *rows))

    def __repr__(self) -> str:
        return f"public_scorer({self.scoring!r})"


def make_private_scorer(scoring: str, *, ledger: Any, noise_multiplier: float) -> PrivateScorer:
    """A scorer for ``scoring=`` that adds noise, and charges each time it is called.

    Parameters
    ----------
    scoring : {"accuracy", "balanced_accuracy"}
        See `private_accuracy` and `private_balanced_accuracy`.
    ledger : PrivacyLedger or Handle
        Who pays. `BudgetGuard` puts its reservation in its place. For ``n_jobs=2`` it must be durable.
    noise_multiplier : float
        Of each call.

    Returns
    -------
    PrivateScorer
        Picklable.

    Notes
    -----
    A search over c candidates in f folds charges c·f scores besides its fits. `PrivateSearchCV` is cheaper.

    Examples
    --------
    >>> import numpy as np, skdpal
    >>> from sklearn.model_selection import GridSearchCV, KFold
    >>> from skdpal.model_selection import make_private_scorer
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> model = skdpal.DPPrototypeClassifier(classes=[0, 1], ledger=ledger)
    >>> scoring = make_private_scorer("accuracy", ledger=ledger, noise_multiplier=9.0)
    >>> search = GridSearchCV(model, {"noise_multiplier": [8.0, 16.0]}, cv=KFold(2), scoring=scoring)
    >>> search = search.fit(np.eye(4), [0, 1, 0, 1])
    >>> len(ledger.receipts()), ledger.certificate()["status"]
    (9, 'valid')
    """
    require_ledger(ledger)
    return PrivateScorer(scoring, ledger, noise_multiplier)


def public_scorer(scoring: Any, X: Any = None, y: Any = None) -> PublicScorer:
    """Declare that a scorer reads public rows only.

    Parameters
    ----------
    scoring : str or callable
        As in scikit-learn: a name, or ``score(estimator, X, y)``.
    X, y : array-like, optional
        Public rows to score on, whatever the search holds out. Without them you declare that the rows of the
        search itself are public.

    Returns
    -------
    PublicScorer
        Picklable if its parts are.

    Raises
    ------
    ValueError
        If only one of X and y is given.

    Examples
    --------
    >>> from skdpal.model_selection import public_scorer
    >>> public_scorer("accuracy")
    public_scorer('accuracy')
    """
    if not callable(scoring):
        get_scorer(scoring)
    if (X is None) != (y is None):
        raise ValueError("Expected both X and y, or neither. Pass the labels of the public rows.")
    return PublicScorer(scoring, X, y)


def scorers_in(scoring: Any) -> Iterator[Any]:
    """All scorers of a ``scoring=``."""
    if isinstance(scoring, dict):
        yield from scoring.values()
    elif isinstance(scoring, list | tuple | set):
        yield from scoring
    else:
        yield scoring


def with_ledger(scoring: Any, ledger: Any) -> Any:
    """The same ``scoring=``, with scorers that charge another ledger."""
    if isinstance(scoring, PrivateScorer):
        return PrivateScorer(scoring.scoring, ledger, scoring.noise_multiplier)
    if isinstance(scoring, dict):
        return {name: with_ledger(scorer, ledger) for name, scorer in scoring.items()}
    return scoring
