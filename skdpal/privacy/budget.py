"""The ceiling that a hospital commits to."""

from __future__ import annotations

from dataclasses import dataclass

from skdpal.privacy.validation import check_real

__all__ = ["PrivacyBudget"]


@dataclass(frozen=True)
class PrivacyBudget:
    """A ceiling (ε, δ) for everything that leaves a study.

    Parameters
    ----------
    epsilon : float
        ε > 0. Any finite value is legal; below 1 is strong, above 8 protects little.
    delta : float, default=1e-5
        0 < δ < 1. Keep it well below one over the number of patients.

    Examples
    --------
    >>> from skdpal import PrivacyBudget
    >>> PrivacyBudget(epsilon=2.0, delta=1e-5)
    PrivacyBudget(epsilon=2.0, delta=1e-05)
    """

    epsilon: float
    delta: float = 1e-5

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", check_real("epsilon", self.epsilon, above=0.0))
        object.__setattr__(self, "delta", check_real("delta", self.delta, above=0.0, below=1.0))
