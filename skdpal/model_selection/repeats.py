"""How often a search runs: a secret number of the law that is priced, drawn exactly.

Both laws are those of `skdpal.privacy.accounting.repetition` (truncated negative binomial; Papernot and Steinke 2022),
with a chance that is a multiple of 2^-64, rounded up: then the mean, and every bound, is no larger than the price
assumes. There is no cap. Every comparison is one of whole numbers, so no quantile is lost to rounding.
"""

from __future__ import annotations

import math

import numpy as np

from skdpal.privacy.accounting.repetition import gamma_of
from skdpal.privacy.randomness import entropy
from skdpal.privacy.validation import check_count, check_one_of, check_real

__all__ = ["SHAPES", "below", "chance_of_more", "draw", "shape_of"]

SHAPES = {"geometric": 1.0, "logarithmic": 0.0}
_WORDS = 64  # random words that are asked for at once


def shape_of(name: str) -> float:
    """The shape of the event of a law."""
    return SHAPES[check_one_of("law", name, SHAPES)]


def draw(mean: float, law: str) -> int:
    """A number of runs, 1 or more.

    Parameters
    ----------
    mean : float
        Above 1.
    law : {"geometric", "logarithmic"}
        P(k) proportional to (1 − γ)^k, or to (1 − γ)^k / k.
    """
    chance = _chance(mean, shape_of(law))
    number = _geometric(chance)
    while law == "logarithmic" and below(number):  # keep one in k: from (1 − γ)^k to (1 − γ)^k / k
        number = _geometric(chance)
    return number


def below(bound: int) -> int:
    """A uniform whole number from 0 to bound - 1."""
    bits = (bound - 1).bit_length()
    while True:
        number = int.from_bytes(entropy((bits + 7) // 8), "big") & ((1 << bits) - 1)
        if number < bound:
            return number


def chance_of_more(number: int, mean: float, law: str) -> float:
    """The chance of more than so many runs: what padding to `number` leaves visible.

    Examples
    --------
    >>> from skdpal.model_selection.repeats import chance_of_more
    >>> f"{chance_of_more(100, mean=10.0, law='geometric'):.1e}"
    '2.7e-05'
    """
    number, shape = check_count("number", number, least=1), shape_of(law)
    gamma = gamma_of(check_real("mean", mean, above=1.0), shape)
    if shape:
        return (1 - gamma) ** number
    further = np.arange(number + 1, number + 2 + math.ceil(60 / gamma))  # beyond, less than e^-60
    return float(np.exp(further * math.log1p(-gamma) - np.log(further)).sum() / -math.log(gamma))


def _chance(mean: float, shape: float) -> int:
    """γ in units of 2^-64, above that of the price."""
    gamma = gamma_of(check_real("mean", mean, above=1.0), shape)
    return min(math.ceil(gamma * (1 + 2.0**-40) * 2**64), 2**64 - 1)


def _geometric(chance: int) -> int:
    """The number of tosses up to the first that falls below `chance`, of 2^64."""
    tosses = 0
    while True:
        words = np.frombuffer(entropy(8 * _WORDS), dtype=np.uint64)
        found = np.flatnonzero(words < np.uint64(chance))
        if len(found):
            return tosses + int(found[0]) + 1
        tosses += _WORDS
