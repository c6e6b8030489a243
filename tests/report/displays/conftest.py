"""Figures are drawn without a screen, and closed."""

import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def closed():
    from matplotlib import pyplot as plt

    yield
    plt.close("all")


def words_of(figure):
    """All words that a figure shows, with their boxes in pixels."""
    figure.canvas.draw()
    found = []
    for ax in figure.axes:
        found += [ax.title, ax._right_title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
        found += ax.get_legend().texts if ax.get_legend() else []
        for axis in (ax.xaxis, ax.yaxis):  # there are ticks beyond the ends, which are not drawn
            low, high = sorted(axis.get_view_interval())
            found += [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    renderer = figure.canvas.get_renderer()
    shown = [text for text in found if text.get_visible() and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in shown]


@pytest.fixture
def readable():
    """Checks that no words of a figure overlap or leave it, also in one column of a journal."""

    def check(figure):
        boxes = words_of(figure)
        width, height = figure.get_size_inches() * figure.dpi
        outside = [
            word for word, box in boxes if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
        ]
        pairs = [(boxes[i], boxes[j]) for i in range(len(boxes)) for j in range(i)]
        over = [(one[0], two[0]) for one, two in pairs if _meet(one[1], two[1])]
        assert not outside
        assert not over

    return check


def _meet(one, two, slack=1.5):
    """Whether two boxes share more than a hair."""
    across = min(one.x1, two.x1) - max(one.x0, two.x0)
    up = min(one.y1, two.y1) - max(one.y0, two.y0)
    return across > slack and up > slack


@pytest.fixture
def column():
    """Axes of one column of a journal, 3.5 inches wide."""
    from matplotlib import pyplot as plt

    return plt.subplots(figsize=(3.5, 3.2), layout="constrained")[1]
