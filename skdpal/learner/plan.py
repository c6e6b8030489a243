"""What a study will cost, before anything is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from skdpal.estimators.regime import LINEAR, USELESS, kappa
from skdpal.privacy import Charge, PrivacyBudget, Schedule, Split, calibrate, epsilon_of, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.validation import check_count, check_one_of

__all__ = ["StudyPlan", "plan_study"]


@dataclass(frozen=True)
class StudyPlan:
    """A protocol and its price; make one with `plan_study`.

    Attributes
    ----------
    budget : PrivacyBudget
    n_labelled, n_pool, n_evaluation : int
        Public sizes of the groups.
    labels_per_round, rounds : int
        Labels wanted, on average, in each round.
    release : str
        "hidden".
    n_components : int or None
        Dimension of the embedding, if known.
    noise_multiplier : float
        For every release: each patient is in one of them.
    """

    budget: PrivacyBudget
    n_labelled: int
    n_pool: int
    labels_per_round: int
    rounds: int
    release: str
    n_evaluation: int
    n_components: int | None
    noise_multiplier: float

    @property
    def epsilon(self) -> float:
        """ε of the whole study at the budget's δ: that of the one release a patient is in."""
        return epsilon_of([events.gaussian(self.noise_multiplier)], self.budget.delta)

    @property
    def schedule(self) -> Schedule:
        """Every split and charge of `ActiveLearningStudy`, as a ledger with ``filter="planned"`` freezes them."""
        learning = events.gaussian(self.noise_multiplier, replace_one=math.sqrt(2.0))
        counting = events.gaussian(self.noise_multiplier, replace_one=1.0)
        rounds = [f"cohort/round-{number}" for number in range(1, self.rounds + 1)]
        steps = [step for name in ["cohort/start", *rounds] for step in (Split(POOL, name), Charge(learning, name))]
        if not self.n_evaluation:
            return Schedule(steps)
        return Schedule([Split(POOL, "cohort/evaluation"), *steps, Charge(counting, "cohort/evaluation")])

    @property
    def expected_labels(self) -> float:
        """Labels that all cohorts together are expected to have."""
        return self.n_labelled + min(self.rounds * self.labels_per_round, self.n_pool)

    @property
    def kappa(self) -> float:
        """Signal to noise of the last model, n μ / √(d r); NaN if the dimension d is not known.

        n labels in r releases, each with its own noise; for r = 1 it is the κ of docs/prototype.md.
        """
        if self.n_components is None:
            return math.nan
        releases = self.rounds + 1
        return kappa([self.expected_labels / releases] * releases, self.noise_multiplier, self.n_components)

    @property
    def advice(self) -> str:
        """What κ promises, in one sentence."""
        if math.isnan(self.kappa):
            return "Pass n_components, the dimension of the embedding, to learn what accuracy to hope for."
        if self.kappa < USELESS:
            return (
                f"κ = {self.kappa:.1f} is below 2: patients alone give no useful model; the public prior carries it. "
                "Raise epsilon, label more, plan fewer rounds or embed in fewer dimensions."
            )
        if self.kappa < LINEAR:
            return f"κ = {self.kappa:.1f}, from 2 to 8: one release of prototypes is the right learner."
        return f"κ = {self.kappa:.1f} is above 8: there is signal for more than prototypes; try DPLinearClassifier."

    def to_frame(self) -> pd.DataFrame:
        """One row for each release: who is in it, how noisy it is, what its patients pay."""
        sizes = [("start", "cohort/start", self.n_labelled)]
        left = float(self.n_pool)
        for number in range(1, self.rounds + 1):
            asked = min(self.labels_per_round, left)
            left -= asked
            sizes.append((f"round {number}", f"cohort/round-{number}", asked))
        if self.n_evaluation:
            sizes.append(("evaluation", "cohort/evaluation", self.n_evaluation))
        return pd.DataFrame(
            {
                "release": [name for name, _, _ in sizes],
                "account": [account for _, account, _ in sizes],
                "expected_patients": [size for _, _, size in sizes],
                "noise_multiplier": self.noise_multiplier,
                "epsilon_of_its_patients": self.epsilon,
                "epsilon_if_everybody_paid": [
                    epsilon_of([events.gaussian(self.noise_multiplier, steps)], self.budget.delta)
                    for steps in range(1, len(sizes) + 1)
                ],
            }
        )

    def _repr_html_(self) -> str:
        return f"<p>{self}</p>{self.to_frame().to_html(index=False, float_format='{:.3g}'.format)}"

    def __str__(self) -> str:
        return (
            f"{self.rounds} rounds of about {self.labels_per_round} labels after {self.n_labelled}, "
            f"noise multiplier {self.noise_multiplier:.3f}: ε={self.epsilon:.2f} at δ={self.budget.delta:g}. {self.advice}"
        )


def plan_study(
    budget: PrivacyBudget,
    n_labelled: int,
    n_pool: int,
    labels_per_round: int,
    rounds: int,
    release: str = "hidden",
    *,
    n_evaluation: int = 0,
    n_components: int | None = None,
) -> StudyPlan:
    """Find the noise with which a study meets its budget.

    Parameters
    ----------
    budget : PrivacyBudget
        For everything that is released.
    n_labelled, n_pool : int
        Patients with a label at the start, and without.
    labels_per_round : int
        Labels wanted, on average, in each round.
    rounds : int
        Number of rounds. In hidden mode more rounds cost no ε: every patient still pays once. But each
        adds noise of its own to the model.
    release : {"hidden"}, default="hidden"
        Who may learn which patients were chosen: nobody outside.
    n_evaluation : int, default=0
        Patients set apart for one noisy accuracy at the end.
    n_components : int, optional
        Dimension of the embedding, for `StudyPlan.advice`.

    Returns
    -------
    StudyPlan

    Examples
    --------
    >>> import skdpal
    >>> plan = skdpal.plan_study(skdpal.PrivacyBudget(epsilon=2.0, delta=1e-5),
    ...     n_labelled=6, n_pool=20, labels_per_round=3, rounds=3, release="hidden")
    >>> round(plan.noise_multiplier, 3), round(plan.epsilon, 3)
    (1.994, 2.0)
    """
    check_one_of("release", release, ["hidden"])
    if not isinstance(budget, PrivacyBudget):
        raise TypeError(f"Expected budget to be a PrivacyBudget. Found {type(budget).__name__}.")
    counts = {"n_labelled": n_labelled, "n_pool": n_pool, "labels_per_round": labels_per_round, "rounds": rounds}
    checked = {name: check_count(name, value, least=1) for name, value in counts.items()}
    check_count("n_evaluation", n_evaluation)
    if n_components is not None:
        check_count("n_components", n_components, least=1)
    return StudyPlan(
        budget,
        **checked,
        release=release,
        n_evaluation=n_evaluation,
        n_components=n_components,
        noise_multiplier=calibrate(events.gaussian, budget),
    )
