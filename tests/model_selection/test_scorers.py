"""Scorers that pay, scorers that need not, and the balanced accuracy."""

import math
import pickle

import numpy as np
import pytest
from scipy.stats import chi2
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

from skdpal import BudgetExhausted, BudgetGuard, DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
from skdpal.model_selection import make_private_scorer, price_of, private_balanced_accuracy, public_scorer
from skdpal.model_selection.metrics import METRICS
from skdpal.privacy import events
from skdpal.privacy.randomness import simulation

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 3)), np.array(["a", "b"] * 15)
IDS = [f"p{number}" for number in range(30)]
MODEL = DPPrototypeClassifier(4.0, classes=["a", "b"])
GRID = {"noise_multiplier": [16.0, 32.0]}


class Fixed(ClassifierMixin, BaseEstimator):
    """Says "a" of the first rows and "b" of the others."""

    classes_ = np.array(["a", "b"])

    def __init__(self, n=10):
        self.n = n

    def predict(self, X):
        return np.where(np.arange(len(X)) < self.n, "a", "b")


def search(ledger, scoring, **more):
    return GridSearchCV(
        MODEL.set_params(ledger=ledger), GRID, cv=KFold(3), error_score="raise", scoring=scoring, **more
    )


# balanced accuracy


def test_balanced_accuracy_is_the_mean_recall():
    labels = np.repeat(["a", "b"], [20, 10])
    with simulation(0):
        score = private_balanced_accuracy(
            Fixed(15), np.zeros((30, 1)), labels, ledger=None, noise_multiplier=1e-9, record_ids=range(30)
        )
    assert score.balanced_accuracy == pytest.approx((15 / 20 + 1) / 2)
    assert score.recalls == pytest.approx([0.75, 1.0])
    assert score.counts == pytest.approx([20, 10])
    assert score.low < score.balanced_accuracy < score.high


def test_a_patient_with_many_samples_counts_once():
    with simulation(0):
        score = private_balanced_accuracy(
            Fixed(7), np.zeros((10, 1)), ["a"] * 10, ledger=None, noise_multiplier=1e-9, record_ids=["p"] * 10
        )
    assert score.counts == pytest.approx([1, 0], abs=1e-6)
    assert score.recalls[0] == pytest.approx(0.7)


def test_it_is_charged_and_refuses_discreetly(ledger, exhausted, untouchable):
    score = private_balanced_accuracy(Fixed(), X, Y, ledger=ledger, noise_multiplier=4.0, record_ids=IDS)
    assert [receipt.event for receipt in ledger.receipts()] == [events.gaussian(4.0, replace_one=math.sqrt(2))]
    assert score.noise == pytest.approx(4 * math.sqrt(2))
    with pytest.raises(BudgetExhausted, match="evaluation costs"):
        private_balanced_accuracy(Fixed(), untouchable, untouchable, ledger=exhausted, noise_multiplier=4.0)
    with pytest.raises(ValueError, match="classes") as error:
        private_balanced_accuracy(Fixed(), X, ["secret"] * 30, ledger=ledger, noise_multiplier=4.0)
    assert "secret" not in str(error.value)
    assert len(ledger.receipts()) == 1


def test_the_interval_holds_and_drowned_classes_say_nothing():
    labels = np.repeat(["a", "b"], [200, 200])
    missed = 0
    with simulation(1):
        for _ in range(300):
            score = private_balanced_accuracy(
                Fixed(150), np.zeros((400, 1)), labels, ledger=None, noise_multiplier=4.0, record_ids=range(400)
            )
            missed += not score.low <= 0.875 <= score.high
        drowned = private_balanced_accuracy(
            Fixed(3), np.zeros((4, 1)), list("aabb"), ledger=None, noise_multiplier=1e3, record_ids=range(4)
        )
    assert missed == 0  # the interval is conservative
    assert (drowned.low, drowned.high) == (0.0, 1.0)


@pytest.mark.parametrize("name", METRICS)
def test_the_sensitivity_is_what_is_priced(name):
    """No two patients are further apart than `replace_one`, none is longer than 1; and some are exactly that."""
    metric = METRICS[name]
    rows = np.array(
        [metric.rows(np.array([correct]), np.array([code]), 3)[0] for correct in (False, True) for code in range(3)]
    )
    mixed = np.vstack([rows, (rows[:, None] + rows[None]).reshape(-1, rows.shape[1]) / 2])  # two samples
    assert np.linalg.norm(mixed, axis=1).max() == pytest.approx(1.0)
    apart = np.linalg.norm(mixed[:, None] - mixed[None], axis=2).max()
    assert apart == pytest.approx(metric.replace_one)


def test_the_noise_of_the_counts_is_what_is_charged():
    """Variance of the noisy counts, at a false alarm of 1e-6; half the variance fails."""
    with simulation(3):
        counts = np.array(
            [
                private_balanced_accuracy(Fixed(), X, Y, ledger=None, noise_multiplier=4.0, record_ids=IDS).counts
                for _ in range(500)
            ]
        )
    total = ((counts - 15) ** 2).sum() / (2 * 16)
    assert chi2.ppf(5e-7, 1000) < total < chi2.isf(5e-7, 1000)
    assert total / 2 < chi2.ppf(5e-7, 1000)


# scorers


@pytest.mark.parametrize("scoring", ["accuracy", "balanced_accuracy"])
def test_a_private_scorer_charges_every_call(ledger, scoring):
    scorer = make_private_scorer(scoring, ledger=ledger, noise_multiplier=20.0)
    search(ledger, scorer).fit(X, Y)
    kinds = [receipt.event for receipt in ledger.receipts()]
    assert len(kinds) == 7 + 6
    assert kinds.count(scorer.event) == 6
    assert ledger.certificate()["status"] == "valid"


def test_scorers_survive_a_trip_to_another_process(tmp_path):
    ledger = PrivacyLedger.create(tmp_path / "a.ledger", PrivacyBudget(4.0, 1e-5))
    scorer = make_private_scorer("accuracy", ledger=ledger, noise_multiplier=20.0)
    pickle.loads(pickle.dumps(scorer))(Fixed(), X, Y)
    assert len(ledger.receipts()) == 1
    found = search(ledger, scorer, n_jobs=2).fit(X, Y)
    assert len(ledger.receipts()) == 1 + 7 + 6
    assert found.predict(X).shape == (30,)
    ledger.verify()
    again = pickle.loads(pickle.dumps(public_scorer("accuracy", X[:5], Y[:5])))
    assert again(Fixed(), None, None) == pytest.approx(np.mean(Y[:5] == "a"))


def test_public_scorers_score_what_they_were_given():
    assert public_scorer("accuracy")(Fixed(), X, ["a"] * 10 + ["b"] * 20) == 1.0
    assert public_scorer(lambda model, X, y: len(X), X[:5], Y[:5])(Fixed(), X, Y) == 5.0
    with pytest.raises(ValueError, match="unheard"):
        public_scorer("unheard")
    with pytest.raises(ValueError, match="both X and y"):
        public_scorer("accuracy", X)


def test_bad_scorers_are_refused_when_they_are_made(ledger):
    with pytest.raises(ValueError, match="Expected scoring"):
        make_private_scorer("f1", ledger=ledger, noise_multiplier=2.0)
    with pytest.raises(ValueError, match="noise_multiplier"):
        make_private_scorer("accuracy", ledger=ledger, noise_multiplier=0.0)
    with pytest.raises(ValueError, match="Expected ledger"):
        make_private_scorer("accuracy", ledger=None, noise_multiplier=2.0)


def test_their_charges_are_part_of_the_price(ledger):
    scorer = make_private_scorer("accuracy", ledger=ledger, noise_multiplier=20.0)
    plain = search(None, public_scorer("accuracy"))
    for scoring, calls in ((scorer, 6), ({"x": scorer, "y": scorer}, 12)):
        price = price_of(search(None, scoring, refit="x" if calls == 12 else True), X)
        assert not price.exact_scores
        extra = ledger._book.filter().price(price.event)[0] - ledger._book.filter().price(price_of(plain, X).event)[0]
        assert extra == calls * ledger._book.filter().price(scorer.event)[0]
    assert price_of(search(None, {"x": scorer, "y": "accuracy"}, refit="x"), X).exact_scores


def test_a_guard_pays_for_fits_and_scores_at_once(ledger):
    elsewhere = PrivacyLedger(PrivacyBudget(2.0))
    scorer = make_private_scorer("accuracy", ledger=elsewhere, noise_multiplier=20.0)
    for scoring in (scorer, {"x": scorer}):
        BudgetGuard(search(None, scoring, refit="x" if isinstance(scoring, dict) else True), ledger=ledger).fit(X, Y)
    assert len(ledger.receipts()) == 2
    assert elsewhere.receipts() == []
    assert ledger.certificate()["status"] == "valid"


def test_cross_validation_may_pay(ledger):
    scorer = make_private_scorer("accuracy", ledger=ledger, noise_multiplier=9.0)
    assert cross_val_score(MODEL.set_params(ledger=ledger), X, Y, cv=KFold(2), scoring=scorer).shape == (2,)
    assert len(ledger.receipts()) == 4
    assert ledger.certificate()["status"] == "valid"
