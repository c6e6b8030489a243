"""The figure of docs/active_learning.md."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from tests.benchmarks.active.methods import BASELINE, CONTROL, NO_PRIVACY, PUBLIC, SHOWN
from tests.benchmarks.cohorts.cohorts import load_cohort

__all__ = ["draw"]

_BLUE, _GREY, _RED = "#0b5d8a", "#999999", "#b3261e"


def draw(table: pd.DataFrame, path: Path, epsilon: float) -> None:
    """Left: every method against one-shot random, mean over cohorts. Right: one of them, cohort by cohort."""
    part = table[table["epsilon"] == epsilon]
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 7), layout="constrained", width_ratios=(1, 1))
    average = part[(part["cohort"] == "mean") & (part["method"] != BASELINE)].sort_values("difference")
    colours = [_colour(method) for method in average["method"]]
    _bars(left, average, list(average["method"]), colours)
    left.set_title("Mean over nine cohorts")
    names = [name for name in dict.fromkeys(part["cohort"]) if name != "mean"][::-1]
    for offset, (method, colour) in zip((0.16, -0.16), ((SHOWN, _BLUE), (NO_PRIVACY + SHOWN, _RED)), strict=True):
        own = part[part["method"] == method].set_index("cohort").loc[names]
        _bars(right, own, [load_cohort(name).name for name in names], [colour] * len(own), offset, method)
    right.set_title("By cohort")
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), fontsize=8, frameon=False)
    for axis in (left, right):
        axis.axvline(0, color="#444444", lw=1)
        axis.set_xlabel("points of accuracy above one-shot random")
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"Does choosing patients pay? ε = {epsilon:g}, δ = 1e-5; 95% intervals; red: without privacy, grey: baselines"
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _colour(method: str) -> str:
    if method.startswith(NO_PRIVACY):
        return _RED
    return _GREY if method.startswith(CONTROL) or method == PUBLIC else _BLUE


def _bars(
    axis: plt.Axes, rows: pd.DataFrame, names: list[str], colours: list[str], offset: float = 0.0, label: str = ""
) -> None:
    places, middle = np.arange(len(rows)) + offset, 100 * rows["difference"].to_numpy()
    low, high = 100 * rows["low"].to_numpy(), 100 * rows["high"].to_numpy()
    axis.hlines(places, low, high, colors=colours, lw=2)
    axis.scatter(middle, places, c=colours, s=22, zorder=3, label=label or None)
    axis.set_yticks(np.arange(len(rows)), names, fontsize=8)
