"""What is shown while an audit runs: names of canaries and numbers of runs, all public."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Progress", "watched"]

Progress = Callable[[str], None]


@contextmanager
def watched(progress: bool | Callable[[int, int, str], None], total: int) -> Iterator[Progress]:
    """A function to be called with a canary's name after every run; a bar if `progress` is True, silent if False."""
    done = 0
    if callable(progress):
        tell = progress

        def count(name: str) -> None:
            nonlocal done
            done += 1
            tell(done, total, name)

        yield count
        return
    if not progress:
        yield lambda name: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("[bold]{task.description:<24}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("studies,"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
    )
    with Bar(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task("audit", total=total)
        yield lambda name: bar.update(task, advance=1, description=name)
