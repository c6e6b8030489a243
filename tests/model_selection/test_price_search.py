"""Whole searches are priced before their first fold: random ones, nested ones, and those that cannot be."""

import numpy as np
import pytest
from scipy.stats import uniform
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    KFold,
    LeaveOneOut,
    RandomizedSearchCV,
    RepeatedKFold,
    ShuffleSplit,
)
from sklearn.pipeline import make_pipeline

from skdpal import BudgetExhausted, BudgetGuard, DPPrototypeClassifier, PrivacyBudget, PrivacyLedger, PublicEncoder
from skdpal.model_selection import price_of, public_scorer
from skdpal.privacy import events
from skdpal.privacy.accounting import mu_squared

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 3)), np.array(["a", "b"] * 15)
MODEL = DPPrototypeClassifier(8.0, classes=["a", "b"])
PUBLIC = public_scorer("accuracy")
LISTS = {"noise_multiplier": [16.0, 32.0, 64.0]}


def random_search(space=LISTS, **more):
    arguments = {"n_iter": 2, "cv": KFold(3), "scoring": PUBLIC, "error_score": "raise"} | more
    return RandomizedSearchCV(MODEL, space, **arguments)


def mu2(estimator):
    return mu_squared(price_of(estimator, X).event)


def test_draws_that_nobody_knows_cost_the_dearest():
    """Two draws in three folds, and the winner once more."""
    assert mu2(random_search()) == pytest.approx(7 / 16**2)
    assert mu2(random_search(refit=False)) == pytest.approx(6 / 16**2)


def test_a_grid_that_is_tried_as_a_whole_is_known():
    assert mu2(random_search(n_iter=3, refit=False)) == pytest.approx(3 * (16**-2 + 32**-2 + 64**-2))
    assert mu2(random_search(n_iter=9, refit=False)) == mu2(random_search(n_iter=3, refit=False))


@pytest.mark.parametrize("space", [{"noise_multiplier": uniform(10, 40)}, LISTS, [LISTS, {"prior_weight": [1.0, 2.0]}]])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_seed_makes_the_draws_known(ledger, space, seed):
    """What is reserved is what is drawn: to the last bit of the reservation."""
    search = random_search(space, random_state=seed, refit=False)
    ledger = PrivacyLedger(PrivacyBudget(9.0))
    guard = BudgetGuard(search, ledger=ledger).fit(X, Y)
    tried = guard.estimator_.cv_results_["params"]
    paid = 3 * sum(mu_squared(clone(MODEL).set_params(**one).privacy_event()) for one in tried)
    assert mu2(search) == pytest.approx(paid)
    assert guard.estimator_.cv_results_["mean_test_score"].shape == (2,)


def test_distributions_without_a_seed_cost_infinity(ledger):
    for state in (None, np.random.RandomState(0)):
        search = random_search({"noise_multiplier": uniform(10, 40)}, random_state=state)
        with pytest.raises(BudgetExhausted, match=r"ε=inf .*pass random_state=0"):
            BudgetGuard(search, ledger=ledger).fit(X, Y)
    assert ledger.receipts() == []


def test_a_guarded_random_search_runs_and_is_one_receipt(ledger):
    BudgetGuard(random_search(), ledger=ledger).fit(X, Y)
    assert len(ledger.receipts()) == 1
    assert ledger.certificate()["status"] == "valid"


@pytest.mark.parametrize(
    ("cv", "fits"),
    [(KFold(3), 3), (RepeatedKFold(n_splits=3, n_repeats=2), 6), (ShuffleSplit(4), 4), (LeaveOneOut(), 30)],
)
def test_blind_splitters_cost_every_fold(cv, fits):
    assert mu2(GridSearchCV(MODEL, {}, cv=cv, scoring=PUBLIC, refit=False)) == pytest.approx(fits / 64)


def test_folds_are_priced_at_their_own_size():
    class Sized(DPPrototypeClassifier):
        def privacy_event(self, n_records=None):
            return events.gaussian(float(n_records))

    search = GridSearchCV(Sized(), {}, cv=KFold(4), scoring=PUBLIC)  # of 30 rows
    assert mu2(search) == pytest.approx(2 / 22**2 + 2 / 23**2 + 1 / 30**2)


def test_a_search_in_a_search_costs_every_fit(ledger):
    inner = GridSearchCV(MODEL, {"prior_weight": [1.0, 2.0]}, cv=KFold(2), scoring=PUBLIC)
    outer = GridSearchCV(inner, {"estimator__noise_multiplier": [20.0, 40.0]}, cv=KFold(3), scoring=PUBLIC)
    once = 5 * 20.0**-2, 5 * 40.0**-2
    assert mu2(outer) == pytest.approx(3 * sum(once) + once[0])
    BudgetGuard(outer, ledger=ledger).fit(X, Y)
    assert len(ledger.receipts()) == 1
    assert not price_of(outer, X).exact_scores
    assert price_of(clone(outer).set_params(estimator__scoring="accuracy"), X).exact_scores


@pytest.mark.parametrize("winner", [0, 1])
def test_whoever_wins_the_reservation_is_enough(ledger, winner):
    """Each fit is rounded up by itself; a sum that is rounded once would be short of the last."""
    noises = [21.0, 40.0]

    def preferred(model, X, y):
        return float(getattr(model, "estimator", model).noise_multiplier == noises[winner])

    inner = GridSearchCV(MODEL, {"prior_weight": [1.0, 2.0]}, cv=KFold(2), scoring=PUBLIC)
    outer = GridSearchCV(
        inner,
        {"estimator__noise_multiplier": noises},
        cv=KFold(3),
        scoring=public_scorer(preferred),
        error_score="raise",
    )
    assert BudgetGuard(outer, ledger=ledger).fit(X, Y).estimator_.best_index_ == winner


def test_training_scores_are_scores(ledger):
    exact = GridSearchCV(MODEL, {}, cv=KFold(2), return_train_score=True)
    assert price_of(exact, X).exact_scores


@pytest.mark.parametrize(
    "search",
    [
        HalvingGridSearchCV(MODEL, LISTS, cv=KFold(3), scoring=PUBLIC),
        HalvingRandomSearchCV(MODEL, LISTS, cv=KFold(3), scoring=PUBLIC, random_state=0),
    ],
    ids=["grid", "random"],
)
def test_halving_is_refused_with_the_way_out(search, ledger):
    with pytest.raises(BudgetExhausted, match=r"decides by scores what to fit; use GridSearchCV, or PrivateSearchCV"):
        BudgetGuard(search, ledger=ledger).fit(X, Y)
    assert ledger.receipts() == []


@pytest.mark.parametrize(
    "ensemble",
    [VotingClassifier([("a", MODEL)]), BaggingClassifier(MODEL), StackingClassifier([("a", MODEL)], MODEL)],
    ids=["voting", "bagging", "stacking"],
)
def test_ensembles_are_refused_with_the_reason(ensemble, ledger):
    with pytest.raises(BudgetExhausted, match="infers the classes from private labels"):
        BudgetGuard(ensemble, ledger=ledger).fit(X, Y)


def test_the_winner_is_bounded_under_every_kind_of_ledger():
    """Whoever wins is refitted: a bound of all candidates, order by order."""

    class Sampled(DPPrototypeClassifier):
        def privacy_event(self, n_records=None):
            return events.poisson_gaussian(self.noise_multiplier, 0.2, 10)

    ledger = PrivacyLedger(PrivacyBudget(9.0), filter="renyi")
    search = GridSearchCV(Sampled(), {"noise_multiplier": [64.0, 4.0]}, cv=KFold(2), scoring=PUBLIC)
    price = ledger._book.filter().price
    (paid,) = price(price_of(search, X).event)
    dear, cheap = price(events.poisson_gaussian(4.0, 0.2, 10))[0], price(events.poisson_gaussian(64.0, 0.2, 10))[0]
    assert paid == 2 * (dear + cheap) + dear


def test_several_times_the_same_release_is_paid_each_time():
    class Thrice(DPPrototypeClassifier):
        def privacy_event(self, n_records=None):
            return events.composed([super().privacy_event()], count=3)

    assert mu2(make_pipeline(Thrice(8.0))) == pytest.approx(3 / 64)


def test_the_protocols_decide_not_the_class():
    class Cleaner(PublicEncoder):
        pass

    assert (
        price_of(make_pipeline(Cleaner(n_components=2), MODEL), X).culprit == "Cleaner is not fitted on public data yet"
    )
    assert not price_of(make_pipeline(Cleaner(n_components=2).fit(X), MODEL), X).culprit
