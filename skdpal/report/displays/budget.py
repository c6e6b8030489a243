"""Who has paid what, against the ceiling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from skdpal.learner.palette import BLUE, INK, LINE, ROSE, SOFT
from skdpal.privacy import PrivacyBudget, events
from skdpal.privacy.accounting.amounts import add, value_of
from skdpal.privacy.accounting.gaussian import ceiling_mu_squared
from skdpal.privacy.filters import Filter, GdpFilter, RenyiFilter
from skdpal.privacy.validation import check_one_of
from skdpal.report.displays.style import Display, axes_of, legend_above, merged, named_rows, note

__all__ = ["BudgetDisplay"]

_UNITS = {"epsilon": "ε", "mu_squared": "μ²"}
_COLUMNS = {"epsilon": ("spent", "ceiling"), "mu_squared": ("spent_mu_squared", "ceiling_mu_squared")}


class BudgetDisplay(Display):
    """What the patients of each account have paid, release by release, against the ceiling.

    Parameters
    ----------
    payments : DataFrame
        One row for each receipt that the patients of an account paid, in order, with what they had paid after it: "account",
        "receipt" (its place, from 1), "label", "epsilon", "mu_squared" (NaN unless the ledger adds up μ²). Of a planned ledger,
        whose schedule is priced as a whole, only the last row of each account.
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

        Raises
        ------
        TypeError
            If it is no ledger.
        """
        if not hasattr(ledger, "root"):
            raise TypeError(
                f"Expected ledger to be a PrivacyLedger. Found {type(ledger).__name__}. Pass study.ledger, learner.ledger, or "
                "a certificate to BudgetDisplay.from_certificate."
            )
        return cls.from_certificate(ledger.root.certificate(), ax=ax, **kwargs)

    @classmethod
    def from_certificate(cls, certificate: Mapping[str, Any], *, ax: Any = None, **kwargs: Any) -> Self:
        """Read a certificate instead of the ledger.

        Parameters
        ----------
        certificate : dict
            Of `PrivacyLedger.certificate`, as from ``certificate.json``.
        ax : matplotlib Axes, optional
            Default: a new figure.
        **kwargs
            Of `plot`.

        Raises
        ------
        TypeError
            If it is no certificate.
        """
        if not isinstance(certificate, Mapping) or "odometer" not in certificate:
            raise TypeError(
                f"Expected certificate to be the dict of ledger.certificate(). Found {type(certificate).__name__}. "
                "Read certificate.json with json.load, or pass a ledger to BudgetDisplay.from_ledger."
            )
        filter, spent = _filter_of(certificate), certificate["odometer"]["epsilon_spent_by_account"]
        payments = _payments(certificate, filter)
        rows = {}
        for account, epsilon in spent.items():
            ceiling = certificate["lower_ceilings"].get(account, certificate["epsilon"])
            paid, most = math.nan, math.nan
            if isinstance(filter, GdpFilter):
                paid = payments.loc[payments["account"] == account, "mu_squared"].max()
                most = ceiling_mu_squared(PrivacyBudget(ceiling, certificate["delta"]))
                paid = 0.0 if math.isnan(paid) else paid
            rows[account] = (epsilon, ceiling, ceiling - epsilon, paid, most)
        columns = ["spent", "ceiling", "free", "spent_mu_squared", "ceiling_mu_squared"]
        accounts = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
        labels = [receipt["label"] for receipt in certificate["receipts"]]
        return cls(payments, accounts, labels=labels, delta=certificate["delta"]).plot(ax, **kwargs)

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

        Raises
        ------
        ValueError
            If the ledger does not add up μ², or for other words.
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
        ax = axes_of(self, ax, 1.2 + 0.3 * len(self.accounts))
        places = named_rows(ax, [account.removeprefix("cohort/") for account in self.accounts.index])
        style = {"height": 0.56, **merged(Rectangle, {"color": BLUE, "label": "paid"}, kwargs)}
        style.setdefault("edgecolor", "white")  # between receipts
        spent, ceiling = _COLUMNS[unit]
        top = self.accounts[ceiling].max()
        for place, (account, row) in zip(places, self.accounts.iterrows(), strict=True):
            after = self.payments.loc[self.payments["account"] == account, unit].tolist()
            for before, value in zip([0.0, *after], after, strict=False):
                ax.barh(place, value - before, left=before, **style)
                style["label"] = "_"
            ax.barh(place, row[ceiling], height=0.56, color=LINE, zorder=0.5, label="_" if place else "free")
            if row[ceiling] < top:
                ax.plot([row[ceiling]] * 2, [place - 0.36, place + 0.36], color=ROSE, linewidth=2)
            note(ax, place, f"{row[spent]:.2f}", INK)
        ax.axvline(top, color=ROSE, linewidth=2, label=self._committed(unit))
        ax.set_xlim(0, 1.02 * top)
        ax.set_xlabel(f"{_UNITS[unit]} paid by each patient{self._odometer(unit)}")
        legend_above(ax)
        return self

    def _curves(self, ax: Any, unit: str, kwargs: dict[str, Any]) -> Self:
        ax = axes_of(self, ax, 3.0)
        most, last = self.accounts[_COLUMNS[unit][1]].max(), len(self.labels) + 1
        table = self.payments.pivot(index="receipt", columns="account", values=unit)
        table = table.reindex(range(last + 1)).ffill().fillna(0.0)
        dearest = table.max(axis=1) if len(table.columns) else pd.Series(0.0, index=table.index)
        style = {
            "where": "post",
            **merged(Line2D, {"color": BLUE, "linewidth": 2.2, "label": "dearest account"}, kwargs),
        }
        for number, account in enumerate(table):
            label = "_" if number else "each account"
            ax.step(table.index, table[account], where="post", color=SOFT, linewidth=1, label=label)
        ax.step(table.index, dearest, **style)
        ax.fill_between(table.index, dearest, most, step="post", color=LINE, alpha=0.6, linewidth=0, label="free")
        ax.axhline(most, color=ROSE, linewidth=2, label=self._committed(unit))
        ax.set(xlim=(0, last - 0.4), ylim=(0, 1.04 * most))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel("receipts, in order")
        ax.set_ylabel(f"{_UNITS[unit]} paid{self._odometer(unit)}")
        legend_above(ax)
        return self

    def _committed(self, unit: str) -> str:
        return f"committed: {_UNITS[unit]} = {self.accounts[_COLUMNS[unit][1]].max():.3g}"

    def _odometer(self, unit: str) -> str:
        return f" (odometer, δ = {self.delta:g})" if unit == "epsilon" else ""


def _filter_of(certificate: Mapping[str, Any]) -> Filter | None:
    """What adds up the receipts; None for a frozen schedule, which is priced as a whole."""
    budget, how = PrivacyBudget(certificate["epsilon"], certificate["delta"]), certificate["filter_parameters"]
    if certificate["filter"] == GdpFilter.kind:
        return GdpFilter(budget)
    if certificate["filter"] == RenyiFilter.kind:
        return RenyiFilter(budget, how["orders"], how["curve"])
    return None


def _payments(certificate: Mapping[str, Any], filter: Filter | None) -> pd.DataFrame:
    """The table of `BudgetDisplay`."""
    receipts = certificate["receipts"]
    splits = {row["into"]: (row["number"], row["source"]) for row in certificate["history"] if row["kind"] == "split"}
    rows: list[tuple[Any, ...]] = []
    for account, spent in certificate["odometer"]["epsilon_spent_by_account"].items():
        paid = [place for place, receipt in enumerate(receipts) if _was_paid(receipt, account, splits)]
        if filter is None:  # only the reading of now is known
            rows += [(account, place + 1, receipts[place]["label"], spent, math.nan) for place in paid[-1:]]
            continue
        total = tuple(0 for _ in filter.ceiling)
        for place in paid:
            total = add(total, filter.price(events.from_json(receipts[place]["event"])))
            mu_squared = value_of(total[0]) if isinstance(filter, GdpFilter) else math.nan
            rows.append((account, place + 1, receipts[place]["label"], filter.epsilon(total), mu_squared))
    return pd.DataFrame(rows, columns=["account", "receipt", "label", "epsilon", "mu_squared"])


def _was_paid(receipt: Mapping[str, Any], leaf: str, splits: Mapping[str, tuple[int, str]]) -> bool:
    """Whether the patients of a leaf paid for a receipt, wherever they were then."""
    while leaf in splits and splits[leaf][0] > receipt["number"]:
        leaf = splits[leaf][1]
    account = receipt["account"]
    return account in ("cohort", leaf) or leaf.startswith(f"{account}/")
