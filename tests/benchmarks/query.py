"""Speed of asking: a whole small study, and one query over a million patients.

python -m tests.benchmarks.query             # writes docs/benchmarks/query.csv
python -m tests.benchmarks.query --quick     # a hundred thousand patients, writes nothing

Each ratio is against the bare matrix product and softmax over the same embeddings in the same blocks, timed in turn; the
median of five turns counts. Memory is what is allocated beyond the pool and one number and one name for each patient.
"""

from __future__ import annotations

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import sys  # noqa: E402
import time  # noqa: E402
import tracemalloc  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from skdpal import (  # noqa: E402
    DPPrototypeClassifier,
    PrivacyBudget,
    PrivacyLedger,
    PrivateActiveLearner,
    PrivateQuery,
    plan_study,
)
from skdpal.estimators.linear import DPLinearClassifier  # noqa: E402

ROOT = Path(__file__).parents[2]
COMMAND = "python -m tests.benchmarks.query"
WIDTH, CLASSES, BLOCK, TURNS = 64, 10, 16384, 5


def rows_of(n: int, seed: int) -> np.ndarray:
    """Unit rows."""
    rows = np.random.default_rng(seed).normal(size=(n, WIDTH))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def bare(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Class probabilities of a linear model, block by block."""
    result = np.empty((len(rows), weights.shape[1]))
    for first in range(0, len(rows), BLOCK):
        scores = rows[first : first + BLOCK] @ weights
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        result[first : first + BLOCK] = scores / scores.sum(axis=1, keepdims=True)
    return result


def learner_of(estimator: object, query: PrivateQuery) -> PrivateActiveLearner:
    """A learner that has seen thirty-two patients."""
    start = rows_of(32, 1)
    labels = np.arange(32) % CLASSES
    return PrivateActiveLearner(
        estimator,
        query,
        start,
        labels,
        ledger=PrivacyLedger(PrivacyBudget(4.0)),
        record_ids=[f"s{i}" for i in range(32)],
    )


def million(n: int) -> list[dict[str, object]]:
    """One query over n patients, beside the bare product."""
    pool, weights = rows_of(n, 2), np.random.default_rng(3).normal(size=(WIDTH, CLASSES))
    names = [f"p{number}" for number in range(n)]
    public = rows_of(CLASSES * 10, 4), np.arange(CLASSES * 10) % CLASSES
    models = {
        "linear": DPLinearClassifier(2.0, classes=range(CLASSES)),
        "prototypes": DPPrototypeClassifier(2.0, prior=DPPrototypeClassifier.prior_from_public(*public)),
    }
    found = []
    for name, model in models.items():
        learner = learner_of(model, PrivateQuery("margin", n_pool=n, reference=public[0], scorer="released"))
        times: dict[str, list[float]] = {"bare": [], "probabilities": [], "query": []}
        for _ in range(TURNS):
            started = time.perf_counter()
            bare(pool, weights)
            times["bare"].append(time.perf_counter() - started)
            started = time.perf_counter()
            for first in range(0, n, BLOCK):
                learner.predict_proba(pool[first : first + BLOCK])
            times["probabilities"].append(time.perf_counter() - started)
            started = time.perf_counter()
            learner.query(pool, 1000, record_ids=names)
            times["query"].append(time.perf_counter() - started)
        middle = {what: float(np.median(each)) for what, each in times.items()}
        tracemalloc.start()
        learner.query(pool, 1000, record_ids=names)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        found.append(
            {
                "case": f"query over {n} x {WIDTH}, {name}",
                "seconds": middle["query"],
                "of_bare_product_and_softmax": middle["query"] / middle["bare"],
                "of_own_probabilities": middle["query"] / middle["probabilities"],
                "bytes_per_patient": peak / n,
            }
        )
    return found


def small_study() -> dict[str, object]:
    """Five rounds with 32 and 50 patients, after imports."""
    rows, labels = rows_of(82, 5), np.arange(82) % 4
    public = rows_of(60, 6), np.arange(60) % 4
    prior = DPPrototypeClassifier.prior_from_public(*public)
    plan = plan_study(PrivacyBudget(2.0), n_labelled=32, n_pool=50, labels_per_round=3, rounds=5)
    names, seconds = [f"p{number}" for number in range(82)], []
    for _ in range(TURNS):
        started = time.perf_counter()
        learner = PrivateActiveLearner(
            DPPrototypeClassifier(plan.noise_multiplier, prior=prior),
            PrivateQuery("margin", n_pool=50, reference=public[0]),
            rows[:32],
            labels[:32],
            ledger=PrivacyLedger(plan.budget),
            record_ids=names[:32],
        )
        for _ in range(5):
            chosen, cohort = learner.query(rows[32:], 3, record_ids=names[32:])
            learner.teach(cohort, labels[32:][chosen], record_ids=[names[32 + at] for at in chosen])
        seconds.append(time.perf_counter() - started)
    return {"case": "start and five rounds, 32 + 50 patients", "seconds": float(np.median(seconds))}


def main() -> None:
    """Measure, print, write."""
    quick = "--quick" in sys.argv
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # made-up rows carry a weak signal
        table = pd.DataFrame([small_study(), *million(100_000 if quick else 1_000_000)])
    print(table.round(3).to_string(index=False))
    if not quick:
        path = ROOT / "docs" / "benchmarks" / "query.csv"
        path.write_text(f"# {COMMAND}\n{table.round(3).to_csv(index=False)}", encoding="utf-8")


if __name__ == "__main__":
    main()
