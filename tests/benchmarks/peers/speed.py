"""Seconds of the processor for one private release; the median, one thread."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from .checks import check

N, WIDTH, CLASSES, BATCH = 64, 24, 4, 10_000
RANDOM = np.random.default_rng(0)
Y = np.arange(BATCH) % CLASSES
X = RANDOM.normal(size=(BATCH, WIDTH)) + 2 * np.eye(CLASSES, WIDTH)[Y]
X /= np.maximum(1.0, np.linalg.norm(X, axis=1, keepdims=True))
NOISE = np.zeros(1_000)


def milliseconds(call: Callable[[], object], times: int = 20) -> str:
    """Median of the processor time, after two calls that warm up."""
    found = []
    for _ in range(times + 2):
        start = time.process_time()
        call()
        found.append(1e3 * (time.process_time() - start))
    return f"{statistics.median(found[2:]):.2g} ms"


@check("speed", "diffprivlib")
def _() -> str:
    """Fits of 64 patients in 24 dimensions; noise for 1,000 numbers."""
    from diffprivlib.mechanisms import Laplace
    from diffprivlib.models import GaussianNB, LogisticRegression

    bayes = milliseconds(lambda: GaussianNB(epsilon=1.0, bounds=(-1, 1)).fit(X[:N], Y[:N]))
    logistic = milliseconds(lambda: LogisticRegression(epsilon=1.0, data_norm=1.0).fit(X[:N], Y[:N]))
    mechanism = Laplace(epsilon=1.0, sensitivity=1.0)
    noise = milliseconds(lambda: [mechanism.randomise(value) for value in NOISE])
    return f"GaussianNB {bayes}, LogisticRegression {logistic} ({N} × {WIDTH}); Laplace noise for 1,000 numbers {noise}"


@check("speed", "OpenDP")
def _() -> str:
    """Noise for 1,000 numbers."""
    import opendp.prelude as dp

    dp.enable_features("contrib", "floating-point")
    space = dp.vector_domain(dp.atom_domain(T=float, nan=False)), dp.l2_distance(T=float)
    measurement = space >> dp.m.then_gaussian(1.0)
    return f"float-safe Gaussian noise for 1,000 numbers {milliseconds(lambda: measurement(NOISE.tolist()))}"


@check("speed", "Opacus")
def _() -> str:
    """One step of DP-SGD on 10,000 rows, two layers."""
    import torch
    from opacus import PrivacyEngine
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(Y))
    module = torch.nn.Sequential(torch.nn.Linear(WIDTH, 32), torch.nn.ReLU(), torch.nn.Linear(32, CLASSES))
    module, optimizer, _ = PrivacyEngine(accountant="rdp").make_private(
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
        data_loader=DataLoader(data, batch_size=BATCH),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        poisson_sampling=False,
    )
    rows, labels = data.tensors

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(rows), labels).backward()
        optimizer.step()

    return f"one step of DP-SGD, {BATCH:,} × {WIDTH}, 32 hidden units {milliseconds(step, 5)}"


@check("speed", "skdpal")
def _() -> str:
    """The same questions."""
    import torch

    from skdpal import DPLinearClassifier, DPNeuralClassifier, DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
    from skdpal.privacy.randomness import perturb

    def fit_of(make: Callable[[PrivacyLedger], object], ledger: PrivacyLedger, n: int = N) -> Callable[[], object]:
        return lambda: make(ledger).fit(X[:n], Y[:n])

    classes, wide = list(range(CLASSES)), PrivacyBudget(50.0)
    in_memory = milliseconds(
        fit_of(lambda ledger: DPPrototypeClassifier(9.0, classes=classes, ledger=ledger), PrivacyLedger(wide))
    )
    linear = milliseconds(
        fit_of(lambda ledger: DPLinearClassifier(9.0, classes=classes, ledger=ledger), PrivacyLedger(wide))
    )
    with tempfile.TemporaryDirectory() as folder:
        ledger = PrivacyLedger.create(Path(folder) / "a.ledger", wide)
        in_file = milliseconds(
            fit_of(lambda ledger: DPPrototypeClassifier(9.0, classes=classes, ledger=ledger), ledger)
        )
    noise = milliseconds(lambda: perturb(NOISE, 1.0))

    def network(steps: int) -> Callable[[], object]:
        module = torch.nn.Sequential(torch.nn.Linear(WIDTH, 32), torch.nn.ReLU(), torch.nn.Linear(32, CLASSES))
        ledger = PrivacyLedger(PrivacyBudget(90.0))
        return fit_of(
            lambda ledger: DPNeuralClassifier(module, 40.0, classes=classes, max_epochs=steps, ledger=ledger),
            ledger,
            BATCH,
        )

    one, eleven = (float(milliseconds(network(steps), 3).split()[0]) for steps in (1, 11))
    return (
        f"prototypes {in_memory}, linear {linear}, ledger in memory; prototypes, ledger in a file {in_file} ({N} × {WIDTH}); "
        f"float-safe Gaussian noise for 1,000 numbers {noise}; a step of DP-SGD, {BATCH:,} × {WIDTH}, 32 hidden units "
        f"{max(eleven - one, 0.0) / 10:.2g} ms, and {one:.2g} ms for a fit of one step with its charge"
    )
