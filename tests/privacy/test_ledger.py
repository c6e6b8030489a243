"""The only one who says yes."""

import contextlib
import copy
import os
import pickle
import re
import threading

import numpy as np
import pytest
from sklearn.base import clone

from skdpal.privacy import (
    BudgetExhausted,
    LedgerError,
    LedgerSealed,
    PrivacyBudget,
    PrivacyLedger,
    events,
)
from skdpal.privacy.accounts import POOL


def test_a_charge_is_a_receipt(ledger):
    receipt = ledger.charge(events.gaussian(4.0), label="fit round 1", account="cohort")
    assert ledger.receipts() == [receipt]
    assert receipt.epsilon == pytest.approx(ledger.spent())
    assert ledger.filter == "gdp"
    assert ledger.budget == PrivacyBudget(2.0, 1e-5)


def test_a_refusal_writes_nothing_and_says_price_spend_ceiling_and_a_remedy(ledger, journal):
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
    numbers = (refusal.value.price, refusal.value.spent, refusal.value.ceiling)
    assert numbers == (pytest.approx(1.79, abs=0.01), ledger.spent(), 2.0)
    with pytest.raises(BudgetExhausted, match=re.escape(message)):
        ledger.require(events.gaussian(2.2), "fit (round 3)")


def test_the_remedy_for_several_releases_is_a_factor_that_is_enough_and_hardly_more(ledger):
    def search(factor):
        return events.composed([events.gaussian(2.0 * factor), events.gaussian(3.0 * factor, 4)])

    ledger.charge(events.gaussian(2.2), "first")
    with pytest.raises(BudgetExhausted, match="Multiply every noise_multiplier by") as refusal:
        ledger.charge(search(1.0), "search")
    enough = float(re.search(r"noise_multiplier by ([\d.]+),", str(refusal.value)).group(1))
    assert ledger.affords(search(enough))
    assert not ledger.affords(search(enough * 0.998))


def test_when_nothing_is_left_the_remedy_is_not_more_noise(exhausted):
    with pytest.raises(BudgetExhausted, match="plan fewer releases"):
        exhausted.charge(events.gaussian(1e3), "more")


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


def test_a_pickle_of_a_file_reopens_it(durable, whole):
    again = pickle.loads(pickle.dumps(durable))
    again.charge(whole, "there")
    with pytest.raises(BudgetExhausted):
        durable.charge(whole, "here")


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


def test_an_existing_ledger_is_never_overwritten(durable, path, budget):
    with pytest.raises(FileExistsError, match=r"PrivacyLedger\.open"):
        PrivacyLedger.create(path, PrivacyBudget(100.0))
    assert PrivacyLedger.open(path).budget == budget


def test_a_missing_ledger_is_never_a_fresh_budget(tmp_path):
    with pytest.raises(FileNotFoundError, match="never a fresh budget"):
        PrivacyLedger.open(tmp_path / "gone.ledger")
    assert not list(tmp_path.iterdir())


def test_a_ledger_that_disappears_is_noticed(durable, path):
    path.unlink()
    with pytest.raises(FileNotFoundError, match="does not exist"):
        durable.charge(events.gaussian(100), "x")


def test_a_vault_without_its_ledger_is_noticed(durable, path, budget):
    path.unlink()
    with pytest.raises(FileExistsError, match="without its ledger"):
        PrivacyLedger.create(path, budget)


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


def test_the_spend_does_not_know_how_many_are_in_an_account(budget, journal):
    few, many = PrivacyLedger(budget), PrivacyLedger(budget)
    for ledger, members in ((few, []), (many, ["a", "b", "c"])):
        ledger.branch(POOL, "cohort/round-1", members).charge(events.gaussian(3.0), "fit")
    assert few.spent() == many.spent() > 0
    assert journal(few)[1:] == journal(many)[1:]  # the first row holds a random name


def test_two_openings_of_a_file_are_one_ledger(durable, path, whole):
    other = PrivacyLedger.open(path)
    receipt = other.charge(events.gaussian(4.0), "there")
    other.split(POOL, "cohort/a", ["p"])
    assert durable.receipts() == [receipt]
    assert durable.accounts_of(["p", "q"]) == ["cohort/a", POOL]
    assert durable.spent() == other.spent()
    assert not durable.affords(whole)
    assert durable.coins("round 1", ["p"]) == other.coins("round 1", ["p"])


def test_patients_may_be_named_by_anything_that_has_a_string(ledger):
    ledger.split(POOL, "cohort/a", [1, "2"])
    assert ledger.accounts_of([1, "1", 2, 3]) == ["cohort/a", "cohort/a", "cohort/a", POOL]


def test_numbers_of_numpy_can_be_charged(durable):
    durable.charge(events.gaussian(np.float32(9), steps=np.int64(2)), "x")
    assert durable.receipts()[0].event == events.gaussian(9.0, 2)


@pytest.mark.parametrize("attribute", ["budget", "filter", "account", "root"])
def test_the_ceiling_cannot_be_set(ledger, attribute):
    with pytest.raises(AttributeError):
        setattr(ledger, attribute, PrivacyBudget(100.0))


def test_a_second_header_does_not_raise_the_ceiling(durable, path):
    def forge(transaction):
        header = transaction.rows()[0][0]
        transaction.append({**header, "epsilon": 100.0})  # in the chain, so verify() cannot object

    durable._book.journal.write(forge)
    for use in (lambda: durable.charge(events.gaussian(0.5), "too much"), lambda: PrivacyLedger.open(path)):
        with pytest.raises(LedgerError, match="header"):
            use()


def test_threads_share_a_budget_fairly(budget, tmp_path):
    for ledger in (PrivacyLedger(budget), PrivacyLedger.create(tmp_path / "threads.ledger", budget)):

        def pay(ledger=ledger):
            for _ in range(12):
                with contextlib.suppress(BudgetExhausted):
                    ledger.charge(events.gaussian(10.0), "thread")

        threads = [threading.Thread(target=pay) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ledger.receipts()) == 25  # of 48 tries; 25 fit
        assert ledger.spent() <= 2.0
        ledger.verify()


def test_the_account_that_pays_is_everybody_unless_another_is_named(ledger):
    assert ledger.account == "cohort"
    assert ledger.root is ledger
    ledger.split(POOL, "cohort/a", [])
    ledger.charge(events.gaussian(4.0), "x")
    assert ledger.spent(POOL) == ledger.spent("cohort/a") == ledger.spent() > 0


def test_marks_are_kept(durable, path):
    durable.begin_round("round 1", hidden=True)
    durable.mark_void("a reason")
    durable.within(POOL).mark_void("a reason")
    again = PrivacyLedger.open(path)
    assert again.hidden_rounds == 1
    assert again.certificate()["status"] == "void: a reason"
    assert durable.root is durable


def test_a_word_is_not_a_list_of_its_letters(ledger):
    with pytest.raises(ValueError, match=r"\[patient\]"):
        ledger.split(POOL, "cohort/a", "p17")
    assert ledger.accounts() == [POOL]
