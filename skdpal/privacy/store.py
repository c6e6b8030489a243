"""Where the journal is kept: an append-only, hash-chained table in SQLite.

Invariants
----------
* `transaction` holds the write lock from before the first read until the commit
  (BEGIN IMMEDIATE): nobody can append between a check and its append.
* A commit is on disk before it returns (WAL, synchronous FULL).
* Every row holds the hash of the one before; the head is stored apart. Edits, deletions,
  swaps and a cut-off tail are named by `verify`.
* Opening never creates, creating never overwrites.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool, StaticPool

from skdpal.privacy.errors import LedgerError, LedgerTampered

__all__ = ["Journal", "Row", "Transaction", "connect", "create_file", "file_of", "transaction"]

Row = dict[str, Any]
_GENESIS = "0" * 64
_METADATA = sa.MetaData()
_ROWS = sa.Table(
    "journal",
    _METADATA,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)
_HEAD = sa.Table(
    "head",
    _METADATA,
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)


def file_of(url: str | os.PathLike[str]) -> Path:
    """The path that a ledger's address names."""
    text = os.fspath(url)
    if text.startswith("sqlite:///"):
        text = text[len("sqlite:///") :]
    if "://" in text or not text:
        raise ValueError(f"Expected a file path or sqlite:///PATH. Found {text!r}.")
    return Path(text).absolute()


def create_file(path: Path) -> None:
    """An empty file that only its owner may read; refuses an existing one."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        raise FileExistsError(
            f"{path} exists. A budget is spent once: open it with PrivacyLedger.open, or choose another path."
        ) from None


def connect(path: Path | None) -> sa.Engine:
    """An engine for an existing file, or for memory; its transactions start with BEGIN IMMEDIATE."""
    if path is None:
        engine = sa.create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist. A missing ledger is never a fresh budget; restore the file."
            )
        url = sa.URL.create("sqlite", database=str(path))  # a name is a name, also with ? and %
        engine = sa.create_engine(url, poolclass=NullPool, connect_args={"timeout": 60})

    @sa.event.listens_for(engine, "connect")
    def _settings(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


class Transaction:
    """The journal under the write lock."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def rows(self, first: int = 0) -> list[Row]:
        """The rows from number `first` on."""
        query = sa.select(_ROWS.c.body).where(_ROWS.c.number >= first).order_by(_ROWS.c.number)
        return [_parse(row.body) for row in self._connection.execute(query)]

    def append(self, row: Row) -> Row:
        """Write a row; it counts from the commit on."""
        number, head = self._connection.execute(sa.select(_HEAD.c.rows, _HEAD.c.hash)).one()
        body = json.dumps({**row, "number": number}, sort_keys=True, allow_nan=False)
        digest = _link(head, body)
        self._connection.execute(_ROWS.insert().values(number=number, body=body, hash=digest))
        self._connection.execute(_HEAD.update().values(rows=number + 1, hash=digest))
        return {**row, "number": number}


class Journal:
    """The table of rows, in memory or in a file.

    Parameters
    ----------
    path : Path or None
        An existing file, or None for memory.
    """

    def __init__(self, path: Path | None, *, header: Row | None = None) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self._engine = connect(path)
        if header is not None:
            with self._lock, self._begin() as connection:
                _METADATA.create_all(connection)
                connection.execute(_HEAD.insert().values(rows=0, hash=_GENESIS))
                Transaction(connection).append({"kind": "header", **header})

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Read and append atomically; an exception inside writes nothing."""
        with self._lock, self._begin() as connection:
            yield Transaction(connection)

    def verify(self) -> str:
        """Check the chain; return its head.

        Raises
        ------
        LedgerTampered
            Names the first row that was changed, removed or added by another hand.
        """
        with self._lock, self._begin() as connection:
            rows = connection.execute(sa.select(_ROWS).order_by(_ROWS.c.number)).all()
            heads = connection.execute(sa.select(_HEAD)).all()
        head = _GENESIS
        for expected, row in enumerate(rows):
            if row.number != expected:
                raise LedgerTampered(f"Row {expected} of the journal is missing. Restore the store from a backup.")
            head = _link(head, row.body)
            if row.hash != head or _parse(row.body).get("number") != expected:
                raise LedgerTampered(f"Row {expected} of the journal was changed. Restore the store from a backup.")
        if len(heads) != 1 or (heads[0].rows, heads[0].hash) != (len(rows), head):
            raise LedgerTampered(
                f"The journal ends at row {len(rows)}, not where it was left. Restore it from a backup."
            )
        return head

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        if self.path is None and os.getpid() != self._pid:
            raise LedgerError("An in-memory ledger cannot follow a fork. Use PrivacyLedger.create(path) to share one.")
        with transaction(self._engine, self.path) as connection:
            yield connection


@contextmanager
def transaction(engine: sa.Engine, path: Path | None) -> Iterator[sa.Connection]:
    """A write transaction; whatever goes wrong with the file is a clear error."""
    if path is not None and not path.is_file():
        raise FileNotFoundError(f"{path} is gone. A missing ledger is never a fresh budget; restore the file.")
    try:
        with engine.begin() as connection:
            yield connection
    except sa.exc.DBAPIError as error:
        raise LedgerError(
            f"The store {path or 'in memory'} cannot be used ({error.orig}). Nothing was released; "
            "check that it is a skdpal ledger, that the disk has room and that you may write."
        ) from error


def _parse(body: str) -> Row:
    try:
        row = json.loads(body)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise LedgerTampered("Row of the journal cannot be read. Run verify() and restore the store from a backup.")
    return row


def _link(head: str, body: str) -> str:
    return hashlib.sha256(f"{head}\n{body}".encode()).hexdigest()
