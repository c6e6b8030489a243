"""Plans side by side, drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from skdpal.estimators.regime import LINEAR, USELESS
from skdpal.learner.palette import BLUE, INK, LINE, ROSE, SLATE, SOFT

if TYPE_CHECKING:
    from skdpal.learner.plan import StudyPlan

__all__ = ["draw", "draw_table", "marks_of", "title_of"]


def draw(plan: StudyPlan, table: pd.DataFrame, ax: Any = None) -> Any:
    """The alternatives to a plan, as `draw_table` draws them.

    Returns
    -------
    Axes
    """
    return draw_table(table, marks_of([plan]), title_of([plan]), ax)


def draw_table(table: pd.DataFrame, marks: Iterable[tuple[float, str]], title: str, ax: Any = None, **bars: Any) -> Any:
    """Ranges of accuracy, one bar a row, with noise and κ beside; bars of κ if no accuracy can be expected.

    Returns
    -------
    Axes
    """
    if table[["accuracy_low", "kappa"]].isna().all(axis=None):
        raise ValueError(
            "Expected a plan with n_components or n_classes: without them neither κ nor accuracy is known. "
            "Pass them to plan_study, or look at alternatives()."
        )
    if ax is None:
        import matplotlib.pyplot as plt

        _, ax = plt.subplots(figsize=(6.4, 0.42 * len(table) + 1.5), layout="constrained")
    places = list(range(len(table)))[::-1]
    bars = {"height": 0.42, "color": [_colour(name) for name in table["method"]], **bars}
    if table["accuracy_low"].notna().any():
        width = table["accuracy_high"] - table["accuracy_low"]
        ax.barh(places, width.fillna(0.0), left=table["accuracy_low"].fillna(0.5), **bars)
        marks = list(marks)
        ax.set_xlim(min([0.4, table["accuracy_low"].min(), *(at for at, _ in marks)]) - 0.02, 1.0)
        ax.set_xlabel("expected accuracy of the last model")
    else:
        ax.barh(places, table["kappa"].fillna(0.0), **bars)
        marks = [(USELESS, "too weak below"), (LINEAR, "linear above")]
        ax.set_xlabel("κ, signal to noise of the last model")
    _lines(marks, len(table), ax)
    ax.set_yticks(places, [textwrap.fill(str(name), 22) for name in table["method"]])
    for place, noise, strength in zip(places, table["noise_multiplier"], table["kappa"], strict=True):
        words = f"σ = {noise:.2f}" if pd.isna(strength) else f"σ = {noise:.2f}\nκ = {strength:.1f}"
        ax.annotate(
            words, (1.015, place), xycoords=("axes fraction", "data"), va="center", size="small", color=INK
        ).set_annotation_clip(False)
    narrow = ax.bbox.width / ax.figure.dpi < 3.5  # inches
    ax.set_title(textwrap.fill(title, 36 if narrow else 72), loc="right", size="small", color=INK)
    ax.tick_params(labelsize="small", labelcolor=INK, colors=SOFT, length=0)
    ax.xaxis.label.set(size="small", color=SOFT)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(LINE)
    return ax


def marks_of(plans: Sequence[StudyPlan]) -> list[tuple[float, str]]:
    """Levels of accuracy that all plans share: chance, the public model, no privacy."""
    levels = {
        "chance": {1 / plan.n_classes if plan.n_classes else None for plan in plans},
        "public model": {plan.public_accuracy for plan in plans},
        "no privacy": {plan.nonprivate_accuracy for plan in plans},
    }
    return [(at, words) for words, found in levels.items() if len(found) == 1 for at in found if at is not None]


def title_of(plans: Sequence[StudyPlan]) -> str:
    """What all plans share: the budget, and the protocol of a single one."""
    budgets = {plan.budget for plan in plans}
    common = (
        "" if len(budgets) > 1 else f"ε = {plans[0].budget.epsilon:g}, δ = {plans[0].budget.delta:g} for everything"
    )
    if len(plans) > 1:
        return common
    return f"{plans[0].n_labelled} + {plans[0].rounds} x {plans[0].labels_per_round} labels, {common}"


def _lines(marks: Iterable[tuple[float, str]], top: int, ax: Any) -> None:
    """Levels with their names above the bars, each name on a line of its own, to the side where there is room."""
    low, high = ax.get_xlim()
    marks = sorted(marks)
    for line, (at, words) in enumerate(marks):
        ax.axvline(at, color=SOFT, lw=1, ls=":", zorder=0)
        side = "right" if at > (low + high) / 2 else "left"
        place, away = (at, top - 0.35 + 0.4 * line), (-4 if side == "right" else 4, 0)
        ax.annotate(
            words, place, away, textcoords="offset points", color=SOFT, size="small", va="center", ha=side
        ).set_annotation_clip(False)
    ax.set_ylim(-0.6, top - 0.45 + 0.4 * len(marks))


def _colour(name: str) -> str:
    return ROSE if name == "classic pipeline" else SLATE if name in _OTHER else BLUE


_OTHER = {"published scores", "retrained on everybody", "one-shot random labels"}
