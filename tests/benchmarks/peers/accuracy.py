"""Accuracy on tumours nobody labelled: SRBCT, cell lines public, ε = 2 at δ = 1e-5 for all that leaves (Khan et al. 2001).

One embedding, learnt from the cell lines, for all; 100 random orders of the 37 tumours; simulated noise. Public cell lines
also have labels: whoever can take a public start gets them.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from .checks import check

ROOT = Path(__file__).parents[3]
SPLITS = int(os.environ.get("PEERS_SPLITS", "100"))
SIZES, EPSILON, WIDTH = (16, 32), 2.0, 24


def summary(found: dict[str, dict[int, list[float]]]) -> str:
    """Mean and standard error for each method."""
    parts = []
    for method, by_size in found.items():
        cells = [
            f"{np.mean(values):.3f} ({np.std(values, ddof=1) / np.sqrt(len(values)):.3f})"
            for values in by_size.values()
        ]
        parts.append(f"{method}: {' and '.join(cells)}")
    return "; ".join(parts) + f" with {' and '.join(map(str, SIZES))} labelled"


def benches():  # noqa: ANN201
    """Splits of the benchmark of docs/benchmarks.md."""
    from tests.benchmarks.cohorts.cohorts import load_cohort
    from tests.benchmarks.cohorts.methods import Bench

    cohort = load_cohort("srbct")
    return [Bench(cohort, cohort.split(seed)) for seed in range(SPLITS)]


@check("accuracy", "skdpal")
def _() -> str:
    """The classifiers of docs/benchmarks.md, and the public model before any patient."""
    from skdpal.privacy.randomness import simulation
    from tests.benchmarks.cohorts.methods import METHODS, noise_of

    names = [
        "prototypes, no prior",
        "linear, no prior",
        "public model alone",
        "prototypes, public prior",
        "linear, public prior",
    ]
    found: dict[str, dict[int, list[float]]] = {name: {n: [] for n in SIZES} for name in names}
    for seed, bench in enumerate(benches()):
        for n in SIZES:
            for name in names:
                with simulation(seed):
                    predicted = METHODS[name](bench, n, noise_of(EPSILON))(slice(n, None))
                found[name][n].append(float((predicted == bench.split.y[n:]).mean()))
    return summary(found)


@check("accuracy", "Opacus")
def _() -> str:
    """DP-SGD on a linear head of the same embedding: from nothing, and from the head that fits the public rows; that head."""
    import torch
    from opacus import PrivacyEngine
    from opacus.accountants.utils import get_noise_multiplier
    from torch.utils.data import DataLoader, TensorDataset

    from tests.benchmarks.cohorts.methods import DELTA
    from tests.benchmarks.cohorts.networks import EPOCHS, RATE

    steps = round(EPOCHS / RATE)
    noise = get_noise_multiplier(
        target_epsilon=EPSILON, target_delta=DELTA, sample_rate=RATE, steps=steps, accountant="prv"
    )

    def head(rows: np.ndarray, codes: np.ndarray, n_classes: int) -> torch.nn.Linear:
        module = torch.nn.Linear(rows.shape[1], n_classes)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
        for _ in range(200):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(module(torch.tensor(rows).float()), torch.tensor(codes)).backward()
            optimizer.step()
        return module

    def trained(module: torch.nn.Linear, rows: np.ndarray, codes: np.ndarray, lr: float) -> torch.nn.Module:
        data = TensorDataset(torch.tensor(rows).float(), torch.tensor(codes))
        module, optimizer, loader = PrivacyEngine(accountant="rdp").make_private(
            module=module,
            optimizer=torch.optim.Adam(module.parameters(), lr=lr),
            data_loader=DataLoader(data, batch_size=max(round(RATE * len(rows)), 1)),
            noise_multiplier=noise,
            max_grad_norm=1.0,
        )
        for _ in range(EPOCHS):
            for batch, labels in loader:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(module(batch), labels).backward()
                optimizer.step()
        return module

    names = ["linear head from nothing", "linear head from the public one", "the public head, untrained"]
    found: dict[str, dict[int, list[float]]] = {name: {n: [] for n in SIZES} for name in names}
    for seed, bench in enumerate(benches()):
        torch.manual_seed(seed)
        rows, public, _ = bench.embedding(WIDTH)
        split, scale = bench.split, np.sqrt(WIDTH)  # networks like unit variance
        codes, of_public = (np.searchsorted(split.classes, labels) for labels in (split.y, split.y_public))
        for n in SIZES:
            starts = torch.nn.Linear(WIDTH, len(split.classes)), head(scale * public, of_public, len(split.classes))
            untouched = copy.deepcopy(starts[1])
            models = [
                trained(start, scale * rows[:n], codes[:n], lr) for start, lr in zip(starts, (0.05, 0.01), strict=True)
            ]
            for name, module in zip(names, [*models, untouched], strict=True):
                with torch.no_grad():
                    right = module(torch.tensor(scale * rows[n:]).float()).argmax(dim=1).numpy() == codes[n:]
                found[name][n].append(float(right.mean()))
    return summary(found)


@check("accuracy", "diffprivlib")
def _() -> str:
    """Its classifiers on the same embedding, whose rows are in the unit ball, which is public; they take no public start."""
    import warnings

    from cohorts.peers import accuracy, learners  # this environment starts in tests/benchmarks

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npz"
        subprocess.run(
            [os.environ["SKDPAL_PYTHON"], "-W", "ignore", "-m", "tests.benchmarks.peers.accuracy", path],
            cwd=ROOT,
            check=True,
        )
        data = dict(np.load(path))
    np.random.seed(0)
    found: dict[str, dict[int, list[float]]] = {}
    for name, space, make in learners(EPSILON, data["embedding"].shape[2]):
        if space == "embedding":
            found[name] = {
                n: [accuracy(make(), rows, y, n) for rows, y in zip(data["embedding"], data["y"], strict=True)]
                for n in SIZES
            }
    return summary(found)


if __name__ == "__main__":  # the same rows for diffprivlib
    every = benches()
    np.savez(
        sys.argv[1],
        embedding=np.array([bench.embedding(WIDTH)[0] for bench in every]),
        y=np.array([np.searchsorted(bench.split.classes, bench.split.y) for bench in every]),
    )
