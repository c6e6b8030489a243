"""A fit finds the search that asked for it, and who pays for its scores."""

import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.feature_selection import RFECV
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    permutation_test_score,
    validation_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from skdpal import PrivacyBudget, PrivacyLeakWarning, PrivacyLedger
from skdpal.estimators import scoring
from skdpal.estimators.scoring import MARK, SETTLED, exact_score, void_if_scored
from skdpal.privacy.randomness import simulation

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.array([0, 1] * 6)
VOID = "void: chosen by uncharged scores"


class Model(ClassifierMixin, BaseEstimator):
    """Does what every fit of ours does, and nothing else."""

    def __init__(self, ledger=None, level=0):
        self.ledger = ledger
        self.level = level

    def fit(self, X, y):
        void_if_scored(self.ledger)
        self.classes_ = np.array([0, 1])
        self.coef_ = np.ones((1, np.shape(X)[1]))
        return self

    partial_fit = lambda self, X, y, classes=None: self.fit(X, y)  # noqa: E731

    def predict(self, X):
        return np.zeros(len(X), dtype=int)

    def predict_proba(self, X):
        first = 1 / (1 + np.exp(np.asarray(X)[:, 0]))
        return np.column_stack([first, 1 - first])

    def score(self, X, y, public=False):
        exact_score(self, public)
        return super().score(X, y)


class Marked:
    """A scorer that somebody vouches for."""

    def __init__(self):
        setattr(self, MARK, "public")

    def __call__(self, model, X, y):
        return float(np.mean(model.predict(X) == y))


CV = {"cv": KFold(3)}
SEARCHES = {
    "grid": lambda model, score: GridSearchCV(model, {"level": [1, 2]}, scoring=score, error_score="raise", **CV).fit(
        X, Y
    ),
    "random": lambda model, score: RandomizedSearchCV(
        model, {"level": [1, 2]}, n_iter=2, scoring=score, error_score="raise", **CV
    ).fit(X, Y),
    "nested": lambda model, score: GridSearchCV(
        GridSearchCV(model, {"level": [1]}, scoring=Marked(), error_score="raise", **CV),
        {"refit": [True]},
        scoring=score,
        error_score="raise",
        **CV,
    ).fit(X, Y),
    "pipeline": lambda model, score: GridSearchCV(
        make_pipeline(Normalizer(), model), {"model__level": [1]}, scoring=score, error_score="raise", **CV
    ).fit(X, Y),
    "cross_val_score": lambda model, score: cross_val_score(model, X, Y, scoring=score, error_score="raise", **CV),
    "cross_validate": lambda model, score: cross_validate(
        model, X, Y, scoring={"one": score or "accuracy"}, error_score="raise", **CV
    ),
    "validation_curve": lambda model, score: validation_curve(
        model, X, Y, param_name="level", param_range=[1, 2], scoring=score, error_score="raise", **CV
    ),
    "learning_curve": lambda model, score: learning_curve(
        model, X, Y, train_sizes=[4], scoring=score, error_score="raise", **CV
    ),
    "incremental": lambda model, score: learning_curve(
        model, X, Y, train_sizes=[4], scoring=score, exploit_incremental_learning=True, error_score="raise", **CV
    ),
    "permutations": lambda model, score: permutation_test_score(model, X, Y, n_permutations=2, scoring=score, **CV),
    "features": lambda model, score: RFECV(model, min_features_to_select=2, scoring=score, **CV).fit(X, Y),
}


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("score", ["accuracy", None, lambda model, X, y: 1.0], ids=["name", "own", "function"])
def test_a_search_with_exact_scores_is_void(name, score, ledger):
    with pytest.warns(PrivacyLeakWarning, match="certificate is now void"):
        SEARCHES[name](Model(ledger), score)
    assert ledger.certificate()["status"] == VOID


@pytest.mark.parametrize("name", SEARCHES)
def test_marked_scores_leave_the_certificate_valid(name, ledger):
    SEARCHES[name](Model(ledger), Marked())
    assert ledger.certificate()["status"] == "valid"


def test_of_several_metrics_all_must_be_marked(ledger):
    for scores, status in (({"one": Marked(), "two": Marked()}, "valid"), ({"one": Marked(), "two": "accuracy"}, VOID)):
        search = GridSearchCV(Model(ledger), {"level": [1]}, scoring=scores, refit="one", error_score="raise", **CV)
        if status == "valid":
            search.fit(X, Y)
        else:
            with pytest.warns(PrivacyLeakWarning):
                search.fit(X, Y)
        assert ledger.certificate()["status"] == status


def test_a_threshold_that_is_tuned_on_patients_is_void(ledger):
    with pytest.warns(PrivacyLeakWarning):
        TunedThresholdClassifierCV(Model(ledger), cv=KFold(3)).fit(X, Y)
    assert ledger.certificate()["status"] == VOID


def test_workers_see_the_search_too(tmp_path):
    """They warn on their own standard error; what counts is in the store."""
    ledger = PrivacyLedger.create(tmp_path / "a.ledger", PrivacyBudget(2.0))
    for score, status in ((Marked(), "valid"), ("accuracy", VOID)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in the workers: an error there would be a score of NaN
            GridSearchCV(Model(ledger), {"level": [1, 2]}, scoring=score, n_jobs=2, **CV).fit(X, Y)
        assert ledger.certificate()["status"] == status


def test_outside_a_search_nothing_is_marked(ledger):
    Model(ledger).fit(X, Y)
    cross_val_predict(Model(ledger), X, Y, cv=KFold(3))
    assert ledger.certificate()["status"] == "valid"
    void_if_scored(None)


def test_a_function_of_the_same_name_elsewhere_is_no_search(ledger):
    def _fit_and_score(scorer):
        void_if_scored(ledger)

    _fit_and_score("accuracy")
    assert ledger.certificate()["status"] == "valid"


def test_in_a_simulation_nothing_is_marked():
    with simulation(0):
        ledger = PrivacyLedger(PrivacyBudget(2.0))
        cross_val_score(Model(ledger), X, Y, scoring="accuracy", **CV)
        Model(ledger).fit(X, Y).score(X, Y)
        assert "void" not in ledger.certificate()["status"]


def test_who_settled_the_scores_is_believed_in_the_search_only(ledger):
    handle = ledger.within("cohort")
    setattr(handle, SETTLED, True)
    model = Model(handle)
    cross_val_score(model, X, Y, scoring=None, error_score="raise", **CV)
    assert ledger.certificate()["status"] == "valid"
    with pytest.warns(PrivacyLeakWarning, match="exact score"):
        clone(model).fit(X, Y).score(X, Y)
    assert ledger.certificate()["status"] == VOID


def test_exact_scores_of_public_rows_are_free(ledger):
    assert Model(ledger).fit(X, Y).score(X, Y, public=True) == 0.5
    assert ledger.certificate()["status"] == "valid"
    with pytest.warns(PrivacyLeakWarning, match="exact score"):
        Model().fit(X, Y).score(X, Y)  # nobody's ledger to mark, but still a warning


def test_the_names_of_scikit_learn_are_still_there():
    """If a release renames them, this says so: then searches would no longer be seen."""
    import inspect

    from sklearn.feature_selection import _rfe
    from sklearn.model_selection import _classification_threshold, _validation

    for name, variable in scoring._SCORING.items():
        home = next(module for module in (_validation, _rfe, _classification_threshold) if hasattr(module, name))
        assert variable in inspect.signature(getattr(home, name)).parameters
