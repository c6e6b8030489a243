"""From accuracies of single splits to what is shown."""

from __future__ import annotations

import pandas as pd

__all__ = ["CEILINGS", "LOWEST", "OURS", "gaps", "summarise"]

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
