"""Training by noisy gradients: a recipe of public numbers, charged first, then followed to the letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from skdpal.estimators.neural.sampling import batches, slots_of
from skdpal.privacy import events
from skdpal.privacy.errors import LedgerError

__all__ = ["NoisyGradientDescent", "Recipe", "Trainee"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, from public numbers only.

    Attributes
    ----------
    noise_multiplier : float
        Standard deviation of the noise on a sum of clipped gradients, in units of the clipping norm.
    epochs : int
        Passes over the cohort.
    sampling_rate : float or None
        Of Poisson sampling; None for full batches.
    expected_records : float
        Public number, or expectation, of patients.
    """

    noise_multiplier: float
    epochs: int
    sampling_rate: float | None
    expected_records: float

    @property
    def steps_per_epoch(self) -> int:
        """Batches that make about one pass."""
        return 1 if self.sampling_rate is None else max(round(1 / self.sampling_rate), 1)

    @property
    def steps(self) -> int:
        """Number of noisy gradients."""
        return self.epochs * self.steps_per_epoch

    @property
    def event(self) -> events.Event:
        """The price."""
        if self.sampling_rate is None:
            return events.gaussian(self.noise_multiplier, steps=self.steps)
        return events.poisson_gaussian(self.noise_multiplier, self.sampling_rate, self.steps)

    @property
    def normaliser(self) -> float:
        """What a sum over a batch is divided by; at least 1."""
        return max(self.expected_records * (self.sampling_rate or 1.0), 1.0)


class Trainee(Protocol):
    """What is trained."""

    def noisy_gradients(self, rows: Any, codes: Any, owners: Any, normaliser: float) -> float:
        """Put noisy mean gradients in place; returns the noise multiplier that was used."""

    def step(self) -> bool:
        """Make one step of the optimizer; returns whether to go on."""


@dataclass
class NoisyGradientDescent:
    """The mechanism that `release` runs: as many noisy gradients as were paid for, or fewer.

    What ran is compared with what was charged; a mismatch raises, and nothing is returned.
    """

    recipe: Recipe
    trainee: Trainee
    device: Any = "cpu"
    ran: list[tuple[float, float | None]] = field(default_factory=list)
    one_row_each: ClassVar[bool] = False

    @property
    def event(self) -> events.Event:
        """The price of all steps."""
        return self.recipe.event

    def run(self, values: tuple[Any, Any], ids: Sequence[str]) -> None:
        """Train. Only `release` calls this, after the charge."""
        rows, codes = (torch.as_tensor(value).to(self.device) for value in values)
        owners = slots_of(list(ids))
        places = torch.as_tensor(owners).to(self.device)
        for batch in batches(owners, self.recipe.steps, self.recipe.sampling_rate):
            if len(batch) == len(owners):
                picked = (rows, codes, places)
            else:
                index = torch.as_tensor(batch).to(self.device)
                picked = (rows[index], codes[index], _renumbered(places[index]))
            noise = self.trainee.noisy_gradients(*picked, self.recipe.normaliser)
            self.ran.append((noise, self.recipe.sampling_rate))
            self._check()
            if not self.trainee.step():
                break

    def _check(self) -> None:
        noise, rate = self.ran[-1]
        charged = self.recipe
        if noise != charged.noise_multiplier or rate != charged.sampling_rate or len(self.ran) > charged.steps:
            raise LedgerError(
                f"Charged {charged.steps} steps at noise_multiplier={charged.noise_multiplier:g}; step {len(self.ran)} ran at "
                f"{noise:g}. The model is discarded; the charge stays. Do not change the estimator while it trains."
            )


def _renumbered(owners: torch.Tensor) -> torch.Tensor:
    return torch.unique(owners, return_inverse=True)[1] if len(owners) else owners


def as_tensors(rows: np.ndarray, codes: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows in single precision and labels, as networks take them."""
    return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32)), torch.from_numpy(codes.astype(np.int64))
