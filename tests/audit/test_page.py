"""docs/auditing.md does what it says."""

import re
from pathlib import Path

from skdpal.audit.report import VERDICTS

PAGE = (Path(__file__).parents[2] / "docs" / "auditing.md").read_text(encoding="utf-8")


def test_the_study_of_the_page_runs(capsys):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert "runs=100" in block
    names = {}
    exec(block.replace("runs=100", "runs=2"), names)  # as many runs as a test may take
    assert names["report"].passed
    assert "PASSED: first patient; receipts 3," in capsys.readouterr().out


def test_every_verdict_is_explained():
    told = set(re.findall(r"^\| ([A-Za-z][^|]*?) \|", PAGE, re.MULTILINE))
    assert {verdict for verdict in VERDICTS if verdict != "PLANTED FAULT, MISSED"} <= told
