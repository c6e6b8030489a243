"""Whether probabilities mean what they say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from scipy.stats import beta

from skdpal.estimators.scoring import exact_score
from skdpal.learner.palette import BLUE, LINE, SOFT
from skdpal.privacy.validation import check_count, check_one_of, check_real
from skdpal.report.displays.style import Display, axes_of, legend_above, merged

__all__ = ["CalibrationDisplay"]


class CalibrationDisplay(Display):
    """Reliability diagram of a classifier with any number of classes.

    Each row is one event: "the likeliest class is the true one", which happened or not. In each bin of stated
    probability the fraction that happened is drawn against the mean of what was stated, with an exact binomial interval.

    Parameters
    ----------
    bins : DataFrame
        One row for each bin that is not empty: "stated" (mean probability), "happened" (fraction), "low", "high" (interval),
        "rows" (their number), "left", "right" (edges); probabilities from 0 to 1.
    confidence : float, default=0.95
        Of the intervals.
    what : {"likeliest", "each"}, default="likeliest"
        As in `from_predictions`.

    Attributes
    ----------
    bins : DataFrame
        As given.
    expected_calibration_error_ : float
        Mean over rows of how far apart "stated" and "happened" of their bin are, from 0 to 1 (Naeini et al. 2015).
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Notes
    -----
    A diagram of private rows is an exact release that nothing pays for, as `score` is: without ``public=True`` it warns and
    makes the certificate void. Intervals are Clopper and Pearson's; reliability diagrams are from Murphy and Winkler
    (1977), the likeliest class alone from Guo et al. (2017).

    Examples
    --------
    >>> import numpy as np
    >>> from skdpal.report import CalibrationDisplay
    >>> proba = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    >>> display = CalibrationDisplay.from_predictions([0, 1, 1, 2], proba, public=True)
    >>> display.bins[["stated", "happened", "rows"]].round(2).values.tolist()
    [[0.4, 1.0, 1.0], [0.7, 0.5, 2.0], [0.9, 1.0, 1.0]]
    """

    def __init__(self, bins: pd.DataFrame, *, confidence: float = 0.95, what: str = "likeliest") -> None:
        self.bins, self.confidence, self.what = bins, confidence, what
        gaps = (bins["stated"] - bins["happened"]).abs()
        self.expected_calibration_error_ = float(np.average(gaps, weights=bins["rows"]))

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_proba: Any,
        *,
        classes: Any = None,
        public: bool = False,
        ledger: Any = None,
        n_bins: int = 5,
        what: str = "likeliest",
        confidence: float = 0.95,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Compare stated probabilities with what was true.

        Parameters
        ----------
        y_true : array-like of shape (n_rows,)
            True labels.
        y_proba : array-like or DataFrame of shape (n_rows, n_classes)
            Probabilities from 0 to 1; rows add up to 1.
        classes : sequence of length n_classes, optional
            Which label each column stands for. Default: the columns of a DataFrame, else the sorted labels.
        public : bool, default=False
            Declare that the rows are public. Otherwise a warning says that this is an uncovered release.
        ledger : PrivacyLedger, optional
            Whose certificate becomes void if the rows are not public.
        n_bins : int, default=5
            Bins of equal width.
        what : {"likeliest", "each"}, default="likeliest"
            One event a row, or one for every class of every row (one against the rest); the events of one row depend on
            each other, so that the intervals of "each" are too narrow.
        confidence : float, default=0.95
            Of the intervals, from 0 to 1.
        ax : matplotlib Axes, optional
            Default: a new figure.
        **kwargs
            Of `Axes.errorbar`.

        Warns
        -----
        PrivacyLeakWarning
            If `public` is False, outside `simulation`.
        """
        exact_score(SimpleNamespace(ledger=ledger), public)
        bins = _bins(*_events(y_true, y_proba, classes, what), n_bins, confidence)
        return cls(bins, confidence=confidence, what=what).plot(ax, **kwargs)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, y: Any, *, public: bool = False, **kwargs: Any) -> Self:
        """The same for a fitted classifier, or a pipeline.

        Parameters
        ----------
        estimator : classifier with `predict_proba`, or Pipeline
        X : array-like of shape (n_rows, n_features)
        y : array-like of shape (n_rows,)
            True labels.
        public : bool, default=False
            Declare that X and y are public. Otherwise the certificate of the estimator's ledger becomes void, as by `score`.
        **kwargs
            Of `from_predictions`.

        Warns
        -----
        PrivacyLeakWarning
            If `public` is False, outside `simulation`.
        """
        steps = getattr(estimator, "steps", None)
        ledger = getattr(steps[-1][1] if steps else estimator, "ledger", None)
        exact_score(SimpleNamespace(ledger=ledger), public)
        classes = getattr(estimator, "classes_", None)
        if classes is None:  # a learner holds its model
            classes = estimator.estimator.classes_
        # declared, or marked, above
        return cls.from_predictions(y, estimator.predict_proba(X), classes=classes, public=True, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the diagram, and at its foot how many rows stated what.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Default: a new figure.
        **kwargs
            Of `Axes.errorbar`.

        Returns
        -------
        CalibrationDisplay
        """
        ax, bins = axes_of(self, ax, 3.8), self.bins
        width, highest = bins["right"] - bins["left"], bins["rows"].max()
        label = "rows, with their number"
        ax.bar(bins["left"], 0.16 * bins["rows"] / highest, 0.96 * width, align="edge", color=LINE, label=label)
        for middle, rows in zip(bins["left"] + width / 2, bins["rows"], strict=True):
            at = 0.16 * rows / highest + 0.01
            ax.text(middle, at, f"{rows:d}", size="x-small", color=SOFT, ha="center", va="bottom")
        ax.plot([0, 1], [0, 1], color=SOFT, linestyle=":", linewidth=1.2, label="as stated")
        reach = [bins["happened"] - bins["low"], bins["high"] - bins["happened"]]
        words = f"{100 * self.confidence:g}% interval"
        style = merged(Line2D, {"fmt": "o", "color": BLUE, "markersize": 6, "label": words}, kwargs)
        ax.errorbar(bins["stated"], bins["happened"], yerr=np.maximum(reach, 0), **{"capsize": 3, **style})
        ax.set(xlim=(0, 1.01), ylim=(-0.04, 1.03))
        one = self.what == "likeliest"
        ax.set_xlabel("probability of the likeliest class" if one else "probability of a class, one against the rest")
        ax.set_ylabel("fraction that is right" if one else "fraction that is of the class")
        ax.grid(axis="y", color=LINE, linewidth=0.8)
        legend_above(ax)
        return self


def _events(y_true: Any, y_proba: Any, classes: Any, what: str) -> tuple[np.ndarray, np.ndarray]:
    """What was stated, and whether it happened."""
    check_one_of("what", what, ["likeliest", "each"])
    if classes is None and isinstance(y_proba, pd.DataFrame):
        classes = y_proba.columns
    truth, proba = np.asarray(y_true), np.asarray(y_proba, dtype=float)
    classes = np.unique(truth) if classes is None else np.asarray(classes)
    if proba.shape != (len(truth), len(classes)) or not len(truth):
        raise ValueError(
            f"Expected y_proba to have a row for each label, at least one, and a column for each of the {len(classes)} classes. "
            "Found another shape. Pass classes=, in the order of the columns."
        )
    if not (np.isfinite(proba).all() and (proba >= 0).all() and np.allclose(proba.sum(axis=1), 1, atol=1e-6)):
        raise ValueError("Expected y_proba to be probabilities whose rows add up to 1. Pass those of predict_proba.")
    if not np.isin(truth, classes).all():
        raise ValueError(
            f"Expected y_true to hold the classes {classes.tolist()}. Found others. Pass classes=, in the order of the columns."
        )
    if what == "each":
        return proba.ravel(), (truth[:, None] == classes[None, :]).ravel()
    return proba.max(axis=1), classes[proba.argmax(axis=1)] == truth


def _bins(stated: np.ndarray, happened: np.ndarray, n_bins: int, confidence: float) -> pd.DataFrame:
    """One row a bin, without the empty ones."""
    check_count("n_bins", n_bins, least=1)
    check_real("confidence", confidence, above=0.0, below=1.0)
    edges = np.linspace(0, 1, n_bins + 1)
    codes = np.clip(np.digitize(stated, edges) - 1, 0, n_bins - 1)
    rows = []
    for code in np.unique(codes):
        inside = codes == code
        n, k, tail = int(inside.sum()), int(happened[inside].sum()), (1 - confidence) / 2
        low = beta.ppf(tail, k, n - k + 1) if k else 0.0
        high = beta.ppf(1 - tail, k + 1, n - k) if k < n else 1.0
        rows.append((edges[code], edges[code + 1], float(stated[inside].mean()), k / n, low, high, n))
    return pd.DataFrame(rows, columns=["left", "right", "stated", "happened", "low", "high", "rows"])
