"""Gaussian differential privacy, written anew: nothing here is shared with the code that it checks.

δ(ε) = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ) (Dong, Roth and Su 2022). With the scaled complementary error function
both terms have the factor exp(−(ε/μ − μ/2)²/2), so that small δ keep their digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from scipy.optimize import brentq
from scipy.special import erfcx
from scipy.stats import norm

__all__ = ["delta_of", "epsilon_of", "guesses", "mu_between", "mu_of"]


def delta_of(mu: float, epsilon: float) -> float:
    """δ at ε of N(0, 1) against N(μ, 1)."""
    if mu == 0:
        return 0.0
    near, far = epsilon / mu - mu / 2, epsilon / mu + mu / 2
    common = math.exp(-near * near / 2) / 2
    if near < 0:
        return float(norm.sf(near) - common * erfcx(far / math.sqrt(2)))
    return float(common * (erfcx(near / math.sqrt(2)) - erfcx(far / math.sqrt(2))))


def epsilon_of(mu: float, delta: float) -> float:
    """ε at δ."""
    if delta_of(mu, 0.0) <= delta:
        return 0.0
    return _root(lambda epsilon: math.log(max(delta_of(mu, epsilon), 1e-320) / delta), mu * mu / 2 + 40 * mu + 1)


def mu_of(epsilon: float, delta: float) -> float:
    """The largest μ that is (ε, δ)-differentially private."""
    return _root(lambda mu: math.log(delta / max(delta_of(mu, epsilon), 1e-320)), 10 * math.sqrt(epsilon + 1) + 10)


def mu_between(p: Sequence[float], q: Sequence[float]) -> float:
    """The smallest μ for which two laws on the same values are as hard to tell apart as N(0, 1) and N(μ, 1).

    The best tests reject the values with the largest p/q first; between such tests the trade-off curve is a chord, and
    that of the Gaussian pair, being convex, stays below if it does at the corners.
    """
    order = sorted(range(len(p)), key=lambda value: q[value] / p[value])
    found, rejected, missed = 0.0, 0.0, 1.0
    for value in order[:-1]:
        rejected, missed = rejected + q[value], missed - p[value]
        found = max(found, float(norm.isf(rejected) - norm.ppf(missed)))
    return found


def guesses(epsilon: float, delta: float, mu: float | None = None) -> tuple[float, float]:
    """How an attacker does at best who tells two equally likely worlds apart: true and false positive rate.

    Parameters
    ----------
    epsilon, delta : float
        Of the guarantee.
    mu : float, optional
        Of a Gaussian guarantee, which is sharper.

    Returns
    -------
    tuple of float
        Of the test that is right most often; it is right in (1 + true − false)/2 of all cases.
    """
    if mu is not None:
        return float(norm.cdf(mu / 2)), float(norm.sf(mu / 2))
    false = (1 - delta) / (1 + math.exp(min(epsilon, 700.0)))
    return 1 - false, false


def _root(function: Callable[[float], float], high: float) -> float:
    while function(high) > 0:
        high *= 2
    return float(brentq(function, 1e-12, high, xtol=1e-15, rtol=1e-13))
