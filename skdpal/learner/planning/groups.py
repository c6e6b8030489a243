"""A plan as tables: its releases, and what each group of patients pays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from skdpal.learner.planning.noise import rough_epsilon
from skdpal.learner.planning.schedules import EVALUATION, START, chunk, cohort
from skdpal.privacy import epsilon_of, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.events import Event

if TYPE_CHECKING:
    from skdpal.learner.plan import StudyPlan

__all__ = ["groups_frame", "releases_frame"]


def releases_frame(plan: StudyPlan) -> pd.DataFrame:
    """One row for each release, in order; see `StudyPlan.to_frame`."""
    rows = [] if plan.hold_start else [("start", START, float(plan.n_labelled), plan.noise_multiplier)]
    left = float(plan.n_pool)
    for number, (asked, noise) in enumerate(zip(plan.labels[1:], plan.round_noise, strict=True), 1):
        if plan.selection_noise:
            scored = float(plan.n_pool // plan.rounds) if plan.chunks else left
            rows.append(
                (f"scores {number}", chunk(number) if plan.chunks else POOL, scored, plan.selection_noise[number - 1])
            )
        held = plan.hold_start and number == 1
        learners = sum(plan.labels[: number + 1]) if plan.retrain or held else asked
        rows.append((f"{'start and ' if held else ''}round {number}", cohort(number), learners, noise))
        left -= asked
    if plan.n_evaluation:
        rows.append(("evaluation", EVALUATION, float(plan.n_evaluation), plan.evaluation_noise))
    frame = pd.DataFrame(rows, columns=["release", "account", "expected_patients", "noise_multiplier"])
    frame["epsilon_of_its_patients"] = [_epsilon(plan, account) for account in frame["account"]]
    made = [_released(noise) for noise in frame["noise_multiplier"]]
    frame["epsilon_if_everybody_paid"] = [
        epsilon_of([event for some in made[: number + 1] for event in some], plan.budget.delta)
        for number in range(len(made))
    ]
    return frame


def groups_frame(plan: StudyPlan) -> pd.DataFrame:
    """One row for each group of patients, and one for all; see `StudyPlan.groups`."""
    rows = [("start", cohort(1) if plan.hold_start else START)]
    rows += [(f"accepted in round {number}", cohort(number)) for number in range(1, plan.rounds + 1)]
    never = [chunk(number) for number in range(1, plan.rounds + 1)] if plan.chunks else [POOL]
    rows.append(("never accepted", max(never, key=lambda account: _epsilon(plan, account))))
    rows += [("evaluation", EVALUATION)] if plan.n_evaluation else []
    priced = [(group, account, _epsilon(plan, account)) for group, account in rows]
    return pd.DataFrame([*priced, ("overall", "cohort", plan.epsilon)], columns=["group", "account", "epsilon"])


def _epsilon(plan: StudyPlan, account: str) -> float:
    """ε of what one leaf has paid in the end; the whole study bounds it from above.

    Whoever is in a sample shares the price of the pool, over all rounds: the bound averages over who was accepted.
    """
    sampled = [cohort(number) for number in range(2 if plan.hold_start else 1, plan.rounds + 1)]
    (role,) = plan.schedule.roles(POOL if plan.amplified and account in sampled else account)
    paid = [event for turn in role for event in turn]
    if any(isinstance(event, events.PoissonGaussian) for event in paid):
        return min(rough_epsilon(paid, plan.budget), plan.epsilon)
    return epsilon_of(paid, plan.budget.delta)


def _released(noise: float) -> list[Event]:
    return [] if math.isinf(noise) else [events.gaussian(noise)]
