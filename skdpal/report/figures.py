"""The drawings of the pages, each also for a small screen (`narrow`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from skdpal.learner.palette import AMBER, BLUE, INK, LINE, ROSE, SLATE, SOFT

__all__ = ["accuracy_figure", "budget_figure", "comparison_figure", "risk_figure", "uncertainty_figure"]


def budget_figure(accounts: dict[str, float], ceiling: float, narrow: bool = False) -> Figure:
    """ε that the patients of each account have paid, against the ceiling."""
    figure, axes = _axes(0.5 + 0.42 * len(accounts), narrow)
    names = list(accounts)[::-1]
    axes.barh(
        [name.removeprefix("cohort/") for name in names], [accounts[name] for name in names], color=BLUE, height=0.55
    )
    axes.axvline(ceiling, color=ROSE, linewidth=2)
    axes.text(
        ceiling, len(names) - 0.45, f"ceiling ε = {ceiling:g} ", color=ROSE, ha="right", va="bottom", fontsize=9.5
    )
    axes.set_xlim(0, ceiling * 1.08)
    axes.set_ylim(-0.6, len(names) - 0.05)
    axes.set_xlabel("ε paid by each patient" if narrow else "ε paid by each patient of the account (odometer)")
    return figure


def uncertainty_figure(parts: pd.DataFrame, narrow: bool = False) -> Figure:
    """Why the released models are unsure, release by release.

    Parameters
    ----------
    parts : DataFrame
        One row a release; variances of the log-odds as in `DPPrototypeClassifier.uncertainty`.
    narrow : bool
        For a small screen.
    """
    figure, axes = _axes(3.4 if narrow else 2.9, narrow)
    words = {
        "overlap": ("patients of one class differ", SLATE),
        "transfer": ("public lines may not fit", AMBER),
        "sampling": ("few patients", INK),
        "dp_noise": ("privacy noise", ROSE),
    }
    bottom = np.zeros(len(parts))
    for column, (word, colour) in words.items():
        axes.bar(parts.index, parts[column], bottom=bottom, color=colour, width=0.6, label=word)
        bottom += parts[column].to_numpy()
    if narrow and len(parts) > 4:
        axes.tick_params(axis="x", labelrotation=45)
    axes.set_ylabel("variance of log-odds\n(public reference)")
    axes.legend(frameon=False, fontsize=9.5, ncols=1 if narrow else 2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def accuracy_figure(evaluation: dict[str, Any], narrow: bool = False) -> Figure:
    """The released accuracy with its interval."""
    figure, axes = _axes(1.1, narrow)
    axes.plot(
        [evaluation["low"], evaluation["high"]], [0, 0], color=BLUE, linewidth=6, solid_capstyle="round", alpha=0.35
    )
    axes.plot([evaluation["accuracy"]], [0], "o", color=BLUE, markersize=11)
    axes.text(evaluation["accuracy"], 0.32, f"{evaluation['accuracy']:.2f}", ha="center", color=INK, fontsize=11)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.6, 1.0)
    axes.set_yticks([])
    axes.set_xlabel(
        "accuracy, with privacy noise" if narrow else "accuracy on the evaluation patients, with privacy noise"
    )
    return figure


def risk_figure(false: Sequence[float], true: Sequence[float], narrow: bool = False) -> Figure:
    """How often the best attacker finds a patient, for each rate of false alarms.

    Parameters
    ----------
    false, true : sequence of float
        Rates of false alarms and of hits, 0 to 1.
    narrow : bool
        For a small screen.
    """
    figure, axes = _axes(2.7, narrow)
    axes.fill_between(false, false, true, color=ROSE, alpha=0.18, linewidth=0)
    axes.plot(false, true, color=ROSE, linewidth=2, label="best attacker that the guarantee allows")
    axes.plot([0, 1], [0, 1], color=SOFT, linewidth=1.5, linestyle="--", label="guessing")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)
    axes.spines["left"].set_visible(True)
    axes.spines["left"].set_color(LINE)
    axes.set_xlabel("false alarms: says yes, though the data were blanked")
    axes.set_ylabel("hits: says yes, and is right")
    if narrow:
        axes.set_xlabel("false alarms")
        axes.set_ylabel("hits")
    axes.legend(frameon=False, fontsize=9.5, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=1 if narrow else 2)
    return figure


def comparison_figure(summary: pd.DataFrame, highlight: str, narrow: bool = False) -> Figure:
    """Accuracies of methods with two standard errors."""
    step = 0.62 if narrow else 0.36
    figure, axes = _axes(0.7 + step * len(summary), narrow)
    names = list(summary.index)[::-1]
    for at, name in enumerate(names):
        row = summary.loc[name]
        colour = BLUE if name == highlight else (SOFT if "no privacy" in name else INK)
        where = at - 0.22 if narrow else at
        axes.errorbar(
            row["accuracy"], where, xerr=2 * row["standard_error"], fmt="o", color=colour, capsize=3, markersize=7
        )
        axes.text(1.005, where, f"{row['accuracy']:.3f}", va="center", fontsize=9.5, color=colour)
        if narrow:
            axes.text(0.2, at + 0.18, name, va="center", fontsize=9.5, color=colour)
    axes.set_yticks([] if narrow else range(len(names)), [] if narrow else names)
    axes.set_ylim(-0.6, len(names) - 0.4)
    axes.set_xlim(0.2, 1.0)
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.set_xlabel("accuracy, mean ± 2 standard errors" if narrow else "accuracy on tumours, mean ± 2 standard errors")
    return figure


def _axes(height: float, narrow: bool) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(3.35 if narrow else 6.8, height + 0.7), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(colors=SOFT, labelcolor=INK, labelsize=9.5, length=0)
    axes.xaxis.label.set_color(SOFT)
    axes.yaxis.label.set_color(SOFT)
    axes.xaxis.label.set_fontsize(9.5)
    axes.yaxis.label.set_fontsize(9.5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.set_axisbelow(True)
    return figure, axes
