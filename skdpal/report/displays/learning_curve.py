"""How accurate methods are, after how many labels or at which ε."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from scipy.stats import binomtest, norm, t

from skdpal.learner import load_model
from skdpal.learner.benchmark import summarise
from skdpal.learner.palette import AMBER, BLUE, INK, LINE, ROSE, SLATE, SOFT, VIOLET
from skdpal.privacy.validation import check_real
from skdpal.report.displays.style import Display, axes_of, legend_above, merged, named_rows, note, require_columns

__all__ = ["LearningCurveDisplay"]

_AXES = {
    "labels": "labelled patients (mean)",
    "expected": "labelled patients (expected)",
    "epsilon": "ε of the whole study",
    "round": "round",
}
_LINES = {  # words in a method's name: how it is drawn
    "no privacy": {"color": SOFT, "linestyle": "--"},
    "public model": {"color": AMBER, "linestyle": ":"},
    "one-shot": {"color": INK, "linestyle": "-."},
    "hidden": {"color": BLUE, "linestyle": (0, (5, 1))},
}
_OTHERS = [ROSE, VIOLET, SLATE, BLUE, AMBER, INK]  # for names that say nothing
_SHAPES = "osD^vPX"


class LearningCurveDisplay(Display):
    """Accuracy of methods with intervals; baselines are curves, or level lines, among them.

    Parameters
    ----------
    points : DataFrame
        "method", "x", "accuracy" (0 to 1), "low" and "high" (interval), in the order of the drawing.
    x : str, default="labels"
        What the horizontal axis counts.
    interval : str, default="95% interval"
        What "low" and "high" are, in words.

    Attributes
    ----------
    points, x, interval
        As given.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Notes
    -----
    Comparisons are made on published data, in simulation (`skdpal.learner.benchmark`): exact accuracies over many splits are
    what a private study may never look at. `from_study` scores released models on rows that are declared public. Neither
    charges anything; neither shows how many patients were asked in a private study.

    Examples
    --------
    >>> import pandas as pd
    >>> from skdpal.report import LearningCurveDisplay
    >>> table = pd.DataFrame({"method": ["hidden study, margin", "hidden study, margin", "public model alone"],
    ...     "labels": [6.0, 9.1, 0.0], "accuracy": [0.90, 0.92, 0.89], "standard_error": [0.01, 0.01, 0.01]})
    >>> display = LearningCurveDisplay.from_results(table)
    >>> display.points[["x", "low"]].round(3).values.tolist()
    [[6.0, 0.88], [9.1, 0.9], [0.0, 0.87]]
    """

    def __init__(self, points: pd.DataFrame, *, x: str = "labels", interval: str = "95% interval") -> None:
        self.points, self.x, self.interval = points, x, interval

    @classmethod
    def from_results(
        cls,
        results: pd.DataFrame,
        *,
        x: str = "labels",
        by: str | None = None,
        confidence: float = 0.95,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Results of `compare_methods`, or their summary.

        Parameters
        ----------
        results : DataFrame
            Either one row a split, with "split", "method", "accuracy" and `x`; or means, with "method" (or as index),
            "accuracy", "standard_error" and `x`. Results of several plans, put together by `pandas.concat` with a column
            that tells them apart, become curves.
        x : str, default="labels"
            Column of the horizontal axis, such as "labels", "epsilon" or "round". If no method has two values, the methods
            are drawn as rows.
        by : str, optional
            Column that tells the points of a curve apart. Default: `x`, and for labels "round" if there is one.
        confidence : float, default=0.95
            Of the intervals: mean ± Student's t × standard error; the normal quantile where the number of splits is unknown.
        ax : matplotlib Axes, optional
            Default: a new figure.
        **kwargs
            Of `plot`.
        """
        check_real("confidence", confidence, above=0.0, below=1.0)
        remedy = "Pass what compare_methods or summarise of skdpal.learner.benchmark returns."
        if hasattr(results, "columns") and "method" not in results.columns and results.index.name == "method":
            results = results.reset_index()
        require_columns("results", results, ["method", "accuracy", x], remedy)
        if by is None:
            by = x if x != "labels" else ("round" if "round" in results.columns else None)
        if "split" in results.columns:
            means = _means(results, x, by)
        else:
            require_columns("results", results, ["standard_error"], remedy)
            means = results
        if "n_splits" in means.columns:
            reach = t.ppf(0.5 + confidence / 2, np.maximum(means["n_splits"].to_numpy(dtype=float) - 1, 1))
        else:
            reach = norm.ppf(0.5 + confidence / 2)
        width = reach * means["standard_error"].fillna(0.0).to_numpy(dtype=float)
        accuracy = means["accuracy"].to_numpy(dtype=float)
        points = pd.DataFrame(
            {
                "method": means["method"].to_numpy(),
                "x": means[x].to_numpy(dtype=float),
                "accuracy": accuracy,
                "low": np.maximum(accuracy - width, 0.0),
                "high": np.minimum(accuracy + width, 1.0),
            }
        )
        return cls(points, x=x, interval=f"{100 * confidence:g}% interval").plot(ax, **kwargs)

    @classmethod
    def from_study(
        cls, study: Any, X_public: Any, y_public: Any, *, confidence: float = 0.95, ax: Any = None, **kwargs: Any
    ) -> Self:
        """The released models of a study, scored on PUBLIC rows, and the public model before any patient.

        Parameters
        ----------
        study : ActiveLearningStudy or path
            Or its ``release/`` folder.
        X_public : array-like or DataFrame of shape (n_rows, n_features)
            Public rows, with the columns of the study. They may not be those from which encoder and prior were made: on
            these the public model looks too good.
        y_public : array-like of shape (n_rows,)
            Their labels.
        confidence : float, default=0.95
            Of the binomial intervals (Clopper and Pearson).
        ax : matplotlib Axes, optional
            Default: a new figure.
        **kwargs
            Of `plot`.

        Raises
        ------
        FileNotFoundError
            If nothing was released yet.
        """
        check_real("confidence", confidence, above=0.0, below=1.0)
        folder = Path(study if isinstance(study, str | os.PathLike) else study.release_folder)
        truth = np.asarray(y_public)
        rows = []
        for name, labels, model in _released(folder):
            right = int((np.asarray(model.predict(X_public)) == truth).sum())
            interval = binomtest(right, len(truth)).proportion_ci(confidence)
            rows.append((name, labels, right / len(truth), interval.low, interval.high))
        points = pd.DataFrame(rows, columns=["method", "x", "accuracy", "low", "high"])
        drawn = {"highlight": "released models", **kwargs}
        return cls(points, x="expected", interval=f"{100 * confidence:g}% interval").plot(ax, **drawn)

    def plot(self, ax: Any = None, *, highlight: str | None = None, **kwargs: Any) -> Self:
        """Draw the curves; a method with one point is a level line, or a row if there are no curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Default: a new figure.
        highlight : str, optional
            The method to be drawn boldly. Default: "hidden study, margin" if it is there.
        **kwargs
            Of the lines (`Axes.errorbar`).

        Returns
        -------
        LearningCurveDisplay
        """
        methods = list(dict.fromkeys(self.points["method"]))
        highlight = "hidden study, margin" if highlight is None else highlight
        curves = self.points.groupby("method")["x"].nunique().max() > 1
        (self._curves if curves else self._rows)(ax, methods, highlight, kwargs)
        return self

    def _curves(self, ax: Any, methods: list[str], highlight: str, kwargs: dict[str, Any]) -> None:
        ax, looks = axes_of(self, ax, 3.8), _looks(methods, highlight)
        for number, name in enumerate(methods):
            part, look = self.points[self.points["method"] == name].sort_values("x"), looks[name]
            if part["x"].nunique() == 1:  # it does not learn: the same wherever one stands
                level = part[["accuracy", "low", "high"]].mean()
                ax.axhline(level["accuracy"], label=name, color=look["color"], linestyle=look["linestyle"])
                ax.axhspan(level["low"], level["high"], color=look["color"], alpha=0.08, linewidth=0)
                continue
            at = part["x"] + self._aside(number, len(methods))
            marks = {"capsize": 0, "elinewidth": 0.9, **merged(Line2D, {**look, "label": name}, kwargs)}
            if name == highlight:
                ax.fill_between(at, part["low"], part["high"], color=look["color"], alpha=0.15, linewidth=0)
                errors = None
            else:
                errors = np.maximum([part["accuracy"] - part["low"], part["high"] - part["accuracy"]], 0)
            ax.errorbar(at, part["accuracy"], yerr=errors, **marks)
        if self.x == "round":
            ax.xaxis.get_major_locator().set_params(integer=True)
        ax.set_xlabel(_AXES.get(self.x, self.x.replace("_", " ")))
        ax.set_ylabel(f"accuracy, {self.interval}")
        ax.grid(axis="y", color=LINE, linewidth=0.8)
        legend_above(ax)

    def _aside(self, number: int, methods: int) -> float:
        """How far the points of a method are moved, so that intervals at the same x are not on top of each other."""
        if self.x in ("labels", "expected"):
            return 0.0
        gaps = np.diff(np.unique(self.points["x"]))
        return 0.0 if not len(gaps) else 0.24 * gaps.min() * (number / max(methods - 1, 1) - 0.5)

    def _rows(self, ax: Any, methods: list[str], highlight: str, kwargs: dict[str, Any]) -> None:
        ax = axes_of(self, ax, 0.9 + 0.3 * len(methods))
        places, looks = named_rows(ax, methods, 30), _looks(methods, highlight)
        for place, (_, row) in zip(places, self.points.iterrows(), strict=True):
            style = {**looks[row["method"]], "linestyle": "none"}
            errors = [[max(row["accuracy"] - row["low"], 0)], [max(row["high"] - row["accuracy"], 0)]]
            marks = {"capsize": 3, **merged(Line2D, style, kwargs)}
            ax.errorbar([row["accuracy"]], [place], xerr=errors, **marks)
            note(ax, place, f"{row['accuracy']:.3f}", INK)
        ax.set_xlabel(f"accuracy, {self.interval}")
        ax.grid(axis="x", color=LINE, linewidth=0.8)


def _looks(methods: list[str], highlight: str) -> dict[str, dict[str, Any]]:
    """How each method is drawn: told apart by shape and dashes as well as by colour."""
    known = {name: look for name in methods for word, look in reversed(_LINES.items()) if word in name}
    if highlight in methods:
        known[highlight] = {"color": BLUE, "linestyle": "-", "linewidth": 2.4}
    taken = {look["color"] for look in known.values()}
    free = itertools.cycle([colour for colour in _OTHERS if colour not in taken] or _OTHERS)
    looks = {}
    for name, shape in zip(methods, itertools.cycle(_SHAPES), strict=False):
        look = known[name] if name in known else {"color": next(free), "linestyle": "-"}
        looks[name] = {"linewidth": 1.4, **look, "marker": shape, "markersize": 5}
    return looks


def _means(results: pd.DataFrame, x: str, by: str | None) -> pd.DataFrame:
    """Means of rows of single splits, a row for each point."""
    groups = [(None, results)] if by is None else results.groupby(by, sort=True)
    parts = []
    for _, part in groups:
        table = summarise(part.assign(labels=part["labels"] if "labels" in part else np.nan))
        parts.append(table.assign(**{x: part.groupby("method", sort=False)[x].mean()}).reset_index())
    return pd.concat(parts, ignore_index=True)


def _released(folder: Path) -> list[tuple[str, float, Any]]:
    """Released models with their expected labels: public numbers, whoever was asked."""
    if (folder / "release").is_dir():
        folder = folder / "release"
    if not list((folder / "models").glob("*.npz")):
        raise FileNotFoundError(f"Expected released models in {folder / 'models'}. Found none. Release a step first.")
    plan = json.loads((folder / "study.json").read_text(encoding="utf-8"))["plan"]
    found = []
    for number in range(plan["rounds"] + 1):
        path = folder / "models" / ("start.npz" if not number else f"round-{number}.npz")
        if path.exists():
            labels = plan["n_labelled"] + min(number * plan["labels_per_round"], plan["n_pool"])
            found.append(("released models", float(labels), load_model(path)))
    public = found[0][2][-1].public_model()
    if public is not None:
        before = found[0][2]
        found.append(("public model alone", 0.0, type(before)([*before.steps[:-1], ("classifier", public)])))
    return found
