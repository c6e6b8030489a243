"""Disagreement of released models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import entr

from skdpal.privacy.validation import check_one_of
from skdpal.query.utilities.base import Array, Utility, holder_of, probabilities

__all__ = ["Disagreement"]


class Disagreement(Utility):
    """How far the members of a committee disagree about one patient.

    Parameters
    ----------
    models : sequence of fitted models, default=()
        RELEASED or public. Those of earlier rounds are free members; members trained on bootstraps
        of one cohort are a release each. The model that asks joins them (all of its `learner_list`, if it is modAL's
        Committee), unless it is among them.
    measure : {"votes", "consensus"}, default="votes"
        "votes": entropy of the members' votes. "consensus": entropy of the mean answer minus mean entropy of the answers
        (the Jensen-Shannon divergence), which also sees how sure each member is.

    Raises
    ------
    ValueError
        If there are fewer than two members, or they know different classes.

    Notes
    -----
    Both are divided by ln min(K, M), their largest value for K classes and M members (Dagan and Engelson, 1995;
    McCallum and Nigam, 1998). An estimator that learns on is one object: keep a copy of it, or restore its earlier releases.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.base import clone
    >>> from skdpal import DPPrototypeClassifier
    >>> from skdpal.estimators import Release
    >>> from skdpal.query.utilities import Disagreement, score
    >>> sums = np.eye(2, 4)  # what two rounds have released
    >>> rounds = [Release(sums, np.ones(2), 2.0, 30.0), Release(-sums, np.ones(2), 2.0, 30.0)]
    >>> model = DPPrototypeClassifier(classes=["a", "b"]).restore(rounds)
    >>> past = clone(model).restore(model.releases_[:1])  # as it was after the first round, free
    >>> score(Disagreement([past]), model, np.eye(4)).shape
    (4,)
    """

    name = "disagreement"

    def __init__(self, models: Sequence[Any] = (), *, measure: str = "votes") -> None:
        self.models = tuple(models)
        self.measure = check_one_of("measure", measure, ["votes", "consensus"])

    def of_rows(self, model: Any, X: Any) -> Array:
        """Disagreement in units of its largest value."""
        members = self._members(model)
        answers = np.stack([probabilities(member, X) for member in members])
        n_classes = answers.shape[2]
        if self.measure == "votes":
            unknown = np.isnan(answers).any(axis=2, keepdims=True)
            answers = np.where(unknown, np.nan, np.eye(n_classes)[answers.argmax(axis=2)])
        disagreement = entr(answers.mean(axis=0)).sum(axis=1) - entr(answers).sum(axis=2).mean(axis=0)
        return disagreement / np.log(max(min(n_classes, len(members)), 2))

    def _members(self, model: Any) -> list[Any]:
        """All members, each once."""
        asking = getattr(model, "learner_list", [model])
        unique = {id(getattr(member, "estimator", member)): member for member in (*self.models, *asking)}
        members = list(unique.values())
        if len(members) < 2:
            raise ValueError(
                f"Expected two or more different models. Found {len(members)}. Pass Disagreement(models=[...]) with models of "
                "earlier rounds, copied before they learned on, or ask with modAL's Committee."
            )
        classes = [holder.classes_ for holder in (holder_of(member, "classes_") for member in members) if holder]
        if any(not np.array_equal(classes[0], other) for other in classes[1:]):
            raise ValueError(
                "Expected all members of the committee to know the same classes. Found different classes_. "
                "Pass the same classes=[...] to each."
            )
        return members

    def __repr__(self) -> str:
        names = [_name(model) for model in self.models]
        return f"Disagreement(models=[{', '.join(names)}], measure={self.measure!r})"


def _name(model: Any) -> str:
    """What tells a released model from others."""
    holder = holder_of(model, "fingerprint")
    return type(model).__name__ if holder is None else f"{type(holder).__name__} {holder.fingerprint()[:12]}"
