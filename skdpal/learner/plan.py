"""What a study will cost, before anything is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from skdpal.learner.planning import groups, noise, words
from skdpal.learner.planning.accuracy import PublicModel, expected_accuracy
from skdpal.learner.planning.policy import Policy
from skdpal.learner.planning.schedules import Releases, schedule_of
from skdpal.privacy import PrivacyBudget, Schedule
from skdpal.privacy.validation import check_count, check_one_of, check_real

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
        Labels wanted in each round; on average in hidden ones.
    release : {"hidden", "published"}
    n_components : int or None
        Dimension of the embedding, if known.
    noise_multiplier : float
        Of the model of the starting cohort; infinity if there is none.
    round_noise : tuple of float
        Of the model of each round; infinity where none is trained.
    selection_noise : tuple of float
        Of the noisy scores of each published round; infinity where patients are chosen at random. None if hidden.
    evaluation_noise : float
        Of the final noisy accuracy.
    filter : {"gdp", "planned"}
        Kind of ledger.
    tilt : float
        Of acceptance by probability.
    sampling_rates : tuple of float
        The largest chance of acceptance in each round, if hidden rounds are paid for as Poisson samples; else empty.
    chunks, retrain, hold_start : bool
        As in `plan_study`.
    policy : str
        What divided the budget.
    n_classes, nonprivate_accuracy, public_accuracy, n_public, public_kind
        As in `plan_study`.

    Examples
    --------
    >>> import skdpal
    >>> plan = skdpal.plan_study(skdpal.PrivacyBudget(2.0), n_labelled=6, n_pool=20, labels_per_round=3, rounds=3)
    >>> plan.to_frame().shape[0], plan.filter
    (4, 'gdp')
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
    round_noise: tuple[float, ...]
    selection_noise: tuple[float, ...]
    evaluation_noise: float
    filter: str = "gdp"
    tilt: float = 0.5
    sampling_rates: tuple[float, ...] = ()
    chunks: bool = False
    retrain: bool = False
    hold_start: bool = False
    policy: str = "Uniform()"
    n_classes: int | None = None
    nonprivate_accuracy: float | None = None
    public_accuracy: float | None = None
    n_public: int = 30
    public_kind: str = "other"

    @property
    def amplified(self) -> bool:
        """Whether the pool pays for hidden rounds as for Poisson samples: then they need less noise than the start."""
        return bool(self.sampling_rates)

    @property
    def schedule(self) -> Schedule:
        """Every split and charge, in order, as a ledger with ``filter="planned"`` freezes them."""
        releases = Releases(
            self.noise_multiplier,
            self.round_noise,
            self.evaluation_noise,
            self.selection_noise,
            self.sampling_rates,
            self.hold_start,
        )
        return schedule_of(releases, evaluation=bool(self.n_evaluation), chunks=self.chunks, retrain=self.retrain)

    @cached_property
    def epsilon(self) -> float:
        """ε of the whole study at the budget's δ, for any patient: the promise, never above the budget's."""
        return self.schedule.epsilon(self.budget.delta)

    @property
    def labels(self) -> tuple[float, ...]:
        """Expected labels of the start and of each round."""
        asked, left = [float(self.n_labelled)], self.n_pool
        for _ in range(self.rounds):
            asked.append(float(min(self.labels_per_round, left)))
            left = max(left - self.labels_per_round, 0)
        return tuple(asked)

    @property
    def expected_labels(self) -> float:
        """Labels that all cohorts together are expected to have."""
        return self.n_labelled + min(self.rounds * self.labels_per_round, self.n_pool)

    @property
    def signal(self) -> float:
        """√Σ(n/σ)² over the releases that the last model is made of."""
        noises = (self.noise_multiplier, *self.round_noise)
        if self.retrain:
            return self.expected_labels / noises[-1]
        cohorts = self.labels
        if self.hold_start:
            cohorts, noises = (sum(cohorts[:2]), *cohorts[2:]), self.round_noise
        return math.hypot(*(n / sigma for n, sigma in zip(cohorts, noises, strict=True)))

    @property
    def kappa(self) -> float:
        """Signal to noise of the last model, `signal` / √d; NaN if the dimension d is not known.

        For r cohorts of equal size and noise it is n μ / √(d r): the κ of docs/guide/prototype.md, and of `regime.kappa`.
        """
        return math.nan if self.n_components is None else self.signal / math.sqrt(self.n_components)

    @property
    def public_model(self) -> PublicModel | None:
        """What is known of the classifier before any patient."""
        if self.public_accuracy is None:
            return None
        return PublicModel(self.public_accuracy, self.n_public, self.public_kind)

    @property
    def expected_accuracy(self) -> tuple[float, float]:
        """From where to where to expect the accuracy of the last model, see docs/guide/planning.md; NaN if nothing is known."""
        return expected_accuracy(
            self.signal, self.n_classes, public=self.public_model, nonprivate=self.nonprivate_accuracy
        )

    @property
    def advice(self) -> str:
        """What κ promises, and what would reach more."""
        return words.advice(self)

    @cached_property
    def _frame(self) -> pd.DataFrame:
        return groups.releases_frame(self)

    def to_frame(self) -> pd.DataFrame:
        """One row for each release: who pays, how noisy it is, what its patients have paid in the end.

        Returns
        -------
        DataFrame
            Columns "release", "account", "expected_patients", "noise_multiplier", "epsilon_of_its_patients" and
            "epsilon_if_everybody_paid": what it would cost if all were in every release so far.
        """
        return self._frame.copy()

    def groups(self) -> pd.DataFrame:
        """ε of each group of patients: in the start, accepted in each round, never accepted, in the evaluation; and overall.

        Returns
        -------
        DataFrame
            Columns "group", "account" and "epsilon". The promise to a patient of the pool is the row "overall": in
            which group a patient ends is settled on the way.
        """
        return groups.groups_frame(self)

    def alternatives(self) -> pd.DataFrame:
        """The same patients and the same (ε, δ), spent in six ways; see docs/guide/planning.md.

        Returns
        -------
        DataFrame
            A row for each method: "method", "releases" (that one patient may be in), "noise_multiplier" (of the last model),
            "labels", "kappa" (NaN without `n_components`), "accuracy_low", "accuracy_high".
        """
        from skdpal.learner.planning.alternatives import compare  # it plans studies, with what is defined here

        return compare(self)

    def plot(self, ax: Any = None) -> Any:
        """Draw `alternatives`: expected accuracies, or κ if nothing is known about accuracy.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Default: a new figure.

        Returns
        -------
        Axes
        """
        from skdpal.learner.planning.figure import draw

        return draw(self, self.alternatives(), ax)

    def _repr_html_(self) -> str:
        tables = (self.to_frame(), self.groups())
        return "".join([f"<p>{self}</p>", *(t.to_html(index=False, float_format="{:.3g}".format) for t in tables)])

    def __str__(self) -> str:
        return f"{words.sentence(self)} {self.advice}"


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
    filter: str = "gdp",
    tilt: float = 0.5,
    retrain: bool = False,
    hold_start: bool = False,
    chunks: bool = False,
    selection_share: float = 0.5,
    policy: Policy | None = None,
    n_classes: int | None = None,
    nonprivate_accuracy: float | None = None,
    public_accuracy: float | None = None,
    n_public: int = 30,
    public_kind: str = "other",
) -> StudyPlan:
    """Find the noise with which a study meets its budget.

    The classic mistake is to train at "ε = 2" in each round and to report 2: 32 patients, batches of 4, 10 epochs, σ = 1
    cost ε = 7.9 after one round and 17 after five (`skdpal.learner.planning.classic_mistake`).

    Parameters
    ----------
    budget : PrivacyBudget
        For everything that is released.
    n_labelled, n_pool : int
        Patients with a label at the start, and without.
    labels_per_round : int
        Labels wanted in each round: on average in hidden ones, exactly in published ones.
    rounds : int
        Number of rounds. In hidden mode more rounds cost no ε: every patient still pays once. But each
        adds noise of its own to the model.
    release : {"hidden", "published"}, default="hidden"
        Who may learn which patients were chosen: nobody outside, or everybody. Published rounds release noisy scores, for
        which all who are left in the pool pay.
    n_evaluation : int, default=0
        Patients set apart for one noisy accuracy at the end.
    n_components : int, optional
        Dimension of the embedding, for κ and `StudyPlan.advice`.
    filter : {"gdp", "planned"}, default="gdp"
        Kind of ledger. Under "planned" everything is frozen beforehand; then fresh secret coins make hidden rounds cheaper,
        and they get less noise than the start, unless pay once is the smaller bound.
    tilt : float, default=0.5
        Of acceptance by probability, from 0 to 1; see `PrivateQuery`. Less tilt, less noise.
    retrain : bool, default=False
        Train on all cohorts anew in every round; each of them pays each time.
    hold_start : bool, default=False
        Release the start together with the first hidden round, which the public model chooses: one noise less. Needs a
        public prior.
    chunks : bool, default=False
        Published rounds ask disjoint parts of the pool, so that nobody is scored twice.
    selection_share : float, default=0.5
        The part of the budget (of μ²) that noisy scores may take from whoever is never chosen. Not used if `retrain`.
    policy : Policy, optional
        Divides what the same patients pay again and again: noisy scores, or models trained anew. Default: `Uniform`.
    n_classes : int, optional
        For the expected accuracy.
    nonprivate_accuracy : float, optional
        What is hoped for without privacy, from the literature say; narrows the expected accuracy.
    public_accuracy : float, optional
        Of the classifier before any patient, on PUBLIC rows that it has not seen. Pass it if there is a public prior.
    n_public : int, default=30
        Number of these rows.
    public_kind : {"other", "same"}, default="other"
        Whether they are of another kind than the patients (cell lines, another laboratory), or of the same.

    Returns
    -------
    StudyPlan
        Of public numbers alone.

    Raises
    ------
    TypeError
        If `budget` is no `PrivacyBudget`.
    ArithmeticError
        If the schedule costs more than the budget: a fault of skdpal.
    ValueError
        If the protocol cannot be carried out, with what would.

    Notes
    -----
    Nothing is charged. The noise is priced by `Schedule.epsilon`, the very sum that a planned ledger does; docs/guide/planning.md
    has the bounds of each mode.

    Examples
    --------
    >>> import skdpal
    >>> plan = skdpal.plan_study(skdpal.PrivacyBudget(epsilon=2.0, delta=1e-5),
    ...     n_labelled=6, n_pool=20, labels_per_round=3, rounds=3, release="hidden")
    >>> round(plan.noise_multiplier, 3), round(plan.epsilon, 3)
    (1.994, 2.0)
    >>> frozen = skdpal.plan_study(skdpal.PrivacyBudget(2.0), 6, 20, 3, 3, filter="planned")
    >>> frozen.amplified, round(frozen.round_noise[0], 2)
    (True, 1.53)
    """
    if not isinstance(budget, PrivacyBudget):
        raise TypeError(f"Expected budget to be a PrivacyBudget. Found {type(budget).__name__}.")
    counts = {"n_labelled": n_labelled, "n_pool": n_pool, "labels_per_round": labels_per_round, "rounds": rounds}
    checked = {name: check_count(name, value, least=1) for name, value in counts.items()}
    check_count("n_evaluation", n_evaluation)
    for name, value, least in (("n_components", n_components, 1), ("n_classes", n_classes, 2)):
        if value is not None:
            check_count(name, value, least=least)
    check_one_of("release", release, ["hidden", "published"])
    check_one_of("filter", filter, ["gdp", "planned"])
    check_real("tilt", tilt, above=0.0, below=1.0, closed=True)
    check_real("selection_share", selection_share, above=0.0, below=1.0)
    words.check_feasible(**checked, release=release, chunks=chunks)
    if hold_start and (release != "hidden" or retrain):
        raise ValueError('Expected hold_start=False unless release="hidden" and retrain=False. Leave it out.')
    policy = words.check_policy(policy, filter=filter, divides=retrain or (release == "published" and not chunks))
    if retrain:
        found = noise.retrained(budget, rounds, policy, scored=release == "published", chunks=chunks)
    elif release == "published":
        found = noise.published(budget, rounds, policy, selection_share, chunks=chunks)
    elif filter == "planned":
        protocol = (n_pool, labels_per_round, rounds, tilt)
        found = noise.amplified(budget, *protocol, evaluation=bool(n_evaluation), held=hold_start)
    else:
        found = noise.pay_once(budget, rounds)
    plan = StudyPlan(
        budget,
        **checked,
        release=release,
        n_evaluation=n_evaluation,
        n_components=n_components,
        noise_multiplier=found.start,
        round_noise=found.rounds,
        selection_noise=found.selections,
        evaluation_noise=found.evaluation,
        filter=filter,
        tilt=tilt,
        sampling_rates=found.rates,
        chunks=chunks,
        retrain=retrain,
        hold_start=hold_start,
        policy=repr(policy),
        n_classes=n_classes,
        nonprivate_accuracy=nonprivate_accuracy,
        public_accuracy=public_accuracy,
        n_public=n_public,
        public_kind=public_kind,
    )
    plan.expected_accuracy  # noqa: B018 -- refuses bad accuracies now
    if plan.epsilon > budget.epsilon:  # the sums above are exact; if they ever are not, no plan
        raise ArithmeticError(f"The schedule costs ε={plan.epsilon:.6g}, above {budget.epsilon:g}. Please report this.")
    return plan
