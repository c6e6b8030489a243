"""From accuracies of single splits to what is shown."""

from __future__ import annotations

import pandas as pd

__all__ = ["CEILINGS", "LOWEST", "OURS", "gaps", "markdown", "summarise"]

OURS = "prototypes, public prior"
LOWEST = "usual pipeline"
CEILINGS = ("no privacy, prototypes", "no privacy, logistic regression")


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy, its standard error and the number of splits, by n, ε and method."""
    groups = rows.groupby(["n", "epsilon", "method"], sort=False, dropna=False)["accuracy"]
    columns = {"accuracy": groups.mean(), "standard_error": groups.sem(), "n_splits": groups.size()}
    return pd.DataFrame(columns).reset_index()


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """How much of the way from the usual pipeline to no privacy each method goes, cell by cell.

    Returns
    -------
    DataFrame
        A row for each cohort, n and ε, with "lowest", "ceiling", "public", "no_prior", "ours", "gap_closed" and "loss": what
        ours lacks to the better of the public model and no prior.
    """
    cells = table.dropna(subset="epsilon").pivot_table(
        index=["cohort", "n", "epsilon"], columns="method", values="accuracy", sort=False
    )
    result = pd.DataFrame(
        {
            "lowest": cells[LOWEST],
            "public": cells["public model alone"],
            "no_prior": cells["prototypes, no prior"],
            "ours": cells[OURS],
            "ceiling": cells[list(CEILINGS)].max(axis=1),
        }
    )
    result["gap_closed"] = (result["ours"] - result["lowest"]) / (result["ceiling"] - result["lowest"])
    result["loss"] = result[["public", "no_prior"]].max(axis=1) - result["ours"]
    return result.reset_index()


def markdown(table: pd.DataFrame, epsilon: float = 2.0) -> str:
    """The table of docs/benchmarks.md: a row for each cohort and n, accuracy with its standard error."""
    part = table[table["epsilon"] == epsilon]
    names = {
        "usual": LOWEST,
        "diffprivlib": "diffprivlib logistic regression on embedding",
        "no prior": "prototypes, no prior",
        "public alone": "public model alone",
        "**skdpal**": OURS,
        "no privacy": None,
    }
    closed = gaps(table).set_index(["cohort", "n", "epsilon"])["gap_closed"]
    lines = [f"| cohort | n | {' | '.join(names)} | gap closed |", "|---" * (len(names) + 3) + "|"]
    for (cohort, n), cell in part.groupby(["cohort", "n"], sort=False):
        values = cell.set_index("method")
        best = values.loc[list(CEILINGS), "accuracy"].idxmax()
        shown = [_cell(values, method or best) for method in names.values()]
        lines.append(f"| {cohort} | {n} | {' | '.join(shown)} | {closed[cohort, n, epsilon]:.2f} |")
    return "\n".join(lines)


def _cell(values: pd.DataFrame, method: str) -> str:
    if method not in values.index:
        return ""
    return f"{values.loc[method, 'accuracy']:.3f} ({values.loc[method, 'standard_error']:.3f})"
