"""Colours that the colour-blind can tell apart; displays are found where they are looked for."""

import ast
import itertools
from pathlib import Path

import numpy as np
import pytest

import skdpal.report
from skdpal.learner import palette
from skdpal.report import displays
from skdpal.report.displays.style import Display

PACKAGE = Path(skdpal.report.__file__).parents[1]
# Machado, Oliveira and Fernandes (2009), severity 1
SIGHT = {
    "all colours": np.eye(3),
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
SERIES = [palette.BLUE, palette.AMBER, palette.ROSE, palette.SLATE, palette.INK, palette.VIOLET]


def linear(colour):
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIE L*a*b*, whose distances are about equally easy to see."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def nearest(colours, sight):
    seen = [lab(np.array(sight) @ linear(colour)) for colour in colours]
    return min(float(np.linalg.norm(one - two)) for one, two in itertools.combinations(seen, 2))


@pytest.mark.parametrize("sight", SIGHT)
def test_everybody_can_tell_the_colours_apart(sight):
    assert nearest(SERIES, SIGHT[sight]) > 20


def test_a_planted_red_and_green_is_found():
    assert nearest(["#0f7b7b", "#b8405e"], SIGHT["no red"]) < 12


def test_words_can_be_read_on_white():
    for colour in (palette.INK, palette.SOFT):
        assert 1.05 / (np.dot([0.2126, 0.7152, 0.0722], linear(colour)) + 0.05) > 4.5


@pytest.mark.parametrize("name", displays.__all__)
def test_displays_keep_the_conventions(name):
    kind = getattr(skdpal.report, name)
    assert issubclass(kind, Display)
    assert any(method.startswith("from_") for method in vars(kind))
    assert "plot" in vars(kind)
    assert name in skdpal.report.__all__


def test_a_display_has_no_address():
    assert repr(displays.AuditDisplay.__new__(displays.AuditDisplay)) == "<AuditDisplay>"


def test_below_the_report_figures_are_imported_by_who_draws_only():
    below = [path for room in ("privacy", "estimators", "learner") for path in (PACKAGE / room).rglob("*.py")]
    for path in below:
        body = ast.parse(path.read_text(encoding="utf-8")).body
        lines = [ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
        assert not [line for line in lines if "matplotlib" in line], path


@pytest.mark.parametrize("place", [(0.52, 0.5), (1.4, 0.9)])
def test_planted_words_that_overlap_or_leave_the_figure_are_found(column, readable, place):
    column.text(0.5, 0.5, "some words")
    readable(column.figure)
    column.text(*place, "more words").set_in_layout(False)
    with pytest.raises(AssertionError):
        readable(column.figure)
