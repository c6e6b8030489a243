"""Accounts: disjoint groups of patients, and what each group has paid.

Invariants (the numbers are those of docs/trusted_kernel.md)
----------
* L1  A charge to an account falls on every leaf at or below it; `cohort` is everyone, always.
* L4  Every leaf counts, occupied or not; occupancy is unknown here, so no number can depend on it.
* L5  A new leaf inherits everything that its source has paid.
* L6  Leaves are disjoint; who is in which is the vault's business.
* The spend of an account is that of its most expensive leaf, taken on sums of μ².
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

__all__ = ["POOL", "ROOT", "Accounts"]

ROOT = "cohort"
POOL = "cohort/pool"
_NAME = re.compile(r"cohort(/[a-z0-9][a-z0-9._-]*)+")


@dataclass
class Accounts:
    """The tree of accounts with the payments of every leaf, rebuilt from the journal."""

    leaves: dict[str, list[float]] = field(default_factory=lambda: {POOL: []})
    paid_replace_one: dict[str, list[float]] = field(default_factory=lambda: {POOL: []})

    def check(self, account: str) -> str:
        """The name of an account that exists."""
        if not self.under(account):
            known = ", ".join(repr(name) for name in (ROOT, *self.leaves))
            raise ValueError(f"Expected account to be one of {known}. Found {account!r}. Make it with ledger.split.")
        return account

    def under(self, account: str) -> list[str]:
        """All leaves at or below an account."""
        return [leaf for leaf in self.leaves if leaf == account or leaf.startswith(f"{account}/")]

    def spent(self, account: str = ROOT, *, replace_one: bool = False) -> float:
        """μ² of the most expensive leaf at or below an account."""
        paid = self.paid_replace_one if replace_one else self.leaves
        return max(math.fsum(paid[leaf]) for leaf in self.under(self.check(account)))

    def charge(self, account: str, mu_squared: float, replace_one: float) -> None:
        """Let every leaf at or below an account pay."""
        for leaf in self.under(self.check(account)):
            self.leaves[leaf].append(mu_squared)
            self.paid_replace_one[leaf].append(replace_one)

    def check_split(self, source: str, into: str) -> None:
        """Raise unless a new leaf `into` may be split from the leaf `source`."""
        if source not in self.leaves:
            known = ", ".join(repr(name) for name in self.leaves)
            raise ValueError(f"Expected account to be a leaf, one of {known}. Found {source!r}.")
        if not isinstance(into, str) or not _NAME.fullmatch(into):
            raise ValueError(
                f"Expected into= to be a name like 'cohort/round-1' (lower case, digits, '.', '_', '-'). Found {into!r}."
            )
        related = [
            leaf for leaf in self.leaves if into.startswith(f"{leaf}/") or leaf == into or leaf.startswith(f"{into}/")
        ]
        if related:
            raise ValueError(f"Account {into!r} meets the existing account {related[0]!r}. Choose another name.")

    def split(self, source: str, into: str) -> None:
        """Open a leaf that inherits what its source has paid."""
        self.check_split(source, into)
        self.leaves[into] = list(self.leaves[source])
        self.paid_replace_one[into] = list(self.paid_replace_one[source])
