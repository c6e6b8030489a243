"""What never leaves the hospital: who is in which account, and the key of the coins.

Invariants
----------
* Members are kept as digests keyed by a secret of the vault. Neither the digests nor the
  secret are in the ledger, so a published ledger says nothing about who took part.
* A coin is a keyed hash of (secret, label, patient): fresh for every label, the same when
  asked again, and independent of all other patients.
* A patient is in one leaf. Whoever was never moved is in the pool. A move counts only if the
  journal has the split it belongs to, by account and row number: what a crash left unfinished
  leaves the patient in the leaf they came from.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from skdpal.privacy.accounts import POOL
from skdpal.privacy.randomness import entropy
from skdpal.privacy.store import connect, create_file, transaction

__all__ = ["Vault", "vault_path"]

_METADATA = sa.MetaData()
_SECRET = sa.Table("secret", _METADATA, sa.Column("value", sa.LargeBinary, nullable=False))
_MEMBERS = sa.Table(
    "members",
    _METADATA,
    sa.Column("patient", sa.String(64), primary_key=True),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("split", sa.Integer, nullable=False),  # its row in the journal
    sa.Column("source", sa.Text, nullable=False),
)


def vault_path(ledger: Path) -> Path:
    """The vault that belongs to a ledger file."""
    return ledger.with_name(f"{ledger.name}.vault")


class Vault:
    """Members and secret of one ledger, in memory or in a file of mode 0600."""

    def __init__(self, path: Path | None, *, create: bool = False) -> None:
        if create and path is not None:
            create_file(path)
        self.path = path
        self._engine = connect(path)
        with self._begin() as connection:
            if create:
                _METADATA.create_all(connection)
                connection.execute(_SECRET.insert().values(value=entropy(32)))
            self._secret: bytes = connection.execute(sa.select(_SECRET.c.value)).scalar_one()

    def coin(self, label: str, patient: str) -> float:
        """A uniform number in [0, 1) that only the vault can compute."""
        return (int.from_bytes(self._digest(f"coin\n{label}\n{patient}")[:8], "big") >> 11) / 2.0**53

    def accounts_of(self, patients: Iterable[str], splits: Mapping[str, int]) -> list[str]:
        """The leaf of each patient, given the row number of every split in the journal."""
        with self._begin() as connection:
            leaf_of = {row.patient: _leaf(row, splits) for row in connection.execute(sa.select(_MEMBERS))}
        return [leaf_of.get(self._digest(patient).hex(), POOL) for patient in patients]

    def move(self, patients: Sequence[str], into: str, source: str, split: int, splits: Mapping[str, int]) -> None:
        """Put patients into a leaf, on behalf of a row that the journal is about to commit.

        The caller holds the journal's lock, so whatever is unfinished now was left by a crash and is undone.
        """
        entries = [{"patient": self._digest(patient).hex()} for patient in dict.fromkeys(patients)]
        with self._begin() as connection:
            for row in connection.execute(sa.select(_MEMBERS)).all():
                if splits.get(row.account) != row.split:
                    undone = _MEMBERS.update().where(_MEMBERS.c.patient == row.patient)
                    connection.execute(undone.values(account=row.source, split=splits.get(row.source, 0)))
            for entry in entries:
                connection.execute(_MEMBERS.delete().where(_MEMBERS.c.patient == entry["patient"]))
                connection.execute(_MEMBERS.insert().values(**entry, account=into, split=split, source=source))

    @contextmanager
    def _begin(self) -> Iterator[sa.Connection]:
        with transaction(self._engine, self.path) as connection:
            yield connection

    def _digest(self, text: str) -> bytes:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).digest()


def _leaf(row: sa.Row[Any], splits: Mapping[str, int]) -> str:
    return str(row.account if splits.get(row.account) == row.split else row.source)
