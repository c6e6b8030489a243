"""Tuning on public data: free, and the first thing to try."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import ShuffleSplit
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import check_is_fitted

from skdpal.model_selection.candidates import list_of
from skdpal.model_selection.payers import with_payer
from skdpal.model_selection.price import price_of
from skdpal.privacy import PrivacyLeakWarning, epsilon_of
from skdpal.privacy.randomness import current_simulation, simulation
from skdpal.privacy.validation import check_count, check_real

__all__ = ["PublicSearchCV"]


class PublicSearchCV(MetaEstimatorMixin, BaseEstimator):
    """Try candidates on PUBLIC rows, with the noise that they would have on patients.

    Each repetition draws public rows in the number of the private cohort, fits every candidate to them with
    fresh simulated noise, and scores it exactly on the rest. Nothing is charged: no patient is read.

    Parameters
    ----------
    estimator : estimator
        As it will be used on patients. Ledgers in it are put aside while the search runs.
    candidates : dict or list of dict
        As for `PrivateSearchCV`.
    n_records : int, optional
        Number of patients that the model will be fitted to. Default: 80% of the public rows. What is best
        depends on it.
    n_repeats : int, default=20
        Public splits, each with noise of its own.
    scoring : str or callable, default="accuracy"
        As in scikit-learn.
    delta : float, default=1e-5
        For the column "epsilon".
    n_candidates : int, optional
        Draw as many from the candidates.
    random_state : int, default=0
        Of splits, simulated noise and drawn candidates.

    Attributes
    ----------
    best_params_ : dict
        Of the largest mean score. Use them by ``clone(estimator).set_params(**best_params_)``.
    best_score_ : float
    best_index_ : int
    cv_results_ : dict
        "params", "mean_test_score", "std_error", "epsilon" (of one fit), "rank_test_score". As a
        DataFrame by `to_frame`.

    Notes
    -----
    Charged: nothing. Patients among the public rows would be read without a charge. A noise multiplier with
    less noise nearly always scores better: such a search shows what accuracy costs, see docs/guide/searching.md.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.model_selection import PublicSearchCV
    >>> data = skdpal.datasets.load_srbct()
    >>> X, y = data.data[data.is_cell_line], data.target[data.is_cell_line]
    >>> X = skdpal.PublicEncoder(n_components=8).fit(X, y).transform(X)
    >>> model = skdpal.DPPrototypeClassifier(classes=sorted(set(y)))
    >>> search = PublicSearchCV(model, {"noise_multiplier": [2.0, 8.0]}, n_records=30, n_repeats=5).fit(X, y)
    >>> search.to_frame()["epsilon"].round(2).tolist()
    [1.99, 0.43]
    """

    def __init__(
        self,
        estimator: Any,
        candidates: Any,
        *,
        n_records: int | None = None,
        n_repeats: int = 20,
        scoring: Any = "accuracy",
        delta: float = 1e-5,
        n_candidates: int | None = None,
        random_state: int = 0,
    ) -> None:
        self.estimator = estimator
        self.candidates = candidates
        self.n_records = n_records
        self.n_repeats = n_repeats
        self.scoring = scoring
        self.delta = delta
        self.n_candidates = n_candidates
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> Self:
        """Search.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            Public rows.
        y : array-like of shape (n_rows,)
            Public labels.

        Raises
        ------
        ValueError
            If `n_records` leaves no row to score on.
        """
        candidates = list_of(self.candidates, self.n_candidates, self.random_state)
        size = 0.8 if self.n_records is None else check_count("n_records", self.n_records, least=1)
        if self.n_records is not None and self.n_records >= len(X):
            raise ValueError(
                f"Expected n_records below the {len(X)} public rows, so that some are left to score on. "
                f"Found {self.n_records}. Lower it, or add public rows."
            )
        repeats = check_count("n_repeats", self.n_repeats, least=2)
        splits = ShuffleSplit(repeats, train_size=size, random_state=check_count("random_state", self.random_state))
        # no ledger is within reach of the block, and a real one could not be charged in it
        models = [with_payer(clone(self.estimator).set_params(**one), None) for one in candidates]
        epsilons = [self._epsilon(model, len(X)) for model in models]
        with _simulated(self.random_state):
            scores = np.array(
                [[self._score(model, X, y, *split) for model in models] for split in splits.split(np.zeros(len(X)))]
            )
        means = scores.mean(axis=0)
        self.cv_results_ = {
            "params": candidates,
            "mean_test_score": means,
            "std_error": scores.std(axis=0, ddof=1) / np.sqrt(repeats),
            "epsilon": np.array(epsilons),
            "rank_test_score": pd.Series(-means).rank(method="min").to_numpy(dtype=int),
        }
        self.best_index_ = int(np.argmax(means))
        self.best_params_, self.best_score_ = candidates[self.best_index_], float(means[self.best_index_])
        return self

    def to_frame(self) -> pd.DataFrame:
        """All candidates, best first: parameters, mean score with its standard error, ε of one fit, rank."""
        check_is_fitted(self, "cv_results_")
        table = pd.DataFrame(list(self.cv_results_["params"]))
        for name in ("mean_test_score", "std_error", "epsilon", "rank_test_score"):
            table[name] = self.cv_results_[name]
        return table.sort_values("rank_test_score", ignore_index=True)

    def _score(self, model: Any, X: Any, y: Any, train: np.ndarray, test: np.ndarray) -> float:
        fitted = clone(model).fit(_safe_indexing(X, train), _safe_indexing(y, train))
        score = self.scoring if callable(self.scoring) else check_scoring(fitted, self.scoring)
        return float(score(fitted, _safe_indexing(X, test), _safe_indexing(y, test)))

    def _epsilon(self, model: Any, n_rows: int) -> float:
        rows = np.empty((self.n_records or round(0.8 * n_rows), 0))
        return epsilon_of([price_of(model, rows).event], check_real("delta", self.delta, above=0.0, below=1.0))


@contextlib.contextmanager
def _simulated(seed: int) -> Any:
    """The running simulation, or one of its own: its warning is for those who did not ask for one."""
    if current_simulation() is not None:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyLeakWarning)
        with simulation(seed):
            yield
