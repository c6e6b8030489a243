"""The one door: charge, then read, then let the mechanism add its noise.

Invariants
----------
* The charge is on disk before a value is computed.
* Asked again under the same question, the answer is the one that was stored; the first that is stored is the only one
  that leaves, so one receipt never pays for two.
* Bad input that can be seen without reading values is refused before the charge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from skdpal.privacy.events import Event
from skdpal.privacy.ledger.shares import Shares
from skdpal.privacy.mechanisms.sums import GaussianSum
from skdpal.privacy.randomness import current_simulation

if TYPE_CHECKING:
    from skdpal.privacy.ledger import PrivacyLedger
    from skdpal.privacy.ledger.handle import Handle

__all__ = ["Mechanism", "release", "require_ledger"]


class Mechanism(Protocol):
    """What turns private rows into something that may leave."""

    @property
    def one_row_each(self) -> bool:
        """Whether its sensitivity holds only if no patient has two rows."""

    @property
    def event(self) -> Event:
        """Its price."""

    def run(self, values: Any, ids: Sequence[str]) -> Any:
        """What may leave. Only `release` calls this, after the charge."""


def release(
    values: Callable[[], Any],
    mechanism: Mechanism,
    ledger: PrivacyLedger | Handle | None,
    label: str,
    *,
    record_ids: Sequence[str],
) -> Any:
    """Charge a ledger, then release what a mechanism makes of patients' rows.

    Parameters
    ----------
    values : callable
        Returns the rows: an array of shape (n_rows, n_columns) for sums, (n_rows,) for scores and labels.
        Called after the charge.
    mechanism : GaussianSum, NoisyScores, LaplaceScores, GumbelTopK or RandomizedResponse
        What is done, and what it costs.
    ledger : PrivacyLedger or Handle
        Who pays. None is allowed inside `simulation` only. Of `Shares`, several accounts pay for one `GaussianSum`.
    label : str
        Public words for the receipt.
    record_ids : sequence of str of length n_rows
        The patient of each row.

    Returns
    -------
    ndarray
        What the mechanism makes.

    Raises
    ------
    BudgetExhausted
        Before anything is read.

    Examples
    --------
    >>> import numpy as np, skdpal
    >>> from skdpal.privacy.mechanisms import GaussianSum, release
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> rows = np.ones((3, 2))
    >>> release(lambda: rows, GaussianSum(4.0), ledger, "sum", record_ids=["a", "b", "c"]).shape
    (2,)
    """
    payer = require_ledger(ledger)
    if mechanism.one_row_each and len(set(map(str, record_ids))) < len(record_ids):
        raise ValueError(
            f"Expected one row for each patient, as {type(mechanism).__name__} needs. Pass one entry for each of record_ids."
        )
    if payer is None:
        return mechanism.run(values(), record_ids)
    kept = payer.recall(mechanism.event)
    if kept is not None:
        return kept
    if isinstance(payer, Shares):
        if not isinstance(mechanism, GaussianSum):
            raise TypeError(f"Expected a GaussianSum where accounts pay shares. Found {type(mechanism).__name__}.")
        shares = payer.charge_each(mechanism.event, label, record_ids)  # before values are read
        return mechanism.run(values(), record_ids, shares)
    payer.charge_once(mechanism.event, label, record_ids)
    return payer.remember(mechanism.event, mechanism.run(values(), record_ids))


def require_ledger(ledger: PrivacyLedger | Handle | None) -> PrivacyLedger | Handle | None:
    """The ledger; None only inside a simulation."""
    if ledger is None and current_simulation() is None:
        raise ValueError(
            "Expected ledger to be a PrivacyLedger. Found None. Pass ledger=PrivacyLedger(PrivacyBudget(epsilon, delta)); "
            "without one, noise is only allowed inside skdpal.privacy.randomness.simulation(seed)."
        )
    return ledger
