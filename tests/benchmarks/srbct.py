"""The tables of docs/demo.md: every method on the sarcoma tumours, at equal ε and labels.

python -m tests.benchmarks.srbct            # all settings, 200 splits, writes docs/benchmarks/srbct.csv
python -m tests.benchmarks.srbct --quick    # the demo's setting only, 50 splits, writes nothing
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from skdpal import PrivacyBudget, plan_study
from skdpal.learner.benchmark import compare_methods, summarise

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"
COMMAND = "python -m tests.benchmarks.srbct"


def table(epsilon: float, n_components: int, sample_scaling: str | None, n_splits: int) -> pd.DataFrame:
    """Measure one setting."""
    plan = plan_study(
        PrivacyBudget(epsilon, 1e-5), n_labelled=6, n_pool=20, labels_per_round=3, rounds=3, n_evaluation=11
    )
    results = compare_methods(
        "srbct", plan, n_splits=n_splits, n_components=n_components, sample_scaling=sample_scaling
    )
    summary = summarise(results).reset_index()
    setting = {"epsilon": epsilon, "n_components": n_components, "sample_scaling": sample_scaling or "none"}
    return summary.assign(**setting)[[*setting, *summary.columns]]


def main() -> None:
    """Run the settings and print them."""
    quick = "--quick" in sys.argv
    settings = [(2.0, 16, "standardize")]
    if not quick:
        settings += [(2.0, 16, None), (2.0, 8, "standardize"), (2.0, 32, "standardize"), (2.0, 45, "standardize")]
        settings += [(epsilon, 16, "standardize") for epsilon in (0.5, 1.0, 4.0)]
    tables = []
    for setting in settings:
        tables.append(table(*setting, n_splits=50 if quick else 200))
        print(tables[-1].round(3).to_string(index=False), flush=True)
    if not quick:
        DOCS.mkdir(parents=True, exist_ok=True)
        path = DOCS / "srbct.csv"
        path.write_text(f"# {COMMAND}\n{pd.concat(tables).round(4).to_csv(index=False)}", encoding="utf-8")


if __name__ == "__main__":
    main()
