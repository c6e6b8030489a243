"""`skdpal certificate`: check what a ledger says in public."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from rich.table import Table

from skdpal.cli.screen import console, plain_errors

__all__ = ["certificate"]

_COLOURS = {"ok": "green", "failed": "bold red", "not told": "yellow"}


@click.group()
def certificate() -> None:
    """Check a certificate, such as release/certificate.json of a study."""


@certificate.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--ledger", help="The ledger: a file, or postgresql+psycopg://HOST/DATABASE. It is only read.")
@click.option("--head", help="A head that was printed when the certificate was issued, and kept elsewhere.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def verify(file: Path, ledger: str | None, head: str | None, as_json: bool) -> None:
    """Compute every figure of FILE again, from its receipts and by other code than that which made it.

    Exit status 0 only if nothing failed. What the certificate alone cannot tell is listed as "not told".
    """
    with plain_errors():
        from skdpal.audit.certificate import verify_certificate

        found = verify_certificate(file, ledger=ledger, head=head)
    if as_json:
        click.echo(json.dumps(found.to_json(), ensure_ascii=False))
    else:
        table = Table("check", "", "found")
        for check in found.checks:
            table.add_row(check.name, f"[{_COLOURS[check.result]}]{check.result}[/]", _escaped(check.found))
        console.print(table)
        console.print(found.in_words, markup=False)
    sys.exit(0 if found.passed else 1)


def _escaped(text: str) -> str:
    """A certificate is a stranger's file: its words are no markup."""
    from rich.markup import escape

    return escape(text)
