"""One noisy release of class sums and counts: what it can tell about a patient, and what it costs."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.base import clone

from skdpal import BudgetExhausted, DPPrototypeClassifier, PrivacyBudget, PrivacyLeakWarning, PrivacyLedger
from skdpal.privacy import epsilon_of, events
from skdpal.privacy.randomness import simulation

CLASSES = ("a", "b", "c")
CODES = np.array(CLASSES)


def statistic(X, y, ids):
    """Sums and counts with the noise of a fixed seed, which cancels in differences."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyLeakWarning)
        with simulation(seed=3):
            model = DPPrototypeClassifier(noise_multiplier=1.0, classes=CLASSES)
            model.partial_fit(X, y, record_ids=ids, expected_records=4)
    sums, counts = model.release_
    return np.concatenate([sums.ravel(), counts])


def distance(one, other):
    return np.linalg.norm(statistic(*one) - statistic(*other))


@st.composite
def cohorts(draw, n_rows=6, n_features=3):
    """Rows of any length, and owners such that patients may have several rows."""
    X = draw(arrays(float, (n_rows, n_features), elements=st.floats(-3, 3)))
    y = CODES[draw(arrays(int, n_rows, elements=st.integers(0, 2)))]
    ids = draw(arrays(int, n_rows, elements=st.integers(0, 3))).astype(str)
    return X, y, ids


@given(cohorts())
def test_replacing_a_patient_by_nothing_moves_the_release_by_one_at_most(cohort):
    X, y, ids = cohort
    rest = ids != ids[0]
    assert distance(cohort, (X[rest], y[rest], ids[rest])) <= 1.0


@given(cohorts(), cohorts())
def test_exchanging_a_patient_moves_the_release_by_root_two_at_most(cohort, other):
    X, y, ids = cohort
    rest = ids != ids[0]
    other_X, other_y, _ = other
    exchanged = (
        np.concatenate([X[rest], other_X]),
        np.concatenate([y[rest], other_y]),
        np.concatenate([ids[rest], np.repeat("newcomer", len(other_X))]),
    )
    assert distance(cohort, exchanged) <= np.sqrt(2.0) * (1 + 1e-9)


@given(cohorts(), st.sampled_from(CLASSES))
def test_changing_a_label_moves_the_release_by_root_two_at_most(cohort, label):
    X, y, _ = cohort
    ids = np.arange(len(X)).astype(str)
    relabelled = y.copy()
    relabelled[0] = label
    assert distance((X, y, ids), (X, relabelled, ids)) <= np.sqrt(2.0) * (1 + 1e-9)


def test_the_bounds_are_attained():
    unit, nobody = np.array([[1.0, 0.0, 0.0]]), np.zeros((0, 3))
    assert distance((unit, ["a"], ["p"]), (nobody, [], [])) == pytest.approx(1.0, abs=1e-8)
    assert distance((unit, ["a"], ["p"]), (unit, ["b"], ["p"])) == pytest.approx(np.sqrt(2.0), abs=1e-8)


def test_samples_of_one_patient_are_clipped_together():
    one, many = np.array([[1.0, 0.0, 0.0]]), np.tile([1.0, 0.0, 0.0], (9, 1))
    once = statistic(one, ["a"], ["p"])
    np.testing.assert_allclose(statistic(many, ["a"] * 9, ["p"] * 9), once, atol=1e-8)
    strangers = statistic(many, ["a"] * 9, [f"p{number}" for number in range(9)])
    assert np.linalg.norm(strangers - once) == pytest.approx(8.0, abs=1e-6)


def test_the_same_row_twice_is_one_patient_unless_ids_say_otherwise(simulated):
    model = DPPrototypeClassifier(1e-9, classes=CLASSES).fit(np.eye(3)[[0, 0]], ["a", "a"])
    assert model.release_[1].sum() == pytest.approx(1 / np.sqrt(2), abs=1e-6)


def test_the_release_is_a_table_of_sums_and_counts_in_units_of_sensitivity_one(simulated):
    X = np.array([[0.6, 0.0], [0.0, 0.8], [0.3, 0.0]])
    model = DPPrototypeClassifier(1e-9, classes=CLASSES).fit(X, ["c", "a", "c"])
    sums, counts = model.release_
    assert sums.shape == (3, 2)
    assert counts.shape == (3,)
    np.testing.assert_allclose(sums * np.sqrt(2), [[0.0, 0.8], [0.0, 0.0], [0.9, 0.0]], atol=1e-6)
    np.testing.assert_allclose(counts * np.sqrt(2), [1, 0, 2], atol=1e-6)
    assert model.classes_.tolist() == list(CLASSES)


# -- what it costs ---------------------------------------------------------------------------


def test_each_fit_and_partial_fit_is_one_receipt_of_the_event_it_announces(ledger):
    model = DPPrototypeClassifier(8.0, classes=CLASSES, ledger=ledger)
    X = np.eye(3)
    model.fit(X, CODES).partial_fit(X, CODES).partial_fit(X, CODES)
    receipts = ledger.receipts()
    assert [receipt.event for receipt in receipts] == [model.privacy_event(3)] * 3
    assert [receipt.label for receipt in receipts] == ["fit", "partial_fit 1", "partial_fit 2"]
    assert model.privacy_event(3) == events.gaussian(8.0, replace_one=float(np.sqrt(2.0)))
    assert ledger.spent() == pytest.approx(epsilon_of([events.gaussian(8.0, steps=3)], 1e-5))


def test_the_price_does_not_depend_on_the_number_of_records():
    model = DPPrototypeClassifier(3.0)
    assert model.privacy_event() == model.privacy_event(1) == model.privacy_event(1000)


def test_predictions_are_free(ledger, embedded):
    model = DPPrototypeClassifier(4.0, prior=embedded.prior, ledger=ledger).fit(embedded.X, embedded.y)
    model.predict(embedded.X)
    model.predict_proba(embedded.X)
    model.uncertainty(embedded.X)
    assert len(ledger.receipts()) == 1


@pytest.mark.parametrize("verb", ["fit", "partial_fit"])
def test_an_exhausted_ledger_refuses_before_rows_are_read(verb, exhausted, untouchable, journal):
    model = DPPrototypeClassifier(2.0, classes=CLASSES, ledger=exhausted)
    before = journal(exhausted)
    with pytest.raises(BudgetExhausted, match=r"costs ε=\d.*spent 2\.00 of 2\.00"):
        getattr(model, verb)(untouchable, untouchable)
    assert journal(exhausted) == before
    assert not hasattr(model, "release_")


@pytest.mark.parametrize("verb", ["fit", "partial_fit"])
def test_without_a_ledger_rows_are_not_read(verb, untouchable):
    with pytest.raises(ValueError, match=r"Expected ledger.*simulation"):
        getattr(DPPrototypeClassifier(2.0, classes=CLASSES), verb)(untouchable, untouchable)


def test_the_charge_is_on_record_before_the_sums_are_formed(ledger, monkeypatch):
    from skdpal.privacy.mechanisms import sums

    def crash(contributions, ids):
        raise OSError("power cut")

    monkeypatch.setattr(sums, "sum_by_patient", crash)
    with pytest.raises(OSError, match="power cut"):
        DPPrototypeClassifier(4.0, classes=CLASSES, ledger=ledger).fit(np.eye(3), CODES)
    assert len(ledger.receipts()) == 1  # no refund


def test_a_real_ledger_is_not_charged_by_seeded_noise(ledger, journal):
    from skdpal.privacy import LedgerError

    with simulation(seed=0), pytest.raises(LedgerError, match="simulation"):
        DPPrototypeClassifier(4.0, classes=CLASSES, ledger=ledger).fit(np.eye(3), CODES)
    assert len(journal(ledger)) == 1


# -- what must not reach the model -----------------------------------------------------------


def test_fit_refuses_zero_rows_but_partial_fit_charges_and_releases_them(ledger):
    model = DPPrototypeClassifier(4.0, classes=CLASSES, ledger=ledger)
    with pytest.raises(ValueError, match="minimum of 1"):
        model.fit(np.zeros((0, 3)), [])
    assert ledger.receipts() == []
    model.partial_fit(np.zeros((0, 3)), [], expected_records=3)
    assert len(ledger.receipts()) == 1
    assert np.abs(model.release_[0]).min() > 0  # noise on nothing is still noise
    model.partial_fit(np.zeros((0, 3)), [], expected_records=3)
    assert len(model.releases_) == 2
    assert model.predict(np.eye(3)).shape == (3,)


def test_after_a_hidden_query_the_expectation_must_be_said(ledger, untouchable, journal):
    ledger.begin_round("round 1", hidden=True)
    model = DPPrototypeClassifier(4.0, classes=CLASSES, ledger=ledger)
    before = journal(ledger)
    with pytest.raises(ValueError, match=r"expected_records.*Pass expected_records=n_instances"):
        model.partial_fit(untouchable, untouchable)
    assert journal(ledger) == before
    model.partial_fit(np.eye(3), CODES, expected_records=3)


def test_the_realised_number_of_patients_does_not_reach_the_model(monkeypatch, embedded, budget):
    from skdpal.estimators import prototype

    answers = np.random.default_rng(0).normal(size=4 * 17)

    def same_answer(contributions, mechanism, ledger, label, *, record_ids):
        ledger.charge(mechanism.event, label, record_ids=record_ids)
        return answers.copy()

    monkeypatch.setattr(prototype, "release", same_answer)

    def trained(n_rows):
        model = DPPrototypeClassifier(2.0, prior=embedded.prior, ledger=PrivacyLedger(budget))
        model.partial_fit(embedded.X[:n_rows], embedded.y[:n_rows], expected_records=3)
        return pickle.dumps({name: value for name, value in vars(model).items() if name != "ledger"})

    assert trained(0) == trained(1) == trained(3) == trained(30)


def test_a_scaled_expectation_does_reach_the_model(simulated, embedded):
    first, second = (
        DPPrototypeClassifier(1e-6, prior=embedded.prior).fit(embedded.X, embedded.y, expected_records=number)
        for number in (3, 30)
    )
    assert np.abs(first.posterior_.class_means - second.posterior_.class_means).max() > 1e-3


def test_pickles_and_clones_carry_no_rows(tmp_path, embedded, budget):
    ids = [f"patient-{number:04d}" for number in range(len(embedded.X))]
    ledger = PrivacyLedger.create(tmp_path / "study.ledger", budget)
    model = DPPrototypeClassifier(4.0, prior=embedded.prior, ledger=ledger)
    model.fit(embedded.X, embedded.y, record_ids=ids)
    data = pickle.dumps(model)
    assert not any(row.tobytes() in data or row[:2].tobytes() in data for row in embedded.X)
    assert b"patient-0" not in data
    again = pickle.loads(data)
    np.testing.assert_array_equal(again.predict_proba(embedded.X), model.predict_proba(embedded.X))
    again.partial_fit(embedded.X[:3], embedded.y[:3])  # the copy pays from the same file
    assert len(ledger.receipts()) == 2
    fresh = clone(model)
    assert fresh.ledger is ledger
    assert fresh.prior is embedded.prior
    assert not [name for name in vars(fresh) if name.endswith("_")]


def test_the_pickle_of_an_in_memory_ledger_predicts_but_cannot_pay(ledger, embedded):
    from skdpal.privacy import LedgerSealed

    model = DPPrototypeClassifier(4.0, prior=embedded.prior, ledger=ledger).fit(embedded.X, embedded.y)
    again = pickle.loads(pickle.dumps(model))
    assert again.predict(embedded.X).shape == (37,)
    with pytest.raises(LedgerSealed):
        again.partial_fit(embedded.X, embedded.y)


# -- predictions -----------------------------------------------------------------------------


def test_the_model_learns_what_it_is_shown(simulated, embedded):
    model = DPPrototypeClassifier(0.01, prior=embedded.prior).fit(embedded.X, embedded.y)
    assert model.score(embedded.X, embedded.y, public=True) > 0.9
    np.testing.assert_allclose(model.predict_proba(embedded.X).sum(axis=1), 1.0)
    assert set(model.predict(embedded.X)) <= set(embedded.prior.classes)


def test_cohorts_are_combined(simulated, embedded):
    model = DPPrototypeClassifier(0.01, prior=embedded.prior)
    for part in (slice(0, 12), slice(12, 24), slice(24, 37)):
        model.partial_fit(embedded.X[part], embedded.y[part])
    whole = DPPrototypeClassifier(0.01, prior=embedded.prior).fit(embedded.X, embedded.y)
    assert len(model.releases_) == 3
    assert np.abs(model.posterior_.class_means - whole.posterior_.class_means).max() < 0.1
    assert model.fingerprint() != whole.fingerprint()


def test_uncertainty_names_its_causes_row_by_row(simulated, embedded, srbct):
    rows = pd.DataFrame(embedded.X, index=srbct.X.index, columns=[f"z{number}" for number in range(16)])
    quiet, loud = (DPPrototypeClassifier(sigma, prior=embedded.prior).fit(rows, embedded.y) for sigma in (0.01, 4.0))
    table = loud.uncertainty(rows)
    assert list(table.columns) == ["dp_noise", "sampling", "transfer", "overlap"]
    assert table.index.equals(rows.index)
    assert (table.to_numpy() >= 0).all()
    assert table["dp_noise"].mean() > quiet.uncertainty(rows)["dp_noise"].mean()


def test_exact_scores_of_private_rows_void_the_certificate(ledger, embedded):
    model = DPPrototypeClassifier(4.0, prior=embedded.prior, ledger=ledger).fit(embedded.X, embedded.y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.score(embedded.X_public, embedded.prior.classes[np.zeros(46, dtype=int)], public=True)
    assert ledger.certificate()["status"] == "valid"
    with pytest.warns(PrivacyLeakWarning, match=r"public=True.*private_accuracy"):
        model.score(embedded.X, embedded.y)
    assert ledger.certificate()["status"] == "void: chosen by uncharged scores"


def test_names_of_columns_and_patients_come_from_pandas(budget):
    ledger = PrivacyLedger(PrivacyBudget(8.0))
    frame = pd.DataFrame(np.eye(3), columns=["u", "v", "w"], index=pd.Index(["p1", "p2", "p3"], name="patient"))
    model = DPPrototypeClassifier(2.0, classes=CLASSES, ledger=ledger).fit(frame, pd.Series(CODES, index=frame.index))
    assert model.feature_names_in_.tolist() == ["u", "v", "w"]
    assert model.predict(frame).shape == (3,)
    ledger.split("cohort/pool", into="cohort/away", members=["p1"])
    with pytest.raises(ValueError, match="record_ids"):
        DPPrototypeClassifier(2.0, classes=CLASSES, ledger=ledger.within("cohort/pool")).fit(frame, CODES)
