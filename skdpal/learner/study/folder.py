"""The folder of a study: what may leave, what may not, and how it gets there whole.

Invariants
----------
* A file appears with all of its content, on disk, or not at all: written aside in ``hospital-only/``, synced, renamed.
* One verb at a time: a lock that the operating system drops when a process dies.
* Times of files in ``release/`` are the start of a day (UTC), as in receipts: finer ones would tell how long
  the pathologist was busy, and so with how many.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

from skdpal.learner.study.steps import today

__all__ = ["Record", "StudyFolder", "json_bytes"]

_UNFINISHED = "unfinished"


@dataclass
class Record:
    """What is known in the hospital about one step.

    Attributes
    ----------
    asked : list of str
        The patients, in the order of the worksheet.
    opened : str
        When, UTC.
    answers : dict
        What was filled in for each patient, by column.
    locked : bool
        Whether the release was begun: labels do not change any more.
    released : bool
        Whether everything of the step is in ``release/``.
    result : dict or None
        A released number, of the evaluation.
    """

    asked: list[str]
    opened: str
    answers: dict[str, dict[str, str]] = field(default_factory=dict)
    locked: bool = False
    released: bool = False
    result: dict[str, Any] | None = None


class StudyFolder:
    """Paths and durable files of one study.

    Parameters
    ----------
    path : path
        The folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.release = self.path / "release"
        self.hospital = self.path / "hospital-only"
        self.models = self.release / "models"
        self.worksheets = self.hospital / "worksheets"
        self.ledger = self.hospital / "study.ledger"
        self.protocol = self.hospital / "protocol.json"
        self.public = self.hospital / "public.npz"
        self.reference = self.hospital / "reference.npy"
        self.patients = self.hospital / "patients.npz"
        self._steps = self.hospital / "steps"
        self._scratch = self.hospital / "scratch"
        self._thread = threading.RLock()

    # -- making and opening ------------------------------------------------------------------

    def require_free(self) -> None:
        """Refuse a folder that holds anything but a study whose making was interrupted."""
        if self.path.exists() and any(self.path.iterdir()) and not self._half_made():
            raise FileExistsError(
                f"{self.path} is not empty. A study spends its budget once: go on with it by "
                f"ActiveLearningStudy.open({str(self.path)!r}), choose another folder, "
                "or remove this one if its patients never mattered."
            )

    @contextmanager
    def making(self) -> Iterator[None]:
        """Make the two halves; whatever is interrupted inside counts as never made."""
        self.require_free()
        self.hospital.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.hospital / _UNFINISHED).touch()  # first to come, last to go
        for left in (*self.path.iterdir(), *self.hospital.iterdir()):  # nobody was asked and nothing was charged
            if left.is_dir() and left != self.hospital:
                shutil.rmtree(left)
            elif left.is_file() and left.name != _UNFINISHED:
                left.unlink()
        self.models.mkdir(parents=True)
        for inside in (self.worksheets, self._steps, self._scratch):
            inside.mkdir(mode=0o700)
        yield
        self.settle()
        (self.hospital / _UNFINISHED).unlink()
        _sync(self.hospital)

    def require_study(self) -> None:
        """Refuse a folder that holds no finished study."""
        if not self.protocol.exists() or self._half_made():
            raise FileNotFoundError(
                f"{self.path} holds no study. Check the path, or make one with ActiveLearningStudy(folder, ...).enrol(X)."
            )
        self.hospital.chmod(0o700)  # a restored backup may have forgotten

    def _half_made(self) -> bool:
        inside = self.hospital.exists() and not any(self.hospital.iterdir())
        return (self.hospital / _UNFINISHED).exists() or (inside and not self.release.exists())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes, and other threads, out for one verb."""
        with self._thread:
            handle = os.open(self.hospital / "lock", os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX)
                for left in self._scratch.iterdir():  # by a process that died
                    left.unlink()
                yield
            finally:
                os.close(handle)

    # -- records of the hospital -------------------------------------------------------------

    def record(self, key: str) -> Record | None:
        """What is known about a step; None before it was opened."""
        path = self._steps / f"{key}.json"
        return Record(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else None

    def keep(self, key: str, record: Record) -> None:
        """Store a record; it is on disk when this returns."""
        self.write(self._steps / f"{key}.json", json_bytes(asdict(record)))

    def append_submission(self, entry: dict[str, Any]) -> None:
        """Add a line to the history of what was handed in."""
        line = (json.dumps(entry, ensure_ascii=False) + "\n").encode()
        handle = os.open(self.hospital / "submissions.jsonl", os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        with os.fdopen(handle, "ab+") as history:
            history.seek(max(history.seek(0, os.SEEK_END) - 1, 0))
            torn = history.read(1) not in (b"", b"\n")  # by a process that was killed
            history.write(b"\n" * torn + line)
            history.flush()
            os.fsync(history.fileno())

    # -- files -------------------------------------------------------------------------------

    def write(self, path: Path, content: bytes, mode: int = 0o600) -> None:
        """Put a file into its place, whole and on disk."""
        self.place(path, lambda aside: aside.write_bytes(content), mode)

    def place(self, path: Path, make: Callable[[Path], Any], mode: int = 0o600) -> None:
        """As `write`, of a file that `make` writes; its name ends as that of `path`."""
        handle, name = tempfile.mkstemp(dir=self._scratch, suffix=path.suffix)
        os.close(handle)
        aside = Path(name)
        try:
            make(aside)
            with aside.open("rb+") as written:
                os.fsync(written.fileno())
            aside.chmod(mode)
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        _sync(path.parent)

    def publish(self, path: Path, make: Callable[[Path], Any]) -> None:
        """Put a file into ``release/``, which somebody may have carried away."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.place(path, make, 0o644)
        self.settle()

    def settle(self) -> None:
        """Give everything in ``release/`` the time at which this day began."""
        start = datetime.combine(today(), time(), UTC).timestamp()
        for path in (*self.release.rglob("*"), self.release):
            os.utime(path, (start, start))


def json_bytes(content: dict[str, Any]) -> bytes:
    """A file's content."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
