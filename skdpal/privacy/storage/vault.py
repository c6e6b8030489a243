"""What never leaves the hospital: who is in which account, and the key of the coins.

Invariants
----------
* Members are kept as digests keyed by a secret of the vault. Neither the digests nor the
  secret are in the ledger, so a published ledger says nothing about who took part.
* A coin is a keyed hash of (secret, label, patient): fresh for every label, the same when
  asked again, and independent of all other patients.
* The answer to a question is kept under the hash of the receipt that paid for it, and what was drawn for one patient
  and stays inside under a keyed digest; the first one that is stored is the only one that counts.
* A patient is in one leaf. Whoever was never moved is in the pool. A move counts only if the
  journal has the split it belongs to, by account and row number: what a crash left unfinished
  leaves the patient in the leaf they came from.
* The vault knows its ledger, the last split it made and the head of the journal then, under a seal. One that is
  damaged, older than its journal, or of another study is refused, for it would put labelled patients back into
  the pool; so is a journal that is older than its vault.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
from numpy.typing import NDArray

from skdpal.privacy.accounts import POOL
from skdpal.privacy.errors import LedgerError
from skdpal.privacy.randomness import entropy
from skdpal.privacy.storage.database import Database, create_file

__all__ = ["Evidence", "Vault", "vault_of"]

_METADATA = sa.MetaData()
_SECRET = sa.Table(
    "vault_secret",
    _METADATA,
    sa.Column("value", sa.LargeBinary, nullable=False),
    sa.Column("ledger", sa.String(32), nullable=False),
    sa.Column("last_split", sa.Integer, nullable=False),
    sa.Column("head", sa.String(64), nullable=False),  # of the journal before that split
    sa.Column("seal", sa.String(64), nullable=False),  # keyed digest of everything else
)
_MEMBERS = sa.Table(
    "vault_members",
    _METADATA,
    sa.Column("patient", sa.String(64), primary_key=True),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("split", sa.Integer, nullable=False),  # its row in the journal
    sa.Column("source", sa.Text, nullable=False),
)
_ANSWERS = sa.Table(
    "vault_answers",
    _METADATA,
    sa.Column("receipt", sa.String(64), primary_key=True),  # hash of its row in the journal
    sa.Column("value", sa.LargeBinary, nullable=False),
)
_AT_ONCE = 10_000  # databases take so many parameters, and not many more


@dataclass(frozen=True)
class Evidence:
    """What a journal says about its vault.

    Attributes
    ----------
    ledger : str
        The name in its header.
    splits : mapping
        The row number of every split, by the leaf that it made.
    went_through : callable
        Whether a hash was once the journal's head.
    """

    ledger: str
    splits: Mapping[str, int]
    went_through: Callable[[str], bool]


def vault_of(address: Path | sa.URL) -> Path | sa.URL:
    """Where the vault of a ledger is: a file beside it, or tables of their own in the same database."""
    return address.with_name(f"{address.name}.vault") if isinstance(address, Path) else address


class Vault:
    """Members and secret of one ledger; a file has mode 0600.

    Parameters
    ----------
    address : Path, sqlalchemy.URL or None
        Where it is; None for memory.
    ledger : str, optional
        Name of the ledger of a new vault.
    """

    def __init__(self, address: Path | sa.URL | None, *, ledger: str | None = None) -> None:
        if ledger is not None and isinstance(address, Path):
            create_file(address)
        self._database = Database(address, lock=_SECRET.name)
        if ledger is not None:
            self._secret = entropy(32)
            self._database.run(lambda connection: self._fill(connection, ledger), write=True, create=True)
        self._secret = self._database.run(
            lambda connection: bytes(connection.execute(sa.select(_SECRET.c.value)).scalar_one() or b""), write=False
        )

    def coins(self, label: str, patients: Sequence[str]) -> NDArray[np.float64]:
        """A uniform number in [0, 1) for each patient, which only the vault can compute.

        SipHash-2-4 (Aumasson and Bernstein 2012) of the patient's id, under a key that the secret and the label make.
        """
        key = base64.b85encode(self._digest(f"coins\n{label}"))[:16].decode()
        names = np.empty(len(patients), dtype=object)
        names[:] = patients
        return (pd.util.hash_array(names, hash_key=key, categorize=False) >> np.uint64(11)) / 2.0**53

    def tag(self, text: str) -> str:
        """A name that says nothing about the text to whoever has no secret."""
        return self._digest(f"tag\n{text}").hex()

    def answer(self, receipt: str) -> NDArray[Any] | None:
        """What was stored for a receipt, by the hash of its row."""

        def look(connection: sa.Connection) -> bytes | None:
            query = sa.select(_ANSWERS.c.value).where(_ANSWERS.c.receipt == receipt)
            return connection.execute(query).scalar_one_or_none()

        found = self._database.run(look, write=False)
        return None if found is None else _array(found)

    def store(self, receipt: str, answer: NDArray[Any]) -> NDArray[Any]:
        """Keep the answer of a receipt, and return the one that is kept: the first."""
        return np.asarray(self.keep([receipt], answer[None])[0])

    def keep(self, keys: Sequence[str], values: NDArray[Any]) -> NDArray[Any]:
        """Keep one value for each key, and return those that are kept: the first ones."""

        def first(connection: sa.Connection) -> list[bytes]:
            known = dict[str, bytes]()
            for start in range(0, len(keys), _AT_ONCE):
                some = _ANSWERS.c.receipt.in_(keys[start : start + _AT_ONCE])
                found = connection.execute(sa.select(_ANSWERS.c.receipt, _ANSWERS.c.value).where(some))
                known |= {row.receipt: bytes(row.value) for row in found}
            for key, value in zip(keys, values, strict=True):
                if key not in known:
                    known[key] = _bytes(value)
                    connection.execute(_ANSWERS.insert().values(receipt=key, value=known[key]))
            return [known[key] for key in keys]

        kept = [_array(value) for value in self._database.run(first, write=True)]
        return np.stack(kept) if kept else values

    def accounts_of(self, patients: Iterable[str], evidence: Evidence) -> list[str]:
        """The leaf of each patient.

        Raises
        ------
        LedgerError
            If this is not the vault of that journal, or was damaged.
        """
        keys = [self._digest(patient).hex() for patient in patients]

        def look(connection: sa.Connection) -> list[str]:
            leaf_of = {row.patient: _leaf(row, evidence.splits) for row in self._members(connection, evidence)}
            return [leaf_of.get(key, POOL) for key in keys]

        return self._database.run(look, write=False)

    def head(self) -> str:
        """The head of the journal before the last split; empty if there was none."""
        return self._database.run(
            lambda connection: str(connection.execute(sa.select(_SECRET.c.head)).scalar_one()), write=False
        )

    def move(self, patients: Sequence[str], into: str, source: str, split: int, head: str, evidence: Evidence) -> None:
        """Put patients into a leaf, on behalf of a row that the journal is about to commit after `head`.

        The caller holds the journal's lock, so whatever is unfinished now was left by a crash and is undone.
        """
        moved = {self._digest(patient).hex(): (into, split, source) for patient in patients}
        splits = evidence.splits

        def change(connection: sa.Connection) -> None:
            for row in self._members(connection, evidence):
                if splits.get(row.account) != row.split:
                    undone = _MEMBERS.update().where(_MEMBERS.c.patient == row.patient)
                    connection.execute(undone.values(account=row.source, split=splits[row.source]))
            for patient, (account, number, origin) in moved.items():
                connection.execute(_MEMBERS.delete().where(_MEMBERS.c.patient == patient))
                entry = {"patient": patient, "account": account, "split": number, "source": origin}
                connection.execute(_MEMBERS.insert().values(**entry))
            connection.execute(_SECRET.update().values(last_split=split, head=head))
            connection.execute(_SECRET.update().values(seal=self._seal(connection)))

        self._database.run(change, write=True)

    def _fill(self, connection: sa.Connection, ledger: str) -> None:
        if sa.inspect(connection).has_table(_SECRET.name):
            raise FileExistsError(
                f"{self._database} holds a ledger, or the vault of one. A budget is spent once: "
                "open it with PrivacyLedger.open, or choose another database."
            )
        _METADATA.create_all(connection)
        row = {"value": self._secret, "ledger": ledger, "last_split": 0, "head": "", "seal": ""}
        connection.execute(_SECRET.insert().values(**row))
        connection.execute(_SECRET.update().values(seal=self._seal(connection)))

    def _members(self, connection: sa.Connection, evidence: Evidence) -> Sequence[sa.Row[Any]]:
        """All members, after the vault has been compared with its journal."""
        mine = connection.execute(sa.select(_SECRET)).one()
        if mine.seal != self._seal(connection):
            raise LedgerError(f"The vault {self._database} was damaged, or changed by another hand. Restore it.")
        if mine.ledger != evidence.ledger:
            raise LedgerError(
                f"The vault {self._database} belongs to another ledger. Restore the one that was beside it."
            )
        if mine.last_split < max(evidence.splits.values()):
            raise LedgerError(
                f"The vault {self._database} is older than its ledger: labelled patients would return to the pool. "
                "Restore the vault of the same day."
            )
        if mine.last_split and not evidence.went_through(mine.head):
            raise LedgerError(f"The ledger is older than its vault {self._database}. Restore the newest ledger.")
        return connection.execute(sa.select(_MEMBERS)).all()

    def _seal(self, connection: sa.Connection) -> str:
        mine = connection.execute(sa.select(_SECRET.c.ledger, _SECRET.c.last_split, _SECRET.c.head)).one()
        members = sorted(repr(tuple(row)) for row in connection.execute(sa.select(_MEMBERS)))  # also of damaged ones
        return self._digest(f"seal\n{tuple(mine)!r}\n{members!r}").hex()

    def _digest(self, text: str) -> bytes:
        return hmac.new(self._secret, text.encode(), hashlib.sha256).digest()


def _bytes(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _array(stored: bytes) -> NDArray[Any]:
    return np.asarray(np.load(io.BytesIO(stored), allow_pickle=False))


def _leaf(row: sa.Row[Any], splits: Mapping[str, int]) -> str:
    return str(row.account if splits.get(row.account) == row.split else row.source)
