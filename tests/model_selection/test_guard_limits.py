"""Where the guard says no: procedures that do more than they announced, on whom they may not."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler

from skdpal import BudgetExhausted, BudgetGuard, DPPrototypeClassifier, PrivacyBudget, PrivacyLeakWarning, PrivacyLedger
from skdpal.model_selection import price_of
from skdpal.privacy import LedgerSealed, events
from skdpal.privacy.accounting import mu_squared

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 3)), np.array(["a", "b"] * 15)
IDS = [f"p{number}" for number in range(30)]
MODEL = DPPrototypeClassifier(8.0, classes=["a", "b"])


def search(**arguments):
    defaults = {"cv": KFold(3), "scoring": "accuracy", "error_score": "raise"}
    return GridSearchCV(MODEL, {"noise_multiplier": [16.0, 32.0]}, **(defaults | arguments))


class Greedy(ClassifierMixin, BaseEstimator):
    """Announces one release and makes as many as it likes."""

    def __init__(self, estimator=MODEL, fits=2, ledger=None):
        self.estimator = estimator
        self.fits = fits
        self.ledger = ledger

    def privacy_event(self, n_records):
        return self.estimator.privacy_event(n_records)

    def fit(self, X, y):
        for _ in range(self.fits):
            self.model_ = clone(self.estimator).set_params(ledger=self.ledger).fit(X, y)
        return self


def test_one_fit_more_than_reserved_is_refused(ledger):
    assert BudgetGuard(Greedy(fits=1), ledger=ledger).fit(X, Y)
    with pytest.raises(BudgetExhausted, match=r"0\.00 of the reservation is left") as error:
        BudgetGuard(Greedy(fits=2), ledger=ledger).fit(X, Y)
    assert error.value.price > 0
    assert error.value.ceiling == 2.0
    assert len(ledger.receipts()) == 2  # what was reserved stays spent


def test_a_dearer_fit_than_announced_is_refused(ledger):
    class Modest(Greedy):
        def privacy_event(self, n_records):
            return events.gaussian(80.0)

    with pytest.raises(BudgetExhausted, match="of the reservation is left"):
        BudgetGuard(Modest(fits=1), ledger=ledger).fit(X, Y)
    assert ledger.receipts()[0].event == events.composed([events.gaussian(80.0)])


def test_a_guard_of_one_account_does_not_read_patients_of_another(ledger):
    start = ledger.split("cohort/pool", into="cohort/start", members=IDS[:10])
    guard = BudgetGuard(MODEL, ledger=start)
    guard.fit(X[:10], Y[:10], record_ids=IDS[:10])
    with pytest.raises(ValueError, match="patients of account 'cohort/start' only"):
        guard.fit(X[10:], Y[10:], record_ids=IDS[10:])
    assert {receipt.account for receipt in ledger.receipts()} == {"cohort/start"}


def test_a_refusal_comes_before_rows_are_read_and_has_a_way_out(ledger):
    class Countable:
        """The number of rows is public; nothing else may be asked."""

        def __len__(self):
            return 30

        def __getattr__(self, name):
            raise AssertionError("the patients' rows were read")

        __iter__ = __getitem__ = __array__ = None

    dear = GridSearchCV(MODEL, {"noise_multiplier": [2.0, 3.0]}, cv=KFold(5), scoring="accuracy")
    with pytest.raises(BudgetExhausted) as error:
        BudgetGuard(dear, ledger=ledger).fit(Countable(), None)
    message, refusal = str(error.value), error.value
    assert f"{refusal.price:.2f}" in message
    assert (refusal.spent, refusal.ceiling) == (0.0, 2.0)
    assert "noise_multiplier" in message  # what to change
    assert "Nothing is left" not in message  # nothing has been spent yet
    assert ledger.receipts() == []


def test_when_all_is_spent_the_refusal_says_so(exhausted):
    with pytest.raises(BudgetExhausted, match=r"spent 2\.00 of 2\.00 .*Nothing is left"):
        BudgetGuard(search(), ledger=exhausted).fit(X, Y)


@pytest.mark.parametrize(
    "function", [lambda rows: rows - rows.mean(axis=0), lambda rows: rows.argsort(axis=0)], ids=["centred", "ranks"]
)
def test_functions_of_all_rows_are_not_free(function, ledger):
    guard = BudgetGuard(make_pipeline(FunctionTransformer(function), MODEL), ledger=ledger)
    with pytest.raises(BudgetExhausted, match=r"costs ε=inf .*FunctionTransformer"):
        guard.fit(X, Y)
    assert ledger.receipts() == []


@pytest.mark.parametrize(
    "cv", [StratifiedKFold(3), 3, None, iter([]), "stratified"], ids=["stratified", "number", "default", "own", "word"]
)
def test_only_folds_by_position_are_priced(cv):
    assert "KFold(5)" in price_of(search(cv=cv), X).culprit


def test_whatever_is_not_known_costs_infinity():
    class Unknown(BaseEstimator):
        def fit(self, X, y=None):
            return self

    for part in (Unknown(), LogisticRegression(), StandardScaler()):
        price = price_of(Pipeline([("first", part), ("last", MODEL)]), X)
        assert type(part).__name__ in price.culprit
        assert mu_squared(price.event) == float("inf")


def test_a_search_inside_a_pipeline_is_priced_like_the_search():
    inside, alone = price_of(make_pipeline(Normalizer(), search()), X), price_of(search(), X)
    assert inside.event == alone.event
    assert inside.exact_scores
    assert not price_of(make_pipeline(Normalizer(), MODEL), X).exact_scores


def test_pricing_fits_nothing_and_changes_nothing():
    pipeline = make_pipeline(Normalizer(), search())
    price_of(pipeline, X)
    assert not hasattr(pipeline[-1], "best_estimator_")
    assert MODEL.noise_multiplier == 8.0


def test_scores_on_public_rows_may_be_declared(ledger):
    def public_score(model, X, y):
        return model.score(X_public, Y[:6], public=True)

    X_public = np.eye(6, 3)
    guard = BudgetGuard(search(scoring=public_score), ledger=ledger, public_scores=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "κ = n μ")
        guard.fit(X, Y)
    assert ledger.certificate()["status"] == "valid"


def test_a_plain_search_with_exact_scores_is_void_and_pays_for_every_fit(tmp_path):
    ledger = PrivacyLedger.create(tmp_path / "a.ledger", PrivacyBudget(2.0))
    plain = search(scoring=None)
    plain.estimator = clone(MODEL).set_params(ledger=ledger)
    with pytest.warns(PrivacyLeakWarning, match="void"):
        plain.fit(X, Y)
    assert len(ledger.receipts()) == 2 * 3 + 1
    assert ledger.certificate()["status"] == "void: chosen by uncharged scores"


def test_workers_cannot_pay_from_an_in_memory_ledger(ledger):
    handle = ledger.reserve(events.gaussian(8.0), "fit of a search")
    sent = pickle.loads(pickle.dumps(clone(MODEL).set_params(ledger=handle)))
    with pytest.raises(LedgerSealed, match=r"PrivacyLedger\.create"):
        sent.fit(X, Y)


def test_a_guard_passes_on_what_fit_needs_after_a_hidden_query(ledger):
    ledger.begin_round("round 1", hidden=True)
    with pytest.raises(ValueError, match="expected_records"):
        BudgetGuard(MODEL, ledger=ledger).fit(X, Y)
    assert BudgetGuard(MODEL, ledger=ledger).fit(X, Y, expected_records=30).predict(X).shape == (30,)


def test_the_estimator_given_is_not_touched(ledger):
    guard = BudgetGuard(make_pipeline(Normalizer(), MODEL), ledger=ledger).fit(X, Y)
    assert MODEL.ledger is None
    assert not hasattr(MODEL, "release_")
    assert guard.estimator_[-1].ledger.root is ledger
