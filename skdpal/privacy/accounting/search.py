"""Where a monotone yes or no changes its answer."""

from __future__ import annotations

import math
from collections.abc import Callable

__all__ = ["bisect"]


def bisect(above: Callable[[float], bool], low: float, high: float, tolerance: float = 1e-14) -> tuple[float, float]:
    """Neighbours (low, high) with above(low) false and above(high) true, to a relative tolerance."""
    while low < (middle := _between(low, high)) < high and high - low > tolerance * high:
        low, high = (low, middle) if above(middle) else (middle, high)
    return low, high


def _between(low: float, high: float) -> float:
    return math.sqrt(low * high) if low > 0 and high / low > 4 else (low + high) / 2
