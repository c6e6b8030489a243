"""The ledger's own journal, read without skdpal's ledger: rows, hashes, and whether the certificate says the same."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from skdpal.audit.certificate.verification import Check

__all__ = ["compared"]

Row = dict[str, Any]
_HISTORY = {  # of each kind of row, what a certificate repeats
    "split": ("source", "into", "epsilon", "sampled"),
    "cap": ("account", "name", "epsilon"),
    "void": ("reason",),
    "round": ("hidden",),
    "redraw": ("receipt",),
}
_RECEIPT = ("number", "label", "account", "event", "epsilon", "date", "cap", "question")
_FIXED = ("epsilon", "delta", "filter", "adjacency", "created")


def compared(certificate: Mapping[str, Any], ledger: str | os.PathLike[str]) -> Iterator[Check]:
    """Whether a certificate is that of a ledger, at the time when it was issued.

    Parameters
    ----------
    certificate : mapping
        Of the published form.
    ledger : path or str
        File of the ledger, or ``postgresql+psycopg://HOST/DATABASE``; it is only read.
    """
    bodies, hashes, end = _read(ledger)
    rows, chain, broken = [], "0" * 64, None
    for number, (body, stored) in enumerate(zip(bodies, hashes, strict=True)):
        chain = hashlib.sha256(f"{chain}\n{body}".encode()).hexdigest()
        if chain != stored and broken is None:
            broken = number
        rows.append(json.loads(body))
    if broken is not None or end != (len(rows), chain):
        where = (
            f"row {broken} was changed" if broken is not None else f"it ends at row {len(rows)}, not where it was left"
        )
        yield Check("journal", False, where)
        return
    yield Check("journal", True, f"{len(rows)} rows, none changed")
    head = certificate["journal_head"]
    if head not in hashes:
        yield Check(
            "journal head", False, "the ledger never had the head of the certificate: it is another one's, or forged"
        )
        return
    then = rows[: hashes.index(head) + 1]
    later = len(rows) - len(then)
    yield Check(
        "journal head", True, f"the head of row {len(then) - 1}" + (f"; {later} rows came later" if later else "")
    )
    differences = list(_differences(certificate, then))
    yield Check("ledger", not differences, "; ".join(differences[:3]) or f"the same {len(then)} rows, the same ceiling")


def _differences(certificate: Mapping[str, Any], rows: list[Row]) -> Iterator[str]:
    header, whole = rows[0], certificate["account"] == "cohort"
    yield from _fixed(certificate, header, whole)
    history = [{name: row[name] for name in ("number", "kind", *_HISTORY.get(row["kind"], ()))} for row in rows]
    for said, true in zip(certificate["history"], history, strict=False):
        if said != true:
            yield f"row {true['number']} is {true}, in the certificate {said}"
    if len(certificate["history"]) != len(history):
        yield f"the ledger had {len(history)} rows, the certificate {len(certificate['history'])}"
    charges = {row["number"]: {name: row[name] for name in _RECEIPT} for row in rows if row["kind"] == "charge"}
    for receipt in certificate["receipts"]:
        if charges.get(receipt["number"]) != receipt:
            yield f"receipt {receipt['number']} is another in the ledger"
    if whole and len(charges) != len(certificate["receipts"]):
        yield f"the ledger had {len(charges)} receipts, the certificate {len(certificate['receipts'])}"


def _fixed(certificate: Mapping[str, Any], header: Row, whole: bool) -> Iterator[str]:
    """What never changes: of an account, the ceiling may be a lower one."""
    for name in _FIXED:
        if (whole or name != "epsilon") and certificate[name] != header[name]:
            yield f"{name} is {certificate[name]!r}, in the ledger {header[name]!r}"
    if certificate["epsilon"] > header["epsilon"]:
        yield f"epsilon is above the ledger's {header['epsilon']!r}"
    parameters = {name: header[name] for name in ("orders", "curve", "schedule", "digest") if name in header}
    if certificate["filter_parameters"] != parameters:
        yield "the parameters of the filter are others in the ledger"
    simulated = header["simulation"] is not None
    if simulated != (certificate["status"] == "simulation: not private"):
        yield "the ledger is one of a simulation" if simulated else "the ledger is no simulation"


def _read(ledger: str | os.PathLike[str]) -> tuple[list[str], list[str], tuple[int, str]]:
    text = os.fspath(ledger)
    if re.match(r"postgresql(\+\w+)?://", text):
        url: sa.URL | str = sa.make_url(text).set(drivername="postgresql+psycopg")
    else:
        path = Path(text.removeprefix("sqlite:///")).absolute()
        if not path.is_file():
            raise FileNotFoundError(
                f"Expected ledger to be a file or a PostgreSQL address. Found {text!r}. Check the path."
            )
        url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    try:
        with engine.connect() as connection:
            rows = connection.execute(sa.text("SELECT body, hash FROM journal ORDER BY number")).all()
            end = connection.execute(sa.text("SELECT rows, hash FROM head")).one()
    except sa.exc.SQLAlchemyError as error:
        raise ValueError(
            f"Expected ledger to be a skdpal ledger. {text} cannot be read as one. Check the path."
        ) from error
    finally:
        engine.dispose()
    return [row[0] for row in rows], [row[1] for row in rows], (int(end[0]), str(end[1]))
