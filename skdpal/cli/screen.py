"""What commands share: the screen, the options of a plan, plain errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from skdpal.privacy import PrivacyBudget

__all__ = ["console", "plain_errors", "plan_of", "protocol", "show_plan"]

console = Console()


def protocol(
    *, n_labelled: int | None = 6, n_pool: int | None = 20, n_evaluation: int = 11
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The options that describe a study, with defaults for its sizes; None makes one required."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        options = [
            click.option("--epsilon", default=2.0, show_default=True, help="Ceiling for everything released."),
            click.option(
                "--delta", default=1e-5, show_default=True, help="Probability that the ceiling does not hold."
            ),
            _size("--n-labelled", n_labelled, "Labelled patients at the start."),
            _size("--n-pool", n_pool, "Patients without a label."),
            _size("--n-evaluation", n_evaluation, "Patients set apart for one noisy accuracy."),
            click.option(
                "--labels-per-round", default=3, show_default=True, help="Labels wanted each round, on average."
            ),
            click.option("--rounds", default=3, show_default=True, help="Number of rounds."),
            click.option("--n-components", default=16, show_default=True, help="Dimension of the public embedding."),
            click.option(
                "--filter",
                type=click.Choice(["gdp", "planned"]),
                default="gdp",
                show_default=True,
                help="Kind of ledger; planned: everything is frozen, and rounds need less noise.",
            ),
            click.option("--hold-start", is_flag=True, help="Release the start together with the first round."),
        ]
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def plan_of(epsilon: float, delta: float, **options: Any) -> Any:
    """The plan that the options describe."""
    from skdpal.learner import plan_study

    return plan_study(PrivacyBudget(epsilon, delta), **options)


def show_plan(plan: Any) -> None:
    """Print a plan, release by release."""
    table = Table(
        "release", "account", "patients expected", "noise multiplier", "ε of its patients", "ε if everybody paid"
    )
    for row in plan.to_frame().itertuples(index=False):
        table.add_row(row[0], row[1], f"{row[2]:g}", f"{row[3]:.3f}", f"{row[4]:.2f}", f"{row[5]:.2f}")
    console.print(table)
    console.print(str(plan), markup=False)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Say what is wrong, not where in the code."""
    try:
        yield
    except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
        raise click.ClickException(str(error)) from error


def _size(name: str, default: int | None, words: str) -> Callable[..., Any]:
    if default is None:
        return click.option(name, type=int, required=True, help=words)
    return click.option(name, default=default, show_default=True, help=words)
