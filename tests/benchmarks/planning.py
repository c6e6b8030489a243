"""What a hospital can measure before it starts: the public model on public rows that it has not seen.

SKDPAL_DATA=FOLDER python -m tests.benchmarks.planning     # writes docs/benchmarks/public_model.csv; minutes on one core
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold

from skdpal import DPPrototypeClassifier, PublicEncoder
from skdpal.estimators.posterior import Release
from skdpal.estimators.regime import recommended_components
from tests.benchmarks.cohorts.cohorts import COHORTS, Cohort, load_cohort

PATH = Path(__file__).parents[2] / "docs" / "benchmarks" / "public_model.csv"
COMMAND = "SKDPAL_DATA=FOLDER python -m tests.benchmarks.planning"
REPEATS, FOLDS = 20, 5


def out_of_sample(cohort: Cohort, X: np.ndarray, y: np.ndarray, seed: int) -> float:
    """Accuracy on folds that encoder and prior have not seen."""
    folds = min(FOLDS, int(np.unique(y, return_counts=True)[1].min()))
    right = []
    for known, unseen in StratifiedKFold(folds, shuffle=True, random_state=seed).split(X, y):
        n_components = min(recommended_components(32, 2.0, n_public=len(known)), X.shape[1])
        encoder = PublicEncoder(n_components=n_components, sample_scaling=cohort.sample_scaling).fit(X[known], y[known])
        prior = DPPrototypeClassifier.prior_from_public(encoder.transform(X[known]), y[known])
        nothing = Release(np.zeros_like(prior.means), np.zeros(len(prior.means)), 1.0, 0.0)
        model = DPPrototypeClassifier(2.0, prior).restore([nothing])
        right.extend(model.predict(encoder.transform(X[unseen])) == y[unseen])
    return float(np.mean(right))


def main() -> None:
    """A row for each cohort and random folding; where patients are declared public, they are declared anew."""
    rows = []
    for name in COHORTS:
        cohort = load_cohort(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # small folds
            splits = [cohort.split(seed) for seed in range(REPEATS)]
            found = [out_of_sample(cohort, split.X_public, split.y_public, seed) for seed, split in enumerate(splits)]
        public = {
            "cohort": name,
            "public": "other" if cohort.is_public is not None else "same",
            "n_public": len(splits[0].y_public),
            "n_classes": len(splits[0].classes),
        }
        rows.extend({**public, "repeat": seed, "accuracy": accuracy} for seed, accuracy in enumerate(found))
        print(public, round(float(np.mean(found)), 3), flush=True)
    PATH.write_text(f"# {COMMAND}\n{pd.DataFrame(rows).round(4).to_csv(index=False)}", encoding="utf-8")


if __name__ == "__main__":
    main()
