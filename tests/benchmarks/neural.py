"""The table of docs/guide/neural.md: networks on the sarcoma tumours, at equal ε.

python -m tests.benchmarks.neural            # 40 splits, writes docs/benchmarks/neural.csv
python -m tests.benchmarks.neural --quick    # 5 splits, writes nothing
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from skdpal import DPEncoder, DPNeuralClassifier, DPPrototypeClassifier, PrivacyBudget, PublicEncoder
from skdpal.datasets import load_srbct
from skdpal.estimators.neural.modules import GenomicClassifier
from skdpal.privacy import PrivacyLeakWarning, calibrate, events
from skdpal.privacy.randomness import simulation

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"
COMMAND = "python -m tests.benchmarks.neural"
N_TRAINED = 26  # of 37 tumours; the others evaluate
STEPS = 8
EPSILONS = (1.0, 2.0, 8.0)


class Setting:
    """What public cell lines give, and the tumours."""

    def __init__(self) -> None:
        data = load_srbct()
        lines = data.is_cell_line
        self.X, self.y = data.data[~lines], data.target[~lines]
        public = (data.data[lines], data.target[lines])
        self.encoders = {
            "neural": PublicEncoder(
                "neural", 16, sample_scaling="standardize", widths=(64, 32), random_state=0, verbose=False
            ).fit(*public),
            "whitened-pca": PublicEncoder("whitened-pca", 16, sample_scaling="standardize").fit(*public),
        }
        self.priors = {
            name: DPPrototypeClassifier.prior_from_public(encoder.transform(public[0]), public[1])
            for name, encoder in self.encoders.items()
        }
        self.classes = np.unique(data.target)


Fit = Callable[[Setting, np.ndarray, np.ndarray, float], Callable[[np.ndarray], np.ndarray]]


def _noise(epsilon: float, steps: int = 1) -> float:
    return calibrate(lambda sigma: events.gaussian(sigma, steps=steps), PrivacyBudget(epsilon, 1e-5))


def _frozen(name: str) -> Fit:
    def fit(setting: Setting, X: np.ndarray, y: np.ndarray, epsilon: float) -> Any:
        encoder = setting.encoders[name]
        model = DPPrototypeClassifier(_noise(epsilon), setting.priors[name]).fit(encoder.transform(X), y)
        return lambda rows: model.predict(encoder.transform(rows))

    return fit


def _public(name: str) -> Fit:
    def fit(setting: Setting, X: np.ndarray, y: np.ndarray, epsilon: float) -> Any:
        encoder, prior = setting.encoders[name], setting.priors[name]

        def predict(rows: np.ndarray) -> np.ndarray:
            distances = ((encoder.transform(rows)[:, None] - prior.means) ** 2).sum(axis=2)
            return prior.classes[distances.argmin(axis=1)]

        return predict

    return fit


def _tuned(**parameters: Any) -> Fit:
    """Half of μ² for the encoder, half for the prototypes on it; the public prior stays as it was."""

    def fit(setting: Setting, X: np.ndarray, y: np.ndarray, epsilon: float) -> Any:
        root2 = 2**0.5
        encoder = DPEncoder(
            setting.encoders["neural"],
            _noise(epsilon, STEPS) * root2,
            prior=setting.priors["neural"],
            max_epochs=STEPS,
            **parameters,
        ).fit(X, y)
        model = DPPrototypeClassifier(_noise(epsilon) * root2, setting.priors["neural"]).fit(encoder.transform(X), y)
        return lambda rows: model.predict(encoder.transform(rows))

    return fit


def _head(trainable: str, lr: float) -> Fit:
    """The public model as a network whose head, or all, learns from patients."""

    def fit(setting: Setting, X: np.ndarray, y: np.ndarray, epsilon: float) -> Any:
        encoder = DPEncoder(
            setting.encoders["neural"],
            _noise(epsilon, STEPS),
            prior=setting.priors["neural"],
            max_epochs=STEPS,
            lr=lr,
            trainable=trainable,
        ).fit(X, y)
        return lambda rows: encoder.classifier_.predict(setting.encoders["neural"].network_inputs(rows))

    return fit


def _scratch(setting: Setting, X: np.ndarray, y: np.ndarray, epsilon: float) -> Any:
    def scaled(rows: np.ndarray) -> np.ndarray:
        return (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)

    model = DPNeuralClassifier(
        GenomicClassifier, _noise(epsilon, STEPS), classes=setting.classes, max_epochs=STEPS, module__widths=(64, 32)
    ).fit(scaled(X), y)
    return lambda rows: model.predict(scaled(rows))


METHODS: dict[str, Fit] = {
    "DP network from scratch": _scratch,
    "public network alone": _public("neural"),
    "public network, DP head": _head("head.*", 2.0),
    "public network, all fine-tuned": _head("*", 0.1),
    "DPEncoder (all layers) + prototypes": _tuned(lr=0.02),
    "DPEncoder (rank-2 adapters) + prototypes": _tuned(lr=0.02, adapter_rank=2),
    "frozen neural encoder + prototypes": _frozen("neural"),
    "frozen whitened-pca encoder + prototypes": _frozen("whitened-pca"),
}


def run(setting: Setting, seed: int) -> list[dict[str, Any]]:
    """All methods on one split; each in its own simulation, so that none moves another's noise."""
    import torch

    torch.set_num_threads(1)
    order = np.random.default_rng(seed).permutation(len(setting.y))
    train, test = order[:N_TRAINED], order[N_TRAINED:]
    rows = []
    for epsilon in EPSILONS:
        for name, method in METHODS.items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PrivacyLeakWarning)
                with simulation(seed):
                    predict = method(setting, setting.X[train], setting.y[train], epsilon)
            accuracy = float((predict(setting.X[test]) == setting.y[test]).mean())
            rows.append({"epsilon": epsilon, "method": name, "split": seed, "accuracy": accuracy})
    return rows


def main() -> None:
    """Run the splits and print the table."""
    quick = "--quick" in sys.argv
    setting = Setting()
    jobs = (delayed(run)(setting, seed) for seed in range(5 if quick else 40))
    results = pd.DataFrame([row for part in Parallel(n_jobs=2)(jobs) for row in part])
    groups = results.groupby(["epsilon", "method"], sort=False)["accuracy"]
    table = pd.DataFrame({"accuracy": groups.mean(), "standard_error": groups.sem(), "n_splits": groups.size()})
    print(table.round(3).to_string())
    if not quick:
        path = DOCS / "neural.csv"
        path.write_text(f"# {COMMAND}\n{table.reset_index().round(4).to_csv(index=False)}", encoding="utf-8")


if __name__ == "__main__":
    main()
