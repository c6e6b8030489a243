"""The tables of docs/comparison.md, from docs/benchmarks/peers.csv."""

from __future__ import annotations

import csv
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "comparison.md"
TABLE = ROOT / "docs" / "benchmarks" / "peers.csv"
_PART = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def read() -> list[dict[str, str]]:
    """Rows of the CSV."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def table_of(rows: list[dict[str, str]], question: str) -> str:
    """One question: a row for each peer that was asked, skdpal last."""
    if question == "versions":
        found = {row["peer"]: row["version"] for row in rows}
        return "| | version |\n|---|---|\n" + "".join(
            f"| {peer} | {number} |\n" for peer, number in sorted(found.items())
        )
    own = sorted((row for row in rows if row["check"] == question), key=lambda row: row["peer"] == "skdpal")
    if not own:
        raise ValueError(f"Expected a check named {question!r} in {TABLE.name}.")
    cells = [(row["peer"], row["outcome"].replace("|", "\\|"), f"`{question}.{row['peer']}`") for row in own]
    return "| | what was seen | check |\n|---|---|---|\n" + "".join(f"| {' | '.join(cell)} |\n" for cell in cells)


def filled(text: str, rows: list[dict[str, str]]) -> str:
    """The page with its tables."""
    return _PART.sub(lambda part: f"{part[1]}\n{table_of(rows, part[2])}\n{part[3]}", text)


def questions_of(text: str) -> list[str]:
    """The tables that a page has."""
    return [part[2] for part in _PART.finditer(text)]


def write_tables() -> None:
    """Fill the page."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), read()), encoding="utf-8")
