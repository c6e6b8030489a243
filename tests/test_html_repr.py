"""Learner and study in a notebook: what they show is public; a ledger's panel is in tests/privacy/test_panel.py."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone

from skdpal import (
    ActiveLearningStudy,
    DPPrototypeClassifier,
    PrivacyBudget,
    PrivacyLedger,
    PrivateActiveLearner,
    PrivateQuery,
    PublicEncoder,
    plan_study,
)
from tests.markup import EVIL, Reader, html_of, of_ours, plain


def learner_of(embedded, start=slice(0, 6), taught=slice(6, 9), name="p"):
    """One that was taught once; who was in it is private."""
    ids = np.array([f"{name}{number}" for number in range(len(embedded.X))])
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(2.0, embedded.prior),
        PrivateQuery(n_pool=20),
        embedded.X[start],
        embedded.y[start],
        PrivacyLedger(PrivacyBudget(2.0)),
        ids[start],
    )
    learner.query(embedded.X[6:26], record_ids=ids[6:26])
    learner.teach(embedded.X[taught], embedded.y[taught], record_ids=ids[taught])
    return learner


def test_a_learner_tells_strategy_rounds_and_ledger(embedded):
    learner = learner_of(embedded)
    text = of_ours(html_of(learner))
    assert "PrivateQuery(utility=Margin()" in text
    assert "rounds taught 1 " in text
    assert "DPPrototypeClassifier" in text
    assert f"cohort/round-1 {learner.ledger.spent():.2f} of 2.00" in text


@pytest.mark.parametrize("taught", [slice(6, 9), slice(6, 6), slice(12, 25)])
def test_who_and_how_many_were_taught_changes_nothing(embedded, taught):
    ours = learner_of(embedded)
    theirs = learner_of(embedded, start=slice(26, 32), taught=taught, name="somebody-else-")
    assert plain(html_of(ours)) == plain(html_of(theirs))
    assert repr(ours) == repr(theirs)
    assert "somebody" not in html_of(theirs)
    for copied in (clone(theirs), pickle.loads(pickle.dumps(theirs))):
        assert "somebody" not in html_of(copied)


def test_a_planted_count_is_found(embedded):
    ours, theirs = learner_of(embedded), learner_of(embedded, taught=slice(12, 25))

    def leaky(learner):
        return plain(html_of(learner)) + f"<p>{len(learner.X_training)} patients</p>"

    assert leaky(ours) != leaky(theirs)


@pytest.fixture(scope="module")
def protocol(srbct):
    plan = plan_study(PrivacyBudget(2.0), n_labelled=6, n_pool=20, labels_per_round=3, rounds=1, n_components=16)
    encoder = PublicEncoder(n_components=16).fit(srbct.X_public, srbct.y_public)
    return plan, encoder, DPPrototypeClassifier.prior_from_public(encoder.transform(srbct.X_public), srbct.y_public)


def test_a_study_tells_steps_files_and_ledger(tmp_path, protocol, srbct):
    study = ActiveLearningStudy(tmp_path / EVIL.replace("/", "_"), *protocol)
    assert "Nobody is enrolled yet" in of_ours(html_of(study))
    study.enrol(srbct.X)
    assert {tag for tag, _ in Reader(html_of(study)).tags}.isdisjoint({"script", "img"})
    text = of_ours(html_of(study))
    assert "start next 6 any day" in text
    assert "round 1 to come 9 any day" in text
    assert "certificate.json , study.json" in text
    assert str(tmp_path) not in text
    sheet = study.next_batch()
    study.submit(sheet.frame.assign(diagnosis=srbct.y[sheet.frame["patient"]].to_numpy()))
    study.release("start")
    text = of_ours(html_of(study))
    assert "start released 6" in text
    assert "round 1 next 9" in text
    assert "models/start.npz" in text
    assert "hospital" not in text.replace("leave the hospital", "")
    assert not [patient for patient in srbct.X.index if patient in html_of(study)]
    assert html_of(ActiveLearningStudy.open(study.folder)) == html_of(study)


def test_whoever_was_accepted_a_study_looks_the_same(tmp_path, protocol, srbct):
    pages, asked = {}, {}
    for name, patients in (
        ("one", srbct.X),
        ("two", srbct.X.iloc[::-1].set_axis([f"q{n}" for n in range(len(srbct.X))])),
    ):
        study = ActiveLearningStudy(tmp_path / name / "study", *protocol).enrol(patients)
        study.run(oracle=lambda sheet: [srbct.y.iloc[0]] * len(sheet))
        pages[name] = html_of(study)
        asked[name] = study._folder.record("round-1").asked
    assert asked["one"] != asked["two"]
    assert pages["one"] == pages["two"]
    assert "round 1 released 9" in of_ours(pages["one"])
