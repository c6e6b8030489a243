"""The parts are those of the model, by the rows' own names."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from skdpal import DPPrototypeClassifier, PublicEncoder
from skdpal.report import UncertaintyDisplay


@pytest.fixture(scope="module")
def rows(embedded, srbct):
    return pd.DataFrame(embedded.X_public, index=srbct.X_public.index)


@pytest.fixture
def model(embedded, ledger):
    return DPPrototypeClassifier(2.0, embedded.prior, ledger=ledger).fit(embedded.X[:20], embedded.y[:20])


def widths(display):
    return [[bar.get_width() for bar in cause] for cause in display.ax_.containers]


def test_parts_are_those_of_the_model_with_the_index_kept(model, rows):
    receipts = len(model.ledger.receipts())
    display = UncertaintyDisplay.from_estimator(model, rows)
    pd.testing.assert_frame_equal(display.parts, model.uncertainty(rows))
    assert display.parts.index.equals(rows.index)
    np.testing.assert_allclose(display.shares_.sum(axis=1), 1.0)
    assert len(model.ledger.receipts()) == receipts


def test_bars_are_the_parts_the_most_uncertain_first(model, rows):
    display = UncertaintyDisplay.from_estimator(model, rows[:9])
    order = display.parts.sum(axis=1).sort_values(ascending=False, kind="stable").index
    table = display.parts.loc[order, ["overlap", "transfer", "sampling", "dp_noise"]]
    np.testing.assert_allclose(np.array(widths(display)).T, table)
    places = {
        tick.get_text(): place
        for tick, place in zip(display.ax_.get_yticklabels(), display.ax_.get_yticks(), strict=True)
    }
    assert [name for name, _ in sorted(places.items(), key=lambda one: -one[1])] == list(order)
    display.plot(sort=False)
    np.testing.assert_allclose(widths(display)[0], display.parts["overlap"])


def test_many_rows_have_no_names(model, rows):
    display = UncertaintyDisplay.from_estimator(model, rows)
    assert "46 rows" in display.ax_.get_xlabel()
    heights = np.array([[bar.get_height() for bar in cause] for cause in display.ax_.containers]).sum(axis=0)
    np.testing.assert_allclose(heights, np.sort(display.parts.sum(axis=1))[::-1])


def test_pipelines_are_followed(srbct, ledger):
    encoder = PublicEncoder(n_components=4).fit(srbct.X_public, srbct.y_public)
    prior = DPPrototypeClassifier.prior_from_public(encoder.transform(srbct.X_public), srbct.y_public)
    model = DPPrototypeClassifier(2.0, prior, ledger=ledger).fit(encoder.transform(srbct.X), srbct.y)
    display = UncertaintyDisplay.from_estimator(make_pipeline(encoder, model), srbct.X_public[:5])
    expected = model.uncertainty(encoder.transform(srbct.X_public[:5]))
    np.testing.assert_allclose(display.parts, expected)
    assert display.parts.index.equals(srbct.X_public.index[:5])


def test_axes_and_keywords_are_passed_on(model, rows, column):
    display = UncertaintyDisplay.from_estimator(model, rows[:4], ax=column, alpha=0.5)
    assert display.ax_ is column
    assert {bar.get_alpha() for cause in column.containers for bar in cause} == {0.5}
    assert display.plot() is display


@pytest.mark.parametrize("n", [12, 46])
def test_words_have_room(model, rows, column, readable, n):
    readable(UncertaintyDisplay.from_estimator(model, rows[:n], ax=column).figure_)
    readable(UncertaintyDisplay.from_estimator(model, rows[:n]).figure_)


def test_other_causes_are_drawn_by_name():
    display = UncertaintyDisplay(pd.DataFrame({"dp_noise": [1.0], "missing_modality": [2.0]}, index=["$x_1$"])).plot()
    words = [text.get_text() for text in display.ax_.get_legend().texts]
    assert words == ["privacy noise", "missing modality"]
    display.figure_.canvas.draw()  # a name is no formula
    assert display.ax_.get_yticklabels()[0].get_text() == r"\$x_1\$"


def test_a_model_that_does_not_know_is_refused():
    with pytest.raises(TypeError, match="Expected estimator to have uncertainty.* Found LogisticRegression"):
        UncertaintyDisplay.from_estimator(make_pipeline(LogisticRegression()), [[0.0]])
