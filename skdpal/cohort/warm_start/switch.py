"""Who looks at the pool in the next round: decided from what was released and what is public, so for free."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from skdpal.estimators.regime import USELESS, kappa
from skdpal.privacy.validation import check_finite, check_real

__all__ = ["SwitchRule"]

_UNKNOWN = ["dp_noise", "sampling", "transfer"]  # what a model does not know; "overlap" is the patients' own


@dataclass(frozen=True, eq=False)
class SwitchRule:
    """The released model scores the pool as soon as it can be trusted; until then the public model does, or coins alone.

    With a reference, z is how far from even the median reference row's log-odds of the two likeliest classes are, in
    standard deviations of what the model does not know (privacy noise, few patients, a prior that may not fit). Squares
    of z add up as evidence does, so √(z² - z²_public) is what the patients have added to the public model; without a
    public model it is z. Without a reference, κ = √Σ(n μ)²/√d of the releases so far takes its place (`regime.kappa`).

    Parameters
    ----------
    confidence : float, default=1.0
        With a reference: the released model is trusted if patients have added at least this many standard deviations.
    reference : array-like of shape (n_rows, n_features), optional
        PUBLIC rows, embedded as the pool is and out of sample.
    least_kappa : float, default=2.0
        Without a reference: trusted if κ is at least this.

    Notes
    -----
    Charged: nothing. The rule is a pure function of the released model and of public numbers, so whoever holds the
    releases can compute it; acceptance stays a function of one patient, of what was released, and of a coin
    (docs/trusted_kernel.md, Theorem C). It must not be given anything else: a rule that looks at the pool, or at the
    exact accuracy, lets one patient move everybody's selection (tests/statistical/test_cold_start_attack.py).

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
        enough = self.least_kappa if self.reference is None else self.confidence
        added = self.measure(released, public)
        return released if added > 0 and added >= enough else public

    def measure(self, released: Any, public: Any = None) -> float:
        """What is compared with `confidence`, or without a reference with `least_kappa`.

        Parameters
        ----------
        released, public : classifier
            As for `choose`.

        Returns
        -------
        float
            0 before any patient.
        """
        releases = [one for one in released.releases_ if one.expected_records > 0]
        if not releases:  # a held start: what answers is the public model
            return 0.0
        if self.reference is not None:
            before = 0.0 if public is None else self._certainty(public)
            return math.sqrt(max(self._certainty(released) ** 2 - before**2, 0.0))
        return kappa(
            [float(one.expected_records) for one in releases],
            [float(one.noise_multiplier) for one in releases],
            int(released.n_features_in_),
        )

    def _certainty(self, model: Any) -> float:
        """The median reference row's log-odds, in standard deviations of what is not known."""
        sure = np.sort(np.log(np.maximum(model.predict_proba(self.reference), 1e-300)), axis=1)
        unknown = model.uncertainty(self.reference)[_UNKNOWN].sum(axis=1).to_numpy()
        return float(np.median((sure[:, -1] - sure[:, -2]) / np.sqrt(np.maximum(unknown, 1e-300))))

    def __repr__(self) -> str:
        if self.reference is None:
            return f"SwitchRule(least_kappa={self.least_kappa:g})"
        return f"SwitchRule(confidence={self.confidence:g}, reference of {len(self.reference)} rows)"
