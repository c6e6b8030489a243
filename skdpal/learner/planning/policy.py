"""Who divides a budget over rounds: from what was released, and from nothing else.

A policy is asked before each release that the same patients pay for again and again: the noisy scores of published
rounds, or a model that is trained on everybody anew. Where each patient is in one release only (hidden rounds, pay
once) there is nothing to divide: every cohort may use the whole budget, and less noise for one would not mean more for another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

from skdpal.privacy import Receipt, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.validation import check_count, check_real

__all__ = ["AllAtOnce", "Geometric", "Policy", "PublicView", "Uniform", "follow", "next_noise"]


@dataclass(frozen=True)
class PublicView:
    """All that a policy may look at: what was released, and the protocol.

    It must never hold anything that follows from who was accepted, from labels or from how long something took
    (Theorem C of docs/trusted_kernel.md): no number of labels, no loss, no disagreement of readers.

    Parameters
    ----------
    number, total : int
        The release about to be made, from 1, of how many.
    mu_squared_left : float
        What the patients who paid most may still pay, in units of μ² = 1 / noise multiplier².
    receipts : tuple of Receipt
        What was paid for so far.
    models : tuple
        What was released so far, for example models.
    """

    number: int
    total: int
    mu_squared_left: float
    receipts: tuple[Receipt, ...] = ()
    models: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        check_count("number", self.number, least=1, most=check_count("total", self.total, least=1))
        check_real("mu_squared_left", self.mu_squared_left, above=0.0, closed=True)

    @classmethod
    def of(cls, ledger: Any, number: int, total: int, *, account: str = POOL, models: Sequence[Any] = ()) -> Self:
        """The view of a gdp ledger, with what an account can still pay."""
        least = ledger.headroom(events.gaussian, account)
        return cls(number, total, 1 / least**2, tuple(ledger.receipts()), tuple(models))

    @property
    def releases_left(self) -> int:
        """How many are still to be made, with the one about to be."""
        return self.total - self.number + 1


@runtime_checkable
class Policy(Protocol):
    """Proposes the noise of one release after another.

    Attributes
    ----------
    adaptive : bool
        Whether it looks at receipts or models. Then only a gdp ledger may follow it: a planned one freezes every number.
    """

    adaptive: bool

    def propose(self, view: PublicView) -> float:
        """The noise multiplier of the release about to be made; infinity to make none."""
        ...


@dataclass(frozen=True)
class Uniform:
    """The same noise in every round.

    Examples
    --------
    >>> from skdpal.learner.planning import PublicView, Uniform
    >>> Uniform().propose(PublicView(number=1, total=4, mu_squared_left=0.25))
    4.0
    """

    adaptive = False

    def propose(self, view: PublicView) -> float:
        """An equal share of what is left."""
        return _noise(view.mu_squared_left / view.releases_left)


@dataclass(frozen=True)
class Geometric:
    """Shares of μ² that grow from round to round by a fixed ratio; below 1 they shrink.

    Parameters
    ----------
    ratio : float
        Share of a round over that of the round before.

    Examples
    --------
    >>> from skdpal.learner.planning import Geometric, follow
    >>> [round(noise**-2, 2) for noise in follow(Geometric(2.0), total=3, mu_squared=0.7)]
    [0.1, 0.2, 0.4]
    """

    ratio: float = 2.0
    adaptive = False

    def __post_init__(self) -> None:
        check_real("ratio", self.ratio, above=0.0)

    def propose(self, view: PublicView) -> float:
        """The first of the shares of what is left."""
        logs = [step * math.log(self.ratio) for step in range(view.releases_left)]
        return _noise(view.mu_squared_left / math.fsum(math.exp(min(log, 700.0)) for log in logs))


@dataclass(frozen=True)
class AllAtOnce:
    """Nothing before the last release, which gets everything: label first, train once.

    Examples
    --------
    >>> from skdpal.learner.planning import AllAtOnce, follow
    >>> follow(AllAtOnce(), total=3, mu_squared=0.25)[:2]
    (inf, inf)
    """

    adaptive = False

    def propose(self, view: PublicView) -> float:
        """Everything, or nothing yet."""
        return math.inf if view.releases_left > 1 else _noise(view.mu_squared_left)


def next_noise(policy: Policy, view: PublicView, planned: float | None = None) -> float:
    """What a policy proposes, if it may.

    Parameters
    ----------
    policy : Policy
    view : PublicView
    planned : float, optional
        The noise of this release in a frozen schedule.

    Raises
    ------
    ValueError
        If the proposal costs more than what is left, or is not that of the frozen schedule.
    """
    proposed = policy.propose(view)
    if proposed != math.inf:
        proposed = check_real("noise multiplier that the policy proposes", proposed, above=0.0)
        if proposed**-2 > view.mu_squared_left * (1 + 1e-9):
            raise ValueError(
                f"Expected a noise multiplier of at least {_noise(view.mu_squared_left):.4g}: that is what is left. "
                f"Found {proposed:.4g}, from {policy!r}. Propose more noise, or infinity to release nothing."
            )
    if planned is not None and not math.isclose(proposed, planned, rel_tol=1e-9):
        raise ValueError(
            f"Expected the noise multiplier of the frozen schedule, {planned:.4g}. Found {proposed:.4g}, from {policy!r}. "
            'Follow the schedule, or plan with filter="gdp", where a policy may decide on the way.'
        )
    return proposed


def follow(policy: Policy, total: int, mu_squared: float) -> tuple[float, ...]:
    """The noise of every release, as a policy proposes it before anything is released.

    Parameters
    ----------
    policy : Policy
    total : int
        Number of releases.
    mu_squared : float
        What they may cost together.
    """
    noises: list[float] = []
    for number in range(1, total + 1):
        left = mu_squared - math.fsum(noise**-2 for noise in noises)
        noises.append(next_noise(policy, PublicView(number, total, max(left, 0.0))))
    return tuple(noises)


def _noise(mu_squared: float) -> float:
    return 1 / math.sqrt(mu_squared) if mu_squared > 0 else math.inf
