"""The classic mistake: each round is trained at "ε = 2", and the study is said to cost 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from skdpal.learner.planning.noise import rough_epsilon, smallest_noise
from skdpal.privacy import PrivacyBudget, epsilon_of, events
from skdpal.privacy.events import Event
from skdpal.privacy.validation import check_count, check_real

__all__ = ["ClassicMistake", "classic_mistake", "needed_noise"]


@dataclass(frozen=True)
class ClassicMistake:
    """What retraining on all patients in every round costs; from `classic_mistake`.

    Attributes
    ----------
    claimed : PrivacyBudget
        What the study was said to cost.
    noise_multiplier : float
        What it was trained with.
    epsilons : tuple of float
        ε after each round.
    sizes : tuple of int
        Patients in the training of each round.
    needed : float
        The noise multiplier with which all rounds together would have cost what was claimed.
    """

    claimed: PrivacyBudget
    noise_multiplier: float
    epsilons: tuple[float, ...]
    sizes: tuple[int, ...]
    needed: float

    def to_frame(self) -> pd.DataFrame:
        """One row a round."""
        rounds = range(1, len(self.sizes) + 1)
        return pd.DataFrame({"round": rounds, "patients": self.sizes, "epsilon_so_far": self.epsilons})

    def __str__(self) -> str:
        return (
            f"{self.sizes[0]} patients, DP-SGD with σ={self.noise_multiplier:g}, retrained on everybody in each of "
            f"{len(self.sizes)} rounds: ε={self.epsilons[0]:.1f} after one round and {self.epsilons[-1]:.1f} after "
            f"{len(self.sizes)}, not {self.claimed.epsilon:g} (δ={self.claimed.delta:g}). "
            f"ε={self.claimed.epsilon:g} for everything needs σ={self.needed:.1f}, for training alone."
        )

    def _repr_html_(self) -> str:
        return f"<p>{self}</p>{self.to_frame().to_html(index=False, float_format='{:.2f}'.format)}"


def classic_mistake(
    claimed: PrivacyBudget | None = None,
    *,
    n_labelled: int = 32,
    labels_per_round: int = 3,
    rounds: int = 5,
    noise_multiplier: float = 1.0,
    batch_size: int = 4,
    epochs: int = 10,
) -> ClassicMistake:
    """Price the loop that everybody writes first: DP-SGD on all labels, again after every round.

    Parameters
    ----------
    claimed : PrivacyBudget, optional
        What the whole study is said to cost. Default: ε = 2 at δ = 1e-5.
    n_labelled, labels_per_round : int
        Patients in the first training, and more in each later one. Public numbers: batches drawn at a rate that
        follows from a private number would cost more still.
    rounds : int
        Number of trainings.
    noise_multiplier, batch_size, epochs
        Of each training.

    Returns
    -------
    ClassicMistake

    Notes
    -----
    Priced as a frozen list of Poisson-sampled Gaussian steps, all of which the first patients were in, by privacy loss
    distributions. The choice of patients is not even in it: exact scores are a release that nothing pays for.

    Examples
    --------
    >>> from skdpal.learner.planning import classic_mistake
    >>> print(classic_mistake())
    32 patients, DP-SGD with σ=1, retrained on everybody in each of 5 rounds: ε=7.9 after one round and 17.2 after 5, not 2 (δ=1e-05). ε=2 for everything needs σ=4.7, for training alone.
    """
    claimed = PrivacyBudget(2.0) if claimed is None else claimed
    check_count("n_labelled", n_labelled, least=1)
    check_count("labels_per_round", labels_per_round)
    check_count("rounds", rounds, least=1)
    check_real("noise_multiplier", noise_multiplier, above=0.0)
    sizes = tuple(n_labelled + number * labels_per_round for number in range(rounds))

    def everything(noise: float) -> list[Event]:
        return _retraining(sizes, noise, batch_size, epochs)

    spent = [epsilon_of(everything(noise_multiplier)[: number + 1], claimed.delta) for number in range(rounds)]
    return ClassicMistake(
        claimed, noise_multiplier, tuple(spent), sizes, needed_noise(sizes, claimed, batch_size, epochs)
    )


def _retraining(sizes: Sequence[int], noise_multiplier: float, batch_size: int = 4, epochs: int = 10) -> list[Event]:
    """DP-SGD on all patients so far, once for each size; those of the first training are in all."""
    check_count("batch_size", batch_size, least=1)
    check_count("epochs", epochs, least=1)
    return [
        events.poisson_gaussian(
            noise_multiplier, min(1.0, batch_size / size), max(1, round(epochs * size / batch_size))
        )
        for size in sizes
    ]


def needed_noise(sizes: Sequence[int], budget: PrivacyBudget, batch_size: int = 4, epochs: int = 10) -> float:
    """The noise with which all these trainings together meet a budget, up to 0.1%."""

    def epsilon(noise: float) -> float:  # on a finer grid: hundreds of steps add up its rounding
        return rough_epsilon(_retraining(sizes, noise, batch_size, epochs), budget, grid=1e-3)

    enough = 1.0
    while epsilon(enough) > budget.epsilon:
        enough *= 2
    return smallest_noise(epsilon, budget.epsilon, enough)
