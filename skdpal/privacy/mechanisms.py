"""The one door: charge, then read, clip, sum, add noise.

Invariants
----------
* The charge is on disk before a contribution is computed.
* The mechanism enforces the sensitivity it is priced for: it sums each patient's rows and
  clips the sum itself. Of a caller it believes `replace_one` only, which the headline
  (zero-out) does not use; its default, 2, is always true.
* Zero patients are a cohort like any other: charged and released.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy import events
from skdpal.privacy.identities import sum_by_patient
from skdpal.privacy.randomness import current_simulation, perturb
from skdpal.privacy.validation import check_finite, check_real

if TYPE_CHECKING:
    from skdpal.privacy.handle import Handle
    from skdpal.privacy.ledger import PrivacyLedger

__all__ = ["GaussianSum", "release", "require_ledger"]

_MARGIN = 1 - 1e-9  # float64 sums of a million clipped rows stay within the sensitivity


@dataclass(frozen=True)
class GaussianSum:
    """The Gaussian mechanism on a sum over patients.

    Parameters
    ----------
    noise_multiplier : float
        Standard deviation of the noise, in units of `clipping_norm`.
    clipping_norm : float, default=1.0
        Public bound on the L2 norm of one patient's contribution; larger ones are scaled down.
    replace_one : float, default=2.0
        L2 distance of two patients' contributions, in units of `clipping_norm`, at most 2.
    """

    noise_multiplier: float
    clipping_norm: float = 1.0
    replace_one: float = 2.0

    def __post_init__(self) -> None:
        check_real("clipping_norm", self.clipping_norm, above=0.0)
        events.gaussian(self.noise_multiplier, replace_one=self.replace_one)

    @property
    def event(self) -> events.Gaussian:
        """The price: μ = 1 / noise_multiplier."""
        return events.gaussian(self.noise_multiplier, replace_one=self.replace_one)

    def run(self, contributions: NDArray[np.float64], ids: Sequence[str]) -> NDArray[np.float64]:
        """The noisy sum. Only `release` calls this, after the charge."""
        patients = sum_by_patient(check_finite("contributions", contributions), ids)
        norms = np.sqrt(np.einsum("ij,ij->i", patients, patients))
        factors = np.minimum(1.0, self.clipping_norm * _MARGIN / np.maximum(norms, 1e-300))
        return perturb(factors @ patients, self.noise_multiplier * self.clipping_norm)


def release(
    contributions: Callable[[], NDArray[np.float64]],
    mechanism: GaussianSum,
    ledger: PrivacyLedger | Handle | None,
    label: str,
    *,
    record_ids: Sequence[str],
) -> NDArray[np.float64]:
    """Charge a ledger, then release a noisy sum over patients.

    Parameters
    ----------
    contributions : callable
        Returns an array of shape (n_rows, n_columns), one row a sample. Called after the charge.
    mechanism : GaussianSum
        What is done, and what it costs.
    ledger : PrivacyLedger or Handle
        Who pays. None is allowed inside `simulation` only.
    label : str
        Public words for the receipt.
    record_ids : sequence of str of length n_rows
        The patient of each row.

    Returns
    -------
    ndarray of shape (n_columns,)

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
    if payer is not None:
        payer.charge(mechanism.event, label, record_ids=record_ids)
    return mechanism.run(contributions(), record_ids)


def require_ledger(ledger: PrivacyLedger | Handle | None) -> PrivacyLedger | Handle | None:
    """The ledger; None only inside a simulation."""
    if ledger is None and current_simulation() is None:
        raise ValueError(
            "Expected ledger to be a PrivacyLedger. Found None. Pass ledger=PrivacyLedger(PrivacyBudget(epsilon, delta)); "
            "without one, noise is only allowed inside skdpal.privacy.randomness.simulation(seed)."
        )
    return ledger
