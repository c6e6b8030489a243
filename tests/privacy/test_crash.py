"""What is left after an error between any two writes: the patients where they were, and no receipt."""

import pytest
import sqlalchemy as sa

from skdpal.privacy import LedgerError, PrivacyLedger, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.ledger.book import Book
from skdpal.privacy.storage.vault import Vault

FULL = (
    "CREATE TRIGGER full BEFORE INSERT ON journal WHEN NEW.body LIKE '%{kind}%' BEGIN SELECT RAISE(ABORT, 'full'); END"
)
WRITABLE = "DROP TRIGGER full"


def crash(monkeypatch, call):
    """Let a call die after the members have moved in the vault and before the journal is committed."""

    def die(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Book, "_append_charge", die)
        with pytest.raises(KeyboardInterrupt):
            call()


@pytest.fixture(params=["memory", "file"])
def each(request):
    return request.getfixturevalue({"memory": "ledger", "file": "durable"}[request.param])


def test_a_crash_between_vault_and_journal_leaves_patients_in_the_pool(each, monkeypatch, whole):
    branch = each.branch(POOL, "cohort/start", ["a"])
    crash(monkeypatch, lambda: branch.charge(whole, "fit"))
    assert each.accounts() == [POOL]
    assert each.accounts_of(["a"]) == [POOL]
    assert each.receipts() == []
    branch.charge(whole, "fit", record_ids=["a"])  # the same handle can be used again
    assert each.accounts_of(["a"]) == ["cohort/start"]


def test_who_was_left_by_a_crash_is_not_swept_into_a_later_account_of_that_name(each, monkeypatch):
    crash(monkeypatch, lambda: each.branch(POOL, "cohort/start", ["a"]).charge(events.gaussian(9.0), "fit"))
    each.split(POOL, "cohort/start", ["b"])
    assert each.accounts_of(["a", "b"]) == [POOL, "cohort/start"]


def test_a_crash_leaves_patients_in_the_leaf_they_came_from(each, monkeypatch):
    """Back in the pool they would owe nothing, and could be trained on again for the price of once."""
    each.split(POOL, "cohort/site", ["a"])
    crash(monkeypatch, lambda: each.branch("cohort/site", "cohort/late", ["a"]).charge(events.gaussian(9.0), "fit"))
    assert each.accounts_of(["a"]) == ["cohort/site"]
    with pytest.raises(ValueError, match="patients of account"):
        each.charge(events.gaussian(9.0), "fit", POOL, record_ids=["a"])


@pytest.mark.parametrize("kind", ["split", "charge"])
def test_a_disk_that_is_full_half_way_leaves_everything_as_it_was(durable, path, execute, whole, journal, kind):
    branch = durable.branch(POOL, "cohort/start", ["a"])
    before = journal(durable)
    execute(path, FULL.format(kind=kind))
    with pytest.raises(LedgerError, match="Nothing was released"):
        branch.charge(whole, "fit", record_ids=["a"])
    execute(path, WRITABLE)
    for ledger in (durable, PrivacyLedger.open(path)):
        assert journal(ledger) == before
        assert ledger.accounts_of(["a"]) == [POOL]
        ledger.verify()
    branch.charge(whole, "fit", record_ids=["a"])


def test_a_vault_that_cannot_be_written_makes_no_account(each, monkeypatch, journal):
    before = journal(each)

    def full(*args):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Vault, "move", full)
        with pytest.raises(OSError, match="full"):
            each.branch(POOL, "cohort/start", ["a"]).charge(events.gaussian(9.0), "fit")
        with pytest.raises(OSError, match="full"):
            each.split(POOL, "cohort/start", ["a"])
    assert journal(each) == before
    assert each.accounts() == [POOL]


@pytest.mark.parametrize("setting", ["PRAGMA query_only=ON", "PRAGMA max_page_count=1"])
def test_a_file_that_is_read_only_or_full_is_not_charged(durable, path, setting):
    durable.charge(events.gaussian(20.0), "before")

    @sa.event.listens_for(durable._book.journal._database._engine, "connect")
    def restrict(connection, record):
        connection.execute(setting)

    label = "x" * 20_000  # more than one page
    with pytest.raises(LedgerError, match=r"cannot be used.*check that"):
        durable.charge(events.gaussian(20.0), label)
    again = PrivacyLedger.open(path)
    assert [receipt.label for receipt in again.receipts()] == ["before"]
    again.verify()


def test_a_charge_that_is_refused_by_the_disk_stops_the_mechanism(durable, path, execute, untouchable):
    from skdpal.privacy.mechanisms import GaussianSum, release

    execute(path, FULL.format(kind="charge"))
    with pytest.raises(LedgerError):
        release(lambda: untouchable[0], GaussianSum(9.0), durable, "sum", record_ids=["a"])
