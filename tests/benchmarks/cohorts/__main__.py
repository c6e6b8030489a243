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
    y = bench.split.y

    def note(n: int, epsilon: float, method: str, predict: Any) -> None:
        accuracy = float((np.asarray(predict(slice(n, None))) == y[n:]).mean())
        rows.append({"split": seed, "n": n, "epsilon": epsilon, "method": method, "accuracy": accuracy})

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyLeakWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        for n in cohort.possible_sizes:
            note(n, np.nan, "largest class", lambda places: np.full(len(y[places]), _largest(y)))
            for epsilon in EPSILONS:
                for method, fit in METHODS.items():
                    with simulation(seed):  # each starts its own, so that none moves another's noise
                        note(n, epsilon, method, fit(bench, n, noise_of(epsilon)))
        if neural:
            _networks(bench, seed, note)
    return rows, {"embedding": bench.embedding(24)[0], "genes": bench.genes, "y": _codes(bench)}


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


def _start_peers(name: str, tables: list[dict[str, np.ndarray]], folder: Path) -> subprocess.Popen[bytes] | None:
    """Let diffprivlib run on the same rows, beside the next cohort."""
    python = ROOT / "build" / "peers" / "bin" / "python"
    if not python.exists():
        print("no build/peers: diffprivlib is left out")
        return None
    arrays = {key: np.array([table[key] for table in tables]) for key in ("embedding", "y")}
    genes = np.array([table["genes"][:, :100] for table in tables]) * 10**0.5  # a hundred of a thousand
    norms = np.maximum(np.linalg.norm(genes, axis=2, keepdims=True), 1.0)
    np.savez(
        folder / f"{name}.npz", **arrays, genes=genes / norms, sizes=load_cohort(name).possible_sizes, epsilons=EPSILONS
    )
    script = Path(__file__).with_name("peers.py")
    return subprocess.Popen([python, script, folder / f"{name}.npz", folder / f"{name}.csv"])


def _peers(name: str, running: subprocess.Popen[bytes] | None, folder: Path) -> list[dict[str, Any]]:
    """What diffprivlib found."""
    if running is None:
        return []
    if running.wait():
        raise RuntimeError(f"diffprivlib failed on {name}.")
    return pd.read_csv(folder / f"{name}.csv").to_dict("records")


def main() -> None:
    """Run cohort by cohort, print, write."""
    quick = "--quick" in sys.argv
    names, n_splits = (("srbct", "acc", "fusion"), 5) if quick else (tuple(COHORTS), 100)
    found, peers, frames = {}, {}, []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name in names:
            neural = [name in NEURAL["cohorts"] and seed < NEURAL["splits"] for seed in range(n_splits)]
            results = Parallel(n_jobs=2)(delayed(run)(name, seed, neural=flag) for seed, flag in enumerate(neural))
            found[name] = [row for part, _ in results for row in part]
            peers[name] = _start_peers(name, [table for _, table in results], folder)
            print(f"{name}: done", flush=True)
        for name in names:
            rows = pd.DataFrame(found[name] + _peers(name, peers[name], folder))
            frames.append(summarise(rows).assign(cohort=name))
            print(frames[-1].query("epsilon == 2.0").round(3).to_string(index=False), flush=True)
    table = pd.concat(frames, ignore_index=True)
    table = table[["cohort", *table.columns.drop("cohort")]]
    if not quick:
        path = ROOT / "docs" / "benchmarks" / "cohorts.csv"
        path.write_text(f"# {COMMAND}\n{table.round(4).to_csv(index=False)}", encoding="utf-8")
        draw(table, ROOT / "docs" / "benchmarks" / "cohorts.png")


if __name__ == "__main__":
    main()
