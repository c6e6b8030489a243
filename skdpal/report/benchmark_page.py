"""The page of comparisons, apart from everything that a guarantee covers."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from skdpal.learner.benchmark import summarise
from skdpal.learner.plan import StudyPlan
from skdpal.report import figures
from skdpal.report.page import picture, render, write_page

__all__ = ["write_benchmark_page"]

_OURS = "hidden study, margin"


def write_benchmark_page(path: str | os.PathLike[str], results: pd.DataFrame, plan: StudyPlan, dataset: str) -> Path:
    """Write the comparison of `compare_methods` as a page stamped "not part of the guarantee".

    Parameters
    ----------
    path : path
        Of the page.
    results : DataFrame
        From `skdpal.learner.benchmark.compare_methods`.
    plan : StudyPlan
        The protocol that was compared.
    dataset : str
        Name of the published data set.

    Returns
    -------
    Path
        Of the page: one file that needs no other.

    Examples
    --------
    >>> from skdpal.report import write_benchmark_page
    >>> write_benchmark_page("benchmark.html", results, plan, "sarcomas of 2001")  # doctest: +SKIP
    """
    summary = summarise(results)
    words = ", ".join(f"{name} {row['accuracy']:.3f}" for name, row in summary.iterrows())
    page = render(
        "benchmark.html.j2",
        title="Benchmark on published data",
        summary=summary,
        plan=plan,
        dataset=dataset,
        ours=_OURS,
        drawing=picture(
            lambda narrow: figures.comparison_figure(summary, _OURS, narrow), f"Accuracy of each method: {words}."
        ),
    )
    return write_page(Path(path), page)
