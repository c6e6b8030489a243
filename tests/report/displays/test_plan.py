"""Plans are drawn as they are, and by one hand."""

import numpy as np
import pandas as pd
import pytest

from skdpal import PrivacyBudget, plan_study
from skdpal.report import PlanDisplay

BUDGET = PrivacyBudget(2.0)


def plan(rounds=3, budget=BUDGET, **more):
    return plan_study(budget, 6, 20, 3, rounds, **{"n_components": 16, "n_classes": 4, "public_accuracy": 0.9, **more})


@pytest.fixture(scope="module")
def one():
    """A plan whose alternatives are computed once."""
    found = plan(1, nonprivate_accuracy=0.97)
    table = found.alternatives()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(found), "alternatives", lambda self: table)
        yield found


def labels(display):
    return [tick.get_text() for tick in display.ax_.get_yticklabels()]


def test_one_plan_is_compared_with_its_alternatives(one):
    display = PlanDisplay.from_plans(one)
    pd.testing.assert_frame_equal(display.table, one.alternatives())
    theirs = one.plot()
    assert labels(display) == [tick.get_text() for tick in theirs.get_yticklabels()]
    ours = [(bar.get_x(), bar.get_width()) for bar in display.ax_.patches]
    assert ours == [(bar.get_x(), bar.get_width()) for bar in theirs.patches]


def test_several_plans_are_drawn_under_their_names():
    plans = {"one": plan(1), "five": plan(5)}
    display = PlanDisplay.from_plans(plans)
    assert labels(display) == ["one", "five"]
    for bar, each in zip(display.ax_.patches, plans.values(), strict=True):
        low, high = each.expected_accuracy
        assert (bar.get_x(), bar.get_x() + bar.get_width()) == pytest.approx((low, high))
    assert display.table["noise_multiplier"].tolist() == [each.round_noise[-1] for each in plans.values()]
    assert {text.get_text() for text in display.ax_.texts} >= {"chance", "public model"}


def test_plans_without_names_are_told_apart():
    display = PlanDisplay.from_plans([plan(), plan(hold_start=True), plan()])
    assert display.table["method"].tolist() == ["1: 3 x 3, hidden", "3 x 3, hidden, held start", "3: 3 x 3, hidden"]


def test_budgets_that_differ_are_said_and_levels_that_differ_are_not_drawn():
    display = PlanDisplay.from_plans({"a": plan(), "b": plan(budget=PrivacyBudget(1.0), public_accuracy=0.8)})
    assert display.table["method"].tolist() == ["a, ε = 2", "b, ε = 1"]
    assert [words for _, words in display.marks] == ["chance"]
    assert display.title == ""


def test_without_accuracies_strength_is_drawn():
    display = PlanDisplay.from_plans([plan(n_classes=None, public_accuracy=None)])
    assert [bar.get_width() for bar in display.ax_.patches] == [display.table["kappa"][0]]
    assert "κ" in display.ax_.get_xlabel()


def test_axes_and_keywords_are_passed_on(column):
    display = PlanDisplay.from_plans([plan()], ax=column, alpha=0.5)
    assert display.ax_ is column
    assert {bar.get_alpha() for bar in column.patches} == {0.5}
    assert display.plot() is display


@pytest.mark.parametrize("plans", ["one", [plan(1), plan(5)], [plan(n_classes=None, public_accuracy=None)]])
def test_words_have_room(column, readable, one, plans):
    plans = one if plans == "one" else plans
    column.figure.set_figheight(4.2)
    readable(PlanDisplay.from_plans(plans, ax=column).figure_)
    readable(PlanDisplay.from_plans(plans).figure_)


def test_wrong_input_is_named():
    with pytest.raises(TypeError, match="Expected plans to be StudyPlans, at least one. Found int"):
        PlanDisplay.from_plans([plan(), 3])
    with pytest.raises(TypeError, match="Found none"):
        PlanDisplay.from_plans([])
    with pytest.raises(ValueError, match="n_components or n_classes"):
        PlanDisplay.from_plans([plan(n_components=None, n_classes=None, public_accuracy=None)])
    assert np.isfinite(PlanDisplay.from_plans([plan()]).table["kappa"]).all()
