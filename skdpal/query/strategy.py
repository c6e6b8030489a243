"""The query strategy that modAL's learners call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skdpal.privacy import BudgetExhausted
from skdpal.privacy.accounts import POOL
from skdpal.privacy.identities import identify
from skdpal.privacy.validation import check_count, check_finite, check_one_of, check_real
from skdpal.query.acceptance import AcceptanceRule, accept
from skdpal.query.utility import UTILITIES

__all__ = ["PrivateQuery"]


@dataclass
class _Round:
    """What is known, in public, when a round begins."""

    asked_before: float
    weights: NDArray[np.float64] | None
    n_instances: int = 0
    rule: AcceptanceRule | None = None
    scores: NDArray[np.float64] | None = None  # of the reference


class PrivateQuery:
    """Choose patients to label without telling anybody who they are.

    Parameters
    ----------
    utility : {"margin", "entropy", "least_confidence", "random"}, default="margin"
        How informative a patient looks to the released model.
    release : {"hidden"}, default="hidden"
        "hidden": the chosen go to the pathologist inside the hospital and nowhere else. Each
        patient is accepted by the own score and an own secret coin, so the choice is free, and the
        number accepted is private: `n_instances` is an expectation.
    reference : array-like of shape (n_rows, n_features), optional
        PUBLIC rows, embedded as the pool is and out of sample (`PublicEncoder.out_of_sample`), that
        tell which scores are high. Default: the score itself, from 0 to 1.
    n_pool : int, optional
        Public size of the pool in the protocol. Default: the size of the first pool.
    ledger : PrivacyLedger, optional
        Default: that of the learner's estimator.
    acceptance : {"probability", "threshold"}, default="probability"
        See `AcceptanceRule`. "threshold" needs a reference.
    tilt : float in [0, 1], default=0.5
        How much more likely the highest score is accepted than the average; the expected number
        stays within these bounds whatever the patients look like.
    on_exhausted : {"raise", "random"}, default="raise"
        What to do if the release that the query prepares is not affordable: raise
        `BudgetExhausted`, or choose by coins alone, without looking at the patients.

    Notes
    -----
    Charged: nothing. What is refused: a query whose `teach` could not be paid. Asking again before the next
    release is free and gives the same answer. A patient who left the pool is passed over.

    Examples
    --------
    >>> import skdpal
    >>> skdpal.PrivateQuery(utility="margin", release="hidden", n_pool=20)
    PrivateQuery(utility='margin', release='hidden', acceptance='probability', n_pool=20)
    """

    def __init__(
        self,
        utility: str = "margin",
        release: str = "hidden",
        reference: Any = None,
        n_pool: int | None = None,
        *,
        ledger: Any = None,
        acceptance: str = "probability",
        tilt: float = 0.5,
        on_exhausted: str = "raise",
    ) -> None:
        self.utility = check_one_of("utility", utility, UTILITIES, "Scores that depend on other patients are refused.")
        self.release = check_one_of("release", release, ["hidden"])
        self.acceptance = check_one_of("acceptance", acceptance, ["probability", "threshold"])
        self.tilt = check_real("tilt", tilt, above=0.0, below=1.0, closed=True)
        self.on_exhausted = check_one_of("on_exhausted", on_exhausted, ["raise", "random"])
        self.n_pool = n_pool if n_pool is None else check_count("n_pool", n_pool, least=1)
        self.reference = reference
        self.ledger = ledger
        if reference is not None:
            check_finite("reference", reference)
        elif acceptance == "threshold" and utility != "random":
            raise ValueError(
                'Expected reference with acceptance="threshold". Pass public rows, embedded out of sample.'
            )
        self._rounds: dict[str, _Round] = {}

    def __call__(self, learner: Any, X_pool: Any, n_instances: int = 3, *, record_ids: Any = None) -> NDArray[np.intp]:
        """Choose from a pool.

        Parameters
        ----------
        learner : ActiveLearner
            modAL's or skdpal's; its estimator is a fitted DP estimator.
        X_pool : array-like or DataFrame of shape (n_rows, n_features)
            The pool. It may hold patients who were accepted before.
        n_instances : int, default=3
            The number of labels wanted, on average.
        record_ids : sequence of length n_rows, optional
            The patients.

        Returns
        -------
        ndarray of int
            Positions in X_pool; for the pathologist only. May be empty.

        Raises
        ------
        BudgetExhausted
            If the `teach` that the query prepares is not affordable.
        """
        n_instances = check_count("n_instances", n_instances, least=1)
        estimator = learner.estimator
        if not hasattr(estimator, "privacy_event") or not hasattr(estimator, "fingerprint"):
            raise TypeError(
                f"Expected the learner to hold a DP estimator of skdpal. Found {type(estimator).__name__}. "
                "Only released models may choose patients; embed first, and use DPPrototypeClassifier."
            )
        ledger = self._ledger(learner)
        utility = self.utility
        try:
            self._require(learner, ledger, n_instances)
        except BudgetExhausted:
            if self.on_exhausted == "raise":
                raise
            utility = "random"
        rows = check_finite("X_pool", X_pool)
        ids = identify(X_pool, record_ids)
        if len(rows):
            learner.predict_proba(X_pool[:1])  # bad columns are refused before anything is written
        label, rule = self._begin(learner, ledger, len(rows), n_instances, utility)
        leaves = ledger.accounts_of(ids)
        chosen = [
            position
            for position, (patient, leaf) in enumerate(zip(ids, leaves, strict=True))
            if leaf == POOL and accept(_row(X_pool, position), learner, utility, rule, ledger.coin(label, patient))
        ]
        return np.array(chosen, dtype=np.intp)

    def __repr__(self) -> str:
        return (
            f"PrivateQuery(utility={self.utility!r}, release={self.release!r}, "
            f"acceptance={self.acceptance!r}, n_pool={self.n_pool!r})"
        )

    # -- inside ------------------------------------------------------------------------------

    def _ledger(self, learner: Any) -> Any:
        for holder in (self.ledger, getattr(learner, "ledger", None), getattr(learner.estimator, "ledger", None)):
            if holder is not None:
                return holder.root
        raise ValueError(
            "Expected a ledger, on the query, the learner or its estimator. Pass ledger=PrivacyLedger(...)."
        )

    def _require(self, learner: Any, ledger: Any, n_instances: int) -> None:
        """Refuse unless the release that this query prepares is affordable."""
        event = learner.estimator.privacy_event(n_instances)
        payer = learner.estimator.ledger if learner.estimator.ledger is not None else ledger
        label = f"query for about {n_instances} labels, whose teach"
        if hasattr(learner, "teach_account"):
            ledger.require_branch(event, label, learner.teach_account)
        else:
            ledger.require(event, label, payer.account)

    def _begin(
        self, learner: Any, ledger: Any, n_rows: int, n_instances: int, utility: str
    ) -> tuple[str, AcceptanceRule]:
        """The label of this round's coins, and its rule; the same when asked again."""
        key = learner.estimator.fingerprint()
        if key not in self._rounds:
            if self.n_pool is None and n_rows:
                self.n_pool = n_rows  # the first pool, which the protocol fixes
            ledger.mark_hidden_round()
            self._rounds[key] = self._next_round()
        this = self._rounds[key]
        left = (self.n_pool or 0) - this.asked_before
        rate = 1.0 if left <= n_instances else n_instances / left
        this.n_instances = n_instances
        if utility == "random":
            this.rule = AcceptanceRule(rate, "probability", 0.0)
        elif this.weights is None:
            this.rule = AcceptanceRule(rate, "probability", self.tilt)
        else:
            this.scores = UTILITIES[utility](np.asarray(learner.predict_proba(self.reference), dtype=np.float64))
            this.rule = AcceptanceRule.from_reference(rate, self.acceptance, self.tilt, this.scores, this.weights)
        return f"hidden round {key}", this.rule

    def _next_round(self) -> _Round:
        """Thin the reference by the rule of the round before, as the pool was thinned."""
        if not self._rounds:
            return _Round(0, None if self.reference is None else np.ones(len(self.reference)))
        last = list(self._rounds.values())[-1]
        weights = last.weights
        if weights is not None and last.scores is not None:
            weights = weights * np.maximum(1 - last.rule.probability(last.scores), 1e-12)
        return _Round(last.asked_before + last.n_instances, weights)


def _row(X: Any, position: int) -> Any:
    """One row, as a table of one row."""
    return X.iloc[[position]] if isinstance(X, pd.DataFrame) else np.asarray(X)[[position]]
