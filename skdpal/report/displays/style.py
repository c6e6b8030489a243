"""What all displays share: how axes look, how names are fitted into a column, how keywords are merged."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.cbook import normalize_kwargs

from skdpal.learner.palette import INK, LINE, SOFT

__all__ = ["Display", "WIDTH", "axes_of", "legend_above", "merged", "named_rows", "note", "require_columns"]

WIDTH = 5.6  # inches; all drawings also work at 3.5, one column of a journal


class Display:
    """A drawing with the numbers that it shows; scikit-learn's conventions.

    Attributes
    ----------
    ax_ : matplotlib Axes
        After `plot`.
    figure_ : matplotlib Figure
        After `plot`.
    """

    ax_: Any
    figure_: Any

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # no address: notebooks are compared


def axes_of(display: Display, ax: Any, height: float) -> Any:
    """The given axes, or those of a new figure, in the house style."""
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(WIDTH, height), layout="constrained")
    display.ax_, display.figure_ = ax, ax.figure
    ax.tick_params(colors=SOFT, labelcolor=INK, labelsize="small", length=0)
    for label in (ax.xaxis.label, ax.yaxis.label):
        label.set(color=SOFT, size="small")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(LINE)
    ax.set_axisbelow(True)
    return ax


def named_rows(ax: Any, names: Sequence[Any], width: int = 24) -> list[int]:
    """Label one row for each name, the first on top; return their places."""
    places = list(range(len(names)))[::-1]
    words = ["\n".join(textwrap.fill(line, width) for line in _plain(name).splitlines()) for name in names]
    ax.set_yticks(places, words)
    ax.set_ylim(-0.6, len(names) - 0.4)
    return places


def _plain(name: Any) -> str:
    """A name as it is: no mathematics of matplotlib's."""
    return str(name).replace("$", r"\$")


def note(ax: Any, place: float, words: str, colour: str = SOFT) -> None:
    """Words to the right of a row."""
    ax.annotate(
        words, (1.015, place), xycoords=("axes fraction", "data"), va="center", size="small", color=colour
    ).set_annotation_clip(False)


def legend_above(ax: Any) -> None:
    """The legend on top of the axes, in as many columns as fit."""
    words = ax.get_legend_handles_labels()[1]
    room = ax.bbox.width / ax.figure.dpi + 0.2  # inches
    columns = max((n for n in range(1, len(words) + 1) if _width(words, n) <= room), default=1)
    ax.legend(
        frameon=False,
        fontsize="small",
        labelcolor=INK,
        ncols=columns,
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        handlelength=1.6,
        columnspacing=1.2,
        borderaxespad=0.2,
    )


def _width(words: Sequence[str], columns: int) -> float:
    """Of a legend, about, in inches."""
    return sum(0.42 + 0.069 * max(map(len, part.tolist())) for part in np.array_split(np.array(words), columns))


def merged(artist: type, defaults: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Keywords of an artist: ours, unless the caller has others; both may use short names."""
    return {**normalize_kwargs(dict(defaults), artist), **normalize_kwargs(dict(given), artist)}


def require_columns(name: str, frame: Any, columns: Sequence[str], remedy: str) -> None:
    """Refuse what is no table, or lacks columns."""
    if not hasattr(frame, "columns"):
        raise TypeError(f"Expected {name} to be a DataFrame. Found {type(frame).__name__}. {remedy}")
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise ValueError(
            f"Expected {name} to have the columns {list(columns)}. Found none of the name {missing[0]!r}. {remedy}"
        )
