"""What was claimed, and what attacks could prove."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from skdpal.learner.palette import AMBER, BLUE, INK, LINE, ROSE, SOFT
from skdpal.privacy.validation import check_one_of
from skdpal.report.displays.style import Display, axes_of, merged, named_rows, note, require_columns

__all__ = ["AuditDisplay"]

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
        above = (canaries["mu_low"] > canaries["claimed_mu"]) | (canaries["epsilon_low"] > canaries["claimed_epsilon"])
        protected = canaries["protected"].astype(bool)
        self.beaten_ = canaries.loc[above & protected, "canary"].tolist()

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
        ax = axes_of(self, ax, 1.3 + 0.36 * len(table))
        places = named_rows(ax, [str(name).replace("_", " ") for name in table["canary"]])
        claims = pd.to_numeric(table[f"claimed_{unit}"], errors="coerce").to_numpy(dtype=float)
        lows = table[f"{unit}_low"].to_numpy(dtype=float)
        said: set[str] = set()
        for place, claim, low, (_, row) in zip(places, claims, lows, table.iterrows(), strict=True):
            colour, words = self._look(row)
            ax.plot([0, low], [place, place], color=colour, linewidth=5, alpha=0.3, solid_capstyle="butt")
            label = "proven by the attack" if row["protected"] else "not protected, as stated"
            dot = {"marker": "o" if row["protected"] else "D", "linestyle": "none", "color": colour, "markersize": 7}
            style = merged(Line2D, {**dot, "label": label if label not in said else "_"}, kwargs)
            said.add(label)
            ax.plot([low], [place], **style)
            if row["protected"] and np.isfinite(claim):
                ax.plot(
                    [claim, claim],
                    [place - 0.34, place + 0.34],
                    color=INK,
                    linewidth=2.2,
                    label="claimed" if "claimed" not in said else "_",
                )
                said.add("claimed")
            note(ax, place, words, colour if words else SOFT)
        ax.set_xlim(0, 1.08 * max(np.nanmax([*lows, *claims[np.isfinite(claims)], 0.0]), 1e-9))
        ax.set_xlabel(f"{_UNITS[unit]}: lower bound of what leaks, and the claim{self._runs()}")
        ax.grid(axis="x", color=LINE, linewidth=0.8)
        ax.legend(frameon=False, fontsize="small", ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0), handlelength=1)
        return self

    def _look(self, row: pd.Series) -> tuple[str, str]:
        """Colour and words of a canary."""
        if not row["protected"]:
            return AMBER, "not protected,\nas stated"
        if row["canary"] in self.beaten_:
            return ROSE, "beats its price"
        power = row.get("power", np.nan)
        return BLUE, "" if pd.isna(power) else f"power {float(power):.2f}"

    def _runs(self) -> str:
        if "runs" not in self.canaries or self.canaries["runs"].isna().any():
            return ""
        runs = sorted(set(self.canaries["runs"].astype(int)))
        return f"\n({runs[0]} runs a world)" if len(runs) == 1 else f"\n({runs[0]} to {runs[-1]} runs a world)"
