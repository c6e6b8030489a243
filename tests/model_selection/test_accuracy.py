"""A noisy accuracy: charged first, unbiased, one vote a patient."""

import warnings

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from skdpal import BudgetExhausted, PrivacyBudget, PrivacyLeakWarning, PrivacyLedger
from skdpal.model_selection import private_accuracy
from skdpal.privacy.randomness import simulation

X = np.zeros((40, 1))


class FirstRight:
    """Right about the first rows."""

    def __init__(self, n_right):
        self.n_right = n_right

    def predict(self, X):
        return np.where(np.arange(len(X)) < self.n_right, "a", "b")


def scores(n_right, noise, runs, seed=5):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyLeakWarning)
        with simulation(seed=int(seed)):
            return [
                private_accuracy(
                    FirstRight(n_right),
                    X,
                    ["a"] * 40,
                    ledger=None,
                    noise_multiplier=noise,
                    record_ids=range(40),
                )
                for _ in range(runs)
            ]


def test_it_is_unbiased_with_the_noise_it_declares():
    found = scores(20, noise=2.0, runs=2000)  # 10 standard deviations from the cuts at 0 and 1
    values = np.array([score.accuracy for score in found])
    z = (values.mean() - 0.5) / (found[0].noise / np.sqrt(2000))
    assert abs(z) < norm.ppf(1 - 0.5e-6)
    assert values.std() == pytest.approx(found[0].noise, rel=0.1)
    assert found[0].noise == 2.0 / 40


def test_intervals_hold_the_accuracy_on_new_patients():
    truth, inside, runs = 0.5, 0, 400
    for n_right in np.random.default_rng(0).binomial(40, truth, runs):
        score = scores(int(n_right), noise=4.0, runs=1, seed=n_right + 100 * inside)[0]
        inside += score.low < truth < score.high
    assert binomtest(inside, runs, 0.95, alternative="less").pvalue > 1e-6


@pytest.mark.parametrize(("n_right", "sigma"), [(0, 5.0), (40, 5.0), (20, 1e3)])
def test_everything_is_cut_to_what_an_accuracy_can_be(n_right, sigma):
    for score in scores(n_right, sigma, 20):
        assert 0 <= score.low <= score.accuracy <= score.high <= 1


def test_a_patient_with_many_samples_has_one_vote(simulated):
    ids = ["many"] * 37 + ["one", "two", "three"]
    score = private_accuracy(FirstRight(37), X, ["a"] * 40, ledger=None, noise_multiplier=1e-9, record_ids=ids)
    assert score.n_patients == 4
    assert score.accuracy == pytest.approx(1 / 4)
    half = private_accuracy(
        FirstRight(37), X, ["a", "b"] * 18 + ["a", "b", "a", "a"], ledger=None, noise_multiplier=1e-9, record_ids=ids
    )
    assert half.accuracy == pytest.approx((19 / 37 + 1) / 4)


def test_it_refuses_before_rows_are_read(exhausted, untouchable, journal):
    before = journal(exhausted)
    with pytest.raises(BudgetExhausted, match=r"evaluation costs ε=.*spent 2\.00 of 2\.00"):
        private_accuracy(FirstRight(1), untouchable, untouchable, ledger=exhausted, noise_multiplier=2.0)
    with pytest.raises(ValueError, match="Expected ledger"):
        private_accuracy(FirstRight(1), untouchable, untouchable, ledger=None, noise_multiplier=2.0)
    for parameter in ({"noise_multiplier": 0.0}, {"noise_multiplier": 2.0, "confidence": 1.0}):
        with pytest.raises(ValueError, match=list(parameter)[-1]):
            private_accuracy(FirstRight(1), untouchable, untouchable, ledger=exhausted, **parameter)
    assert journal(exhausted) == before


@pytest.mark.parametrize("labels", [[], ["a"] * 39], ids=["none", "too few"])
def test_labels_of_other_rows_are_refused_discreetly(labels, ledger):
    with pytest.raises(ValueError, match="Expected y") as error:
        private_accuracy(FirstRight(1), X[: 40 if labels else 0], labels, ledger=ledger, noise_multiplier=9.0)
    assert not any(number in str(error.value) for number in ("39", "40"))
    assert ledger.receipts() == []


def test_it_is_charged_to_the_leaf_of_its_patients():
    ledger = PrivacyLedger(PrivacyBudget(2.0))
    ids = [f"p{number}" for number in range(40)]
    handle = ledger.split("cohort/pool", into="cohort/evaluation", members=ids)
    private_accuracy(FirstRight(9), X, ["a"] * 40, ledger=handle, noise_multiplier=3.0, record_ids=ids)
    assert [receipt.account for receipt in ledger.receipts()] == ["cohort/evaluation"]
    assert ledger.spent("cohort/pool") == 0.0
    with pytest.raises(BudgetExhausted, match="cohort/evaluation"):
        private_accuracy(FirstRight(9), X, ["a"] * 40, ledger=handle, noise_multiplier=2.0, record_ids=ids)
