"""The figure of docs/benchmarks.md."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import pandas as pd

from tests.benchmarks.cohorts.cohorts import load_cohort

__all__ = ["draw"]

SHOWN = {
    "no privacy, prototypes": ("no privacy", "#444444", ":"),
    "prototypes, public prior": ("skdpal, public prior", "#0b5d8a", "-"),
    "public model alone": ("public model alone", "#5aa9c7", "--"),
    "prototypes, no prior": ("skdpal, no prior", "#7a4fa3", "-"),
    "diffprivlib logistic regression on embedding": ("diffprivlib logistic regression", "#c77b1e", "-"),
    "usual pipeline": ("usual pipeline", "#b3261e", "-"),
}


def draw(table: pd.DataFrame, path: Path, epsilon: float = 2.0) -> None:
    """Accuracy against the number of labelled patients, cohort by cohort, with standard errors."""
    names = list(dict.fromkeys(table["cohort"]))
    figure, axes = plt.subplots(3, 3, figsize=(11, 9.5), layout="constrained")
    for axis, name in zip(axes.flat, names, strict=False):
        part = table[table["cohort"] == name]
        for method, (label, colour, line) in SHOWN.items():
            cell = part[(part["method"] == method) & (part["epsilon"] == epsilon)]
            axis.errorbar(
                cell["n"],
                cell["accuracy"],
                cell["standard_error"],
                label=label,
                color=colour,
                linestyle=line,
                marker="o",
                ms=3,
            )
        majority = part[part["method"] == "largest class"]
        axis.plot(majority["n"], majority["accuracy"], color="#aaaaaa", lw=1, label="largest class")
        axis.set_title(load_cohort(name).name)
        axis.set_xscale("log", base=2)
        axis.set_xticks(sorted(set(part["n"])), [str(n) for n in sorted(set(part["n"]))])
        axis.set_xlabel("labelled patients")
        axis.set_ylabel("accuracy")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.flat[len(names) :]:
        axis.set_visible(False)
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"Private learners on published cohorts, ε = {epsilon:g}, δ = 1e-5; bars are standard errors")
    figure.savefig(path, dpi=110)
    plt.close(figure)
