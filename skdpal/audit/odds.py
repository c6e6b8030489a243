"""How often an audit would find a halved noise: computed before anything is run."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit, ndtr
from scipy.stats import binom

from skdpal.audit.bounds import epsilon_at, error_ceilings, power
from skdpal.audit.claim import Claim
from skdpal.privacy import PrivacyBudget
from skdpal.privacy.accounting.gaussian import ceiling_mu_squared

__all__ = ["power_of"]

_RARE = 1e-15


def power_of(claim: Claim, runs: int, confidence: float) -> float:
    """The chance that runs refute a claim, if the noise is half of what was paid for and the attack is as sharp as can be.

    Parameters
    ----------
    claim : Claim
        With μ: N(0, 1) against N(2μ, 1). Without: of a pure ε a response with 2ε; of (ε, δ) the Gaussian with twice its μ.
    runs : int
        Which judge, in each world.
    confidence : float

    Examples
    --------
    >>> from skdpal.audit.claim import Claim
    >>> from skdpal.audit.odds import power_of
    >>> power_of(Claim(1.0, 4.4, 1e-5), 500, 0.95) > 0.999
    True
    """
    if not math.isfinite(claim.epsilon) or claim.epsilon == 0:
        return math.nan
    if not math.isnan(claim.mu):
        return power(2 * claim.mu, claim.mu, runs, confidence=confidence)
    if claim.delta == 0:
        error = float(expit(-2 * claim.epsilon))
        return _power(error, error, claim, runs, confidence)
    mu = 2 * math.sqrt(ceiling_mu_squared(PrivacyBudget(claim.epsilon, claim.delta)))
    thresholds = np.linspace(mu / 2, mu + 2, 25)
    return max(_power(float(ndtr(-at)), float(ndtr(at - mu)), claim, runs, confidence) for at in thresholds)


def _power(false_positive: float, false_negative: float, claim: Claim, runs: int, confidence: float) -> float:
    """Summed over all numbers of errors that occur with a chance above 1e-15."""
    rates = (false_positive, false_negative)
    counts = [np.arange(binom.ppf(_RARE, runs, rate), binom.isf(_RARE, runs, rate) + 1) for rate in rates]
    high, low = (error_ceilings(count, runs, (1 - confidence) / 2) for count in counts)
    refuted = epsilon_at(high[:, None], low[None, :], claim.delta) > claim.epsilon
    chances = [binom.pmf(count, runs, rate) for count, rate in zip(counts, rates, strict=True)]
    return float(chances[0] @ refuted @ chances[1])
