"""Full, read-only, foreign, old, damaged: a store that cannot be trusted pays for nothing.

Every test ends in the same way: `release` refuses before it has read a row.
"""

import contextlib
import os
import resource
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sa

from skdpal.privacy import LedgerError, LedgerTampered, PrivacyLedger, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.ledger.state import SCHEMA
from skdpal.privacy.mechanisms import GaussianSum, release
from skdpal.privacy.storage.database import create_file
from skdpal.privacy.storage.journal import Journal

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
NOBODY = 65534
TEACH = ["ann", "bob"]
LONG = "x" * 200_000  # a label that needs more room than there is


@pytest.fixture
def study(durable, path):
    """A ledger with receipts and a leaf; two patients are in it."""
    for number in range(10):
        durable.charge(events.gaussian(40.0 + number), f"release {number} {'of many ' * 200}")
    durable.branch(POOL, "cohort/start", TEACH).charge(events.gaussian(10.0), "start", record_ids=TEACH)
    return path


def seen(path):
    """Everything that a ledger in a file says."""
    ledger = PrivacyLedger.open(path)
    head = ledger.verify()
    spent = [ledger.spent(), *map(ledger.spent, ledger.accounts())]
    return head, spent, ledger.receipts(), ledger.accounts_of([*TEACH, "eve"])


@pytest.fixture
def refuses(untouchable):
    """Check that nothing can be released, by whoever holds the ledger already and by whoever opens it."""

    def check(path, *holders, words=None, errors=LedgerError):
        for find in [lambda: PrivacyLedger.open(path), *(lambda holder=holder: holder for holder in holders)]:
            for ids in (["eve"], TEACH):
                with pytest.raises(errors, match=words):
                    release(lambda: untouchable[0], GaussianSum(50.0), find(), "sum", record_ids=ids)

    return check


def in_a_fork(work):
    """The words of what `work` returns or raises in a child process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            try:
                words = str(work())
            except BaseException as error:  # noqa: BLE001
                words = f"{type(error).__name__}: {error}"
            os.write(writing, words[:4000].encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    words = os.read(reading, 5000).decode()
    os.close(reading)
    return words


# -- no room -------------------------------------------------------------------------------------


def without_room(work, size):
    """What happens where no file may grow beyond a size."""

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        return work()

    return in_a_fork(limited)


@pytest.mark.parametrize("size", [0, 1000, 8192, 40_000, 80_000])
def test_a_full_disk_refuses_and_leaves_everything_as_it_was(study, untouchable, size):
    before = seen(study)
    ledger = PrivacyLedger.open(study)
    sum_of = GaussianSum(50.0)
    many = [f"q{number}" for number in range(3000)]
    for work in (
        lambda: release(lambda: untouchable[0], sum_of, ledger, LONG, record_ids=["eve"]),
        lambda: release(lambda: untouchable[0], sum_of, PrivacyLedger.open(study), LONG, record_ids=["eve"]),
        # the vault is written first, and has room; the journal has none
        lambda: release(
            lambda: untouchable[0], sum_of, ledger.branch(POOL, "cohort/late", ["eve"]), LONG, record_ids=["eve"]
        ),
        lambda: ledger.reserve(sum_of.event, LONG),
        lambda: ledger.split(POOL, "cohort/late", many),
    ):
        words = without_room(work, size)
        assert words.startswith("LedgerError: The store"), words
        assert "Nothing was released" in words
        assert seen(study) == before
    ledger.charge(sum_of.event, LONG)  # there is room again
    assert len(ledger.receipts()) == len(before[2]) + 1


def test_a_ledger_that_cannot_be_made_is_not_there(tmp_path, budget):
    path = tmp_path / "new.ledger"
    words = without_room(lambda: PrivacyLedger.create(path, budget), 5000)
    assert words.startswith("LedgerError")
    with pytest.raises((LedgerError, FileNotFoundError)):
        PrivacyLedger.open(path)


# -- no permission -------------------------------------------------------------------------------


@pytest.fixture
def public(study):
    """The same files in a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp())
    for suffix in ("", ".vault"):
        shutil.copy(f"{study}{suffix}", folder)
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


def as_nobody(work):
    """What happens to somebody who owns none of the files."""

    def dropped():
        if os.getuid() == 0:  # whom no permission stops
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        return work()

    return in_a_fork(dropped)


@pytest.mark.parametrize("folder_mode", [0o777, 0o555], ids=["file", "folder"])
def test_what_is_read_only_may_be_read_and_not_charged(public, study, untouchable, folder_mode):
    before = seen(study)
    path = public / study.name
    for file in public.iterdir():
        file.chmod(0o444)
    public.chmod(folder_mode)
    words = as_nobody(lambda: seen(path) == before)
    assert words == "True" or words.startswith("LedgerError: The store"), words
    if folder_mode == 0o777:
        assert words == "True"
    for work in (
        lambda: PrivacyLedger.open(path).charge(events.gaussian(50.0), "x"),
        lambda: PrivacyLedger.open(path).split(POOL, "cohort/late", ["eve"]),
        lambda: release(lambda: untouchable[0], GaussianSum(50.0), PrivacyLedger.open(path), "sum", record_ids=["eve"]),
        lambda: PrivacyLedger.open(path).mark_void("x"),
    ):
        words = as_nobody(work)
        assert words.startswith("LedgerError: The store"), words
        assert "that you may write" in words
    public.chmod(0o777)
    assert seen(path) == before


def test_what_may_not_be_read_is_refused(public, study):
    public.chmod(0o755)
    for file in public.iterdir():
        file.chmod(0o000)
    words = as_nobody(lambda: PrivacyLedger.open(public / study.name).spent())
    assert words.startswith("LedgerError"), words


# -- something else ------------------------------------------------------------------------------


def test_a_folder_in_the_place_of_the_ledger_is_refused(study, durable, refuses):
    study.unlink()
    study.mkdir()
    refuses(study, durable, words="is a directory", errors=FileNotFoundError)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE moz_places (id INTEGER PRIMARY KEY, url TEXT)",
        "CREATE TABLE journal (entry TEXT)",
        "CREATE TABLE journal (number INTEGER, body TEXT, hash TEXT)",
    ],
)
def test_another_applications_file_is_refused(study, durable, execute, refuses, statement):
    study.unlink()
    execute(study, statement)
    refuses(study, durable, words="ledger")


@pytest.mark.parametrize("schema", [SCHEMA - 1, SCHEMA + 1, None, str(SCHEMA)])
def test_another_schema_is_refused(tmp_path, path, durable, refuses, schema):
    header = durable._book.journal.read(lambda transaction: transaction.rows()[0][0])
    create_file(tmp_path / "old.ledger")
    Journal(tmp_path / "old.ledger", header={**header, "schema": schema})
    shutil.copy(f"{path}.vault", tmp_path / "old.ledger.vault")
    refuses(tmp_path / "old.ledger", words="Update skdpal")


def test_a_store_without_a_name_is_refused(tmp_path, path, durable, refuses):
    header = durable._book.journal.read(lambda transaction: transaction.rows()[0][0])
    create_file(tmp_path / "old.ledger")
    Journal(tmp_path / "old.ledger", header={key: value for key, value in header.items() if key != "id"})
    shutil.copy(f"{path}.vault", tmp_path / "old.ledger.vault")
    refuses(tmp_path / "old.ledger")


def test_a_store_of_before_the_head_was_kept_is_refused(study, execute, refuses):
    execute(study, "DROP TABLE head")
    refuses(study, words="no such table")


# -- damage --------------------------------------------------------------------------------------


def outcome(path, good):
    """What a damaged store is: everything right, refused, or wrong."""
    try:
        return "right" if seen(path) == good else "WRONG"
    except LedgerError:
        return "refused"


def damaged(path, folder, data, change):
    """A copy of a study with another content of one of its files."""
    folder.mkdir(exist_ok=True)
    for suffix in ("", ".vault"):
        for extra in ("", "-wal", "-shm", "-journal"):
            (folder / f"{path.name}{suffix}{extra}").unlink(missing_ok=True)
        shutil.copy(f"{path}{suffix}", folder)
    (folder / change).write_bytes(data)
    return folder / path.name


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def sweep(path, folder, name, versions):
    """The outcomes of many kinds of damage, with examples."""
    good, found = seen(path), {}
    for label, data in versions:
        found.setdefault(outcome(damaged(path, folder, data, name), good), []).append(label)
    assert "WRONG" not in found, found["WRONG"]
    return found


def test_a_flipped_byte_of_the_ledger_is_right_or_refused(study, tmp_path):
    data = study.read_bytes()
    assert len(data) > 4 * 4096
    places = [*range(0, 100, 7), *range(4096, len(data), 127)]
    found = sweep(study, tmp_path / "damaged", study.name, ((at, flipped(data, at)) for at in places))
    assert len(found["refused"]) > 50


@pytest.mark.parametrize("suffix", ["", ".vault"])
def test_a_flipped_byte_in_the_names_of_tables_is_refused(study, tmp_path, suffix):
    name = f"{study.name}{suffix}"
    data = study.with_name(name).read_bytes()
    sweep(study, tmp_path / "damaged", name, ((at, flipped(data, at)) for at in range(3500, 4096, 7)))


def test_a_zeroed_block_of_the_ledger_is_right_or_refused(study, tmp_path):
    data = study.read_bytes()
    versions = ((at, data[:at] + bytes(512) + data[at + 512 :]) for at in range(0, len(data), 512))
    sweep(study, tmp_path / "damaged", study.name, versions)


def test_a_truncated_ledger_is_refused(study, tmp_path):
    data = study.read_bytes()
    found = sweep(study, tmp_path / "damaged", study.name, ((at, data[:at]) for at in range(0, len(data), 1024)))
    assert set(found) == {"refused"}


@pytest.mark.parametrize("damage", ["flipped", "zeroed", "truncated"])
def test_a_damaged_vault_is_right_or_refused(study, tmp_path, damage):
    name = f"{study.name}.vault"
    data = study.with_name(name).read_bytes()
    versions = {
        "flipped": ((at, flipped(data, at)) for at in range(4096, len(data), 97)),
        "zeroed": ((at, data[:at] + bytes(512) + data[at + 512 :]) for at in range(0, len(data), 512)),
        "truncated": ((at, data[:at]) for at in range(0, len(data), 1024)),
    }
    sweep(study, tmp_path / "damaged", name, versions[damage])


# -- files of different days or studies ----------------------------------------------------------


def sum_of(payer, rows, patient="eve"):
    return release(lambda: rows[0], GaussianSum(50.0), payer, "sum", record_ids=[patient])


def backup(path, folder, suffix):
    folder.mkdir(exist_ok=True)
    return shutil.copy(f"{path}{suffix}", folder)


def test_an_older_vault_is_refused(study, durable, tmp_path, untouchable):
    saved = backup(study, tmp_path / "backup", ".vault")
    durable.split(POOL, "cohort/late", ["eve"])
    shutil.copy(saved, f"{study}.vault")
    for attempt in (
        lambda: PrivacyLedger.open(study),
        lambda: durable.accounts_of(["eve"]),
        lambda: durable.split(POOL, "cohort/later", ["eve"]),
        lambda: sum_of(durable.within(POOL), untouchable),
        lambda: sum_of(durable.within("cohort/late"), untouchable),
    ):
        with pytest.raises(LedgerError, match="older than its ledger"):
            attempt()


def test_a_vault_of_before_a_charge_is_no_older_one(study, durable, tmp_path):
    """Only splits are written to it."""
    saved = backup(study, tmp_path / "backup", ".vault")
    durable.charge(events.gaussian(50.0), "x")
    shutil.copy(saved, f"{study}.vault")
    assert PrivacyLedger.open(study).accounts_of(TEACH) == ["cohort/start"] * 2


@pytest.fixture
def foreign(study, tmp_path, budget):
    """The vault of a study that has made as many steps."""
    other = PrivacyLedger.create(tmp_path / "other.ledger", budget)
    for number in range(10):
        other.charge(events.gaussian(90.0), f"release {number}")
    other.branch(POOL, "cohort/start", ["someone"]).charge(events.gaussian(10.0), "start", record_ids=["someone"])
    return tmp_path / "other.ledger.vault"


def test_the_vault_of_another_study_is_refused(study, durable, foreign, untouchable):
    shutil.copy(foreign, f"{study}.vault")
    for attempt in (
        lambda: PrivacyLedger.open(study),
        lambda: durable.accounts_of(TEACH),
        lambda: durable.split(POOL, "cohort/later", ["eve"]),
        lambda: sum_of(durable.within(POOL), untouchable, TEACH[0]),
    ):
        with pytest.raises(LedgerError, match="vault"):
            attempt()


def test_an_older_ledger_is_refused_by_its_vault(study, durable, tmp_path, untouchable):
    saved = backup(study, tmp_path / "backup", "")
    durable.charge(events.gaussian(20.0), "query")
    durable.split(POOL, "cohort/late", ["eve"])
    shutil.copy(saved, study)
    with pytest.raises(LedgerError, match="older than its vault"):
        sum_of(PrivacyLedger.open(study).within(POOL), untouchable)


def test_an_older_ledger_is_noticed_by_who_holds_the_newer_head(study, durable, tmp_path, untouchable):
    saved = backup(study, tmp_path / "backup", "")
    durable.charge(events.gaussian(20.0), "query")
    head = durable.certificate()["journal_head"]
    shutil.copy(saved, study)
    with pytest.raises(LedgerTampered, match="older or another"):
        PrivacyLedger.open(study).verify(head)
    with pytest.raises(LedgerTampered, match="ends at row"):  # a process that has seen more
        release(lambda: untouchable[0], GaussianSum(50.0), durable, "sum", record_ids=["eve"])


@pytest.fixture
def killed(study, tmp_path):
    """A store whose writer was killed after a commit, and the head of that moment."""
    saved = tmp_path / "head"

    def pay_and_die():
        ledger = PrivacyLedger.open(study)

        def die(connection, record):
            os.kill(os.getpid(), signal.SIGKILL)

        def pay(transaction):
            sa.event.listen(ledger._book.journal._database._engine, "close", die)
            row = {**transaction.rows()[0][1], "label": "last"}
            del row["number"]
            transaction.append(row)
            saved.write_text(transaction.rows()[1])

        ledger._book.journal.write(pay)

    assert in_a_fork(pay_and_die) == ""
    return study, saved.read_text()


def test_what_was_committed_before_a_kill_is_there(killed):
    path, head = killed
    assert PrivacyLedger.open(path).verify() == head
    assert PrivacyLedger.open(path).receipts()[-1].label == "last"


def test_a_lost_write_ahead_log_is_noticed_by_who_holds_the_head(killed):
    """SQLite cannot tell; without the head, the ledger is an older one."""
    path, head = killed
    path.with_name(f"{path.name}-wal").unlink(missing_ok=True)
    with contextlib.suppress(LedgerTampered):
        assert PrivacyLedger.open(path).verify(head) == head  # then nothing was lost
        return
    assert PrivacyLedger.open(path).receipts()[-1].label != "last"
