"""Who starts, who waits in the pool and who judges, in each cohort; and what noise a budget buys."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np

from skdpal import DPPrototypeClassifier, PrivacyBudget, PublicEncoder
from skdpal.estimators import PublicPrior
from skdpal.estimators.regime import recommended_components
from skdpal.privacy import calibrate, epsilon_of, events
from skdpal.query.selections.acceptance import largest_probability, rate_of
from tests.benchmarks.cohorts.cohorts import Split, load_cohort

__all__ = ["DELTA", "PROTOCOLS", "RATE", "Case", "Protocol", "amplified_noise", "case_of", "embed", "noise_of"]

DELTA = 1e-5
MOST_PATIENTS = 800  # of METABRIC, for speed
FOLDS = 20  # of the out-of-sample reference
_TOLERANCE = 0.005  # of an amplified noise multiplier, on the safe side


@dataclass(frozen=True)
class Protocol:
    """Public sizes; whoever is in neither group judges."""

    start: int
    pool: int
    labels: int


RATE = 0.3  # labels by patients of the pool, in all cohorts: so their rounds cost the same
PROTOCOLS = {
    "srbct": Protocol(8, 20, 6),
    "acc": Protocol(8, 30, 9),
    "golub": Protocol(5, 10, 3),
    "lineage": Protocol(8, 50, 15),
    "fusion": Protocol(8, 30, 9),
    "bladder": Protocol(8, 20, 6),
    "metabric": Protocol(16, 200, 60),
    "remission": Protocol(8, 40, 12),
    "relapse": Protocol(8, 40, 12),
}


@dataclass(frozen=True, eq=False)
class Case:
    """One split of a cohort in the space of its public rows.

    Attributes
    ----------
    protocol : Protocol
    prior : PublicPrior
    reference : ndarray of shape (n_public, n_features)
        Public rows as if each had been new.
    X, y : ndarray
        Patients in random order: the start, the pool, those who judge.
    seed : int
        Of the split, and of the coins.
    """

    protocol: Protocol
    prior: PublicPrior
    reference: np.ndarray
    X: np.ndarray
    y: np.ndarray
    seed: int = 0

    @cached_property
    def public_model(self) -> DPPrototypeClassifier:
        """The classifier before any patient."""
        return DPPrototypeClassifier(1.0, self.prior).public_model()

    @property
    def start(self) -> np.ndarray:
        """Places of the start."""
        return np.arange(self.protocol.start)

    @property
    def pool(self) -> np.ndarray:
        """Places of the pool."""
        return self.protocol.start + np.arange(self.protocol.pool)

    @property
    def ids(self) -> list[str]:
        """Of start and pool, in the order of X."""
        return [f"p{place}" for place in range(self.protocol.start + self.protocol.pool)]

    @property
    def judges(self) -> slice:
        """Patients who are neither in the start nor in the pool."""
        return slice(self.protocol.start + self.protocol.pool, None)


def case_of(name: str, seed: int) -> Case:
    """A random split of a cohort of `PROTOCOLS`."""
    cohort = load_cohort(name)
    return embed(cohort.split(seed), PROTOCOLS[name], cohort.sample_scaling, seed)


def embed(split: Split, protocol: Protocol, sample_scaling: str | None, seed: int) -> Case:
    """A split in the space that public rows and public sizes choose."""
    public = split.X_public, split.y_public
    wanted = recommended_components(protocol.start + protocol.labels, 2.0, n_public=len(public[1]))
    n_components = min(wanted, public[0].shape[1])
    encoder = PublicEncoder(n_components=n_components, sample_scaling=sample_scaling).fit(*public)
    prior = DPPrototypeClassifier.prior_from_public(encoder.transform(public[0]), public[1])
    reference = encoder.out_of_sample(*public, max_fits=FOLDS)
    rows = slice(MOST_PATIENTS)
    return Case(protocol, prior, reference, encoder.transform(split.X[rows]), split.y[rows], seed)


@cache
def noise_of(epsilon: float, releases: int = 1) -> float:
    """Noise multiplier of each of some Gaussian releases that one patient is in."""
    return calibrate(lambda sigma: events.gaussian(sigma, steps=releases), PrivacyBudget(epsilon, DELTA))


@dataclass
class _AmplifiedNoise:
    """Noise multiplier of each round if the pool pays for secret samples (docs/trusted_kernel.md); slow to find, so it is kept.

    Never more than that of paying once. All cohorts have the same rates, so one search serves all.
    """

    known: dict[tuple[float, int, float], float] = field(default_factory=dict)

    def __call__(self, epsilon: float, rounds: int, tilt: float) -> float:
        key = (epsilon, rounds, tilt)
        if key not in self.known:
            self.known[key] = self._find(epsilon, self.rates(rounds, tilt))
        return self.known[key]

    def of_all(self, epsilon: float) -> dict[tuple[float, int, float], float]:
        """Those that `methods` needs."""
        for rounds in (1, 3):
            for tilt in (0.0, 0.5):
                self(epsilon, rounds, tilt)
        return self.known

    @staticmethod
    def rates(rounds: int, tilt: float) -> list[float]:
        """The largest chance of acceptance in each round."""
        each = RATE / rounds
        return [largest_probability(rate_of(each, 1 - each * before), tilt) for before in range(rounds)]

    @staticmethod
    def _find(epsilon: float, rates: list[float]) -> float:
        low, high = 0.1 * noise_of(epsilon), noise_of(epsilon)

        def price(sigma: float) -> float:
            return epsilon_of([events.poisson_gaussian(sigma, rate, 1) for rate in rates], DELTA)

        if price(high) > epsilon:
            return high
        while high > low * (1 + _TOLERANCE):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if price(middle) > epsilon else (low, middle)
        return high


amplified_noise = _AmplifiedNoise()
