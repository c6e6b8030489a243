"""How long a question and a receipt take, with few and many receipts in the store.

    python -m tests.benchmarks.ledger

Ratios are against a bare append to an SQLite file (WAL, synchronous FULL, BEGIN IMMEDIATE) in the same run. Writes
docs/benchmarks/ledger.csv.
"""

from __future__ import annotations

import sqlite3
import statistics
import tempfile
import time
from pathlib import Path

import pandas as pd

from skdpal.privacy import PrivacyBudget, PrivacyLedger, events

SIZES = (100, 3_000, 10_000)
REPEATS = 300
OUT = Path(__file__).parents[2] / "docs" / "benchmarks" / "ledger.csv"


def median_ms(action):
    """Median time of one call, in milliseconds."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def bare_append(folder):
    """What nobody can do without: one durable row, on a connection that stays open."""
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, body TEXT)")

    def append():
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO rows (body) VALUES (?)", ("x" * 300,))
        connection.execute("COMMIT")

    return append


def main():
    """Measure, print, write the table."""
    event = events.gaussian(1e4)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        append = bare_append(folder)
        ledger = PrivacyLedger.create(folder / "a.ledger", PrivacyBudget(2.0))
        number = 0
        for size in SIZES:
            while number < size:
                ledger.charge(event, "fill")
                number += 1
            bare = median_ms(append)
            asked = median_ms(lambda: ledger.affords(event))
            paid = median_ms(lambda: ledger.charge(event, "measure"))
            number += REPEATS
            start = time.perf_counter()
            PrivacyLedger.open(folder / "a.ledger").spent()
            opened = 1e3 * (time.perf_counter() - start)
            rows.append(
                {
                    "receipts": size,
                    "affords_ms": asked,
                    "charge_ms": paid,
                    "bare_append_ms": bare,
                    "charge_over_bare": paid / bare,
                    "open_and_replay_ms": opened,
                }
            )
    table = pd.DataFrame(rows).round(3)
    table["affords_growth"] = (table["affords_ms"] / table["affords_ms"][0]).round(2)
    table["charge_growth"] = (table["charge_ms"] / table["charge_ms"][0]).round(2)
    OUT.parent.mkdir(exist_ok=True)
    table.to_csv(OUT, index=False)
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
