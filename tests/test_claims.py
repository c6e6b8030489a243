"""docs/claims.md names functions and tests that exist."""

import re
from importlib import import_module
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]
TEXT = (HERE / "docs" / "claims.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("|") and "`" in line]


def function_of(row):
    return re.search(r"`(skdpal\.[\w.]+)`", row)[1]


def test_of(row):
    return re.search(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", row).groups()


test_of.__test__ = False


@pytest.mark.parametrize("row", ROWS, ids=function_of)
def test_every_claim_has_a_function_and_a_test(row):
    module, _, name = function_of(row).rpartition(".")
    assert hasattr(import_module(module), name)
    path, test = test_of(row)
    assert re.search(rf"^def {test or 'test_'}", (HERE / path).read_text(encoding="utf-8"), re.MULTILINE) or (
        test is None and "class " in (HERE / path).read_text(encoding="utf-8")
    )


def test_there_are_claims():
    assert len(ROWS) > 30
