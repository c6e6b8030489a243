"""The study that `skdpal demo` runs, on real tumours."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from skdpal.datasets import load_srbct
from skdpal.estimators import DPPrototypeClassifier, PublicEncoder
from skdpal.learner import ActiveLearningStudy, StudyPlan
from skdpal.learner.benchmark import compare_methods
from skdpal.learner.study import Step
from skdpal.report import write_benchmark_page, write_report

__all__ = ["run_benchmark", "run_study"]

_SCALING = "standardize"  # cell lines and tumours differ in scale; a sample's own scale is free to remove


def run_study(
    folder: str | os.PathLike[str],
    plan: StudyPlan,
    *,
    utility: str = "margin",
    acceptance: str = "probability",
    group_seed: int = 0,
    progress: Callable[[Step], None] | None = None,
) -> ActiveLearningStudy:
    """Run the study and write its report; the pathologist's answers are those of the paper."""
    data = load_srbct(as_frame=True)
    public = data.is_cell_line
    X_public, y_public, patients, truth = (
        data.data[public],
        data.target[public],
        data.data[~public],
        data.target[~public],
    )
    encoder = PublicEncoder(n_components=plan.n_components, sample_scaling=_SCALING).fit(X_public, y_public)
    study = ActiveLearningStudy(
        folder,
        plan,
        encoder,
        DPPrototypeClassifier.prior_from_public(encoder.transform(X_public), y_public),
        reference=encoder.out_of_sample(X_public, y_public),
        utility=utility,
        acceptance=acceptance,
        group_seed=group_seed,
    )

    def pathologist(worksheet: pd.DataFrame) -> pd.Series:
        return truth.loc[worksheet["patient"]]

    study.run(patients, pathologist, progress=progress)
    write_report(study.release_folder, X_public, title="Small round blue cell tumours: study report")
    return study


def run_benchmark(
    path: str | os.PathLike[str], plan: StudyPlan, n_splits: int, progress: Callable[[int], None] | None = None
) -> Path:
    """Compare methods on the same data, published and in simulation, and write the page."""
    results = compare_methods(
        "srbct", plan, n_splits=n_splits, n_components=plan.n_components, sample_scaling=_SCALING, progress=progress
    )
    return write_benchmark_page(path, results, plan, "small round blue cell tumours, Khan et al. 2001")
