"""docs/displays.md: its blocks run, its figures are small and have words."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"
PAGE = (DOCS / "displays.md").read_text(encoding="utf-8")
PICTURES = re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", PAGE)


def test_the_blocks_run_and_print_what_they_say(capsys):
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(compile(block, "displays.md", "exec"), names)
    said = capsys.readouterr().out
    for line in re.findall(r"print\(.*\)  # (.+)$", PAGE, re.MULTILINE):
        assert line.removesuffix(", ...}") in said


def test_every_display_has_a_figure():
    from tests.benchmarks.displays import FIGURES

    assert {f"figures/{name}.png" for name in FIGURES} == {path for _, path in PICTURES}
    assert {path.name for path in (DOCS / "figures").iterdir()} == {f"{name}.png" for name in FIGURES}


@pytest.mark.parametrize(("words", "path"), PICTURES)
def test_figures_are_small_and_have_words(words, path):
    assert len(words) > 60
    assert (DOCS / path).stat().st_size < 60_000
