"""Private tuning: the best of several candidates, under one receipt."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.metrics import accuracy_score
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skdpal.estimators.scoring import exact_score, void_if_scored
from skdpal.model_selection import repeats
from skdpal.model_selection.candidates import list_of
from skdpal.model_selection.metrics import metric_of
from skdpal.model_selection.payers import parts_of
from skdpal.model_selection.price import Price, any_of, price_of
from skdpal.model_selection.runs import Cohort, Run, Runner, best_of, discreetly, rehearse
from skdpal.model_selection.split import scoring_patients
from skdpal.privacy import BudgetExhausted, events
from skdpal.privacy.accounting import mu_squared
from skdpal.privacy.events import Event
from skdpal.privacy.identities import identify
from skdpal.privacy.mechanisms import require_ledger
from skdpal.privacy.validation import check_count, check_one_of, check_real

__all__ = ["PrivateSearchCV"]


def _has(name: str) -> Any:
    return available_if(lambda search: hasattr(getattr(search, "best_estimator_", search.estimator), name))


class PrivateSearchCV(MetaEstimatorMixin, BaseEstimator):
    """Choose parameters by noisy scores of patients, and pay once for everything.

    A fixed part of the patients fits every candidate, the others score it, with noise. `PublicSearchCV` on public
    data is free: use this only for what public data cannot tell.

    Parameters
    ----------
    estimator : estimator
        A DP classifier, alone or as the end of a `Pipeline` whose other steps cost nothing.
    candidates : dict or list of dict
        A grid, as in `GridSearchCV`; values that are no list stand for themselves. Distributions are drawn
        from once, see `n_candidates`.
    ledger : PrivacyLedger or Handle
        Who pays; as one receipt. None is allowed inside `simulation` only.
    method : {"auto", "release-all", "repeat"}, default="auto"
        "release-all" fits every candidate once; all models and scores are paid for, and may be shown.
        "repeat" fits a secret random number of candidates, drawn with replacement; the best one leaves and
        nothing else. "auto" is "release-all" for a ledger of kind "gdp", which cannot price the other.
    scoring : {"accuracy", "balanced_accuracy"}, default="accuracy"
        See `private_accuracy` and `private_balanced_accuracy`.
    score_noise_multiplier : float, optional
        Of every score. Default: as little as costs nothing beyond the fits, see Notes.
    validation : float or sequence, default=0.3
        The patients who score: a fraction, chosen blindly by their ids (by position, if rows have none); or
        their ids, fixed by the protocol.
    mean_repeats : float, default=10.0
        Of "repeat": expected number of runs, above 1.
    law : {"geometric", "logarithmic"}, default="geometric"
        Of "repeat": the law of their number. "logarithmic" is cheaper, and often runs only once.
    pad_to : int, optional
        Of "repeat": run at least as often, and throw the rest away, so that run time tells less.
    n_candidates : int, optional
        Draw as many from the candidates, with the public `random_state`.
    random_state : int, default=0
        Public; for `n_candidates` only. Noise and secret choices never depend on it.

    Attributes
    ----------
    best_estimator_ : estimator
        Fitted on the patients who do not score.
    best_params_ : dict
    best_score_ : float
        Its noisy score: too good, as the best of several.
    cv_results_ : dict
        After "release-all" only: "params", "mean_test_score", "rank_test_score". As a DataFrame by `to_frame`.
    estimators_ : list of estimator
        After "release-all" only.
    best_index_ : int
        After "release-all" only.
    classes_ : ndarray of shape (n_classes,)

    Notes
    -----
    Charged, where a patient pays either for fits or for scores, whichever is dearer, since who fits and who
    scores is settled beforehand: `one_of` all fits together and all scores together; or `repeat_and_select` of
    `one_of` every candidate's fit and the score (Papernot and Steinke 2022; docs/trusted_kernel.md, Theorem S).
    So scores as precise as the fits cost nothing more; that is the default of `score_noise_multiplier`.

    After "repeat" the number of runs, the other scores and the other models are kept nowhere; whoever can time the
    search learns something of the number, and must not. A run that fails makes the search fail without a reason.
    To fit the winner to everybody, fit it again: that is a receipt of its own.

    Examples
    --------
    >>> import numpy as np, skdpal
    >>> from skdpal.model_selection import PrivateSearchCV
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> model = skdpal.DPPrototypeClassifier(noise_multiplier=8.0, classes=[0, 1])
    >>> search = PrivateSearchCV(model, {"prior_weight": ["fitted", 1.0, 9.0]}, ledger=ledger)
    >>> X, y = np.eye(10), [0, 1] * 5
    >>> search = search.fit(X, y)
    >>> search.to_frame().shape, len(ledger.receipts())
    ((3, 3), 1)
    """

    def __init__(
        self,
        estimator: Any,
        candidates: Any,
        *,
        ledger: Any = None,
        method: str = "auto",
        scoring: str = "accuracy",
        score_noise_multiplier: float | None = None,
        validation: Any = 0.3,
        mean_repeats: float = 10.0,
        law: str = "geometric",
        pad_to: int | None = None,
        n_candidates: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.estimator = estimator
        self.candidates = candidates
        self.ledger = ledger
        self.method = method
        self.scoring = scoring
        self.score_noise_multiplier = score_noise_multiplier
        self.validation = validation
        self.mean_repeats = mean_repeats
        self.law = law
        self.pad_to = pad_to
        self.n_candidates = n_candidates
        self.random_state = random_state

    def privacy_event(self, n_records: float | None = None) -> Event:
        """What `fit` charges; infinite if a candidate has no price."""
        fits = self._fits(n_records)
        if any(fit.culprit for fit in fits):
            return events.composed([events.nonprivate()])
        noise, metric = self._noise(fits), metric_of(self.scoring)
        if self._method() == "repeat":
            run = any_of([*(fit.event for fit in fits), metric.mechanism(noise).event])
            return events.repeat_and_select(run, self.mean_repeats, repeats.shape_of(self.law))
        everything = events.composed([part for fit in fits for part in parts_of(fit.event)])
        return any_of([everything, events.gaussian(noise, steps=len(fits), replace_one=metric.replace_one)])

    def fit(self, X: Any, y: Any, *, record_ids: Any = None) -> Self:
        """Charge, then search.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
        y : array-like of shape (n_rows,)
        record_ids : sequence of length n_rows, optional
            The patients; all rows of one are on one side of the split.

        Raises
        ------
        ValueError
            If X and y do not belong together.
        BudgetExhausted
            Before X is read.
        """
        ledger, label = require_ledger(self.ledger), f"search over {type(self.estimator).__name__}"
        self._check()
        fits = self._fits(len(X))
        event = self.privacy_event(len(X))
        if ledger is not None:
            _require(ledger, event, label, fits)
        everybody = Cohort(X, y, identify(X, record_ids))
        if len(y) != len(everybody.ids):
            raise ValueError("Expected y to have one label for each row of X. Pass the labels of the same rows.")
        scoring = scoring_patients(everybody.ids, self.validation)
        train, validation = everybody.take(~scoring), everybody.take(scoring)
        runner = Runner(self.estimator, train, validation, metric_of(self.scoring), self._noise(fits), ledger)
        candidates = list(zip(self._candidates(), [fit.event for fit in fits], strict=True))
        if ledger is not None:
            void_if_scored(ledger)
            for parameters, price in candidates:
                rehearse(self.estimator, parameters, price, everybody, ledger)
            ledger.charge(event, label, record_ids=everybody.ids)
        for name in ("cv_results_", "estimators_", "best_index_"):  # of an earlier fit
            vars(self).pop(name, None)
        search = self._best_of_secretly_many if self._method() == "repeat" else self._best_of_all
        best = search(runner, candidates)
        self.best_estimator_, self.best_params_, self.best_score_ = best.model, best.parameters, best.score
        return self

    @_has("predict")
    def predict(self, X: Any) -> np.ndarray:
        """As of the best estimator."""
        return self._best().predict(X)

    @_has("predict_proba")
    def predict_proba(self, X: Any) -> np.ndarray:
        """As of the best estimator."""
        return self._best().predict_proba(X)

    @_has("transform")
    def transform(self, X: Any) -> Any:
        """As of the best estimator."""
        return self._best().transform(X)

    def score(self, X: Any, y: Any, *, public: bool = False) -> float:
        """Exact accuracy: free on public data; otherwise the ledger's certificate becomes void."""
        best = self._best()
        exact_score(self, public)
        return float(accuracy_score(y, best.predict(X)))

    def to_frame(self) -> pd.DataFrame:
        """All candidates with their noisy scores, best first; after "release-all" only.

        Raises
        ------
        AttributeError
            After method "repeat": only the best candidate was paid for.
        """
        check_is_fitted(self)
        if not hasattr(self, "cv_results_"):
            raise AttributeError(
                "After method='repeat' only the best candidate was paid for. See best_params_, or use 'release-all'."
            )
        table = pd.DataFrame(list(self.cv_results_["params"]))
        table["mean_test_score"] = self.cv_results_["mean_test_score"]
        table["rank_test_score"] = self.cv_results_["rank_test_score"]
        return table.sort_values("rank_test_score", ignore_index=True)

    @property
    def classes_(self) -> np.ndarray:
        """As of the best estimator."""
        return self._best().classes_

    @property
    def n_features_in_(self) -> int:
        """As of the best estimator."""
        return self._best().n_features_in_

    def __sklearn_tags__(self) -> Any:
        return get_tags(self.estimator)

    # -- inside ------------------------------------------------------------------------------

    def _best(self) -> Any:
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_

    def _candidates(self) -> list[dict[str, Any]]:
        return list_of(self.candidates, self.n_candidates, self.random_state)

    def _method(self) -> str:
        method = check_one_of("method", self.method, ["auto", "release-all", "repeat"])
        if method != "auto":
            return method
        return "release-all" if self.ledger is None or self.ledger.root.filter == "gdp" else "repeat"

    def _fits(self, n_records: float | None) -> list[Price]:
        rows = np.empty((0 if n_records is None else math.ceil(n_records), 0))
        return [price_of(clone(self.estimator).set_params(**one), rows) for one in self._candidates()]

    def _noise(self, fits: list[Price]) -> float:
        """The noise multiplier of one score; by default its price is that of the fits."""
        if self.score_noise_multiplier is not None:
            return check_real("score_noise_multiplier", self.score_noise_multiplier, above=0.0)
        prices = [mu_squared(fit.event) for fit in fits]
        each = max(prices) if self._method() == "repeat" else sum(prices) / len(prices)
        if not 0 < each < math.inf:
            raise ValueError(
                "Expected score_noise_multiplier: the fits have no μ, to which it could be matched. "
                "Pass score_noise_multiplier=4.0, say."
            )
        return 1 / math.sqrt(each)

    def _check(self) -> None:
        if self.pad_to is not None:
            check_count("pad_to", self.pad_to, least=1)
        if self.ledger is not None and self.ledger.hidden_rounds:
            raise ValueError(
                "Expected a cohort whose patients are known in public: after a hidden selection they are not. "
                "Search on the start cohort, before the first hidden query; its choice holds for later cohorts."
            )

    def _best_of_all(self, runner: Runner, candidates: list[tuple[dict[str, Any], Event]]) -> Run:
        runs = [runner(parameters, event) for parameters, event in candidates]
        scores = np.array([run.score for run in runs])
        self.best_index_ = int(np.argmax(scores))
        self.cv_results_ = {
            "params": [run.parameters for run in runs],
            "mean_test_score": scores,
            "rank_test_score": pd.Series(-scores).rank(method="min").to_numpy(dtype=int),
        }
        self.estimators_ = [run.model for run in runs]
        return runs[self.best_index_]

    def _best_of_secretly_many(self, runner: Runner, candidates: list[tuple[dict[str, Any], Event]]) -> Run:
        """The number is drawn here, after the charge, and lives no longer than this call."""

        def search() -> Run:
            number = repeats.draw(self.mean_repeats, self.law)
            return best_of(lambda: runner(*candidates[repeats.below(len(candidates))]), number, self.pad_to or 0)

        best = discreetly(search)
        if best is None:
            raise RuntimeError(
                "A run of the search failed; the charge stands. Which one and why is not shown, since it may depend on "
                "patients. Try the search on public rows, inside skdpal.privacy.randomness.simulation(seed)."
            )
        return best


def _require(ledger: Any, event: Event, label: str, fits: list[Price]) -> None:
    culprit = next((fit.culprit for fit in fits if fit.culprit), "")
    if culprit or any(fit.exact_scores for fit in fits):
        raise BudgetExhausted(
            f"{label} costs ε=inf ({culprit or 'a search inside it chooses by exact scores'}); spent {ledger.spent():.2f} of "
            f"{ledger.budget.epsilon:.2f}. Fit such a part on public data, freeze it, or leave it out.",
            price=math.inf,
            spent=ledger.spent(),
            ceiling=ledger.budget.epsilon,
        )
    ledger.require(event, label)
