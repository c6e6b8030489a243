"""A question that is asked again: one receipt, one answer, whatever happens in between."""

import copy
import multiprocessing
import os
import pickle
import shutil
import threading

import numpy as np
import pytest
import sqlalchemy as sa

from skdpal.privacy import LedgerError, LedgerSealed, PrivacyBudget, PrivacyLedger, Schedule, Split
from skdpal.privacy.accounts import POOL
from skdpal.privacy.filters import Charge
from skdpal.privacy.ledger.book import Book
from skdpal.privacy.mechanisms import GaussianSum, RandomizedResponse, release
from skdpal.privacy.randomness import simulation
from skdpal.privacy.storage.vault import Vault, vault_of

SUM = GaussianSum(5.0)
ROWS = np.ones((2, 3))
IDS = ["ann", "bob"]


def ask(payer, values=lambda: ROWS, mechanism=SUM, ids=IDS):
    return release(values, mechanism, payer, "sum", record_ids=ids)


def unread():
    raise AssertionError("read")


class Dies:
    """A mechanism that reads, draws, and dies before anybody sees the answer."""

    one_row_each = False
    event = SUM.event

    def __init__(self, drawn):
        self.drawn = drawn

    def run(self, values, ids):
        self.drawn.append(SUM.run(values, ids))
        raise KeyboardInterrupt


def kinds(journal, ledger):
    return [row["kind"] for row in journal(ledger)][1:]


@pytest.fixture(params=["memory", "file"])
def each(request):
    return request.getfixturevalue({"memory": "ledger", "file": "durable"}[request.param])


# -- asked again -------------------------------------------------------------------------------------


def test_asked_again_the_stored_answer_comes_back_and_nobody_pays_or_is_read(each, journal):
    first = ask(each.within(POOL, question="sum"))
    before, spent = journal(each), each.spent()
    again = each.within(POOL, question="sum")
    assert again.paid(SUM.event)
    again.require(SUM.event, "sum")
    np.testing.assert_array_equal(ask(again, unread), first)
    assert journal(each) == before
    assert each.spent() == spent > 0
    assert kinds(journal, each) == ["charge", "answer"]
    (receipt,) = each.receipts()
    assert receipt.question == "sum (1)"
    assert each.certificate()["drawn_again"] == []


def test_without_a_question_every_release_is_a_new_one(each):
    first, second = (ask(each.within(POOL)) for _ in range(2))
    assert (first != second).any()
    assert len(each.receipts()) == 2


@pytest.mark.parametrize("other", ["question", "account", "event"])
def test_another_question_is_another_release(ledger, other):
    ledger.split(POOL, "cohort/a", ["cem"])
    first = ask(ledger.within(POOL, question="sum"))
    second = {
        "question": lambda: ask(ledger.within(POOL, question="other")),
        "account": lambda: ask(ledger.within("cohort/a", question="sum"), ids=["cem"] * 2),
        "event": lambda: ask(ledger.within(POOL, question="sum"), mechanism=GaussianSum(6.0)),
    }[other]()
    assert (first != second).any()
    assert len(ledger.receipts()) == 2


def test_the_answer_is_there_after_a_restart_and_in_a_pickle(durable, path):
    handle = durable.within(POOL, question="sum")
    travelled = pickle.loads(pickle.dumps(handle))
    first = ask(handle)
    for payer in (PrivacyLedger.open(path).within(POOL, question="sum"), travelled):
        np.testing.assert_array_equal(ask(payer, unread), first)
    assert len(durable.receipts()) == 1


def test_a_spent_budget_still_answers_what_was_paid(ledger, whole):
    mechanism = GaussianSum(whole.noise_multiplier)
    first = ask(ledger.within(POOL, question="sum"), mechanism=mechanism)
    assert not ledger.affords(whole)
    np.testing.assert_array_equal(ask(ledger.within(POOL, question="sum"), unread, mechanism), first)


def test_a_procedure_of_several_releases_asks_one_question_after_another(durable, path):
    handle = durable.within(POOL, question="fit")
    assert copy.copy(handle) is copy.deepcopy(handle) is handle
    answers = [ask(handle) for _ in range(3)]
    assert [receipt.question for receipt in durable.receipts()] == ["fit (1)", "fit (2)", "fit (3)"]
    assert len({answer.tobytes() for answer in answers}) == 3
    again = PrivacyLedger.open(path).within(POOL, question="fit")
    for answer in answers:
        np.testing.assert_array_equal(ask(again, unread), answer)
    ask(again)  # the fourth was not asked before
    assert len(durable.receipts()) == 4


def test_answers_of_any_kind_come_back(ledger):
    for classes in (("a", "b"), (0, 1)):
        mechanism, question = RandomizedResponse(0.1, classes), f"labels {classes}"
        first = ask(ledger.within(POOL, question=question), lambda classes=classes: [classes[0]] * 2, mechanism)
        second = ask(ledger.within(POOL, question=question), unread, mechanism)
        np.testing.assert_array_equal(first, second)


def test_a_branch_that_is_asked_again_finds_its_account(durable, path):
    first = ask(durable.branch(POOL, "cohort/a", IDS, question="fit"))
    again = PrivacyLedger.open(path).branch(POOL, "cohort/a", IDS, question="fit")
    np.testing.assert_array_equal(ask(again, unread), first)
    assert durable.accounts() == [POOL, "cohort/a"]
    with pytest.raises(ValueError, match="meets"):
        durable.branch(POOL, "cohort/a", IDS)
    with pytest.raises(ValueError, match="meets"):  # another release of an account that is made
        ask(durable.branch(POOL, "cohort/a", IDS, question="other"))
    assert len(durable.receipts()) == 1


# -- crashes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["within", "branch"])
def test_what_a_crash_lost_is_drawn_again_once_under_the_same_receipt(durable, path, journal, how):
    def payer(ledger):
        if how == "within":
            return ledger.within(POOL, question="sum")
        return ledger.branch(POOL, "cohort/a", IDS, question="sum")

    drawn = []
    handle = payer(durable)
    with pytest.raises(KeyboardInterrupt):
        ask(handle, mechanism=Dies(drawn))
    spent = durable.spent()
    again = PrivacyLedger.open(path)
    answer = ask(payer(again))
    assert (answer != drawn[0]).any()  # fresh noise: what was lost is lost
    for asker in (handle, payer(durable)):
        np.testing.assert_array_equal(ask(asker, unread), answer)
    (receipt,) = durable.receipts()
    assert durable.spent() == spent
    assert kinds(journal, durable)[-3:] == ["charge", "redraw", "answer"]
    assert durable.certificate()["drawn_again"] == [receipt.number]


def test_a_crash_between_vault_and_journal_gives_the_stored_answer(each, monkeypatch, journal):
    kept = []

    def die(self, receipt):
        kept.append(self.vault.answer(self.journal.read(lambda transaction: transaction.hash_of(receipt.number))))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Book, "_note_answer", die)
        with pytest.raises(KeyboardInterrupt):
            ask(each.within(POOL, question="sum"))
    np.testing.assert_array_equal(ask(each.within(POOL, question="sum"), unread), kept[0])
    assert kinds(journal, each) == ["charge", "answer"]


def test_only_patients_of_the_account_are_read_when_it_is_drawn_again(ledger):
    with pytest.raises(KeyboardInterrupt):
        ask(ledger.branch(POOL, "cohort/a", IDS, question="sum"), mechanism=Dies([]))
    with pytest.raises(ValueError, match="Expected rows"):
        ask(ledger.within("cohort/a", question="sum"), unread, ids=["ann", "eve"])
    ask(ledger.within("cohort/a", question="sum"), lambda: ROWS[:1], ids=["ann"])


@pytest.mark.parametrize("how", ["question", "reservation"])
def test_who_came_later_from_elsewhere_did_not_pay(ledger, how):
    """An account above leaves may get another leaf after it paid; that one's patients owe the release."""
    ledger.split(POOL, "cohort/site/a", ["ann"])
    if how == "question":
        handle = ledger.within("cohort/site", question="sum")
        with pytest.raises(KeyboardInterrupt):
            ask(handle, mechanism=Dies([]), ids=["ann"] * 2)
    else:
        handle = ledger.reserve(SUM.event, "sum", "cohort/site")
    ledger.split(POOL, "cohort/site/b", ["bob"])
    ledger.split("cohort/site/a", "cohort/site/c", ["ann"])  # paid, and moved
    assert ledger.spent("cohort/site/b") == 0
    with pytest.raises(ValueError, match="Expected rows"):
        ask(handle, unread, ids=["ann", "bob"])
    ask(handle, ids=["ann"] * 2)


def test_a_lost_answer_that_may_have_left_is_never_drawn_again(durable, path, tmp_path):
    vault = vault_of(path)
    shutil.copy(vault, tmp_path / "older")
    answer = ask(durable.within(POOL, question="sum"))
    shutil.copy(vault, tmp_path / "newer")
    for file in path.parent.glob(f"{vault.name}-*"):
        file.unlink()
    shutil.copy(tmp_path / "older", vault)
    for ledger in (durable, PrivacyLedger.open(path)):
        with pytest.raises(LedgerError, match=r"lost the answer .* Restore the vault"):
            ask(ledger.within(POOL, question="sum"), unread)
    shutil.copy(tmp_path / "newer", vault)
    np.testing.assert_array_equal(ask(durable.within(POOL, question="sum"), unread), answer)


def test_a_receipt_from_outside_the_door_never_becomes_redrawable(ledger):
    """A network charges its training by itself; nothing keeps that answer, and nothing gives it away again."""
    handle = ledger.within(POOL, question="training")
    handle.charge(SUM.event, "training")
    assert not handle.paid(SUM.event)
    assert handle.recall(SUM.event) is None
    assert ledger.receipts()[0].question is None
    ask(ledger.within(POOL, question="training"))
    assert len(ledger.receipts()) == 2


def _ask_and_die(path):
    def die(values, ids):
        os._exit(9)

    mechanism = Dies([])
    mechanism.run = die
    ask(PrivacyLedger.open(path).within(POOL, question="sum"), mechanism=mechanism)


def test_a_killed_process_leaves_a_receipt_that_is_drawn_again(durable, path):
    child = multiprocessing.get_context("fork").Process(target=_ask_and_die, args=(path,))
    child.start()
    child.join()
    assert child.exitcode == 9
    assert len(durable.receipts()) == 1
    first, second = (ask(durable.within(POOL, question="sum")) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert durable.certificate()["drawn_again"] == [durable.receipts()[0].number]


# -- several at once ---------------------------------------------------------------------------------


def _answer(path, gate, results):
    ledger = PrivacyLedger.open(path)
    gate.wait()
    results.put(ask(ledger.within(POOL, question="sum")).tobytes())


def test_of_processes_that_ask_at_once_one_answer_leaves_and_one_receipt_pays(durable, path):
    context = multiprocessing.get_context("fork")
    gate, results = context.Barrier(4), context.Queue()
    children = [context.Process(target=_answer, args=(path, gate, results)) for _ in range(4)]
    for child in children:
        child.start()
    answers = {results.get(timeout=60) for _ in children}
    for child in children:
        child.join()
    assert len(answers) == 1
    assert len(durable.receipts()) == 1


@pytest.mark.parametrize("how", ["within", "branch"])
def test_of_two_who_both_found_no_answer_one_pays_and_both_get_the_first(each, how):
    handles = [
        each.within(POOL, question="sum") if how == "within" else each.branch(POOL, "cohort/a", IDS, question="sum")
        for _ in range(2)
    ]
    drawn = [SUM.run(ROWS, IDS) for _ in handles]
    assert [handle.recall(SUM.event) for handle in handles] == [None, None]
    for handle in handles:
        handle.charge_once(SUM.event, "sum", IDS)
    for handle, answer in zip(handles, drawn, strict=True):
        np.testing.assert_array_equal(handle.remember(SUM.event, answer), drawn[0])
    assert len(each.receipts()) == 1


def test_who_comes_after_the_answer_was_stored_writes_nothing(ledger, journal):
    slow = ledger.within(POOL, question="sum")
    assert slow.recall(SUM.event) is None
    first = ask(ledger.within(POOL, question="sum"))
    before = journal(ledger)
    slow.charge_once(SUM.event, "sum", IDS)
    np.testing.assert_array_equal(slow.remember(SUM.event, SUM.run(ROWS, IDS)), first)
    assert journal(ledger) == before


def test_threads_that_ask_at_once_get_one_answer(durable):
    answers, gate = [], threading.Barrier(4)

    def one():
        gate.wait()
        answers.append(ask(durable.within(POOL, question="sum")).tobytes())

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4
    assert len(set(answers)) == len(durable.receipts()) == 1


# -- other ledgers -----------------------------------------------------------------------------------


def test_a_sealed_copy_gives_no_answers(ledger):
    ask(ledger.within(POOL, question="sum"))
    sealed = pickle.loads(pickle.dumps(ledger))
    assert [receipt.question for receipt in sealed.receipts()] == ["sum (1)"]
    for question in ("sum", "other"):
        with pytest.raises(LedgerSealed):
            ask(sealed.within(POOL, question=question), unread)


def test_simulated_answers_stay_with_the_simulation(ledger):
    with simulation(1):
        inside = PrivacyLedger(PrivacyBudget(2.0))
        first, second = (ask(inside.within(POOL, question="sum")) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        with pytest.raises(LedgerError, match="real ledger"):
            ask(ledger.within(POOL, question="sum"), unread)
    with pytest.raises(KeyboardInterrupt):
        ask(ledger.within(POOL, question="sum"), mechanism=Dies([]))
    with simulation(1), pytest.raises(LedgerError, match="real ledger"):  # no seeded noise under a real receipt
        ask(ledger.within(POOL, question="sum"), unread)


def test_asking_again_is_no_step_of_a_frozen_schedule(tmp_path, budget):
    steps = [Split(POOL, "cohort/a"), Charge(SUM.event, "cohort/a"), Charge(SUM.event, POOL)]
    ledger = PrivacyLedger.create(tmp_path / "p.ledger", budget, "planned", schedule=Schedule(steps))
    with pytest.raises(KeyboardInterrupt):
        ask(ledger.branch(POOL, "cohort/a", IDS, question="fit"), mechanism=Dies([]))
    answers = [ask(ledger.branch(POOL, "cohort/a", IDS, question="fit")) for _ in range(3)]
    assert len({answer.tobytes() for answer in answers}) == 1
    ask(ledger.within(POOL, question="rest"), ids=["cem", "eve"])  # the next step is still the next
    ask(ledger.within(POOL, question="rest"), unread)
    assert len(ledger.receipts()) == 2


def test_answers_are_in_the_vault_and_not_in_the_journal(durable, path):
    answer = ask(durable.within(POOL, question="sum"))
    assert any(answer.tobytes() in file.read_bytes() for file in path.parent.glob(f"{vault_of(path).name}*"))
    assert answer.tobytes() not in path.read_bytes()


# -- planted faults ----------------------------------------------------------------------------------


def test_a_vault_that_keeps_the_last_answer_would_be_seen(ledger, monkeypatch):
    store = Vault.store

    def last(self, receipt, answer):
        from skdpal.privacy.storage.vault import _ANSWERS

        self._database.run(lambda connection: connection.execute(sa.delete(_ANSWERS)), write=True)
        return store(self, receipt, answer)

    monkeypatch.setattr(Vault, "store", last)
    with pytest.raises(AssertionError):
        test_of_two_who_both_found_no_answer_one_pays_and_both_get_the_first(ledger, "within")


def test_a_ledger_that_checks_before_the_transaction_only_would_be_seen(ledger, monkeypatch):
    def pays_again(self, transaction, state, key, ids):
        return self._append_charge(transaction, key[2], "sum", key[1], 0.0, key=key)

    monkeypatch.setattr(Book, "_again", pays_again)
    with pytest.raises(AssertionError):
        test_of_two_who_both_found_no_answer_one_pays_and_both_get_the_first(ledger, "within")


# -- rounds and coins --------------------------------------------------------------------------------


def test_a_round_is_kept_and_marked_hidden_whatever_was_known_of_it(durable, path):
    durable.begin_round("r", {"wanted": 3}, hidden=False)
    assert durable.hidden_rounds == 0
    durable.begin_round("r", {"wanted": 3}, hidden=True)
    durable.begin_round("r", {"wanted": 3}, hidden=True)
    durable.begin_round("s", {"wanted": 2}, hidden=False)
    again = PrivacyLedger.open(path)
    assert again.rounds() == {"r": {"wanted": 3}, "s": {"wanted": 2}}
    assert again.hidden_rounds == 1
    again.begin_round("r", {"wanted": 4}, hidden=True)
    assert list(durable.rounds().items()) == [("r", {"wanted": 4}), ("s", {"wanted": 2})]


def test_a_tag_names_a_text_for_its_vault_only(durable, path, ledger):
    assert durable.tag("ann bob") == PrivacyLedger.open(path).tag("ann bob") != durable.tag("bob ann")
    assert durable.tag("ann bob") != ledger.tag("ann bob")
