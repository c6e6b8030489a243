"""What is compared: every method sees the same public rows, the same patients, and spends the same ε."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from skdpal import DPLinearClassifier, DPPrototypeClassifier, PrivacyBudget, PublicEncoder
from skdpal.estimators.posterior import Release
from skdpal.estimators.regime import recommended_components
from skdpal.privacy import calibrate, events
from tests.benchmarks.cohorts.cohorts import Cohort, Split

__all__ = ["DELTA", "METHODS", "ROUNDS", "Bench", "noise_of"]

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
    encoders: dict[int, tuple[Any, Any]] = field(default_factory=dict)

    def embedding(self, n_components: int) -> tuple[PublicEncoder, Any]:
        """Encoder and prior of a dimension that was chosen in public."""
        public = self.split.X_public, self.split.y_public
        n_components = min(n_components, len(public[0]) - 1, public[0].shape[1])
        if n_components not in self.encoders:
            encoder = PublicEncoder(n_components=n_components, sample_scaling=self.cohort.sample_scaling).fit(*public)
            prior = DPPrototypeClassifier.prior_from_public(encoder.transform(public[0]), public[1])
            self.encoders[n_components] = encoder, prior
        return self.encoders[n_components]

    def informed(self, n: int, noise: float) -> tuple[PublicEncoder, Any]:
        """The dimension that the public rule recommends with a prior."""
        return self.embedding(recommended_components(n, noise, n_public=len(self.split.y_public)))

    def genes(self, rows: np.ndarray) -> np.ndarray:
        """Genes of the largest public variance, in public units, in the unit ball: what a user does without an encoder."""
        public = self.split.X_public
        keep = np.argsort(-public.var(axis=0), kind="stable")[:GENES]
        scaled = (rows[:, keep] - public[:, keep].mean(axis=0)) / np.maximum(public[:, keep].std(axis=0), 1e-9)
        return scaled / np.sqrt(len(keep))


Predict = Callable[[np.ndarray], np.ndarray]


def _prototypes(bench: Bench, n: int, noise: float) -> Predict:
    encoder, prior = bench.informed(n, noise)
    model = DPPrototypeClassifier(noise, prior).fit(encoder.transform(bench.split.X[:n]), bench.split.y[:n])
    return lambda rows: model.predict(encoder.transform(rows))


def _public(bench: Bench, n: int, noise: float) -> Predict:
    """The same model before any patient: a release about nobody."""
    encoder, prior = bench.informed(n, noise)
    nothing = Release(np.zeros_like(prior.means), np.zeros(len(prior.means)), 1.0, 0.0)
    model = DPPrototypeClassifier(noise, prior).restore([nothing])
    return lambda rows: model.predict(encoder.transform(rows))


def _no_prior(bench: Bench, n: int, noise: float) -> Predict:
    encoder, _ = bench.embedding(recommended_components(n, noise, most=24))
    model = DPPrototypeClassifier(noise, classes=bench.split.classes)
    model.fit(encoder.transform(bench.split.X[:n]), bench.split.y[:n])
    return lambda rows: model.predict(encoder.transform(rows))


def _linear(bench: Bench, n: int, noise: float) -> Predict:
    encoder, prior = bench.informed(n, noise)
    model = DPLinearClassifier(noise, prior).fit(encoder.transform(bench.split.X[:n]), bench.split.y[:n])
    return lambda rows: model.predict(encoder.transform(rows))


def _linear_alone(bench: Bench, n: int, noise: float) -> Predict:
    encoder, _ = bench.embedding(recommended_components(n, noise, most=24))
    model = DPLinearClassifier(noise, classes=bench.split.classes)
    model.fit(encoder.transform(bench.split.X[:n]), bench.split.y[:n])
    return lambda rows: model.predict(encoder.transform(rows))


def _usual(bench: Bench, n: int, noise: float) -> Predict:
    """DP-SGD on genes, retrained on all labels in each of four rounds; everybody pays for every round.

    Full batches, ten steps, logistic regression: the least that such a pipeline does. Only the last model judges.
    """
    model = DPLinearClassifier(noise * ROUNDS**0.5, classes=bench.split.classes, steps=10)
    model.fit(bench.genes(bench.split.X[:n]), bench.split.y[:n])
    return lambda rows: model.predict(bench.genes(rows))


def _pooled(bench: Bench, n: int, noise: float) -> Predict:
    """No privacy: logistic regression on public rows and patients together."""
    encoder, _ = bench.informed(n, noise)
    rows = encoder.transform(np.vstack([bench.split.X_public, bench.split.X[:n]]))
    model = LogisticRegression(C=10.0, max_iter=1000)
    model.fit(rows, np.concatenate([bench.split.y_public, bench.split.y[:n]]))
    return lambda new: model.predict(encoder.transform(new))


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
