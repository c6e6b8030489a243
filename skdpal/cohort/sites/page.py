"""A site's certificate in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["page_of"]


def page_of(site: str, certificate: Mapping[str, Any]) -> str:
    """A page that the hospital's board can read.

    Parameters
    ----------
    site : str
    certificate : mapping
        Of the account of the site.
    """
    receipts = [
        f"- {receipt['date']}  {receipt['label']} (paid by {receipt['account']}; alone ε={receipt['epsilon']:.2f})"
        for receipt in certificate["receipts"]
    ]
    odometer = certificate["odometer"]
    return "\n".join(
        [
            f"# What hospital {site!r} may tell its patients",
            "",
            f"Status: {certificate['status']}.",
            "",
            f"{certificate['statement']} This was fixed before anything of theirs was released, and holds whatever other "
            "hospitals of the study spend.",
            "",
            f"{certificate['adjacency_in_words']} Unit: {certificate['unit']}.",
            "",
            "## What was released with their data",
            "",
            *(receipts or ["Nothing."]),
            "",
            f"Spent so far: ε={odometer['epsilon_spent']:.2f}. {odometer['in_words']}",
            "",
            "## What this does not cover",
            "",
            *(f"- {line}" for line in certificate["not_covered"]),
            "- The same patient under another id, here or at another hospital: the prices of both then add up.",
            "",
            f"Journal: {certificate['journal_head']}",
        ]
    )
