"""What an encoder takes to fit, and what its embedding is worth to patients.

    python -m tests.benchmarks.encoder            # both, writes docs/benchmarks/encoder.csv
    python -m tests.benchmarks.encoder --quick    # 10 splits and one seed, writes nothing

Cost: a public matrix of 1,000 rows and 20,000 genes; each setting in a process of its own, with two
threads, the fastest of three runs. Memory is the largest resident set while fitting, the input
included, in units of the input.

Worth: cell lines are public, 32 of the 37 tumours are labelled patients, the other 5 are tested, in 100 splits that
are the same for every encoder. Simulation mode.
"""

from __future__ import annotations

import os

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import json  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from joblib import Parallel, delayed  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.decomposition import PCA  # noqa: E402

from skdpal import DPPrototypeClassifier, PrivacyBudget, PublicEncoder  # noqa: E402
from skdpal.datasets import load_srbct  # noqa: E402
from skdpal.estimators.public import DPShift  # noqa: E402
from skdpal.privacy import calibrate, events  # noqa: E402
from skdpal.privacy.randomness import simulation  # noqa: E402

OUT = Path(__file__).parents[2] / "docs" / "benchmarks" / "encoder.csv"
COMMAND = "python -m tests.benchmarks.encoder"
ROWS, GENES, COMPONENTS = 1_000, 20_000, 8
BUDGET, N_LABELLED = PrivacyBudget(2.0, 1e-5), 32
SHIFT_NOISE = 5.0
DIMENSIONS, SCALINGS, SEEDS = (8, 16, 32), (None, "standardize", "rank"), (0, 1, 2)


# -- cost ------------------------------------------------------------------------------------


def memory(entry: str) -> int:
    """Bytes now (VmRSS) or at most so far (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(entry))


def measure_cost(dtype: str, scaling: str | None) -> dict[str, float]:
    """In a process of its own: fit once, out of sample once."""
    rng = np.random.default_rng(0)
    encoder = PublicEncoder(n_components=COMPONENTS, sample_scaling=scaling)
    encoder.fit(rng.normal(size=(40, 60)), np.arange(40) % 4)  # imports and buffers
    before = memory("VmRSS")
    X, y = np.empty((ROWS, GENES), dtype=dtype), np.arange(ROWS) % 4
    for row in X:
        row[:] = rng.normal(size=GENES)
    fresh = PublicEncoder(n_components=COMPONENTS, sample_scaling=scaling)
    encoder = clone(fresh).fit(X, y)
    peak = (memory("VmHWM") - before) / X.nbytes
    fit = best(lambda: clone(fresh).fit(X, y))
    reference = best(lambda: PCA(COMPONENTS, svd_solver="randomized", random_state=0).fit(X))
    return {
        "fit, seconds": fit,
        "peak memory / input": peak,
        "out of sample, 100 rows, seconds": best(lambda: encoder.out_of_sample(X[:100], y[:100])),
        "fit / sklearn's randomized PCA": fit / reference,
    }


def best(action, repeats: int = 3) -> float:
    """Seconds of the fastest run: others may be busy on this machine."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def costs() -> pd.DataFrame:
    """One process a setting, one after the other."""
    results = []
    for dtype in ("float64", "float32"):
        for scaling in SCALINGS:
            code = f"import json; from tests.benchmarks.encoder import measure_cost as m; print(json.dumps(m({dtype!r}, {scaling!r})))"
            threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
            done = subprocess.run(
                [sys.executable, "-c", code], env={**os.environ, **threads}, capture_output=True, text=True, check=True
            )
            setting = {"encoder": f"whitened-pca, {dtype}", "n_components": COMPONENTS, "sample_scaling": scaling}
            measured = json.loads(done.stdout.splitlines()[-1])
            results += [{**setting, "measure": name, "value": value} for name, value in measured.items()]
    return pd.DataFrame(results)


# -- worth -----------------------------------------------------------------------------------


def measure_worth(setting: dict, n_splits: int) -> pd.DataFrame:
    """Accuracy on the tumours left out, split by split, of everything that one encoder can be used for."""
    data = load_srbct()
    lines, tumours = data.is_cell_line, ~data.is_cell_line
    encoder = PublicEncoder(**setting).fit(data.data[lines], data.target[lines])
    public, rows, labels = (
        encoder.transform(data.data[lines]),
        encoder.transform(data.data[tumours]),
        data.target[tumours],
    )
    prior = DPPrototypeClassifier.prior_from_public(public, data.target[lines])
    noise = calibrate(events.gaussian, BUDGET)
    rest = (noise**-2 - SHIFT_NOISE**-2) ** -0.5  # what a shift leaves for training
    mix = dict.fromkeys(prior.classes, 1.0)  # nobody knows the mix of diagnoses beforehand
    results = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for split in range(n_splits):
            order = np.random.default_rng(split).permutation(len(rows))
            train, test = order[:N_LABELLED], order[N_LABELLED:]

            def score(model, some, test=test):
                return float((model.predict(some[test]) == labels[test]).mean())

            with simulation(seed=split):
                alone = DPPrototypeClassifier(noise, prior).partial_fit(rows[:0], labels[:0], expected_records=0)
                private = DPPrototypeClassifier(noise, prior).fit(rows[train], labels[train])
                shift = DPShift(SHIFT_NOISE, DPShift.mean_of_public(public, data.target[lines], mix))
                moved = shift.fit(rows, expected_records=len(rows)).transform(rows)
                shifted = DPPrototypeClassifier(rest, prior).fit(moved[train], labels[train])
                open_ = DPPrototypeClassifier(1e-6, prior).fit(rows[train], labels[train])
            results.append([score(alone, rows), score(private, rows), score(shifted, moved), score(open_, rows)])
    names = ["public model alone", "DP, ε=2", "DP with DPShift, ε=2 in all", "not private"]
    return pd.DataFrame(results, columns=names)


def worths(n_splits: int, seeds: tuple[int, ...]) -> pd.DataFrame:
    """Every encoder; a neural one is averaged over seeds before its standard error is taken over splits."""
    settings = [
        {"method": method, "n_components": d, "sample_scaling": scaling}
        for method in ("whitened-pca", "neural")
        for d in DIMENSIONS
        for scaling in SCALINGS
    ]
    tasks = [
        {**setting, "random_state": seed}
        for setting in settings
        for seed in (seeds if setting["method"] == "neural" else (None,))
    ]
    tables = Parallel(n_jobs=2)(delayed(measure_worth)(task, n_splits) for task in tasks)
    results = []
    for setting in settings:
        same = [table for task, table in zip(tasks, tables, strict=True) if task | setting == task]
        mean = sum(same) / len(same)
        public = {"encoder": setting["method"], **{name: setting[name] for name in ("n_components", "sample_scaling")}}
        results += [
            {**public, "measure": name, "value": mean[name].mean(), "standard_error": mean[name].sem()} for name in mean
        ]
    return pd.DataFrame(results)


def main() -> None:
    """Measure, print, write."""
    quick = "--quick" in sys.argv
    cost, worth = costs(), worths(10 if quick else 100, SEEDS[:1] if quick else SEEDS)
    table = pd.concat([cost, worth], ignore_index=True).fillna({"sample_scaling": "none"})
    for _, part in table.groupby(table["standard_error"].isna(), sort=False):
        shape = part.pivot_table(index=["encoder", "n_components", "sample_scaling"], columns="measure", values="value")
        print(shape.round(3).to_string())
    if not quick:
        OUT.write_text(f"# {COMMAND}\n{table.round(4).to_csv(index=False)}", encoding="utf-8")


if __name__ == "__main__":
    main()
