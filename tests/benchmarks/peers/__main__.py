"""The cells of docs/comparison.md: small checks of skdpal and its peers, each run, none retyped.

python -m tests.benchmarks.peers                    # all; writes docs/benchmarks/peers.csv and the tables of the page
python -m tests.benchmarks.peers search.diffprivlib # one or several; prints
python -m tests.benchmarks.peers --tables           # the page's tables from the CSV

diffprivlib, OpenDP and modAL run in an environment of their own: ``make build/peers/.ready``.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

from . import checks
from .checks import DISTRIBUTIONS, ELSEWHERE

ROOT = Path(__file__).parents[3]
TABLE = ROOT / "docs" / "benchmarks" / "peers.csv"
COLUMNS = ["check", "peer", "version", "outcome", "seconds"]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def here(names: list[str]) -> None:
    """Run checks in this environment; a line of JSON each."""
    warnings.simplefilter("ignore")
    known = checks.load()
    for name in names:
        question, peer = name.split(".")
        start = time.perf_counter()
        outcome = known[name]()
        row = [question, peer, version(DISTRIBUTIONS[peer]), outcome, round(time.perf_counter() - start, 2)]
        print("\n" + json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False), flush=True)


def python_of(peer: str) -> Path:
    """The interpreter of the peer's environment."""
    python = ROOT / "build" / "peers" / "bin" / "python" if peer in ELSEWHERE else Path(sys.executable)
    if not python.exists():
        raise FileNotFoundError(f"Expected {python}, for {peer}. Make it: make build/peers/.ready.")
    return python


def run(names: list[str]) -> list[dict[str, str]]:
    """Every check in its environment, one process a peer."""
    rows = []
    for peer in dict.fromkeys(name.split(".")[1] for name in names):
        own = [name for name in names if name.split(".")[1] == peer]
        # modAL installs a package named tests, which would hide ours
        module, folder = (
            ("peers", ROOT / "tests" / "benchmarks") if peer in ELSEWHERE else ("tests.benchmarks.peers", ROOT)
        )
        command = [python_of(peer), "-W", "ignore", "-m", module, "--here", *own]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **ONE_THREAD, "SKDPAL_PYTHON": sys.executable},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"check"')]
        if len(found) != len(own):
            raise RuntimeError(f"{peer}: {len(found)} of {len(own)} checks reported.")
        rows += found
        for row in found:
            print(f"{row['check']:>18} {row['peer']:<16} {row['seconds']:6.1f} s  {row['outcome']}", flush=True)
    order = [f"{row['check']}.{row['peer']}" for row in rows]
    return [rows[order.index(name)] for name in names]


def main() -> None:
    """Run what is asked for."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--here"]:
        here(arguments[1:])
        return
    from .page import write_tables

    if arguments != ["--tables"]:
        names = arguments or list(checks.load())
        rows = run(names)
        if arguments:
            return
        with TABLE.open("w", newline="", encoding="utf-8") as file:
            file.write("# python -m tests.benchmarks.peers\n")
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    write_tables()


if __name__ == "__main__":
    main()
