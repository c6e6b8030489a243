"""The only one who says yes."""

import copy
import json
import os
import pickle
import re

import pytest
from sklearn.base import clone

from skdpal.privacy import (
    BudgetExhausted,
    LedgerError,
    LedgerSealed,
    PrivacyBudget,
    PrivacyLedger,
    calibrate,
    events,
)
from skdpal.privacy.accounts import POOL

WHOLE = calibrate(events.gaussian, PrivacyBudget(2.0, 1e-5))  # one release that takes everything


@pytest.fixture
def durable(tmp_path, budget):
    return PrivacyLedger.create(tmp_path / "study.ledger", budget)


def journal(ledger):
    with ledger._journal.transaction() as transaction:
        return json.dumps(transaction.rows())


def test_a_charge_is_a_receipt(ledger):
    receipt = ledger.charge(events.gaussian(4.0), label="fit round 1", account="cohort")
    assert ledger.receipts() == [receipt]
    assert receipt.epsilon == pytest.approx(ledger.spent())
    assert ledger.filter == "gdp"
    assert ledger.budget == PrivacyBudget(2.0, 1e-5)


def test_a_refusal_writes_nothing_and_says_price_spend_ceiling_and_a_remedy(ledger):
    ledger.charge(events.gaussian(2.2), "first")
    before = journal(ledger)
    with pytest.raises(BudgetExhausted) as refusal:
        ledger.charge(events.gaussian(2.2), "fit (round 3)")
    assert journal(ledger) == before
    message = str(refusal.value)
    assert message.startswith("fit (round 3) costs ε=1.79; spent 1.79 of 2.00")
    enough = float(re.search(r"Raise noise_multiplier to ([\d.]+)", message).group(1))
    assert ledger.affords(events.gaussian(enough))
    assert not ledger.affords(events.gaussian(enough * 0.998))
    assert (refusal.value.price, refusal.value.ceiling) == (pytest.approx(1.79, abs=0.01), 2.0)


def test_when_nothing_is_left_the_remedy_is_not_more_noise(ledger):
    ledger.charge(events.gaussian(WHOLE), "all")
    with pytest.raises(BudgetExhausted, match="plan fewer releases"):
        ledger.charge(events.gaussian(1e3), "more")


def test_what_is_not_private_is_refused_with_the_way_out(ledger):
    with pytest.raises(BudgetExhausted, match=r"costs ε=inf.*DP estimator") as refusal:
        ledger.charge(events.nonprivate(), "scaler")
    assert refusal.value.price == float("inf")
    with pytest.raises(BudgetExhausted):
        ledger.charge(events.composed([events.gaussian(50), events.nonprivate()]), "both")


def test_a_refusal_survives_a_trip_between_processes(ledger):
    with pytest.raises(BudgetExhausted) as refusal:
        ledger.charge(events.gaussian(0.1), "x")
    again = pickle.loads(pickle.dumps(refusal.value))
    assert (str(again), again.price) == (str(refusal.value), refusal.value.price)


@pytest.mark.parametrize("share", [copy.copy, copy.deepcopy, clone, lambda ledger: clone(ledger, safe=False)])
def test_copies_share(ledger, share):
    assert share(ledger) is ledger
    handle = ledger.within(POOL)
    assert share(handle) is handle


def test_a_pickle_of_a_file_reopens_it(durable):
    again = pickle.loads(pickle.dumps(durable))
    again.charge(events.gaussian(WHOLE), "there")
    with pytest.raises(BudgetExhausted):
        durable.charge(events.gaussian(WHOLE), "here")


def test_a_pickle_of_memory_reads_but_cannot_pay(ledger):
    ledger.charge(events.gaussian(4.0), "x")
    sealed = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(ledger))))
    assert sealed.spent() == ledger.spent()
    assert "spent" in repr(sealed)
    for attempt in (
        lambda: sealed.charge(events.gaussian(100), "x"),
        lambda: sealed.reserve(events.gaussian(100), "x"),
        lambda: sealed.split(POOL, "cohort/a", []),
        lambda: sealed.mark_void("x"),
        lambda: sealed.accounts_of(["a"]),
        sealed.verify,
    ):
        with pytest.raises(LedgerSealed, match=r"PrivacyLedger\.create"):
            attempt()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_memory_does_not_follow_a_fork(ledger):
    reading, writing = os.pipe()
    if os.fork() == 0:
        try:
            ledger.charge(events.gaussian(100), "child")
            os.write(writing, b"paid")
        except LedgerError:
            os.write(writing, b"refused")
        finally:
            os._exit(0)
    os.wait()
    assert os.read(reading, 10) == b"refused"
    os.close(reading)
    os.close(writing)


def test_an_existing_ledger_is_never_overwritten(durable, tmp_path, budget):
    with pytest.raises(FileExistsError, match=r"PrivacyLedger\.open"):
        PrivacyLedger.create(tmp_path / "study.ledger", PrivacyBudget(100.0))
    assert PrivacyLedger.open(tmp_path / "study.ledger").budget == budget


def test_a_missing_ledger_is_never_a_fresh_budget(tmp_path):
    with pytest.raises(FileNotFoundError, match="never a fresh budget"):
        PrivacyLedger.open(tmp_path / "gone.ledger")
    assert not list(tmp_path.iterdir())


def test_a_ledger_that_disappears_is_noticed(durable, tmp_path):
    (tmp_path / "study.ledger").unlink()
    with pytest.raises(FileNotFoundError, match="gone"):
        durable.charge(events.gaussian(100), "x")


def test_a_vault_without_its_ledger_is_noticed(durable, tmp_path, budget):
    (tmp_path / "study.ledger").unlink()
    with pytest.raises(FileExistsError, match="without its ledger"):
        PrivacyLedger.create(tmp_path / "study.ledger", budget)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: PrivacyLedger("2.0"), "PrivacyBudget"),
        (lambda: PrivacyLedger(PrivacyBudget(2.0), filter="pld"), "filter"),
        (lambda: PrivacyLedger.open("mysql://host/db"), "sqlite:///"),
    ],
)
def test_bad_arguments_are_named(call, words):
    with pytest.raises((TypeError, ValueError), match=words):
        call()


def test_addresses_may_be_urls(tmp_path, budget):
    PrivacyLedger.create(f"sqlite:///{tmp_path}/a.ledger", budget).charge(events.gaussian(5.0), "x")
    assert len(PrivacyLedger.open(tmp_path / "a.ledger").receipts()) == 1


def test_a_patient_is_in_one_leaf(ledger):
    ledger.split(POOL, "cohort/a", ["p"])
    with pytest.raises(ValueError, match="record_ids"):
        ledger.split(POOL, "cohort/b", ["p"])
    with pytest.raises(ValueError, match="patients of account"):
        ledger.charge(events.gaussian(50), "x", POOL, record_ids=["p"])
    with pytest.raises(ValueError, match="patients of account"):
        ledger.charge(events.gaussian(50), "x", "cohort/a", record_ids=["q"])
    ledger.charge(events.gaussian(50), "x", "cohort", record_ids=["p", "q"])
    assert len(ledger.receipts()) == 1


def test_the_spend_does_not_know_how_many_are_in_an_account(budget):
    few, many = PrivacyLedger(budget), PrivacyLedger(budget)
    for ledger, members in ((few, []), (many, ["a", "b", "c"])):
        ledger.branch(POOL, "cohort/round-1", members).charge(events.gaussian(3.0), "fit")
    assert few.spent() == many.spent() > 0
    assert journal(few) == journal(many)


def test_marks_are_kept(durable, tmp_path):
    durable.mark_hidden_round()
    durable.mark_void("a reason")
    durable.within(POOL).mark_void("a reason")
    again = PrivacyLedger.open(tmp_path / "study.ledger")
    assert again.hidden_rounds == 1
    assert again.certificate()["status"] == "void: a reason"
    assert durable.root is durable
