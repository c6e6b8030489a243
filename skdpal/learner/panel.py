"""How a learner and a study look in a notebook: public words and numbers only, whoever was asked."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from sklearn.base import clone
from sklearn.utils import estimator_html_repr

from skdpal.privacy.ledger.panel import framed, table

if TYPE_CHECKING:
    from skdpal.learner.active_learner import PrivateActiveLearner
    from skdpal.learner.study.study import ActiveLearningStudy

__all__ = ["LearnerRepr", "study_panel"]


class LearnerRepr:
    """Text and HTML of a learner, instead of modAL's and scikit-learn's."""

    estimator: Any
    query_strategy: Any
    ledger: Any
    _number: int

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        return f"PrivateActiveLearner({type(self.estimator).__name__}, {self.query_strategy!r}, {self.ledger!r})"

    def _html_repr(self) -> str:
        return _learner_panel(self)


def _learner_panel(learner: PrivateActiveLearner | LearnerRepr) -> str:
    """Strategy, rounds, the estimator as it was before any patient, and the ledger."""
    blank = clone(learner.estimator).set_params(ledger=None)  # what it learnt is drawn nowhere
    taught = "none yet" if not learner._number else f"1 to {learner._number}" if learner._number > 1 else "1"
    facts = [
        ("query strategy", f"<code>{escape(repr(learner.query_strategy))}</code>"),
        ("rounds taught", taught),
        ("estimator", f"<code>{escape(type(blank).__name__)}</code>, its parameters below"),
    ]
    head = framed("<h4>PrivateActiveLearner</h4>", table("The learner", ("part", "what it is"), facts))
    return head + estimator_html_repr(blank) + learner.ledger._repr_html_()


def study_panel(study: ActiveLearningStudy) -> str:
    """Steps, what lies in ``release/``, and the ledger of a study."""
    steps = study._setup.protocol.steps
    if study._engine is None:
        words = "Nobody is enrolled yet: call enrol(X)."
        return framed(f"<h4>Study in {escape(study.folder.name)}</h4><p>{words}</p>", _steps(steps, 1))
    status = study.status()
    now = len(steps) + 1 if status.step == "done" else status.number
    files = sorted(path.relative_to(study.release_folder).as_posix() for path in study.release_folder.rglob("*.*"))
    names = ", ".join(f"<code>{escape(name)}</code>" for name in files)
    return (
        framed(
            f"<h4>Study in {escape(study.folder.name)}</h4><p>Waiting for: {escape(status.waiting_for)}.</p>",
            _steps(steps, now),
            f"<p>In release/, which may leave the hospital: {names}</p>",
        )
        + study.ledger._repr_html_()
    )


def _steps(steps: list[Any], now: int) -> str:
    """What is done, what is next."""
    state = {True: "released", False: "to come"}
    rows = [
        (
            escape(step.name),
            "next" if step.number == now else state[step.number < now],
            f"{step.expected_labels:g}",
            step.release_date or "any day",
        )
        for step in steps
    ]
    return table("Steps of the study", ("step", "state", "labels expected so far", "planned day"), rows)
