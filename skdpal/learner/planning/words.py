"""What a plan says about itself, and why a protocol is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from skdpal.estimators.regime import LINEAR, USELESS
from skdpal.learner.planning.policy import Policy, Uniform
from skdpal.privacy.accounting.gaussian import epsilon_of_mu

if TYPE_CHECKING:
    from skdpal.learner.plan import StudyPlan

__all__ = ["advice", "check_feasible", "check_policy", "sentence"]


def sentence(plan: StudyPlan) -> str:
    """Protocol, noise, who pays, price and accuracy, in plain words."""
    asked = f"exactly {plan.labels_per_round}" if plan.release == "published" else f"about {plan.labels_per_round}"
    low, high = plan.expected_accuracy
    hope = "" if math.isnan(low) else f" Expect an accuracy of {low:.2f} to {high:.2f}."
    return (
        f"{plan.rounds} {'round' if plan.rounds == 1 else 'rounds'} of {asked} labels {'with' if plan.hold_start else 'after'} {plan.n_labelled}, "
        f"{_payment(plan)}: ε={plan.epsilon:.2f} at δ={plan.budget.delta:g}.{hope}"
    )


def _payment(plan: StudyPlan) -> str:
    last = plan.round_noise[-1]
    if plan.release == "published":
        scores = [noise for noise in plan.selection_noise if math.isfinite(noise)]
        choice = (
            f"choices published by noisy scores (noise multiplier {scores[-1]:.3f})" if scores else "random choices"
        )
        trained = "trained on everybody each time" if plan.retrain else "each cohort trained on once"
        return f"{choice}, {trained} (noise multiplier {last:.3f} in the end)"
    if plan.retrain:
        return (
            f"trained on everybody each time, so that everybody pays each time (noise multiplier {last:.3f} in the end)"
        )
    if plan.amplified:
        return (
            f"noise multiplier {plan.noise_multiplier:.3f} at the start and {last:.3f} in the rounds, "
            "where secret coins choose whom to ask"
        )
    return f"noise multiplier {plan.noise_multiplier:.3f} for every release, because each patient is in one only"


def advice(plan: StudyPlan) -> str:
    """What κ promises; below 2 also what would reach 2."""
    strength = plan.kappa
    if plan.n_components is None or math.isnan(strength):
        return "Pass n_components, the dimension of the embedding, to learn what accuracy to hope for."
    if strength < USELESS:
        return (
            f"κ = {strength:.1f} is below 2: patients alone give no useful model; the public prior carries it. "
            f"κ = 2 takes {_ways(plan, USELESS / strength)}."
        )
    if strength < LINEAR:
        return f"κ = {strength:.1f}, from 2 to 8: one release of prototypes is the right learner."
    return f"κ = {strength:.1f} is above 8: there is signal for more than prototypes; try DPLinearClassifier."


def _ways(plan: StudyPlan, factor: float) -> str:
    """What multiplies κ by a factor: it is proportional to μ, to n and to 1 / √d."""
    ways = []
    if not plan.amplified:
        ways.append(f"ε={math.ceil(10 * epsilon_of_mu(factor / plan.evaluation_noise, plan.budget.delta)) / 10:g}")
    ways.append(f"{math.ceil(factor * plan.expected_labels)} labels in the same rounds")
    fewer = math.floor((plan.n_components or 1) / factor**2)
    if fewer >= 1:
        ways.append(f"{fewer} {'dimension' if fewer == 1 else 'dimensions'}")
    at_once = plan.expected_labels / plan.evaluation_noise / math.sqrt(plan.n_components or 1)
    if at_once >= USELESS:
        ways.append("all labels in one release")
    return f"{', '.join(ways[:-1])} or {ways[-1]}" if len(ways) > 1 else ways[0]


def check_feasible(
    n_labelled: int, n_pool: int, labels_per_round: int, rounds: int, *, release: str, chunks: bool
) -> None:
    """Raise if published rounds ask for more patients than there are, with what would fit."""
    if chunks and release != "published":
        raise ValueError(
            f'Expected chunks=False with release="hidden", where nobody is scored with noise. Found chunks={chunks!r}. '
            'Leave it out, or plan release="published".'
        )
    if release == "published" and labels_per_round * rounds > n_pool:
        each, most = n_pool // rounds, n_pool // labels_per_round
        ways = [f"{most} rounds of {labels_per_round} labels"] if most else []
        ways += [f"{rounds} rounds of {each} labels"] if each else []
        ways.append(f"a pool of {labels_per_round * rounds}")
        raise ValueError(
            f"Expected labels_per_round x rounds to be at most n_pool, {n_pool}: published rounds take exactly as many as "
            f"they ask for. Found {labels_per_round} x {rounds} = {labels_per_round * rounds}. Plan {', or '.join(ways)}."
        )


def check_policy(policy: Any, *, filter: str, divides: bool) -> Policy:
    """The policy, `Uniform` by default; raise if it has nothing to divide, or decides what is frozen."""
    if policy is None:
        return Uniform()
    if isinstance(policy, type) or not isinstance(policy, Policy):
        raise TypeError(
            f"Expected policy to have propose(view) and adaptive, like Uniform(). Found {policy!r}. "
            "See skdpal.learner.planning."
        )
    if not divides and not isinstance(policy, Uniform):
        raise ValueError(
            f"Expected no policy where no two cohorts share a budget. Found {policy!r}. Each patient is in one release, so "
            "the whole budget in every round is best, and less for one round would not mean more for another. "
            'Leave it out, or plan release="published" without chunks, or retrain=True.'
        )
    if filter == "planned" and policy.adaptive:
        raise ValueError(
            f'Expected a policy that is settled beforehand with filter="planned". Found {policy!r}, which looks at what was '
            'released. Use Uniform(), Geometric(...) or AllAtOnce(), or filter="gdp".'
        )
    return policy
