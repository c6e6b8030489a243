"""The shift of a whole cohort: what it costs, what it reads, what it may not, and when it helps."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from skdpal import BudgetExhausted, DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
from skdpal.estimators.public import DPShift
from skdpal.estimators.public import shift as shift_file
from skdpal.privacy import epsilon_of, events
from skdpal.privacy.errors import LedgerError
from skdpal.privacy.mechanisms import GaussianSum
from skdpal.privacy.randomness import perturb, simulation

D = 6
IDS = [f"p{place}" for place in range(20)]


def sphere(n_rows, seed=0, towards=0.0):
    rows = np.random.default_rng(seed).normal(size=(n_rows, D)) + np.asarray(towards)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


X = sphere(20, towards=0.7)


# -- what it costs ---------------------------------------------------------------------------


def test_everybody_pays_exactly_one_gaussian(ledger):
    shift = DPShift(4.0, ledger=ledger)
    assert shift.privacy_event() == shift.privacy_event(99) == events.gaussian(4.0)
    shift.fit(X, record_ids=IDS, expected_records=20)
    (receipt,) = ledger.receipts()
    assert receipt.account == "cohort"
    assert ledger.spent() == pytest.approx(epsilon_of([events.gaussian(4.0)], 1e-5), rel=1e-9)
    shift.transform(X)
    assert len(ledger.receipts()) == 1


@pytest.mark.parametrize(("shift_noise", "noises"), [(5.0, (4.0, 6.0)), (8.0, (3.0, 3.0))])
def test_a_cohort_trained_on_later_has_paid_the_root_of_both_squares(shift_noise, noises):
    ledger = PrivacyLedger(PrivacyBudget(5.0, 1e-5))
    DPShift(shift_noise, ledger=ledger).fit(X, record_ids=IDS, expected_records=20)
    for round_, noise in enumerate(noises):
        leaf = ledger.split("cohort/pool", into=f"cohort/round-{round_}", members=IDS[round_ * 5 : round_ * 5 + 5])
        leaf.charge(events.gaussian(noise), "teach")
    mu = np.sqrt(shift_noise**-2 + max(noise**-2 for noise in noises))
    assert ledger.spent() == pytest.approx(epsilon_of([events.gaussian(1 / mu)], 1e-5), rel=1e-6)
    # patients of the pool who were never labelled have paid for the shift only
    alone = epsilon_of([events.gaussian(shift_noise)], 1e-5)
    assert ledger.spent("cohort/pool") == pytest.approx(alone, rel=1e-6)


def test_a_second_fit_must_be_meant_and_is_another_charge(ledger):
    shift = DPShift(6.0, ledger=ledger).fit(X, expected_records=20)
    for another in (shift, clone(shift), DPShift(9.0, ledger=ledger)):
        with pytest.raises(LedgerError, match="again=True"):
            another.fit(X, expected_records=20)
    assert len(ledger.receipts()) == 1
    shift.fit(X, expected_records=20, again=True)
    assert ledger.spent() == pytest.approx(epsilon_of([events.gaussian(6.0, steps=2)], 1e-5), rel=1e-9)


def test_after_a_split_it_is_too_late(ledger):
    ledger.split("cohort/pool", into="cohort/start", members=IDS[:5])
    with pytest.raises(LedgerError, match="before the first split"):
        DPShift(6.0, ledger=ledger).fit(X, record_ids=IDS, expected_records=20)
    assert not ledger.receipts()


def test_a_part_of_the_cohort_cannot_pay_for_everybody(ledger):
    with pytest.raises(LedgerError, match=r"ledger\.root"):
        DPShift(6.0, ledger=ledger.within("cohort/pool")).fit(X, expected_records=20)
    DPShift(6.0, ledger=ledger.within("cohort")).fit(X, expected_records=20)  # a handle of everybody is fine
    assert [receipt.account for receipt in ledger.receipts()] == ["cohort"]


def test_refusals_come_before_the_rows_are_read(exhausted, ledger, untouchable):
    with pytest.raises(BudgetExhausted):
        DPShift(6.0, ledger=exhausted).fit(untouchable, expected_records=20)
    with pytest.raises(ValueError, match="Expected ledger"):
        DPShift(6.0).fit(untouchable, expected_records=20)
    with pytest.raises(ValueError, match="Expected expected_records, the public number"):
        DPShift(6.0, ledger=ledger).fit(untouchable)
    with pytest.raises(ValueError, match="noise_multiplier"):
        DPShift(0.0, ledger=ledger).fit(untouchable, expected_records=20)


@pytest.mark.parametrize(
    ("rows", "options", "words"),
    [
        (X * np.nan, {}, "X to be finite"),
        (X[0], {}, "Reshape"),
        (X, {"expected_records": 0}, "expected_records"),
        (X, {"record_ids": IDS[:3]}, "record_ids"),
        (X, {"public_mean": np.zeros(D + 1)}, "public_mean to have the 6 columns"),
        (X[:0], {}, "0 sample"),
    ],
    ids=["NaN", "flat", "nobody expected", "ids", "another space", "no rows"],
)
def test_bad_input_costs_nothing(rows, options, words, ledger):
    options = {"expected_records": 20, **options}
    shift = DPShift(6.0, options.pop("public_mean", None), ledger)
    with pytest.raises(ValueError, match=words):
        shift.fit(rows, **options)
    assert not ledger.receipts()


# -- what it reads ---------------------------------------------------------------------------


def noisy_sums(rows, ids, **options):
    with simulation(seed=3):
        return DPShift(2.0).fit(rows, record_ids=ids, expected_records=20, **options)


def without(place, rows, ids):
    return np.delete(rows, place, axis=0), np.delete(ids, place).tolist()


def moved(rows, ids, place):
    """How far one patient moves the released sum, the noise being the same."""
    here, there = noisy_sums(rows, ids), noisy_sums(*without(place, rows, ids))
    return np.linalg.norm(here.release_ - there.release_)


COHORTS = {
    "unit rows": (X, IDS, [0]),
    "a huge row": (np.vstack([X[:-1], X[-1:] * 1e9]), IDS, [19]),
    "a patient with three samples": (X, ["p1", "p1", "p1", *IDS[3:]], [0, 1, 2]),
}


@pytest.mark.parametrize("cohort", COHORTS)
def test_a_patient_moves_the_sum_by_one_at_most(cohort):
    distance = moved(*COHORTS[cohort])
    assert 0 < distance <= 1


class Trusting(GaussianSum):
    """A planted fault: it adds up what it is given."""

    def run(self, contributions, ids):
        return perturb(contributions.sum(axis=0), self.noise_multiplier)


@pytest.mark.parametrize("cohort", ["a huge row", "a patient with three samples"])
def test_a_sum_that_does_not_clip_patients_would_be_seen(cohort, monkeypatch):
    monkeypatch.setattr(shift_file, "GaussianSum", Trusting)
    monkeypatch.setattr(shift_file, "unit_ball", lambda rows: rows)
    assert moved(*COHORTS[cohort]) > 1


def published(rows, ids, monkeypatch, expected=20, fit=DPShift.fit):
    """All that a fitted shift holds, with the noisy sum held fixed."""
    with monkeypatch.context() as patch, simulation(seed=0):
        patch.setattr(shift_file, "release", lambda *arguments, **options: 20.0 * np.arange(D))
        shift = DPShift(2.0, np.full(D, 0.1))
        fit(shift, rows, record_ids=ids, expected_records=expected)
        return {name: np.asarray(value).tolist() for name, value in vars(shift).items() if name.endswith("_")}


def test_nothing_but_the_noisy_sum_and_public_numbers_is_kept(monkeypatch):
    assert published(X, IDS, monkeypatch) == published(X[:3] * 7, IDS[:3], monkeypatch)
    assert published(X, IDS, monkeypatch) != published(X, IDS, monkeypatch, expected=30)


def test_dividing_by_the_realised_count_would_be_seen(monkeypatch):
    def leaky(self, rows, *, record_ids, expected_records):
        return DPShift.fit(self, rows, record_ids=record_ids, expected_records=len(set(record_ids)))

    assert published(X, IDS, monkeypatch, fit=leaky) != published(X[:3] * 7, IDS[:3], monkeypatch, fit=leaky)


def test_rows_are_corrected_one_by_one():
    shift = noisy_sums(X, IDS)
    rows = sphere(9, seed=4)
    alone = np.vstack([shift.transform(rows[[place]]) for place in range(9)])
    np.testing.assert_allclose(shift.transform(rows), alone, rtol=1e-12)
    assert np.linalg.norm(alone, axis=1) == pytest.approx(np.ones(9))
    assert shift.transform(rows[:0]).shape == (0, D)


# -- what it is worth ------------------------------------------------------------------------


def test_noise_alone_is_shrunk_away():
    kept = []
    for seed in range(200):
        with simulation(seed=seed):
            kept.append(DPShift(5.0).fit(sphere(30, seed), expected_records=30).kept_)
    assert np.mean(kept) < 0.25
    with simulation(seed=0):
        clear = DPShift(1.0).fit(np.tile(sphere(1), (300, 1)), record_ids=range(300), expected_records=300)
    assert clear.kept_ > 0.95


def test_it_undoes_a_batch_effect():
    """Two classes, a laboratory that moves every patient alike; public prototypes classify."""
    gains = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        axis = np.eye(D)[0]
        labels = np.arange(120) % 2
        signal = np.where(labels[:, None], axis, -axis)
        public = signal + rng.normal(0, 0.4, (120, D))
        batch = 1.2 * axis + rng.normal(0, 0.3, D)
        patients = signal + batch + rng.normal(0, 0.4, (120, D))
        public, patients = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (public, patients))
        centres = np.array([public[labels == label].mean(axis=0) for label in (0, 1)])

        def accuracy(rows, centres=centres, labels=labels):
            return (((rows[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1) == labels).mean()

        with simulation(seed=seed):
            shift = DPShift(5.0, DPShift.mean_of_public(public, labels)).fit(patients, expected_records=120)
        gains.append(accuracy(shift.transform(patients)) - accuracy(patients))
    assert np.mean(gains) - 5 * np.std(gains) / np.sqrt(30) > 0.1


def test_the_public_mean_follows_the_expected_mix():
    rows, labels = sphere(10), np.repeat(["a", "b"], 5)
    means = {label: rows[labels == label].mean(axis=0) for label in "ab"}
    np.testing.assert_allclose(DPShift.mean_of_public(rows), rows.mean(axis=0))
    mixed = DPShift.mean_of_public(rows, labels, fractions={"a": 3, "b": 1})
    np.testing.assert_allclose(mixed, 0.75 * means["a"] + 0.25 * means["b"])
    for bad in ({"c": 1.0}, {"a": 0.0}):
        with pytest.raises(ValueError, match="fractions"):
            DPShift.mean_of_public(rows, labels, fractions=bad)
    with pytest.raises(ValueError, match="fractions"):
        DPShift.mean_of_public(rows, None, fractions={"a": 1.0})


# -- how it is used --------------------------------------------------------------------------


def test_a_pipeline_uses_it_frozen_and_cannot_fit_it():
    ledger = PrivacyLedger(PrivacyBudget(5.0, 1e-5))
    labels = np.arange(20) % 2
    shift = DPShift(6.0, ledger=ledger)
    model = DPPrototypeClassifier(3.0, classes=[0, 1], ledger=ledger)
    with pytest.raises(ValueError, match="FrozenEstimator"):
        make_pipeline(shift, model).fit(X, labels)
    assert not ledger.receipts()
    shift.fit(X, record_ids=IDS, expected_records=20)
    pipeline = make_pipeline(FrozenEstimator(shift), model).fit(X, labels)
    assert pipeline.predict(X).shape == (20,)
    assert len(ledger.receipts()) == 2


def test_frames_keep_names_and_patients(ledger):
    frame = pd.DataFrame(X, columns=list("abcdef"), index=IDS)
    shift = DPShift(6.0, ledger=ledger).set_output(transform="pandas").fit(frame, expected_records=20)
    found = shift.transform(frame)
    assert found.columns.tolist() == shift.get_feature_names_out().tolist() == list("abcdef")
    assert found.index.tolist() == IDS
