"""What error rates of an attack prove about privacy, and how many runs a proof takes.

An attacker sees one output and says whether the patient was there. A false positive is a
"present" in the world without the patient, a false negative an "absent" in the world with.

Invariants
----------
* Both error rates are bounded from above at once (Clopper and Pearson, half of the false
  alarm each), so every ε and every μ read off one pair of counts holds at the same confidence.
* Rounding goes against the attacker: ceilings of error rates are rounded up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainccinv, ndtr, ndtri
from scipy.stats import binom

from skdpal.privacy.validation import check_count, check_real

__all__ = [
    "RUNS",
    "epsilon_at",
    "epsilon_lower_bound",
    "error_ceilings",
    "mu_at",
    "mu_lower_bound",
    "power",
    "runs_needed",
]

RUNS = (100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)

_ROUNDING = 1e-9  # relative, of an error rate; covers the error of betainccinv many times


def epsilon_lower_bound(
    false_positives: int, false_negatives: int, runs: int, delta: float, confidence: float = 0.95
) -> float:
    """The ε that a mechanism has at least, at δ, if an attack on it made so few errors.

    Parameters
    ----------
    false_positives, false_negatives : int
        Errors in the world without and with the patient.
    runs : int
        Independent runs in each world.
    delta : float
        0 <= δ <= 1.
    confidence : float, default=0.95
        That no claim is refuted wrongly.

    Returns
    -------
    float
        0 or more. Without any error it is still finite: 3.28 after 100 runs, 7.90 after 10,000.

    Notes
    -----
    For every (ε, δ)-DP mechanism 1 - FNR <= e^ε FPR + δ and 1 - FPR <= e^ε FNR + δ (Kairouz, Oh
    and Viswanath 2015); both are solved for ε at the ceilings of the rates (Nasr et al. 2023).

    Examples
    --------
    >>> from skdpal.audit import epsilon_lower_bound
    >>> round(epsilon_lower_bound(0, 0, runs=1000, delta=1e-5), 2)
    5.6
    """
    delta = check_real("delta", delta, above=0.0, below=1.0, closed=True)
    positives, negatives = _ceilings(false_positives, false_negatives, runs, confidence)
    return max(float(epsilon_at(positives, negatives, delta)), 0.0)


def mu_lower_bound(false_positives: int, false_negatives: int, runs: int, confidence: float = 0.95) -> float:
    """The μ that a mechanism has at least, if an attack on it made so few errors.

    Parameters
    ----------
    false_positives, false_negatives : int
        Errors in the world without and with the patient.
    runs : int
        Independent runs in each world.
    confidence : float, default=0.95
        That no claim is refuted wrongly.

    Returns
    -------
    float
        0 or more. It refutes claims of Gaussian DP (Dong, Roth and Su 2022); those are sharper
        than their (ε, δ), so fewer runs refute them.

    Examples
    --------
    >>> from skdpal.audit import mu_lower_bound
    >>> round(mu_lower_bound(150, 150, runs=500), 2)
    0.81
    """
    return max(float(mu_at(*_ceilings(false_positives, false_negatives, runs, confidence))), 0.0)


def power(mu: float, claim: float, runs: int, *, confidence: float = 0.95, threshold: float | None = None) -> float:
    """How often an attack refutes a claim of μ-GDP, summed exactly over all numbers of errors.

    Parameters
    ----------
    mu : float
        What the mechanism really has: the statistic is N(0, 1) without the patient, N(mu, 1) with.
    claim : float
        What is claimed. For a true claim, the result is the chance of a false alarm.
    runs : int
        Independent runs in each world, those that judge.
    confidence : float, default=0.95
        Of the bound.
    threshold : float, optional
        On the statistic; half-way by default, where the power is largest. A threshold that
        other runs choose lies around it, and has less.

    Returns
    -------
    float
        From 0 to 1.

    Examples
    --------
    >>> from skdpal.audit import power
    >>> power(1.0, claim=0.5, runs=500) > 0.9
    True
    """
    mu, claim = check_real("mu", mu, above=0.0, closed=True), check_real("claim", claim, above=0.0, closed=True)
    runs, tail = check_count("runs", runs, least=1), _tail(confidence)
    at = mu / 2 if threshold is None else check_real("threshold", threshold)
    counts = np.arange(runs + 1)
    proven = -ndtri(error_ceilings(counts, runs, tail))  # each rate's part of the bound; falls with the count
    # for each number of false positives: how many numbers of false negatives still refute the claim
    refuting = runs + 1 - np.searchsorted(proven[::-1], claim - proven, side="right")
    chances = binom.pmf(counts, runs, ndtr(-at)) * binom.cdf(refuting - 1, runs, ndtr(at - mu))
    return min(float(chances.sum()), 1.0)


def runs_needed(mu: float, claim: float, *, confidence: float = 0.95, least_power: float = 0.9) -> int:
    """The first number of runs in `RUNS` that refutes a wrong claim often enough.

    Parameters
    ----------
    mu : float
        What the mechanism really has.
    claim : float
        What is claimed, less than `mu`.
    confidence : float, default=0.95
        Of the bound.
    least_power : float, default=0.9
        How often the claim must be refuted.

    Returns
    -------
    int
        Runs in each world, those that judge.

    Raises
    ------
    ValueError
        If the most runs in `RUNS` are too few.

    Examples
    --------
    >>> from skdpal.audit import runs_needed
    >>> runs_needed(1.0, claim=0.5)
    500
    """
    claim = check_real("claim", claim, above=0.0, closed=True)
    mu = check_real("mu", mu, above=claim)
    least_power = check_real("least_power", least_power, above=0.0, below=1.0)
    for runs in RUNS:
        if power(mu, claim, runs, confidence=confidence) >= least_power:
            return runs
    raise ValueError(
        f"Expected mu to be far enough above claim for {RUNS[-1]} runs. Found mu={mu!r}, claim={claim!r}. "
        "Attack a larger fault, or lower confidence or least_power."
    )


def error_ceilings(errors: ArrayLike, runs: int, tail: float) -> NDArray[np.float64]:
    """Upper bounds of an error rate (Clopper and Pearson), each too low with probability `tail` at most."""
    errors = np.asarray(errors, dtype=np.float64)
    ceilings = betainccinv(errors + 1, np.maximum(runs - errors, 1), tail) * (1 + _ROUNDING)
    return np.where(errors < runs, np.minimum(ceilings, 1.0), 1.0)


def epsilon_at(false_positive: ArrayLike, false_negative: ArrayLike, delta: float) -> NDArray[np.float64]:
    """The least ε, negative if nothing is proven, that allows both error rates."""
    positive, negative = np.asarray(false_positive, np.float64), np.asarray(false_negative, np.float64)
    least = np.finfo(np.float64).tiny  # where a rate allows every ε
    first = np.log(np.maximum(1 - negative - delta, least)) - np.log(positive)
    second = np.log(np.maximum(1 - positive - delta, least)) - np.log(negative)
    return np.asarray(np.maximum(first, second))


def mu_at(false_positive: ArrayLike, false_negative: ArrayLike) -> NDArray[np.float64]:
    """The least μ, negative if nothing is proven, that allows both error rates."""
    # -ndtri(p), not ndtri(1 - p): small rates keep their digits
    return np.asarray(-ndtri(np.asarray(false_positive)) - ndtri(np.asarray(false_negative)))


def _ceilings(false_positives: int, false_negatives: int, runs: int, confidence: float) -> NDArray[np.float64]:
    runs = check_count("runs", runs, least=1)
    errors = [_errors("false_positives", false_positives, runs), _errors("false_negatives", false_negatives, runs)]
    return error_ceilings(errors, runs, _tail(confidence))


def _errors(name: str, value: int, runs: int) -> int:
    if check_count(name, value) > runs:
        raise ValueError(f"Expected {name} to be at most runs={runs}. Found {value!r}. Count the errors of one world.")
    return int(value)


def _tail(confidence: float) -> float:
    """Half of the false alarm: one error rate's share."""
    return (1 - check_real("confidence", confidence, above=0.0, below=1.0)) / 2
