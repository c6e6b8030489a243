"""One-hot labels under Laplace noise of scale 2/ε: what they say, and how often they say the right thing.

With o the noisy row, the posterior is π_c exp(−‖o − e_c‖₁ ε/2), and ‖o − e_c‖₁ is, but for what all classes share,
−2 min(max(o_c, 0), 1): beyond 0 and 1 nothing more is said, and equal scores are decided by the larger entry.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import softmax

__all__ = ["likeliest", "likeliest_matrix", "posterior"]

Array = NDArray[np.float64]
_REACH = 80.0  # scales; what lies beyond has a chance below 1e-34


def posterior(noisy: Array, epsilon: float, prior: Array) -> Array:
    """Probabilities of the given label, of shape (n_rows, n_classes)."""
    return np.asarray(softmax(_scores(noisy, epsilon, prior), axis=1))


def likeliest(noisy: Array, epsilon: float, prior: Array) -> NDArray[np.intp]:
    """The position of the likeliest label of each row; of equal ones, that with the larger entry."""
    scores = _scores(noisy, epsilon, prior)
    best = scores == scores.max(axis=1, keepdims=True)
    return np.argmax(np.where(best, noisy, -np.inf), axis=1)


def likeliest_matrix(epsilon: float, prior: Array) -> Array:
    """Exact chances of each likeliest label, for each given one, of shape (n_classes, n_classes).

    Entry c of row y integrates, over the value t of entry c, the chance that every other entry loses to it.
    """
    classes = range(len(prior))
    matrix = np.array([[_wins(winner, given, epsilon, prior) for winner in classes] for given in classes])
    return matrix / matrix.sum(axis=1, keepdims=True)  # of the integrals' last digits


def _scores(noisy: Array, epsilon: float, prior: Array) -> Array:
    return np.log(prior) + epsilon * np.clip(noisy, 0.0, 1.0)


def _wins(winner: int, given: int, epsilon: float, prior: Array) -> float:
    """The chance that one entry beats all others."""
    scale, centre = 2 / epsilon, float(winner == given)
    ahead = {other: np.log(prior[winner] / prior[other]) / epsilon for other in range(len(prior)) if other != winner}

    def density(t: float) -> float:
        chance = np.exp(-abs(t - centre) / scale) / (2 * scale)
        for other, lead in ahead.items():
            chance *= _loses(min(max(t, 0.0), 1.0) + lead, t, float(other == given), scale)
        return float(chance)

    corners = {0.0, 1.0, *(edge - lead for lead in ahead.values() for edge in (0.0, 1.0) if 0 < edge - lead < 1)}
    reach = _REACH * scale
    cuts = [-reach, -reach / 8, *sorted(corners), 1 + reach / 8, 1 + reach]
    pieces = zip(cuts[:-1], cuts[1:], strict=True)
    return sum(quad(density, low, high, epsabs=1e-13, epsrel=1e-12, limit=200)[0] for low, high in pieces)


def _loses(level: float, t: float, centre: float, scale: float) -> float:
    """The chance that min(max(o, 0), 1) is below a level, or equal to it with o below t; o is Laplace."""
    if level > 1 or level < 0:
        return float(level > 1)
    edge = max(1.0, t) if level == 1 else min(0.0, t) if level == 0 else level
    away = (edge - centre) / scale
    return float(np.exp(away) / 2 if away < 0 else 1 - np.exp(-away) / 2)
