"""The law of the secret number of runs in repeat-and-select: truncated negative binomial."""

from __future__ import annotations

import math

from skdpal.privacy.accounting.search import bisect

__all__ = ["gamma_of"]


def gamma_of(mean: float, shape: float) -> float:
    """The parameter γ of a given mean, rounded down: shape 1 is geometric, 0 logarithmic."""

    def mean_of(gamma: float) -> float:
        if shape == 0:
            return (1 / gamma - 1) / math.log(1 / gamma)
        return shape * (1 - gamma) / (gamma * -math.expm1(shape * math.log(gamma)))

    return bisect(lambda gamma: mean_of(gamma) <= mean, 1e-12, 1 - 1e-12)[0]
