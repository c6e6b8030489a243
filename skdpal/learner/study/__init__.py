"""A study that a hospital runs over weeks, in a folder with a wall through it."""

from skdpal.learner.study.errors import StudyError, TooEarly, WorksheetError
from skdpal.learner.study.steps import Step, StudyStatus
from skdpal.learner.study.study import ActiveLearningStudy
from skdpal.learner.study.worksheet import NO_DIAGNOSIS, Worksheet

__all__ = [
    "NO_DIAGNOSIS",
    "ActiveLearningStudy",
    "Step",
    "StudyError",
    "StudyStatus",
    "TooEarly",
    "Worksheet",
    "WorksheetError",
]
