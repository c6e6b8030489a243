"""One grammar for bad arguments: the name, the value, what was expected, the way out.

Messages about private arrays never hold a value, a label or a count of them.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["check_count", "check_finite", "check_one_of", "check_real"]


def check_real(
    name: str, value: Any, *, above: float = -math.inf, below: float = math.inf, closed: bool = False
) -> float:
    """A finite real in (above, below), or in [above, below] if `closed`."""
    real = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    inside = real and (above <= value <= below if closed else above < value < below)
    if not inside:
        left, right = ("[", "]") if closed else ("(", ")")
        raise ValueError(
            f"Expected {name} to be a finite number in {left}{above:g}, {below:g}{right}. Found {value!r}."
        )
    return float(value)


def check_count(name: str, value: Any, *, least: int = 0, most: int = 10**12) -> int:
    """A whole number, from `least` to `most`."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"Expected {name} to be a whole number, {least} or more. Found {value!r}.")
    if int(value) > most:
        raise ValueError(f"Expected {name} to be a whole number up to {most:g}. Found a larger one.")
    return int(value)


def check_one_of(name: str, value: Any, options: Collection[str], remedy: str = "") -> str:
    """One of a few words."""
    if not isinstance(value, str) or value not in options:
        words = ", ".join(repr(option) for option in options)
        raise ValueError(f"Expected {name} to be one of {words}. Found {value!r}. {remedy}".rstrip())
    return value


def check_finite(name: str, value: Any) -> NDArray[np.float64]:
    """A float64 array without NaN or infinity."""
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"Expected {name} to be numeric. Convert its columns to numbers first.") from None
    with np.errstate(over="ignore", invalid="ignore"):
        finite = np.isfinite(array.sum()) or np.isfinite(array).all()  # a sum is finite if its parts are, and faster
    if not finite:
        raise ValueError(
            f"Expected {name} to be finite; it holds NaN or infinity. Fill or drop such entries, "
            "with values taken from public data, before anything is charged."
        )
    return array
