"""What happens when: the steps of a study, from public parameters alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from skdpal.learner.plan import StudyPlan
from skdpal.privacy.validation import check_count

__all__ = ["EVALUATION", "START", "Step", "StudyStatus", "dates_of", "steps_of", "today"]

START, EVALUATION = "start", "evaluation"


@dataclass(frozen=True)
class Step:
    """A step of the study, as it may be shown outside: nothing in it depends on who was accepted.

    Attributes
    ----------
    number, total : int
        This step, of how many.
    key : str
        "start", "round-1", ..., "evaluation": the name of its files. A held start is part of "round-1".
    expected_labels : float
        Labels that have been asked for so far, on average.
    epsilon_committed : float
        The ceiling.
    release_date : str or None
        ISO 8601; the day before which nothing of this step leaves.
    """

    number: int
    total: int
    key: str
    expected_labels: float
    epsilon_committed: float
    release_date: str | None = None

    @property
    def name(self) -> str:
        """The key, in words."""
        return self.key.replace("-", " ")

    @property
    def round(self) -> int:
        """Number of the round; 0 before the first and after the last."""
        return int(self.key.removeprefix("round-")) if self.key.startswith("round-") else 0

    @property
    def account(self) -> str:
        """Who pays for it."""
        return f"cohort/{self.key}"


@dataclass(frozen=True)
class StudyStatus:
    """Where a study stands, in public words and numbers only.

    Attributes
    ----------
    step : str
        The step that is not released yet; "done" after the last.
    number, total : int
        This step, of how many.
    waiting_for : str
        What happens next. It is the same whether somebody or nobody was accepted, and however many labels are in.
    release_date : str or None
        Planned day of the next release.
    expected_labels : float
        Labels asked for so far, on average.
    epsilon_spent : float
        Odometer.
    epsilon, delta : float
        The committed ceiling.
    """

    step: str
    number: int
    total: int
    waiting_for: str
    release_date: str | None
    expected_labels: float
    epsilon_spent: float
    epsilon: float
    delta: float

    def __str__(self) -> str:
        day = f", planned for {self.release_date}" if self.release_date else ""
        return (
            f"step {self.number} of {self.total}: {self.step}{day}. Waiting for: {self.waiting_for}. "
            f"About {self.expected_labels:g} labels expected. "
            f"Spent ε={self.epsilon_spent:.2f} (odometer) of {self.epsilon:g} at δ={self.delta:g}."
        )


def steps_of(plan: StudyPlan, dates: Sequence[str] | None = None) -> list[Step]:
    """All steps of a plan, in order.

    Parameters
    ----------
    plan : StudyPlan
    dates : sequence of str, optional
        Day of each release.
    """
    labels = {} if plan.hold_start else {START: float(plan.n_labelled)}
    for number in range(1, plan.rounds + 1):
        labels[f"round-{number}"] = plan.n_labelled + min(number * plan.labels_per_round, plan.n_pool)
    if plan.n_evaluation:
        labels[EVALUATION] = plan.expected_labels
    days = dates or [None] * len(labels)
    return [
        Step(number, len(labels), key, expected, plan.budget.epsilon, day)
        for number, ((key, expected), day) in enumerate(zip(labels.items(), days, strict=True), start=1)
    ]


def dates_of(plan: StudyPlan, release_dates: Any, release_every: Any) -> tuple[str, ...] | None:
    """The planned days of all releases, in ISO 8601.

    Parameters
    ----------
    plan : StudyPlan
    release_dates : sequence of date or str, optional
        One for each step, none before the last.
    release_every : int, optional
        Days from today to the first release, and between releases.
    """
    number = len(steps_of(plan))
    if release_every is not None:
        if release_dates is not None:
            raise ValueError("Expected release_dates or release_every, not both. Leave one out.")
        days = check_count("release_every", release_every, least=1)
        return tuple((today() + timedelta(days * turn)).isoformat() for turn in range(1, number + 1))
    if release_dates is None:
        return None
    dates = [_date(entry) for entry in release_dates]
    if len(dates) != number or dates != sorted(dates):
        raise ValueError(
            f"Expected release_dates to be {number} days in order, one for each of "
            f"{', '.join(step.name for step in steps_of(plan))}. Found {[day.isoformat() for day in dates]}."
        )
    return tuple(day.isoformat() for day in dates)


def today() -> date:
    """The day, in UTC, as in receipts."""
    return datetime.now(UTC).date()


def _date(entry: Any) -> date:
    if isinstance(entry, datetime):
        return entry.date()
    if isinstance(entry, date):
        return entry
    try:
        return date.fromisoformat(str(entry))
    except ValueError:
        raise ValueError(f"Expected release_dates as YYYY-MM-DD. Found {entry!r}.") from None
