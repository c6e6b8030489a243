"""Where noise comes from.

Invariants
----------
* Outside `simulation`, every draw that a guarantee rests on comes from the operating system:
  noise through OpenDP's float-safe Gaussian sampler, coins and secrets through `os.urandom`.
  No seed, no `random_state`, no global generator is read. Two fits that share a seed would
  differ by exactly one patient.
* `simulation(seed)` is the only seeded mode. It ends with its block, does not reach other
  threads or processes, cannot be nested, and warns.
"""

from __future__ import annotations

import contextvars
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy.errors import PrivacyLeakWarning
from skdpal.privacy.validation import check_count, check_real

__all__ = ["Simulation", "current_simulation", "entropy", "perturb", "simulation"]


class Simulation:
    """One block of reproducible randomness; `token` tells its ledgers from others'."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.token = os.urandom(16).hex()
        self.pid = os.getpid()
        self.stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))


_CURRENT: contextvars.ContextVar[Simulation | None] = contextvars.ContextVar("skdpal_simulation", default=None)


def current_simulation() -> Simulation | None:
    """The running simulation of this thread, or None in production; a fork leaves it."""
    block = _CURRENT.get()
    return block if block is not None and block.pid == os.getpid() else None


@contextmanager
def simulation(seed: int) -> Iterator[Simulation]:
    """Make noise reproducible inside a block, for tests and comparisons on public data.

    Nothing that is computed inside is private: whoever knows the seed can subtract the noise.
    Ledgers made inside can be charged only inside, and their certificates say
    ``simulation: not private``. Inside, estimators also work with ``ledger=None``.

    Parameters
    ----------
    seed : int
        0 or more.

    Yields
    ------
    Simulation
        The block's stream of random numbers.

    Warns
    -----
    PrivacyLeakWarning
        Always, once a block.

    Examples
    --------
    >>> import warnings
    >>> from skdpal.privacy.randomness import perturb, simulation
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     with simulation(seed=0):
    ...         first = perturb([0.0], scale=1.0)
    ...     with simulation(seed=0):
    ...         again = perturb([0.0], scale=1.0)
    >>> bool(first == again)
    True
    """
    seed = check_count("seed", seed)
    if current_simulation() is not None:
        raise RuntimeError("simulation() does not nest: leave the outer block first.")
    warnings.warn(
        f"simulation(seed={seed}): nothing computed in this block is private.", PrivacyLeakWarning, stacklevel=3
    )
    reset = _CURRENT.set(Simulation(seed))
    try:
        block = _CURRENT.get()
        assert block is not None
        yield block
    finally:
        _CURRENT.reset(reset)


def entropy(size: int) -> bytes:
    """`size` secret bytes: from the operating system, or from the simulation's stream."""
    block = current_simulation()
    return os.urandom(size) if block is None else block.stream.bytes(size)


def perturb(values: Any, scale: float) -> NDArray[np.float64]:
    """Add Gaussian noise of standard deviation `scale` to every number.

    In production the sum is formed by OpenDP in exact arithmetic (a discrete Gaussian on the
    grid of multiples of 2^-1074, which no float can tell from the continuous one), so that
    the floating-point gaps of ordinary samplers (Mironov 2012) do not exist.
    """
    scale = check_real("scale", scale, above=0.0)
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("Expected finite values to perturb.")  # OpenDP would release noise around 0
    block = current_simulation()
    if block is not None:
        return array + block.stream.normal(0.0, scale, array.shape)
    noisy = np.asarray(_opendp_gaussian(array.size, scale)(array.ravel().tolist()), dtype=np.float64)
    return noisy.reshape(array.shape)


@lru_cache(maxsize=32)
def _opendp_gaussian(size: int, scale: float) -> Any:
    import opendp.prelude as dp  # imported late: it takes seconds

    dp.enable_features("contrib")
    domain = dp.vector_domain(dp.atom_domain(T=float, nan=False), size=size)
    return dp.m.make_gaussian(domain, dp.l2_distance(T=float), scale=scale)
