"""A ledger in PostgreSQL: many processes, a power cut and a determined administrator."""

import contextlib
import copy
import hashlib
import json
import multiprocessing
import os
import pickle
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import joblib
import pytest

from skdpal.privacy import BudgetExhausted, LedgerError, LedgerTampered, PrivacyBudget, PrivacyLedger, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.ledger.state import State
from skdpal.privacy.mechanisms import GaussianSum, Kept, RandomizedResponse, release
from skdpal.privacy.storage.database import address_of, text_of
from tests import postgresql

# scikit-learn is imported in the tests that use it: the processes below need not wait for it
SMALL = events.gaussian(10.0)  # ε = 2 pays for 25 of them
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["pytest", "joblib", "psycopg", "skdpal.privacy.mechanisms"])
SCHEMA = "?options=-csearch_path%3D{}"
CONFLICTS = """
    CREATE SEQUENCE tries;
    CREATE FUNCTION conflict() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN IF nextval('tries') <= {times} THEN RAISE {name}; END IF; RETURN NULL; END $$;
    CREATE CONSTRAINT TRIGGER conflict AFTER INSERT ON journal {when}
    FOR EACH ROW EXECUTE FUNCTION conflict();
"""
EDITS = {
    "edited": "UPDATE journal SET body = replace(body, '\"cohort\"', '\"cohort/pool\"') WHERE number = 2",
    "deleted": "DELETE FROM journal WHERE number = 2",
    "swapped": """
        CREATE TABLE copied AS SELECT * FROM journal;
        DELETE FROM journal;
        INSERT INTO journal SELECT CASE number WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE number END, body, hash FROM copied;
    """,
    "truncated": "DELETE FROM journal WHERE number = 3",
    "appended": "INSERT INTO journal SELECT 4, body, hash FROM journal WHERE number = 2",
    "ceiling raised": "UPDATE journal SET body = replace(body, '2.0', '9.0') WHERE number = 0",
    "head moved": "UPDATE head SET rows = 3",
    "head deleted": "DELETE FROM head",
}


@pytest.fixture(scope="session")
def server():
    """A server for all tests of this process."""
    with postgresql.server() as running:
        yield running


@pytest.fixture
def own(server):
    """A server that may be stopped; it runs again afterwards."""
    if isinstance(server, postgresql.OwnServer):
        yield server
    else:
        with postgresql.server(own=True) as running:
            yield running


@pytest.fixture
def url(server):
    """An empty database."""
    with server.database() as address:
        yield address


@pytest.fixture
def shared(url, budget):
    """A fresh ledger in a database, ε = 2."""
    return PrivacyLedger.create(url, budget)


@pytest.fixture
def hand(server, url):
    """Another hand, which works on the database of `url`."""
    return lambda statement: server.execute(statement, url)


@pytest.fixture(scope="session")
def at_once():
    """Call a function in eight processes at once; it gets the number of the process."""

    def run(work, *arguments):
        barrier.reset()  # a test that failed leaves it broken
        calls = [pool.submit(work, number, *arguments) for number in range(8)]
        return [call.result(timeout=120) for call in calls]

    barrier = PROCESSES.Barrier(8, timeout=60)
    with ProcessPoolExecutor(8, PROCESSES, initializer=remember, initargs=(barrier,)) as pool:
        yield run


def remember(barrier):
    """In a child: how to wait for the others."""
    global wait
    wait = barrier.wait


def labels_of(ledger):
    return [receipt.label for receipt in ledger.receipts()]


# -- one hand ------------------------------------------------------------------------------------


def test_what_was_charged_is_there_when_it_is_opened_again(shared, url, budget):
    receipts = [shared.charge(SMALL, "first"), shared.charge(events.laplace(9.0), "zweite – ε")]
    again = PrivacyLedger.open(url)
    assert again.receipts() == shared.receipts() == receipts
    assert (again.budget, again.filter) == (budget, "gdp")
    assert again.spent() == shared.spent() > 0
    assert again.verify(head=shared.verify()) == shared.verify()
    certificate = json.loads(json.dumps(again.certificate()))
    assert (certificate["status"], certificate["journal_head"]) == ("valid", shared.verify())
    assert url.rpartition("/")[2] in repr(again)


def test_a_refusal_writes_nothing(shared, url, whole, journal):
    shared.charge(SMALL, "first")
    before = journal(shared)
    with pytest.raises(BudgetExhausted, match=r"^everything costs .*spent"):
        PrivacyLedger.open(url).charge(whole, "everything")
    assert journal(shared) == before


@pytest.mark.parametrize("filter", ["gdp", "renyi", "planned"])
def test_every_kind_of_ledger_can_be_there(url, budget, filter):
    schedule = [SMALL] if filter == "planned" else None
    PrivacyLedger.create(url, budget, filter, schedule=schedule).charge(SMALL, "first")
    assert (PrivacyLedger.open(url).filter, labels_of(PrivacyLedger.open(url))) == (filter, ["first"])


def test_accounts_members_and_coins_are_there_when_it_is_opened_again(shared, url):
    shared.split(POOL, "cohort/a", ["ann", "bob", "bob"])
    shared.split("cohort/a", "cohort/b", ["bob"], epsilon=1.0)
    branch = shared.branch(POOL, "cohort/c", ["cem"])
    branch.charge(SMALL, "with a split", record_ids=["cem"])
    handle = shared.reserve(SMALL, "reserved")
    shared.cap("cohort/a", "rna", 0.5)
    again = PrivacyLedger.open(url)
    patients = ["ann", "bob", "cem", "eve"]
    assert again.accounts_of(patients) == shared.accounts_of(patients) == ["cohort/a", "cohort/b", "cohort/c", POOL]
    assert again.accounts() == shared.accounts()
    assert again.coins("round 1", ["ann"]) == shared.coins("round 1", ["ann"]) != shared.coins("round 2", ["ann"])
    pickle.loads(pickle.dumps(handle)).charge(SMALL, "drawn")
    with pytest.raises(ValueError, match="patients of account"):
        again.charge(SMALL, "x", "cohort/a", record_ids=["bob"])
    again.verify()


def test_a_thousand_members_are_moved_and_found(shared):
    patients = [f"p{number}" for number in range(1000)]
    shared.split(POOL, "cohort/a", patients[::2])
    assert shared.accounts_of(patients) == ["cohort/a", POOL] * 500


def test_what_is_drawn_for_a_patient_is_drawn_once(shared, url):
    ids, labels = [str(at) for at in range(200)], ["red", "green"] * 100
    mechanism = RandomizedResponse(0.2, ("red", "green"))
    first = Kept(mechanism, shared, "histology").inside(labels, ids).tolist()
    again = PrivacyLedger.open(url)
    assert Kept(mechanism, again, "histology").inside(labels[::-1], ids).tolist() == first
    left = release(lambda: labels, Kept(mechanism, again, "histology"), again, "labels", record_ids=ids)
    assert left.tolist() == first
    assert len(shared.receipts()) == 1


def of_own_draw(number, url):
    ids = [str(at) for at in range(200)]
    kept = Kept(RandomizedResponse(0.5, (0, 1)), PrivacyLedger.open(url), "histology")
    wait()
    return kept.inside([number % 2] * 200, ids).tolist()


def test_of_processes_that_draw_at_once_one_draw_counts(shared, url, at_once):
    found = at_once(of_own_draw, url)
    assert all(one == found[0] for one in found)


def test_nothing_of_the_members_is_in_the_journal(shared, hand):
    shared.split(POOL, "cohort/a", ["ann-marie"])
    shared.charge(SMALL, "fit", "cohort/a", record_ids=["ann-marie"])
    tables = {name for (name,) in hand("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
    assert tables == {"journal", "head", "vault_secret", "vault_members", "vault_answers"}
    text = {name: str(hand(f"SELECT t::text FROM {name} t")) for name in tables}
    digest, secret = shared._book.vault._digest("ann-marie").hex(), shared._book.vault._secret
    assert digest in text["vault_members"]
    assert secret.hex() in text["vault_secret"]
    for trace in ("ann", digest, hashlib.sha256(b"ann-marie").hexdigest(), secret.hex()):
        assert trace not in text["journal"] + text["head"]
    assert "ann" not in "".join(text.values())


# -- creating and opening ------------------------------------------------------------------------


def test_an_existing_ledger_is_never_overwritten(shared, url, budget, hand):
    shared.charge(SMALL, "first")
    with pytest.raises(FileExistsError, match=r"PrivacyLedger\.open"):
        PrivacyLedger.create(url, PrivacyBudget(100.0))
    assert (PrivacyLedger.open(url).budget, labels_of(shared)) == (budget, ["first"])
    assert hand("SELECT count(*) FROM vault_secret") == [(1,)]


@pytest.mark.parametrize("lost", ["journal", "head", "vault_secret"])
def test_what_is_left_of_a_ledger_is_never_a_fresh_budget(shared, url, budget, hand, lost):
    hand(f"DROP TABLE {lost}")
    with pytest.raises(FileExistsError, match=r"PrivacyLedger\.open"):
        PrivacyLedger.create(url, budget)
    with pytest.raises(LedgerError):
        PrivacyLedger.open(url).charge(SMALL, "x")


def test_a_vault_without_its_ledger_is_noticed(shared, url, budget, hand):
    hand("DROP TABLE journal, head")
    with pytest.raises(FileExistsError, match=r"PrivacyLedger\.open"):
        PrivacyLedger.create(url, budget)
    assert hand("SELECT count(*) FROM vault_secret") == [(1,)]
    with pytest.raises(LedgerError):
        PrivacyLedger.open(url).budget  # noqa: B018


def test_an_empty_database_is_no_ledger(url, hand):
    with pytest.raises(LedgerError, match=r"cannot be used .*does not exist.*check that it is a skdpal ledger"):
        PrivacyLedger.open(url)
    assert hand("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_database_that_does_not_exist_is_an_error(url, budget):
    for use in (PrivacyLedger.open, lambda each: PrivacyLedger.create(each, budget)):
        with pytest.raises(LedgerError, match="does not exist"):
            use(f"{url}_none")


def create(number, urls):
    won = []
    for each in urls:
        wait()
        try:
            PrivacyLedger.create(each, PrivacyBudget(1.0 + number, 1e-5))
            won.append(True)
        except FileExistsError:
            won.append(False)
    return won


def test_of_those_who_create_at_once_exactly_one_wins(server, at_once):
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(server.database()) for _ in range(4)]
        rounds = list(zip(*at_once(create, urls), strict=True))
        assert [sum(winners) for winners in rounds] == [1] * 4
        for each in urls:
            ledger = PrivacyLedger.open(each)
            ledger.charge(events.gaussian(50.0), "x")
            ledger.verify()


def test_several_ledgers_in_one_database(url, hand, budget, server):
    hand("CREATE SCHEMA study1; CREATE SCHEMA study2;")
    first, second = (PrivacyLedger.create(url + SCHEMA.format(name), budget) for name in ("study1", "study2"))
    first.charge(SMALL, "only here")
    first.split(POOL, "cohort/a", ["p"])
    assert (labels_of(first), labels_of(second)) == (["only here"], [])
    assert second.accounts_of(["p"]) == [POOL]
    assert first.coins("r", ["p"]) != second.coins("r", ["p"])
    assert labels_of(pickle.loads(pickle.dumps(first))) == ["only here"]
    with pytest.raises(FileExistsError):
        PrivacyLedger.create(url + SCHEMA.format("study1"), budget)
    with pytest.raises(LedgerError, match="does not exist"):
        PrivacyLedger.open(url)  # the schema "public" has none
    with pytest.raises(LedgerError, match="no schema"):
        PrivacyLedger.create(url + SCHEMA.format("study3"), budget)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_any_encoding_of_the_database_will_do(server, budget, encoding):
    """A cluster that was made under LANG=C is SQL_ASCII."""
    with server.database(f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0") as url:
        PrivacyLedger.create(url, budget).charge(SMALL, "ä → ε")
        assert labels_of(PrivacyLedger.open(url)) == ["ä → ε"]
        PrivacyLedger.open(url).verify()


def test_only_a_url_is_a_url(tmp_path, budget, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PrivacyLedger.create("postgresql-study.ledger", budget)
    assert (tmp_path / "postgresql-study.ledger").is_file()
    assert address_of("postgresql://host/study") == address_of("postgresql+psycopg://host/study")


def test_without_the_driver_the_error_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ModuleNotFoundError, match=r"skdpal\[postgres\]"):
        PrivacyLedger.open("postgresql://localhost/study")


# -- another hand --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EDITS)
def test_a_touched_journal_is_found_and_not_healed(shared, url, hand, name):
    for number in range(3):
        shared.charge(events.gaussian(10.0 + number), f"release {number}")
    shared.spent()
    hand(EDITS[name])
    rows = hand("SELECT count(*) FROM journal")
    for use in (
        PrivacyLedger.verify,
        PrivacyLedger.certificate,
        PrivacyLedger.spent,
        lambda ledger: ledger.charge(events.gaussian(50.0), "later"),
        PrivacyLedger.verify,
    ):
        with pytest.raises(LedgerTampered, match=r"Row \d|ends at row"):
            use(PrivacyLedger.open(url))
    assert hand("SELECT count(*) FROM journal") == rows


def test_who_has_seen_more_notices_an_older_backup(shared, url, hand):
    shared.charge(SMALL, "first")
    hand("CREATE TABLE old_journal AS SELECT * FROM journal; CREATE TABLE old_head AS SELECT * FROM head")
    shared.charge(SMALL, "second")
    shared.spent()  # it remembers what it has read
    head = shared.verify()
    hand("""
        DELETE FROM journal; INSERT INTO journal SELECT * FROM old_journal;
        DELETE FROM head; INSERT INTO head SELECT * FROM old_head
    """)
    with pytest.raises(LedgerTampered, match="not where it was left"):
        shared.charge(SMALL, "third")
    with pytest.raises(LedgerTampered, match="never had the head"):
        PrivacyLedger.open(url).verify(head)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE vault_secret SET last_split = 0; DELETE FROM vault_members",
        "DELETE FROM vault_members",
        "UPDATE vault_members SET account = 'cohort/b'",
        "DROP TABLE vault_members",
    ],
)
def test_a_touched_vault_is_found(shared, url, hand, journal, statement):
    shared.split(POOL, "cohort/a", ["p"])
    shared.split(POOL, "cohort/b", [])
    before = journal(shared)
    hand(statement)
    for use in (
        lambda: shared.accounts_of(["p"]),
        lambda: shared.charge(SMALL, "x", POOL, record_ids=["p"]),
        lambda: shared.split(POOL, "cohort/c", ["p"]),
        lambda: PrivacyLedger.open(url),
    ):
        with pytest.raises(LedgerError, match="vault"):
            use()
    assert journal(shared) == before


def test_an_older_backup_of_the_vault_is_found(shared, url, hand):
    shared.split(POOL, "cohort/a", ["p"])
    hand("CREATE TABLE old_secret AS SELECT * FROM vault_secret")
    hand("CREATE TABLE old_members AS SELECT * FROM vault_members")
    shared.split(POOL, "cohort/b", ["q"])
    hand("DELETE FROM vault_secret; INSERT INTO vault_secret SELECT * FROM old_secret")
    hand("DELETE FROM vault_members; INSERT INTO vault_members SELECT * FROM old_members")
    for use in (lambda: shared.accounts_of(["q"]), lambda: PrivacyLedger.open(url)):
        with pytest.raises(LedgerError, match="older than its ledger"):
            use()


def test_who_may_only_read_can_read_and_not_charge(own, budget):
    with own.database() as url:
        PrivacyLedger.create(url, budget).charge(SMALL, "first")
        own.execute("CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader", url)
        try:
            ledger = PrivacyLedger.open(url.replace("skdpal@", "reader@"))
            assert labels_of(ledger) == ["first"]
            ledger.verify()
            with pytest.raises(LedgerError, match=r"permission denied.*Nothing was released"):
                ledger.charge(SMALL, "second")
            assert labels_of(ledger) == ["first"]
        finally:
            own.execute("DROP OWNED BY reader; DROP ROLE reader", url)


# -- copies share --------------------------------------------------------------------------------


def test_copies_are_the_same_ledger(shared):
    from sklearn.base import clone

    for share in (copy.copy, copy.deepcopy, clone):
        assert share(shared) is shared


def test_a_pickle_reopens_it(shared, tmp_path, whole):
    joblib.dump({"ledger": shared, "handle": shared.within(POOL)}, tmp_path / "model")
    again = joblib.load(tmp_path / "model")
    again["handle"].charge(SMALL, "there")
    assert labels_of(shared) == labels_of(pickle.loads(pickle.dumps(shared))) == ["there"]
    with pytest.raises(BudgetExhausted):
        shared.charge(whole, "here")


def test_a_password_does_not_travel(own, budget, monkeypatch):
    own.execute(f"CREATE ROLE {postgresql.GUARDED} LOGIN SUPERUSER PASSWORD 'open-sesame'")
    try:
        with own.database() as plain:
            url = plain.replace("skdpal@", f"{postgresql.GUARDED}:open-sesame@")
            ledger = PrivacyLedger.create(url, budget)
            ledger.charge(SMALL, "first")
            text = pickle.dumps(ledger)
            with pytest.raises(FileExistsError) as exists:
                PrivacyLedger.create(url, budget)
            with pytest.raises(LedgerError, match="password"):
                pickle.loads(text)
            with monkeypatch.context() as patch:
                patch.setenv("PGPASSWORD", "open-sesame")
                assert labels_of(pickle.loads(text)) == ["first"]
            own.execute("DROP TABLE vault_members", plain)
            with pytest.raises(LedgerError, match="vault_members") as broken:
                ledger.accounts_of(["p"])
            for each in (text, repr(ledger), str(exists.value), str(broken.value), json.dumps(ledger.certificate())):
                assert "sesame" not in str(each)
                assert "***" not in str(each)  # would be sent as the password
    finally:
        own.execute(f"DROP ROLE {postgresql.GUARDED}")


def test_a_password_in_the_query_does_not_travel():
    address = address_of("postgresql://me@host/study?password=sesame&sslpassword=sesame&options=-csearch_path%3Da")
    assert text_of(address) == "postgresql+psycopg://me@host/study?options=-csearch_path%3Da"


def test_a_search_in_two_processes_pays_for_every_fit(url):
    import numpy as np
    from sklearn.model_selection import GridSearchCV, KFold

    from skdpal import BudgetGuard, DPPrototypeClassifier
    from skdpal.model_selection import public_scorer

    ledger = PrivacyLedger.create(url, PrivacyBudget(4.0, 1e-5))
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 3)), np.array(["a", "b"] * 15)
    grid = {"noise_multiplier": [8.0, 16.0]}
    arguments = {"cv": KFold(3), "scoring": public_scorer("accuracy"), "error_score": "raise", "n_jobs": 2}
    model = DPPrototypeClassifier(4.0, classes=["a", "b"])
    GridSearchCV(model.set_params(ledger=ledger), grid, **arguments).fit(X, y)
    assert len(ledger.receipts()) == 7
    BudgetGuard(GridSearchCV(model.set_params(ledger=None), grid, **arguments), ledger=ledger).fit(X, y)
    assert len(ledger.receipts()) == 8
    rows = ledger._book.journal.read(lambda transaction: transaction.rows()[0])
    assert sum(row["kind"] == "draw" for row in rows) == 7
    ledger.verify()


# -- many at once --------------------------------------------------------------------------------


def take_the_last(number, urls, whole):
    won = []
    for each in urls:
        ledger = PrivacyLedger.open(each)
        wait()
        try:
            ledger.charge(whole, f"by {number}")
            won.append(True)
        except BudgetExhausted:
            won.append(False)
    return won


def test_the_last_of_the_budget_is_spent_once(server, budget, whole, at_once):
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(server.database()) for _ in range(6)]
        ledgers = [PrivacyLedger.create(each, budget) for each in urls]
        answers = at_once(take_the_last, urls, whole)
        for ledger, won in zip(ledgers, zip(*answers, strict=True), strict=True):
            assert sum(won) == 1
            assert labels_of(ledger) == [f"by {won.index(True)}"]
            assert ledger.spent() <= 2.0
            ledger.verify()


def take_all(number, url):
    ledger, paid, won = PrivacyLedger.open(url), [], False
    wait()
    for _ in range(5):
        with contextlib.suppress(BudgetExhausted):
            paid.append(ledger.charge(SMALL, f"by {number}"))
    with contextlib.suppress(ValueError):  # they are in another account already
        ledger.split(POOL, f"cohort/racer-{number}", ["the only patient"])
        won = True
    return paid, won


def test_racing_processes_lose_no_receipt_and_share_no_patient(shared, url, at_once):
    paid, won = zip(*at_once(take_all, url), strict=True)
    receipts = shared.receipts()
    assert sorted((each for some in paid for each in some), key=lambda each: each.number) == receipts
    assert len(receipts) == 25  # of 40 tries
    assert sum(won) == len(shared.accounts()) - 1 == 1
    assert shared.spent() <= 2.0
    shared.verify()


def test_threads_share(shared):
    paid = []

    def spend():
        for _ in range(5):
            with contextlib.suppress(BudgetExhausted):
                paid.append(shared.charge(SMALL, "thread"))

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(paid, key=lambda receipt: receipt.number) == shared.receipts()
    assert len(paid) == 25
    shared.verify()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # forks are frowned upon since Python 3.12
def test_a_fork_in_the_middle_of_a_transaction_shares_the_ledger(shared, url):
    """The child has the parent's open connection, and must neither use nor close it."""
    shared.charge(SMALL, "before")
    children = []

    def fork(transaction):
        state = shared._book._replay(transaction)
        assert len(state.receipts) == 1
        child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                shared.charge(SMALL, "child")  # waits for the parent
                status = 0
            os._exit(status)
        children.append(child)
        time.sleep(0.2)
        return shared._book._append_charge(transaction, SMALL, "parent", "cohort", 0.3)

    shared._book.journal.write(fork)
    for number in range(3):
        shared.charge(SMALL, f"parent {number}")
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    shared.charge(SMALL, "after")
    assert sorted(labels_of(shared)) == sorted(
        ["before", "child", "parent", *(f"parent {n}" for n in range(3)), "after"]
    )
    assert labels_of(PrivacyLedger.open(url)) == labels_of(shared)
    shared.verify()


def test_a_child_makes_connections_of_its_own(shared, monkeypatch):
    database = shared._book.journal._database
    engine = database._engine
    monkeypatch.setattr("skdpal.privacy.storage.database.os.getpid", lambda: -1)  # as in a fork, seen by coverage
    shared.charge(SMALL, "child")
    assert database._engine is not engine


def test_a_ledger_that_waits_holds_no_connection(shared, url, hand):
    shared.charge(SMALL, "first")
    query = (
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{url.rpartition('/')[2]}' AND pid <> pg_backend_pid()"
    )
    deadline = time.monotonic() + 10
    while hand(query) != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_ledger_of_a_simulation_is_charged_in_its_block_only(url, server, budget, shared):
    from skdpal.privacy.randomness import simulation

    with server.database() as other:
        with simulation(seed=7):
            simulated = PrivacyLedger.create(other, budget)
            simulated.charge(SMALL, "inside")
            PrivacyLedger.open(other).charge(SMALL, "inside as well")
            assert simulated.certificate()["status"] == "simulation: not private"
            with pytest.raises(LedgerError, match="real ledger"):
                shared.charge(SMALL, "x")
        for ledger in (simulated, PrivacyLedger.open(other)):
            with pytest.raises(LedgerError, match="inside that block"):
                ledger.charge(SMALL, "outside")
        with simulation(seed=7), pytest.raises(LedgerError, match="inside that block"):
            simulated.charge(SMALL, "another block")
        assert labels_of(simulated) == ["inside", "inside as well"]
    assert shared.receipts() == []


# -- conflicts, cuts and kills -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["serialization_failure", "deadlock_detected"])
@pytest.mark.parametrize("when", ["", "DEFERRABLE INITIALLY DEFERRED"])
def test_what_loses_a_conflict_is_repeated_and_paid_once(shared, hand, name, when):
    """Also if the server says so at the commit only, when the vault is written already."""
    hand(CONFLICTS.format(times=3, name=name, when=when))
    receipt = shared.branch(POOL, "cohort/a", ["p"]).charge(SMALL, "fit", record_ids=["p"])
    assert hand("SELECT last_value FROM tries")[0][0] > 3
    assert shared.receipts() == [receipt]
    assert shared.accounts_of(["p"]) == ["cohort/a"]
    assert [row[0] for row in hand("SELECT number FROM journal ORDER BY number")] == [0, 1, 2]
    shared.verify()


def test_what_loses_every_conflict_is_given_up_and_not_written(shared, hand, monkeypatch, untouchable, journal):
    before, waits = journal(shared), []
    monkeypatch.setattr("skdpal.privacy.storage.database.time.sleep", waits.append)
    hand(CONFLICTS.format(times=10**6, name="serialization_failure", when="DEFERRABLE INITIALLY DEFERRED"))
    with pytest.raises(LedgerError, match="Nothing was released"):
        release(lambda: untouchable[0], GaussianSum(9.0), shared, "sum", record_ids=["a"])
    assert hand("SELECT last_value FROM tries") == [(12,)]
    assert (len(waits), sum(waits) < 10) == (11, True)
    assert journal(shared) == before
    shared.verify()


def test_any_other_error_is_not_repeated(shared, hand, journal):
    before = journal(shared)
    hand(CONFLICTS.format(times=1, name="division_by_zero", when=""))
    with pytest.raises(LedgerError, match="Nothing was released"):
        shared.charge(SMALL, "x")
    assert journal(shared) == before
    shared.charge(SMALL, "x")
    assert labels_of(shared) == ["x"]


def test_connections_that_are_cut_between_charges_are_made_anew(shared, url, hand):
    shared.charge(SMALL, "before")
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}' AND pid <> pg_backend_pid()"
    hand(cut.format(url.rpartition("/")[2]))
    shared.charge(SMALL, "after")
    assert labels_of(shared) == ["before", "after"]


def test_a_connection_that_is_cut_in_the_middle_writes_nothing(shared, hand):
    def cut(transaction):
        transaction.append({"kind": "void", "reason": "x", "date": ""})
        (pid,) = transaction._connection.exec_driver_sql("SELECT pg_backend_pid()").one()
        hand(f"SELECT pg_terminate_backend({pid})")
        return transaction.rows()

    with pytest.raises(LedgerError, match="Nothing was released"):
        shared._book.journal.write(cut)
    shared.charge(SMALL, "after")
    assert shared._book.read().void == State().void
    assert labels_of(shared) == ["after"]
    shared.verify()


@pytest.mark.parametrize("setting", ["on", "off"])
def test_a_power_cut_loses_no_receipt(own, budget, untouchable, setting):
    """Also if the administrator has traded durability for speed."""
    with own.database() as url:
        own.execute(f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = {setting}", url)
        ledger = PrivacyLedger.create(url, budget)
        ledger.split(POOL, "cohort/a", ["p"])
        receipts = [ledger.charge(SMALL, f"release {number}") for number in range(5)]
        own.stop("immediate")
        try:
            with pytest.raises(LedgerError, match="Nothing was released; check that .* can be reached"):
                ledger.charge(SMALL, "x")
            with pytest.raises(LedgerError, match="Nothing was released"):
                release(lambda: untouchable[0], GaussianSum(9.0), ledger, "sum", record_ids=["a"])
            with pytest.raises(LedgerError, match="Nothing was released"):
                PrivacyLedger.open(url)
        finally:
            own.start()
        again = PrivacyLedger.open(url)
        assert again.receipts() == ledger.receipts() == receipts
        assert again.accounts_of(["p"]) == ["cohort/a"]
        assert again.verify() == ledger.verify()
        ledger.charge(SMALL, "after")
        assert labels_of(again)[-1] == "after"


def charge_for_ever(url, announce):
    ledger = PrivacyLedger.open(url)
    while True:
        ledger.charge(events.gaussian(1e4), "loop")
        announce.send(len(ledger.receipts()))


def test_kill_loses_no_receipt(url):
    PrivacyLedger.create(url, PrivacyBudget(5.0))
    announced = 0
    for number in range(5):
        hear, announce = PROCESSES.Pipe(duplex=False)
        child = PROCESSES.Process(target=charge_for_ever, args=(url, announce))
        child.start()
        announce.close()
        announced = hear.recv()
        time.sleep(0.02 * number)
        child.kill()
        child.join()
        with contextlib.suppress(EOFError):
            while True:
                announced = hear.recv()
        hear.close()
        ledger = PrivacyLedger.open(url)
        ledger.verify()
        assert announced <= len(ledger.receipts()) <= announced + 1  # what was said to be paid is on disk
    ledger.charge(SMALL, "nobody holds a lock")
