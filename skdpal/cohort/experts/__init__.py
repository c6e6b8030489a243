"""Experts who disagree: readers with error rates, several of them, noise on labels, a second opinion."""

from importlib import import_module
from typing import Any

_LATE = {
    "LabelPrivacy": "label_privacy",
    "Panel": "panel",
    "Reader": "readers",
    "SecondOpinion": "second_opinion",
    "VoteHistogram": "votes",
    "label_epsilon": "reuse",
    "release_votes": "votes",
}

__all__ = list(_LATE)


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(f"skdpal.cohort.experts.{_LATE[name]}"), name)
    raise AttributeError(f"module 'skdpal.cohort.experts' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
