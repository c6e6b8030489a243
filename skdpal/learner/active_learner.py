"""modAL's learner, on a budget."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from modAL.models import ActiveLearner
from modAL.utils.data import retrieve_rows
from sklearn.base import clone

from skdpal.privacy.accounts import POOL
from skdpal.privacy.identities import identify
from skdpal.query import PrivateQuery

__all__ = ["PrivateActiveLearner"]


class PrivateActiveLearner(ActiveLearner):
    """An active learner whose every cohort pays once, under one ledger.

    It keeps modAL's verbs. The starting cohort is the account ``cohort/start``, the cohort of
    each `teach` a new account ``cohort/round-1``, ``cohort/round-2``, ...; whoever was not accepted stays
    in ``cohort/pool``. A patient is in one account, so the study costs what one release costs.

    Parameters
    ----------
    estimator : DP estimator
        With `partial_fit`; the learner works on a clone of it.
    query_strategy : PrivateQuery
        Other strategies are refused: an exact choice by private scores is an uncharged release.
    X_training, y_training : array-like, optional
        The starting cohort; fitted, and charged, at once.
    ledger : PrivacyLedger, optional
        Default: that of the estimator.
    record_ids : sequence, optional
        The patients of X_training.
    bootstrap_init, on_transformed : bool, default=False
        modAL's; only False is private.
    **fit_kwargs
        Passed to the estimator's `fit`.

    Attributes
    ----------
    estimator : DP estimator
        The fitted clone; it holds released numbers only.
    X_training, y_training : array-like or None
        Rows taught so far, in memory only: pickles, clones and reprs do not carry them.

    Notes
    -----
    Charged: the event of the estimator, by the start and by each `teach`, also for zero rows. `query` is free.

    Examples
    --------
    >>> import skdpal
    >>> data = skdpal.datasets.load_srbct()
    >>> public, tumours = data.is_cell_line, ~data.is_cell_line
    >>> encoder = skdpal.PublicEncoder(n_components=16).fit(data.data[public], data.target[public])
    >>> X, y = encoder.transform(data.data[tumours]), data.target[tumours]
    >>> prior = skdpal.DPPrototypeClassifier.prior_from_public(encoder.transform(data.data[public]), data.target[public])
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> learner = skdpal.PrivateActiveLearner(
    ...     estimator=skdpal.DPPrototypeClassifier(noise_multiplier=2.0, prior=prior),
    ...     query_strategy=skdpal.PrivateQuery(n_pool=20), X_training=X[:6], y_training=y[:6], ledger=ledger)
    >>> indices, rows = learner.query(X[6:26], n_instances=3)
    >>> learner.teach(rows, y[6:26][indices])
    >>> [receipt.account for receipt in ledger.receipts()]
    ['cohort/start', 'cohort/round-1']
    """

    teach_account = POOL  # who pays for the next teach

    def __init__(
        self,
        estimator: Any,
        query_strategy: Any,
        X_training: Any = None,
        y_training: Any = None,
        ledger: Any = None,
        record_ids: Any = None,
        bootstrap_init: bool = False,
        on_transformed: bool = False,
        **fit_kwargs: Any,
    ) -> None:
        if not isinstance(query_strategy, PrivateQuery):
            raise TypeError(
                f"Expected query_strategy to be a PrivateQuery. Found {type(query_strategy).__name__}. "
                "An exact choice by private scores is a release that nothing pays for."
            )
        if not hasattr(estimator, "privacy_event") or not hasattr(estimator, "partial_fit"):
            raise TypeError(
                f"Expected estimator to be a DP estimator with partial_fit. Found {type(estimator).__name__}. "
                "Use DPPrototypeClassifier on rows embedded by a PublicEncoder."
            )
        if bootstrap_init or on_transformed:
            raise ValueError(
                "Expected bootstrap_init=False and on_transformed=False: a patient drawn twice pays twice."
            )
        ledger = estimator.ledger if ledger is None else ledger
        if ledger is None:
            raise ValueError("Expected ledger to be a PrivacyLedger. Found None. Pass ledger=PrivacyLedger(budget).")
        self.estimator = clone(estimator)
        self.query_strategy = query_strategy
        self.ledger = ledger.root
        self.bootstrap_init = bootstrap_init
        self.on_transformed = on_transformed
        self.force_all_finite = True
        self.X_training = self.y_training = None
        self._asked: int | None = None
        if X_training is not None:
            self.fit(X_training, y_training, record_ids=record_ids, **fit_kwargs)

    def fit(self, X: Any, y: Any, bootstrap: bool = False, *, record_ids: Any = None, **fit_kwargs: Any) -> Self:
        """Learn from the starting cohort, once; it becomes the account ``cohort/start``.

        Parameters
        ----------
        X, y : array-like
            At least one patient; their number is public.
        bootstrap : bool, default=False
            Only False is private.
        record_ids : sequence, optional
            The patients.
        """
        self._refuse_bootstrap(bootstrap)
        self.ledger.require_branch(self.estimator.privacy_event(), "fit of the starting cohort", POOL)
        ids = identify(X, record_ids)
        fit_kwargs.setdefault("expected_records", len(set(ids)))
        self._learn("fit", X, y, "cohort/start", ids, fit_kwargs)
        return self

    def query(self, X_pool: Any, n_instances: int = 3, **query_kwargs: Any) -> tuple[Any, Any]:
        """Choose about `n_instances` patients of a pool.

        Returns
        -------
        indices : ndarray of int
            Positions in X_pool, for the pathologist only; their number is private.
        rows : same type as X_pool
            The patients' rows.

        Raises
        ------
        BudgetExhausted
            If the `teach` to come is not affordable; see `PrivateQuery`.
        """
        indices = self.query_strategy(self, X_pool, n_instances=n_instances, **query_kwargs)
        self._asked = n_instances
        return indices, retrieve_rows(X_pool, indices)

    def teach(
        self,
        X: Any,
        y: Any,
        bootstrap: bool = False,
        only_new: bool = True,
        *,
        record_ids: Any = None,
        expected_records: float | None = None,
        **fit_kwargs: Any,
    ) -> None:
        """Learn from a new cohort, which becomes an account of its own.

        Patients who are not in the pool any more are passed over. Zero rows are charged and released like
        any others. A refusal, or bad input, leaves everything as it was.

        Parameters
        ----------
        X, y : array-like
            Patients and their labels.
        bootstrap : bool, default=False
            Only False is private.
        only_new : bool, default=True
            Only True pays once: what earlier cohorts released is kept and combined.
        record_ids : sequence, optional
            The patients; as given to `query`.
        expected_records : float, optional
            Public expectation of their number. Default: `n_instances` of the query before.
        """
        self._refuse_bootstrap(bootstrap)
        if not only_new:
            raise ValueError(
                "Expected only_new=True: learning from everybody again would charge everybody again, and the "
                "estimator keeps what earlier cohorts released. To retrain anyway, fit a new estimator on account 'cohort'."
            )
        number = sum(leaf.startswith("cohort/round-") for leaf in self.ledger.accounts()) + 1
        self.ledger.require_branch(self.estimator.privacy_event(expected_records), f"teach (round {number})", POOL)
        ids = identify(X, record_ids)
        if len(y) != len(ids):
            raise ValueError("Expected y to have one label for each row of X. Pass the labels of the same rows.")
        keep = [at for at, leaf in enumerate(self.ledger.accounts_of(ids)) if leaf == POOL]
        if expected_records is None:
            expected_records = self._asked
        fit_kwargs["expected_records"] = expected_records
        X, y, ids = retrieve_rows(X, keep), np.asarray(y)[keep], [ids[at] for at in keep]
        if not keep and isinstance(X, list):  # a list of nobody does not know how many columns it has
            X = np.empty((0, getattr(self.estimator, "n_features_in_", 0)))
        self._learn("partial_fit", X, y, f"cohort/round-{number}", ids, fit_kwargs)
        self._asked = None

    def score(self, X: Any, y: Any, *, public: bool = False, **score_kwargs: Any) -> float:
        """Exact accuracy; declare `public=True` for public data, else the certificate becomes void."""
        return self.estimator.score(X, y, public=public, **score_kwargs)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """As in scikit-learn, without patients."""
        own = ("estimator", "query_strategy", "ledger", "bootstrap_init", "on_transformed")
        return {name: getattr(self, name) for name in own}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "X_training": None, "y_training": None}

    def __sklearn_clone__(self) -> Self:
        return type(self)(clone(self.estimator), self.query_strategy, ledger=self.ledger)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        return f"PrivateActiveLearner({type(self.estimator).__name__}, {self.query_strategy!r}, {self.ledger!r})"

    # -- inside ------------------------------------------------------------------------------

    def _learn(self, verb: str, X: Any, y: Any, account: str, ids: list[str], fit_kwargs: dict[str, Any]) -> None:
        before = self.estimator.ledger
        self.estimator.set_params(ledger=self.ledger.branch(POOL, account, ids))
        try:
            getattr(self.estimator, verb)(X, y, record_ids=ids, **fit_kwargs)
        except BaseException:
            self.estimator.set_params(ledger=before)
            raise
        self._add_training_data(X, y)

    def _add_training_data(self, X: Any, y: Any) -> None:
        """Remember rows in memory; modAL's own version fails on current pandas and scikit-learn."""
        if self.X_training is None:
            self.X_training, self.y_training = X, y
        elif isinstance(X, pd.DataFrame):
            self.X_training = pd.concat([self.X_training, X])
            self.y_training = np.concatenate([np.asarray(self.y_training), np.asarray(y)])
        elif len(X):
            self.X_training = np.vstack([self.X_training, X])
            self.y_training = np.concatenate([np.asarray(self.y_training), np.asarray(y)])

    @staticmethod
    def _refuse_bootstrap(bootstrap: bool) -> None:
        if bootstrap:
            raise ValueError("Expected bootstrap=False: a patient drawn twice would contribute, and pay, twice.")
