"""Whom to ask again: the Wilms study's local pathologist, and the central one for a fifth of the patients (docs/guide/experts.md).

SKDPAL_DATA=FOLDER python -m tests.benchmarks.second_opinion           # 100 splits; writes docs/benchmarks/second_opinion.csv
SKDPAL_DATA=FOLDER python -m tests.benchmarks.second_opinion --quick   # 5 splits of two cohorts, writes nothing

True labels of the cohorts are read by the local pathologist, who errs as in the study; the central reading is the truth, as it was
there. What is judged: labels of the labelled, and true labels of other patients by one release at equal ε, each with the
transition matrix of the way its labels came about. Everybody reads the same votes, and the release has the same seed.
"""

from __future__ import annotations

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import sys  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from joblib import Parallel, delayed  # noqa: E402

from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger, PublicEncoder  # noqa: E402
from skdpal.cohort.experts import Panel, Reader, SecondOpinion  # noqa: E402
from skdpal.datasets import load_wilms_readers  # noqa: E402
from skdpal.estimators import Transition  # noqa: E402
from skdpal.privacy import PrivacyLeakWarning  # noqa: E402
from skdpal.privacy.randomness import simulation  # noqa: E402
from tests.benchmarks.cohorts.cohorts import Cohort, load_cohort  # noqa: E402
from tests.benchmarks.cohorts.methods import noise_of  # noqa: E402
from tests.benchmarks.readers import given, sizes_of, wilms  # noqa: E402

ROOT = Path(__file__).parents[2]
COMMAND = "SKDPAL_DATA=FOLDER python -m tests.benchmarks.second_opinion"
EPSILONS = (1.0, 2.0, 4.0)
COHORTS = ("wilms", "golub", "lineage", "fusion", "bladder", "metabric")  # those of two classes are used
SHARE = 0.2
N_COMPONENTS = 12
KEYS = ["cohort", "n", "epsilon", "second reads"]
VALUES = ["asked", "label_accuracy", "label_balanced", "accuracy", "balanced"]


def panel_of(y_public: np.ndarray) -> Panel:
    """Local and central pathologist; of two classes the rarer public one stands for unfavorable histology."""
    labels, counts = np.unique(y_public, return_counts=True)
    names = labels[[counts.argmax(), 1 - counts.argmax()]].tolist()
    local = Reader.from_counts("local", load_wilms_readers().to_numpy(), names)
    central = Reader("central", np.eye(2), names)
    fractions = counts / counts.sum()
    return Panel([local, central], dict(zip(labels.tolist(), fractions, strict=True)))


def balanced(found: np.ndarray, y: np.ndarray) -> float:
    return float(np.mean([(found[y == label] == label).mean() for label in np.unique(y)]))


def asked_by(
    panel: Panel, votes: pd.DataFrame, rows: np.ndarray, public: DPPrototypeClassifier, reference: np.ndarray, seed: int
) -> dict[str, tuple[np.ndarray, Transition]]:
    """Positions for the central pathologist by each policy, and the law of the labels that come of it."""
    n, wanted = len(votes), round(SHARE * len(votes))
    coins, at_random = np.random.default_rng([seed, 1]), panel.transition({"central": SHARE})
    with simulation(seed):
        ledger = PrivacyLedger(PrivacyBudget(2.0))
        options = {"n_instances": wanted, "n_patients": n, "ledger": ledger}
        by_votes = SecondOpinion(panel, "central", **options)
        by_model = SecondOpinion(panel, "central", **options, reference=reference)
        disagreeing = by_model.choose(votes, rows, public)
        return {
            "none": (np.arange(0), panel.transition({"central": 0.0})),
            "at random": (np.flatnonzero(coins.random(n) < SHARE), at_random),
            "by votes": (by_votes.choose(votes), by_votes.transition()),
            "by votes and public model": (disagreeing, by_model.transition(public)),
            "everybody": (np.arange(n), panel.transition()),
        }


def run(name: str, seed: int) -> list[dict[str, Any]]:
    """All policies on one split."""
    cohort: Cohort = wilms() if name == "wilms" else load_cohort(name)
    split, found = cohort.split(seed), []
    if len(split.classes) != 2:
        return []
    encoder = PublicEncoder(
        n_components=min(N_COMPONENTS, len(split.X_public) - 1, split.X_public.shape[1]),
        sample_scaling=cohort.sample_scaling,
    ).fit(split.X_public, split.y_public)
    rows, reference = encoder.transform(split.X), encoder.out_of_sample(split.X_public, split.y_public)
    prior = DPPrototypeClassifier.prior_from_public(encoder.transform(split.X_public), split.y_public)
    panel = panel_of(split.y_public)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyLeakWarning)
        for n in sizes_of(cohort):
            y, rest = split.y[:n], split.y[n:]
            local = given(panel.readers["local"], y, seed)
            votes = pd.DataFrame({"local": local}, index=[f"p{at}" for at in range(n)])
            public = DPPrototypeClassifier(1.0, prior).public_model()
            for policy, (chosen, transition) in asked_by(panel, votes, rows[:n], public, reference, seed).items():
                both = votes.assign(central=None)
                both.iloc[chosen, 1] = y[chosen]
                labels = panel.labels(both).to_numpy(dtype=y.dtype)
                for epsilon in EPSILONS:
                    model = DPPrototypeClassifier(noise_of(epsilon), prior, transition=transition)
                    with simulation(seed):
                        predicted = model.fit(rows[:n], labels).predict(rows[n:])
                    found.append(
                        {"cohort": cohort.name, "split": seed, "n": n, "epsilon": epsilon, "second reads": policy}
                        | {"asked": len(chosen) / n, "label_accuracy": (labels == y).mean()}
                        | {"label_balanced": balanced(labels, y)}
                        | {"accuracy": (predicted == rest).mean(), "balanced": balanced(predicted, rest)}
                    )
    return found


def summarise(found: pd.DataFrame) -> pd.DataFrame:
    """Means over splits, standard errors, and the gain over second reads at random, split by split."""
    wide = found.pivot_table(
        index=["cohort", "n", "epsilon", "split"], columns="second reads", values=VALUES, sort=False
    )
    rows = []
    for key, part in found.groupby(KEYS, sort=False):
        row = dict(zip(KEYS, key, strict=True)) | {"n_splits": len(part)}
        here = wide.loc[key[:3]]
        for name in VALUES:
            row |= {name: part[name].mean(), f"{name}_se": part[name].sem()}
            if name != "asked":
                gain = here[name][key[3]] - here[name]["at random"]
                row |= {f"{name}_gain": gain.mean(), f"{name}_gain_se": gain.sem()}
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Run cohort by cohort, print, write."""
    quick = "--quick" in sys.argv
    names, n_splits = (COHORTS[:2], 5) if quick else (COHORTS, 100)
    found = []
    for name in names:
        parts = Parallel(n_jobs=1)(delayed(run)(name, seed) for seed in range(n_splits))
        found += [row for part in parts for row in part]
        print(f"{name}: done", flush=True)
    table = summarise(pd.DataFrame(found))
    shown = [
        "cohort",
        "n",
        "epsilon",
        "second reads",
        "asked",
        "label_accuracy",
        "label_balanced",
        "accuracy",
        "balanced",
    ]
    print(table[shown].round(3).to_string(index=False))
    if not quick:
        path = ROOT / "docs" / "benchmarks" / "second_opinion.csv"
        path.write_text(f"# {COMMAND}\n{table.round(4).to_csv(index=False)}", encoding="utf-8")


if __name__ == "__main__":
    main()
