"""One study, spent in six ways: the same patients, the same (ε, δ)."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from skdpal.learner.plan import StudyPlan, plan_study
from skdpal.learner.planning.accuracy import USUAL, expected_accuracy
from skdpal.learner.planning.mistake import needed_noise

__all__ = ["METHODS", "compare"]

_SAME = (
    "n_labelled",
    "n_pool",
    "labels_per_round",
    "rounds",
    "n_evaluation",
    "n_components",
    "tilt",
    "n_classes",
    "nonprivate_accuracy",
    "public_accuracy",
    "n_public",
    "public_kind",
)
METHODS: dict[str, dict[str, Any]] = {
    "hidden, pay once": {},
    "hidden, held start": {"hold_start": True},
    "hidden, amplified": {"filter": "planned"},
    "published scores": {"release": "published"},
    "retrained on everybody": {"retrain": True},
}


def compare(plan: StudyPlan) -> pd.DataFrame:
    """The table of `StudyPlan.alternatives`."""
    same = {name: getattr(plan, name) for name in _SAME}
    rows = []
    for name, options in METHODS.items():
        if name == "published scores" and plan.rounds * plan.labels_per_round > plan.n_pool:
            continue  # exactly as many are not there
        rows.append(_row(name, plan_study(plan.budget, **same, **options)))
    rows += [_one_shot(plan), _classic(plan)]
    return pd.DataFrame(rows)


def _row(name: str, plan: StudyPlan) -> dict[str, Any]:
    most = max(sum(len(turn) for turn in role) for role in plan.schedule.roles())
    return _cells(name, most, plan.round_noise[-1], plan.expected_labels, plan.kappa, plan.expected_accuracy)


def _one_shot(plan: StudyPlan) -> dict[str, Any]:
    """Random patients, all labelled before the one release."""
    noise = plan.evaluation_noise
    signal = plan.expected_labels / noise
    hope = expected_accuracy(signal, plan.n_classes, public=plan.public_model, nonprivate=plan.nonprivate_accuracy)
    return _cells("one-shot random labels", 1, noise, plan.expected_labels, _kappa(plan, signal), hope)


def _classic(plan: StudyPlan) -> dict[str, Any]:
    """DP-SGD without a public prior: batches of 4, 10 epochs, on all labels, again in each round."""
    batch, epochs = 4, 10
    sizes = [round(sum(plan.labels[: number + 1])) for number in range(plan.rounds + 1)]
    noise = needed_noise(sizes, plan.budget, batch, epochs)
    steps = max(1, round(epochs * sizes[-1] / batch))
    # its skill was measured with full batches, which do better: the same price, the last of as many trainings
    fair = plan.expected_labels / plan.evaluation_noise / math.sqrt(len(sizes))
    hope = expected_accuracy(fair, plan.n_classes, nonprivate=plan.nonprivate_accuracy, skill=USUAL)
    signal = min(batch, sizes[-1]) * math.sqrt(steps) / noise
    return _cells("classic pipeline", len(sizes), noise, plan.expected_labels, _kappa(plan, signal), hope)


def _kappa(plan: StudyPlan, signal: float) -> float:
    return math.nan if plan.n_components is None else signal / math.sqrt(plan.n_components)


def _cells(
    name: str, releases: int, noise: float, labels: float, strength: float, hope: tuple[float, float]
) -> dict[str, Any]:
    return {
        "method": name,
        "releases": releases,
        "noise_multiplier": noise,
        "labels": labels,
        "kappa": strength,
        "accuracy_low": hope[0],
        "accuracy_high": hope[1],
    }
