"""Transactions on a file, a PostgreSQL server or memory: all of them, or nothing.

Invariants
----------
* A writing transaction excludes all others from before its first read until its commit (SQLite: BEGIN
  IMMEDIATE; PostgreSQL: SERIALIZABLE, and a table lock taken first). A reading one sees one moment.
* A commit is on disk before it returns (SQLite: WAL, synchronous FULL; PostgreSQL: synchronous_commit on,
  whatever the server's default is).
* Opening never creates, creating never overwrites. No connection outlives its transaction, so none outlives
  a fork, a server or a replaced file.
* A password stays in the process that was given it: no pickle and no message has it.
* Whatever goes wrong is a `LedgerError` that says what to do, and nothing is released.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.pool import NullPool, StaticPool

from skdpal.privacy.errors import LedgerError

__all__ = ["Database", "address_of", "check_file", "create_file", "text_of"]

T = TypeVar("T")
_ATTEMPTS = 12  # of a serializable transaction; the waits between them double from 2 ms
_RETRIED = {"40001", "40P01"}  # serialization failure, deadlock
_CREATED_AT_ONCE = {"42P07", "23505"}  # another process made the same table since we looked
_SECRETS = ("password", "sslpassword")  # may be in a URL's query


def address_of(url: str | os.PathLike[str]) -> Path | sa.URL:
    """What a ledger's address names: a file, or a PostgreSQL database."""
    text = os.fspath(url)
    if re.match(r"postgresql(\+\w+)?://", text):
        return sa.make_url(text).set(drivername="postgresql+psycopg")
    if text.startswith("sqlite:///"):
        text = text[len("sqlite:///") :]
    if "://" in text or not text:
        raise ValueError(f"Expected a file path, sqlite:///PATH or postgresql+psycopg://HOST/DATABASE. Found {text!r}.")
    return Path(text).absolute()


def text_of(address: Path | sa.URL) -> str:
    """An address as text that may travel: a password stays behind (PGPASSWORD or ~/.pgpass supply it)."""
    if isinstance(address, Path):
        return str(address)
    # URL.set(password=None) would change nothing
    return address._replace(password=None).difference_update_query(_SECRETS).render_as_string()


def create_file(path: Path) -> None:
    """An empty file that only its owner may read; refuses an existing one."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise FileExistsError(
            f"{path} exists. A budget is spent once: open it with PrivacyLedger.open, or choose another path."
        ) from None


class Database:
    """One address, and how to work on it.

    Parameters
    ----------
    address : Path, sqlalchemy.URL or None
        An existing file, a PostgreSQL database, or memory.
    lock : str
        The PostgreSQL table that writers lock.
    """

    def __init__(self, address: Path | sa.URL | None, lock: str) -> None:
        self.address = address
        self._lock_table = lock
        self._lock = threading.RLock()
        self._pid, self._engine = os.getpid(), self._connect()

    def __str__(self) -> str:
        return "in memory" if self.address is None else text_of(self.address)

    def run(self, work: Callable[[sa.Connection], T], *, write: bool, create: bool = False) -> T:
        """The result of `work` in one transaction; an exception inside writes nothing.

        `work` may be called again after a conflict with another writer, so it must do nothing else.
        """
        self._follow_fork()
        retried = _RETRIED | _CREATED_AT_ONCE if create else _RETRIED
        attempt = 1
        while True:
            try:
                return self._once(work, write, create)
            except (sa.exc.SQLAlchemyError, UnicodeDecodeError) as error:  # sqlite3 reads names as text
                conflict = getattr(getattr(error, "orig", None), "sqlstate", None) in retried
                if not conflict or attempt == _ATTEMPTS:
                    raise self._explained(error) from error
            time.sleep(0.001 * 2**attempt)
            attempt += 1

    def _once(self, work: Callable[[sa.Connection], T], write: bool, create: bool) -> T:
        with self._lock:
            if isinstance(self.address, Path):
                check_file(self.address)
            with self._engine.connect().execution_options(skdpal_write=write) as connection, connection.begin():
                if write and isinstance(self.address, sa.URL):
                    connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
                    if not create:
                        # before anything is read, so that it is newer than every other writer's commit
                        connection.exec_driver_sql(f"LOCK TABLE {self._lock_table} IN EXCLUSIVE MODE")
                return work(connection)

    def _follow_fork(self) -> None:
        if os.getpid() == self._pid:
            return
        if self.address is None:
            raise LedgerError("An in-memory ledger cannot follow a fork. Use PrivacyLedger.create(path) to share one.")
        self._engine.dispose(close=False)  # its connections belong to the parent
        self._pid, self._lock, self._engine = os.getpid(), threading.RLock(), self._connect()

    def _connect(self) -> sa.Engine:
        if isinstance(self.address, sa.URL):
            return _postgresql(self.address)
        if self.address is None:
            engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        else:
            check_file(self.address)
            url = sa.URL.create("sqlite", database=str(self.address))  # a name is a name, also with ? and %
            # a new connection each time: none can hold on to a file that was moved away
            engine = sa.create_engine(url, poolclass=NullPool, connect_args={"timeout": 60}, hide_parameters=True)

        @sa.event.listens_for(engine, "connect")
        def _settings(connection: Any, _record: Any) -> None:
            connection.isolation_level = None  # the driver's own BEGIN comes too late
            cursor = connection.cursor()
            cursor.execute("PRAGMA journal_mode=WAL")
            cursor.execute("PRAGMA synchronous=FULL")
            cursor.close()

        @sa.event.listens_for(engine, "begin")
        def _begin(connection: sa.Connection) -> None:
            write = connection.get_execution_options().get("skdpal_write", True)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

        return engine

    def _explained(self, error: Exception) -> LedgerError:
        reason = str(getattr(error, "orig", None) or error).partition("\n")[0]
        return LedgerError(
            f"The store {self} cannot be used ({reason}). Nothing was released; check that it is a skdpal ledger, "
            "that it can be reached, that the disk has room and that you may write."
        )


def check_file(path: Path) -> None:
    """Raise unless a file is there."""
    if path.is_file():
        return
    found = "is a directory" if path.is_dir() else "does not exist"
    raise FileNotFoundError(f"{path} {found}. A missing ledger is never a fresh budget; restore the file.")


def _postgresql(url: sa.URL) -> sa.Engine:
    try:
        return sa.create_engine(
            url,
            poolclass=NullPool,
            isolation_level="SERIALIZABLE",
            client_encoding="utf8",  # a database made under LANG=C would answer in bytes
            hide_parameters=True,
        )
    except ModuleNotFoundError:
        raise ModuleNotFoundError("PostgreSQL needs psycopg: pip install 'skdpal[postgres]'.") from None
