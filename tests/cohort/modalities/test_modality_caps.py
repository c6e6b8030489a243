"""Budgets of modalities inside the patient's account: who pays, who is left out, and what may be said."""

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, KFold

from skdpal import BudgetExhausted, BudgetGuard, PrivacyBudget, PrivacyLedger, PrivateActiveLearner, PrivateQuery
from skdpal.cohort import (
    DPModalityClassifier,
    Modality,
    ModalityBlocks,
    ModalityPrior,
    OnlyModalities,
    modality_guarantees,
    patient_epsilon,
)
from skdpal.estimators import DPPrototypeClassifier
from skdpal.model_selection import public_scorer
from skdpal.privacy import epsilon_of, events
from skdpal.privacy.accounting.gaussian import ceiling_mu_squared, epsilon_of_mu
from skdpal.privacy.randomness import simulation
from skdpal.query.utilities import Margin, score

DELTA = 1e-5
WIDTHS = {"rna": 3, "meth": 2}
NOISE = {"rna": 4.0, "meth": 5.0}
CLASSES = ["a", "b"]
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5)) / 3
Y = np.array(CLASSES)[(X[:, 0] > 0).astype(int)]
IDS = np.array([f"p{at}" for at in range(40)])
PRIOR = ModalityPrior.from_public(RNG.normal(size=(20, 5)) / 3, np.repeat(CLASSES, 10), WIDTHS)


def ledger_with(epsilon=8.0, **caps):
    ledger = PrivacyLedger(PrivacyBudget(epsilon, DELTA))
    for name, cap in caps.items():
        ledger.cap("cohort", name, epsilon=cap)
    return ledger


def model_of(ledger, noise=NOISE):
    return DPModalityClassifier(noise, WIDTHS, PRIOR, ledger=ledger)


def one(name, steps=1):
    """ε of so many releases of a modality."""
    return epsilon_of([events.gaussian(NOISE[name], steps=steps)], DELTA)


def mu_squared_of(epsilon):
    return ceiling_mu_squared(PrivacyBudget(epsilon, DELTA))


def parts_of(event):
    return list(events.by_modality(event))


# ---- caps ------------------------------------------------------------------------------------------------------


def test_a_used_up_modality_is_left_out_and_others_go_on():
    ledger = ledger_with(rna=one("rna", 2) * 1.001, meth=4.0)
    model = model_of(ledger)
    for _ in range(3):
        model.partial_fit(X, Y, record_ids=IDS)
    assert [list(cohort.parts) for cohort in model.releases_] == [["rna", "meth"], ["rna", "meth"], ["meth"]]
    assert [parts_of(receipt.event) for receipt in ledger.receipts()] == [["rna", "meth"], ["rna", "meth"], ["meth"]]
    assert ledger.spent(cap="rna") == pytest.approx(one("rna", 2), rel=1e-6)
    assert ledger.spent(cap="meth") == pytest.approx(one("meth", 3), rel=1e-6)
    whole = [events.gaussian(NOISE["rna"], steps=2), events.gaussian(NOISE["meth"], steps=3)]
    assert ledger.spent() == pytest.approx(epsilon_of(whole, DELTA), rel=1e-6)
    assert parts_of(model.privacy_event()) == ["meth"]


def test_asking_for_a_used_up_modality_raises_before_anything_is_read(untouchable):
    ledger = ledger_with(rna=one("rna") * 1.001)
    model = model_of(ledger).fit(X, Y, record_ids=IDS)
    for asked in (["rna"], ["rna", "meth"]):
        with pytest.raises(BudgetExhausted, match="cap 'rna'"):
            model.partial_fit(untouchable, untouchable, modalities=asked)
        with pytest.raises(BudgetExhausted, match="cap 'rna'"):
            model.fit(untouchable, untouchable, modalities=asked)
    assert len(ledger.receipts()) == 1
    model.partial_fit(X, Y, record_ids=IDS, modalities=["meth"])
    assert parts_of(ledger.receipts()[-1].event) == ["meth"]


def test_if_all_are_used_up_it_is_refused(untouchable):
    ledger = ledger_with(rna=one("rna") * 1.001, meth=one("meth") * 1.001)
    model = model_of(ledger).fit(X, Y, record_ids=IDS)
    with pytest.raises(BudgetExhausted, match="cap"):
        model.partial_fit(untouchable, untouchable)


def test_the_patients_ceiling_leaves_nothing_out(untouchable):
    """It is the account that is empty, not a cap: no modality is silently dropped."""
    ledger = ledger_with(epsilon=epsilon_of([events.gaussian(noise) for noise in NOISE.values()], DELTA) * 1.001)
    model = model_of(ledger).fit(X, Y, record_ids=IDS)
    assert parts_of(model.privacy_event()) == ["rna", "meth"]
    with pytest.raises(BudgetExhausted, match="account 'cohort'|account"):
        model.partial_fit(untouchable, untouchable)


@pytest.mark.parametrize("there", [[True, True], [False, True], [True, False], [False, False]])
def test_what_is_left_out_does_not_depend_on_who_has_what(there):
    rows = X.copy()
    rows[:, :3] *= there[0]
    rows[:, 3:] *= there[1]
    ledger = ledger_with(rna=one("rna") * 1.001)
    model = model_of(ledger)
    for _ in range(2):
        model.partial_fit(rows, Y, record_ids=IDS, expected_records=40)
    assert [parts_of(receipt.event) for receipt in ledger.receipts()] == [["rna", "meth"], ["meth"]]


def test_the_same_question_finds_its_answer_though_the_cap_is_used_up_since():
    ledger = ledger_with(rna=one("rna") * 1.001)
    payer = ledger.within("cohort", question="first")
    first = model_of(payer).fit(X, Y, record_ids=IDS)
    assert ledger.used_up(first.privacy_event(modalities=["rna"])) == ["rna"]
    again = model_of(ledger.within("cohort", question="first"))
    assert parts_of(again.privacy_event()) == ["rna", "meth"]
    again.fit(X[:3], Y[:3], record_ids=IDS[:3])
    assert again.fingerprint() == first.fingerprint()
    assert len(ledger.receipts()) == 1
    other = model_of(ledger.within("cohort", question="second")).fit(X, Y, record_ids=IDS)
    assert list(other.releases_[0].parts) == ["meth"]


def test_a_guarded_search_pays_for_each_modality_of_each_fit():
    ledger = ledger_with(rna=one("rna", 7) * 1.001)
    search = GridSearchCV(
        model_of(None),
        {"prior_weight": [1.0, 5.0]},
        cv=KFold(3),
        scoring=public_scorer("accuracy"),
        error_score="raise",
    )
    BudgetGuard(search, ledger=ledger).fit(X, Y)
    assert ledger.spent(cap="rna") == pytest.approx(one("rna", 7), rel=1e-4)
    assert len(ledger.receipts()) == 1


# ---- in a study --------------------------------------------------------------------------------------------------


def learner_of(ledger, utility="margin", **options):
    return PrivateActiveLearner(
        model_of(ledger), PrivateQuery(utility, n_pool=30), X[:10], Y[:10], record_ids=IDS[:10], **options
    )


def test_a_study_runs_and_each_patient_pays_once():
    ledger = ledger_with(rna=one("rna") * 1.001, meth=one("meth") * 1.001)
    learner = learner_of(ledger)
    for _ in range(3):
        chosen, rows = learner.query(X[10:], 5, record_ids=IDS[10:])
        learner.teach(rows, Y[10:][chosen], record_ids=IDS[10:][chosen])
    assert len(learner.estimator.releases_) == 4
    assert all(parts_of(receipt.event) == ["rna", "meth"] for receipt in ledger.receipts())
    assert ledger.spent() == pytest.approx(epsilon_of([events.gaussian(n) for n in NOISE.values()], DELTA), rel=1e-6)
    assert ledger.certificate()["status"] == "valid"


def test_learning_from_everybody_again_leaves_a_used_up_modality_out():
    ledger = ledger_with(rna=one("rna") * 1.001)
    learner = learner_of(ledger)
    with pytest.warns(match="everybody"):
        learner.teach(X[10:20], Y[10:20], record_ids=IDS[10:20], only_new=False)
    assert parts_of(ledger.receipts()[-1].event) == ["meth"]
    learner.teach(X[20:30], Y[20:30], record_ids=IDS[20:30], expected_records=10)
    assert parts_of(ledger.receipts()[-1].event) == ["rna", "meth"]  # of newcomers, who paid for "meth" alone so far


def test_a_held_start_and_published_rounds_work():
    held = learner_of(ledger_with(), hold_start=True)
    chosen, rows = held.query(X[10:], 5, record_ids=IDS[10:])
    held.teach(rows, Y[10:][chosen], record_ids=IDS[10:][chosen])
    assert len(held.estimator.releases_) == 1
    published = PrivateActiveLearner(
        model_of(ledger_with()),
        PrivateQuery("margin", release="published", noise_multiplier=6.0),
        X[:10],
        Y[:10],
        record_ids=IDS[:10],
    )
    chosen, rows = published.query(X[10:], 5, record_ids=IDS[10:])
    published.teach(rows, Y[10:][chosen], record_ids=IDS[10:][chosen])
    assert len(published.estimator.releases_) == 2


def test_an_amplified_round_is_refused():
    ledger = PrivacyLedger(PrivacyBudget(8.0, DELTA), filter="renyi")
    learner = PrivateActiveLearner(
        model_of(ledger), PrivateQuery(n_pool=30), X[:10], Y[:10], record_ids=IDS[:10], amplified=True
    )
    with pytest.raises(ValueError, match="Expected one Gaussian release"):
        learner.query(X[10:], 5, record_ids=IDS[10:])


def test_only_some_modalities_choose():
    learner = learner_of(ledger_with(), OnlyModalities("meth"))
    utility, changed = OnlyModalities("meth", "entropy"), X[10:].copy()
    changed[:, :3] = np.nan  # not even whether it is there
    found = score(utility, learner, X[10:])
    np.testing.assert_allclose(found, score(utility, learner, changed), rtol=1e-12)
    np.testing.assert_allclose(found, score("entropy", learner.estimator.only("meth"), X[10:]), rtol=1e-9)
    assert not np.allclose(found, score("entropy", learner, X[10:]))
    chosen, rows = learner.query(X[10:], 5, record_ids=IDS[10:])
    learner.teach(rows, Y[10:][chosen], record_ids=IDS[10:][chosen])
    assert next(iter(learner.ledger.rounds().values()))["utility"] == "OnlyModalities(['meth'], Margin())"


def test_only_some_modalities_need_a_model_of_several():
    with simulation(seed=0):
        model = DPPrototypeClassifier(1.0, classes=CLASSES).fit(X, Y)
    with pytest.raises(TypeError, match="several modalities"):
        OnlyModalities("meth", Margin()).scores(model, X)
    with pytest.raises(ValueError, match="Expected some of the modalities"):
        OnlyModalities("protein").scores(learner_of(ledger_with()), X)
    with pytest.raises(ValueError, match="5 columns"):
        OnlyModalities("meth").scores(learner_of(ledger_with()), X[:, :4])


# ---- what may be said ----------------------------------------------------------------------------------------------


def test_budgets_of_1_and_two_halves_cost_the_patient_1_28():
    found = patient_epsilon({"rna": 1.0, "methylation": 0.5, "clinical": 0.5}, DELTA)
    assert found == pytest.approx(1.28, abs=0.005)
    assert patient_epsilon({"rna": 1.0}, DELTA) == pytest.approx(1.0, rel=1e-6)
    for bad in ({}, {"rna": 0.0}):
        with pytest.raises(ValueError, match="Expected"):
            patient_epsilon(bad, DELTA)


def test_it_is_what_a_ledger_with_these_caps_lets_a_patient_pay():
    budgets = {"rna": 1.0, "meth": 0.5}
    blocks = ModalityBlocks({name: Modality(epsilon=epsilon) for name, epsilon in budgets.items()})
    ledger = ledger_with(4.0)
    blocks.cap(ledger)
    model = DPModalityClassifier(blocks.noise_multipliers(DELTA), WIDTHS, PRIOR, ledger=ledger).fit(X, Y)
    assert ledger.spent() == pytest.approx(patient_epsilon(budgets, DELTA), rel=1e-5)
    with pytest.raises(BudgetExhausted):
        model.partial_fit(X, Y)


def test_an_epsilon_of_a_modality_is_stated_where_nothing_reads_it():
    ledger = ledger_with(2.0, rna=1.0, meth=0.9)
    model_of(ledger).fit(X, Y)
    table = modality_guarantees(ledger)
    assert list(table.index) == ["patient", "rna", "meth"]
    assert table["epsilon"].round(6).to_dict() == {"patient": 2.0, "rna": 1.0, "meth": 0.9}


def test_none_is_stated_for_what_acceptance_reads():
    ledger = ledger_with(2.0, rna=1.5, meth=1.2)
    learner = learner_of(ledger, OnlyModalities("meth"))
    learner.query(X[10:], 5, record_ids=IDS[10:])
    table = modality_guarantees(ledger)
    assert table.loc["rna", "epsilon"] == pytest.approx(1.5)
    assert np.isnan(table.loc["meth", "epsilon"])
    both = epsilon_of_mu(np.sqrt(2 * mu_squared_of(2.0) - NOISE["meth"] ** -2), DELTA)
    assert f"hidden acceptance reads it: ε = {both:.2f}, more than the patient's 2.00" == table.loc["meth", "reason"]


@pytest.mark.parametrize(("utility", "stated"), [("random", 2), ("margin", 0)])
def test_coins_read_nothing_and_any_other_utility_everything(utility, stated):
    ledger = ledger_with(2.0, rna=1.5, meth=1.2)
    learner_of(ledger, utility).query(X[10:], 5, record_ids=IDS[10:])
    assert modality_guarantees(ledger)["epsilon"].drop("patient").notna().sum() == stated


def test_published_scores_add_their_price_to_what_they_read():
    ledger = ledger_with(4.0, rna=1.5, meth=1.2)
    learner = PrivateActiveLearner(
        model_of(ledger),
        PrivateQuery(OnlyModalities("meth"), release="published", noise_multiplier=4.0),
        X[:10],
        Y[:10],
        record_ids=IDS[:10],
    )
    learner.query(X[10:], 5, record_ids=IDS[10:])
    assert modality_guarantees(ledger)["epsilon"].drop("patient").isna().all()
    table = modality_guarantees(ledger, scores_read=["meth"])
    assert table.loc["rna", "epsilon"] == pytest.approx(1.5)
    more = epsilon_of_mu(np.sqrt(mu_squared_of(1.2) + 4 / 4.0**2), DELTA)
    assert table.loc["meth", "reason"] == f"published scores read it: ε = {more:.2f} so far"
    with pytest.raises(ValueError, match="scores_read"):
        modality_guarantees(ledger, scores_read=["protein"])


def test_none_is_stated_after_a_release_that_mixes_modalities():
    ledger = ledger_with(4.0, rna=1.5)
    DPPrototypeClassifier(4.0, classes=CLASSES, ledger=ledger, prior_weight=1.0).partial_fit(X, Y, expected_records=40)
    table = modality_guarantees(ledger)
    assert np.isnan(table.loc["rna", "epsilon"])
    assert table.loc["rna", "reason"] == "release 'fit' does not separate modalities"
    assert table.loc["patient", "epsilon"] == 4.0


def test_none_is_stated_without_a_cap_or_with_one_that_came_late():
    ledger = ledger_with(4.0)
    model_of(ledger).fit(X, Y)
    assert modality_guarantees(ledger).loc["rna", "reason"] == "no cap: it may cost as much as the patient"
    ledger.cap("cohort", "rna", epsilon=1.0)
    assert "does not count" in modality_guarantees(ledger).loc["rna", "reason"]


def test_none_is_stated_of_a_ledger_that_is_void():
    ledger = ledger_with(4.0, rna=1.0)
    ledger.mark_void("a leak")
    table = modality_guarantees(ledger)
    assert table["epsilon"].isna().all()
    assert "a leak" in table.loc["rna", "reason"]


def test_other_ledgers_are_refused():
    with pytest.raises(ValueError, match="gdp"):
        modality_guarantees(PrivacyLedger(PrivacyBudget(2.0, DELTA), filter="renyi"))


def test_a_frozen_schedule_says_which_modalities_come_when():
    """A planned ledger has no caps: leaving one out must be in the schedule, and follows no data."""
    whole = model_of(None).privacy_event()
    less = model_of(None).privacy_event(modalities=["meth"])
    ledger = PrivacyLedger(PrivacyBudget(8.0, DELTA), filter="planned", schedule=[whole, less])
    model = model_of(ledger).fit(X, Y, record_ids=IDS)
    with pytest.raises(BudgetExhausted, match="not the next step"):
        model.partial_fit(X, Y, record_ids=IDS)
    model.partial_fit(X, Y, record_ids=IDS, modalities=["meth"])
    assert [list(cohort.parts) for cohort in model.releases_] == [["rna", "meth"], ["meth"]]
