"""PrivateSearchCV: what it pays, what it shows, what it refuses."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import uniform
from sklearn.base import BaseEstimator, ClassifierMixin, clone, is_classifier
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdpal import (
    BudgetExhausted,
    BudgetGuard,
    DPPrototypeClassifier,
    PrivacyBudget,
    PrivacyLeakWarning,
    PrivacyLedger,
    PublicEncoder,
)
from skdpal.model_selection import PrivateSearchCV, price_of
from skdpal.model_selection.split import scoring_patients
from skdpal.privacy import LedgerError, Schedule, epsilon_of, events
from skdpal.privacy.accounting import mu_squared
from skdpal.privacy.randomness import simulation

RNG = np.random.default_rng(0)
Y = np.array(["a", "b"] * 15)
X = RNG.normal(size=(30, 3)) + 3 * (Y == "a")[:, None]
IDS = [f"p{number}" for number in range(30)]
MODEL = DPPrototypeClassifier(8.0, classes=["a", "b"])
GRID = {"prior_weight": ["fitted", 2.0, 9.0]}
BUDGET = PrivacyBudget(2.0, 1e-5)


def search(grid=GRID, model=MODEL, **more):
    return PrivateSearchCV(model, grid, **more)


@pytest.fixture
def renyi():
    return PrivacyLedger(BUDGET, filter="renyi")


def test_everything_is_released_under_one_receipt(ledger):
    found = search(ledger=ledger).fit(X, Y, record_ids=IDS)
    (receipt,) = ledger.receipts()
    assert receipt.event == found.privacy_event(30)
    assert len(found.estimators_) == 3
    assert found.best_estimator_ is found.estimators_[found.best_index_]
    assert found.best_score_ == max(found.cv_results_["mean_test_score"])
    assert found.best_params_ == found.cv_results_["params"][found.best_index_]
    table = found.to_frame()
    assert table.rank_test_score.tolist() == [1, 2, 3]
    assert table.mean_test_score[0] == found.best_score_
    assert found.predict(X).shape == (30,)
    assert found.predict_proba(X).shape == (30, 2)
    assert found.classes_.tolist() == ["a", "b"]
    assert found.n_features_in_ == 3
    assert ledger.certificate()["status"] == "valid"


def test_release_all_costs_the_fits_and_scores_as_precise_cost_nothing_more(ledger):
    """μ² = K/σ², of the fits or of the scores: a patient pays for one of the two."""
    three = epsilon_of([events.gaussian(8.0, steps=3)], 1e-5)
    event = search(ledger=ledger).privacy_event(30)
    assert mu_squared(event) == pytest.approx(3 / 64, rel=1e-9)
    assert epsilon_of([event], 1e-5) == pytest.approx(three, rel=1e-6)
    dear = search(ledger=ledger, score_noise_multiplier=1.0).privacy_event(30)
    assert mu_squared(dear) == pytest.approx(3.0)
    uneven = search({"noise_multiplier": [4.0, 8.0]}, ledger=ledger).privacy_event(30)
    assert mu_squared(uneven) == pytest.approx(1 / 16 + 1 / 64, rel=1e-9)


def test_repeat_costs_the_dearest_candidate(renyi):
    event = search({"noise_multiplier": [8.0, 4.0]}, ledger=renyi, mean_repeats=5.0).privacy_event(30)
    one = events.gaussian(4.0)
    assert epsilon_of([event], 1e-5) == pytest.approx(epsilon_of([events.repeat_and_select(one, 5.0)], 1e-5), rel=1e-3)
    assert event.shape == 1.0
    assert search(ledger=renyi, law="logarithmic").privacy_event(30).shape == 0.0


def test_repeat_leaves_the_best_only(renyi):
    found = search(ledger=renyi, mean_repeats=4.0).fit(X, Y, record_ids=IDS)
    assert [receipt.event for receipt in renyi.receipts()] == [found.privacy_event(30)]
    assert not {"cv_results_", "estimators_", "best_index_"} & set(vars(found))
    assert found.best_params_ in found._candidates()
    with pytest.raises(AttributeError, match="Only the best|only the best"):
        found.to_frame()
    assert found.best_estimator_.ledger is renyi  # later charges are its own
    assert renyi.certificate()["status"] == "valid"


def test_a_gdp_ledger_refuses_repeats_with_the_way_out(ledger, journal):
    before = journal(ledger)
    with pytest.raises(BudgetExhausted, match="release all K runs"):
        search(ledger=ledger, method="repeat").fit(X, Y)
    assert journal(ledger) == before


def test_a_planned_ledger_takes_what_was_planned():
    wanted = search(method="repeat", mean_repeats=3.0)
    ledger = PrivacyLedger(BUDGET, filter="planned", schedule=Schedule([wanted.privacy_event(30)]))
    wanted.set_params(ledger=ledger).fit(X, Y)
    assert len(ledger.receipts()) == 1
    with pytest.raises(BudgetExhausted, match="frozen schedule"):
        clone(wanted).fit(X, Y)


def test_nothing_is_charged_for_bad_input(ledger, renyi):
    bad = X.copy()
    bad[3, 1] = np.nan
    for payer in (ledger, renyi):
        for rows, labels, word in ((bad, Y, "finite"), (X, np.where(Y == "a", "c", Y), "classes"), (X, Y[:9], "y to")):
            with pytest.raises(ValueError, match=word):
                search(ledger=payer).fit(rows, labels, record_ids=IDS)
        for parameters in (
            {"validation": 0.0},
            {"validation": ["nobody"]},
            {"validation": IDS},
            {"score_noise_multiplier": 0.0},
            {"scoring": "f1"},
            {"method": "all"},
            {"pad_to": 0},
            {"candidates": []},
            {"candidates": {"noise_multiplier": uniform(4, 9)}},
            {"candidates": {"ledger": [None]}},
            {"candidates": {"prior_weight": ["unheard"]}},
        ):
            with pytest.raises(ValueError, match=r"Expected|expected"):
                search(ledger=payer).set_params(**parameters).fit(X, Y, record_ids=IDS)
        assert payer.receipts() == []


def test_a_refusal_comes_before_rows_are_read(exhausted, untouchable):
    class Countable(type(untouchable)):
        def __len__(self):
            return 30

    with pytest.raises(BudgetExhausted, match="search over DPPrototypeClassifier costs"):
        search(ledger=exhausted).fit(Countable(), untouchable)
    with pytest.raises(ValueError, match="Expected ledger"):
        search().fit(untouchable, untouchable)


def test_what_learns_without_a_charge_is_refused(ledger):
    model = make_pipeline(StandardScaler(), MODEL)
    with pytest.raises(BudgetExhausted, match=r"ε=inf \(StandardScaler learns"):
        search({"dpprototypeclassifier__prior_weight": [1.0]}, model, ledger=ledger).fit(X, Y)
    inner = GridSearchCV(MODEL, GRID, cv=KFold(2))
    with pytest.raises(BudgetExhausted, match="chooses by exact scores"):
        search({"refit": [True]}, inner, ledger=ledger).fit(X, Y)
    assert ledger.receipts() == []


class Greedy(ClassifierMixin, BaseEstimator):
    """Announces one release and makes two."""

    def __init__(self, weight=1.0, ledger=None):
        self.weight = weight
        self.ledger = ledger

    def privacy_event(self, n_records):
        return MODEL.privacy_event(n_records)

    def fit(self, X, y, record_ids=None):
        for _ in range(2):
            self.model_ = clone(MODEL).set_params(ledger=self.ledger).fit(X, y, record_ids=record_ids)
        return self

    def predict(self, X):
        return self.model_.predict(X)


def test_a_run_cannot_release_more_than_was_announced(ledger, renyi):
    with pytest.raises(LedgerError, match="did not announce"):
        search({"weight": [1.0]}, Greedy(), ledger=ledger).fit(X, Y)
    with pytest.raises(RuntimeError, match="A run of the search failed"):
        search({"weight": [1.0]}, Greedy(), ledger=renyi).fit(X, Y)


def test_after_a_hidden_selection_the_cohort_is_no_longer_known(ledger):
    ledger.begin_round("round 1", hidden=True)
    with pytest.raises(ValueError, match="Search on the start cohort"):
        search(ledger=ledger).fit(X, Y)


def test_the_patients_of_another_account_are_not_read(ledger):
    start = ledger.split("cohort/pool", into="cohort/start", members=IDS[:12])
    found = search(ledger=start).fit(X[:12], Y[:12], record_ids=IDS[:12])
    assert [receipt.account for receipt in ledger.receipts()] == ["cohort/start"]
    assert found.best_estimator_.ledger is start
    with pytest.raises(ValueError, match="patients of account"):
        search(ledger=start).fit(X, Y, record_ids=IDS)
    assert len(ledger.receipts()) == 1


def test_pipelines_frames_and_samples_of_one_patient(renyi):
    public = PublicEncoder(n_components=2).fit(X[:15], Y[:15])
    frame = pd.DataFrame(X, columns=["g1", "g2", "g3"], index=[f"p{number // 2}" for number in range(30)])
    seen = []

    class Watching(DPPrototypeClassifier):
        def fit(self, X, y, *, record_ids=None, expected_records=None):
            seen.append(record_ids)
            return super().fit(X, y, record_ids=record_ids, expected_records=expected_records)

    model = make_pipeline(public, Watching(8.0, classes=["a", "b"]))
    found = search({"watching__prior_weight": [1.0]}, model, ledger=renyi, mean_repeats=2.0).fit(
        frame.to_numpy(), Y, record_ids=frame.index
    )
    assert found.predict(X).shape == (30,)
    assert found.best_estimator_[-1].ledger is renyi
    fitted = [set(ids) for ids in seen[1:]]
    assert all(len(ids) == 11 for ids in fitted)  # of 15 patients, two samples each; the same each time
    assert len({frozenset(ids) for ids in fitted}) == 1
    alone = search(ledger=PrivacyLedger(BUDGET)).fit(frame, Y)
    assert alone.best_estimator_.feature_names_in_.tolist() == ["g1", "g2", "g3"]


class Nameless(Greedy):
    """Does not ask who the patients are."""

    def fit(self, X, y):
        self.model_ = clone(MODEL).set_params(ledger=self.ledger).fit(X, y)
        return self


def test_several_samples_of_a_patient_need_an_estimator_that_asks(ledger):
    twice = [f"p{number // 2}" for number in range(30)]
    assert search({"weight": [1.0]}, Nameless(), ledger=ledger).fit(X, Y, record_ids=IDS)
    with pytest.raises(ValueError, match="Expected one row a patient"):
        search({"weight": [1.0]}, Nameless(), ledger=ledger).fit(X, Y, record_ids=twice)
    assert len(ledger.receipts()) == 1


def test_who_scores_does_not_depend_on_others_data():
    scoring = scoring_patients(IDS, 0.3)
    assert scoring.sum() == 9
    order = RNG.permutation(30)
    again = scoring_patients([IDS[place] for place in order], 0.3)
    assert (again == scoring[order]).all()  # by name, in any order
    nameless = [f"row-sha256:{number}" for number in range(30)]
    changed = ["row-sha256:other", *nameless[1:]]
    assert (scoring_patients(nameless, 0.3) == scoring_patients(changed, 0.3)).all()  # by place
    assert scoring_patients(["a", "b", "a", "c"], ["a"]).tolist() == [True, False, True, False]


def test_it_is_an_estimator(ledger):
    one = search(ledger=ledger, validation=0.5, pad_to=3)
    assert repr(clone(one).get_params()) == repr(one.get_params())
    assert is_classifier(one)
    found = one.fit(X, Y)
    assert (pickle.loads(pickle.dumps(found)).predict(X) == found.predict(X)).all()
    assert found.score(X, Y, public=True) >= 0
    with pytest.warns(PrivacyLeakWarning, match="void"):
        found.score(X, Y)
    assert ledger.certificate()["status"].startswith("void")
    with pytest.raises(AttributeError):
        _ = found.transform


def test_a_guard_reserves_a_search(ledger, renyi):
    for payer, method in ((ledger, "release-all"), (renyi, "repeat")):
        guard = BudgetGuard(search(mean_repeats=3.0), ledger=payer).fit(X, Y)
        assert len(payer.receipts()) == 1
        assert guard.estimator_._method() == method
        assert guard.predict(X).shape == (30,)
        assert payer.certificate()["status"] == "valid"


def test_a_search_has_a_price(ledger):
    assert price_of(search(ledger=ledger), X).event == events.composed([search(ledger=ledger).privacy_event(30)])


def test_distributions_are_drawn_from_in_public(ledger):
    one = search({"noise_multiplier": uniform(20, 9)}, ledger=ledger, n_candidates=4)
    assert one._candidates() == clone(one)._candidates()
    assert len(one.fit(X, Y).to_frame()) == 4
    few = search({"noise_multiplier": [9.0, 10.0, 11.0], "classes": [["a", "b"]]}, n_candidates=2)
    assert len(few._candidates()) == 2
    assert search({"noise_multiplier": 9.0, "prior_weight": 1.0})._candidates() == [
        {"noise_multiplier": 9.0, "prior_weight": 1.0}
    ]


def test_in_a_simulation_no_ledger_is_needed():
    with simulation(3):
        for method in ("release-all", "repeat"):
            first = search(method=method).fit(X, Y)
            assert first.predict(X).shape == (30,)
        with pytest.raises(ValueError, match="finite"):  # here the reason may be known
            search(method="repeat").fit(np.full((30, 3), np.nan), Y, record_ids=IDS)


@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy"])
def test_the_better_candidate_wins(scoring):
    """With hardly any noise, a search finds the model that is right."""
    grid = {"noise_multiplier": [1e-3, 1e4]}
    with warnings.catch_warnings(), simulation(1):
        found = search(grid, scoring=scoring, score_noise_multiplier=1e-3, method="repeat", mean_repeats=30.0).fit(X, Y)
    assert found.best_params_ == {"noise_multiplier": 1e-3}
    assert found.best_score_ == pytest.approx(1.0, abs=0.15)
