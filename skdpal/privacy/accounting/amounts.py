"""What is paid and what may be paid, as exact numbers.

Invariants
----------
* An amount is a whole number of 2^-100: of μ², or of the Rényi divergence at one order. Prices are rounded
  up and ceilings down. Sums are exact, in any order, however many; no tolerance hides anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

__all__ = ["Amounts", "add", "ceil_of", "fits", "floor_of", "value_of"]

_UNIT = 2**100
_MOST = 1e150  # so that sums of finite amounts are finite numbers

Amounts = tuple[int | float, ...]  # one for each order of the filter; a float only if infinite


def ceil_of(values: Iterable[float]) -> Amounts:
    """Prices as amounts, rounded up."""
    return tuple(max(math.ceil(Fraction(value) * _UNIT), 0) if value < _MOST else math.inf for value in values)


def floor_of(values: Iterable[float]) -> Amounts:
    """Ceilings as amounts, rounded down."""
    return tuple(math.floor(Fraction(value) * _UNIT) for value in values)


def value_of(amount: int | float) -> float:
    """An amount as a number, rounded up."""
    return math.nextafter(amount / _UNIT, math.inf) if amount else 0.0


def add(left: Amounts, right: Amounts) -> Amounts:
    """Sum of amounts, order by order."""
    return tuple(a + b for a, b in zip(left, right, strict=True))


def fits(amounts: Amounts, ceiling: Amounts) -> bool:
    """Whether amounts stay at or below a ceiling, at every order."""
    return all(amount <= most for amount, most in zip(amounts, ceiling, strict=True))
