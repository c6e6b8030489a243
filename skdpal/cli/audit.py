"""`skdpal audit`: the demo study, attacked."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from skdpal.cli.screen import console, plain_errors

__all__ = ["audit"]

_RUNS = {False: 200, True: 100}


@click.command()
@click.option("--quick", is_flag=True, help="Fewer canaries, fewer runs: less than a minute on two cores.")
@click.option(
    "--runs", type=click.IntRange(min=2), help="Studies in each world for each canary.  [default: 200; quick: 100]"
)
@click.option("--jobs", type=int, default=-1, show_default=True, help="Processes; -1 for all cores.")
@click.option("--confidence", default=0.95, show_default=True, help="That no true price is called beaten.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the findings as JSON.")
def audit(quick: bool, runs: int | None, jobs: int, confidence: float, output: Path | None) -> None:
    """Attack the demo study of published tumours, and compare what the attacks prove with what was paid.

    Each canary is a patient whose whole content is there in half of the studies and replaced by nothing in the other
    half. Exit status 0 only if no attack beats its price, an empty slot is told from none (which nobody promises to
    hide), and a study with half of its noise is caught.
    """
    with plain_errors():
        from skdpal.audit.demo import audit_demo

        with _progress() as progress:
            task = progress.add_task("audit", total=None)
            report = audit_demo(
                quick=quick,
                runs=_RUNS[quick] if runs is None else runs,
                confidence=confidence,
                n_jobs=jobs,
                progress=lambda done, total, name: progress.update(task, completed=done, total=total, description=name),
            )
        if output is not None:
            output.write_text(report.to_json(), encoding="utf-8")
    console.print(report.summary(), markup=False, highlight=False, soft_wrap=True)
    if not report.passed:
        sys.exit(1)


def _progress() -> Progress:
    """Names of canaries and the clock; all numbers are public."""
    columns = (
        TextColumn("[bold]{task.description:<30}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    return Progress(*columns, console=console, transient=True)
