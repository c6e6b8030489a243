"""modAL's learner, on a budget."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from modAL.models import ActiveLearner
from modAL.utils.data import retrieve_rows
from sklearn.base import clone

from skdpal.privacy import PriceWarning, Selection, epsilon_of, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.identities import identify
from skdpal.query import PrivateQuery
from skdpal.query.rounds import Round, largest_of

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
    amplified : bool, default=False
        Pay for each hidden round as for a Poisson sample, by the pool and before the split, which needs less noise
        (docs/trusted_kernel.md, Theorem A). For ledgers of filter "planned" or "renyi", acceptance by probability and a
        public `n_pool`; the new accounts cannot be charged again.
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
    Charged: the event of the estimator, by the start and by each `teach`, also for zero rows; a hidden `query` is free.
    On the same ledger, the same verb in the same place of the sequence is the same question: the stored release comes
    back and nobody pays, also after a restart. A corrected label therefore changes nothing until a new cohort, or
    ``only_new=False``, pays for it.

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
        *,
        amplified: bool = False,
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
        self.amplified = amplified
        self.X_training = self.y_training = None
        self._ids: list[str] | None = []
        self._expected = 0.0  # patients so far, in public
        self._taught = 0
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
        start = "cohort/start"
        self._require("fit of the starting cohort", start, None)
        ids = identify(X, record_ids)
        if start in self.ledger.accounts() and set(self.ledger.accounts_of(ids)) != {start}:
            raise ValueError(
                f"Expected the patients of {start!r}, which learnt before. Pass the same ones, or make a new ledger."
            )
        fit_kwargs.setdefault("expected_records", len(set(ids)))
        self._learn("fit", X, y, start, None, ids, fit_kwargs)
        self._expected = float(fit_kwargs["expected_records"])
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
            True pays once: what earlier cohorts released is kept and combined. False learns from everybody again, which
            charges everybody again; a warning says what it costs.
        record_ids : sequence, optional
            The patients; as given to `query`.
        expected_records : float, optional
            Public expectation of their number. Default: `n_instances` of the query before.

        Warns
        -----
        PriceWarning
            With ``only_new=False``: the price, for whom, and what paying once would have cost.
        """
        self._refuse_bootstrap(bootstrap)
        this = self.query_strategy.round_of(self)
        account = f"cohort/round-{self._taught + 1}"
        if only_new:
            self._require(f"teach (round {self._taught + 1})", account, self._selection(this))
        else:
            self._require_everybody()
        ids = identify(X, record_ids)
        if len(y) != len(ids):
            raise ValueError("Expected y to have one label for each row of X. Pass the labels of the same rows.")
        keep = [at for at, leaf in enumerate(self.ledger.accounts_of(ids)) if leaf in (this.source, account)]
        if expected_records is None:
            expected_records = self.ledger.rounds().get(this.label, {}).get("wanted")
        fit_kwargs["expected_records"] = expected_records
        X, y, ids = retrieve_rows(X, keep), np.asarray(y)[keep], [ids[at] for at in keep]
        if not keep and isinstance(X, list):  # a list of nobody does not know how many columns it has
            X = np.empty((0, getattr(self.estimator, "n_features_in_", 0)))
        if only_new:
            self._learn("partial_fit", X, y, account, this, ids, fit_kwargs)
        else:
            self._retrain(X, y, account, this, ids, fit_kwargs)
        self._expected += float(len(set(ids)) if expected_records is None else expected_records)
        self._taught += 1

    def require_teach(self, n_instances: int, largest: float | None, selection: Sequence[Any] = ()) -> None:
        """Raise `BudgetExhausted` unless a selection, and then the next `teach`, are affordable; write nothing.

        Parameters
        ----------
        n_instances : int
            Labels wanted.
        largest : float or None
            The highest chance of acceptance; of an amplified round.
        selection : sequence of Event
            What choosing costs.
        """
        number = self._taught + 1
        rate = self._rate(largest)
        this = self.query_strategy.round_of(self)
        words = f"query for about {n_instances} labels, whose teach (round {number})"
        if selection:
            event = events.composed([*selection, self.estimator.privacy_event(n_instances)])
            if this.label not in self.ledger.rounds():  # else it may have been paid
                self.ledger.require(event, words, this.source if this.source in self.ledger.accounts() else POOL)
            return
        self._require(words, f"cohort/round-{number}", Selection(this.label, rate))

    def score(self, X: Any, y: Any, *, public: bool = False, **score_kwargs: Any) -> float:
        """Exact accuracy; declare `public=True` for public data, else the certificate becomes void."""
        return self.estimator.score(X, y, public=public, **score_kwargs)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """As in scikit-learn, without patients."""
        own = ("estimator", "query_strategy", "ledger", "bootstrap_init", "on_transformed", "amplified")
        return {name: getattr(self, name) for name in own}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "X_training": None, "y_training": None, "_ids": None}

    def __sklearn_clone__(self) -> Self:
        return type(self)(clone(self.estimator), self.query_strategy, ledger=self.ledger, amplified=self.amplified)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        return f"PrivateActiveLearner({type(self.estimator).__name__}, {self.query_strategy!r}, {self.ledger!r})"

    # -- inside ------------------------------------------------------------------------------

    def _learn(
        self, verb: str, X: Any, y: Any, account: str, this: Round | None, ids: list[str], fit_kwargs: dict[str, Any]
    ) -> None:
        self._with(self._branch(account, self._selection(this), ids, this), verb, X, y, ids, fit_kwargs)
        self._add_training_data(X, y)
        self._remember(ids)

    def _retrain(self, X: Any, y: Any, account: str, this: Round, ids: list[str], fit_kwargs: dict[str, Any]) -> None:
        """Learn from everybody again; everybody pays."""
        if self._ids is None or self.X_training is None:
            raise ValueError(
                "Expected the rows taught before, for only_new=False. They do not travel in pickles: fit a new learner."
            )
        expected = fit_kwargs.pop("expected_records")
        total = self._expected + float(len(set(ids)) if expected is None else expected)
        if account not in self.ledger.accounts():
            self.ledger.split(this.source, into=account, members=ids)
        self._add_training_data(X, y)
        self._remember(ids)
        handle = self.ledger.within("cohort", question=f"retrain {self._taught + 1}" if self._repeatable else None)
        self._with(
            handle, "fit", self.X_training, self.y_training, self._ids, {**fit_kwargs, "expected_records": total}
        )

    def _with(self, handle: Any, verb: str, X: Any, y: Any, ids: list[str], fit_kwargs: dict[str, Any]) -> None:
        """Let the estimator learn at the expense of a handle; a refusal leaves it as it was."""
        before = self.estimator.ledger
        self.estimator.set_params(ledger=handle)
        try:
            getattr(self.estimator, verb)(X, y, record_ids=ids, **fit_kwargs)
        except BaseException:
            self.estimator.set_params(ledger=before)
            raise

    def _branch(self, account: str, selection: Selection | None, ids: Sequence[str], this: Round | None = None) -> Any:
        """A handle that makes the account when it pays, or knows what it paid for."""
        source = POOL if this is None else this.source
        question = f"{type(self.estimator).__name__} of {account}: {self._shape}" if self._repeatable else None
        return self.ledger.branch(source, account, ids, question=question, selection=selection)

    def _require(self, label: str, account: str, selection: Selection | None) -> None:
        this = None if selection is None else self.query_strategy.round_of(self)
        self._branch(account, selection, (), this).require(self.estimator.privacy_event(), label)

    def _require_everybody(self) -> None:
        event = self.estimator.privacy_event()
        self.ledger.require(event, f"teach (round {self._taught + 1}) on everybody", "cohort")
        alone = epsilon_of([event], self.ledger.budget.delta)
        warnings.warn(
            f"only_new=False learns from everybody again: ε={alone:.2f} more for every patient, also for those who paid "
            f"before; spent {self.ledger.spent():.2f} of {self.ledger.budget.epsilon:.2f}. only_new=True charges the new cohort alone.",
            PriceWarning,
            stacklevel=3,
        )

    def _selection(self, this: Round | None) -> Selection | None:
        """How the cohort was chosen, if a query began the round."""
        if this is None or this.label not in self.ledger.rounds():
            if this is not None and self.amplified:
                raise ValueError(
                    "Expected a query before teach with amplified=True: its coins chose the sample. Query first."
                )
            return None
        return Selection(this.label, self._rate(largest_of(self.ledger, this.label)))

    def _rate(self, largest: float | None) -> float | None:
        """The rate of the sample; None if the cohort pays for itself."""
        if not self.amplified:
            return None
        if largest is None or self.query_strategy.acceptance != "probability":
            raise ValueError(
                'Expected a hidden query with acceptance="probability" and n_pool for amplified=True: the price rests on a '
                "largest chance of acceptance. Pass PrivateQuery(n_pool=...), or amplified=False."
            )
        return largest

    @property
    def _repeatable(self) -> bool:
        """Whether the estimator is made of released arrays, which can be kept and given back."""
        return hasattr(self.estimator, "restore")

    @property
    def _shape(self) -> str:
        """What is public about the answer: learners of other classes ask other questions."""
        prior, classes = getattr(self.estimator, "prior", None), getattr(self.estimator, "classes", None)
        return f"{prior.means.shape} {prior.classes.tolist()}" if prior is not None else f"{classes}"

    def _remember(self, ids: Sequence[str]) -> None:
        if self._ids is not None:
            self._ids.extend(ids)

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
