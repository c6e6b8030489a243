"""What (ε, δ) and μ mean for one patient, in numbers that can be told without formulas.

They follow from the certificate's promise alone, never from what was released.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, inf, log, log1p
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

__all__ = ["Risk", "odds_in_words"]

FALSE_ALARMS = (0.01, 0.05, 0.1)
BELIEFS = (0.001, 0.01, 0.1, 0.5)


@dataclass(frozen=True)
class Risk:
    """What an attacker can do at most who knows everything but one patient's data.

    Parameters
    ----------
    epsilon, delta : float
        The promise.
    mu : float or None
        Of a Gaussian promise, which is sharper.

    Examples
    --------
    >>> risk = Risk(2.0, 1e-5, mu=0.5016)
    >>> round(100 * risk.guess, 1), round(risk.odds, 1)
    (59.9, 7.4)
    >>> [round(100 * float(hits), 1) for hits in risk.hits([0.01, 0.05])]
    [3.4, 12.6]
    """

    epsilon: float
    delta: float
    mu: float | None = None

    @classmethod
    def of(cls, certificate: Mapping[str, Any]) -> Risk:
        """Of a patient whose data are used, or blanked out."""
        return cls(certificate["epsilon"], certificate["delta"], certificate.get("mu"))

    @classmethod
    def of_exchange(cls, certificate: Mapping[str, Any]) -> Risk:
        """Of a patient in whose place somebody else could be."""
        promise, mu = certificate["replace_one"], certificate.get("mu")
        return cls(promise["epsilon"], promise["delta"], None if mu is None else 2 * mu)

    @property
    def odds(self) -> float:
        """The factor by which odds change at most, but for a chance of `slip`."""
        return exp(self._loss) if self._loss < 700 else inf

    @property
    def slip(self) -> float:
        """The chance that odds change by more.

        It is not δ: of N(0, 1) against N(μ, 1) the loss passes ε with probability Φ(μ/2 − ε/μ); of any (ε, δ) it
        passes ε + ln 2 with probability 2δ at most, since δ >= (1 − e^(−t)) P(loss > ε + t).
        """
        if self.mu is not None:
            return float(norm.cdf(self.mu / 2 - self.epsilon / self.mu))
        return min(1.0, 2 * self.delta)

    @property
    def guess(self) -> float:
        """How often the best guess between two equally likely worlds is right, 0.5 to 1."""
        if self.mu is not None:
            return float(norm.cdf(self.mu / 2))
        return min(1.0, float((1 + self.delta * exp(-self.epsilon)) / (1 + exp(-self.epsilon))))

    def hits(self, false_alarms: Any) -> NDArray[np.float64]:
        """The largest rate of hits of a test with these rates of false alarms."""
        rates = np.asarray(false_alarms, dtype=np.float64)
        if self.mu is not None:
            return np.asarray(norm.sf(norm.isf(rates) - self.mu))
        grown = np.minimum(exp(min(self.epsilon, 700.0)) * rates + self.delta, 1.0)
        return np.asarray(np.minimum(grown, 1 - exp(-self.epsilon) * np.maximum(1 - rates - self.delta, 0.0)))

    def belief(self, before: float) -> float:
        """The largest belief afterwards, but for a chance of `slip`, of who believed something with probability `before`."""
        return float(before / (before + (1 - before) * exp(-self._loss)))

    @property
    def examples(self) -> list[tuple[str, str]]:
        """Beliefs before and after, in percent."""
        return [(f"{100 * before:g} %", _percent(self.belief(before))) for before in BELIEFS]

    @property
    def alarms(self) -> list[tuple[str, str]]:
        """Rates of false alarms and the hits they allow, in percent."""
        return [(f"{100 * rate:g} in 100", f"{100 * float(self.hits(rate)):.1f} in 100") for rate in FALSE_ALARMS]

    @property
    def _loss(self) -> float:
        return self.epsilon if self.mu is not None else self.epsilon + log(2)

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Rates of false alarms and of hits, for a drawing."""
        rates = np.concatenate([[0.0], np.geomspace(1e-4, 0.5, 60), 1 - np.geomspace(0.5, 1e-4, 60), [1.0]])
        return rates, self.hits(rates)


def odds_in_words(delta: float) -> str:
    """A probability as "1 in so many"."""
    return f"1 in {round(1 / delta):,}" if delta < 0.5 else f"{delta:.2g}"


def _percent(value: float) -> str:
    if value > 0.999:
        return f"{100 * value:.2f} %" if log1p(-value) > -12 else "almost 100 %"
    return f"{100 * value:.2g} %" if value < 0.1 else f"{100 * value:.0f} %"
