"""modAL's learner, on a budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from modAL.models import ActiveLearner
from modAL.utils.data import retrieve_rows
from sklearn.base import clone

from skdpal.estimators.patients import expected_number
from skdpal.learner.panel import LearnerRepr
from skdpal.learner.prices import price_for, require_price, warn_of_everybody
from skdpal.learner.taught import Taught
from skdpal.privacy import Selection, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.identities import identify
from skdpal.query import PrivateQuery
from skdpal.query.rounds import Round, account_of, largest_of

__all__ = ["PrivateActiveLearner"]


class PrivateActiveLearner(LearnerRepr, ActiveLearner):
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
    hold_start : bool, default=False
        Release the starting cohort, if there is one, together with the first round, which the public model of the
        estimator's prior chooses: one noise less. Until then the public model predicts.
    pool : str, default="cohort/pool"
        The leaf in which all of its patients are, as ``"cohort/site-a"`` of `skdpal.cohort.Sites`. The new accounts,
        ``cohort/site-a-start``, ``cohort/site-a-round-1``, ..., inherit its ceiling.
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
        hold_start: bool = False,
        pool: str = POOL,
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
        self.hold_start = hold_start
        self.pool = pool
        if pool not in self.ledger.accounts():
            raise ValueError(f"Expected pool to be a leaf of the ledger. Found {pool!r}. Make it with ledger.split.")
        self._start = account_of(pool, "start")
        self._taught, self._held, self._number = Taught(), hold_start, 0
        if hold_start:
            self.estimator = self._public()
        if X_training is not None:
            self.fit(X_training, y_training, record_ids=record_ids, **fit_kwargs)

    def fit(self, X: Any, y: Any, bootstrap: bool = False, *, record_ids: Any = None, **fit_kwargs: Any) -> Self:
        """Learn from the starting cohort, and forget all others; it becomes the account ``cohort/start``.

        Parameters
        ----------
        X, y : array-like
            At least one patient; their number is public. ValueError if others started on this ledger before.
        bootstrap : bool, default=False
            Only False is private.
        record_ids : sequence, optional
            The patients.
        """
        self._refuse_bootstrap(bootstrap)
        if not self.hold_start:
            require_price(self.estimator, self._branch(self._start, None, ()), "fit of the starting cohort")
        ids = identify(X, record_ids)
        if self._start in self.ledger.accounts() and set(self.ledger.accounts_of(ids)) != {self._start}:
            raise ValueError(
                f"Expected the patients of {self._start!r}, which learnt before. Pass the same ones, or make a new ledger."
            )
        expected = fit_kwargs.pop("expected_records", None)
        start = Taught().plus(X, y, ids, float(len(set(ids)) if expected is None else expected))
        if self.hold_start:
            self.estimator = self._public()
        else:
            self._learn(self.estimator, "fit", start, self._branch(self._start, None, ids), fit_kwargs)
        self._taught, self._held, self._number = start, self.hold_start, 0
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
            Patients and their labels; ValueError if their numbers differ.
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
        this, account = self.query_strategy.round_of(self), self._next
        selection = self._selection(this)
        payer = self._payer(account, selection, this, only_new)
        event = price_for(self.estimator, payer)
        payer.require(event, f"teach (round {self._number + 1}){'' if only_new else ' on everybody'}")
        if not only_new and not payer.paid(event):
            warn_of_everybody(event, self.ledger)
        ids = identify(X, record_ids)
        if len(y) != len(ids):
            raise ValueError("Expected y to have one label for each row of X. Pass the labels of the same rows.")
        keep = [at for at, leaf in enumerate(self.ledger.accounts_of(ids)) if leaf in (this.source, account)]
        if expected_records is None:
            expected_records = self.ledger.rounds().get(this.label, {}).get("wanted")
        expected = self._count(expected_records, [ids[at] for at in keep])
        new = Taught().plus(self._rows(X, keep), np.asarray(y)[keep], [ids[at] for at in keep], expected)
        everybody = self._taught.plus(new.X, new.y, new.ids, new.expected)
        anew = self._held or not only_new
        if anew:
            self._taught.require_rows()
        cohort = everybody if anew else new
        payer = self._payer(account, selection, this, only_new, cohort.ids)
        learning = clone(self.estimator) if anew else self.estimator
        self._learn(learning, "partial_fit", cohort, payer, fit_kwargs)  # not fit: nobody may have been accepted
        self.estimator = learning
        if account not in self.ledger.accounts():  # everybody paid, and nobody has moved yet
            members = everybody.ids if self._held else new.ids
            self.ledger.split(this.source, into=account, members=members, round=selection and selection.round)
        self._taught, self._held, self._number = everybody, False, self._number + 1

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
        account = self._next
        if account in self.ledger.accounts():
            return  # asked again, after it was paid
        this, rate = self.query_strategy.round_of(self), self._rate(largest)
        words = f"query for about {n_instances} labels, whose teach (round {self._number + 1})"
        if not selection:
            require_price(self.estimator, self._branch(account, Selection(this.label, rate), (), this), words)
        elif this.label not in self.ledger.rounds():  # else the selection may have been paid
            payer = self.ledger.within(this.source if this.source in self.ledger.accounts() else self.pool)
            coming = [] if self.ledger.filter == "planned" else [price_for(self.estimator, payer, n_instances)]
            event = events.composed([*selection, *coming]) if coming else selection[0]  # a schedule has its own order
            payer.require(event, words)

    def score(self, X: Any, y: Any, *, public: bool = False, **score_kwargs: Any) -> float:
        """Exact accuracy; declare `public=True` for public data, else the certificate becomes void."""
        return self.estimator.score(X, y, public=public, **score_kwargs)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """As in scikit-learn, without patients."""
        own = ("estimator", "query_strategy", "ledger", "bootstrap_init", "on_transformed")
        return {name: getattr(self, name) for name in (*own, "amplified", "hold_start", "pool")}

    @property
    def X_training(self) -> Any:
        """Rows taught so far."""
        return self._taught.X

    @property
    def y_training(self) -> Any:
        """Labels taught so far."""
        return self._taught.y

    def __sklearn_clone__(self) -> Self:
        return type(self)(
            clone(self.estimator),
            self.query_strategy,
            ledger=self.ledger,
            amplified=self.amplified,
            hold_start=self.hold_start,
            pool=self.pool,
        )

    # -- inside ------------------------------------------------------------------------------

    def _learn(self, estimator: Any, verb: str, cohort: Taught, handle: Any, fit_kwargs: dict[str, Any]) -> None:
        """Let an estimator learn at the expense of a handle; a refusal leaves it as it was."""
        before = estimator.ledger
        estimator.set_params(ledger=handle)
        patients = {"record_ids": cohort.ids, "expected_records": cohort.expected}
        try:
            getattr(estimator, verb)(cohort.X, cohort.y, **patients, **fit_kwargs)
        except BaseException:
            estimator.set_params(ledger=before)
            raise

    @property
    def _next(self) -> str:
        """The account of the next cohort."""
        return account_of(self.pool, f"round-{self._number + 1}")

    def _payer(
        self, account: str, selection: Selection | None, this: Round, only_new: bool, ids: Sequence[str] = ()
    ) -> Any:
        """Who pays for a `teach`: the new cohort, or everybody."""
        if only_new:
            return self._branch(account, selection, ids, this)
        if self.pool != POOL:
            raise ValueError("Expected only_new=True in a hospital's pool: everybody again would be every hospital.")
        return self.ledger.within("cohort", question=self._question(f"everybody, {account}"))

    def _branch(self, account: str, selection: Selection | None, ids: Sequence[str], this: Round | None = None) -> Any:
        """A handle that makes the account when it pays, or knows what it paid for."""
        return self.ledger.branch(
            this.source if this else self.pool, account, ids, question=self._question(account), selection=selection
        )

    def _question(self, account: str) -> str | None:
        """The name of a release; only what is made of released arrays can be kept and given back."""
        if not hasattr(self.estimator, "restore"):
            return None
        prior, classes = getattr(self.estimator, "prior", None), getattr(self.estimator, "classes", None)
        shape = f"{classes}" if prior is None else f"{prior.means.shape} {prior.classes.tolist()}"
        return f"{type(self.estimator).__name__} of {account}: {shape}"

    def _public(self) -> Any:
        """The estimator before any patient."""
        if self.query_strategy.release == "published" and self.query_strategy.chunks is not None:
            raise ValueError("Expected hold_start=False with published chunks: the start is in none of them.")
        public = getattr(self.estimator, "public_model", lambda: None)()
        if public is None:
            raise ValueError(
                "Expected an estimator with a public prior for hold_start=True: nothing else could choose the first round. "
                "Pass prior=, or hold_start=False."
            )
        return public

    def _count(self, expected: float | None, ids: Sequence[str]) -> float:
        """The public number of patients in a new cohort."""
        expected_number(self.ledger, expected)
        return float(len(set(ids)) if expected is None else expected)

    def _rows(self, X: Any, keep: Sequence[int]) -> Any:
        """Some rows; a list of nobody does not know how many columns it has."""
        if not keep and isinstance(X, list):
            return np.empty((0, getattr(self.estimator, "n_features_in_", 0)))
        return retrieve_rows(X, keep)

    def _selection(self, this: Round) -> Selection | None:
        """How the cohort was chosen, if a query began the round; a held start is no sample."""
        if this.label in self.ledger.rounds():
            return Selection(this.label, None if self._held else self._rate(largest_of(self.ledger, this.label)))
        if self.amplified and not self._held:
            raise ValueError(
                "Expected a query before teach with amplified=True: its coins chose the sample. Query first."
            )
        return None

    def _rate(self, largest: float | None) -> float | None:
        """The rate of the sample; None if the cohort pays for itself."""
        if not self.amplified or self._held:
            return None
        if largest is None or self.query_strategy.acceptance != "probability":
            raise ValueError(
                'Expected a hidden query with acceptance="probability" and n_pool for amplified=True: the price rests on a '
                "largest chance of acceptance. Pass PrivateQuery(n_pool=...), or amplified=False."
            )
        return largest

    @staticmethod
    def _refuse_bootstrap(bootstrap: bool) -> None:
        if bootstrap:
            raise ValueError("Expected bootstrap=False: a patient drawn twice would contribute, and pay, twice.")
