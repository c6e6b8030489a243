"""What a warm start hands out, what it costs, and in which order it may happen."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import NotFittedError

from skdpal import BudgetExhausted, PrivacyBudget, PrivacyLedger, PrivateActiveLearner, WarmStart
from skdpal.cohort import PublicSource
from skdpal.estimators.regime import WeakSignalWarning
from skdpal.privacy import epsilon_of, events
from skdpal.privacy.errors import LedgerError

CLASSES = ["BL", "EWS", "NB", "RMS"]


# -- what it costs ---------------------------------------------------------------------------


@settings(max_examples=25)
@given(st.floats(0.1, 10), st.floats(1.01, 50), st.sampled_from([1e-5, 1e-7]))
def test_the_noise_that_is_left_spends_the_budget_and_no_more(epsilon, factor, delta):
    budget = PrivacyBudget(epsilon, delta)
    alone = WarmStart(PublicSource.nothing(), budget, CLASSES)
    warm = WarmStart(PublicSource.nothing(), budget, CLASSES, shift_noise=factor * alone.noise_multiplier)
    expected = alone.noise_multiplier / np.sqrt(1 - factor**-2)  # B² - μ_shift² is left
    assert warm.noise_multiplier == pytest.approx(expected, rel=1e-9)
    assert epsilon * (1 - 1e-6) < warm.epsilon <= epsilon
    ledger = PrivacyLedger(budget)
    ledger.charge(events.gaussian(warm.shift_noise), "shift")
    for leaf in ("start", "round-1", "round-2"):
        handle = ledger.split("cohort/pool", into=f"cohort/{leaf}", members=[leaf])
        assert not handle.affords(events.gaussian(warm.noise_multiplier * (1 - 1e-6)))
        handle.charge(events.gaussian(warm.noise_multiplier), "model")
    assert ledger.spent() <= epsilon


def test_a_shift_that_uses_up_the_budget_is_refused_with_the_least_noise():
    least = WarmStart(PublicSource.nothing(), PrivacyBudget(2.0), CLASSES).noise_multiplier
    for noise in (1.0, least):
        with pytest.raises(ValueError, match=r"shift_noise above 1\.994, .* nothing would be left for training"):
            WarmStart(PublicSource.nothing(), PrivacyBudget(2.0), CLASSES, shift_noise=noise)


def test_the_table_adds_up(sources):
    warm = WarmStart(sources.same, PrivacyBudget(2.0), shift_noise=5.0)
    table = warm.schedule(10, 3, 2)
    assert table["account"].tolist() == [
        "",
        "cohort",
        "cohort/start",
        "cohort/round-1",
        "cohort/round-2",
        "each patient",
    ]
    assert table["labels"].tolist()[2:] == [10, 3, 3, 16]
    mu = table["mu"].to_numpy()
    assert mu[-1] == pytest.approx(np.hypot(mu[1], mu[2:-1].max()))
    assert table["epsilon"].iloc[-1] == warm.epsilon == pytest.approx(2.0)
    assert table["epsilon"].iloc[1] == epsilon_of([events.gaussian(5.0)], 1e-5)
    held = warm.schedule(10, 3, 2, hold_start=True)
    assert held["account"].tolist() == ["", "cohort", "cohort/round-1", "cohort/round-2", "each patient"]
    assert held["scorer"].tolist() == ["", "", "public", "public until trusted", ""]
    assert held["labels"].tolist()[2:] == [13, 3, 16]


def test_a_study_spends_what_the_table_says(srbct, sources, study):
    warm = WarmStart(sources.same, PrivacyBudget(2.0), shift_noise=6.0)
    ledger = PrivacyLedger(warm.budget)
    warm.correct_shift(srbct.X, ledger=ledger, expected_records=37)
    learner, pool, labels = study(warm, ledger)
    for _ in range(2):
        chosen, rows = learner.query(pool, 3)
        learner.teach(rows, labels[chosen])
    table = warm.schedule(10, 3, 2)
    paying = table[(table["account"] != "") & (table["phase"] != "in all")]
    assert [receipt.account for receipt in ledger.receipts()] == paying["account"].tolist()
    assert [receipt.event.noise_multiplier for receipt in ledger.receipts()] == paying["noise_multiplier"].tolist()
    assert ledger.spent() == pytest.approx(warm.epsilon, rel=1e-8)
    assert ledger.spent("cohort/pool") == pytest.approx(epsilon_of([events.gaussian(6.0)], 1e-5), rel=1e-6)
    assert ledger.certificate()["status"] == "valid"


# -- the shift -------------------------------------------------------------------------------


def test_the_shift_comes_first(srbct, sources, study, untouchable):
    warm = WarmStart(sources.same, PrivacyBudget(2.0), shift_noise=5.0)
    with pytest.raises(NotFittedError, match="correct_shift"):
        warm.transform(srbct.X)
    ledger = PrivacyLedger(warm.budget)
    ledger.split("cohort/pool", into="cohort/start", members=list(srbct.X.index[:10]))
    with pytest.raises(LedgerError, match="before the first split"):
        warm.correct_shift(srbct.X, ledger=ledger, expected_records=37)
    with pytest.raises(LedgerError, match=r"ledger\.root"):
        warm.correct_shift(srbct.X, ledger=PrivacyLedger(warm.budget).within("cohort/pool"), expected_records=37)
    poor = PrivacyLedger(PrivacyBudget(0.1))
    with pytest.raises(BudgetExhausted, match="shift"):
        warm.correct_shift(untouchable, ledger=poor, expected_records=37)
    assert warm.shift is None
    with pytest.raises(ValueError, match=r"shift_noise=5\.0"):
        WarmStart(sources.same, PrivacyBudget(2.0)).correct_shift(srbct.X, ledger=ledger, expected_records=37)
    with pytest.raises(ValueError, match="expected_records"):
        warm.correct_shift(srbct.X, ledger=PrivacyLedger(warm.budget))
    with pytest.raises(ValueError, match="Expected ledger"):
        warm.correct_shift(srbct.X, ledger=None, expected_records=37)


def test_after_a_restart_the_stored_shift_comes_back_also_after_the_split(srbct, sources, study, tmp_path, budget):
    first = WarmStart(sources.same, budget, shift_noise=5.0)
    ledger = PrivacyLedger.create(tmp_path / "study.db", budget)
    first.correct_shift(srbct.X, ledger=ledger, expected_records=37)
    study(first, ledger)
    again = WarmStart(sources.same, budget, shift_noise=5.0)
    again.correct_shift(srbct.X, ledger=PrivacyLedger.open(tmp_path / "study.db"), expected_records=37)
    np.testing.assert_array_equal(again.transform(srbct.X), first.transform(srbct.X))
    assert [receipt.account for receipt in ledger.receipts()] == ["cohort", "cohort/start"]
    other = WarmStart(sources.same, budget, shift_noise=6.0)  # another question
    with pytest.raises((LedgerError, BudgetExhausted)):
        other.correct_shift(srbct.X, ledger=ledger, expected_records=37)


def test_a_common_shift_is_taken_away(sources, simulated):
    """Rows that all lie apart from the public centre are brought back, up to the noise."""
    warm = WarmStart(sources.unlabelled, PrivacyBudget(2.0), CLASSES, shift_noise=3.0)
    random = np.random.default_rng(0)
    genes = pd.DataFrame(random.normal(size=(400, 2308)), columns=sources.unlabelled.encoder.feature_names_in_)
    genes += 4 * sources.unlabelled.encoder.components_[0]
    before = warm.encoder.transform(genes).mean(axis=0) - warm.source.centre
    warm.correct_shift(genes, ledger=None)
    after = np.asarray(warm.transform(genes)).mean(axis=0) - warm.source.centre
    assert np.linalg.norm(after) < 0.3 * np.linalg.norm(before)


# -- what it hands out -----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::skdpal.estimators.regime.WeakSignalWarning")
@pytest.mark.parametrize("kind", ["same", "other", "unlabelled", "nothing"])
def test_every_source_carries_a_study(srbct, sources, study, kind):
    warm = WarmStart(getattr(sources, kind), PrivacyBudget(2.0), CLASSES)
    learner, pool, labels = study(warm)
    for _ in range(2):
        chosen, rows = learner.query(pool, 3)
        learner.teach(rows, labels[chosen])
    assert learner.predict_proba(pool).shape == (20, 4)
    assert learner.ledger.spent() == pytest.approx(2.0)
    assert isinstance(rows, pd.DataFrame)
    assert set(rows.index) <= set(srbct.X.index)  # patients keep their names
    scorers = {row["scorer"] for row in learner.ledger.rounds().values()}
    assert scorers <= ({"public", "released"} if kind == "same" else {"coins", "released"})
    assert warm.trusted(learner) is not None


def test_arrays_and_tables_give_the_same_rows(srbct, sources):
    named = WarmStart(sources.same, PrivacyBudget(2.0))
    plain = WarmStart(PublicSource.same_classes(srbct.A_public, srbct.y_public, n_components=16), PrivacyBudget(2.0))
    table, array = named.transform(srbct.X), plain.transform(srbct.A)
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(table.to_numpy(), array)
    assert table.index.equals(srbct.X.index)
    assert named.transform(srbct.X.iloc[:0]).shape == (0, 16)


def test_a_start_may_be_held(srbct, sources, study):
    warm = WarmStart(sources.same, PrivacyBudget(2.0))
    learner, pool, labels = study(warm, hold_start=True)
    chosen, rows = learner.query(pool, 3)
    learner.teach(rows, labels[chosen])
    assert [row["scorer"] for row in learner.ledger.rounds().values()] == ["public"]
    with pytest.raises(ValueError, match="public prior for hold_start"):
        WarmStart(sources.unlabelled, PrivacyBudget(2.0), CLASSES).schedule(40, 3, 2, hold_start=True)


def test_too_little_signal_is_said_before_anything_is_paid(sources, study):
    warm = WarmStart(sources.nothing, PrivacyBudget(0.5), CLASSES)
    with pytest.warns(WeakSignalWarning, match="below 2"):
        warm.schedule(10, 3, 2)
    with pytest.warns(WeakSignalWarning, match="below 2"):
        study(warm)
    WarmStart(sources.same, PrivacyBudget(0.5)).schedule(10, 3, 2)  # a prior carries it: no warning


def test_genes_are_matched_by_name_with_a_report(srbct, sources):
    warm = WarmStart(sources.same, PrivacyBudget(2.0))
    fewer = srbct.X.iloc[:, 300:].rename(columns=str.lower)
    report = warm.match_report(fewer)
    assert (report.n_missing, report.n_extra) == (300, 0)
    assert warm.transform(fewer).shape == (37, 16)
    with pytest.raises(ValueError, match=r"0 of 2,308 genes matched"):
        warm.transform(srbct.X.add_prefix("probe "))


@pytest.mark.parametrize(
    ("source", "classes", "words"),
    [
        ("unlabelled", None, r"Expected classes\. Found None: <PublicSource without labels"),
        ("other", None, "does not name them"),
        ("nothing", None, "does not name them"),
        ("nothing", ["EWS"], "at least two labels"),
        ("same", ["EWS", "RMS"], r"PublicSource\.other_classes"),
    ],
)
def test_classes_must_be_known(sources, source, classes, words):
    with pytest.raises(ValueError, match=words):
        WarmStart(getattr(sources, source), PrivacyBudget(2.0), classes)


def test_bad_arguments_are_named(sources):
    with pytest.raises(TypeError, match="PublicSource"):
        WarmStart("TCGA", PrivacyBudget(2.0))
    with pytest.raises(TypeError, match="PrivacyBudget"):
        WarmStart(sources.same, 2.0)
    for options, words in (({"shift_noise": -1}, "shift_noise"), ({"confidence": -1}, "confidence")):
        with pytest.raises(ValueError, match=words):
            WarmStart(sources.same, PrivacyBudget(2.0), **options)
    warm = WarmStart(sources.same, PrivacyBudget(2.0))
    for arguments, words in (((0, 3, 2), "n_labelled"), ((10, 0, 2), "labels_per_round"), ((10, 3, -1), "rounds")):
        with pytest.raises(ValueError, match=words):
            warm.schedule(*arguments)


def test_a_strategy_of_ones_own_may_replace_parts(sources, embedded):
    warm = WarmStart(sources.same, PrivacyBudget(2.0))
    query = warm.query("entropy", 20, scorer="public", tilt=1.0)
    assert (query.scorer, query.tilt, query.n_pool) == ("public", 1.0, 20)
    assert warm.estimator(5.0, prior_weight=3.0).get_params()["prior_weight"] == 3.0
    assert isinstance(warm.query(), type(query))
    assert "noise_multiplier 1.994 is left" in repr(warm)
    assert PrivateActiveLearner(warm.estimator(), query, ledger=PrivacyLedger(warm.budget)).query_strategy is query
