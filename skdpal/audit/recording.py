"""What a study draws, written down; and the same study in the other world, with the same answers.

Counterfactual replay
---------------------
A run is recorded: every draw in order, with the exact values that went in, the law and scale of the noise, and the noisy
answer that came out. The study is then run again in the other world, with the same coins, and **every noisy answer
is forced to what was recorded**. So each exact value of the second run is what that world would have computed after
the same answers so far, and the sum over draws of

    log p(answer | exact values here) - log p(answer | exact values there)

is the exact log-likelihood ratio of the whole adaptive transcript, given the coins.

Invariants
----------
* A recorder is a simulation (`skdpal.privacy.randomness.simulation`): ledgers made in it say so, nothing of it
  reaches production, other threads or processes, and it ends with its block.
* Coins and noise come from streams of their own, one for each draw: a world that draws more in one place does not move
  what the other draws elsewhere.
* The laws are the kernel's own: a mechanism that asks for too little noise is seen to do so, and no claim is
  read off what a mechanism did.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy.randomness import Simulation, simulation
from skdpal.privacy.samplers import Integers, Numbers, SeededSampler

__all__ = ["LAWS", "Draw", "Recorder", "recorded", "seed_of"]

LAWS = ("gaussian", "laplace", "gumbel", "response")


@dataclass(frozen=True, eq=False)
class Draw:
    """One call of the kernel's sampler.

    Attributes
    ----------
    law : {"gaussian", "laplace", "gumbel", "response"}
    values : ndarray
        What went in: exact, and private.
    parameters : tuple of float
        Scale of the noise; of "gumbel" also the number of winners; of "response" number of classes and chance of the truth.
    answer : ndarray
        What came out.
    """

    law: str
    values: NDArray[Any]
    parameters: tuple[float, ...]
    answer: NDArray[Any]

    def log_likelihood(self, answer: NDArray[Any]) -> float:
        """Ln of the density of an answer, up to what does not depend on values and parameters.

        Sources: Gumbel winners in order are Plackett and Luce's (Durfee and Rogers 2019).
        """
        if self.law == "response":
            n_classes, keep = self.parameters
            told = np.asarray(self.values) == answer
            return float(np.log(np.where(told, keep, max(1 - keep, 1e-300) / max(n_classes - 1, 1))).sum())
        scale = self.parameters[0]
        if self.law == "gumbel":
            return _plackett_luce(np.asarray(self.values, dtype=np.float64) / scale, answer)
        away = (np.asarray(answer) - self.values) / scale
        squares = (away**2).sum() / 2 if self.law == "gaussian" else np.abs(away).sum()
        return -float(squares) - float(away.size * np.log(scale))

    def ratio(self, other: Draw) -> float:
        """Ln p(the answer of this draw | its own values) - ln p(the same | the other's values)."""
        if self.law == "gaussian" and self.parameters == other.parameters:  # without the cancellation of large squares
            step = self.values - other.values
            away = self.answer - (self.values + other.values) / 2
            return float(away @ step) / self.parameters[0] ** 2
        return self.log_likelihood(self.answer) - other.log_likelihood(self.answer)

    def shift(self, other: Draw) -> float:
        """How far the exact values of the two worlds are apart, in units of the noise; NaN where that means nothing."""
        if self.law not in ("gaussian", "laplace") or self.values.shape != other.values.shape:
            return float("nan")
        order = 2 if self.law == "gaussian" else 1
        return float(np.linalg.norm(self.values - other.values, order)) / self.parameters[0]


class Recorder(Simulation):
    """A simulation that writes down every draw, and may be told the answers.

    Parameters
    ----------
    seed : int
        Of coins and noise.
    answers : sequence of Draw, optional
        Draws of another run whose answers are given again, one after the other.
    laws : collection of str, default=LAWS
        Laws whose draws are answers that somebody sees; others stay inside, as coins do, and are drawn from the seed.
    noise : float, default=1.0
        What the noise is multiplied by, behind the back of whoever asks for it: a planted fault.
    """

    def __init__(
        self, seed: int, answers: Sequence[Draw] | None = None, laws: Sequence[str] = LAWS, noise: float = 1.0
    ) -> None:
        super().__init__(seed)
        self.draws: list[Draw] = []
        self.diverged = False
        self._laws, self._noise = frozenset(laws), noise
        self._left = None if answers is None else iter([draw for draw in answers if draw.law in self._laws])
        self._calls: dict[str, int] = {}

    def bytes(self, size: int) -> bytes:
        """Coins."""
        return self._stream_of("bytes").bytes(size)

    def gaussian(self, values: Numbers, scale: float) -> Numbers:
        """Values plus Gaussian noise."""
        return self._draw("gaussian", values, (scale,), lambda stream: stream.gaussian(values, scale * self._noise))

    def laplace(self, values: Numbers, scale: float) -> Numbers:
        """Values plus Laplace noise."""
        return self._draw("laplace", values, (scale,), lambda stream: stream.laplace(values, scale * self._noise))

    def top_k(self, scores: Numbers, scale: float, k: int) -> Integers:
        """Winners under Gumbel noise."""
        return self._draw("gumbel", scores, (scale, k), lambda stream: stream.top_k(scores, scale * self._noise, k))

    def response(self, labels: Integers, n_classes: int, keep: float) -> Integers:
        """Randomized labels."""
        real = 1 - (1 - keep) * min(self._noise, 1.0)
        return self._draw(
            "response", labels, (n_classes, keep), lambda stream: stream.response(labels, n_classes, real)
        )

    def seen(self) -> list[Draw]:
        """The draws whose answers somebody sees."""
        return [draw for draw in self.draws if draw.law in self._laws]

    @property
    def finished(self) -> bool:
        """Whether all answers were asked for, and nothing else."""
        return not self.diverged and (self._left is None or next(self._left, None) is None)

    def _stream_of(self, kind: str) -> SeededSampler:
        number = self._calls.get(kind, 0)
        self._calls[kind] = number + 1
        return SeededSampler(seed_of(self.seed, kind, number))

    def _draw(
        self,
        law: str,
        values: NDArray[Any],
        parameters: tuple[float, ...],
        fresh: Callable[[SeededSampler], NDArray[Any]],
    ) -> NDArray[Any]:
        values = np.array(values)
        answer = fresh(self._stream_of(law))
        if self._left is not None and law in self._laws and not self.diverged:
            told = next(self._left, None)
            if told is None or told.law != law or told.values.shape != values.shape:
                self.diverged = True  # the two worlds do not even ask the same
            else:
                answer = told.answer.copy()
        self.draws.append(Draw(law, values, parameters, np.array(answer)))
        return answer


@contextmanager
def recorded(seed: int, **options: Any) -> Iterator[Recorder]:
    """A block in which everything that is drawn is written down; see `Recorder`. Nothing in it is private."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # thousands of runs would say the same
        with simulation(seed % 10**12, block=partial(Recorder, **options)) as recorder:
            assert isinstance(recorder, Recorder)
            yield recorder


def seed_of(*parts: Any) -> int:
    """A seed for a thing of this name."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big")


def _plackett_luce(weights: NDArray[np.float64], winners: NDArray[Any]) -> float:
    """Ln of the chance that these win, in this order, under Gumbel noise of scale 1."""
    left, total = weights.copy(), 0.0
    for winner in np.asarray(winners, dtype=np.intp):
        largest = left.max()
        total += float(left[winner] - largest - np.log(np.exp(left - largest).sum()))
        left[winner] = -np.inf
    return total
