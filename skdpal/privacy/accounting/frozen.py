"""The price of releases that were all fixed beforehand: the smallest of every valid bound."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from skdpal.privacy.accounting.gaussian import epsilon_of_mu, mu_squared
from skdpal.privacy.accounting.losses import compose, dominating, losses_of, needs_profile
from skdpal.privacy.accounting.renyi import ORDERS, best_epsilon, curve
from skdpal.privacy.accounting.search import bisect
from skdpal.privacy.events import Event, Gaussian, composed
from skdpal.privacy.validation import check_real

__all__ = ["epsilon_of", "epsilon_of_roles"]

_FINE, _COARSE = 1e-4, 1e-3  # grids of ε
Role = tuple[tuple[Event, ...], ...]  # what a patient was in, round by round


def epsilon_of(events: Iterable[Event], delta: float) -> float:
    """ε of a frozen list of releases at δ, under zero-out: the tightest price that is proven.

    Parameters
    ----------
    events : iterable of Event
        From `skdpal.privacy.events`.
    delta : float
        0 < δ < 1.

    Returns
    -------
    float
        An upper bound, exact up to a relative 1e-9 for Gaussian releases; infinity if a release is not
        private. It is the smallest of the bounds by sums of μ², by Rényi divergences and by privacy loss
        distributions (dp-accounting), and holds if the list did not depend on what was released.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> round(epsilon_of([events.gaussian(4.0)], delta=1e-5), 3)
    0.926
    """
    everything = tuple(events)
    return epsilon_of_roles([(everything,)], delta)


def epsilon_of_roles(roles: Sequence[Role], delta: float) -> float:
    """ε of a frozen schedule in which earlier releases decide the role of each patient.

    Parameters
    ----------
    roles : sequence of tuple of tuple of Event
        Every history that a patient may have: one tuple of releases a round, all of equal length.
    delta : float
        0 < δ < 1.

    Notes
    -----
    The largest sum of μ², or of Rényi divergences order by order, is valid for any roles. The largest loss
    distribution is not: valid are the composition of each round's dominating pair, and δ(ε) summed over the
    roles (docs/trusted_kernel.md).
    """
    delta = check_real("delta", delta, above=0.0, below=1.0)
    flat = [composed([event for turn in role for event in turn]) for role in roles]
    bound = epsilon_of_mu(math.sqrt(max(mu_squared(role) for role in flat)), delta)
    if all(isinstance(event, Gaussian) for role in roles for turn in role for event in turn):
        return bound  # exact
    worst = [max(values) for values in zip(*(curve(role) for role in flat), strict=True)]
    bound = min(bound, best_epsilon(worst, ORDERS, delta))
    if bound > 200:
        return bound  # nobody needs more digits, and the grid would be huge
    fine = bound < 10 and len(set(flat)) == 1 and not needs_profile(flat[0])
    interval = _FINE if fine else _COARSE
    return min(bound, _by_roles(set(flat), delta, interval), _by_rounds(roles, delta, interval))


def _by_roles(roles: Iterable[Event], delta: float, interval: float) -> float:
    losses = [losses_of([role], interval) for role in roles]
    if any(loss is None for loss in losses):
        return math.inf
    if len(losses) == 1:
        return float(losses[0].get_epsilon_for_delta(delta))
    high = 1.0
    while high < 1e3 and sum(loss.get_delta_for_epsilon(high) for loss in losses) > delta:
        high *= 2  # past every other bound, it does not matter any more
    total = bisect(
        lambda epsilon: sum(loss.get_delta_for_epsilon(epsilon) for loss in losses) <= delta, 0.0, high, 1e-6
    )
    return total[1]


def _by_rounds(roles: Sequence[Role], delta: float, interval: float) -> float:
    if len(set(roles)) == 1:
        return math.inf  # nothing to gain over the one role
    turns = [frozenset(turn) - {()} for turn in zip(*roles, strict=True)]
    pairs = {
        choices: dominating([losses_of(choice, interval) for choice in sorted(choices, key=repr)], interval)
        for choices in set(turns)
        if choices
    }
    if any(pair is None for pair in pairs.values()):
        return math.inf
    total = compose([pairs[choices] for choices in turns if choices], interval)
    return float(total.get_epsilon_for_delta(delta))
