"""docs/planted_faults.md: every test that it names exists, and no fault that must be planted is missing."""

import re
from functools import lru_cache
from pathlib import Path

HERE = Path(__file__).parents[3]
TEXT = (HERE / "docs" / "planted_faults.md").read_text(encoding="utf-8")
ROWS = [line.split("|")[1:-1] for line in TEXT.splitlines() if line.startswith("| ") and "`tests/" in line]
NAMED = sorted({name for row in ROWS for name in re.findall(r"`(tests/[^`]+)`", row[3])})

MUST = [  # words of the first column
    # what reviews of the theory ask for
    "randomized response in a self-composed event",
    "a null without a label",
    "likely classes that follow the features",
    "the inverse of the transition in a row",
    "exact expectation maximisation",
    "the same reader twice",
    "acceptance that reads a capped modality",
    "a norm over all modalities",
    "skipped for an absent modality",
    "a visible number of runs",
    "an exact score inside the search",
    "a second order not taken from the grid",
    "a re-used share of secure aggregation",
    "a realised weight",
    "a shift charged after the split",
    "synthetic rows filtered by their distance",
    "a negotiator who is told the count",
    "a mask stream that skips null rows",
    "a cap on the number accepted",
    "a quantile of the pool",
    "the realised count in a normaliser",
    "a redraw when nobody was accepted",
    "cumulative retraining charged once",
    "a z-score by the private cohort",
    "a persistent coin",
    "a split before the charge",
    "a filter for which some order fits",
    # the plainest
    "half the noise",
    "no clipping",
    "noise from random_state",
    "an uncharged scaler",
    "a charge after the release",
    "label noise redrawn at each epoch",
    # formulas that promise less than they cost
    *[f"row {number}:" for number in (3, 4, 6, 7, 8, 9, 11, 13, 14, 17, 19, 20, 23, 24, 26, 27)],
]


@lru_cache
def text_of(path):
    return (HERE / path).read_text(encoding="utf-8")


def missing(name):
    """What of a name like ``tests/x.py::test_y[case]`` is not there."""
    path, test, case = re.fullmatch(r"(tests/[\w/]+\.py)::(test_\w+)(?:\[(.+)\])?", name).groups()
    if not (HERE / path).exists():
        return path
    if not re.search(rf"^def {test}\(", text_of(path), re.MULTILINE):
        return test
    return None if case is None or re.search(rf'"{re.escape(case)}"|\b{re.escape(case)}\b', text_of(path)) else case


def test_every_test_that_is_named_exists():
    assert len(NAMED) > 60
    assert {name: found for name in NAMED if (found := missing(name))} == {}


def test_a_name_that_is_wrong_is_seen():
    assert missing("tests/audit/faults/test_nothing.py::test_it") == "tests/audit/faults/test_nothing.py"
    assert missing("tests/audit/faults/test_table.py::test_it") == "test_it"
    case = "x" * 9
    assert missing(f"tests/audit/faults/test_table.py::test_every_test_that_is_named_exists[{case}]") == case


def test_no_fault_is_missing():
    assert [words for words in MUST if sum(words in row[0] for row in ROWS) != 1] == []


def test_every_row_says_what_leaks_and_how_it_is_caught():
    assert len(ROWS) >= len(MUST)
    for fault, leak, caught, tests in ROWS:
        assert min(len(fault.split()), len(leak.split()), len(caught.split())) >= 1
        assert re.search(r"`tests/[^`]+`", tests)
