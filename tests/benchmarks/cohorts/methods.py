"""What is compared: every method sees the same public rows, the same patients, and spends the same ε."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from skdpal import DPLinearClassifier, DPPrototypeClassifier, PrivacyBudget, PublicEncoder
from skdpal.estimators.posterior import Release
from skdpal.estimators.regime import recommended_components
from skdpal.privacy import calibrate, events
from tests.benchmarks.cohorts.cohorts import Cohort, Split

__all__ = ["DELTA", "METHODS", "ROUNDS", "Bench", "Predict", "noise_of"]

DELTA = 1e-5
ROUNDS = 4  # of the usual pipeline
GENES = 1000  # most variable in public rows, for methods without an encoder
SILENT = 1e-6  # a noise multiplier that is no noise


@cache
def noise_of(epsilon: float) -> float:
    """Noise multiplier of one Gaussian release."""
    return calibrate(events.gaussian, PrivacyBudget(epsilon, DELTA))


@dataclass
class Bench:
    """One split of a cohort, with what public rows make of it."""

    cohort: Cohort
    split: Split
    spaces: dict[int, tuple[np.ndarray, np.ndarray, Any]] = field(default_factory=dict)

    def embedding(self, n_components: int) -> tuple[np.ndarray, np.ndarray, Any]:
        """All patients and all public rows, embedded in a dimension that was chosen in public; the prior."""
        public = self.split.X_public, self.split.y_public
        n_components = min(n_components, len(public[0]) - 1, public[0].shape[1])
        if n_components not in self.spaces:
            encoder = PublicEncoder(n_components=n_components, sample_scaling=self.cohort.sample_scaling).fit(*public)
            rows = encoder.transform(public[0])
            prior = DPPrototypeClassifier.prior_from_public(rows, public[1])
            self.spaces[n_components] = encoder.transform(self.split.X), rows, prior
        return self.spaces[n_components]

    def informed(self, n: int, noise: float) -> tuple[np.ndarray, np.ndarray, Any]:
        """The same in the dimension that the public rule recommends with a prior."""
        return self.embedding(recommended_components(n, noise, n_public=len(self.split.y_public)))

    @cached_property
    def genes(self) -> np.ndarray:
        """Patients by genes of the largest public variance, in public units, about in the unit ball: without an encoder."""
        public = self.split.X_public
        keep = np.argsort(-public.var(axis=0), kind="stable")[:GENES]
        scaled = (self.split.X[:, keep] - public[:, keep].mean(axis=0)) / np.maximum(public[:, keep].std(axis=0), 1e-9)
        return scaled / np.sqrt(len(keep))


Predict = Callable[[slice], np.ndarray]  # of patients, by their places


def _prototypes(bench: Bench, n: int, noise: float) -> Predict:
    rows, _, prior = bench.informed(n, noise)
    model = DPPrototypeClassifier(noise, prior).fit(rows[:n], bench.split.y[:n])
    return lambda places: model.predict(rows[places])


def _public(bench: Bench, n: int, noise: float) -> Predict:
    """The same model before any patient: a release about nobody."""
    rows, _, prior = bench.informed(n, noise)
    nothing = Release(np.zeros_like(prior.means), np.zeros(len(prior.means)), 1.0, 0.0)
    model = DPPrototypeClassifier(noise, prior).restore([nothing])
    return lambda places: model.predict(rows[places])


def _no_prior(bench: Bench, n: int, noise: float) -> Predict:
    rows, _, _ = bench.embedding(recommended_components(n, noise, most=24))
    model = DPPrototypeClassifier(noise, classes=bench.split.classes).fit(rows[:n], bench.split.y[:n])
    return lambda places: model.predict(rows[places])


def _linear(bench: Bench, n: int, noise: float) -> Predict:
    rows, _, prior = bench.informed(n, noise)
    model = DPLinearClassifier(noise, prior).fit(rows[:n], bench.split.y[:n])
    return lambda places: model.predict(rows[places])


def _linear_alone(bench: Bench, n: int, noise: float) -> Predict:
    rows, _, _ = bench.embedding(recommended_components(n, noise, most=24))
    model = DPLinearClassifier(noise, classes=bench.split.classes).fit(rows[:n], bench.split.y[:n])
    return lambda places: model.predict(rows[places])


def _usual(bench: Bench, n: int, noise: float) -> Predict:
    """DP gradient descent on genes, retrained on all labels in each of four rounds; everybody pays for every round.

    Full batches, ten steps, logistic regression: the least that such a pipeline does. Only the last model judges.
    """
    model = DPLinearClassifier(noise * ROUNDS**0.5, classes=bench.split.classes, steps=10)
    model.fit(bench.genes[:n], bench.split.y[:n])
    return lambda places: model.predict(bench.genes[places])


def _pooled(bench: Bench, n: int, noise: float) -> Predict:
    """No privacy: logistic regression on public rows and patients together."""
    rows, public, _ = bench.informed(n, noise)
    model = LogisticRegression(C=10.0, max_iter=1000)
    model.fit(np.vstack([public, rows[:n]]), np.concatenate([bench.split.y_public, bench.split.y[:n]]))
    return lambda places: model.predict(rows[places])


METHODS: dict[str, Callable[[Bench, int, float], Predict]] = {
    "usual pipeline": _usual,
    "linear, no prior": _linear_alone,
    "prototypes, no prior": _no_prior,
    "public model alone": _public,
    "linear, public prior": _linear,
    "prototypes, public prior": _prototypes,
    "no privacy, prototypes": lambda bench, n, noise: _prototypes(bench, n, SILENT),
    "no privacy, logistic regression": _pooled,
}
