"""The tables of docs/active_learning.md: does choosing patients pay?

SKDPAL_DATA=FOLDER python -m tests.benchmarks.active             # writes docs/benchmarks/active.csv and the figure
SKDPAL_DATA=FOLDER python -m tests.benchmarks.active --quick     # 5 splits of three cohorts, writes nothing
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from skdpal.privacy import PrivacyLeakWarning
from skdpal.privacy.randomness import simulation
from tests.benchmarks.active.figure import draw
from tests.benchmarks.active.methods import CONTROL, CONTROLLED, MAIN, OTHERS, Method, one_shot
from tests.benchmarks.active.protocol import PROTOCOLS, Case, amplified_noise, case_of
from tests.benchmarks.active.tables import means, summarise

DOCS = Path(__file__).parents[3] / "docs" / "benchmarks"
COMMAND = "SKDPAL_DATA=FOLDER python -m tests.benchmarks.active"
EPSILONS = (1.0, 2.0, 4.0)
MIDDLE = 2.0
FIRST = 1000  # methods were chosen on splits 0 to 99, so none of those is used here
N_MAIN, N_SIDE, N_OTHERS = 600, 200, 100  # splits: of the main methods at the middle ε, at the others, of other methods


def run(name: str, number: int, noises: dict[Any, float]) -> list[dict[str, Any]]:
    """All methods on one split of a cohort."""
    amplified_noise.known.update(noises)
    case, rows = case_of(name, FIRST + number), []
    for epsilon in EPSILONS:
        if epsilon != MIDDLE and number >= N_SIDE:
            continue
        methods = {**MAIN, **OTHERS} if epsilon == MIDDLE and number < N_OTHERS else MAIN
        for method, fit in methods.items():
            row = measure(case, FIRST + number, epsilon, fit)
            rows.append({"cohort": name, "split": number, "epsilon": epsilon, "method": method, **row})
            if method in CONTROLLED:
                row = measure(case, FIRST + number, epsilon, _control(row["labels"]))
                rows.append({"cohort": name, "split": number, "epsilon": epsilon, "method": CONTROL + method, **row})
    return rows


def _control(labels: int) -> Method:
    return lambda case, epsilon: one_shot(case, epsilon, labels)


def measure(case: Case, seed: int, epsilon: float, fit: Method) -> dict[str, Any]:
    """Accuracy and log loss on those who judge; the noise of the first release is the same for all methods of a split."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyLeakWarning)
        with simulation(seed):
            model, labels = fit(case, epsilon)
    probabilities, truth = model.predict_proba(case.X[case.judges]), case.y[case.judges]
    right = np.asarray(model.classes_)[probabilities.argmax(axis=1)] == truth
    own = probabilities[np.arange(len(truth)), np.searchsorted(model.classes_, truth)]
    return {"accuracy": right.mean(), "log_loss": -np.log(np.maximum(own, 1e-6)).mean(), "labels": labels}


def main() -> None:
    """Run cohort by cohort, print, write."""
    quick = "--quick" in sys.argv
    names, n_splits = (("srbct", "acc", "fusion"), 5) if quick else (tuple(PROTOCOLS), N_MAIN)
    noises = amplified_noise.of_all(MIDDLE)
    frames = []
    for name in names:
        found = Parallel(n_jobs=int(os.environ.get("SKDPAL_JOBS", "2")))(
            delayed(run)(name, number, noises) for number in range(n_splits)
        )
        frames.append(pd.DataFrame([row for part in found for row in part]))
        if "SKDPAL_ROWS" in os.environ:  # every split, for whoever wants to look closer
            pd.concat(frames).to_csv(os.environ["SKDPAL_ROWS"], index=False)
        print(summarise(frames[-1]).query("epsilon == @MIDDLE").round(3).to_string(index=False), flush=True)
    rows = pd.concat(frames, ignore_index=True)
    table = pd.concat([summarise(rows), means(rows)], ignore_index=True)
    print(table.query("cohort == 'mean'").round(4).to_string(index=False))
    if not quick:
        (DOCS / "active.csv").write_text(f"# {COMMAND}\n{table.round(5).to_csv(index=False)}", encoding="utf-8")
        draw(table, DOCS / "active.png", MIDDLE)


if __name__ == "__main__":
    main()
