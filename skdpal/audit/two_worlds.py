"""An attack in two worlds: with a patient, and with the patient zeroed out.

Invariants
----------
* Runs that choose the threshold judge nothing.
* No random number is drawn here: the mechanism under attack draws its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skdpal.audit.bounds import epsilon_at, epsilon_lower_bound, error_ceilings, mu_at, mu_lower_bound
from skdpal.privacy.validation import check_count, check_finite, check_real

__all__ = ["Attack", "World", "attack", "likelihood_ratio", "repeated"]

World: TypeAlias = Callable[[bool, int], ArrayLike]
"""Takes whether the patient is present and a number of runs; returns one statistic a run."""

_LARGE = 1e300  # stands for infinity where thresholds are averaged
_NEAR = 0.95  # share of the largest bound; the largest itself is often a stroke of luck


@dataclass(frozen=True)
class Attack:
    """How often an attacker was wrong, and what that proves.

    Attributes
    ----------
    runs : int
        Independent runs in each world, those that judge.
    threshold : float
        The attacker says "present" if the statistic is larger.
    false_positives, false_negatives : int
        Errors in the world without and with the patient.
    confidence : float
        Of everything below, at once: `mu`, and `epsilon` at every δ.

    Examples
    --------
    >>> from skdpal.audit import Attack
    >>> found = Attack(runs=500, threshold=0.0, false_positives=150, false_negatives=150)
    >>> found.beats(mu=0.8), found.beats(mu=1.0)
    (True, False)
    """

    runs: int
    threshold: float
    false_positives: int
    false_negatives: int
    confidence: float = field(default=0.95, kw_only=True)

    def __post_init__(self) -> None:
        mu_lower_bound(self.false_positives, self.false_negatives, self.runs, self.confidence)  # checks all but one
        check_real("threshold", self.threshold)

    @property
    def mu(self) -> float:
        """The μ that the mechanism has at least, if it is Gaussian DP at all."""
        return mu_lower_bound(self.false_positives, self.false_negatives, self.runs, self.confidence)

    def epsilon(self, delta: float) -> float:
        """The ε that the mechanism has at least, at δ."""
        return epsilon_lower_bound(self.false_positives, self.false_negatives, self.runs, delta, self.confidence)

    def beats(self, *, mu: float | None = None, epsilon: float | None = None, delta: float | None = None) -> bool:
        """Whether a claim is refuted: either μ, or ε at δ.

        A true claim is refuted with probability 1 - confidence at most. A claim that stands is not
        proven: see `power`.

        Parameters
        ----------
        mu : float, optional
            The claim, as μ of Gaussian DP.
        epsilon, delta : float, optional
            The claim, as (ε, δ).

        Raises
        ------
        ValueError
            Unless there is one claim.
        """
        if mu is not None and epsilon is None and delta is None:
            return self.mu > check_real("mu", mu, above=0.0, closed=True)
        if mu is None and epsilon is not None and delta is not None:
            return self.epsilon(delta) > check_real("epsilon", epsilon, above=0.0, closed=True)
        raise ValueError(
            f"Expected one claim. Found mu={mu!r}, epsilon={epsilon!r}, delta={delta!r}. "
            "Pass either mu, or epsilon and delta."
        )

    def summary(self, delta: float = 1e-5) -> str:
        """The result in words, with ε at a δ."""
        return (
            f"{self.runs} runs a world; at statistic > {self.threshold:.4g} {self.false_positives} false positives "
            f"and {self.false_negatives} false negatives. μ >= {self.mu:.3f}; ε >= {self.epsilon(delta):.3f} at "
            f"δ = {delta:g}. Wrong with probability {1 - self.confidence:.3g} at most."
        )

    def __str__(self) -> str:
        return self.summary()


def attack(
    world: World,
    runs: int,
    *,
    delta: float | None = None,
    threshold: float | None = None,
    confidence: float = 0.95,
) -> Attack:
    """Run a mechanism in two worlds and count how often an attacker confuses them.

    Parameters
    ----------
    world : callable
        ``world(present, runs)`` runs the mechanism independently, with the patient or with the
        patient zeroed out, and returns one number a run; large ones speak for the patient. The
        sharpest is the log-likelihood ratio, see `likelihood_ratio`. To call a mechanism run by
        run, see `repeated`.
    runs : int
        That judge, in each world. As many again choose the threshold, unless it is given.
    delta : float, optional
        Choose the threshold that proves the largest ε at this δ. By default the one that proves
        the largest μ, which lies where errors of both kinds are equally rare.
    threshold : float, optional
        Fixed before anything is run; then no runs choose, and `power` is exact.
    confidence : float, default=0.95
        That no claim is refuted wrongly.

    Returns
    -------
    Attack
        Errors of both kinds, and what they prove.

    Examples
    --------
    A count, released with noise that is charged as μ = 1:

    >>> import numpy as np
    >>> from skdpal.audit import attack
    >>> from skdpal.privacy.randomness import perturb
    >>> def count(present, runs):
    ...     return perturb(np.full(runs, float(present)), scale=1.0)
    >>> attack(count, runs=500, confidence=1 - 1e-6).beats(mu=1.0)
    False
    >>> def too_little_noise(present, runs):
    ...     return perturb(np.full(runs, float(present)), scale=0.3)
    >>> attack(too_little_noise, runs=500, confidence=1 - 1e-6).beats(mu=1.0)
    True
    """
    runs = check_count("runs", runs, least=1)
    confidence = check_real("confidence", confidence, above=0.0, below=1.0)
    if delta is not None:
        delta = check_real("delta", delta, above=0.0, below=1.0, closed=True)
    choosing = runs if threshold is None else 0
    # one call a world, then cut: a world that starts a stream at each call must not judge what chose
    present, absent = (_statistics(world(there, choosing + runs), choosing + runs) for there in (True, False))
    if threshold is None:
        threshold = _choose(present[:choosing], absent[:choosing], delta, confidence)
    return Attack(
        runs,
        check_real("threshold", threshold),
        int((absent[choosing:] > threshold).sum()),
        int((present[choosing:] <= threshold).sum()),
        confidence=confidence,
    )


def repeated(release: Callable[[bool], Any], statistic: Callable[[Any], float] = float) -> World:
    """A world from a mechanism that is called run by run.

    Parameters
    ----------
    release : callable
        ``release(present)`` runs once and returns what becomes public.
    statistic : callable, default=float
        Makes a number of it, large if the patient seems present.

    Returns
    -------
    callable
        For `attack`.

    Examples
    --------
    >>> from skdpal.audit import attack, repeated
    >>> attack(repeated(lambda present: present), runs=100).false_negatives
    0
    """

    def world(present: bool, runs: int) -> NDArray[np.float64]:
        return np.array([statistic(release(present)) for _ in range(runs)], dtype=np.float64)

    return world


def likelihood_ratio(present: ArrayLike, absent: ArrayLike, scale: float) -> Callable[[ArrayLike], float]:
    """The sharpest statistic against Gaussian noise: ln of both worlds' likelihoods, divided.

    Parameters
    ----------
    present, absent : array-like of equal shape
        The output in each world, before noise.
    scale : float
        Standard deviation of the noise, as claimed.

    Returns
    -------
    callable
        Takes an output. Half-way between the worlds it is 0.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> from skdpal.audit import likelihood_ratio
    >>> statistic = likelihood_ratio([1.0, 0.0], [0.0, 0.0], scale=1.0)
    >>> statistic([1.0, 5.0])
    0.5
    """
    scale = check_real("scale", scale, above=0.0)
    there, gone = check_finite("present", present), check_finite("absent", absent)
    if there.shape != gone.shape:
        raise ValueError(
            f"Expected present and absent to have one shape. Found {there.shape} and {gone.shape}. "
            "Zero the patient out instead of dropping them."
        )
    middle, direction = (there + gone) / 2, (there - gone) / scale**2

    def statistic(output: ArrayLike) -> float:
        return float(np.sum((np.asarray(output, dtype=np.float64) - middle) * direction))

    return statistic


def _statistics(values: ArrayLike, runs: int) -> NDArray[np.float64]:
    """One number a run; infinite ones are fine, NaN is not."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (runs,):
        raise ValueError(
            f"Expected world to return one number a run, an array of shape ({runs},). Found shape {array.shape}. "
            "Make a statistic of each output, or wrap the mechanism in repeated()."
        )
    if np.isnan(array).any():
        raise ValueError("Expected world to return numbers. Found NaN. Give such outputs a number of their own.")
    return array


def _choose(present: NDArray[np.float64], absent: NDArray[np.float64], delta: float | None, confidence: float) -> float:
    """A threshold between two statistics, in the middle of those that prove nearly most on these runs."""
    runs = len(present)
    values = np.unique(np.clip(np.concatenate([present, absent]), -_LARGE, _LARGE))
    thresholds = (values[:-1] + values[1:]) / 2 if len(values) > 1 else values
    positives = runs - np.searchsorted(np.sort(absent), thresholds, side="right")
    negatives = np.searchsorted(np.sort(present), thresholds, side="right")
    ceilings = error_ceilings(np.arange(runs + 1), runs, (1 - confidence) / 2)
    rates = ceilings[positives], ceilings[negatives]
    proven = mu_at(*rates) if delta is None else epsilon_at(*rates, delta)
    best = proven.max()
    near = np.flatnonzero(proven >= best - (1 - _NEAR) * abs(best))
    return float(thresholds[near[len(near) // 2]])
