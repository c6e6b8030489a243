"""The append-only, hash-chained table of what was charged.

Invariants
----------
* Every row holds the hash of the one before; the head is stored apart. Edits, deletions, swaps and a
  cut-off tail are named by `verify`, and by every reader whose memory does not fit any more.
* A reader remembers how far it came and the hash there: it checks only what is new.
* Rows hold public fields only.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from skdpal.privacy.errors import LedgerTampered
from skdpal.privacy.storage.database import Database

__all__ = ["GENESIS", "Journal", "Row", "Transaction"]

T = TypeVar("T")
Row = dict[str, Any]
GENESIS = "0" * 64
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


class Transaction:
    """The journal at one moment; while writing, nobody else's."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def rows(self, first: int = 0, head: str = GENESIS) -> tuple[list[Row], str]:
        """The rows from number `first` on, and the head; `head` is the hash of the row before.

        Raises
        ------
        LedgerTampered
            Names the first row that was changed, removed or added by another hand.
        """
        query = sa.select(_ROWS).where(_ROWS.c.number >= first).order_by(_ROWS.c.number)
        found = []
        for expected, row in enumerate(self._connection.execute(query), first):
            if row.number != expected:
                raise LedgerTampered(f"Row {expected} of the journal is missing. Restore the store from a backup.")
            head = _link(head, row.body)
            if row.hash != head:
                raise LedgerTampered(f"Row {expected} of the journal was changed. Restore the store from a backup.")
            found.append(_parse(expected, row.body))
        heads = self._connection.execute(sa.select(_HEAD)).all()
        if [tuple(each) for each in heads] != [(first + len(found), head)]:
            raise LedgerTampered(
                f"The journal ends at row {first + len(found)}, not where it was left. Restore it from a backup."
            )
        return found, head

    def went_through(self, head: str) -> bool:
        """Whether this was the head once."""
        return self._connection.execute(sa.select(_ROWS.c.number).where(_ROWS.c.hash == head)).first() is not None

    def hash_of(self, number: int) -> str:
        """The hash of a row."""
        return str(self._connection.execute(sa.select(_ROWS.c.hash).where(_ROWS.c.number == number)).scalar_one())

    def append(self, row: Row) -> Row:
        """Write a row; it counts from the commit on."""
        number, head = self._connection.execute(sa.select(_HEAD.c.rows, _HEAD.c.hash)).one()
        body = json.dumps({**row, "number": number}, sort_keys=True, allow_nan=False)
        digest = _link(head, body)
        self._connection.execute(_ROWS.insert().values(number=number, body=body, hash=digest))
        self._connection.execute(_HEAD.update().values(rows=number + 1, hash=digest))
        return {**row, "number": number}


class Journal:
    """The table of rows of one ledger.

    Parameters
    ----------
    address : Path, sqlalchemy.URL or None
        Where it is; None for memory.
    header : dict, optional
        First row of a new journal.
    """

    def __init__(self, address: Path | sa.URL | None, *, header: Row | None = None) -> None:
        self.address = address
        self._database = Database(address, lock=_HEAD.name)

        def create(connection: sa.Connection) -> None:
            if sa.inspect(connection).has_table(_ROWS.name):
                raise FileExistsError(
                    f"{self._database} holds a ledger. A budget is spent once: open it with PrivacyLedger.open."
                )
            _METADATA.create_all(connection)
            connection.execute(_HEAD.insert().values(rows=0, hash=GENESIS))
            Transaction(connection).append({"kind": "header", **(header or {})})

        if header is not None:
            self._database.run(create, write=True, create=True)

    def read(self, work: Callable[[Transaction], T]) -> T:
        """The result of `work` on the journal as it is."""
        return self._database.run(lambda connection: work(Transaction(connection)), write=False)

    def write(self, work: Callable[[Transaction], T]) -> T:
        """The result of `work`, which reads and appends; an exception inside writes nothing."""
        return self._database.run(lambda connection: work(Transaction(connection)), write=True)

    def verify(self, head: str | None = None) -> str:
        """Check the whole chain, and that it goes through an earlier head; return its head."""

        def check(transaction: Transaction) -> str:
            if head is not None and not transaction.went_through(head):
                raise LedgerTampered(
                    f"The journal never had the head {head!r}: it is an older or another one. Restore the newest backup."
                )
            return transaction.rows()[1]

        return self.read(check)

    @property
    def name(self) -> str:
        """Where it is, in a word."""
        if self.address is None:
            return "in memory"
        return self.address.name if isinstance(self.address, Path) else f"in {self.address.database}"


def _parse(number: int, body: str) -> Row:
    try:
        row = json.loads(body)
    except ValueError:
        row = None
    if not isinstance(row, dict) or row.get("number") != number:
        raise LedgerTampered(f"Row {number} of the journal cannot be read. Restore the store from a backup.")
    return row


def _link(head: str, body: str) -> str:
    return hashlib.sha256(f"{head}\n{body}".encode()).hexdigest()
