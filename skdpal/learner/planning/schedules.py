"""From noise to the splits and charges of a study, in the order in which its ledger sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from skdpal.privacy import Charge, Schedule, Split, events
from skdpal.privacy.accounts import POOL

__all__ = ["EVALUATION", "START", "Releases", "chunk", "cohort", "schedule_of"]

START, EVALUATION = "cohort/start", "cohort/evaluation"
_PROTOTYPES, _COUNT = math.sqrt(2.0), 1.0  # sensitivity to an exchange, over that to zero-out


@dataclass(frozen=True)
class Releases:
    """Noise multipliers of a study; infinity where nothing is released.

    Parameters
    ----------
    start : float
        Of the model of the starting cohort.
    rounds : tuple of float
        Of the model of each round.
    evaluation : float
        Of the final noisy accuracy.
    selections : tuple of float
        Of the noisy scores of each published round; none in hidden ones.
    rates : tuple of float
        Largest chances of acceptance, if rounds are paid for as Poisson samples.
    held : bool
        Whether the start is released with the first round, whose cohort then pays for itself.
    """

    start: float
    rounds: tuple[float, ...]
    evaluation: float
    selections: tuple[float, ...] = ()
    rates: tuple[float, ...] = ()
    held: bool = False


def cohort(number: int) -> str:
    """The account of a round's cohort; of the start for 0."""
    return f"cohort/round-{number}" if number else START


def chunk(number: int) -> str:
    """The account of those who can be asked in one round only."""
    return f"cohort/chunk-{number}"


def schedule_of(
    releases: Releases, *, evaluation: bool = False, chunks: bool = False, retrain: bool = False
) -> Schedule:
    """Every split and charge.

    Parameters
    ----------
    releases : Releases
    evaluation : bool
        Whether patients were set apart for the final accuracy.
    chunks : bool
        Each round asks a part of the pool that no other round asks; the parts are settled beforehand.
    retrain : bool
        Each model is trained on all cohorts so far, and every one of them pays.
    """
    rounds = range(1, len(releases.rounds) + 1)
    steps: list[Charge | Split] = [Split(POOL, EVALUATION)] if evaluation else []
    steps += [] if releases.held else [Split(POOL, START)]
    steps += [Split(POOL, chunk(number)) for number in rounds if chunks]
    steps += [] if releases.held else _training(releases.start, [START])
    for number in rounds:
        learners = [cohort(one) for one in range(number + 1)] if retrain else [cohort(number)]
        steps += _round(releases, number, chunk(number) if chunks else POOL, learners)
    if evaluation:
        steps.append(Charge(events.gaussian(releases.evaluation, replace_one=_COUNT), EVALUATION))
    return Schedule(steps)


def _round(releases: Releases, number: int, source: str, learners: list[str]) -> list[Charge | Split]:
    noise, moved = releases.rounds[number - 1], Split(source, cohort(number))
    if releases.rates and not (
        releases.held and number == 1
    ):  # paid by all who might be accepted, before it is known who is
        return [Charge(events.poisson_gaussian(noise, releases.rates[number - 1], 1), source), moved]
    scores = releases.selections[number - 1] if releases.selections else math.inf
    scored = [] if math.isinf(scores) else [Charge(events.noisy_scores(scores), source)]
    return [*scored, moved, *_training(noise, learners)]


def _training(noise: float, accounts: list[str]) -> list[Charge | Split]:
    if math.isinf(noise):
        return []
    return [Charge(events.gaussian(noise, replace_one=_PROTOTYPES), account) for account in accounts]
