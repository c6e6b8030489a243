"""The two sources of noise, behind one interface: the operating system's, and a seeded one for simulations.

Invariants
----------
* `SystemSampler` draws through OpenDP: exact arithmetic, OpenSSL's generator, no seed. (A Gaussian or Laplace
  sum is formed on the grid of multiples of 2^-1074, which no float can tell from the continuous one, so that
  the floating-point gaps of ordinary samplers (Mironov 2012) do not exist.)
* `SeededSampler` has the same laws and protects nobody.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sampler", "SeededSampler", "SystemSampler"]

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]


class Sampler(Protocol):
    """What a mechanism may ask of a source of noise."""

    def bytes(self, size: int) -> bytes:
        """Uniform bytes."""

    def gaussian(self, values: Numbers, scale: float) -> Numbers:
        """Values plus Gaussian noise of standard deviation `scale`."""

    def laplace(self, values: Numbers, scale: float) -> Numbers:
        """Values plus Laplace noise of scale `scale`."""

    def top_k(self, scores: Numbers, scale: float, k: int) -> Integers:
        """Positions of the `k` largest scores under Gumbel noise, best first."""

    def response(self, labels: Integers, n_classes: int, keep: float) -> Integers:
        """Labels 0 to `n_classes` - 1, each kept with probability `keep`, else one of the others."""


class SystemSampler:
    """Noise from the operating system, without a seed."""

    def bytes(self, size: int) -> bytes:
        """From the operating system."""
        return os.urandom(size)

    def gaussian(self, values: Numbers, scale: float) -> Numbers:
        """By OpenDP."""
        return np.asarray(_additive("gaussian", values.size, scale)(values.tolist()), dtype=np.float64)

    def laplace(self, values: Numbers, scale: float) -> Numbers:
        """By OpenDP."""
        return np.asarray(_additive("laplace", values.size, scale)(values.tolist()), dtype=np.float64)

    def top_k(self, scores: Numbers, scale: float, k: int) -> Integers:
        """By OpenDP."""
        return np.asarray(_top_k(scores.size, scale, k)(scores.tolist()), dtype=np.int64)

    def response(self, labels: Integers, n_classes: int, keep: float) -> Integers:
        """By OpenDP."""
        return np.array([_response(n_classes, keep)(int(label)) for label in labels], dtype=np.int64)


class SeededSampler:
    """Noise from a seed: for tests, and comparisons on public data."""

    def __init__(self, seed: int) -> None:
        self._stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))

    def bytes(self, size: int) -> bytes:
        """From the seed."""
        return self._stream.bytes(size)

    def gaussian(self, values: Numbers, scale: float) -> Numbers:
        """By numpy."""
        return values + self._stream.normal(0.0, scale, values.shape)

    def laplace(self, values: Numbers, scale: float) -> Numbers:
        """By numpy."""
        return values + self._stream.laplace(0.0, scale, values.shape)

    def top_k(self, scores: Numbers, scale: float, k: int) -> Integers:
        """By numpy."""
        return np.argsort(-(scores + self._stream.gumbel(0.0, scale, scores.shape)))[:k].astype(np.int64)

    def response(self, labels: Integers, n_classes: int, keep: float) -> Integers:
        """By numpy."""
        kept = self._stream.random(labels.shape) < keep
        others = (labels + self._stream.integers(1, n_classes, labels.shape)) % n_classes
        return np.where(kept, labels, others)


def _opendp() -> Any:
    import opendp.prelude as dp  # imported late: it takes seconds

    dp.enable_features("contrib")
    return dp


@lru_cache(maxsize=32)
def _additive(law: str, size: int, scale: float) -> Any:
    dp = _opendp()
    domain = dp.vector_domain(dp.atom_domain(T=float, nan=False), size=size)
    if law == "laplace":
        return dp.m.make_laplace(domain, dp.l1_distance(T=float), scale=scale)
    return dp.m.make_gaussian(domain, dp.l2_distance(T=float), scale=scale)


@lru_cache(maxsize=32)
def _top_k(size: int, scale: float, k: int) -> Any:
    dp = _opendp()
    domain = dp.vector_domain(dp.atom_domain(T=float, nan=False), size=size)
    metric, measure = dp.linf_distance(T=float, monotonic=True), dp.zero_concentrated_divergence()
    return dp.m.make_noisy_top_k(domain, metric, measure, k=k, scale=scale)


@lru_cache(maxsize=32)
def _response(n_classes: int, keep: float) -> Any:
    return _opendp().m.make_randomized_response(categories=list(range(n_classes)), prob=keep)
