"""scikit-activeml's pool strategies, without their hidden refit.

Not imported by `skdpal.learner`: scikit-activeml is the extra ``activeml``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from modAL.models import ActiveLearner
from modAL.models.base import BaseCommittee, BaseLearner
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skdpal.privacy.validation import check_count
from skdpal.query import PrivateQuery
from skdpal.query.utilities.base import take

try:
    from skactiveml.base import SingleAnnotatorPoolQueryStrategy, SkactivemlClassifier
    from skactiveml.utils import MISSING_LABEL, is_unlabeled
except ModuleNotFoundError as missing:  # pragma: no cover -- a test blocks it in another process
    if not str(missing.name).startswith("skactiveml"):
        raise
    raise ModuleNotFoundError(
        "Expected scikit-activeml for skdpal.learner.activeml. Install it: pip install 'skdpal[activeml]'.",
        name=missing.name,
    ) from missing

__all__ = ["PoolQuery"]


class PoolQuery(SingleAnnotatorPoolQueryStrategy):
    """A `PrivateQuery` with the pool interface of scikit-activeml: rows without a label are the pool.

    Parameters
    ----------
    strategy : PrivateQuery
        How patients are chosen, and who pays.
    missing_label : scalar, default=nan
        What stands in y for "not labelled".

    Notes
    -----
    Charged: what `strategy` charges; nothing if it is hidden. There is no `random_state`: the coins are secret. What differs from
    scikit-activeml's own strategies, and why, is in docs/guide/modal.md.

    Examples
    --------
    >>> import numpy as np, skdpal
    >>> from skdpal.learner.activeml import PoolQuery
    >>> X, labels = np.cos(np.outer(np.arange(30), [1, 2, 3])) / 2, np.arange(30) % 2
    >>> y = np.where(np.arange(30) < 10, labels, np.nan)
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> clf = skdpal.DPPrototypeClassifier(6.0, classes=[0, 1], ledger=ledger, prior_weight=1.0).fit(X[:10], labels[:10])
    >>> chosen = PoolQuery(skdpal.PrivateQuery(n_pool=20)).query(X, y, clf, batch_size=20)
    >>> bool(np.isnan(y[chosen]).all()), len(chosen), len(ledger.receipts())
    (True, 20, 1)
    """

    def __init__(self, strategy: PrivateQuery, missing_label: Any = MISSING_LABEL) -> None:
        super().__init__(missing_label=missing_label)
        self.strategy = strategy

    def query(
        self,
        X: Any,
        y: Any,
        clf: Any,
        fit_clf: bool = False,
        candidates: Any = None,
        batch_size: int = 1,
        return_utilities: bool = False,
        *,
        record_ids: Any = None,
    ) -> NDArray[np.intp]:
        """Choose rows whose labels are to be asked for.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_features)
            Labelled and unlabelled rows.
        y : array-like of shape (n_rows,)
            Labels; `missing_label` where there is none.
        clf : fitted DP estimator, or learner
            Already fitted: the released model. A `PrivateActiveLearner`, modAL's `ActiveLearner` or `Committee`, or
            scikit-activeml's `SklearnClassifier` around a DP estimator will do, too.
        fit_clf : bool, default=False
            Only False: a refit inside a query is a release that nobody sees being paid.
        candidates : array-like, optional
            The pool, if it is not all unlabelled rows: positions of unlabelled rows of X, or rows of their own. It must not
            have been chosen by what patients' rows say.
        batch_size : int, default=1
            Labels wanted: on average if `strategy` is hidden, when fewer, more or none may come; exactly if published.
        return_utilities : bool, default=False
            Only False: scores of patients are as private as their rows, and no receipt pays for them.
        record_ids : sequence, optional
            The patients of the rows of X; of `candidates`, if those are rows.

        Returns
        -------
        ndarray of int
            Positions in X; in `candidates`, if those are rows. Hidden: for the pathologist only, as their number is.

        Raises
        ------
        BudgetExhausted
            If the selection, or the fit that it prepares, is not affordable; see `PrivateQuery`.
        """
        if not isinstance(self.strategy, PrivateQuery):
            raise TypeError(f"Expected strategy to be a PrivateQuery. Found {type(self.strategy).__name__}.")
        _refuse(
            "fit_clf",
            fit_clf,
            "A refit inside a query is a release that nobody sees being paid: fit clf, then pass it.",
        )
        _refuse(
            "return_utilities",
            return_utilities,
            "Exact scores are as private as the rows, and no receipt pays for them; inside the hospital, ask "
            "skdpal.query.utilities.score.",
        )
        batch_size = check_count("batch_size", batch_size, least=1)
        learner = _learner(clf, self.strategy)
        rows, positions = self._pool(X, y, candidates)
        if record_ids is not None and positions is not None:
            if len(record_ids) != len(X):
                raise ValueError("Expected record_ids to have one entry for each row of X. Pass those of all rows.")
            record_ids = [record_ids[position] for position in positions]
        chosen = self.strategy(learner, rows, n_instances=batch_size, record_ids=record_ids)
        return chosen if positions is None else positions[chosen]

    def _pool(self, X: Any, y: Any, candidates: Any) -> tuple[Any, NDArray[np.intp] | None]:
        """Rows of the pool, and their positions in X; None if they are not in X.

        The base class would check it, too, but its warnings tell how many are left.
        """
        missing = np.asarray(is_unlabeled(y, self.missing_label))
        if missing.shape != (len(X),):
            raise ValueError("Expected y to have one label, or missing_label, for each row of X. Pass a vector.")
        if candidates is None:
            positions = np.flatnonzero(missing)
            return take(X, positions), positions
        if np.ndim(candidates) == 2:
            return candidates, None
        positions = np.asarray(candidates)
        if positions.ndim != 1 or positions.dtype.kind not in "iu" or not np.isin(positions, range(len(X))).all():
            raise ValueError(
                "Expected candidates to be positions in X, or rows. Pass integers, such as unlabeled_indices(y)."
            )
        if not missing[positions].all():
            raise ValueError("Expected candidates without a label: who has one was asked. Leave labelled rows out.")
        return take(X, positions), positions


def _refuse(name: str, value: Any, why: str) -> None:
    if value is not False:
        kind = ValueError if value is True else TypeError
        raise kind(f"Expected {name}=False. Found {value!r}. {why}")


def _learner(clf: Any, strategy: PrivateQuery) -> Any:
    """What a query asks: a learner, or one around the DP estimator."""
    if isinstance(clf, BaseLearner | BaseCommittee):
        return clf
    if isinstance(clf, SkactivemlClassifier):
        check_is_fitted(clf)
        if not getattr(clf, "is_fitted_", True):
            raise NotFittedError(
                "Expected clf to be fitted. Its estimator refused, the wrapper swallowed the refusal, and it now answers with exact "
                "label counts, which nobody paid for. Fit the DP estimator itself, and pass it."
            )
        clf = getattr(clf, "estimator_", clf)
    return ActiveLearner(clf, strategy)
