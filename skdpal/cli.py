"""The same verbs from a shell."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from skdpal.privacy import PrivacyBudget, PrivacyLedger

__all__ = ["main"]

console = Console()


def _protocol(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that describe a study."""
    options = [
        click.option("--epsilon", default=2.0, show_default=True, help="Ceiling for everything released."),
        click.option("--delta", default=1e-5, show_default=True, help="Probability that the ceiling does not hold."),
        click.option("--n-labelled", default=6, show_default=True, help="Labelled patients at the start."),
        click.option("--n-pool", default=20, show_default=True, help="Patients without a label."),
        click.option(
            "--n-evaluation", default=11, show_default=True, help="Patients set apart for one noisy accuracy."
        ),
        click.option("--labels-per-round", default=3, show_default=True, help="Labels wanted each round, on average."),
        click.option("--rounds", default=3, show_default=True, help="Number of rounds."),
        click.option("--n-components", default=16, show_default=True, help="Dimension of the public embedding."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def _plan(epsilon: float, delta: float, **protocol: int) -> Any:
    from skdpal.learner import plan_study

    return plan_study(PrivacyBudget(epsilon, delta), **protocol)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Say what is wrong, not where in the code."""
    try:
        yield
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="skdpal")
def main() -> None:
    """Differentially private active learning for precision oncology."""


@main.command()
@_protocol
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
    **protocol: Any,
) -> None:
    """Run a private study of small round blue cell tumours, from cell lines to certificate.

    Public: 46 cell lines of Khan et al. (2001). Private: their 37 tumours, played as patients of
    one hospital.
    """
    with _plain_errors():
        from skdpal.demo import run_benchmark, run_study

        plan = _plan(**protocol)
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


@main.command()
@_protocol
def plan(**protocol: Any) -> None:
    """Show what a study would cost, before anything is spent."""
    with _plain_errors():
        planned = _plan(**protocol)
    table = Table(
        "release", "account", "patients expected", "noise multiplier", "ε of its patients", "ε if everybody paid"
    )
    for row in planned.to_frame().itertuples(index=False):
        table.add_row(row[0], row[1], f"{row[2]:g}", f"{row[3]:.3f}", f"{row[4]:.2f}", f"{row[5]:.2f}")
    console.print(table)
    console.print(str(planned))


@main.group()
def ledger() -> None:
    """Look at a ledger: a file, or postgresql+psycopg://HOST/DATABASE."""


@ledger.command()
@click.argument("file")
def show(file: str) -> None:
    """List the receipts of FILE and its ceiling."""
    with _plain_errors():
        opened = PrivacyLedger.open(file)
        table = Table("row", "release", "account", "ε alone", "day")
        for receipt in opened.receipts():
            table.add_row(str(receipt.number), receipt.label, receipt.account, f"{receipt.epsilon:.3f}", receipt.date)
        console.print(table)
        budget = opened.budget
        console.print(f"ceiling ε={budget.epsilon:g} at δ={budget.delta:g}; spent {opened.spent():.3f} (odometer)")


@ledger.command()
@click.argument("file")
@click.option("--head", help="A head that was printed earlier and kept elsewhere.")
def verify(file: str, head: str | None) -> None:
    """Check that nobody changed FILE, or replaced it by one that never had the head; print its head now."""
    with _plain_errors():
        console.print(f"intact; head {PrivacyLedger.open(file).verify(head)}", soft_wrap=True)


@ledger.command()
@click.argument("file")
def head(file: str) -> None:
    """Print the head of FILE, to be kept where FILE is not: on paper, in a mail to the data-protection officer."""
    with _plain_errors():
        click.echo(PrivacyLedger.open(file).verify())


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
