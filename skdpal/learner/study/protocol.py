"""What was fixed before the first patient was asked about. Public."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from skdpal.learner.plan import StudyPlan
from skdpal.learner.study.steps import Step, steps_of
from skdpal.privacy import PrivacyBudget

__all__ = ["Protocol"]

SCHEMA = 1


@dataclass(frozen=True)
class Protocol:
    """The rules of one study.

    Attributes
    ----------
    plan : StudyPlan
    utility, acceptance : str
    tilt : float
        As in `PrivateQuery`.
    group_seed : int
        Public randomness of the groups.
    filter : str
        Kind of ledger.
    readers : tuple of str
        Names of pathologists who read every case by themselves; empty: one diagnosis.
    release_dates : tuple of str or None
        Planned day of each step, ISO 8601.
    """

    plan: StudyPlan
    utility: str
    acceptance: str
    tilt: float
    group_seed: int
    filter: str
    readers: tuple[str, ...] = ()
    release_dates: tuple[str, ...] | None = None

    @property
    def steps(self) -> list[Step]:
        """All steps, in order."""
        return steps_of(self.plan, self.release_dates)

    def to_json(self) -> dict[str, Any]:
        """As `from_json` takes it; infinity is the word "inf"."""
        content = asdict(self)
        plan = {name: _worded(value) for name, value in content["plan"].items()}
        return {"schema": SCHEMA, **content, "plan": plan}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The protocol of a file.

        Raises
        ------
        ValueError
            If it was written by a newer version.
        """
        known = {field.name for field in fields(StudyPlan)}
        stored = content.get("plan", {})
        if content.get("schema") != SCHEMA or not set(stored) <= known:
            raise ValueError("Expected the protocol of a study of this version. Found another. Update skdpal.")
        rest = {name: _number(name, _frozen(value)) for name, value in stored.items() if name != "budget"}
        plan = StudyPlan(budget=PrivacyBudget(**stored["budget"]), **rest)
        own = {name: _frozen(value) for name, value in content.items() if name not in ("schema", "plan")}
        return cls(plan=plan, **own)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _number(name: str, value: Any) -> Any:
    """Noise as numbers."""
    if not name.endswith(("noise", "noise_multiplier")):
        return value
    return tuple(map(float, value)) if isinstance(value, tuple) else float(value)


def _worded(value: Any) -> Any:
    """Numbers that JSON has, and words for the others."""
    if isinstance(value, tuple | list):
        return [_worded(entry) for entry in value]
    return str(value) if isinstance(value, float) and math.isinf(value) else value
