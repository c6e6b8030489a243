"""The same verbs from a shell."""

from skdpal.cli.commands import main
from skdpal.cli.screen import console

__all__ = ["console", "main"]
