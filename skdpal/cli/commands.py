"""`skdpal`: the group of all commands."""

from __future__ import annotations

from typing import Any

import click

from skdpal.cli.audit import audit
from skdpal.cli.certificate import certificate
from skdpal.cli.demo import demo
from skdpal.cli.ledger import ledger
from skdpal.cli.screen import plain_errors, plan_of, protocol, show_plan
from skdpal.cli.study import study

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="skdpal")
def main() -> None:
    """Differentially private active learning for precision oncology."""


@main.command()
@protocol()
def plan(**options: Any) -> None:
    """Show what a study would cost, before anything is spent."""
    with plain_errors():
        planned = plan_of(**options)
    show_plan(planned)


main.add_command(audit)
main.add_command(demo)
main.add_command(study)
main.add_command(ledger)
main.add_command(certificate)
