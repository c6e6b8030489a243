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
* The vault remembers the last split it made: one that is older than its journal is refused, for it would
  put labelled patients back into the pool.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from skdpal.privacy.accounts import POOL
from skdpal.privacy.database import Database, create_file
from skdpal.privacy.errors import LedgerError
from skdpal.privacy.randomness import entropy

__all__ = ["Vault", "vault_of"]

_METADATA = sa.MetaData()
_SECRET = sa.Table(
    "vault_secret",
    _METADATA,
    sa.Column("value", sa.LargeBinary, nullable=False),
    sa.Column("last_split", sa.Integer, nullable=False),
)
_MEMBERS = sa.Table(
    "vault_members",
    _METADATA,
    sa.Column("patient", sa.String(64), primary_key=True),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("split", sa.Integer, nullable=False),  # its row in the journal
    sa.Column("source", sa.Text, nullable=False),
)
_AT_ONCE = 500  # patients in one query


def vault_of(address: Path | sa.URL) -> Path | sa.URL:
    """Where the vault of a ledger is: a file beside it, or tables of their own in the same database."""
    return address.with_name(f"{address.name}.vault") if isinstance(address, Path) else address


class Vault:
    """Members and secret of one ledger; a file has mode 0600."""

    def __init__(self, address: Path | sa.URL | None, *, create: bool = False) -> None:
        if create and isinstance(address, Path):
            create_file(address)
        self._database = Database(address, lock=_SECRET.name)

        def fill(connection: sa.Connection) -> None:
            _METADATA.create_all(connection)
            connection.execute(_SECRET.insert().values(value=entropy(32), last_split=0))

        if create:
            self._database.run(fill, write=True, create=True)
        self._secret: bytes = self._database.run(
            lambda connection: connection.execute(sa.select(_SECRET.c.value)).scalar_one(), write=False
        )

    def coin(self, label: str, patient: str) -> float:
        """A uniform number in [0, 1) that only the vault can compute."""
        return (int.from_bytes(self._digest(f"coin\n{label}\n{patient}")[:8], "big") >> 11) / 2.0**53

    def accounts_of(self, patients: Iterable[str], splits: Mapping[str, int]) -> list[str]:
        """The leaf of each patient, given the row number of every split in the journal."""
        keys = [self._digest(patient).hex() for patient in patients]

        def look(connection: sa.Connection) -> list[str]:
            self._check_age(connection, splits)
            leaf_of: dict[str, str] = {}
            for start in range(0, len(keys), _AT_ONCE):
                query = sa.select(_MEMBERS).where(_MEMBERS.c.patient.in_(keys[start : start + _AT_ONCE]))
                leaf_of |= {row.patient: _leaf(row, splits) for row in connection.execute(query)}
            return [leaf_of.get(key, POOL) for key in keys]

        return self._database.run(look, write=False)

    def move(self, patients: Sequence[str], into: str, source: str, split: int, splits: Mapping[str, int]) -> None:
        """Put patients into a leaf, on behalf of a row that the journal is about to commit.

        The caller holds the journal's lock, so whatever is unfinished now was left by a crash and is undone.
        """
        keys = [self._digest(patient).hex() for patient in dict.fromkeys(patients)]

        def change(connection: sa.Connection) -> None:
            self._check_age(connection, splits)
            unfinished = sa.select(_MEMBERS).where(_MEMBERS.c.split > max(splits.values()))
            for row in connection.execute(unfinished).all():
                undone = _MEMBERS.update().where(_MEMBERS.c.patient == row.patient)
                connection.execute(undone.values(account=row.source, split=splits[row.source]))
            for key in keys:
                connection.execute(_MEMBERS.delete().where(_MEMBERS.c.patient == key))
                connection.execute(_MEMBERS.insert().values(patient=key, account=into, split=split, source=source))
            connection.execute(_SECRET.update().values(last_split=split))

        self._database.run(change, write=True)

    def _check_age(self, connection: sa.Connection, splits: Mapping[str, int]) -> None:
        if connection.execute(sa.select(_SECRET.c.last_split)).scalar_one() < max(splits.values()):
            raise LedgerError(
                f"The vault {self._database} is older than its ledger: labelled patients would return to the pool. "
                "Restore the vault of the same day."
            )

    def _digest(self, text: str) -> bytes:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).digest()


def _leaf(row: sa.Row[Any], splits: Mapping[str, int]) -> str:
    return str(row.account if splits.get(row.account) == row.split else row.source)
