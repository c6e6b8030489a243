"""The drawings of the pages."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = ["accuracy_figure", "budget_figure", "comparison_figure", "uncertainty_figure"]

INK, SOFT, LINE = "#1d2b36", "#5d6d7a", "#d5dde3"
TEAL, AMBER, ROSE, SLATE = "#0f7b7b", "#d98e04", "#b8405e", "#8fa3b0"


def budget_figure(accounts: dict[str, float], ceiling: float) -> Figure:
    """ε that the patients of each account have paid, against the ceiling."""
    figure, axes = _axes(0.5 + 0.42 * len(accounts))
    names = list(accounts)[::-1]
    axes.barh(names, [accounts[name] for name in names], color=TEAL, height=0.55)
    axes.axvline(ceiling, color=ROSE, linewidth=2)
    axes.text(ceiling, len(names) - 0.45, f"ceiling ε = {ceiling:g} ", color=ROSE, ha="right", va="bottom", fontsize=9)
    axes.set_xlim(0, ceiling * 1.08)
    axes.set_ylim(-0.6, len(names) - 0.05)
    axes.set_xlabel("ε paid by each patient of the account (odometer)")
    return figure


def uncertainty_figure(parts: pd.DataFrame) -> Figure:
    """Why the released models are unsure, release by release.

    Parameters
    ----------
    parts : DataFrame
        One row a release; variances of the log-odds as in `DPPrototypeClassifier.uncertainty`.
    """
    figure, axes = _axes(2.9)
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
    axes.set_ylabel("variance of log-odds\n(public reference)")
    axes.legend(frameon=False, fontsize=8.5, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def accuracy_figure(evaluation: dict[str, Any]) -> Figure:
    """The released accuracy with its interval."""
    figure, axes = _axes(1.1)
    axes.plot(
        [evaluation["low"], evaluation["high"]], [0, 0], color=TEAL, linewidth=6, solid_capstyle="round", alpha=0.35
    )
    axes.plot([evaluation["accuracy"]], [0], "o", color=TEAL, markersize=11)
    axes.text(evaluation["accuracy"], 0.32, f"{evaluation['accuracy']:.2f}", ha="center", color=INK, fontsize=11)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.6, 1.0)
    axes.set_yticks([])
    axes.set_xlabel("accuracy on the evaluation patients, with privacy noise")
    return figure


def comparison_figure(summary: pd.DataFrame, highlight: str) -> Figure:
    """Accuracies of methods with two standard errors."""
    figure, axes = _axes(0.7 + 0.36 * len(summary))
    names = list(summary.index)[::-1]
    for at, name in enumerate(names):
        row = summary.loc[name]
        colour = TEAL if name == highlight else (SLATE if "no privacy" in name else INK)
        axes.errorbar(
            row["accuracy"], at, xerr=2 * row["standard_error"], fmt="o", color=colour, capsize=3, markersize=7
        )
        axes.text(1.005, at, f"{row['accuracy']:.3f}", va="center", fontsize=9, color=colour)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(0.2, 1.0)
    axes.grid(axis="x", color=LINE, linewidth=0.8)
    axes.set_xlabel("accuracy on tumours, mean ± 2 standard errors")
    return figure


def _axes(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.8, height + 0.7), layout="constrained")
    axes = figure.add_subplot()
    axes.tick_params(colors=SOFT, labelcolor=INK, labelsize=9.5, length=0)
    axes.xaxis.label.set_color(SOFT)
    axes.yaxis.label.set_color(SOFT)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(LINE)
    axes.set_axisbelow(True)
    return figure, axes
