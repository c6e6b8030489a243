"""Why a model is unsure about each row."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from matplotlib.patches import Rectangle

from skdpal.learner.palette import AMBER, INK, LINE, ROSE, SLATE
from skdpal.report.displays.style import Display, axes_of, legend_above, merged, named_rows

__all__ = ["CAUSES", "UncertaintyDisplay"]

CAUSES = {
    "overlap": ("patients of one class differ", SLATE),
    "transfer": ("public data may not fit", AMBER),
    "sampling": ("few patients", INK),
    "dp_noise": ("privacy noise", ROSE),
}
_MOST = 25  # rows that have a name


class UncertaintyDisplay(Display):
    """Variance of the log-odds of the two likeliest classes, split by cause.

    Parameters
    ----------
    parts : DataFrame of shape (n_rows, n_causes)
        Variances (no unit, at least 0); the columns are causes, such as "dp_noise", "sampling" (few patients), "transfer"
        (the public prior may not fit) and "overlap" (patients of one class differ). The index names the rows.

    Attributes
    ----------
    parts : DataFrame
        As given.
    shares_ : DataFrame
        Each cause's fraction of a row's variance, from 0 to 1.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Notes
    -----
    Nothing is charged: the model was released, and its noise is known exactly (docs/guide/prototype.md). The drawing shows the
    rows of X: those of patients stay in the hospital.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.report import UncertaintyDisplay
    >>> data = skdpal.datasets.load_srbct(as_frame=True)
    >>> lines = data.is_cell_line
    >>> encoder = skdpal.PublicEncoder(n_components=16).fit(data.data[lines], data.target[lines])
    >>> public = encoder.set_output(transform="pandas").transform(data.data[lines])
    >>> prior = skdpal.DPPrototypeClassifier.prior_from_public(public, data.target[lines])
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> model = skdpal.DPPrototypeClassifier(noise_multiplier=2.0, prior=prior, ledger=ledger)
    >>> model = model.fit(encoder.transform(data.data[~lines]), data.target[~lines])
    >>> display = UncertaintyDisplay.from_estimator(model, public)
    >>> display.parts.shape
    (46, 4)
    """

    def __init__(self, parts: pd.DataFrame) -> None:
        self.parts = parts
        self.shares_ = parts.div(parts.sum(axis=1), axis=0)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, ax: Any = None, **kwargs: Any) -> Self:
        """Ask a fitted model, or a pipeline that ends in one, why it is unsure.

        Parameters
        ----------
        estimator : estimator with `uncertainty`, or Pipeline
            Such as `DPPrototypeClassifier`, or a released model of `load_model`.
        X : array-like or DataFrame of shape (n_rows, n_features)
            The index of a DataFrame names the rows.
        ax : matplotlib Axes, optional
            Default: a new figure.
        **kwargs
            Of `plot`.

        Raises
        ------
        TypeError
            If the model does not know its uncertainty.
        """
        steps, rows = getattr(estimator, "steps", None), X
        model = steps[-1][1] if steps else estimator
        if not hasattr(model, "uncertainty"):
            raise TypeError(
                f"Expected estimator to have uncertainty(X). Found {type(model).__name__}. "
                "Use DPPrototypeClassifier, whose noise is known exactly."
            )
        if steps and len(steps) > 1:
            rows = estimator[:-1].transform(X)
        parts = pd.DataFrame(model.uncertainty(rows))
        if isinstance(X, pd.DataFrame):
            parts.index = X.index
        return cls(parts).plot(ax, **kwargs)

    def plot(self, ax: Any = None, *, sort: bool = True, **kwargs: Any) -> Self:
        """Draw one stacked bar a row; for more than 25 rows thin ones, without names.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Default: a new figure.
        sort : bool, default=True
            The most uncertain row first.
        **kwargs
            Of the bars (`Axes.barh`, or `Axes.bar` for many rows).

        Returns
        -------
        UncertaintyDisplay
        """
        parts = self.parts.loc[:, self._causes()]
        if sort:
            parts = parts.iloc[np.argsort(-parts.sum(axis=1).to_numpy(), kind="stable")]
        many = len(parts) > _MOST
        ax = axes_of(self, ax, 3.2 if many else 1.5 + 0.22 * len(parts))
        places = list(range(len(parts))) if many else named_rows(ax, list(parts.index))
        before = np.zeros(len(parts))
        for cause in parts.columns:
            words, colour = CAUSES.get(cause, (str(cause).replace("_", " "), None))
            style = merged(Rectangle, {"label": words, **({"color": colour} if colour else {})}, kwargs)
            values = parts[cause].to_numpy()
            if many:
                ax.bar(places, values, **{"bottom": before, "width": 1.0, **style})
            else:
                ax.barh(places, values, **{"left": before, "height": 0.72, **style})
            before = before + values
        name = "variance of log-odds"
        if many:
            ax.set_xlabel(f"{len(parts)} rows{', the most uncertain first' if sort else ''}")
            ax.set_ylabel(name)
            ax.set_xticks([])
            ax.set_xlim(-0.5, len(parts) - 0.5)
        else:
            ax.set_xlabel(name)
        ax.grid(axis="y" if many else "x", color=LINE, linewidth=0.8)
        legend_above(ax)
        return self

    def _causes(self) -> list[Any]:
        """Known causes in a fixed order, then others."""
        known = [cause for cause in CAUSES if cause in self.parts.columns]
        return [*known, *(column for column in self.parts.columns if column not in known)]
