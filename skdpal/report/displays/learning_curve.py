"""How accurate methods are, after how many labels or at which ε."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from scipy.stats import binomtest, norm, t

from skdpal.learner import load_model
from skdpal.learner.benchmark import summarise
from skdpal.learner.palette import AMBER, BLUE, INK, LINE, ROSE, SLATE, SOFT
from skdpal.privacy.validation import check_real
from skdpal.report.displays.style import Display, axes_of, merged, named_rows, note, require_columns

__all__ = ["LearningCurveDisplay"]

_AXES = {"labels": "labelled patients (mean)", "epsilon": "ε of the whole study", "round": "round"}
_LINES = {  # words in a method's name: how it is drawn
    "no privacy": {"color": SOFT, "linestyle": "--"},
    "public model": {"color": AMBER, "linestyle": ":"},
    "one-shot": {"color": INK, "linestyle": "-."},
}
_OTHERS = [BLUE, ROSE, SLATE]
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
        self = cls(points, interval=f"{100 * confidence:g}% interval")
        return self.plot(ax, **kwargs)

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
        curves = [name for name in methods if (self.points["method"] == name).sum() > 1]
        (self._curves if curves else self._rows)(ax, methods, highlight, kwargs)
        return self

    def _curves(self, ax: Any, methods: list[str], highlight: str, kwargs: dict[str, Any]) -> None:
        ax = axes_of(self, ax, 3.6)
        for number, name in enumerate(methods):
            part = self.points[self.points["method"] == name].sort_values("x")
            style = _style(name, number, highlight)
            if len(part) == 1:  # the same wherever one stands
                only = part.iloc[0]
                ax.axhline(only["accuracy"], label=name, **{key: style[key] for key in ("color", "linestyle")})
                ax.axhspan(only["low"], only["high"], color=style["color"], alpha=0.10, linewidth=0)
                continue
            marks = merged(Line2D, {**style, "label": name}, kwargs)
            errors = [part["accuracy"] - part["low"], part["high"] - part["accuracy"]]
            ax.errorbar(part["x"], part["accuracy"], yerr=np.maximum(errors, 0), **{"capsize": 3, **marks})
        ax.set_xlabel(_AXES.get(self.x, self.x.replace("_", " ")))
        ax.set_ylabel(f"accuracy, {self.interval}")
        ax.grid(axis="y", color=LINE, linewidth=0.8)
        ax.legend(frameon=False, fontsize="small", loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)

    def _rows(self, ax: Any, methods: list[str], highlight: str, kwargs: dict[str, Any]) -> None:
        ax = axes_of(self, ax, 0.9 + 0.3 * len(methods))
        places = named_rows(ax, methods, 30)
        for number, (place, (_, row)) in enumerate(zip(places, self.points.iterrows(), strict=True)):
            style = {**_style(row["method"], number, highlight), "linestyle": "none"}
            errors = [[max(row["accuracy"] - row["low"], 0)], [max(row["high"] - row["accuracy"], 0)]]
            marks = {"capsize": 3, **merged(Line2D, style, kwargs)}
            ax.errorbar([row["accuracy"]], [place], xerr=errors, **marks)
            note(ax, place, f"{row['accuracy']:.3f}", INK)
        ax.set_xlabel(f"accuracy, {self.interval}")
        ax.grid(axis="x", color=LINE, linewidth=0.8)


def _style(name: str, number: int, highlight: str) -> dict[str, Any]:
    """How a method is drawn: told apart by shape and dashes as well as by colour."""
    shape = {"marker": _SHAPES[number % len(_SHAPES)], "markersize": 5}
    if name == highlight:
        return {"color": BLUE, "linestyle": "-", "linewidth": 2.4, **shape}
    known = next((look for word, look in _LINES.items() if word in name), None)
    look = known or {"color": _OTHERS[number % len(_OTHERS)], "linestyle": "-"}
    return {**look, "linewidth": 1.4, **shape}


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
    import json

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
