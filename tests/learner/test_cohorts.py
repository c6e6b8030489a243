"""What the learner keeps of its cohorts, refuses before it reads them, and never tells about their size."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest

from skdpal import (
    BudgetExhausted,
    DPPrototypeClassifier,
    PrivacyBudget,
    PrivacyLeakWarning,
    PrivacyLedger,
    PrivateActiveLearner,
    PrivateQuery,
)

IDS = [f"patient-{number:02d}" for number in range(37)]
COINS = {"nobody": 1.0, "everybody": 0.0}


def make(embedded, ledger=None, sigma=2.0, rows=np.asarray):
    return PrivateActiveLearner(
        DPPrototypeClassifier(sigma, prior=embedded.prior),
        PrivateQuery(reference=embedded.reference, n_pool=20),
        rows(embedded.X[:6]),
        embedded.y[:6],
        ledger=PrivacyLedger(PrivacyBudget(2.0)) if ledger is None else ledger,
        record_ids=IDS[:6],
    )


def test_the_start_is_refused_before_it_is_read(embedded, exhausted, untouchable, journal):
    before = journal(exhausted)
    with pytest.raises(BudgetExhausted, match=r"costs ε=.*spent 2\.00 of 2\.00"):
        PrivateActiveLearner(
            DPPrototypeClassifier(2.0, prior=embedded.prior), PrivateQuery(), untouchable, untouchable, ledger=exhausted
        )
    assert journal(exhausted) == before


def test_resampling_and_unaffordable_retraining_are_refused_before_rows_are_read(embedded, untouchable):
    learner = make(embedded)
    with pytest.raises(BudgetExhausted, match="teach"):
        learner.teach(untouchable, untouchable, only_new=False)  # the start would pay again
    with pytest.raises(ValueError, match="bootstrap"):
        learner.teach(untouchable, untouchable, bootstrap=True)
    with pytest.raises(ValueError, match="bootstrap"):
        learner.fit(untouchable, untouchable, bootstrap=True)


@pytest.mark.parametrize("rows", [np.asarray, pd.DataFrame, np.ndarray.tolist], ids=["array", "frame", "list"])
@pytest.mark.parametrize("who", COINS)
def test_nobody_and_everybody_are_taught_alike_in_any_container(who, rows, embedded, journal, monkeypatch):
    learner = make(embedded, rows=rows)
    monkeypatch.setattr(PrivacyLedger, "coins", lambda _, label, ids: np.full(len(ids), COINS[who]))
    pool = rows(embedded.X[6:26])
    asked = learner.estimator.fingerprint()
    chosen, cohort = learner.query(pool, 3, record_ids=IDS[6:26])
    assert len(chosen) == len(cohort) == (0 if who == "nobody" else 20)
    learner.teach(cohort, embedded.y[6:26][chosen], record_ids=[IDS[6:26][at] for at in chosen])
    kinds = [(row["kind"], row.get("account"), row.get("label")) for row in journal(learner.ledger)]
    assert kinds == [
        ("header", None, None),
        ("split", None, None),
        ("charge", "cohort/start", "fit"),
        ("answer", None, None),
        ("round", None, f"round {asked}"),
        ("split", None, None),
        ("charge", "cohort/round-1", "partial_fit 1"),
        ("answer", None, None),
    ]
    assert learner.estimator.releases_[-1].expected_records == 3
    assert learner.predict(pool).shape == (20,)


@pytest.mark.parametrize("who", COINS)
def test_the_public_state_does_not_tell_who_was_taught(who, embedded, monkeypatch):
    """With the same released numbers, everything but the rows is the same, byte for byte."""
    from skdpal.estimators import prototype

    answers = np.random.default_rng(0).normal(size=4 * 17)

    def same_answer(contributions, mechanism, ledger, label, *, record_ids):
        ledger.charge(mechanism.event, label, record_ids=record_ids)
        return answers.copy()

    def after_a_round(coin):
        monkeypatch.setattr(PrivacyLedger, "coins", lambda _, label, ids: np.full(len(ids), coin))
        learner = make(embedded)
        for _ in range(2):
            chosen, rows = learner.query(embedded.X[6:26], 3, record_ids=IDS[6:26])
            learner.teach(rows, embedded.y[6:26][chosen], record_ids=[IDS[6:26][at] for at in chosen])
        model = {name: value for name, value in vars(learner.estimator).items() if name != "ledger"}
        return pickle.dumps((model, learner.query_strategy, learner.ledger.accounts())), learner.ledger.receipts()

    monkeypatch.setattr(prototype, "release", same_answer)
    state, receipts = after_a_round(COINS[who])
    reference, others = after_a_round(0.5)
    assert state == reference
    assert receipts == others


def test_copies_carry_no_rows(tmp_path, embedded):
    learner = make(embedded, PrivacyLedger.create(tmp_path / "a.ledger", PrivacyBudget(2.0)))
    chosen, rows = learner.query(embedded.X[6:26], 10, record_ids=IDS[6:26])
    learner.teach(rows, embedded.y[6:26][chosen], record_ids=[IDS[6:26][at] for at in chosen])
    data = pickle.dumps(learner)
    assert not any(row.tobytes() in data or row[:3].tobytes() in data for row in embedded.X)
    assert b"patient-" not in data
    assert "0." not in repr(learner).replace("spent 2.00", "").replace("spent 1.99", "")
    again, deep = pickle.loads(data), copy.deepcopy(learner)
    assert again.X_training is again.y_training is deep.X_training is deep.y_training is None
    # what comes back goes on with the same ledger
    again.query(embedded.X[6:26], 3, record_ids=IDS[6:26])
    again.teach(embedded.X[:0], [])
    assert [receipt.account for receipt in learner.ledger.receipts()][-1] == "cohort/round-2"
    first = copy.deepcopy(deep)
    deep.teach(embedded.X[:0], [])  # the same verb in the same place: the stored release
    assert deep.estimator.fingerprint() == again.estimator.fingerprint()
    assert len(learner.ledger.receipts()) == 3
    with pytest.raises(ValueError, match="expected_records"):  # nothing was asked, so nothing is known
        deep.teach(embedded.X[:0], [])
    assert first.estimator.fingerprint() != deep.estimator.fingerprint()


def test_a_failed_teach_can_be_repeated_with_the_same_expectation(embedded):
    learner = make(embedded)
    learner.query(embedded.X[6:26], 4, record_ids=IDS[6:26])
    with pytest.raises(ValueError, match="classes"):
        learner.teach(embedded.X[6:8], ["EWS", "measles"], record_ids=IDS[6:8])
    learner.teach(embedded.X[6:8], ["EWS", "RMS"], record_ids=IDS[6:8])
    assert learner.estimator.releases_[-1].expected_records == 4
    assert learner.ledger.accounts_of(IDS[6:9]) == ["cohort/round-1"] * 2 + ["cohort/pool"]


def test_a_patient_taught_twice_is_charged_and_counted_once(embedded):
    learner = make(embedded)
    for _ in range(2):
        learner.teach(embedded.X[[6, 6]], embedded.y[[6, 6]], record_ids=IDS[6:7] * 2, expected_records=1)
    assert learner.ledger.accounts_of(IDS[6:7]) == ["cohort/round-1"]
    assert len(learner.X_training) == 6 + 2
    assert len(learner.ledger.receipts()) == 3


def test_after_a_query_a_second_teach_must_say_what_it_expects(embedded, journal):
    learner = make(embedded)
    learner.query(embedded.X[6:26], 3, record_ids=IDS[6:26])
    learner.teach(embedded.X[:0], [])
    before = journal(learner.ledger)
    with pytest.raises(ValueError, match="expected_records"):
        learner.teach(embedded.X[6:7], embedded.y[6:7], record_ids=IDS[6:7])
    assert journal(learner.ledger) == before
    learner.teach(embedded.X[6:7], embedded.y[6:7], record_ids=IDS[6:7], expected_records=1)


def test_the_learner_does_not_touch_the_estimator_it_was_given(embedded, ledger):
    given = DPPrototypeClassifier(2.0, prior=embedded.prior)
    learner = PrivateActiveLearner(given, PrivateQuery(), embedded.X[:6], embedded.y[:6], ledger=ledger)
    assert given.ledger is None
    assert not hasattr(given, "release_")
    assert learner.estimator.prior is embedded.prior


def test_exact_scores_void_the_certificate_unless_declared_public(embedded):
    learner = make(embedded)
    learner.score(embedded.X_public[:5], ["EWS"] * 5, public=True)
    assert learner.ledger.certificate()["status"] == "valid"
    with pytest.warns(PrivacyLeakWarning, match="void"):
        learner.score(embedded.X[:6], embedded.y[:6])
    assert learner.ledger.certificate()["status"].startswith("void")
