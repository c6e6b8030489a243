"""The alternatives to a plan, drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from skdpal.estimators.regime import LINEAR, USELESS

if TYPE_CHECKING:
    from skdpal.learner.plan import StudyPlan

__all__ = ["draw"]

_OURS, _OTHER, _CLASSIC, _FAINT = "#0b5d8a", "#5aa9c7", "#b3261e", "#888888"


def draw(plan: StudyPlan, table: pd.DataFrame, ax: Any = None) -> Any:
    """Ranges of accuracy, one bar a method, with noise and κ beside; bars of κ if no accuracy can be expected.

    Returns
    -------
    Axes
    """
    import matplotlib.pyplot as plt

    if table[["accuracy_low", "kappa"]].isna().all(axis=None):
        raise ValueError(
            "Expected a plan with n_components or n_classes: without them neither κ nor accuracy is known. "
            "Pass them to plan_study, or look at alternatives()."
        )
    if ax is None:
        _, ax = plt.subplots(figsize=(8.5, 0.55 * len(table) + 1.6), layout="constrained")
    known = table["accuracy_low"].notna().any()
    places = range(len(table))[::-1]
    if known:
        _accuracies(plan, table, places, ax)
    else:
        _strengths(table, places, ax)
    ax.set_yticks(list(places), list(table["method"]))
    for place, noise, strength in zip(places, table["noise_multiplier"], table["kappa"], strict=True):
        words = f"σ = {noise:.2f}" if pd.isna(strength) else f"σ = {noise:.2f}   κ = {strength:.1f}"
        ax.annotate(
            words, (1.015, place), xycoords=("axes fraction", "data"), va="center", fontsize=9, annotation_clip=False
        )
    ax.set_title(
        f"{plan.n_labelled} + {plan.rounds} x {plan.labels_per_round} labels, "
        f"ε = {plan.budget.epsilon:g}, δ = {plan.budget.delta:g} for everything",
        loc="left",
        fontsize=11,
    )
    ax.set_ylim(-0.6, len(table) - 0.4)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    return ax


def _accuracies(plan: StudyPlan, table: pd.DataFrame, places: Any, ax: Any) -> None:
    width = table["accuracy_high"] - table["accuracy_low"]
    ax.barh(list(places), width.fillna(0.0), left=table["accuracy_low"].fillna(0.5), height=0.42, color=_colours(table))
    marks = [(1 / plan.n_classes, "chance")] if plan.n_classes else []
    marks += [(plan.public_accuracy, "public model")] if plan.public_accuracy is not None else []
    marks += [(plan.nonprivate_accuracy, "no privacy")] if plan.nonprivate_accuracy is not None else []
    _lines(marks, len(table), ax)
    ax.set_xlim(min([0.4, table["accuracy_low"].min(), *(at for at, _ in marks)]) - 0.02, 1.0)
    ax.set_xlabel("expected accuracy of the last model")


def _strengths(table: pd.DataFrame, places: Any, ax: Any) -> None:
    ax.barh(list(places), table["kappa"].fillna(0.0), height=0.42, color=_colours(table))
    _lines([(USELESS, "too weak below"), (LINEAR, "linear above")], len(table), ax)
    ax.set_xlabel("κ, signal to noise of the last model")


def _lines(marks: list[tuple[float, str]], top: int, ax: Any) -> None:
    for at, words in marks:
        ax.axvline(at, color=_FAINT, lw=1, ls=":", zorder=0)
        ax.text(at, top - 0.42, f" {words}", color=_FAINT, fontsize=8, va="top", ha="left")


def _colours(table: pd.DataFrame) -> list[str]:
    return [
        _CLASSIC if name == "classic pipeline" else _OURS if name.startswith("hidden") else _OTHER
        for name in table["method"]
    ]
