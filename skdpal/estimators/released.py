"""What classifiers that follow from noisy releases and a public prior have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from skdpal.estimators.display import BudgetRepr
from skdpal.estimators.scoring import exact_score
from skdpal.estimators.transition import Transition
from skdpal.privacy.validation import check_finite, check_real

__all__ = ["ReleasedClassifier"]

_REMEDIES = {
    "prior": "Make the prior from public data of the same classes.",
    "transition": "Give the matrix of the transition one row for each class.",
}


class ReleasedClassifier(BudgetRepr, ClassifierMixin, BaseEstimator):
    """Base of classifiers with the parameters `prior`, `classes`, `ledger`, `prior_weight` and `class_prior`, perhaps `transition`."""

    transition: Transition | None = None

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest label of each row."""
        best = np.argmax(self.predict_proba(X), axis=1)
        return self.classes_[best]

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, public: bool = False) -> float:
        """Exact accuracy: free on public data, an uncovered release on private data.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As in scikit-learn.
        public : bool, default=False
            Declare that X and y are public. Otherwise the ledger's certificate becomes void.
            `skdpal.model_selection.private_accuracy` pays instead.
        """
        check_is_fitted(self)
        exact_score(self, public)
        return super().score(X, y, sample_weight)

    def _public_classes(self, given: Any) -> Any:
        """As given, or those of the prior and the transition; all must agree."""
        given = self.classes if given is None else given
        transition = _checked_transition(self)
        known = {name: source.classes for name, source in (("prior", self.prior), ("transition", transition)) if source}
        for name, classes in known.items():
            found = next(iter(known.values())) if given is None else np.unique(np.asarray(given))
            if not np.array_equal(found, classes):
                raise ValueError(
                    f"Expected classes to be those of the {name}, {classes.tolist()}. Found {found.tolist()}. "
                    + _REMEDIES[name]
                )
            given = classes
        return given

    def _labels(self, classes: Any) -> Any:
        """What y may hold: the classes, or the labels of the transition; None if unknown."""
        return classes if self.transition is None else self.transition.observed

    def _prior_weight(self) -> float | None:
        if isinstance(self.prior_weight, str):
            if self.prior_weight != "fitted":
                raise ValueError(f'Expected prior_weight to be "fitted" or a number. Found {self.prior_weight!r}.')
            return None
        return check_real("prior_weight", self.prior_weight, above=0.0)

    def _class_prior(self, classes: Any) -> np.ndarray | None:
        if self.class_prior is None:
            return None
        fractions = check_finite("class_prior", self.class_prior)
        proper = fractions.ndim == 1 and (fractions > 0).all() and abs(fractions.sum() - 1) < 1e-6
        if not proper or (classes is not None and len(fractions) != len(np.unique(np.asarray(classes)))):
            raise ValueError(
                f"Expected class_prior to be one positive fraction for each class, with sum 1. Found {self.class_prior!r}. "
                "Pass public fractions in the order of the sorted classes."
            )
        return fractions


def _checked_transition(estimator: Any) -> Transition | None:
    """Refuse what is none, or what cannot tell the classes apart without a prior."""
    transition = estimator.transition
    if transition is None:
        return None
    if not isinstance(transition, Transition):
        raise TypeError(
            f"Expected transition to be a Transition, or None. Found {type(transition).__name__}. "
            "Pass skdpal.estimators.Transition(matrix, classes, observed)."
        )
    if estimator.prior is None and not transition.tells_apart:
        raise ValueError(
            "Expected a prior with this transition: its labels do not tell all classes apart, however many there are. "
            "Pass prior=, or merge classes."
        )
    return transition
