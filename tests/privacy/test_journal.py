"""A determined user; crowds and power cuts are in test_race.py and test_kill.py."""

import contextlib
import hashlib
import os
import shutil
import sqlite3

import pytest

from skdpal.privacy import LedgerError, LedgerTampered, PrivacyLedger, events
from skdpal.privacy.ledger.state import State
from skdpal.privacy.storage.database import Database, create_file

EDITS = {
    "edited": "UPDATE journal SET body = replace(body, '\"cohort\"', '\"cohort/pool\"') WHERE number = 2",
    "deleted": "DELETE FROM journal WHERE number = 2",
    "swapped": "see SWAP",
    "hash edited": "UPDATE journal SET hash = substr(hash, 2) || 'f' WHERE number = 2",
    "garbage": "UPDATE journal SET body = 'garbage' WHERE number = 4",
    "truncated": "DELETE FROM journal WHERE number >= 3",
    "appended": "INSERT INTO journal SELECT 9, body, hash FROM journal WHERE number = 2",
    "ceiling raised": "UPDATE journal SET body = replace(body, '2.0', '9.0') WHERE number = 0",
    "head moved": "UPDATE head SET rows = 3",
}


SWAP = (
    "CREATE TABLE copy AS SELECT * FROM journal",
    "DELETE FROM journal",
    "INSERT INTO journal SELECT CASE number WHEN 2 THEN 3 WHEN 3 THEN 2 ELSE number END, body, hash FROM copy",
)
BREAKS = {
    "no JSON": "UPDATE journal SET body = 'garbage' WHERE number = 2",
    "no row": "UPDATE journal SET body = '[1]' WHERE number = 2",
    "no label": "UPDATE journal SET body = replace(body, 'label', 'lobel') WHERE number = 2",
    "unknown account": "UPDATE journal SET body = replace(body, '\"cohort\"', '\"cohort/x\"') WHERE number = 2",
    "unknown event": "UPDATE journal SET body = replace(body, 'gaussian', 'laplace') WHERE number = 2",
    "unknown filter": "UPDATE journal SET body = replace(body, '\"gdp\"', '\"novel\"') WHERE number = 0",
}


@pytest.fixture
def used(durable, path):
    """A file with five receipts."""
    for number in range(5):
        durable.charge(events.gaussian(10.0 + number), f"release {number}")
    return path


@pytest.fixture
def touch(execute):
    """Change a journal in one of the ways of EDITS or BREAKS."""

    def run(path, name):
        statements = SWAP if name == "swapped" else [{**EDITS, **BREAKS}[name]]
        execute(path, *statements)

    return run


def rechain(path):
    """What an editor does who knows how the chain is made; only a head kept elsewhere tells."""
    connection = sqlite3.connect(path)
    head = "0" * 64
    rows = connection.execute("SELECT number, body FROM journal ORDER BY number").fetchall()
    for number, body in rows:
        head = hashlib.sha256(f"{head}\n{body}".encode()).hexdigest()
        connection.execute("UPDATE journal SET hash = ? WHERE number = ?", (head, number))
    connection.execute("UPDATE head SET rows = ?, hash = ?", (len(rows), head))
    connection.commit()
    connection.close()


def test_an_untouched_journal_is_intact(used):
    head = PrivacyLedger.open(used).verify()
    assert head == PrivacyLedger.open(used).verify()
    connection = sqlite3.connect(used)
    chain = "0" * 64
    for (body,) in connection.execute("SELECT body FROM journal ORDER BY number"):
        chain = hashlib.sha256(f"{chain}\n{body}".encode()).hexdigest()
    connection.close()
    assert head == chain  # anybody can compute it from the file


@pytest.mark.parametrize("name", EDITS)
def test_a_touched_journal_is_found(used, touch, name):
    ledger = PrivacyLedger.open(used)
    touch(used, name)
    for look in (ledger.verify, ledger.certificate, lambda: PrivacyLedger.open(used)):
        with pytest.raises(LedgerTampered, match=r"Row \d|ends at row"):
            look()


@pytest.mark.parametrize("name", EDITS)
def test_charging_a_touched_journal_does_not_heal_it(used, touch, name):
    touch(used, name)
    for _ in range(3):
        with contextlib.suppress(LedgerError):
            PrivacyLedger.open(used).charge(events.gaussian(30.0), "later")
    with pytest.raises(LedgerTampered):
        PrivacyLedger.open(used)


def test_an_older_copy_of_the_store_has_another_head(durable, path, tmp_path):
    """A chain cannot tell an old backup from the newest state; the head in a certificate can."""
    durable.charge(events.gaussian(10.0), "first")
    shutil.copy(path, tmp_path / "backup")
    durable.charge(events.gaussian(10.0), "second")
    published = durable.certificate()["journal_head"]
    shutil.copy(tmp_path / "backup", path)
    assert PrivacyLedger.open(path).verify() != published


@pytest.mark.parametrize("name", BREAKS)
@pytest.mark.parametrize("hashes", ["kept", "made anew"])
def test_rows_that_cannot_be_read_are_an_error_of_the_ledger(used, touch, name, hashes):
    touch(used, name)
    if hashes == "made anew":
        rechain(used)
    with pytest.raises(LedgerError):
        PrivacyLedger.open(used)


@pytest.mark.parametrize("name", ["a b", "a?b=c", "a#b", "a%20b", "ä", "file:a", "a?mode=memory"])
def test_any_name_of_a_file_is_that_file(tmp_path, budget, name):
    PrivacyLedger.create(tmp_path / name, budget).charge(events.gaussian(9.0), "x")
    assert len(PrivacyLedger.open(tmp_path / name).receipts()) == 1
    assert {file.name for file in tmp_path.iterdir()} == {name, f"{name}.vault"}
    assert (tmp_path / name).read_bytes().startswith(b"SQLite format 3")


@pytest.mark.parametrize("content", [b"", b"not a database, but long enough to look like a file" * 30])
def test_what_is_no_ledger_is_refused(tmp_path, content, budget):
    path = tmp_path / "odd.ledger"
    PrivacyLedger.create(tmp_path / "good.ledger", budget)
    (tmp_path / "good.ledger.vault").rename(tmp_path / "odd.ledger.vault")
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="ledger"):
        PrivacyLedger.open(path).charge(events.gaussian(50), "x")


def test_a_journal_without_header_is_refused(used, execute):
    execute(used, "DELETE FROM journal")
    for use in (PrivacyLedger.spent, PrivacyLedger.receipts, lambda ledger: ledger.budget):
        with pytest.raises(LedgerTampered, match="ends at row 0"):
            use(PrivacyLedger.open(used))
    execute(used, f"UPDATE head SET rows = 0, hash = '{'0' * 64}'")
    with pytest.raises(LedgerError, match="no header"):
        PrivacyLedger.open(used).spent()
    with pytest.raises(LedgerError, match="no header"):
        State().filter  # noqa: B018


@pytest.mark.parametrize(("old", "new"), [('"schema": 4,', '"schema": 7,'), ('"kind": "header"', '"kind": "novel"')])
def test_an_unknown_schema_is_refused(used, execute, old, new):
    execute(used, f"UPDATE journal SET body = replace(body, '{old}', '{new}') WHERE number = 0")
    rechain(used)
    with pytest.raises(LedgerError, match="Update skdpal"):
        PrivacyLedger.open(used).spent()


def test_a_folder_is_no_ledger(tmp_path, budget):
    with pytest.raises(FileNotFoundError):
        PrivacyLedger.open(tmp_path)
    with pytest.raises(FileExistsError):
        PrivacyLedger.create(tmp_path, budget)


def test_files_are_for_their_owner_only_also_while_in_use(path, budget):
    before = os.umask(0)
    try:
        ledger = PrivacyLedger.create(path, budget)

        def look(transaction):
            transaction.append({"kind": "void", "reason": "x", "date": ""})
            return list(path.parent.iterdir())

        files = ledger._book.journal.write(look)
    finally:
        os.umask(before)
    assert {path.name, f"{path.name}.vault", f"{path.name}-wal"} <= {file.name for file in files}
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}


def test_connecting_never_creates(tmp_path):
    with pytest.raises(FileNotFoundError):
        Database(tmp_path / "none", lock="head")
    create_file(tmp_path / "one")
    with pytest.raises(FileExistsError):
        create_file(tmp_path / "one")


def test_memory_belongs_to_one_process(ledger, monkeypatch):
    monkeypatch.setattr("skdpal.privacy.storage.database.os.getpid", lambda: -1)  # as in a fork, seen by coverage
    with pytest.raises(LedgerError, match="cannot follow a fork"):
        ledger.spent()
