"""A self-contained HTML page: no script, no request, no font from elsewhere."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

__all__ = ["Picture", "picture", "render", "write_page"]

_TEMPLATES = Environment(
    loader=PackageLoader("skdpal.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["epsilon"] = lambda value: f"{value:.2f}"


@dataclass(frozen=True)
class Picture:
    """A drawing inside a page.

    Attributes
    ----------
    source, narrow : str
        Data URIs: for screens and paper, and for small screens.
    text : str
        What it shows, for those who cannot see it.
    """

    source: str
    narrow: str
    text: str


def picture(draw: Callable[[bool], Figure], text: str) -> Picture:
    """Embed a figure as SVG, drawn twice.

    Parameters
    ----------
    draw : callable
        Makes the figure; its argument says whether it is for a small screen, where a wide one would shrink until its
        words cannot be read.
    text : str
        What it shows.
    """
    return Picture(_embedded(draw(False)), _embedded(draw(True)), text)


def _embedded(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue().encode()).decode()}"


def render(template: str, **content: Any) -> str:
    """Fill in a template; a missing value is an error."""
    return _TEMPLATES.get_template(template).render(**content)


def write_page(path: Path, page: str) -> Path:
    """Put a page into its place. Its time is the start of the day, as of all that leaves a study."""
    path.write_text(page, encoding="utf-8")
    start = datetime.combine(datetime.now(UTC).date(), time(), UTC).timestamp()
    os.utime(path, (start, start))
    return path
