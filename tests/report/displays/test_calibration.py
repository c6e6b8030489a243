"""A reliability diagram counts right, and private rows are not drawn in silence."""

import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skdpal import DPPrototypeClassifier, PrivacyLeakWarning, PrivacyLedger
from skdpal.report import CalibrationDisplay

CLASSES = np.array(["a", "b", "c"])


def drawn(n=400, seed=0):
    """Labels that happen as often as is stated."""
    rng = np.random.default_rng(seed)
    proba = rng.dirichlet([1.0, 1.0, 1.0], n)
    return np.array([rng.choice(CLASSES, p=row) for row in proba]), proba


def test_bins_are_those_of_scikit_learn():
    y, proba = drawn()
    display = CalibrationDisplay.from_predictions(y, proba, public=True, n_bins=7)
    right = CLASSES[proba.argmax(axis=1)] == y
    happened, stated = calibration_curve(right, proba.max(axis=1), n_bins=7)
    np.testing.assert_allclose(display.bins["happened"], happened)
    np.testing.assert_allclose(display.bins["stated"], stated)
    assert display.bins["rows"].sum() == len(y)


def test_intervals_are_binomial():
    y, proba = drawn(60)
    for confidence in (0.9, 0.95):
        bins = CalibrationDisplay.from_predictions(y, proba, public=True, confidence=confidence).bins
        for _, row in bins.iterrows():
            exact = binomtest(round(row["happened"] * row["rows"]), int(row["rows"])).proportion_ci(confidence)
            assert (row["low"], row["high"]) == pytest.approx((exact.low, exact.high))


def test_one_against_the_rest_has_an_event_for_every_class():
    y, proba = drawn(50)
    display = CalibrationDisplay.from_predictions(y, proba, public=True, what="each")
    assert display.bins["rows"].sum() == 150
    happened, _ = calibration_curve((y[:, None] == CLASSES).ravel(), proba.ravel(), n_bins=5)
    np.testing.assert_allclose(display.bins["happened"], happened)


def test_the_error_is_the_mean_gap():
    y, proba = np.array(["a", "a", "b", "b"]), np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.3, 0.7]])
    display = CalibrationDisplay.from_predictions(y, proba, public=True)
    assert display.expected_calibration_error_ == pytest.approx((3 * abs(0.9 - 2 / 3) + abs(0.7 - 1)) / 4)
    line = display.ax_.containers[-1].lines[0]
    np.testing.assert_allclose(line.get_ydata(orig=False), display.bins["happened"])


def test_tables_name_the_classes():
    y, proba = drawn(30)
    swapped = pd.DataFrame(proba, columns=CLASSES)[["c", "a", "b"]]
    ours = CalibrationDisplay.from_predictions(pd.Series(y), swapped, public=True)
    assert ours.bins.equals(CalibrationDisplay.from_predictions(y, proba, public=True).bins)
    given = CalibrationDisplay.from_predictions(y, swapped.to_numpy(), classes=["c", "a", "b"], public=True)
    assert ours.bins.equals(given.bins)


@pytest.fixture
def model(embedded, ledger):
    return DPPrototypeClassifier(2.0, embedded.prior, ledger=ledger).fit(embedded.X[:20], embedded.y[:20])


def test_an_estimator_is_asked(embedded, model):
    display = CalibrationDisplay.from_estimator(
        model, embedded.X_public, model.classes_[np.zeros(46, int)], public=True
    )
    proba = model.predict_proba(embedded.X_public)
    expected = CalibrationDisplay.from_predictions(
        model.classes_[np.zeros(46, int)], proba, classes=model.classes_, public=True
    )
    assert display.bins.equals(expected.bins)
    assert model.ledger.certificate()["status"] == "valid"


@pytest.mark.parametrize("wrap", [lambda model: model, lambda model: make_pipeline(FunctionTransformer(), model)])
def test_private_rows_make_the_certificate_void_in_the_words_of_score(embedded, model, wrap):
    with pytest.warns(PrivacyLeakWarning) as said:
        CalibrationDisplay.from_estimator(wrap(model), embedded.X[20:], embedded.y[20:])
    assert model.ledger.certificate()["status"] == "void: chosen by uncharged scores"
    fresh = DPPrototypeClassifier(2.0, model.prior, ledger=PrivacyLedger(model.ledger.budget))
    fresh.fit(embedded.X[:20], embedded.y[:20])
    with pytest.warns(PrivacyLeakWarning) as of_score:
        fresh.score(embedded.X[20:], embedded.y[20:])
    assert str(said[0].message) == str(of_score[0].message)
    assert said[0].filename == __file__
    assert len(said) == 1


def test_the_mark_comes_before_the_rows_are_read(untouchable, ledger):
    broken = SimpleNamespace(ledger=ledger, classes_=CLASSES)
    with pytest.warns(PrivacyLeakWarning), pytest.raises(AttributeError):
        CalibrationDisplay.from_estimator(broken, untouchable, untouchable)
    assert ledger.certificate()["status"].startswith("void")


def test_predictions_of_private_rows_warn_and_void_a_ledger(ledger):
    y, proba = drawn(10)
    with pytest.warns(PrivacyLeakWarning, match="leaves without a receipt"):
        CalibrationDisplay.from_predictions(y, proba, ledger=ledger)
    assert ledger.certificate()["status"].startswith("void")


def test_simulations_may_look(simulated):
    y, proba = drawn(10)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        CalibrationDisplay.from_predictions(y, proba)


def test_axes_and_keywords_are_passed_on(column):
    display = CalibrationDisplay.from_predictions(*drawn(30), public=True, ax=column, color="red", ms=9)
    assert display.ax_ is column
    line = column.containers[-1].lines[0]
    assert (line.get_color(), line.get_markersize()) == ("red", 9)
    assert display.plot() is display


@pytest.mark.parametrize("what", ["likeliest", "each"])
def test_words_have_room(column, readable, what):
    readable(CalibrationDisplay.from_predictions(*drawn(), public=True, ax=column, what=what).figure_)
    readable(CalibrationDisplay.from_predictions(*drawn(), public=True, what=what).figure_)


@pytest.mark.parametrize(
    ("y", "proba", "more", "words"),
    [
        (["a", "b"], [[0.5, 0.5]], {}, "a row for each label"),
        ([], np.empty((0, 2)), {}, "at least one"),
        (["a", "b"], [[0.5, 0.6], [1.0, 0.0]], {}, "rows add up to 1"),
        (["a", "b"], [[np.nan, 0.6], [1.0, 0.0]], {}, "rows add up to 1"),
        (["a", "z"], [[0.5, 0.5], [1.0, 0.0]], {"classes": ["a", "b"]}, "y_true to hold the classes"),
        (["a", "b"], [[0.5, 0.5], [1.0, 0.0]], {"n_bins": 0}, "n_bins"),
        (["a", "b"], [[0.5, 0.5], [1.0, 0.0]], {"confidence": 1.0}, "confidence"),
        (["a", "b"], [[0.5, 0.5], [1.0, 0.0]], {"what": "all"}, "what"),
    ],
)
def test_wrong_input_is_named(y, proba, more, words):
    with pytest.raises(ValueError, match=words):
        CalibrationDisplay.from_predictions(y, proba, public=True, **more)
