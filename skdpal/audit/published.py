"""Everything that a study publishes, leaf by leaf, and what differs between two of them.

A factory may return what it likes: dicts, lists, arrays, tables, numbers, words, fitted estimators, pipelines, ledgers,
studies, and paths of files and folders. It is read as an attacker would: all public attributes, all bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skdpal.privacy.ledger import Handle, PrivacyLedger
from skdpal.privacy.ledger.state import Receipt

__all__ = ["Leaf", "Publication", "differences", "publication_of"]

_DEEPEST = 12


@dataclass(frozen=True, eq=False)
class Leaf:
    """One thing that was published.

    Attributes
    ----------
    form : str
        Type, shape or length: what can be seen of it without reading it.
    content : str or ndarray
        What it says; numbers as an array.
    """

    form: str
    content: Any

    def same(self, other: Leaf) -> bool:
        """Whether both say the same, to the last bit."""
        if self.form != other.form or type(self.content) is not type(other.content):
            return False
        if isinstance(self.content, np.ndarray):
            return bool(np.array_equal(self.content, other.content, equal_nan=True))
        return bool(self.content == other.content)

    def distance(self, other: Leaf) -> float:
        """The largest difference of two numbers; NaN if that means nothing."""
        mine, theirs = self.content, other.content
        if not isinstance(mine, np.ndarray) or not isinstance(theirs, np.ndarray) or mine.shape != theirs.shape:
            return float("nan")
        with np.errstate(invalid="ignore"):
            gaps = np.abs(mine - theirs)
        return float(gaps[~np.isnan(gaps)].max(initial=0.0))


@dataclass(frozen=True, eq=False)
class Publication:
    """What a study factory returned, read.

    Attributes
    ----------
    leaves : dict of str to Leaf
        By path.
    ledgers : list of PrivacyLedger
        Each once.
    receipts : list of Receipt
        Of all ledgers.
    """

    leaves: dict[str, Leaf]
    ledgers: list[PrivacyLedger]
    receipts: list[Receipt]


def publication_of(published: Any, *, certificates: bool = False) -> Publication:
    """Read all that was published.

    Parameters
    ----------
    published : object
        What a study factory returned.
    certificates : bool, default=False
        Also what ledgers certify, which takes time; their receipts, rounds and accounts are always read.
    """
    reader = _Reader(certificates)
    return Publication(dict(reader.read(published, "", 0)), reader.ledgers, reader.receipts)


def differences(mine: Mapping[str, Leaf], theirs: Mapping[str, Leaf]) -> dict[str, float]:
    """Paths at which two publications differ, with the largest difference of numbers; NaN for what is no number."""
    nothing = Leaf("nothing", "")
    paths = list(dict.fromkeys([*mine, *theirs]))
    pairs = {path: (mine.get(path, nothing), theirs.get(path, nothing)) for path in paths}
    return {path: one.distance(other) for path, (one, other) in pairs.items() if not one.same(other)}


class _Reader:
    """Walks through a publication; a thing that was met before is not read twice."""

    def __init__(self, certificates: bool) -> None:
        self.certificates = certificates
        self.ledgers: list[PrivacyLedger] = []
        self.receipts: list[Receipt] = []
        self._met: dict[int, Any] = {}

    def read(self, thing: Any, path: str, depth: int) -> Iterator[tuple[str, Leaf]]:
        """Leaves at and below a path."""
        at = path or "published"
        plain = _plain(thing)
        if plain is not None:
            yield at, plain
            return
        if id(thing) in self._met or depth > _DEEPEST:
            return
        self._met[id(thing)] = thing  # held, so that no other thing gets its id
        for kinds, walk in self._walks():
            if isinstance(thing, kinds):
                yield from walk(thing, path, depth)
                return
        yield from self._object(thing, path, depth)

    def _walks(self) -> list[tuple[Any, Callable[[Any, str, int], Iterator[tuple[str, Leaf]]]]]:
        return [
            (Mapping, self._mapping),
            ((list, tuple, set, frozenset), self._sequence),
            ((pd.DataFrame, pd.Series, pd.Index), self._table),
            (np.ndarray, self._objects),
            (Path, self._folder),
            ((PrivacyLedger, Handle), self._ledger),
        ]

    def _mapping(self, thing: Any, path: str, depth: int) -> Iterator[tuple[str, Leaf]]:
        yield f"{path}.keys()", Leaf(f"{len(thing)} keys", repr(list(map(str, thing))))
        for key, value in thing.items():
            yield from self.read(value, f"{path}[{key!r}]" if path else str(key), depth + 1)

    def _sequence(self, thing: Any, path: str, depth: int) -> Iterator[tuple[str, Leaf]]:
        entries = sorted(thing, key=repr) if isinstance(thing, set | frozenset) else thing
        yield f"{path}.length", Leaf("length", np.array(len(thing)))
        for number, value in enumerate(entries):
            yield from self.read(value, f"{path}[{number}]", depth + 1)

    def _table(self, thing: Any, path: str, depth: int) -> Iterator[tuple[str, Leaf]]:
        if isinstance(thing, pd.DataFrame):
            yield f"{path}.columns", Leaf(f"{thing.shape[1]} columns", repr(list(map(str, thing.columns))))
            yield f"{path}.index", Leaf(f"{len(thing)} rows", repr(list(map(str, thing.index))))
            for name in thing.columns:
                yield from self.read(thing[name].to_numpy(), f"{path}[{name!r}]", depth + 1)
            return
        if isinstance(thing, pd.Series):
            yield f"{path}.index", Leaf(f"{len(thing)} rows", repr(list(map(str, thing.index))))
        yield from self.read(thing.to_numpy(), f"{path}.values", depth + 1)

    def _objects(self, thing: NDArray[Any], path: str, depth: int) -> Iterator[tuple[str, Leaf]]:
        yield path or "published", Leaf(f"array of {thing.shape}", repr(thing.tolist()))

    def _folder(self, thing: Path, path: str, depth: int) -> Iterator[tuple[str, Leaf]]:
        files = sorted(one for one in thing.rglob("*") if one.is_file()) if thing.is_dir() else [thing]
        names = [one.relative_to(thing).as_posix() if one != thing else one.name for one in files]
        yield f"{path}/", Leaf("files", repr(names))
        for name, one in zip(names, files, strict=True):
            content = one.read_bytes()
            yield f"{path}/{name}", Leaf(f"{len(content)} bytes", hashlib.sha256(content).hexdigest())

    def _ledger(self, thing: Any, path: str, depth: int) -> Iterator[tuple[str, Leaf]]:
        ledger = thing.root
        if any(ledger is known for known in self.ledgers):
            return
        self.ledgers.append(ledger)
        state = ledger._book.read()  # once: a reading is a transaction
        self.receipts.extend(state.receipts)
        paid = [{**vars(receipt), "event": repr(receipt.event), "date": ""} for receipt in state.receipts]
        rounds = [{"name": name, **parameters} for name, parameters in state.rounds.items()]  # names follow models
        accounts, void = list(state.accounts.leaves), list(state.void)
        public: dict[str, Any] = {"receipts": paid, "accounts": accounts, "rounds": rounds, "void": void}
        if self.certificates:
            public["certificate"] = ledger.certificate()
        yield from self.read(public, f"{path}", depth + 1)

    def _object(self, thing: Any, path: str, depth: int) -> Iterator[tuple[str, Leaf]]:
        yield f"{path}.type", Leaf("type", type(thing).__qualname__)
        for name, value in _parts(thing).items():
            if not (callable(value) and isinstance(value, FunctionType | ModuleType | type)):
                yield from self.read(value, f"{path}.{name}" if path else name, depth + 1)


def _plain(thing: Any) -> Leaf | None:
    """A leaf of something that has no parts."""
    if isinstance(thing, np.ndarray) and thing.dtype.kind in "biufc":
        return Leaf(f"{thing.dtype} array of {thing.shape}", np.asarray(thing, dtype=np.float64))
    if isinstance(thing, bool | int | float | np.number | np.bool_):
        return Leaf(type(thing).__name__, np.array(float(thing)))
    if isinstance(thing, str | bytes):
        return Leaf(f"{type(thing).__name__} of length {len(thing)}", repr(thing))
    if isinstance(thing, np.ndarray) and thing.dtype.kind in "US":
        return Leaf(f"words of {thing.shape}", repr(thing.tolist()))
    if thing is None or isinstance(thing, Enum | FunctionType | ModuleType | type | np.dtype):
        return Leaf("name", repr(getattr(thing, "__qualname__", thing)))
    if type(thing).__module__ in ("datetime", "uuid", "decimal", "fractions", "pandas._libs.tslibs.timestamps"):
        return Leaf(type(thing).__name__, repr(thing))
    return None


def _parts(thing: Any) -> dict[str, Any]:
    """What of an object leaves with it."""
    if hasattr(thing, "release_folder") and hasattr(thing, "ledger"):  # a study: what lies in its open half
        return {"release": thing.release_folder, "ledger": thing.ledger}
    if hasattr(thing, "estimator") and hasattr(
        thing, "X_training"
    ):  # a learner: it keeps patients, and never lends them
        return {"estimator": thing.estimator, "ledger": thing.ledger}
    if hasattr(thing, "state_dict"):  # a network
        return {name: tensor.detach().cpu().numpy() for name, tensor in thing.state_dict().items()}
    if hasattr(thing, "detach"):  # a tensor
        return {"values": thing.detach().cpu().numpy()}
    if is_dataclass(thing) and not isinstance(thing, type):
        return {field.name: getattr(thing, field.name) for field in fields(thing)}
    state = getattr(thing, "__dict__", None)
    if state is None:
        return {"repr": repr(thing)}
    return {name: value for name, value in state.items() if not name.startswith("_")}
