"""The figures of docs/displays.md: `python -m tests.benchmarks.displays [NAME ...]` (three minutes; audit alone takes two).

All patients here are published; studies run in simulation, so that a figure changes only with the code.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

import skdpal
from skdpal.audit.demo import audit_demo
from skdpal.privacy.randomness import simulation
from skdpal.report import (
    AuditDisplay,
    BudgetDisplay,
    CalibrationDisplay,
    LearningCurveDisplay,
    PlanDisplay,
    UncertaintyDisplay,
)

DOCS = Path(__file__).parents[2] / "docs"
BUDGET = skdpal.PrivacyBudget(epsilon=2.0, delta=1e-5)


@cache
def cohort() -> Any:
    """Sarcoma cell lines, public, and tumours; embedded."""
    data = skdpal.datasets.load_srbct(as_frame=True)
    lines = data.is_cell_line
    encoder = skdpal.PublicEncoder(n_components=16, sample_scaling="standardize")
    encoder.fit(data.data[lines], data.target[lines]).set_output(transform="pandas")
    X, y = encoder.transform(data.data), data.target
    prior = skdpal.DPPrototypeClassifier.prior_from_public(X[lines], y[lines])
    return X[lines], X[~lines], y[~lines], prior, encoder.out_of_sample(data.data[lines], data.target[lines])


@cache
def published() -> Any:
    """The learner of a study whose choices are published, after three rounds."""
    _, X, y, prior, reference = cohort()
    plan = skdpal.plan_study(BUDGET, 8, 20, 3, 3, release="published")
    learner = skdpal.PrivateActiveLearner(
        skdpal.DPPrototypeClassifier(plan.noise_multiplier, prior),
        skdpal.PrivateQuery(release="published", reference=reference, noise_multiplier=plan.selection_noise[0]),
        X[:8],
        y[:8],
        skdpal.PrivacyLedger(BUDGET),
    )
    pool, labels = X[8:28], y[8:28]
    for noise in plan.round_noise:
        learner.estimator.set_params(noise_multiplier=noise)
        chosen, rows = learner.query(pool, plan.labels_per_round)
        learner.teach(rows, labels.iloc[chosen])
        pool, labels = pool.drop(pool.index[chosen]), labels.drop(labels.index[chosen])
    return learner


def budget() -> Any:
    return BudgetDisplay.from_ledger(published().ledger)


def budget_receipts() -> Any:
    return BudgetDisplay.from_ledger(published().ledger, by="receipt", unit="mu_squared")


def learning_curve() -> Any:
    table = pd.read_csv(DOCS / "benchmarks" / "cohorts.csv", comment="#")
    methods = {
        "diffprivlib logistic regression on embedding": "diffprivlib, no prior",
        "prototypes, no prior": "prototypes, no prior",
        "linear, public prior": "linear, public prior",
        "no privacy, logistic regression": "no privacy",
    }
    table = table[(table["cohort"] == "lineage") & table["epsilon"].isin([2.0, np.nan]) & table["method"].isin(methods)]
    table = table.assign(method=table["method"].map(methods)).rename(columns={"n": "labels"})
    return LearningCurveDisplay.from_results(table, highlight="prototypes, no prior")


def uncertainty() -> Any:
    return UncertaintyDisplay.from_estimator(published().estimator, cohort()[0].iloc[::4])


def calibration() -> Any:
    _, X, y, _, _ = cohort()
    return CalibrationDisplay.from_estimator(published().estimator, X, y, public=True, what="each")


def audit() -> Any:
    return AuditDisplay.from_report(audit_demo(quick=True, runs=100, n_jobs=2))


def plans() -> Any:
    plan = skdpal.plan_study(BUDGET, 32, 50, 3, 5, n_components=16, n_classes=4, nonprivate_accuracy=0.95)
    return PlanDisplay.from_plans(plan)


FIGURES: dict[str, Callable[[], Any]] = {
    one.__name__: one for one in (budget, budget_receipts, learning_curve, uncertainty, calibration, audit, plans)
}


def main(names: list[str]) -> None:
    """Draw them."""
    matplotlib.use("Agg")
    warnings.simplefilter("ignore", skdpal.PrivacyLeakWarning)  # published patients, simulated noise
    for name in names or FIGURES:
        published.cache_clear()
        with simulation(seed=0):
            figure = FIGURES[name]().figure_
        path = DOCS / "figures" / f"{name}.png"
        figure.savefig(path, dpi=110, metadata={"Software": None})
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1:])
