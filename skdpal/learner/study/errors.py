"""What goes wrong in a study, by name. Nothing is charged, and nothing stored is lost, when one of these is raised."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["StudyError", "TooEarly", "WorksheetError"]

_SHOWN = 20


class StudyError(RuntimeError):
    """The study cannot take this step now."""


class TooEarly(StudyError):
    """A release was asked for before its planned day."""


class WorksheetError(ValueError):
    """A worksheet cannot be taken as it is.

    The message names rows, for the eyes of whoever filled them in: it stays in the hospital.

    Parameters
    ----------
    problems : sequence of str
        What is wrong, row by row.
    remedy : str
        What to do.
    outcome : str
        What did not happen.
    """

    def __init__(self, problems: Sequence[str], remedy: str, outcome: str = "The worksheet was not stored") -> None:
        self.problems = tuple(problems)
        shown = [f"  {problem}" for problem in self.problems[:_SHOWN]]
        more = ["  ..."] if len(self.problems) > _SHOWN else []
        super().__init__("\n".join([f"{outcome}:", *shown, *more, remedy]))
