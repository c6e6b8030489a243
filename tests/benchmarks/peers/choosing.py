"""Active-learning queries: whether they are private, and how often a strategy is called."""

from __future__ import annotations

from typing import Any

import numpy as np

from .checks import check, refusal

Y = np.array([0, 1] * 20)
X = np.clip(np.random.default_rng(0).normal(size=(40, 3)) / 3 + (Y[:, None] - 0.5) / 2, -1, 1)
START, WAITING = slice(0, 10), slice(10, 40)
ANSWERS: dict[str, Any] = {"index": [3], "pair": [3, 4], "raise": None}


def counted(kind: str) -> tuple[Any, list[int]]:
    """A strategy that returns one index, returns two, or raises; and the list of its calls."""
    calls: list[int] = []

    def strategy(learner, X_pool, n_instances=1, **rest):  # noqa: ANN001, ANN003, ANN202, ARG001
        """It asks for places in the pool."""
        calls.append(1)
        if kind == "raise":
            raise RuntimeError("the budget is gone")
        return np.array(ANSWERS[kind])

    return strategy, calls


# -- how often a strategy, and its noise, runs for one query


def calls_of(make_learner: Any) -> str:
    """Number of calls for each kind of strategy."""
    found = []
    for kind in ANSWERS:
        strategy, calls = counted(kind)
        learner = make_learner(strategy)
        refusal(lambda learner=learner: learner.query(X[WAITING]))
        found.append(str(len(calls)))
    return f"{'/'.join(found)} calls for an index, a pair, an error"


@check("calls", "modAL")
def _() -> str:
    """The newest release, one query."""
    from modAL.models import ActiveLearner
    from sklearn.linear_model import LogisticRegression

    return calls_of(lambda strategy: ActiveLearner(LogisticRegression(), strategy, X[START], Y[START]))


@check("calls", "skdpal")
def _() -> str:
    """`PrivateActiveLearner` (on modAL 0.4.1), one query."""
    from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger, PrivateActiveLearner, PrivateQuery

    def make(strategy):  # noqa: ANN001, ANN202
        class Counted(PrivateQuery):
            """It takes no other kind of strategy."""

            def __call__(self, learner, X_pool, n_instances=3, *, record_ids=None):  # noqa: ANN001, ANN204, ARG002
                """Count."""
                return strategy(learner, X_pool, n_instances)

        ledger = PrivacyLedger(PrivacyBudget(2.0))
        model = DPPrototypeClassifier(6.0, classes=[0, 1])
        return PrivateActiveLearner(model, Counted(), X[START], Y[START], ledger=ledger)

    return calls_of(make)


@check("calls", "scikit-activeml")
def _() -> str:
    """How often its default query fits the classifier."""
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import UncertaintySampling
    from skactiveml.utils import MISSING_LABEL
    from sklearn.naive_bayes import GaussianNB

    fits = []

    class Counted(GaussianNB):
        """Counts."""

        def fit(self, X, y, sample_weight=None):  # noqa: ANN001, ANN202
            """Fit."""
            fits.append(len(X))
            return super().fit(X, y)

    y = np.full(40, MISSING_LABEL)
    y[START] = Y[START]
    model = SklearnClassifier(Counted(), classes=[0, 1]).fit(X, y)
    before = len(fits)
    UncertaintySampling(random_state=0).query(X, y, clf=model)
    by_default = len(fits) - before
    UncertaintySampling(random_state=0).query(X, y, clf=model, fit_clf=False)
    return f"a query fits the classifier {by_default} time more by default, {len(fits) - before - by_default} with fit_clf=False"


# -- is the query private: does another patient's row decide whether a patient is asked


@check("query", "modAL")
def _() -> str:
    """Uncertainty sampling; a patient in the pool becomes certain."""
    from modAL.models import ActiveLearner
    from modAL.uncertainty import uncertainty_sampling
    from sklearn.linear_model import LogisticRegression

    learner = ActiveLearner(LogisticRegression(), uncertainty_sampling, X[START], Y[START])
    pool = X[WAITING].copy()
    first = int(np.ravel(learner.query(pool)[0])[0])
    pool[first] = 9.0
    second = int(np.ravel(learner.query(pool)[0])[0])
    return f"exact: when the chosen patient's row changes, another is chosen (place {first}, then {second}); no ε"


@check("query", "scikit-activeml")
def _() -> str:
    """The same."""
    from skactiveml.classifier import SklearnClassifier
    from skactiveml.pool import UncertaintySampling
    from skactiveml.utils import MISSING_LABEL
    from sklearn.linear_model import LogisticRegression

    y = np.full(40, MISSING_LABEL)
    y[START] = Y[START]
    rows, found = X.copy(), []
    for _ in range(2):
        model = SklearnClassifier(LogisticRegression(), classes=[0, 1]).fit(X[START], y[START])
        found.append(int(UncertaintySampling(random_state=0).query(rows, y, clf=model, fit_clf=False)[0]))
        rows[found[-1]] = 9.0
    return f"exact: when the chosen patient's row changes, another is chosen (place {found[0]}, then {found[1]}); no ε"


@check("query", "skdpal")
def _() -> str:
    """A hidden query: the same change moves nobody else; a published one is charged."""
    from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger, PrivateActiveLearner, PrivateQuery

    ids = np.array([f"p{at}" for at in range(40)])

    def asked(changed: int | None, query: Any) -> tuple[set[int], Any]:
        ledger = PrivacyLedger(PrivacyBudget(4.0))
        learner = PrivateActiveLearner(
            DPPrototypeClassifier(6.0, classes=[0, 1]), query, X[START], Y[START], ledger=ledger, record_ids=ids[START]
        )
        pool, moved, places = X[WAITING], X[WAITING].copy(), []
        places.append(set(np.ravel(learner.query(pool, 8, record_ids=ids[WAITING])[0]).tolist()))
        for at in range(len(pool)) if changed is None else ():
            moved[:] = pool
            moved[at] = 0.9
            chosen = set(np.ravel(learner.query(moved, 8, record_ids=ids[WAITING])[0]).tolist())
            places.append((chosen ^ places[0]) - {at})
        return set().union(*places[1:]), ledger

    others, hidden = asked(None, PrivateQuery(n_pool=30))
    _, published = asked(0, PrivateQuery(release="published", noise_multiplier=8.0))
    return (
        f"hidden: each of 30 rows changed in turn moves {len(others)} others, and costs nothing "
        f"({len(hidden.receipts()) - 1} receipts); published: {len(published.receipts()) - 1} receipt, ε = {published.spent():.2f} in all"
    )
