"""The noise of every release of a study, so that its dearest patient pays the whole budget and nobody more.

Sums of μ² = 1 / noise multiplier² over the releases that a patient is in; B² is what the budget allows.

| mode | who pays what |
|---|---|
| hidden | every patient is in one release, at B (docs/trusted_kernel.md, Theorem C) |
| hidden, amplified | whoever is left in the pool pays for each round as for a Poisson sample; the others once, at B |
| published | patient of round r: the scores of rounds 1 to r, then one release |
| trained on everybody | patient of round r: the scores of rounds 1 to r, then the models of rounds r to R |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from scipy.optimize import brentq

from skdpal.learner.planning.policy import Policy, follow
from skdpal.learner.planning.schedules import Releases, schedule_of
from skdpal.privacy import PrivacyBudget, calibrate, events
from skdpal.privacy.accounting.losses import losses_of
from skdpal.privacy.events import Event

__all__ = ["acceptance_rates", "amplified", "pay_once", "published", "retrained", "rough_epsilon", "smallest_noise"]

_HAIR = 1 + 1e-10  # above the rounding of sums of shares
_PRECISION = 1e-3  # relative, of noise found by search


def pay_once(budget: PrivacyBudget, rounds: int) -> Releases:
    """Hidden rounds: B for every cohort."""
    once = calibrate(events.gaussian, budget)
    return Releases(start=once, rounds=(once,) * rounds, evaluation=once)


def acceptance_rates(n_pool: int, labels_per_round: int, rounds: int, tilt: float) -> tuple[float, ...]:
    """The largest chance with which any patient whatever is accepted, round by round.

    Parameters
    ----------
    n_pool, labels_per_round, rounds : int
        Of the protocol; each round thins the pool by what the rounds before asked for, not by whom they got.
    tilt : float
        From 0 to 1, of acceptance by probability.

    Examples
    --------
    >>> from skdpal.learner.planning import acceptance_rates
    >>> [round(rate, 3) for rate in acceptance_rates(n_pool=20, labels_per_round=3, rounds=3, tilt=0.5)]
    [0.225, 0.265, 0.321]
    """
    found = []
    for number in range(rounds):
        left = n_pool - number * labels_per_round
        rate = 1.0 if left <= labels_per_round else labels_per_round / left
        found.append(min(1.0, rate * (1 + tilt)))
    return tuple(found)


def amplified(
    budget: PrivacyBudget,
    n_pool: int,
    labels_per_round: int,
    rounds: int,
    tilt: float,
    *,
    evaluation: bool,
    held: bool = False,
) -> Releases:
    """Hidden rounds by fresh secret coins: the smaller of the two bounds, so pay once if that is less noise."""
    once = replace(pay_once(budget, rounds), held=held)
    rates = acceptance_rates(n_pool, labels_per_round, rounds, tilt)
    sampled = rates[1:] if held else rates

    def roughly(noise: float) -> float:
        """ε of whoever stays in the pool; a coarse grid errs upwards."""
        return rough_epsilon([events.poisson_gaussian(noise, rate, 1) for rate in sampled], budget)

    if not sampled or roughly(once.start) > budget.epsilon:
        return once
    noise = smallest_noise(roughly, budget.epsilon, once.start)
    while True:
        first = (once.start,) if held else ()
        found = replace(once, rounds=(*first, *(noise,) * len(sampled)), rates=rates)
        if schedule_of(found, evaluation=evaluation).epsilon(budget.delta) <= budget.epsilon:
            return found
        noise *= 1 + _PRECISION
        if noise >= once.start:
            return once


def published(budget: PrivacyBudget, rounds: int, policy: Policy, share: float, *, chunks: bool) -> Releases:
    """Published rounds, each cohort trained on once: whoever is chosen pays B, whenever that is.

    Whoever is never chosen pays `share` of B²; the scores of a round leave its cohort the rest.
    """
    once = calibrate(events.gaussian, budget)
    scores = follow(policy, 1 if chunks else rounds, share * once**-2)
    scores = scores * rounds if chunks else scores
    paid = [scores[0] ** -2] * rounds if chunks else _sums(scores)
    left = tuple(_noise(once**-2 - scored) for scored in paid)
    return Releases(once, left, once, selections=tuple(noise * _HAIR for noise in scores))


def retrained(budget: PrivacyBudget, rounds: int, policy: Policy, *, scored: bool, chunks: bool) -> Releases:
    """One model a round, trained on everybody anew; noisy scores, if any, take what the models leave.

    Scores as noisy as the model before them add nothing to what the dearest patient pays: whoever is chosen in round r
    was in r scores instead of r models. Whoever is scored once may pay, with chunks, for all of these at once.
    """
    once = calibrate(events.gaussian, budget)
    models = follow(policy, rounds + 1, once**-2)
    before = _sums(models[:-1]) if chunks else [noise**-2 for noise in models[:-1]]
    scores = tuple(_noise(mu_squared) for mu_squared in before) if scored else ()
    start, *others = (noise * _HAIR for noise in models)
    return Releases(start, tuple(others), once, selections=scores)


def rough_epsilon(released: Sequence[Event], budget: PrivacyBudget, grid: float = 5e-3) -> float:
    """ε of releases that everybody is in, quickly: by a loss distribution on a coarse grid, which errs upwards."""
    losses = losses_of(released, min(grid, budget.epsilon / 100))
    return float(losses.get_epsilon_for_delta(budget.delta))


def smallest_noise(epsilon: Callable[[float], float], ceiling: float, fitting: float) -> float:
    """The smallest noise that fits, up to 0.1%; what is returned was priced, and fits.

    Parameters
    ----------
    epsilon : callable
        The price of a noise multiplier; falls when it grows.
    ceiling : float
    fitting : float
        A noise multiplier that fits.
    """
    prices: dict[float, float] = {}

    def excess(log_noise: float) -> float:
        prices[log_noise] = epsilon(math.exp(log_noise))
        return math.log(max(prices[log_noise], 1e-9) / ceiling)

    low = high = math.log(fitting)
    while excess(low) <= 0:
        high, low = low, low - 0.5
    if low < high:
        brentq(excess, low, high, xtol=_PRECISION, rtol=1e-6)
    return math.exp(min(log for log, price in prices.items() if price <= ceiling))


def _sums(noises: tuple[float, ...]) -> list[float]:
    """What was paid after each release."""
    return [math.fsum(noise**-2 for noise in noises[: number + 1]) for number in range(len(noises))]


def _noise(mu_squared: float) -> float:
    return _HAIR / math.sqrt(mu_squared) if mu_squared > 1e-15 else math.inf
