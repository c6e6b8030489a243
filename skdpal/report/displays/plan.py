"""Plans side by side, before anything is spent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import pandas as pd

from skdpal.learner.plan import StudyPlan
from skdpal.learner.planning.figure import draw_table, marks_of, title_of
from skdpal.report.displays.style import Display

__all__ = ["PlanDisplay"]


class PlanDisplay(Display):
    """What several plans promise: expected accuracy of the last model, or κ if nothing is known about accuracy.

    Parameters
    ----------
    table : DataFrame
        One row a plan: "method" (its name), "noise_multiplier" (of the last model), "labels" (expected), "kappa" (signal to
        noise, NaN if the dimension is not known), "accuracy_low", "accuracy_high" (NaN if nothing is known).
    marks : sequence of (float, str), default=()
        Levels to draw beside them, such as the public model's accuracy.
    title : str, default=""
        What all plans have in common.

    Attributes
    ----------
    table, marks, title
        As given.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Notes
    -----
    Nothing is charged: a plan knows sizes, no patients. `StudyPlan.plot` draws the same.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.report import PlanDisplay
    >>> budget = skdpal.PrivacyBudget(epsilon=2.0, delta=1e-5)
    >>> plans = {f"{rounds} x 3": skdpal.plan_study(budget, 6, 20, labels_per_round=3, rounds=rounds, n_components=16)
    ...     for rounds in (1, 3, 5)}
    >>> PlanDisplay.from_plans(plans).table[["method", "kappa"]].round(2).values.tolist()
    [['1 x 3', 0.84], ['3 x 3', 1.0], ['5 x 3', 1.13]]
    """

    def __init__(self, table: pd.DataFrame, *, marks: Iterable[tuple[float, str]] = (), title: str = "") -> None:
        self.table, self.marks, self.title = table, list(marks), title

    @classmethod
    def from_plans(cls, plans: Any, *, ax: Any = None, **kwargs: Any) -> Self:
        """Compare plans; of a single one, its alternatives.

        Parameters
        ----------
        plans : StudyPlan, or mapping of str to StudyPlan, or iterable of StudyPlan
            A single plan is compared with other ways to spend the same (ε, δ) on the same patients.
        ax : matplotlib Axes, optional
            Default: a new figure.
        **kwargs
            Of `plot`.

        Raises
        ------
        TypeError
            If something else is among the plans, or nothing.
        ValueError
            If neither `n_components` nor `n_classes` are known in any plan: then there is nothing to compare but noise.
        """
        if isinstance(plans, StudyPlan):
            return cls(plans.alternatives(), marks=marks_of([plans]), title=title_of([plans])).plot(ax, **kwargs)
        named = dict(plans) if isinstance(plans, Mapping) else _named(plans)
        wrong = [plan for plan in named.values() if not isinstance(plan, StudyPlan)]
        if wrong or not named:
            found = type(wrong[0]).__name__ if wrong else "none"
            raise TypeError(f"Expected plans to be StudyPlans, at least one. Found {found}. Make them with plan_study.")
        every = list(named.values())
        same = len({plan.budget for plan in every}) == 1
        rows = [_row(name if same else f"{name}, ε = {plan.budget.epsilon:g}", plan) for name, plan in named.items()]
        return cls(pd.DataFrame(rows), marks=marks_of(every), title=title_of(every)).plot(ax, **kwargs)

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw one bar a plan, with its noise beside it.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Default: a new figure.
        **kwargs
            Of `Axes.barh`.

        Returns
        -------
        PlanDisplay
        """
        self.ax_ = draw_table(self.table, self.marks, self.title, ax, **kwargs)
        self.figure_ = self.ax_.figure
        return self


def _named(plans: Iterable[StudyPlan]) -> dict[str, StudyPlan]:
    """Names from what plans are; numbered where these do not differ."""
    every = list(plans)
    words = [_words(plan) if isinstance(plan, StudyPlan) else "?" for plan in every]
    return {
        word if words.count(word) == 1 else f"{at}: {word}": plan
        for at, (word, plan) in enumerate(zip(words, every, strict=True), 1)
    }


def _words(plan: StudyPlan) -> str:
    extras = [
        word
        for word, on in (
            ("held start", plan.hold_start),
            ("amplified", plan.amplified),
            ("retrained", plan.retrain),
            ("chunks", plan.chunks),
        )
        if on
    ]
    return ", ".join([f"{plan.rounds} x {plan.labels_per_round}", plan.release, *extras])


def _row(name: str, plan: StudyPlan) -> dict[str, Any]:
    low, high = plan.expected_accuracy
    return {
        "method": name,
        "noise_multiplier": plan.round_noise[-1],
        "labels": plan.expected_labels,
        "kappa": plan.kappa,
        "accuracy_low": low,
        "accuracy_high": high,
    }
