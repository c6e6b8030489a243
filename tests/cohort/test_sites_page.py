"""The blocks of docs/guide/sites.md run as they stand, one after the other."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "sites.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_page_runs(capsys):
    assert len(BLOCKS) == 5
    names = {}
    for block in BLOCKS:
        exec(compile(block, str(PAGE), "exec"), names)
    said = capsys.readouterr().out
    assert "Found the same at 'berlin', 'lyon'" in said
    assert "# What hospital 'berlin' may tell its patients" in said
    table = names["sites"].table()
    assert (table["spent"] <= table["ceiling"]).all()
    assert names["ledger"].certificate()["status"] == "valid"
