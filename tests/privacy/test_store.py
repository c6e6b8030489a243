"""Two processes, a power cut and a determined user."""

import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from skdpal.privacy import BudgetExhausted, LedgerError, LedgerTampered, PrivacyBudget, PrivacyLedger, events
from skdpal.privacy.store import connect, create_file

EDITS = {
    "edited": "UPDATE journal SET body = replace(body, '\"cohort\"', '\"cohort/pool\"') WHERE number = 2",
    "deleted": "DELETE FROM journal WHERE number = 2",
    "swapped": "UPDATE journal SET number = CASE number WHEN 2 THEN 3 WHEN 3 THEN 2 ELSE number END",
    "truncated": "DELETE FROM journal WHERE number >= 3",
    "appended": "INSERT INTO journal SELECT 9, body, hash FROM journal WHERE number = 2",
    "ceiling raised": "UPDATE journal SET body = replace(body, '2.0', '9.0') WHERE number = 0",
    "head moved": "UPDATE head SET rows = 3",
}


@pytest.fixture
def path(tmp_path, budget):
    ledger = PrivacyLedger.create(tmp_path / "study.ledger", budget)
    for number in range(5):
        ledger.charge(events.gaussian(10.0 + number), f"release {number}")
    return tmp_path / "study.ledger"


def execute(path, *statements):
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def test_an_untouched_journal_is_intact(path):
    head = PrivacyLedger.open(path).verify()
    assert head == PrivacyLedger.open(path).verify()
    assert len(head) == 64


@pytest.mark.parametrize("name", EDITS)
def test_a_touched_journal_is_found(path, name):
    if name == "swapped":
        execute(
            path,
            "CREATE TABLE copy AS SELECT * FROM journal",
            "DELETE FROM journal",
            "INSERT INTO journal SELECT CASE number WHEN 2 THEN 3 WHEN 3 THEN 2 ELSE number END, body, hash FROM copy",
        )
    else:
        execute(path, EDITS[name])
    ledger = PrivacyLedger.open(path)
    with pytest.raises(LedgerTampered, match=r"Row \d|ends at row"):
        ledger.verify()
    with pytest.raises((LedgerTampered, LedgerError)):
        ledger.certificate()


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to look like a file" * 30])
def test_what_is_no_ledger_is_refused(tmp_path, content, budget):
    path = tmp_path / "odd.ledger"
    PrivacyLedger.create(tmp_path / "good.ledger", budget)
    (tmp_path / "good.ledger.vault").rename(tmp_path / "odd.ledger.vault")
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="ledger"):
        PrivacyLedger.open(path).charge(events.gaussian(50), "x")


def test_a_journal_without_header_is_refused(path):
    execute(path, "DELETE FROM journal")
    with pytest.raises(LedgerError, match="no header"):
        PrivacyLedger.open(path).spent()
    with pytest.raises(LedgerError, match="no header"):
        PrivacyLedger.open(path).budget  # noqa: B018


@pytest.mark.parametrize(("old", "new"), [('"schema": 1,', '"schema": 7,'), ('"kind": "header"', '"kind": "novel"')])
def test_an_unknown_schema_is_refused(path, old, new):
    execute(path, f"UPDATE journal SET body = replace(body, '{old}', '{new}') WHERE number = 0")
    with pytest.raises(LedgerError, match="Update skdpal"):
        PrivacyLedger.open(path).spent()


def test_a_folder_is_no_ledger(tmp_path, budget):
    with pytest.raises(FileNotFoundError):
        PrivacyLedger.open(tmp_path)
    with pytest.raises(FileExistsError):
        PrivacyLedger.create(tmp_path, budget)


def test_a_store_that_cannot_be_written_releases_nothing(path):
    ledger = PrivacyLedger.open(path)
    execute(path, "CREATE TRIGGER full BEFORE INSERT ON journal BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    with pytest.raises(LedgerError, match="Nothing was released"):
        ledger.charge(events.gaussian(50), "x")
    assert len(ledger.receipts()) == 5


def test_files_are_for_their_owner_only(path, tmp_path):
    assert oct(path.stat().st_mode)[-3:] == "600"
    assert oct((tmp_path / "study.ledger.vault").stat().st_mode)[-3:] == "600"


def test_connecting_never_creates(tmp_path):
    with pytest.raises(FileNotFoundError):
        connect(tmp_path / "none")
    create_file(tmp_path / "one")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "one")


def race(path, tries, results):
    ledger = PrivacyLedger.open(path)
    paid = 0
    for _ in range(tries):
        try:
            ledger.charge(events.gaussian(10.0), "race")
            paid += 1
        except BudgetExhausted:
            pass
    results.put(paid)


def test_racing_processes_never_overspend(tmp_path, budget):
    ledger = PrivacyLedger.create(tmp_path / "race.ledger", budget)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    racers = [context.Process(target=race, args=(str(tmp_path / "race.ledger"), 20, results)) for _ in range(3)]
    for racer in racers:
        racer.start()
    paid = sum(results.get(timeout=120) for _ in racers)
    for racer in racers:
        racer.join()
    affordable = int(ledger._read().filter.ceiling / 0.01)
    assert paid == len(ledger.receipts()) == affordable == 25
    assert ledger.spent() <= 2.0
    ledger.verify()


KILLED = """
import sys
from skdpal.privacy import PrivacyLedger, events
ledger = PrivacyLedger.open(sys.argv[1])
while True:
    ledger.charge(events.gaussian(1e4), "loop", "cohort")
    print(len(ledger.receipts()), flush=True)
"""


def kill(tmp_path, rounds):
    path = tmp_path / "killed.ledger"
    PrivacyLedger.create(path, PrivacyBudget(5.0))
    for number in range(rounds):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
        announced = int(process.stdout.readline())
        time.sleep(0.003 * (number % 20))
        os.kill(process.pid, signal.SIGKILL)
        rest = process.stdout.read().split()
        process.wait()
        process.stdout.close()
        announced = int(rest[-1]) if rest else announced
        ledger = PrivacyLedger.open(path)
        ledger.verify()
        assert announced <= len(ledger.receipts()) <= announced + 1  # what was said to be paid is on disk


def test_kill_loses_no_receipt(tmp_path):
    kill(tmp_path, 3)


@pytest.mark.slow
def test_kill_loses_no_receipt_many_times(tmp_path):
    kill(tmp_path, 60)
