"""The price of a frozen schedule, from its JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from skdpal.audit.certificate.losses import Role, bounds

__all__ = ["deviations", "digest_of", "illegal", "price_of"]

Step = Mapping[str, Any]


def digest_of(schedule: Sequence[Step]) -> str:
    """SHA-256 of the steps."""
    return hashlib.sha256(json.dumps(schedule, sort_keys=True).encode()).hexdigest()


def illegal(schedule: Sequence[Step]) -> list[str]:
    """Splits of leaves that are not there, or into names that are taken, and charges of accounts that are not there."""
    leaves, found = ["cohort/pool"], []
    for number, step in enumerate(schedule):
        if "into" in step:
            into = step["into"]
            if step["source"] not in leaves or any(_meet(into, leaf) for leaf in leaves):
                found.append(f"step {number} of the schedule splits {step['source']!r} into {into!r}, which cannot be")
            leaves.append(into)
        elif not any(leaf == step["account"] or leaf.startswith(f"{step['account']}/") for leaf in leaves):
            found.append(f"step {number} of the schedule charges {step['account']!r}, which is not there")
    return found


def deviations(certificate: Mapping[str, Any]) -> list[str]:
    """Charges and splits that were not the next step of the schedule."""
    receipts = {receipt["number"]: receipt for receipt in certificate["receipts"]}
    schedule, found = certificate["filter_parameters"]["schedule"], []
    done = [row for row in certificate["history"] if row["kind"] in ("charge", "split")]
    for row, step in zip(done, schedule, strict=False):
        number, receipt = row["number"], receipts.get(row["number"])
        if ("event" in step) != (row["kind"] == "charge"):
            found.append(f"row {number} is a {row['kind']}, which was not the next step")
        elif row["kind"] == "split" and any(row[name] != step[name] for name in ("source", "into")):
            found.append(f"row {number} splits {row['into']!r}, which was not the next step")
        elif receipt is not None and any(receipt[name] != step[name] for name in ("event", "account")):
            found.append(f"receipt {number} is not the planned one")
    return found + [f"row {row['number']} comes after the last step" for row in done[len(schedule) :]]


def price_of(certificate: Mapping[str, Any], account: str = "cohort", done: bool = False) -> tuple[float, float]:
    """ε of the schedule, or of the steps that are done: low and high, of the dearest group of an account."""
    steps = certificate["filter_parameters"]["schedule"]
    if done:
        steps = steps[: sum(row["kind"] in ("charge", "split") for row in certificate["history"])]
    found = [_bounds(json.dumps(roles), certificate["delta"]) for roles in _groups(steps, account)]
    return max(low for low, _ in found), max(high for _, high in found)


@lru_cache(maxsize=256)
def _bounds(roles: str, delta: float) -> tuple[float, float]:
    every = json.loads(roles)
    return bounds(every, delta) if any(turn for role in every for turn in role) else (0.0, 0.0)


def _groups(steps: Sequence[Step], account: str) -> list[list[Role]]:
    """The roles, by the leaf of a patient before anything was released (Theorem R iii)."""
    turns: dict[str, list[list[Any]]] = {"cohort/pool": [[]]}
    settled: dict[str, str] = {}
    for step in steps:
        if "into" in step:
            turns[step["into"]] = [list(turn) for turn in turns[step["source"]]]
            for each in turns.values():
                each.append([])
            if settled:
                settled[step["into"]] = settled[step["source"]]
            continue
        settled = settled or {leaf: leaf for leaf in turns}
        for leaf in turns:
            if leaf == step["account"] or leaf.startswith(f"{step['account']}/"):
                turns[leaf][-1].append(step["event"])
    groups: dict[str, list[Role]] = {}
    for leaf, role in turns.items():
        if leaf == account or leaf.startswith(f"{account}/"):
            groups.setdefault(settled.get(leaf, leaf), []).append(role)
    return list(groups.values())


def _meet(one: str, other: str) -> bool:
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")
