"""A self-contained HTML page: no script, no request, no font from elsewhere."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

__all__ = ["Picture", "picture", "render"]

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
    source : str
        A data URI.
    text : str
        What it shows, for those who cannot see it.
    """

    source: str
    text: str


def picture(figure: Figure, text: str) -> Picture:
    """Embed a figure as SVG."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    data = base64.b64encode(buffer.getvalue().encode()).decode()
    return Picture(f"data:image/svg+xml;base64,{data}", text)


def render(template: str, **content: Any) -> str:
    """Fill in a template; a missing value is an error."""
    return _TEMPLATES.get_template(template).render(**content)
