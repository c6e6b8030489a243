"""Who has paid what, against the ceiling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from skdpal.learner.palette import BLUE, INK, LINE, ROSE, SLATE
from skdpal.privacy import PrivacyBudget, events
from skdpal.privacy.accounting.amounts import add, value_of
from skdpal.privacy.accounting.gaussian import ceiling_mu_squared
from skdpal.privacy.filters import Filter, GdpFilter, RenyiFilter
from skdpal.privacy.validation import check_one_of
from skdpal.report.displays.style import Display, axes_of, merged, named_rows, note

__all__ = ["BudgetDisplay"]

_UNITS = {"epsilon": "ε", "mu_squared": "μ²"}


class BudgetDisplay(Display):
    """What the patients of each account have paid, release by release, against the ceiling.

    Parameters
    ----------
    payments : DataFrame
        One row for each receipt that the patients of an account paid, in order, with what they had paid after it: "account",
        "receipt" (its place, from 1), "label", "epsilon", "mu_squared" (NaN unless the ledger adds up μ²).
    accounts : DataFrame
        Indexed by account: "spent" (ε, an odometer), "ceiling" (ε), "free" (their difference), "spent_mu_squared",
        "ceiling_mu_squared" (NaN unless the ledger adds up μ²).
    labels : sequence of str
        Of all receipts, in order.
    delta : float
        At which ε holds.

    Attributes
    ----------
    payments, accounts, labels, delta
        As given.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Notes
    -----
    Free: it reads the journal, which is public. Who or how many are in an account is not in it. ε does not add up; μ² does,
    so with ``unit="mu_squared"`` the parts of a bar are prices (docs/trusted_kernel.md).

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.privacy import events
    >>> from skdpal.report import BudgetDisplay
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0, delta=1e-5))
    >>> start = ledger.split("cohort/pool", into="cohort/start", members=["a", "b"])
    >>> receipt = start.charge(events.gaussian(4.0), label="fit")
    >>> display = BudgetDisplay.from_ledger(ledger)
    >>> display.accounts["spent"].round(3).to_dict()
    {'cohort/pool': 0.0, 'cohort/start': 0.926}
    """

    def __init__(self, payments: pd.DataFrame, accounts: pd.DataFrame, *, labels: list[str], delta: float) -> None:
        self.payments, self.accounts, self.labels, self.delta = payments, accounts, labels, delta

    @classmethod
    def from_ledger(cls, ledger: Any, *, ax: Any = None, **kwargs: Any) -> Self:
        """Read a ledger.

        Parameters
        ----------
        ledger : PrivacyLedger or Handle
            A handle shows its whole ledger.
        ax : matplotlib Axes, optional
            Default: a new figure.
        **kwargs
            Of `plot`.
        """
        if not hasattr(ledger, "root"):
            raise TypeError(
                f"Expected ledger to be a PrivacyLedger. Found {type(ledger).__name__}. Pass study.ledger, learner.ledger, or "
                "a certificate to BudgetDisplay.from_certificate."
            )
        ledger = ledger.root
        paid = {leaf: [one["number"] for one in ledger.certificate(leaf)["receipts"]] for leaf in ledger.accounts()}
        return cls._of(ledger.certificate(), paid).plot(ax, **kwargs)

    @classmethod
    def from_certificate(cls, certificate: Mapping[str, Any], *, ax: Any = None, **kwargs: Any) -> Self:
        """Read a certificate, as from ``certificate.json``.

        Parameters
        ----------
        certificate : dict
            Of a whole ledger. If it does not say which account was split from which, bars have no parts.
        ax : matplotlib Axes, optional
            Default: a new figure.
        **kwargs
            Of `plot`.
        """
        if not isinstance(certificate, Mapping) or "odometer" not in certificate:
            raise TypeError(
                f"Expected certificate to be the dict of ledger.certificate(). Found {type(certificate).__name__}. "
                "Read certificate.json with json.load, or pass a ledger to BudgetDisplay.from_ledger."
            )
        return cls._of(certificate, _inherited(certificate)).plot(ax, **kwargs)

    @classmethod
    def _of(cls, certificate: Mapping[str, Any], paid: Mapping[str, list[int]] | None) -> Self:
        filter, spent = _filter_of(certificate), certificate["odometer"]["epsilon_spent_by_account"]
        payments = _payments(certificate["receipts"], spent, paid if filter is not None else None, filter)
        lower = certificate["lower_ceilings"]
        rows = {}
        for account, epsilon in spent.items():
            ceiling = lower.get(account, certificate["epsilon"])
            last = payments.loc[payments["account"] == account, "mu_squared"]
            most = math.nan
            if isinstance(filter, GdpFilter):
                most = ceiling_mu_squared(PrivacyBudget(ceiling, certificate["delta"]))
            rows[account] = (epsilon, ceiling, ceiling - epsilon, last.iloc[-1] if len(last) else 0.0 * most, most)
        columns = ["spent", "ceiling", "free", "spent_mu_squared", "ceiling_mu_squared"]
        accounts = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
        labels = [receipt["label"] for receipt in certificate["receipts"]]
        return cls(payments, accounts, labels=labels, delta=certificate["delta"])

    def plot(self, ax: Any = None, *, by: str = "account", unit: str = "epsilon", **kwargs: Any) -> Self:
        """Draw what was paid.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Default: a new figure.
        by : {"account", "receipt"}, default="account"
            A bar for each account, cut at its receipts; or curves over receipts, one for each account and a bold one for
            the dearest.
        unit : {"epsilon", "mu_squared"}, default="epsilon"
            μ² only for ledgers of filter "gdp".
        **kwargs
            Of the bars (`Axes.barh`), or of the bold curve (`Axes.step`).

        Returns
        -------
        BudgetDisplay
        """
        check_one_of("by", by, ["account", "receipt"])
        check_one_of("unit", unit, _UNITS)
        if unit == "mu_squared" and self.accounts["ceiling_mu_squared"].isna().any():
            raise ValueError(
                "Expected unit='epsilon': this ledger does not add up μ². Found unit='mu_squared'. Leave it out, or use "
                'filter="gdp".'
            )
        return (self._bars if by == "account" else self._curves)(ax, unit, kwargs)

    def _bars(self, ax: Any, unit: str, kwargs: dict[str, Any]) -> Self:
        names = [account.removeprefix("cohort/") for account in self.accounts.index]
        ax = axes_of(self, ax, 1.2 + 0.3 * len(names))
        spent, ceiling = self._columns(unit)
        places = named_rows(ax, names)
        style = merged(Rectangle, {"color": BLUE}, kwargs)
        if "edgecolor" not in style:
            style["edgecolor"] = "white"
        for place, account in zip(places, self.accounts.index, strict=True):
            most, now = self.accounts.loc[account, ceiling], self.accounts.loc[account, spent]
            ax.barh(place, most, height=0.56, color=LINE, label="free" if not place else "_")
            after = self.payments.loc[self.payments["account"] == account, unit].tolist()
            for before, value in zip([0.0, *after], after, strict=False):
                ax.barh(place, value - before, **{"left": before, "height": 0.56, **style})
            if most < self.accounts[ceiling].max():
                ax.plot([most, most], [place - 0.36, place + 0.36], color=ROSE, linewidth=2)
            note(ax, place, f"{now:.2f}", INK)
        self._ceiling(ax.axvline, self.accounts[ceiling].max())
        ax.set_xlim(0, 1.02 * self.accounts[ceiling].max())
        ax.set_xlabel(f"{_UNITS[unit]} paid by each patient of the account{self._at(unit)}")
        ax.set_title(self._words(unit), size="small", color=ROSE, loc="right")
        return self

    def _curves(self, ax: Any, unit: str, kwargs: dict[str, Any]) -> Self:
        ax = axes_of(self, ax, 3.0)
        spent, ceiling = self._columns(unit)
        steps, most = range(len(self.labels) + 1), self.accounts[ceiling].max()
        table = self.payments.pivot(index="receipt", columns="account", values=unit)
        table = table.reindex(steps).ffill().fillna(0.0)
        for account in table:
            ax.step(steps, table[account], where="post", color=SLATE, linewidth=1)
        bold = table.max(axis=1) if len(table.columns) else pd.Series(0.0, index=list(steps))
        style = merged(Line2D, {"color": BLUE, "linewidth": 2, "label": "dearest account"}, kwargs)
        ax.step(steps, bold, **{"where": "post", **style})
        if len(table.columns):
            ax.plot([], [], color=SLATE, linewidth=1, label="each account")
        ax.fill_between(steps, bold, most, step="post", color=LINE, alpha=0.5, linewidth=0, label="free")
        self._ceiling(ax.axhline, most)
        ax.set(xlim=(0, max(len(self.labels), 1)), ylim=(0, 1.04 * most))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel("receipts, in order")
        ax.set_ylabel(f"{_UNITS[unit]} paid{self._at(unit)}")
        ax.set_title(self._words(unit), size="small", color=ROSE, loc="right")
        ax.legend(frameon=False, fontsize="small", loc="lower right")
        return self

    def _columns(self, unit: str) -> tuple[str, str]:
        return ("spent", "ceiling") if unit == "epsilon" else ("spent_mu_squared", "ceiling_mu_squared")

    def _ceiling(self, line: Any, most: float) -> None:
        line(most, color=ROSE, linewidth=2)

    def _words(self, unit: str) -> str:
        return f"committed: {_UNITS[unit]} = {self.accounts[self._columns(unit)[1]].max():.3g}"

    def _at(self, unit: str) -> str:
        return f" (odometer, δ = {self.delta:g})" if unit == "epsilon" else ""


def _filter_of(certificate: Mapping[str, Any]) -> Filter | None:
    """What adds up the receipts; None if they are not added up one by one, as in a frozen schedule."""
    budget, how = PrivacyBudget(certificate["epsilon"], certificate["delta"]), certificate["filter_parameters"]
    if certificate["filter"] == GdpFilter.kind:
        return GdpFilter(budget)
    if certificate["filter"] == RenyiFilter.kind:
        return RenyiFilter(budget, how["orders"], how["curve"])
    return None


def _inherited(certificate: Mapping[str, Any]) -> dict[str, list[int]] | None:
    """Numbers of the receipts that the patients of each leaf paid, also before they came to it; None if it is not said."""
    if "splits" not in certificate:
        return None
    made = {split["into"]: (split["number"], split["source"]) for split in certificate["splits"]}

    def paid(leaf: str, receipt: Mapping[str, Any]) -> bool:
        while leaf in made and made[leaf][0] > receipt["number"]:
            leaf = made[leaf][1]
        account = receipt["account"]
        return account in ("cohort", leaf) or leaf.startswith(f"{account}/")

    leaves = certificate["odometer"]["epsilon_spent_by_account"]
    return {leaf: [one["number"] for one in certificate["receipts"] if paid(leaf, one)] for leaf in leaves}


def _payments(
    receipts: list[dict[str, Any]],
    spent: Mapping[str, float],
    paid: Mapping[str, list[int]] | None,
    filter: Filter | None,
) -> pd.DataFrame:
    """The table of `BudgetDisplay`; only the last state of each account if it is not known who paid for what."""
    places = {receipt["number"]: place for place, receipt in enumerate(receipts, start=1)}
    rows: list[tuple[Any, ...]] = []
    for account, epsilon in spent.items():
        if paid is None or filter is None:
            if epsilon > 0:
                rows.append((account, len(receipts), receipts[-1]["label"], epsilon, math.nan))
            continue
        total = tuple(0 for _ in filter.ceiling)
        for number in paid[account]:
            receipt = receipts[places[number] - 1]
            total = add(total, filter.price(events.from_json(receipt["event"])))
            mu_squared = value_of(total[0]) if isinstance(filter, GdpFilter) else math.nan
            rows.append((account, places[number], receipt["label"], filter.epsilon(total), mu_squared))
    return pd.DataFrame(rows, columns=["account", "receipt", "label", "epsilon", "mu_squared"])
