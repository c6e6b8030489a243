"""`skdpal ledger`: look at a ledger."""

from __future__ import annotations

import click
from rich.table import Table

from skdpal.cli.screen import console, plain_errors
from skdpal.privacy import PrivacyLedger

__all__ = ["ledger"]


@click.group()
def ledger() -> None:
    """Look at a ledger: a file, or postgresql+psycopg://HOST/DATABASE."""


@ledger.command()
@click.argument("file")
def show(file: str) -> None:
    """List the receipts of FILE and its ceiling."""
    with plain_errors():
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
    with plain_errors():
        console.print(f"intact; head {PrivacyLedger.open(file).verify(head)}", soft_wrap=True)


@ledger.command()
@click.argument("file")
def head(file: str) -> None:
    """Print the head of FILE, to be kept where FILE is not: on paper, in a mail to the data-protection officer."""
    with plain_errors():
        click.echo(PrivacyLedger.open(file).verify())
