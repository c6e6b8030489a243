"""Who paid what, told again from the receipts and the history of a certificate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from skdpal.audit.certificate import gaussian, prices

__all__ = ["Leaf", "Replay", "Scale"]

Certificate = Mapping[str, Any]
Amounts = tuple[Any, ...]  # μ², or the divergence at each order


class Scale:
    """What is added up, and what it means as ε.

    Parameters
    ----------
    certificate : mapping
        Of a ledger of kind "gdp" or "renyi".
    """

    def __init__(self, certificate: Certificate) -> None:
        self.delta = certificate["delta"]
        self.orders: Sequence[float] = certificate["filter_parameters"].get("orders", ())
        self.curve = certificate["filter_parameters"].get("curve")
        self._gdp = certificate["filter"] == "gdp"

    def price(self, event: Mapping[str, Any]) -> tuple[Amounts, Amounts]:
        """Low and high."""
        if self._gdp:
            exact = (prices.mu_squared(event),)
            return exact, exact
        low, high = prices.divergences(event, self.orders)
        return tuple(low.tolist()), tuple(high.tolist())

    def nothing(self) -> Amounts:
        """Before the first charge."""
        return (0,) if self._gdp else (0.0,) * len(self.orders)

    def epsilon(self, amounts: Amounts) -> float:
        """ε of amounts."""
        if not any(amounts):
            return 0.0
        if self._gdp:
            return gaussian.epsilon_of(math.sqrt(amounts[0]), self.delta)
        return max(float((np.asarray(amounts) + prices.conversion(self.orders, self.delta)).min()), 0.0)

    def most(self, epsilon: float, whole: float) -> Amounts:
        """The amounts that a ceiling allows, in a ledger whose own ceiling is `whole`."""
        if self._gdp:
            return (gaussian.mu_of(epsilon, self.delta) ** 2,)
        if self.curve is None:
            return tuple((epsilon - prices.conversion(self.orders, self.delta)).tolist())
        low, high = 0.0, 1.0
        while epsilon < whole and high - low > 1e-12:
            middle = (low + high) / 2
            low, high = (
                (middle, high)
                if self.epsilon(tuple(middle * value for value in self.curve)) <= epsilon
                else (low, middle)
            )
        return tuple(high * value for value in self.curve)


@dataclass(frozen=True)
class Leaf:
    """What the patients of a leaf have paid; ceilings as ε, None if it is that of the ledger."""

    low: Amounts
    high: Amounts
    ceiling: float | None = None
    first: float | None = None  # the ceiling when they first paid
    paid: bool = False
    caps: Mapping[str, tuple[float, Amounts, Amounts]] = field(default_factory=dict)

    @property
    def committed(self) -> float | None:
        """The ceiling that no output decided."""
        return self.first if self.paid else self.ceiling


class Replay:
    """The accounts after all rows.

    Parameters
    ----------
    certificate : mapping
        Of the published form.

    Attributes
    ----------
    leaves : dict of str to Leaf
    problems : list of str
        Rows that no ledger writes.
    """

    def __init__(self, certificate: Certificate) -> None:
        planned = certificate["filter"] == "planned"
        self.scale = None if planned else Scale(certificate)
        nothing: Amounts = () if self.scale is None else self.scale.nothing()
        self.leaves = {"cohort/pool": Leaf(nothing, nothing)}
        self.problems: list[str] = []
        self._sampled: dict[str, str] = {}
        self._ancestors: dict[str, set[str]] = {"cohort/pool": {"cohort/pool"}}
        receipts = {receipt["number"]: receipt for receipt in certificate["receipts"]}
        for row in certificate["history"]:
            if row["kind"] == "split":
                self._split(row)
            elif row["kind"] == "cap":
                self._cap(row)
            elif row["kind"] == "charge" and row["number"] in receipts:
                self._charge(receipts[row["number"]])

    def under(self, account: str) -> list[str]:
        """The leaves at or below an account."""
        return [leaf for leaf in self.leaves if leaf == account or leaf.startswith(f"{account}/")]

    def _split(self, row: Mapping[str, Any]) -> None:
        source, into, epsilon = row["source"], row["into"], row["epsilon"]
        if source not in self.leaves or self.under(into) or any(into.startswith(f"{leaf}/") for leaf in self.leaves):
            self.problems.append(f"row {row['number']}: no leaf {into!r} can be split from {source!r}")
            return
        leaf = self.leaves[source]
        lower = [value for value in (leaf.ceiling, epsilon) if value is not None]
        self.leaves[into] = replace(leaf, ceiling=min(lower, default=None))
        self._ancestors[into] = {into, *self._ancestors[source]}
        if row["sampled"]:
            self._sampled[into] = source
        elif source in self._sampled:
            self._sampled[into] = self._sampled[source]

    def _cap(self, row: Mapping[str, Any]) -> None:
        leaves = self.under(row["account"])
        if not leaves or any(row["name"] in self.leaves[leaf].caps for leaf in leaves):
            self.problems.append(f"row {row['number']}: {row['account']!r} cannot get a cap {row['name']!r}")
            return
        nothing: Amounts = () if self.scale is None else self.scale.nothing()
        for leaf in leaves:
            caps = {**self.leaves[leaf].caps, row["name"]: (row["epsilon"], nothing, nothing)}
            self.leaves[leaf] = replace(self.leaves[leaf], caps=caps)

    def _charge(self, receipt: Mapping[str, Any]) -> None:
        number, account, event = receipt["number"], receipt["account"], receipt["event"]
        leaves = self.under(account)
        if not leaves:
            self.problems.append(f"receipt {number}: there was no account {account!r}")
        drawn = {self._sampled[leaf] for leaf in leaves if leaf in self._sampled}
        if any(drawn & self._ancestors[leaf] for leaf in self.leaves if leaf not in leaves):
            self.problems.append(f"receipt {number}: {account!r} was drawn by coins and cannot pay alone (rule L7)")
        parts = prices.parts_of(event)
        if receipt["cap"] is not None:
            parts[receipt["cap"]] = [event]
            if any(receipt["cap"] not in self.leaves[leaf].caps for leaf in leaves):
                self.problems.append(f"receipt {number}: {account!r} had no cap {receipt['cap']!r}")
        for leaf in leaves:
            self.leaves[leaf] = self._paid(self.leaves[leaf], event, parts)

    def _paid(self, leaf: Leaf, event: Mapping[str, Any], parts: Mapping[str, list[Any]]) -> Leaf:
        first = leaf.committed
        if self.scale is None:
            return replace(leaf, first=first, paid=True)
        low, high = self.scale.price(event)
        caps = dict(leaf.caps)
        for name in parts.keys() & caps.keys():
            epsilon, below, above = caps[name]
            part_low, part_high = self.scale.price(parts[name][0])
            caps[name] = epsilon, _sum(below, part_low), _sum(above, part_high)
        return replace(leaf, low=_sum(leaf.low, low), high=_sum(leaf.high, high), first=first, paid=True, caps=caps)


def _sum(left: Amounts, right: Amounts) -> Amounts:
    return tuple(a + b for a, b in zip(left, right, strict=True))
