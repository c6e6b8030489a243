"""What is public when a round begins: kept in the ledger, so that a restart forgets nothing.

A round is named after what was released before it. Asked again before the next release, it is the same round.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy.accounts import POOL

__all__ = ["Round", "account_of", "largest_of", "members_of", "round_of"]


@dataclass(frozen=True)
class Round:
    """A round as the ledger knows it.

    Attributes
    ----------
    label : str
        Its name.
    number : int
        Rounds that began before it.
    asked_before : float
        Labels that those wanted.
    n_pool : int or None
        Public size of the pool in the protocol, if an earlier round, or this one, knew it.
    left : ndarray or None
        Weights of the reference rows after the round before, if it had the same reference.
    source : str
        The leaf from which the chosen come.
    pool : str
        The leaf of all who wait: the pool, or that of one hospital.
    """

    label: str
    number: int
    asked_before: float
    n_pool: int | None
    left: NDArray[np.float64] | None
    source: str = POOL
    pool: str = POOL

    def account(self, name: str) -> str:
        """The leaf of that name, of this pool."""
        return account_of(self.pool, name)


def account_of(pool: str, name: str) -> str:
    """``cohort/round-1`` of the pool, ``cohort/site-a-round-1`` of the leaf ``cohort/site-a``."""
    return f"cohort/{name}" if pool == POOL else f"{pool}-{name}"


def members_of(learner: Any) -> list[Any]:
    """The released estimators of a learner, or of every learner of a committee.

    Raises
    ------
    TypeError
        If one is not a DP estimator that was fitted.
    """
    holders = getattr(learner, "learner_list", None) or [learner]
    estimators = [holder.estimator for holder in holders]
    for estimator in estimators:
        if not hasattr(estimator, "privacy_event") or not hasattr(estimator, "fingerprint"):
            raise TypeError(
                f"Expected the learner to hold a DP estimator of skdpal. Found {type(estimator).__name__}. "
                "Only released models may choose patients; embed first, and use DPPrototypeClassifier."
            )
    return estimators


def round_of(learner: Any, ledger: Any, reference: str | None = None) -> Round:
    """The round that the next release will end; nothing is written."""
    prints = [estimator.fingerprint() for estimator in members_of(learner)]
    label = f"round {prints[0] if len(prints) == 1 else hashlib.sha256(' '.join(prints).encode()).hexdigest()}"
    pool = getattr(learner, "pool", POOL)
    if pool != POOL:  # hospitals that begin with one public model have rounds of their own
        label = f"{label} of {pool}"
    rounds = {name: row for name, row in ledger.rounds().items() if row.get("pool", POOL) == pool}
    names = list(rounds)
    number = names.index(label) if label in rounds else len(names)
    before = [rounds[name] for name in names[:number]]
    own = rounds.get(label, {})
    n_pool = next((known for row in [*before, own] if (known := row.get("n_pool")) is not None), None)
    last = before[-1] if before else {}
    left = np.array(last["left"]) if reference is not None and last.get("reference") == reference else None
    return Round(label, number, sum(row["wanted"] for row in before), n_pool, left, own.get("source", pool), pool)


def largest_of(ledger: Any, label: str) -> float | None:
    """The highest chance that a round gave anybody; None if it was not begun, or not hidden."""
    return ledger.rounds().get(label, {}).get("largest")
