"""How often an attack whose error rates are known misses what it looks for, summed exactly."""

import numpy as np
from scipy.stats import binom

from skdpal.audit.bounds import epsilon_at, error_ceilings, mu_at

MISSED = 1e-6  # the most for a planted fault, and for an attack on faultless code that must prove something
_OUTSIDE = 1e-10  # of each tail that is not summed, but counted as missed


def missed(rates, runs, *, mu=None, epsilon=None, delta=None, confidence=1 - 1e-6):
    """An upper bound of the chance that a claim is not refuted: either μ, or ε at δ.

    `rates` are those of "present" without the patient and of "absent" with; larger ones than the true ones give a larger bound.
    """
    counts = [_likely(rate, runs) for rate in rates]
    positives, negatives = (error_ceilings(count, runs, (1 - confidence) / 2) for count in counts)
    grid = positives[:, None], negatives[None, :]
    stands = mu_at(*grid) <= mu if epsilon is None else epsilon_at(*grid, delta) <= epsilon
    first, second = (binom.pmf(count, runs, rate) for count, rate in zip(counts, rates, strict=True))
    return float(first @ stands @ second) + 4 * _OUTSIDE


def _likely(rate, runs):
    low, high = binom.ppf([_OUTSIDE, 1 - _OUTSIDE], runs, rate)
    return np.arange(max(int(low), 0), int(high) + 1)
