"""Private logistic regression: what each patient can move, what it costs, what it learns."""

import math
import pickle
from unittest import SkipTest

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from scipy.stats import norm
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdpal import (
    BudgetExhausted,
    DPLinearClassifier,
    DPPrototypeClassifier,
    PrivacyBudget,
    PrivacyLeakWarning,
    PrivacyLedger,
)
from skdpal.audit import attack
from skdpal.estimators import PublicPrior
from skdpal.estimators.linear import NoisyDescent
from skdpal.privacy import epsilon_of, events
from skdpal.privacy.randomness import simulation
from tests.statistical.sharpness import MISSED, missed

CLASSES = ("a", "b", "c")
CODES = np.array(CLASSES)
SURE = 1 - 1e-6


def a_cohort(n, d=3, n_classes=2, seed=0, gap=0.8):
    rng = np.random.default_rng(seed)
    centres = gap * np.linalg.qr(rng.normal(size=(d, n_classes)))[0].T
    codes = rng.integers(0, n_classes, n)
    return centres[codes] + rng.normal(0, 0.25, (n, d)), codes


# -- sensitivity -----------------------------------------------------------------------------


@st.composite
def cohorts(draw, n_rows=6, n_features=2):
    X = draw(arrays(float, (n_rows, n_features), elements=st.floats(-3, 3)))
    y = draw(arrays(int, n_rows, elements=st.integers(0, 2)))
    ids = [str(one) for one in draw(arrays(int, n_rows, elements=st.integers(0, 3)))]
    weights = draw(arrays(float, (3, n_features + 1), elements=st.floats(-20, 20)))
    return X, y, ids, weights


def clipped(X, y, ids, weights, norm_=1.0):
    descent = NoisyDescent(1.0, 1, norm_, 1.0, 0.0, 1.0, weights)
    table = np.column_stack([X, np.ones(len(X))]) / math.sqrt(2)
    return descent._clipped_sum(table, np.eye(3)[y], weights, ids)


@given(cohorts(), st.sampled_from([0.3, 1.0, 2.0]))
def test_a_patient_moves_a_gradient_by_the_clipping_norm_at_most(cohort, bound):
    X, y, ids, weights = cohort
    rest = np.array(ids) != ids[0]
    without = clipped(X[rest], y[rest], [one for one in ids if one != ids[0]], weights, bound)
    assert np.linalg.norm(clipped(X, y, ids, weights, bound) - without) <= bound


def test_the_bound_is_attained():
    X, weights = np.array([[100.0, 0.0]]), np.zeros((3, 3))
    assert np.linalg.norm(clipped(X, np.array([0]), ["p"], weights)) == pytest.approx(1.0, abs=1e-8)


def test_rows_of_one_patient_are_summed_before_they_are_clipped():
    X, y, weights = np.tile([[0.6, 0.0]], (9, 1)), np.zeros(9, dtype=int), np.zeros((3, 3))
    together = clipped(X, y, ["p"] * 9, weights)
    apart = clipped(X, y, [str(number) for number in range(9)], weights)
    assert np.linalg.norm(together) == pytest.approx(1.0, abs=1e-8)
    assert np.linalg.norm(apart) > 3.0


def test_a_gradient_that_needs_no_clipping_is_that_of_the_loss():
    rng = np.random.default_rng(1)
    X, y = rng.normal(0, 0.3, (5, 2)), rng.integers(0, 3, 5)
    weights = rng.normal(size=(3, 3))
    table = np.column_stack([X, np.ones(5)]) / math.sqrt(2)

    def loss(flat):
        return -np.log(softmax(table @ flat.reshape(3, 3).T, axis=1)[np.arange(5), y]).sum()

    numeric = [(loss(weights.ravel() + step) - loss(weights.ravel() - step)) / 2e-6 for step in 1e-6 * np.eye(9)]
    found = clipped(X, y, list("pqrst"), weights, norm_=10.0)
    np.testing.assert_allclose(found.ravel(), numeric, atol=1e-6)


# -- an attack in two worlds -----------------------------------------------------------------


class HalfTheNoise(NoisyDescent):
    """Charged as if there were more."""

    def run(self, values, ids):
        return NoisyDescent(self.noise_multiplier / 2, *list(vars(self).values())[1:]).run(values, ids)


class NoiseOfOneStep(NoisyDescent):
    """The noise of each step forgets how many there are."""

    def run(self, values, ids):
        return NoisyDescent(self.noise_multiplier / self.steps**0.5, *list(vars(self).values())[1:]).run(values, ids)


class RowsAreClipped(NoisyDescent):
    """Each row by itself: a patient with four counts four times."""

    def run(self, values, ids):
        return super().run(values, [str(number) for number in range(len(ids))])


SIGMA, STEPS, RUNS = 1.0, 4, 700
LEAST = 0.15  # of the charge; proven on faultless code
ROW = np.tile([[1.0, 0.0, 1.0]], (4, 1)) / math.sqrt(2)  # four rows of one patient
ALONG = np.array([[-1.0, 0.0, -1.0], [1.0, 0.0, 1.0]]) / 2  # where they pull
SHIFT = 1 + 1 + 1 + 0.5  # the average of the weights after steps 3 and 4 weighs the four sums so
SPREAD = SIGMA * math.sqrt(STEPS * (1 + 1 + 1 + 0.25))


def world(kind):
    """One run of the mechanism each. The weights hardly move, as the rate is tiny, so that the gradient stays at its largest."""
    truth, rate = np.tile([[1.0, 0.0]], (4, 1)), 1e-9

    def play(present, runs):
        mechanism = kind(SIGMA, STEPS, 1.0, rate, 0.0, 1.0, np.zeros((2, 3)))
        shown = slice(None) if present else slice(0)
        ids = ["canary"] * len(ROW[shown])
        each = [mechanism.run((ROW[shown], truth[shown]), ids) for _ in range(runs)]
        return -np.tensordot(each, ALONG) / rate

    return play


@pytest.mark.parametrize("kind", [NoisyDescent, HalfTheNoise, NoiseOfOneStep, RowsAreClipped])
def test_the_weights_tell_no_more_than_is_charged_and_faults_are_caught(kind):
    pull = 2 * math.sqrt(2) if kind is RowsAreClipped else 1.0
    found = attack(world(kind), RUNS, threshold=pull * SHIFT / 2, confidence=SURE)
    assert found.beats(mu=1 / SIGMA) == (kind is not NoisyDescent), str(found)
    assert found.mu > LEAST / SIGMA  # the attack works


def test_the_attack_is_sharp():
    rate = norm.cdf(-SHIFT / 2 / (SPREAD / 2))
    assert missed((rate, rate), RUNS, mu=1 / SIGMA) < MISSED
    rate = norm.cdf(-SHIFT / 2 / SPREAD)
    assert missed((rate, rate), RUNS, mu=LEAST / SIGMA) < MISSED


# -- what it costs ---------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 4, 16, "auto"])
def test_each_fit_is_one_receipt_of_the_event_it_announces(steps):
    ledger = PrivacyLedger(PrivacyBudget(2.0))
    model = DPLinearClassifier(8.0, classes=[0, 1], ledger=ledger, steps=steps)
    X, y = a_cohort(80)
    model.fit(X, y).partial_fit(X, y).partial_fit(X[:0], y[:0], expected_records=5)
    assert [receipt.event for receipt in ledger.receipts()] == [events.gaussian(8.0)] * 3
    assert [receipt.label for receipt in ledger.receipts()] == ["fit", "partial_fit 1", "partial_fit 2"]
    assert ledger.spent() == pytest.approx(epsilon_of([events.gaussian(8.0, steps=3)], 1e-5))


@pytest.mark.parametrize("steps", [1, 3, 16])
def test_the_steps_together_cost_what_is_charged(steps, monkeypatch):
    from skdpal.estimators import linear

    scales = []
    monkeypatch.setattr(linear, "perturb", lambda values, scale: scales.append(scale) or np.asarray(values))
    descent = NoisyDescent(2.5, steps, 0.7, 1.0, 0.0, 4.0, np.zeros((2, 3)))
    descent.run((np.zeros((0, 3)), np.zeros((0, 2))), [])
    assert len(scales) == steps
    assert sum((0.7 / scale) ** 2 for scale in scales) <= 1 / 2.5**2
    assert sum((0.7 / scale) ** 2 for scale in scales) == pytest.approx(1 / 2.5**2)


@pytest.mark.parametrize("verb", ["fit", "partial_fit"])
def test_an_exhausted_ledger_refuses_before_rows_are_read(verb, exhausted, untouchable, journal):
    model = DPLinearClassifier(2.0, classes=[0, 1], ledger=exhausted)
    before = journal(exhausted)
    with pytest.raises(BudgetExhausted, match=r"costs ε=\d.*spent 2\.00 of 2\.00"):
        getattr(model, verb)(untouchable, untouchable)
    assert journal(exhausted) == before


def test_without_a_ledger_rows_are_not_read(untouchable):
    with pytest.raises(ValueError, match=r"Expected ledger.*simulation"):
        DPLinearClassifier(2.0, classes=[0, 1]).fit(untouchable, untouchable)


def test_the_charge_is_on_record_before_a_gradient_is_formed(ledger, monkeypatch):
    from skdpal.estimators import linear

    def crash(slopes, ids):
        raise OSError("power cut")

    monkeypatch.setattr(linear, "sum_by_patient", crash)
    X, y = a_cohort(80)
    with pytest.raises(OSError, match="power cut"):
        DPLinearClassifier(4.0, classes=[0, 1], ledger=ledger).fit(X, y)
    assert len(ledger.receipts()) == 1


def test_after_a_hidden_query_the_expectation_must_be_said(ledger, untouchable):
    ledger.begin_round("round 1", hidden=True)
    model = DPLinearClassifier(4.0, classes=[0, 1], ledger=ledger)
    with pytest.raises(ValueError, match=r"expected_records.*Pass expected_records=n_instances"):
        model.partial_fit(untouchable, untouchable)


def test_the_realised_number_of_patients_does_not_reach_the_model(monkeypatch, budget):
    from skdpal.estimators import linear

    monkeypatch.setattr(linear, "sum_by_patient", lambda slopes, ids: np.zeros((1, slopes.shape[1])))
    monkeypatch.setattr(linear, "perturb", lambda values, scale: np.asarray(values) + scale)
    X, y = a_cohort(40)

    def trained(n_rows):
        model = DPLinearClassifier(2.0, classes=[0, 1], ledger=PrivacyLedger(budget))
        model.partial_fit(X[:n_rows], y[:n_rows], expected_records=30)
        return pickle.dumps({name: value for name, value in vars(model).items() if name != "ledger"})

    assert trained(0) == trained(1) == trained(40)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("noise_multiplier", 0.0),
        ("noise_multiplier", float("nan")),
        ("steps", 0),
        ("steps", "many"),
        ("learning_rate", -1.0),
        ("clipping_norm", 0.0),
        ("l2", -0.1),
    ],
)
def test_bad_parameters_are_refused_for_free(parameter, value, ledger, journal):
    X, y = a_cohort(80)
    with pytest.raises(ValueError, match=parameter):
        DPLinearClassifier(4.0, classes=[0, 1], ledger=ledger).set_params(**{parameter: value}).fit(X, y)
    assert len(journal(ledger)) == 1


def test_classes_other_than_those_of_the_prior_and_columns_it_has_not_are_refused_for_free(ledger, journal):
    X, y = a_cohort(80)
    prior = PublicPrior.from_public(X, y)
    with pytest.raises(ValueError, match=r"Expected classes to be those of the prior"):
        DPLinearClassifier(4.0, prior, [0, 1, 2], ledger).fit(X, y)
    with pytest.raises(ValueError, match=r"Expected X to have the 3 columns of the prior.*PublicEncoder"):
        DPLinearClassifier(4.0, prior, ledger=ledger).fit(X[:, :2], y)
    with pytest.raises(ValueError, match=r"Expected classes"):
        DPLinearClassifier(4.0, ledger=ledger).fit(X, y)
    assert len(journal(ledger)) == 1


# -- what it learns --------------------------------------------------------------------------


def test_without_noise_it_comes_near_ordinary_logistic_regression(simulated):
    X, y = a_cohort(600, d=5, n_classes=3)
    model = DPLinearClassifier(1e-9, steps=16).fit(X, y)
    rows, codes = a_cohort(2000, d=5, n_classes=3)
    ordinary = LogisticRegression().fit(X, y).score(rows, codes)
    assert model.score(rows, codes, public=True) > ordinary - 0.02


def test_with_a_thousand_patients_privacy_costs_little(simulated):
    X, y = a_cohort(1000, d=8)
    model = DPLinearClassifier(2.0).fit(X, y)
    assert model.steps_ == 16
    assert model.score(X, y, public=True) > LogisticRegression().fit(X, y).score(X, y) - 0.03


def test_a_cohort_of_nobody_leaves_the_public_model_nearly_as_it_was(simulated):
    X, y = a_cohort(300, d=5, n_classes=3)
    prior = PublicPrior.from_public(X, y)
    model = DPLinearClassifier(1e-9, prior).partial_fit(X[:0], y[:0], expected_records=50)
    assert model.score(X, y, public=True) > 0.9


@pytest.mark.parametrize("second", [1, 30, 300])
def test_a_second_cohort_refines_and_never_explodes(second, simulated):
    X, y = a_cohort(1000 + second, d=4)
    model = DPLinearClassifier(0.5).fit(X[:1000], y[:1000])
    first = model.score(X, y, public=True)
    model.partial_fit(X[1000:], y[1000:])
    assert model.cohorts_ == 2
    assert np.abs(model.coef_).max() < 1e3
    assert model.score(X, y, public=True) > first - 0.03


def test_it_starts_at_the_public_model(simulated):
    X, y = a_cohort(300, d=5, n_classes=3)
    prior = PublicPrior.from_public(X, y)
    model = DPLinearClassifier(1e-6, prior, learning_rate=1e-12).fit(X, y)
    nearest = (
        ((X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1) - prior.means[:, None]) ** 2)
        .sum(axis=2)
        .argmin(axis=0)
    )
    assert np.array_equal(model.predict(X), prior.classes[nearest])


def test_steps_follow_the_public_rule(simulated):
    X, y = a_cohort(60, d=4)
    for expected, steps in ((10, 1), (50, 4), (400, 16)):
        assert DPLinearClassifier(2.0).fit(X, y, expected_records=expected).steps_ == steps


def test_two_classes_and_three_have_scikit_learns_shapes(simulated):
    for n_classes, shape in ((2, (7,)), (3, (7, 3))):
        X, y = a_cohort(90, d=4, n_classes=n_classes)
        model = DPLinearClassifier(0.1).fit(X, CODES[y])
        assert model.decision_function(X[:7]).shape == shape
        np.testing.assert_allclose(model.predict_proba(X[:7]).sum(axis=1), 1.0)
        assert set(model.predict(X)) <= set(CLASSES)


def test_pickles_and_clones_carry_no_rows(tmp_path, budget):
    X, y = a_cohort(80)
    ids = [f"patient-{number:04d}" for number in range(80)]
    ledger = PrivacyLedger.create(tmp_path / "study.ledger", budget)
    model = DPLinearClassifier(4.0, classes=[0, 1], ledger=ledger).fit(X, y, record_ids=ids)
    data = pickle.dumps(model)
    assert not any(row[:2].tobytes() in data for row in X)
    assert b"patient-0" not in data
    again = pickle.loads(data)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    again.partial_fit(X, y)
    assert len(ledger.receipts()) == 2
    assert again.fingerprint() != model.fingerprint()
    assert not [name for name in vars(clone(model)) if name.endswith("_")]


def test_exact_scores_of_private_rows_void_the_certificate(ledger):
    X, y = a_cohort(80)
    frame = pd.DataFrame(
        X, columns=["u", "v", "w"], index=pd.Index([f"p{number}" for number in range(80)], name="patient")
    )
    model = DPLinearClassifier(4.0, classes=[0, 1], ledger=ledger).fit(frame, y)
    assert model.feature_names_in_.tolist() == ["u", "v", "w"]
    model.score(frame, y, public=True)
    assert ledger.certificate()["status"] == "valid"
    with pytest.warns(PrivacyLeakWarning):
        model.score(frame, y)
    assert ledger.certificate()["status"].startswith("void")


def test_above_kappa_sixteen_it_uses_what_prototypes_leave(simulated):
    """Directions of unequal variance: means alone point past the boundary."""
    rng = np.random.default_rng(5)
    d, n = 4, 1200
    spread = np.array([0.6, 0.25, 0.08, 0.08])
    codes = rng.integers(0, 2, n)
    X = np.outer(codes - 0.5, [0.45, 0.0, 0.12, 0.12]) + rng.normal(size=(n, d)) * spread
    X = X / np.linalg.norm(X, axis=1).max()
    train, test = slice(0, 600), slice(600, None)
    linear, prototypes = (
        np.mean([kind(2.0).fit(X[train], codes[train]).score(X[test], codes[test], public=True) for _ in range(5)])
        for kind in (DPLinearClassifier, DPPrototypeClassifier)
    )
    assert linear > prototypes


# -- scikit-learn's contract: no check is excused --------------------------------------------


@parametrize_with_checks([DPLinearClassifier(noise_multiplier=1e-9)])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_contract(estimator, check):
    with simulation(seed=0):
        try:
            check(estimator)
        except SkipTest as reason:
            if "SCIPY_ARRAY_API" not in str(reason):
                raise
