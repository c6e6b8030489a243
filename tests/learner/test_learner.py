"""The loop: what it charges, keeps, forgets and writes."""

import json
import pickle
import stat

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skdpal import (
    ActiveLearningStudy,
    BudgetExhausted,
    DPPrototypeClassifier,
    PrivacyBudget,
    PrivacyLedger,
    PrivateActiveLearner,
    PrivateQuery,
    plan_study,
)
from skdpal.learner import load_model, save_model
from skdpal.learner.groups import assign_groups

IDS = [f"patient-{number}" for number in range(37)]


@pytest.fixture
def learner(embedded, ledger):
    model = DPPrototypeClassifier(2.0, prior=embedded.prior)
    query = PrivateQuery(reference=embedded.reference, n_pool=20)
    return PrivateActiveLearner(model, query, embedded.X[:6], embedded.y[:6], ledger=ledger, record_ids=IDS[:6])


def rows_of(ledger):
    return ledger._book.journal.read(lambda transaction: transaction.rows()[0])


def test_every_cohort_pays_once_and_the_study_costs_one_release(learner, embedded):
    for _ in range(3):
        chosen, rows = learner.query(embedded.X[6:26], 3, record_ids=IDS[6:26])
        learner.teach(rows, embedded.y[6:26][chosen], record_ids=[IDS[6:26][at] for at in chosen])
    accounts = [receipt.account for receipt in learner.ledger.receipts()]
    assert accounts == ["cohort/start", "cohort/round-1", "cohort/round-2", "cohort/round-3"]
    assert learner.ledger.spent() == pytest.approx(learner.ledger.receipts()[0].epsilon)
    assert learner.ledger.spent("cohort/pool") == 0
    assert len(learner.estimator.releases_) == 4


def test_an_empty_cohort_is_taught(learner, embedded):
    learner.query(embedded.X[6:26], 3, record_ids=IDS[6:26])
    learner.teach(embedded.X[:0], [])
    assert len(learner.ledger.receipts()) == 2
    assert learner.estimator.releases_[-1].expected_records == 3


def test_a_patient_who_left_the_pool_is_passed_over(learner, embedded):
    with_start = embedded.X[[0, 6]]
    learner.teach(with_start, embedded.y[[0, 6]], record_ids=[IDS[0], IDS[6]])
    assert len(learner.X_training) == 7
    assert learner.ledger.accounts_of(IDS[:1]) == ["cohort/start"]


@pytest.mark.parametrize("fault", ["nan", "label", "length"])
def test_bad_input_leaves_everything_as_it_was(learner, embedded, fault):
    before, releases = rows_of(learner.ledger), len(learner.estimator.releases_)
    X, y = embedded.X[6:8].copy(), list(embedded.y[6:8])
    if fault == "nan":
        X[0, 0] = np.nan
    elif fault == "label":
        y[0] = "other"
    else:
        y = y[:1]
    with pytest.raises(ValueError, match="Expected"):
        learner.teach(X, y, record_ids=IDS[6:8])
    assert rows_of(learner.ledger) == before
    assert learner.ledger.accounts_of(IDS[6:8]) == ["cohort/pool"] * 2
    assert len(learner.estimator.releases_) == releases
    learner.teach(embedded.X[6:8], embedded.y[6:8], record_ids=IDS[6:8])


def test_teach_refuses_before_reading(learner):
    class Unreadable:
        def __array__(self, *args, **kwargs):
            raise AssertionError("read")

        __len__ = __iter__ = __getitem__ = __array__

    learner.estimator.set_params(noise_multiplier=1.0)
    with pytest.raises(BudgetExhausted, match=r"teach \(round 1\) costs ε=.*spent 0\.00 of 2\.00"):
        learner.teach(Unreadable(), Unreadable())


def test_pickles_clones_and_reprs_carry_no_patients(learner, embedded):
    data = pickle.dumps(learner)
    assert embedded.X[0].tobytes() not in data
    assert b"patient-0" not in data
    assert pickle.loads(data).X_training is None
    assert "X_training" not in learner.get_params()
    assert "patient" not in repr(learner)
    copy = clone(learner)
    assert copy.X_training is None
    assert copy.ledger is learner.ledger
    assert len(learner.ledger.receipts()) == 1  # cloning does not fit again


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"query_strategy": lambda *_: [0]}, "query_strategy"),
        ({"estimator": object()}, "DP estimator"),
        ({"bootstrap_init": True}, "bootstrap_init"),
        ({"ledger": None}, "ledger"),
    ],
)
def test_what_would_not_be_private_is_refused(embedded, ledger, change, words):
    arguments = {
        "estimator": DPPrototypeClassifier(2.0, prior=embedded.prior),
        "query_strategy": PrivateQuery(),
        "ledger": ledger,
    }
    with pytest.raises((TypeError, ValueError), match=words):
        PrivateActiveLearner(**(arguments | change))


def test_resampling_and_another_start_are_refused(learner, embedded):
    with pytest.raises(ValueError, match="bootstrap"):
        learner.teach(embedded.X[6:8], embedded.y[6:8], bootstrap=True)
    with pytest.raises(ValueError, match="make a new ledger"):
        learner.fit(embedded.X[6:8], embedded.y[6:8])


def test_frames_come_back_as_frames(embedded, ledger):
    X = pd.DataFrame(embedded.X, index=IDS)
    model = DPPrototypeClassifier(2.0, prior=embedded.prior)
    learner = PrivateActiveLearner(model, PrivateQuery(n_pool=20), X[:6], embedded.y[:6], ledger=ledger)
    chosen, rows = learner.query(X[6:26], 5)
    assert rows.index.tolist() == X.index[6:26][chosen].tolist()
    learner.teach(rows, embedded.y[6:26][chosen])
    assert set(ledger.accounts_of(rows.index)) <= {"cohort/round-1"}
    assert isinstance(learner.X_training, pd.DataFrame)


def test_a_plan_keeps_its_budget_and_says_what_to_hope_for():
    plan = plan_study(PrivacyBudget(1.0), 6, 20, 3, 3, n_evaluation=11, n_components=16)
    assert plan.epsilon <= 1.0
    assert plan.to_frame()["epsilon_of_its_patients"].max() == plan.epsilon
    assert plan.to_frame()["epsilon_if_everybody_paid"].is_monotonic_increasing
    assert plan.expected_labels == 15
    assert "below 2" in plan.advice
    assert "<table" in plan._repr_html_()
    assert "n_components" in plan_study(PrivacyBudget(1.0), 6, 20, 3, 3).advice
    assert "above 8" in plan_study(PrivacyBudget(8.0), 100, 20, 3, 1, n_components=4).advice
    assert "from 2 to 8" in plan_study(PrivacyBudget(8.0), 20, 20, 3, 1, n_components=20).advice
    with pytest.raises(ValueError, match="release"):
        plan_study(PrivacyBudget(1.0), 6, 20, 3, 3, release="open")
    with pytest.raises(TypeError, match="PrivacyBudget"):
        plan_study(1.0, 6, 20, 3, 3)


def test_groups_follow_from_ids_alone():
    groups = assign_groups(IDS, 6, 20, 11)
    again = assign_groups(IDS[::-1], 6, 20, 11)
    assert groups == again
    assert len({*groups.start, *groups.pool, *groups.evaluation}) == 37
    assert assign_groups(IDS, 6, 20, 11, seed=1) != groups
    with pytest.raises(ValueError, match="groups smaller"):
        assign_groups(IDS, 30, 20, 11)
    with pytest.raises(ValueError, match="one row a patient"):
        assign_groups(["a", "a"], 1, 1, 0)


def test_models_come_back_from_their_files(learner, embedded, srbct, tmp_path):
    save_model(tmp_path / "model.npz", embedded.encoder, learner.estimator)
    model = load_model(tmp_path / "model.npz")
    assert model.predict_proba(srbct.X) == pytest.approx(learner.estimator.predict_proba(embedded.X))
    with pytest.raises(ValueError, match="ledger"):
        model[-1].partial_fit(embedded.X[:2], embedded.y[:2])
    np.savez(tmp_path / "old.npz", schema=0)
    with pytest.raises(ValueError, match="schema"):
        load_model(tmp_path / "old.npz")


@pytest.fixture
def study(embedded, tmp_path):
    plan = plan_study(PrivacyBudget(2.0), 6, 20, 3, 2, n_evaluation=11)
    return ActiveLearningStudy(tmp_path / "study", plan, embedded.encoder, embedded.prior, reference=embedded.reference)


def test_a_study_has_a_wall(study, srbct):
    steps = []
    study.run(srbct.X, lambda sheet: srbct.y[sheet["patient"]], progress=steps.append)
    assert [step.name for step in steps] == ["start", "round 1", "round 2", "evaluation"]
    assert stat.S_IMODE(study.hospital_folder.stat().st_mode) == 0o700
    released = b"".join(path.read_bytes() for path in study.release_folder.rglob("*") if path.is_file())
    assert not [patient for patient in srbct.X.index if patient.encode() in released]
    assert len({path.stat().st_mtime for path in (study.release_folder / "models").iterdir()}) == 1  # no busy hours
    certificate = json.loads((study.release_folder / "certificate.json").read_text(encoding="utf-8"))
    assert certificate["status"] == "valid"
    assert certificate["release_mode"] == "hidden selection"
    assert len(certificate["receipts"]) == 4
    assert certificate["odometer"]["epsilon_spent"] <= certificate["epsilon"] == 2.0
    sheets = {path.stem: pd.read_csv(path) for path in (study.hospital_folder / "worksheets").glob("*.csv")}
    used = {*sheets["start"]["patient"], *sheets["round-1"]["patient"], *sheets["round-2"]["patient"]}
    assert not used & set(sheets["evaluation"]["patient"])
    assert len(sheets["evaluation"]) == 11


def test_a_study_is_run_once_in_an_empty_folder(study, embedded, srbct):
    study.run(srbct.X, lambda sheet: srbct.y[sheet["patient"]])
    with pytest.raises(FileExistsError, match="spends its budget once"):
        ActiveLearningStudy(study.folder, study.plan, embedded.encoder, embedded.prior)
    with pytest.raises(ValueError, match="classes"):
        ActiveLearningStudy(study.folder / "x", study.plan, embedded.encoder)


def test_a_pathologist_fills_in_every_row(study, srbct):
    with pytest.raises(ValueError, match="every row"):
        study.run(srbct.X, lambda sheet: ["EWS"])


def test_comparisons_take_names_of_published_data_only(embedded):
    from skdpal.learner.benchmark import METHODS, compare_methods, summarise

    plan = plan_study(PrivacyBudget(2.0), 6, 20, 3, 1, n_evaluation=11)
    with pytest.raises(ValueError, match="only published data"):
        compare_methods(embedded.X, plan)
    done = []
    results = compare_methods("srbct", plan, n_splits=2, n_jobs=1, progress=done.append)
    again = compare_methods("srbct", plan, n_splits=2, n_jobs=1)
    pd.testing.assert_frame_equal(results, again)
    assert done == [1, 2]
    assert summarise(results).index.tolist() == list(METHODS)


def test_ledgers_are_found_on_the_estimator(embedded):
    model = DPPrototypeClassifier(2.0, prior=embedded.prior, ledger=PrivacyLedger(PrivacyBudget(2.0)))
    assert PrivateActiveLearner(model, PrivateQuery()).ledger is model.ledger
