"""Two worlds with one transcript: what an attacker who knows everything else can learn along it, computed without chance.

In the first world, with the patient, every random answer of the kernel is recorded. In the second world, without, the study is
told the same answers, whatever it asks; what it would have added noise to is compared with what the first added noise to. So:

* ``mu`` is √Σ ‖v − v'‖²/σ² over all Gaussian draws of the path. A study whose every path stays below B is B-GDP, if all its noise is
  Gaussian (docs/trusted_kernel.md, Lemma G); a study with a path above B tells more than B.
* ``loss`` is the privacy loss of the draws of other kinds (Laplace, randomized response, choice of the best). That of one
  draw is at most its pure ε.
* ``visible`` is everything that differs though no noise is on it: what is published beside the draws, a noise scale, a shape, the
  number of draws. One entry is enough: δ = 1 for such a path.

Secret bytes (keys, coins) are alike in both worlds: an acceptance that looks at nobody else is then alike for all others.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from skdpal.privacy import randomness
from skdpal.privacy.ledger import state
from skdpal.privacy.samplers import SeededSampler

__all__ = ["Path", "along", "differences"]


@dataclass
class Path:
    """What one transcript tells about the patient."""

    gaussian: float = 0.0  # Σ ‖v − v'‖² / σ²
    loss: float = 0.0
    visible: list[str] = field(default_factory=list)
    draws: int = 0

    @property
    def mu(self) -> float:
        return math.sqrt(self.gaussian)

    def tells_more_than(self, mu: float) -> bool:
        """Whether a promise of μ is broken on this path."""
        return bool(self.visible) or self.mu > mu * (1 + 1e-9)


class _Recorder(SeededSampler):
    """Noise from a seed, written down."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.seed, self.keys, self.draws = seed, 0, []

    def bytes(self, size):
        self.keys += 1
        return np.random.default_rng([self.seed, self.keys]).bytes(size)

    def _note(self, law, values, scale, answer):
        self.draws.append((law, np.array(values), scale, answer))
        return answer.copy()

    def gaussian(self, values, scale):
        return self._note("gaussian", values, scale, super().gaussian(values, scale))

    def laplace(self, values, scale):
        return self._note("laplace", values, scale, super().laplace(values, scale))

    def top_k(self, scores, scale, k):
        return self._note("top_k", scores, (scale, k), super().top_k(scores, scale, k))

    def response(self, labels, n_classes, keep):
        return self._note("response", labels, (n_classes, keep), super().response(labels, n_classes, keep))


class _Replayer(_Recorder):
    """The same answers again, whatever is asked."""

    def __init__(self, recorder: _Recorder, path: Path) -> None:
        super().__init__(recorder.seed)
        self.told, self.path = recorder.draws, path

    def _note(self, law, values, scale, answer):
        place = self.path.draws
        self.path.draws += 1
        if place >= len(self.told):
            self.path.visible.append(f"draw {place + 1} happens without the patient only")
            return answer
        known, before, noise, told = self.told[place]
        if (known, noise, before.shape) != (law, scale, np.shape(values)):
            self.path.visible.append(
                f"draw {place + 1}: {known} of {before.shape} at {noise}, and {law} of {np.shape(values)} at {scale}"
            )
            return answer if told.shape != np.shape(answer) else told.copy()
        self._compare(law, before, np.asarray(values), scale, told)
        return told.copy()

    def _compare(self, law, there, gone, scale, told):
        if law == "gaussian":
            self.path.gaussian += float(np.sum((there - gone) ** 2)) / scale**2
        elif law == "laplace":
            self.path.loss += float(np.sum(np.abs(told - gone) - np.abs(told - there))) / scale
        elif law == "top_k":
            self.path.loss += log_chance(told, there, scale[0]) - log_chance(told, gone, scale[0])
        else:
            n_classes, keep = scale
            chances = [np.where(told == labels, keep, (1 - keep) / (n_classes - 1)) for labels in (there, gone)]
            self.path.loss += float(np.log(chances[0] / chances[1]).sum())


def log_chance(order, scores, scale):
    """Of an ordered choice under Gumbel noise (Plackett and Luce)."""
    weights = np.exp((np.asarray(scores, dtype=float) - np.max(scores)) / scale)
    left, total = weights.sum(), 0.0
    for position in order:
        total += math.log(weights[position] / left)
        left -= weights[position]
    return total


def along(study, seed=0, worlds=(True, False)):
    """The path of one transcript of a study: ``study(present)`` returns all that it publishes.

    The transcript is drawn in the first of the worlds. Production's source of noise is replaced, not the block of
    `simulation`: refusals and books are those of production.
    """
    source, nonce = randomness._SYSTEM, state.nonce
    try:
        state.nonce = lambda: "0" * 32  # a ledger's public name, which has nothing to do with patients
        randomness._SYSTEM = recorder = _Recorder(seed)
        there = _heard(study, worlds[0])
        path = Path()
        randomness._SYSTEM = _Replayer(recorder, path)
        gone = _heard(study, worlds[1])
    finally:
        randomness._SYSTEM, state.nonce = source, nonce
    if path.draws < len(recorder.draws):
        path.visible.append(f"draw {path.draws + 1} happens with the patient only")
    for name in there:
        path.visible += differences(there[name], gone[name], name)
    return path


def _heard(study, world):
    """What a study publishes, with everything that it says on the way: warnings, and the screen."""
    screen = io.StringIO()
    with warnings.catch_warnings(record=True) as caught, contextlib.redirect_stdout(screen):
        warnings.simplefilter("always")
        published = study(world)
    return {"published": published, "warnings": [str(one.message) for one in caught], "screen": screen.getvalue()}


def differences(one: Any, other: Any, name: str = "published") -> list[str]:
    """Where two published things are not the same to the last bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        missing = [f"{name}[{key!r}] is there in one world only" for key in set(one) ^ set(other)]
        return missing + [
            found
            for key in one.keys() & other.keys()
            for found in differences(one[key], other[key], f"{name}[{key!r}]")
        ]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            return [f"{name} has {len(one)} and {len(other)} entries"]
        return [
            found
            for place, (left, right) in enumerate(zip(one, other, strict=True))
            for found in differences(left, right, f"{name}[{place}]")
        ]
    if isinstance(one, pd.DataFrame | pd.Series):
        same = type(one) is type(other) and one.equals(other)
    elif isinstance(one, np.ndarray):
        same = (
            isinstance(other, np.ndarray)
            and one.shape == other.shape
            and bool(np.all((one == other) | _nan(one, other)))
        )
    elif isinstance(one, float) and isinstance(other, float):
        same = one == other or (math.isnan(one) and math.isnan(other))
    else:
        same = type(one) is type(other) and one == other
    return [] if same else [f"{name} differs"]


def _nan(one, other):
    return (one != one) & (other != other)  # noqa: PLR0124 - also of objects
