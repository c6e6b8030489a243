"""Late fusion: what is released, what a patient and a modality move, what follows from it."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from scipy.stats import norm
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skdpal import BudgetExhausted, DPPrototypeClassifier, PrivacyBudget, PrivacyLeakWarning, PrivacyLedger
from skdpal.cohort import DPModalityClassifier, ModalityBlocks, ModalityPrior
from skdpal.cohort.modalities.fusion import SPREAD, ModalityRelease, availability_of
from skdpal.datasets import load_miniacc
from skdpal.estimators.posterior import Release
from skdpal.estimators.regime import WeakSignalWarning
from skdpal.model_selection import price_of
from skdpal.privacy import epsilon_of, events
from skdpal.privacy.randomness import simulation

CLASSES = np.array(["a", "b"])
WIDTHS = {"rna": 3, "meth": 2, "cnv": 1}
PLACES = {"rna": slice(0, 3), "meth": slice(3, 5), "cnv": slice(5, 6)}
NOISE = {"rna": 1.0, "meth": 2.0, "cnv": 4.0}
DELTA = 1e-5


def released(X, y, ids, *, noise=NOISE, expected=4, seed=3):
    """Sums and counts of each modality in units of its noise; the noise of a fixed seed cancels in differences."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyLeakWarning)
        with simulation(seed=seed):
            model = DPModalityClassifier(noise, WIDTHS, classes=CLASSES)
            model.partial_fit(X, y, record_ids=ids, expected_records=expected)
    parts = model.releases_[-1].parts
    return {name: np.concatenate([part.sums.ravel(), part.counts]) for name, part in parts.items()}


def distances(one, other):
    """How far each modality's release moves."""
    found, compared = released(*one), released(*other)
    return {name: np.linalg.norm(found[name] - compared[name]) for name in WIDTHS}


@st.composite
def cohorts(draw, n_rows=6):
    """Rows of any length, some modalities missing, and owners such that patients may have several rows."""
    X = draw(arrays(float, (n_rows, 6), elements=st.floats(-3, 3)))
    for place in PLACES.values():
        X[draw(arrays(bool, n_rows)), place] = 0.0
    y = CLASSES[draw(arrays(int, n_rows, elements=st.integers(0, 1)))]
    return X, y, draw(arrays(int, n_rows, elements=st.integers(0, 3))).astype(str)


# ---- sensitivity -----------------------------------------------------------------------------------------------


@given(cohorts())
def test_a_patient_moves_each_modality_by_one_at_most(cohort):
    X, y, ids = cohort
    rest = ids != ids[0]
    moved = distances(cohort, (X[rest], y[rest], ids[rest]))
    assert max(moved.values()) <= 1.0


@given(cohorts(), st.sampled_from(list(WIDTHS)))
def test_zeroing_a_modality_of_a_patient_moves_nothing_else(cohort, name):
    X, y, ids = cohort
    without = X.copy()
    without[ids == ids[0], PLACES[name]] = 0.0
    moved = distances(cohort, (without, y, ids))
    assert moved.pop(name) <= 1.0
    assert max(moved.values()) == 0.0


@given(cohorts(), cohorts())
def test_exchanging_a_patient_moves_each_modality_by_root_two_at_most(cohort, other):
    X, y, ids = cohort
    rest = ids != ids[0]
    newcomer = np.repeat("newcomer", len(other[0]))
    exchanged = np.vstack([X[rest], other[0]]), np.append(y[rest], other[1]), np.append(ids[rest], newcomer)
    assert max(distances(cohort, exchanged).values()) <= np.sqrt(2) * (1 + 1e-9)


def test_the_bounds_are_attained():
    whole, nobody = np.array([[1.0, 0, 0, 0, -1.0, 1.0]]), np.zeros((0, 6))
    for name, moved in distances((whole, ["a"], ["p"]), (nobody, [], [])).items():
        assert moved == pytest.approx(1.0, abs=1e-8), name
    for name, moved in distances((whole, ["a"], ["p"]), (whole, ["b"], ["p"])).items():
        assert moved == pytest.approx(np.sqrt(2), abs=1e-8), name


def test_blocks_are_divided_by_their_clipping_norms():
    """What `ModalityBlocks` multiplied; noise is that of unit rows."""

    class Blocks:
        from skdpal.cohort.modalities.layout import Layout

        layout = Layout(WIDTHS, {"rna": 0.8, "meth": 0.6, "cnv": 1e-9})

    row = np.array([[0.8, 0, 0, 0, 0.6, 0.0]])
    with simulation(seed=0):
        model = DPModalityClassifier(1e-9, Blocks(), classes=CLASSES).fit(row, ["a"], record_ids=["p"])
    part = model.releases_[0].parts
    np.testing.assert_allclose(part["rna"].sums[0], [1 / np.sqrt(2), 0, 0], atol=1e-7)
    np.testing.assert_allclose(part["meth"].sums[0], [0, 1 / np.sqrt(2)], atol=1e-7)
    assert part["cnv"].counts == pytest.approx([0, 0], abs=10)  # its noise is a billion times that of the patient
    assert part["rna"].noise_multiplier == pytest.approx(1e-9 / 0.8)


# ---- price -----------------------------------------------------------------------------------------------------


def test_one_number_is_the_patients_price_shared_out():
    ledger = PrivacyLedger(PrivacyBudget(4.0, DELTA))
    model = DPModalityClassifier(2.0, WIDTHS, classes=CLASSES, ledger=ledger)
    assert events.by_modality(model.privacy_event())["rna"].noise_multiplier == pytest.approx(2.0 * np.sqrt(3))
    model.partial_fit(np.zeros((0, 6)), [], expected_records=4)
    assert ledger.spent() == pytest.approx(epsilon_of([events.gaussian(2.0)], DELTA), rel=1e-6)
    assert [receipt.event for receipt in ledger.receipts()] == [model.privacy_event()]


def test_a_mapping_is_the_price_of_each_modality():
    ledger = PrivacyLedger(PrivacyBudget(8.0, DELTA))
    DPModalityClassifier(NOISE, WIDTHS, classes=CLASSES, ledger=ledger).partial_fit(
        np.zeros((0, 6)), [], expected_records=4
    )
    together = epsilon_of([events.gaussian(noise) for noise in NOISE.values()], DELTA)
    assert ledger.spent() == pytest.approx(together, rel=1e-6)


def test_the_price_does_not_depend_on_who_has_what(journal):
    def rows_of(X, y):
        ledger = PrivacyLedger(PrivacyBudget(8.0, DELTA))
        model = DPModalityClassifier(NOISE, WIDTHS, classes=CLASSES, ledger=ledger)
        model.partial_fit(X, y, expected_records=4)
        parts = model.releases_[-1].parts
        shapes = {name: (part.sums.shape, part.counts.shape) for name, part in parts.items()}
        return [{**row, "body": None} if "body" in row else row["kind"] for row in journal(ledger)], shapes, list(parts)

    whole = np.ones((3, 6))
    nobody_has_cnv = whole.copy()
    nobody_has_cnv[:, PLACES["cnv"]] = 0.0
    first, second, third = (rows_of(X, ["a"] * len(X)) for X in (whole, nobody_has_cnv, whole[:0]))
    assert first[1:] == second[1:] == third[1:]


def test_it_charges_before_it_reads(exhausted, untouchable):
    model = DPModalityClassifier(2.0, WIDTHS, classes=CLASSES, ledger=exhausted)
    for verb in (model.fit, model.partial_fit):
        with pytest.raises(BudgetExhausted):
            verb(untouchable, untouchable)


def test_no_ledger_no_release():
    with pytest.raises(ValueError, match="Expected ledger"):
        DPModalityClassifier(2.0, WIDTHS, classes=CLASSES).fit(np.ones((2, 6)), ["a", "b"])


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"noise_multiplier": {"rna": 1.0}}, ValueError, "noise_multiplier to have a number for each modality"),
        ({"noise_multiplier": {**NOISE, "rna": -1.0}}, ValueError, "rna"),
        ({"noise_multiplier": 0.0}, ValueError, "noise_multiplier"),
        ({"availability": 0.0}, ValueError, "availability"),
        ({"availability": {"rna": 1.0}}, ValueError, "availability to have a number for each modality"),
        ({"availability": 1.5}, ValueError, "availability"),
        ({"correlation": -0.1}, ValueError, "correlation"),
        ({"blocks": {"rna": 0}}, ValueError, "blocks"),
        ({"blocks": {}}, ValueError, "blocks"),
        ({"blocks": {"rna": 3}}, ValueError, "3 columns"),
        ({"prior_weight": "half"}, ValueError, "prior_weight"),
        ({"class_prior": [0.5, 0.6]}, ValueError, "class_prior"),
        ({"prior": {"rna": None}}, (TypeError, AttributeError), "ModalityPrior|classes"),
        ({"classes": None}, ValueError, "Expected classes"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_charged(arguments, error, words):
    ledger = PrivacyLedger(PrivacyBudget(8.0, DELTA))
    model = DPModalityClassifier(**{"noise_multiplier": 2.0, "blocks": WIDTHS, "classes": CLASSES, **arguments})
    with pytest.raises(error, match=words):
        model.set_params(ledger=ledger).fit(np.ones((2, 6)), ["a", "b"])
    assert ledger.receipts() == []


@pytest.mark.parametrize("modalities", [["protein"], [], ["rna", "protein"]])
def test_unknown_modalities_are_refused(ledger, modalities):
    model = DPModalityClassifier(2.0, WIDTHS, classes=CLASSES, ledger=ledger)
    with pytest.raises(ValueError, match="Expected modalities"):
        model.fit(np.ones((2, 6)), ["a", "b"], modalities=modalities)
    assert ledger.receipts() == []


def test_bad_rows_are_refused_before_anything_is_charged(ledger):
    model = DPModalityClassifier(2.0, WIDTHS, classes=CLASSES, ledger=ledger)
    for X, y in [(np.full((2, 6), np.nan), ["a", "b"]), (np.ones((2, 6)), ["a", "c"]), (np.ones((2, 5)), ["a", "b"])]:
        with pytest.raises(ValueError, match="Expected"):
            model.fit(X, y)
    with pytest.raises(TypeError, match="sample_weight"):
        model.fit(np.ones((2, 6)), ["a", "b"], sample_weight=[1, 2])
    assert ledger.receipts() == []


def test_without_a_prior_a_weak_signal_is_said_before_the_charge(ledger):
    model = DPModalityClassifier(2.0, WIDTHS, classes=CLASSES, ledger=ledger)
    with pytest.warns(WeakSignalWarning, match="κ"):
        model.fit(np.ones((2, 6)), ["a", "b"])


# ---- what follows from releases --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def acc():
    return load_miniacc(as_frame=True)


@pytest.fixture(scope="module")
def blocks(acc):
    groups = {"rna": "rna:", "mirna": "mirna:", "rppa": "rppa:"}
    return ModalityBlocks(groups).fit(acc.data.iloc[:26], acc.target.iloc[:26])


@pytest.fixture(scope="module")
def prior(acc, blocks):
    return DPModalityClassifier.prior_from_public(blocks.transform(acc.data.iloc[:26]), acc.target.iloc[:26], blocks)


@pytest.fixture(scope="module")
def fitted(acc, blocks, prior):
    ledger = PrivacyLedger(PrivacyBudget(2.0, DELTA))
    model = DPModalityClassifier(2.0, blocks, prior, ledger=ledger)
    return model.fit(blocks.transform(acc.data.iloc[26:]), acc.target.iloc[26:])


@pytest.fixture(scope="module")
def rows(acc, blocks):
    return blocks.transform(acc.data.iloc[26:])


def test_one_modality_is_a_prototype_classifier(acc, blocks, prior, rows):
    own, y = rows.filter(regex="^rna__").to_numpy() * np.sqrt(3), acc.target.iloc[26:]
    with simulation(seed=5):
        simple = DPPrototypeClassifier(2.0, prior["rna"], class_prior=prior.fractions).fit(own, y)
    with simulation(seed=5):
        model = DPModalityClassifier(2.0, {"rna": 8}, ModalityPrior({"rna": prior["rna"]}, prior.fractions))
        model.fit(own, y)
    assert model.fusion_.availability["rna"] > 0.9
    # the same release; the share of patients who have the modality is estimated, and a little below 1
    np.testing.assert_allclose(model.releases_[0].parts["rna"].sums, simple.releases_[0].sums)
    np.testing.assert_allclose(model.predict_proba(own), simple.predict_proba(own), atol=0.03)


def test_fusion_multiplies_ratios_and_counts_the_class_fractions_once(fitted, rows):
    log_fractions = np.log(fitted.fusion_.fractions)
    told = sum(np.log(fitted.only(name).predict_proba(rows)) - log_fractions for name in ("rna", "mirna", "rppa"))
    owned = sum((rows.filter(regex=f"^{name}__") != 0).any(axis=1).to_numpy() for name in ("rna", "mirna", "rppa"))
    assert set(owned) == {2, 3}
    for rho in (0.0, 0.25, 1.0):
        again = clone(fitted).set_params(ledger=None, correlation=rho).restore(fitted.releases_)
        weights = 1 / (1 + (owned - 1) * rho)
        expected = softmax(log_fractions + weights[:, None] * told, axis=1)
        np.testing.assert_allclose(again.predict_proba(rows), expected, atol=1e-9)
    assert fitted.correlation == 0.25


def test_a_missing_modality_is_left_out(fitted, rows):
    without = rows.copy()
    without.loc[:, without.columns.str.startswith("rna__")] = 0.0
    np.testing.assert_allclose(fitted.predict_proba(without), fitted.only("mirna", "rppa").predict_proba(rows))
    nothing = rows * 0.0
    np.testing.assert_allclose(fitted.predict_proba(nothing), np.tile(fitted.fusion_.fractions, (len(rows), 1)))
    assert (fitted.uncertainty(nothing) == 0.0).all(axis=None)


def test_a_view_does_not_look_at_other_modalities(fitted, rows):
    view, changed = fitted.only("mirna"), rows.copy()
    changed.loc[:, ~changed.columns.str.startswith("mirna__")] = 7.0
    np.testing.assert_allclose(view.predict_proba(rows), view.predict_proba(changed), rtol=1e-12)
    assert not np.allclose(fitted.predict_proba(rows), fitted.predict_proba(changed))
    assert view.ledger is None
    assert view.fingerprint() == fitted.fingerprint()
    with pytest.raises(ValueError, match="Expected some of the modalities"):
        fitted.only("proteome")
    with pytest.raises(ValueError, match="Expected some of the modalities"):
        fitted.only()


def test_uncertainty_is_a_sum_over_modalities(fitted, rows):
    found = fitted.uncertainty(rows)
    assert list(found.columns) == ["dp_noise", "sampling", "transfer", "overlap"]
    assert found.index.equals(rows.index)
    assert (found >= 0).all(axis=None)
    one = rows.copy()
    one.loc[:, ~one.columns.str.startswith("rna__")] = 0.0
    pd.testing.assert_frame_equal(fitted.uncertainty(one), fitted.only("rna").uncertainty(rows))
    both = rows.copy()
    both.loc[:, both.columns.str.startswith("rppa__")] = 0.0
    pair = (fitted.only("rna").uncertainty(rows) + fitted.only("mirna").uncertainty(rows)) / 1.25**2
    pd.testing.assert_frame_equal(fitted.uncertainty(both), pair)  # two classes: the pair is the same


def test_names_and_copies(acc, blocks, prior, fitted, rows):
    assert list(fitted.feature_names_in_) == list(rows.columns)
    again = pickle.loads(pickle.dumps(clone(fitted).set_params(ledger=None).restore(fitted.releases_)))
    np.testing.assert_array_equal(again.predict_proba(rows), fitted.predict_proba(rows))
    assert again.fingerprint() == fitted.fingerprint()
    assert clone(fitted).blocks is blocks
    assert clone(fitted).prior is prior
    with pytest.raises(ValueError, match=r"columns of blocks|feature names"):
        fitted.predict(rows[rows.columns[::-1]])
    assert fitted.score(rows, acc.target.iloc[26:], public=True) > 0.8
    assert "spent (odometer)" in fitted._repr_html_()


def test_columns_in_another_order_are_refused_before_the_charge(acc, blocks, prior, rows, ledger):
    model = DPModalityClassifier(2.0, blocks, prior, ledger=ledger)
    with pytest.raises(ValueError, match="columns of blocks, in their order"):
        model.fit(rows[rows.columns[::-1]], acc.target.iloc[26:])
    assert ledger.receipts() == []


def test_the_public_model_knows_no_patient(fitted, rows):
    public = fitted.public_model()
    assert public.ledger is None
    assert public.releases_[0].parts["rna"].expected_records == 0.0
    assert (public.uncertainty(rows)[["dp_noise", "sampling"]] < 1e-6).all(axis=None)
    assert DPModalityClassifier(2.0, WIDTHS, classes=CLASSES).public_model() is None


def test_cohorts_add_up(acc, blocks, prior, rows):
    y = acc.target.iloc[26:]
    with simulation(seed=1):
        model = DPModalityClassifier(0.5, blocks, prior).fit(rows.iloc[:26], y.iloc[:26])
        before = model.uncertainty(rows)
        model.partial_fit(rows.iloc[26:], y.iloc[26:]).partial_fit(rows.iloc[:0], y.iloc[:0])
    assert len(model.releases_) == 3
    after = model.uncertainty(rows)
    assert (after["transfer"] + after["sampling"]).median() < (before["transfer"] + before["sampling"]).median()


def test_a_modality_that_was_never_released_says_what_its_prior_says(acc, blocks, prior, rows):
    y = acc.target.iloc[26:]
    with simulation(seed=1):
        model = DPModalityClassifier(2.0, blocks, prior).fit(rows, y, modalities=["rna", "mirna"])
    assert list(model.releases_[0].parts) == ["rna", "mirna"]
    mean = model.fusion_.posteriors["rppa"].class_means
    np.testing.assert_allclose(mean, prior["rppa"].means, atol=1e-6)


def test_classes_missing_from_public_rows_of_a_modality_leave_it_without_prior(acc, blocks, rows):
    public, y = rows.copy(), acc.target.iloc[26:]
    public.loc[(y == "C1A").to_numpy(), public.columns.str.startswith("rppa__")] = 0.0
    prior = ModalityPrior.from_public(public, y, blocks)
    assert set(prior) == {"rna", "mirna"}
    with simulation(seed=0):
        model = DPModalityClassifier(1.0, blocks, prior).fit(rows, y)
    assert np.isfinite(model.predict_proba(rows)).all()


def test_priors_of_other_classes_or_widths_are_refused(prior, blocks, rows, acc, ledger):
    other = ModalityPrior.from_public(np.eye(4), ["a", "a", "b", "b"], {"all": 4})
    with pytest.raises(ValueError, match="classes"):
        ModalityPrior({"rna": prior["rna"], "other": other["all"]})
    with pytest.raises(ValueError, match="as blocks"):
        DPModalityClassifier(2.0, {"rna": 5, "mirna": 8, "rppa": 8}, prior, ledger=ledger).fit(rows, acc.target[26:])
    with pytest.raises(ValueError, match="Expected blocks"):
        DPModalityClassifier(2.0, prior=prior, ledger=ledger).fit(rows, acc.target[26:])
    assert ledger.receipts() == []


# ---- how many have a modality ------------------------------------------------------------------------------------


def noisy_counts(total, noise, expected, n_classes=2):
    counts = np.full(n_classes, total / n_classes / np.sqrt(2))
    return Release(np.zeros((n_classes, 1)), counts, noise, expected)


def test_availability_follows_loud_counts_and_ignores_drowned_ones():
    assert availability_of([noisy_counts(10, 1e-3, 20)], 1.0) == pytest.approx(0.5, abs=1e-3)
    assert availability_of([noisy_counts(10, 1e-9, 20)], 1.0) == pytest.approx(0.5, abs=1e-6)
    drowned = availability_of([noisy_counts(10, 1e3, 20)], 0.7)
    alone = availability_of([], 0.7)
    assert drowned == pytest.approx(alone, abs=1e-3)
    assert 0.0 <= availability_of([noisy_counts(-50, 1.0, 20)], 0.5) < 0.05
    assert 0.97 < availability_of([noisy_counts(90, 1.0, 20)], 0.5) <= 1.0


@pytest.mark.parametrize(("total", "noise", "guess"), [(8.0, 2.0, 0.6), (-4.0, 3.0, 0.3), (25.0, 1.0, 0.9)])
def test_availability_is_the_mean_of_its_law(total, noise, guess):
    """By a sum over a fine grid; with the variance 2 K σ² of a sum of K counts times √2."""
    shares = np.linspace(0, 1, 20_001)
    weights = norm.pdf(shares, guess, SPREAD) * norm.pdf(total, 20 * shares, np.sqrt(2 * 2) * noise)
    expected = (weights * shares).sum() / weights.sum()
    assert availability_of([noisy_counts(total, noise, 20)], guess) == pytest.approx(expected, abs=1e-3)
    wrong = norm.pdf(shares, guess, SPREAD) * norm.pdf(total, 20 * shares, noise)  # a planted fault: σ² only
    assert abs((wrong * shares).sum() / wrong.sum() - expected) > 5e-3


def test_no_realised_count_is_used():
    """Same release, other cohort: nothing may differ."""
    releases = [ModalityRelease({name: noisy_counts(5.0, 1.0, 9.0) for name in ("rna", "meth")})]
    model = DPModalityClassifier(1.0, {"rna": 1, "meth": 1}, classes=CLASSES).restore(releases)
    assert model.fusion_.availability["rna"] == availability_of([noisy_counts(5.0, 1.0, 9.0)], 1.0)


def test_it_runs_in_a_pipeline_from_the_tables(acc, blocks, prior):
    """Patients keep their names on the way, so that the ledger knows them."""
    ledger = PrivacyLedger(PrivacyBudget(2.0, DELTA))
    pipeline = clone(make_pipeline(blocks, DPModalityClassifier(2.0, blocks, prior, ledger=ledger)))
    assert price_of(pipeline, acc.data).culprit == ""
    pipeline.fit(acc.data.iloc[26:], acc.target.iloc[26:])
    assert ledger.accounts_of(["TCGA-OR-A5JV"]) == ["cohort/pool"]
    assert pipeline.predict_proba(acc.data.iloc[26:]).shape == (52, 2)
    with pytest.raises(BudgetExhausted):
        pipeline.fit(acc.data.iloc[26:], acc.target.iloc[26:], dpmodalityclassifier__modalities=["rna"])
