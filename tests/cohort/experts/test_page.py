"""The blocks of docs/guide/experts.md run as they stand, one after another."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "experts.md"
TEXT = PAGE.read_text(encoding="utf-8")
SECTIONS = {
    title: re.findall(r"```python\n(.*?)```", body, re.DOTALL)
    for title, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
}
WITH_CODE = [title for title, blocks in SECTIONS.items() if blocks]


def test_the_sections_with_code():
    assert {"The usual formula, and what goes wrong", "A reader who errs at a known rate"} <= set(WITH_CODE)


@pytest.mark.parametrize("title", WITH_CODE)
def test_the_blocks_of_a_section_run(title):
    """In one namespace: a section stands by itself."""
    names = {}
    for block in SECTIONS[title]:
        exec(compile(block, f"{PAGE}: {title}", "exec"), names)
