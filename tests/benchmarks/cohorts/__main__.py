"""The tables of docs/benchmarks.md: private learners on published cohorts.

SKDPAL_DATA=FOLDER python -m tests.benchmarks.cohorts             # 100 splits; writes docs/benchmarks/cohorts.csv and the figure
SKDPAL_DATA=FOLDER python -m tests.benchmarks.cohorts --quick     # 5 splits of three cohorts, writes nothing

diffprivlib's columns need its environment: ``make build/peers/.ready``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from sklearn.exceptions import ConvergenceWarning

from skdpal.privacy import PrivacyLeakWarning
from skdpal.privacy.randomness import simulation
from tests.benchmarks.cohorts.cohorts import COHORTS, load_cohort
from tests.benchmarks.cohorts.figure import draw
from tests.benchmarks.cohorts.methods import METHODS, Bench, noise_of
from tests.benchmarks.cohorts.tables import summarise

ROOT = Path(__file__).parents[3]
COMMAND = "SKDPAL_DATA=FOLDER python -m tests.benchmarks.cohorts"
EPSILONS = (0.5, 1.0, 2.0, 4.0)
NEURAL = {"cohorts": ("srbct", "fusion"), "epsilons": (1.0, 2.0), "sizes": (16, 32), "splits": 20}


def run(name: str, seed: int, *, neural: bool) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """All methods on one split, and the same rows for the peers."""
    cohort = load_cohort(name)
    bench, rows = Bench(cohort, cohort.split(seed)), []
    X, y = bench.split.X, bench.split.y

    def note(n: int, epsilon: float, method: str, predict: Any) -> None:
        accuracy = float((np.asarray(predict(X[n:])) == y[n:]).mean())
        rows.append({"split": seed, "n": n, "epsilon": epsilon, "method": method, "accuracy": accuracy})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyLeakWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        for n in cohort.possible_sizes:
            note(n, np.nan, "largest class", lambda some: np.full(len(some), _largest(y)))
            for epsilon in EPSILONS:
                for method, fit in METHODS.items():
                    with simulation(seed):  # each starts its own, so that none moves another's noise
                        note(n, epsilon, method, fit(bench, n, noise_of(epsilon)))
        if neural:
            _networks(bench, seed, note)
    return rows, {"embedding": bench.embedding(24)[0].transform(X), "genes": bench.genes(X), "y": _codes(bench)}


def _networks(bench: Bench, seed: int, note: Any) -> None:
    from tests.benchmarks.cohorts.networks import NETWORKS

    for n in NEURAL["sizes"]:
        for epsilon in NEURAL["epsilons"]:
            for method, fit in NETWORKS.items():
                note(n, epsilon, method, fit(bench, n, epsilon, seed))


def _largest(y: np.ndarray) -> Any:
    labels, counts = np.unique(y, return_counts=True)
    return labels[counts.argmax()]


def _codes(bench: Bench) -> np.ndarray:
    return np.searchsorted(bench.split.classes, bench.split.y)


def _peers(name: str, tables: list[dict[str, np.ndarray]]) -> list[dict[str, Any]]:
    """diffprivlib on the same rows."""
    python = ROOT / "build" / "peers" / "bin" / "python"
    if not python.exists():
        print("no build/peers: diffprivlib is left out")
        return []
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "rows.npz", Path(folder) / "peers.csv"
        arrays = {key: np.array([table[key] for table in tables]) for key in ("embedding", "y")}
        genes = np.array([table["genes"][:, :100] for table in tables]) * 10**0.5  # a hundred of a thousand
        norms = np.maximum(np.linalg.norm(genes, axis=2, keepdims=True), 1.0)
        sizes = load_cohort(name).possible_sizes
        np.savez(source, **arrays, genes=genes / norms, sizes=sizes, epsilons=EPSILONS)
        subprocess.run([python, Path(__file__).with_name("peers.py"), source, target], check=True)
        return pd.read_csv(target).to_dict("records")


def main() -> None:
    """Run cohort by cohort, print, write."""
    quick = "--quick" in sys.argv
    names, n_splits = (("srbct", "acc", "fusion"), 5) if quick else (tuple(COHORTS), 100)
    frames = []
    for name in names:
        neural = [name in NEURAL["cohorts"] and seed < NEURAL["splits"] for seed in range(n_splits)]
        jobs = (delayed(run)(name, seed, neural=flag) for seed, flag in enumerate(neural))
        results = Parallel(n_jobs=2)(jobs)
        rows = [row for part, _ in results for row in part] + _peers(name, [table for _, table in results])
        frames.append(summarise(pd.DataFrame(rows)).assign(cohort=name))
        print(frames[-1].query("epsilon == 2.0").round(3).to_string(index=False), flush=True)
    table = pd.concat(frames, ignore_index=True)
    table = table[["cohort", *table.columns.drop("cohort")]]
    if not quick:
        path = ROOT / "docs" / "benchmarks" / "cohorts.csv"
        path.write_text(f"# {COMMAND}\n{table.round(4).to_csv(index=False)}", encoding="utf-8")
        draw(table, ROOT / "docs" / "benchmarks" / "cohorts.png")


if __name__ == "__main__":
    main()
