"""A throw-away PostgreSQL server on this machine, for the tests that need one."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

OTHER = "SKDPAL_TEST_POSTGRESQL"  # the URL of a server that runs already
MISSING = f"PostgreSQL is not installed: apt-get install postgresql, or name a server's URL in {OTHER}."
GUARDED = "guarded"  # the only role that our own servers ask for a password
_SETTINGS = "-c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=on -c max_connections=50"


class Server:
    """A server; every test asks it for a database of its own.

    Parameters
    ----------
    url : sqlalchemy.URL
        Of any of its databases, for a role that may create others.
    """

    _numbers = count()

    def __init__(self, url: sa.URL) -> None:
        self.url = url.set(drivername="postgresql")

    def execute(self, statement: str, url: str | sa.URL | None = None) -> list[tuple[Any, ...]]:
        """Another hand, which runs statements in a database; the rows that the last of them gives."""
        target = sa.make_url(url or self.url).set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(target, autocommit=True) as connection:
            cursor = connection.execute(statement)
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self, options: str = "") -> Iterator[str]:
        """The URL of a new and empty database, which is dropped at the end."""
        name = f"test_{os.getpid()}_{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} {options}")
        try:
            yield self.url.set(database=name).render_as_string(hide_password=False)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")


class OwnServer(Server):
    """A server that was started here, and can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self._binaries, self._folder, self._data = _binaries(), folder, folder / "data"
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self._as = {"user": "postgres", "group": "postgres", "extra_groups": []}
            shutil.chown(folder, "postgres", "postgres")
        self._call("initdb", "-A", "trust", "-U", "skdpal", "-E", "UTF8", "--no-locale", "--no-sync")
        rules = self._data / "pg_hba.conf"
        rules.write_text(f"host all {GUARDED} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        for attempt in range(5):
            super().__init__(sa.URL.create("postgresql", "skdpal", None, "127.0.0.1", _free_port(), "postgres"))
            try:
                return self.start()
            except RuntimeError:  # another process may have taken the port
                if attempt == 4:
                    raise

    def start(self) -> None:
        """Start it, and wait until it answers."""
        log, settings = str(self._folder / "log"), f"-p {self.url.port} {_SETTINGS}"
        self._call("pg_ctl", "start", "-w", "-l", log, "-o", settings)

    def stop(self, mode: str) -> None:
        """Stop it; after "immediate" only what was on disk is left, as after a power cut."""
        self._call("pg_ctl", "stop", "-w", "-m", mode)

    def _call(self, program: str, *arguments: str) -> None:
        with open(self._folder / "calls", "a") as output:  # a pipe would stay open as long as the server runs
            done = subprocess.run(
                [self._binaries / program, "-D", self._data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                timeout=100,
                **self._as,
            )
        if done.returncode:
            texts = [(self._folder / name).read_text() for name in ("calls", "log") if (self._folder / name).exists()]
            raise RuntimeError(f"{program} failed: " + "\n".join(texts)[-2000:])


@contextmanager
def server(*, own: bool = False) -> Iterator[Server]:
    """A running server: one of our own, stopped and removed at the end, or the one that OTHER names.

    Without PostgreSQL the test is skipped; where REQUIRE_ALL is set, it fails.
    """
    if os.environ.get(OTHER) and not own:
        yield Server(sa.make_url(os.environ[OTHER]))
        return
    try:
        _binaries()
    except FileNotFoundError as error:
        (pytest.fail if os.environ.get("REQUIRE_ALL") else pytest.skip)(str(error))
    folder = Path(tempfile.mkdtemp(prefix="skdpal-postgresql-"))
    try:
        running = OwnServer(folder)
        try:
            yield running
        finally:
            with suppress(RuntimeError):  # it was stopped
                running.stop("immediate")
    finally:
        shutil.rmtree(folder)


def _binaries() -> Path:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name.zfill(9))
    for folder in [*reversed(versions), *map(Path, os.environ.get("PATH", "").split(os.pathsep))]:
        if all((folder / program).is_file() for program in ("initdb", "pg_ctl", "postgres")):
            return folder
    raise FileNotFoundError(MISSING)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
