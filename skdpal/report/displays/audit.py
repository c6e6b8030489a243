"""What was claimed, and what attacks could prove."""

from __future__ import annotations

import textwrap
from typing import Any, Self

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from skdpal.learner.palette import AMBER, BLUE, INK, LINE, ROSE, SLATE, SOFT
from skdpal.privacy.validation import check_one_of
from skdpal.report.displays.style import Display, axes_of, legend_above, merged, named_rows, note, require_columns

__all__ = ["AuditDisplay"]

# verdicts of skdpal.audit
_FINE = ["below its price", "not protected, as stated", "planted fault, caught"]
_BEATEN = ["BEATS ITS PRICE", "exceeds its price on a path", "differs without a receipt"]
_UNITS = {"mu": "μ", "epsilon": "ε"}


class AuditDisplay(Display):
    """Claimed against attacked, a row for each canary.

    An attack proves a lower bound of what leaks. It has to stay at or below the claim; a canary that is not protected, the
    ghost, has to break through, or the attack is too weak to say anything.

    Parameters
    ----------
    canaries : DataFrame
        One row each: "canary" (name), "protected" (bool), "claimed_mu", "claimed_epsilon" (NaN or infinity if nothing is
        claimed), "mu_low", "epsilon_low" (lower bounds, at least 0), and, shown if they are there, "delta", "runs", "power"
        (0 to 1), "verdict".

    Attributes
    ----------
    canaries : DataFrame
        As given.
    beaten_ : list of str
        Protected canaries whose bound is above the claim.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Notes
    -----
    Free: audits run on made-up patients.

    Examples
    --------
    >>> import pandas as pd
    >>> from skdpal.report import AuditDisplay
    >>> frame = pd.DataFrame({"canary": ["training", "ghost"], "protected": [True, False], "claimed_mu": [0.5, 0.0],
    ...     "claimed_epsilon": [2.0, 0.0], "mu_low": [0.41, 3.2], "epsilon_low": [1.5, 14.0]})
    >>> AuditDisplay.from_report(frame).beaten_
    []
    """

    def __init__(self, canaries: pd.DataFrame) -> None:
        self.canaries = canaries
        verdicts = _verdicts(canaries)
        above = (canaries["mu_low"] > canaries["claimed_mu"]) | (canaries["epsilon_low"] > canaries["claimed_epsilon"])
        above = above.where(verdicts == "", verdicts.isin(_BEATEN))  # a report has looked more closely
        self.beaten_ = canaries.loc[above & canaries["protected"].astype(bool), "canary"].tolist()

    @classmethod
    def from_report(cls, report: Any, *, ax: Any = None, **kwargs: Any) -> Self:
        """Take what `skdpal.audit.audit` returns.

        Parameters
        ----------
        report : AuditReport or DataFrame
            A report, or its `frame()`.
        ax : matplotlib Axes, optional
            Default: a new figure.
        **kwargs
            Of `plot`.
        """
        frame = report.frame() if hasattr(report, "frame") else report
        columns = ["canary", "protected", "claimed_mu", "claimed_epsilon", "mu_low", "epsilon_low"]
        require_columns("report", frame, columns, "Pass what skdpal.audit.audit returns, or its frame().")
        return cls(frame).plot(ax, **kwargs)

    def plot(self, ax: Any = None, *, unit: str = "mu", **kwargs: Any) -> Self:
        """Draw a dot for what was proven, a tick for what was claimed.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Default: a new figure.
        unit : {"mu", "epsilon"}, default="mu"
            Of both.
        **kwargs
            Of the dots (`Axes.plot`).

        Returns
        -------
        AuditDisplay
        """
        check_one_of("unit", unit, _UNITS)
        table = self.canaries
        ax = axes_of(self, ax, 1.3 + 0.4 * len(table))
        names = table["canary"].astype(str).str.replace("_", " ")
        names = names.where(table["protected"].astype(bool), names + "\nnot protected, as stated")
        right, said = self._reach(unit), set()
        for place, verdict, (_, row) in zip(named_rows(ax, names), _verdicts(table), table.iterrows(), strict=True):
            claim, low = float(row[f"claimed_{unit}"]), float(row[f"{unit}_low"])
            colour, words = self._look(row, verdict, unit)
            at = min(low, 0.97 * right)  # what is not protected may leave the axes
            ax.plot([0, at], [place, place], color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt")
            label = "proven" if row["protected"] else "proven, not protected"
            dot = {"marker": "o" if low == at else ">", "linestyle": "none", "color": colour, "markersize": 7}
            ax.plot([at], [place], **merged(Line2D, {**dot, "label": _once(label, said)}, kwargs))
            if row["protected"] and np.isfinite(claim):
                reach = [place - 0.34, place + 0.34]
                ax.plot([claim, claim], reach, color=INK, linewidth=2.2, label=_once("claimed", said))
            note(ax, place, words, ROSE if colour == ROSE else SOFT)
        ax.set_xlim(0, right)
        ax.set_xlabel(f"{_UNITS[unit]}: lower bound of what leaks, and the claim{self._runs()}")
        ax.grid(axis="x", color=LINE, linewidth=0.8)
        legend_above(ax)
        return self

    def _reach(self, unit: str) -> float:
        """Where the axis ends: what is protected decides."""
        protected = self.canaries[self.canaries["protected"].astype(bool)]
        values = [*protected[f"claimed_{unit}"], *protected[f"{unit}_low"]] or [*self.canaries[f"{unit}_low"]]
        return 1.15 * max([float(value) for value in values if 0 < value < np.inf], default=1.0)

    def _look(self, row: pd.Series, verdict: str, unit: str) -> tuple[str, str]:
        """Colour of a canary, and the words beside it."""
        low, other = float(row[f"{unit}_low"]), "epsilon" if unit == "mu" else "mu"
        if row["canary"] in self.beaten_ or (verdict and verdict not in _FINE):
            return ROSE, textwrap.fill((verdict or "beats its price").lower(), 14)
        if not row["protected"]:
            return AMBER, "seen" if np.isinf(low) else f"{low:.2g}"
        if verdict in _FINE[2:]:
            return SLATE, textwrap.fill(verdict, 14)
        if pd.isna(row[f"claimed_{unit}"]) and pd.notna(row[f"claimed_{other}"]):
            return BLUE, f"claimed\n{_UNITS[other]} = {row[f'claimed_{other}']:.3g}"
        power = row.get("power", np.nan)
        return BLUE, "" if pd.isna(power) else f"power {float(power):.2f}"

    def _runs(self) -> str:
        if "runs" not in self.canaries or self.canaries["runs"].isna().any():
            return ""
        runs = sorted(set(self.canaries["runs"].astype(int)) - {0})
        return f"\n({' to '.join(map(str, dict.fromkeys([runs[0], runs[-1]])))} runs a world)" if runs else ""


def _verdicts(canaries: pd.DataFrame) -> pd.Series:
    """What a report says of each canary; empty words where it says nothing."""
    if "verdict" not in canaries:
        return pd.Series("", index=canaries.index)
    return canaries["verdict"].fillna("").astype(str)


def _once(words: str, said: set[str]) -> str:
    """A label for the legend, the first time."""
    label = "_" if words in said else words
    said.add(words)
    return label
