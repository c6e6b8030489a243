"""Who looks at the pool in the next round: decided from what was released and what is public, so for free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skdpal.estimators.regime import USELESS, kappa
from skdpal.privacy.validation import check_finite, check_real

__all__ = ["SwitchRule"]

_UNKNOWN = ["dp_noise", "sampling", "transfer"]  # what a model does not know; "overlap" is the patients' own


@dataclass(frozen=True, eq=False)
class SwitchRule:
    """The released model scores the pool as soon as it can be trusted; until then the public model does, or coins alone.

    Parameters
    ----------
    confidence : float, default=1.0
        With a reference: the released model is trusted if, for the median reference row, the log-odds of the two likeliest classes
        are at least this many standard deviations from even. The standard deviation is that of what the model does not
        know: privacy noise, few patients, a prior that may not fit.
    reference : array-like of shape (n_rows, n_features), optional
        PUBLIC rows, embedded as the pool is and out of sample.
    least_kappa : float, default=2.0
        Without a reference: trusted if κ = √Σ(n μ)²/√d of the releases so far is at least this; see `regime.kappa`.

    Notes
    -----
    Charged: nothing. The rule is a pure function of the released model and of public numbers, so whoever holds the releases can compute it; acceptance
    stays a function of one patient, of what was released, and of a coin (docs/trusted_kernel.md, Theorem C). It must
    not be given anything else: a rule that looks at the pool, or at the exact accuracy, lets one patient move everybody's
    selection (tests/statistical/test_cold_start_attack.py).

    For `PrivateQuery(scorer=...)`, which asks `choose` in every round and writes the answer to the ledger.

    Examples
    --------
    >>> from skdpal.cohort import SwitchRule
    >>> import skdpal
    >>> query = skdpal.PrivateQuery("margin", n_pool=20, scorer=SwitchRule())
    """

    confidence: float = 1.0
    reference: Any = None
    least_kappa: float = USELESS

    def __post_init__(self) -> None:
        check_real("confidence", self.confidence, above=0.0, closed=True)
        check_real("least_kappa", self.least_kappa, above=0.0, closed=True)
        if self.reference is not None and not len(check_finite("reference", self.reference)):
            raise ValueError("Expected reference to have rows. Found none. Pass public rows, or leave it out.")

    def choose(self, released: Any, public: Any = None) -> Any:
        """Who scores the pool.

        Parameters
        ----------
        released : DP estimator
            Fitted; holds what was released.
        public : classifier, optional
            The model before any patient.

        Returns
        -------
        `released`, `public`, or None: coins alone
        """
        return released if self.trusts(released) else public

    def trusts(self, released: Any) -> bool:
        """Whether the released model may score the pool."""
        return self.measure(released) >= (self.least_kappa if self.reference is None else self.confidence)

    def measure(self, released: Any) -> float:
        """What is compared with `confidence`, or without a reference with `least_kappa`; 0 before any patient."""
        releases = [one for one in released.releases_ if one.expected_records > 0]
        if not releases:  # a held start: what answers is the public model
            return 0.0
        if self.reference is not None:
            return float(np.median(self._confidences(released)))
        return kappa(
            [float(one.expected_records) for one in releases],
            [float(one.noise_multiplier) for one in releases],
            int(released.n_features_in_),
        )

    def _confidences(self, released: Any) -> NDArray[np.float64]:
        """Distance of each reference row's log-odds from even, in standard deviations of what is not known."""
        sure = np.sort(np.log(np.maximum(released.predict_proba(self.reference), 1e-300)), axis=1)
        unknown = released.uncertainty(self.reference)[_UNKNOWN].sum(axis=1).to_numpy()
        return (sure[:, -1] - sure[:, -2]) / np.sqrt(np.maximum(unknown, 1e-300))

    def __repr__(self) -> str:
        if self.reference is None:
            return f"SwitchRule(least_kappa={self.least_kappa:g})"
        return f"SwitchRule(confidence={self.confidence:g}, reference of {len(self.reference)} rows)"
