"""How many patients a hidden round accepts on average, by the number asked for.

python -m tests.benchmarks.acceptance             # writes docs/benchmarks/acceptance.csv
python -m tests.benchmarks.acceptance --quick     # a few studies of the margin, writes nothing

Simulated studies of three rounds of three patients from a pool of twenty, each with other patients in start and pool. What is
averaged is the expectation of the number, given everything released and everybody accepted before: coins are tossed for
the next round only. 1 is what was asked for.
"""

from __future__ import annotations

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import sys  # noqa: E402
import warnings  # noqa: E402
from dataclasses import dataclass, replace  # noqa: E402
from functools import cache  # noqa: E402
from itertools import product  # noqa: E402
from pathlib import Path  # noqa: E402
from types import SimpleNamespace  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from skdpal import (  # noqa: E402
    DPPrototypeClassifier,
    PrivacyBudget,
    PrivacyLedger,
    PrivateActiveLearner,
    PrivateQuery,
    PublicEncoder,
    datasets,
)
from skdpal.privacy.accounts import POOL  # noqa: E402
from skdpal.privacy.randomness import simulation  # noqa: E402
from skdpal.query import score, strategy  # noqa: E402

ROOT = Path(__file__).parents[2]
COMMAND = "python -m tests.benchmarks.acceptance"
ROUNDS, WANTED, N_START, N_POOL, SIGMA, STUDIES = 3, 3, 6, 20, 2.0, 100
COHORTS = {"srbct": datasets.load_srbct, "leukemia": datasets.load_leukemia}
UTILITIES = ("margin", "entropy", "least_confidence", "information_gain", "rarity", "coherence", "random")


@dataclass(frozen=True)
class Setting:
    """A query with everything else as it is by default."""

    utility: str = "margin"
    tilt: float = 0.5
    hold_start: bool = False
    reference: bool = False
    acceptance: str = "probability"
    scorer: str = "public-first"
    cohort: str = "srbct"


@cache
def cohort_of(name: str) -> SimpleNamespace:
    """Embedded patients, with prior and reference from public data: cell lines, or every second patient in their place."""
    data = COHORTS[name]()
    public = data.get("is_cell_line")
    if public is None:
        public = np.zeros(len(data.target), dtype=bool)
        public[np.argsort(data.target, kind="stable")[::2]] = True
    X, y = data.data[public], data.target[public]
    encoder = PublicEncoder(n_components=16, sample_scaling="standardize").fit(X, y)
    return SimpleNamespace(
        prior=DPPrototypeClassifier.prior_from_public(encoder.transform(X), y),
        reference=encoder.out_of_sample(X, y),
        X=encoder.transform(data.data[~public]),
        y=data.target[~public],
    )


def factors(setting: Setting, studies: int, seed: int = 0, cohort: SimpleNamespace | None = None) -> np.ndarray:
    """Expected number by number wanted, of shape (studies, rounds)."""
    cohort = cohort_of(setting.cohort) if cohort is None else cohort
    splits = np.random.default_rng(seed)
    ids = np.array([f"p{number}" for number in range(len(cohort.y))])
    found, accept_all = np.full((studies, ROUNDS), np.nan), strategy.accept_all

    with simulation(seed):
        for study in range(studies):
            order = splits.permutation(len(ids))
            start, pool = order[:N_START], order[N_START : N_START + N_POOL]
            ledger, chances = PrivacyLedger(PrivacyBudget(2.0)), []

            def spy(X, names, model, utility, rule, coins, ledger=ledger, chances=chances):  # noqa: ANN001, ANN202
                waits = np.array([leaf == POOL for leaf in ledger.accounts_of(names)])
                chances.append(rule.probability(score(utility, model, X))[waits].sum())
                return accept_all(X, names, model, utility, rule, coins)

            strategy.accept_all = spy
            try:
                learner = PrivateActiveLearner(
                    DPPrototypeClassifier(SIGMA, prior=cohort.prior),
                    PrivateQuery(
                        setting.utility,
                        reference=cohort.reference if setting.reference else None,
                        n_pool=N_POOL,
                        tilt=setting.tilt,
                        acceptance=setting.acceptance,
                        scorer=setting.scorer,
                    ),
                    cohort.X[start],
                    cohort.y[start],
                    ledger=ledger,
                    record_ids=ids[start],
                    hold_start=setting.hold_start,
                )
                for _ in range(ROUNDS):
                    chosen, rows = learner.query(cohort.X[pool], WANTED, record_ids=ids[pool])
                    learner.teach(rows, cohort.y[pool[chosen]], record_ids=ids[pool[chosen]])
            finally:
                strategy.accept_all = accept_all
            found[study] = np.array(chances) / WANTED
    return found


def table_of(setting: Setting, studies: int) -> pd.DataFrame:
    """Mean and standard error, round by round."""
    found = factors(setting, studies)
    return pd.DataFrame(
        {
            "cohort": setting.cohort,
            "utility": setting.utility,
            "tilt": setting.tilt,
            "reference": "out of sample" if setting.reference else "none",
            "acceptance": setting.acceptance,
            "hold_start": setting.hold_start,
            "round": range(1, ROUNDS + 1),
            "factor": found.mean(axis=0).round(4),
            "standard_error": (found.std(axis=0, ddof=1) / np.sqrt(studies)).round(4),
            "n_studies": studies,
        }
    )


def main(quick: bool) -> None:
    """Measure, print, and write."""
    warnings.simplefilter("ignore")
    utilities = UTILITIES[:1] if quick else UTILITIES
    settings = [
        Setting(utility, tilt, hold, reference)
        for utility, tilt, hold, reference in product(utilities, (0.5, 1.0), (False, True), (False, True))
    ]
    settings += [Setting(acceptance="threshold", hold_start=hold, reference=True) for hold in (False, True)]
    settings += [replace(setting, cohort="leukemia") for setting in settings if not setting.hold_start]
    table = pd.concat([table_of(setting, 10 if quick else STUDIES) for setting in settings], ignore_index=True)
    print(table.to_string(index=False))
    if not quick:
        path = ROOT / "docs" / "benchmarks" / "acceptance.csv"
        path.write_text(f"# {COMMAND}\n{table.to_csv(index=False)}")


if __name__ == "__main__":
    main("--quick" in sys.argv[1:])
