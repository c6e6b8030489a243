"""Noisy sums over patients.

Invariants
----------
* The mechanism enforces the sensitivity it is priced for: it sums each patient's rows and
  clips the sum itself. Of a caller it believes `replace_one` only, which the headline
  (zero-out) does not use; its default, 2, is always true.
* Zero patients are a cohort like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy import events
from skdpal.privacy.identities import sum_by_patient
from skdpal.privacy.randomness import perturb
from skdpal.privacy.validation import check_finite, check_real

__all__ = ["GaussianSum"]

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
    one_row_each: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_real("clipping_norm", self.clipping_norm, above=0.0)
        events.gaussian(self.noise_multiplier, replace_one=self.replace_one)

    @property
    def event(self) -> events.Gaussian:
        """The price: μ = 1 / noise_multiplier."""
        return events.gaussian(self.noise_multiplier, replace_one=self.replace_one)

    def run(
        self, contributions: NDArray[np.float64], ids: Sequence[str], shares: Mapping[str, float] | None = None
    ) -> NDArray[np.float64]:
        """The noisy sum, after clipping each patient counted as much as they share. Only `release` calls this, after the charge."""
        patients = sum_by_patient(check_finite("contributions", contributions), ids)
        norms = np.sqrt(np.einsum("ij,ij->i", patients, patients))
        factors = np.minimum(1.0, self.clipping_norm * _MARGIN / np.maximum(norms, 1e-300))
        if shares is not None:
            factors = factors * np.array(
                [shares[patient] for patient in dict.fromkeys(map(str, ids))], dtype=np.float64
            )
        return perturb(factors @ patients, self.noise_multiplier * self.clipping_norm)
