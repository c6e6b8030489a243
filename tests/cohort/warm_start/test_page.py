"""The blocks of docs/guide/cold_start.md run as they stand, one after the other, and say what the page says."""

import re
from pathlib import Path

import pandas as pd
import pytest

from skdpal import PrivacyBudget, WarmStart
from skdpal.cohort import PublicSource
from skdpal.privacy import epsilon_of, events

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "guide" / "cold_start.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def test_the_blocks_run_and_say_what_the_page_says(capsys):
    names = {}
    assert len(BLOCKS) == 3
    exec(compile(BLOCKS[0], "cold_start.md", "exec"), names)
    stated = [float(number) for number in re.findall(r"# (0\.\d\d)$", BLOCKS[0], re.MULTILINE)]
    assert list(names["agreements"].values()) == pytest.approx(stated, abs=0.03)
    exec(compile(BLOCKS[1], "cold_start.md", "exec"), names)
    assert capsys.readouterr().out.strip() == re.search(r"# (2,308 of .*)", BLOCKS[1])[1]
    assert names["schedule"]["epsilon"].iloc[-1] == pytest.approx(2.0)
    assert isinstance(names["rows"], pd.DataFrame)
    assert len(names["ledger"].receipts()) == 3
    exec(compile(BLOCKS[2], "cold_start.md", "exec"), names)
    assert [receipt.account for receipt in names["ledger"].receipts()] == ["cohort", "cohort/start"]
    assert names["ledger"].certificate()["status"] == "valid"


def test_the_prices_of_the_shift_are_those_of_the_page():
    rows = re.findall(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+)% \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert len(rows) == 5
    budget = PrivacyBudget(2.0, 1e-5)
    alone = WarmStart(PublicSource.nothing(), budget, ["a", "b"]).noise_multiplier
    for noise, price, left, dearer, few, many in (map(float, row) for row in rows):
        warm = WarmStart(PublicSource.nothing(), budget, ["a", "b"], shift_noise=noise)
        assert epsilon_of([events.gaussian(noise)], 1e-5) == pytest.approx(price, abs=0.006)
        assert warm.noise_multiplier == pytest.approx(left, abs=0.0006)
        assert 100 * (warm.noise_multiplier / alone - 1) == pytest.approx(dearer, abs=0.5)
        assert (noise / 37, noise / 100) == pytest.approx((few, many), abs=0.006)
