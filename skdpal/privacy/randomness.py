"""Where noise comes from.

Invariants
----------
* Outside `simulation`, every draw that a guarantee rests on comes from the operating system:
  noise through OpenDP's float-safe samplers, coins and secrets through `os.urandom`.
  No seed, no `random_state`, no global generator is read. Two fits that share a seed would
  differ by exactly one patient.
* `simulation(seed)` is the only seeded mode. It ends with its block, does not reach other
  threads or processes, cannot be nested, and warns.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy.errors import PrivacyLeakWarning
from skdpal.privacy.samplers import Sampler, SeededSampler, SystemSampler
from skdpal.privacy.validation import check_count, check_one_of, check_real

__all__ = ["Simulation", "current_simulation", "entropy", "nonce", "perturb", "sampler", "simulation"]


_SYSTEM = SystemSampler()


class Simulation(SeededSampler):
    """One block of reproducible randomness; `token` tells its ledgers from others'."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.seed = seed
        self.token = nonce()
        self.pid, self.thread = os.getpid(), threading.get_ident()
        self.task = _task()
        self.running = True


_CURRENT: contextvars.ContextVar[Simulation | None] = contextvars.ContextVar("skdpal_simulation", default=None)


def current_simulation() -> Simulation | None:
    """The running simulation of this thread and task, or None in production; a fork leaves it."""
    block = _CURRENT.get()
    if block is None or not block.running:
        return None
    here = (os.getpid(), threading.get_ident(), _task())
    return block if here == (block.pid, block.thread, block.task) else None


@contextmanager
def simulation(seed: int, *, block: Callable[[int], Simulation] = Simulation) -> Iterator[Simulation]:
    """Make noise reproducible inside a block, for tests and comparisons on public data.

    Nothing that is computed inside is private: whoever knows the seed can subtract the noise.
    Ledgers made inside can be charged only inside, and their certificates say
    ``simulation: not private``. Inside, estimators also work with ``ledger=None``.

    Parameters
    ----------
    seed : int
        0 or more.
    block : callable, default=Simulation
        Makes the block of the seed; `skdpal.audit` passes one that also writes down what is drawn.

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
    running = block(seed)
    reset = _CURRENT.set(running)
    try:
        yield running
    finally:
        running.running = False
        _CURRENT.reset(reset)


def _task() -> object:
    """The task of an event loop, if one runs here: a task keeps the context in which it was made."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def sampler() -> Sampler:
    """Where noise comes from now: the operating system, or the simulation's stream."""
    return current_simulation() or _SYSTEM


def entropy(size: int) -> bytes:
    """`size` secret bytes: from the operating system, or from the simulation's stream."""
    return sampler().bytes(size)


def nonce() -> str:
    """A public name that nothing else has."""
    return os.urandom(16).hex()


def perturb(values: Any, scale: float, law: str = "gaussian") -> NDArray[np.float64]:
    """Add noise to every number.

    Parameters
    ----------
    values : array-like
        Finite.
    scale : float
        Standard deviation of Gaussian noise, or scale of Laplace noise.
    law : {"gaussian", "laplace"}, default="gaussian"

    Returns
    -------
    ndarray
        Of the same shape.
    """
    scale = check_real("scale", scale, above=0.0)
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("Expected finite values to perturb.")  # OpenDP would release noise around 0
    draw = sampler().gaussian if check_one_of("law", law, ["gaussian", "laplace"]) == "gaussian" else sampler().laplace
    return draw(array.ravel(), scale).reshape(array.shape)
