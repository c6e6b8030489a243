"""All of it, or none of it."""

import numpy as np
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from skdpal import (
    BudgetExhausted,
    BudgetGuard,
    DPPrototypeClassifier,
    PrivacyBudget,
    PrivacyLeakWarning,
    PrivacyLedger,
    PublicEncoder,
)
from skdpal.model_selection import price_of, private_accuracy
from skdpal.privacy import epsilon_of, events
from skdpal.privacy.randomness import simulation

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 3)), np.array(["a", "b"] * 15)
MODEL = DPPrototypeClassifier(4.0, classes=["a", "b"])
GRID = {"noise_multiplier": [8.0, 16.0]}


def search(**arguments):
    return GridSearchCV(MODEL, GRID, **({"cv": KFold(3), "scoring": "accuracy", "error_score": "raise"} | arguments))


@pytest.mark.parametrize(
    "front",
    [
        Normalizer(),
        FrozenEstimator(StandardScaler().fit(X)),
        ColumnTransformer([("n", Normalizer(), [0, 1])], remainder="passthrough"),
        FeatureUnion([("n", Normalizer()), ("p", "passthrough")]),
        PublicEncoder(n_components=2).fit(X),
        "passthrough",
    ],
)
def test_what_reads_no_patients_is_free(front):
    assert price_of(make_pipeline(front, MODEL), X).event == events.composed([MODEL.privacy_event()])


@pytest.mark.parametrize(
    ("front", "words"),
    [
        (StandardScaler(), "StandardScaler learns"),
        (PublicEncoder(), "not fitted on public data"),
        (ColumnTransformer([("s", StandardScaler(), [0])]), "StandardScaler learns"),
    ],
)
def test_what_learns_from_patients_costs_infinity(front, words, ledger):
    guard = BudgetGuard(make_pipeline(front, MODEL), ledger=ledger)
    with pytest.raises(BudgetExhausted, match=rf"costs ε=inf .*{words}.*spent 0\.00 of 2\.00\. .*FrozenEstimator"):
        guard.fit(X, Y)
    assert ledger.receipts() == []


def test_a_search_costs_every_fold_and_the_dearest_refit():
    fits = [events.gaussian(sigma, replace_one=np.sqrt(2)) for sigma in (8.0, 16.0) for _ in range(3)]
    expected = epsilon_of([*fits, fits[0]], 1e-5)
    assert epsilon_of([price_of(search(), X).event], 1e-5) == pytest.approx(expected)
    without = epsilon_of([price_of(search(refit=False), X).event], 1e-5)
    assert without == pytest.approx(epsilon_of(fits, 1e-5))


@pytest.mark.parametrize("cv", [None, 5])
def test_folds_that_read_labels_are_refused(cv, ledger):
    with pytest.raises(BudgetExhausted, match=r"cv=KFold\(5\)"):
        BudgetGuard(search(cv=cv), ledger=ledger).fit(X, Y)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_search_is_one_receipt(tmp_path, n_jobs):
    ledger = PrivacyLedger.create(tmp_path / "a.ledger", PrivacyBudget(4.0))
    with pytest.warns(PrivacyLeakWarning, match="certificate is now void"):
        guard = BudgetGuard(search(n_jobs=n_jobs), ledger=ledger).fit(X, Y)
    assert len(ledger.receipts()) == 1
    draws = [row for row in rows_of(ledger) if row["kind"] == "draw"]
    assert len(draws) == 7
    assert guard.predict(X).shape == (30,)
    assert guard.predict_proba(X).shape == (30, 2)
    assert guard.classes_.tolist() == ["a", "b"]
    assert ledger.certificate()["status"] == "void: chosen by uncharged scores"


def rows_of(ledger):
    return ledger._book.journal.read(lambda transaction: transaction.rows()[0])


def test_public_scores_leave_the_certificate_valid(ledger):
    BudgetGuard(
        GridSearchCV(MODEL, {"noise_multiplier": [9.0]}, cv=KFold(2), scoring="accuracy"),
        ledger=ledger,
        public_scores=True,
    ).fit(X, Y)
    assert ledger.certificate()["status"] == "valid"


def test_nothing_runs_if_not_everything_is_affordable(ledger):
    guard = BudgetGuard(search(cv=KFold(30)), ledger=ledger)
    with pytest.raises(BudgetExhausted, match=r"fit of GridSearchCV costs ε=.*spent 0\.00 of 2\.00"):
        guard.fit(X, Y)
    assert ledger.receipts() == []
    assert not hasattr(guard, "estimator_")


def test_a_guard_can_be_priced_and_nested(ledger):
    guard = BudgetGuard(make_pipeline(Normalizer(), MODEL), ledger=ledger)
    assert guard.privacy_event(30) == guard.price(X).event
    assert price_of(guard, X).event == guard.price(X).event
    with simulation(0):
        assert BudgetGuard(DPPrototypeClassifier(4.0)).fit(X, Y).predict(X).shape == (30,)
    with pytest.raises(ValueError, match="Expected ledger"):
        BudgetGuard(MODEL).fit(X, Y)


class Right:
    """Right about the first patients."""

    def predict(self, X):
        return np.where(np.arange(len(X)) < 7, "a", "b")


def test_accuracy_is_charged_to_its_account_and_unbiased(ledger):
    ids = [f"p{number}" for number in range(10)]
    handle = ledger.split("cohort/pool", into="cohort/evaluation", members=ids)
    score = private_accuracy(Right(), X[:10], ["a"] * 10, ledger=handle, noise_multiplier=3.0, record_ids=ids)
    assert ledger.receipts()[0].account == "cohort/evaluation"
    assert ledger.receipts()[0].event == events.gaussian(3.0, replace_one=1.0)
    assert 0 <= score.low <= score.accuracy <= score.high <= 1
    assert score.noise == pytest.approx(0.3)
    with pytest.raises(ValueError, match="patients of account"):
        private_accuracy(Right(), X[:1], ["a"], ledger=handle, noise_multiplier=50.0, record_ids=["stranger"])
    with simulation(0):
        exact = private_accuracy(Right(), X[:10], ["a"] * 10, ledger=None, noise_multiplier=1e-9)
        assert exact.accuracy == pytest.approx(0.7)
        # one patient with seven right samples of ten is one patient
        one = private_accuracy(Right(), X[:10], ["a"] * 10, ledger=None, noise_multiplier=1e-9, record_ids=["p"] * 10)
        assert (one.accuracy, one.n_patients) == (pytest.approx(0.7), 1)
    with pytest.raises(ValueError, match="one label"):
        private_accuracy(Right(), X[:10], ["a"], ledger=handle, noise_multiplier=50.0)
