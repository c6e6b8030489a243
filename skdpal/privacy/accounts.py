"""Accounts: disjoint groups of patients, and what each group has paid.

Invariants (the numbers are those of docs/trusted_kernel.md)
----------
* L1  A charge to an account falls on every leaf at or below it; `cohort` is everyone, always.
* L4  Every leaf counts, occupied or not; occupancy is unknown here, so no number can depend on it.
* L5  A new leaf inherits everything that its source has paid, its ceiling and its caps.
* L6  Leaves are disjoint; who is in which is the vault's business.
* A cap limits a named part of what a leaf pays, such as one modality; it pays with the leaf or not at all.
* L7  A leaf that secret coins filled, at the price of a sample, is charged together with the leaf that paid and all
  that were split from it, or not at all.
* The spend of an account is that of its most expensive leaf, taken amount by amount before
  anything is converted to ε.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from skdpal.privacy.accounting.amounts import Amounts, add, fits

__all__ = ["POOL", "ROOT", "Accounts", "Leaf"]

ROOT = "cohort"
POOL = "cohort/pool"
Parts = Mapping[str, Amounts]  # what falls on named parts; where a leaf has no cap of a name, nothing limits it
_WHOLE: Parts = {}
_NAME = re.compile(r"cohort(/[a-z0-9][a-z0-9._-]*)+")


@dataclass(frozen=True)
class Leaf:
    """What the patients of one leaf have paid, and may pay at most; `caps` the same for parts of it."""

    paid: Amounts
    ceiling: Amounts
    caps: dict[str, Leaf] = field(default_factory=dict)

    def fits(self, price: Amounts) -> bool:
        """Whether a price fits below the ceiling."""
        return fits(add(self.paid, price), self.ceiling)

    def charged(self, price: Amounts, parts: Parts = _WHOLE) -> Leaf:
        """The leaf after it, and its caps, have paid."""
        caps = {name: cap.charged(parts[name], {}) if name in parts else cap for name, cap in self.caps.items()}
        return replace(self, paid=add(self.paid, price), caps=caps)


class Accounts:
    """The tree of accounts with the payments of every leaf, rebuilt from the journal.

    Parameters
    ----------
    ceiling : tuple
        What everybody may pay at most, in amounts.
    """

    def __init__(self, ceiling: Amounts) -> None:
        self.leaves = {POOL: Leaf(tuple(0 for _ in ceiling), ceiling)}
        self.sampled: dict[str, str] = {}  # leaves filled by secret coins, with the leaf that paid for the sample
        self.parents: dict[str, str] = {}  # of every leaf but the first: the leaf it was split from
        self.steps = 0  # charges and splits so far

    def check(self, account: str, cap: str | None = None) -> str:
        """The name of an account that exists, with the cap if one is named."""
        leaves = self.under(account)
        if not leaves:
            known = ", ".join(repr(name) for name in (ROOT, *self.leaves))
            raise ValueError(f"Expected account to be one of {known}. Found {account!r}. Make it with ledger.split.")
        if cap is not None and not all(cap in self.leaves[leaf].caps for leaf in leaves):
            raise ValueError(
                f"Expected cap to be one that every leaf of {account!r} has. Found {cap!r}. Make it with ledger.cap."
            )
        return account

    def check_whole(self, account: str) -> None:
        """Raise if a charge would fall on a sample but not on those it was drawn from (L7)."""
        leaves = self.under(self.check(account))
        payers = {self.sampled[leaf] for leaf in leaves if leaf in self.sampled}
        for leaf in self.leaves if payers else ():
            if leaf not in leaves and payers & self._ancestors(leaf):
                raise ValueError(
                    f"Account {account!r} has patients whom secret coins chose, and their price covers one release of "
                    "the sample. Charge 'cohort', with everybody who might have been chosen."
                )

    def under(self, account: str) -> list[str]:
        """All leaves at or below an account."""
        return [leaf for leaf in self.leaves if leaf == account or leaf.startswith(f"{account}/")]

    def affords(self, account: str, price: Amounts, parts: Parts = _WHOLE) -> bool:
        """Whether every leaf at or below an account, and every cap, can pay."""
        return not self.broke(self.check(account), price, parts)

    def spent(self, account: str = ROOT, cap: str | None = None) -> Amounts:
        """The largest of what the leaves at or below an account have paid, order by order."""
        leaves = [self.leaves[leaf] for leaf in self.under(self.check(account, cap))]
        paid = [leaf.paid if cap is None else leaf.caps[cap].paid for leaf in leaves]
        return tuple(max(column) for column in zip(*paid, strict=True))

    def broke(self, account: str, price: Amounts, parts: Parts = _WHOLE) -> list[tuple[Leaf, str | None]]:
        """The leaves, and the caps with their names, that cannot pay."""
        leaves = [self.leaves[leaf] for leaf in self.under(account)]
        poor: list[tuple[Leaf, str | None]] = [(leaf, None) for leaf in leaves if not leaf.fits(price)]
        capped = [(leaf.caps[name], name, part) for leaf in leaves for name, part in parts.items() if name in leaf.caps]
        return [*poor, *((cap, name) for cap, name, part in capped if not cap.fits(part))]

    def charge(self, account: str, price: Amounts, parts: Parts = _WHOLE) -> None:
        """Let every leaf at or below an account pay."""
        for leaf in self.under(self.check(account)):
            self.leaves[leaf] = self.leaves[leaf].charged(price, parts)
        self.steps += 1

    def check_split(self, source: str, into: str, ceiling: Amounts | None = None) -> None:
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
        if ceiling is not None and not fits(self.leaves[source].paid, ceiling):
            raise ValueError(f"Expected a ceiling above what {source!r} has paid already. Raise it, or split earlier.")

    def split(self, source: str, into: str, ceiling: Amounts | None = None) -> None:
        """Open a leaf that inherits what its source has paid; its ceiling may be lower, never higher."""
        self.check_split(source, into, ceiling)
        if source in self.sampled:
            self.sampled[into] = self.sampled[source]
        self.parents[into] = source
        leaf = self.leaves[source]
        if ceiling is not None:
            leaf = replace(leaf, ceiling=tuple(map(min, leaf.ceiling, ceiling)))
        self.leaves[into] = leaf
        self.steps += 1

    def _ancestors(self, leaf: str) -> set[str]:
        """A leaf, the one it was split from, and so on."""
        found = {leaf}
        while leaf in self.parents:
            leaf = self.parents[leaf]
            found.add(leaf)
        return found

    def check_cap(self, account: str, name: str) -> None:
        """Raise unless a part of an account may be limited under a new name."""
        if not isinstance(name, str) or not name:
            raise ValueError(f"Expected the name of a cap to be a word. Found {name!r}.")
        if any(name in self.leaves[leaf].caps for leaf in self.under(self.check(account))):
            raise ValueError(f"Cap {name!r} of {account!r} exists and never changes. Choose another name.")

    def cap(self, account: str, name: str, ceiling: Amounts) -> None:
        """Limit one part of what the leaves of an account pay from now on."""
        self.check_cap(account, name)
        for leaf in self.under(account):
            nothing = Leaf(tuple(0 for _ in ceiling), ceiling)
            self.leaves[leaf] = replace(self.leaves[leaf], caps={**self.leaves[leaf].caps, name: nothing})
