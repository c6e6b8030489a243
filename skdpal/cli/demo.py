"""`skdpal demo`: a study of published tumours, from cell lines to certificate."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import click
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from skdpal.cli.screen import console, plain_errors, plan_of, protocol

__all__ = ["demo"]


@click.command()
@protocol()
@click.option(
    "--utility",
    type=click.Choice(["margin", "entropy", "least_confidence", "random"]),
    default="margin",
    show_default=True,
    help="What makes a patient worth asking about.",
)
@click.option(
    "--acceptance",
    type=click.Choice(["probability", "threshold"]),
    default="probability",
    show_default=True,
    help="How a patient is accepted.",
)
@click.option("--group-seed", default=0, show_default=True, help="Public randomness of the groups.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("skdpal-demo"), show_default=True, help="Folder to make."
)
@click.option("--overwrite", is_flag=True, help="Remove the folder of an earlier demo first.")
@click.option("--benchmark-splits", default=200, show_default=True, help="Random splits of the comparison; 0 for none.")
def demo(
    utility: str,
    acceptance: str,
    group_seed: int,
    output: Path,
    overwrite: bool,
    benchmark_splits: int,
    **options: Any,
) -> None:
    """Run a private study of small round blue cell tumours, from cell lines to certificate.

    Public: 46 cell lines of Khan et al. (2001). Private: their 37 tumours, played as patients of
    one hospital.
    """
    with plain_errors():
        from skdpal.demo import run_benchmark, run_study

        plan = plan_of(**options)
        if overwrite:
            _remove_demo(output)
        console.print(f"[bold]skdpal demo[/]: {plan}\n")
        with _progress() as progress:
            task = progress.add_task("public data", total=plan.rounds + 2, labels="")

            def show(step: Any) -> None:
                labels = f"{step.expected_labels:g} labels expected, ε {step.epsilon_committed:g} committed,"
                progress.update(task, description=step.name, completed=step.number - 1, total=step.total, labels=labels)

            study = run_study(
                output, plan, utility=utility, acceptance=acceptance, group_seed=group_seed, progress=show
            )
            progress.update(task, description="study done", completed=progress.tasks[task].total)
        if benchmark_splits:
            with _progress() as progress:
                task = progress.add_task("benchmark", total=benchmark_splits, labels="random splits, published data,")
                run_benchmark(
                    output / "benchmark.html",
                    plan,
                    benchmark_splits,
                    lambda done: progress.update(task, completed=done),
                )
        _farewell(study, output, bool(benchmark_splits))


def _progress() -> Progress:
    """What is shown while a study runs: public parameters and the clock."""
    columns = (
        TextColumn("[bold]{task.description:<15}"),
        BarColumn(bar_width=14),
        TextColumn("{task.fields[labels]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    return Progress(*columns, console=console)


def _remove_demo(output: Path) -> None:
    """Remove an earlier demo, and nothing that is not one."""
    if (output / "hospital-only" / "study.ledger").exists() and (output / "release").exists():
        shutil.rmtree(output)


def _farewell(study: Any, output: Path, benchmark: bool) -> None:
    lines = [
        f"everything released is ({study.plan.budget.epsilon:g}, {study.plan.budget.delta:g})-differentially private for each patient"
    ]
    if study.evaluation is not None:
        score = study.evaluation
        lines.append(
            f"noisy accuracy {score.accuracy:.2f}, interval {score.low:.2f} to {score.high:.2f} ({score.n_patients} patients)"
        )
    lines.append(f"\nread    {output}/release/report.html")
    if benchmark:
        lines.append(f"        {output}/benchmark.html (not part of the guarantee)")
    lines.append(f"keep in {output}/hospital-only/")
    console.print(Panel("\n".join(lines), title="done", expand=False))
