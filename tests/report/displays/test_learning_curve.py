"""Points, intervals and baselines are those of the table, and of released models on public rows."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, norm, t

from skdpal.learner.benchmark import summarise
from skdpal.report import LearningCurveDisplay

METHODS = {"hidden study, margin": 0.9, "one-shot random, fitted prior": 0.88, "one-shot random, no privacy": 0.95}


def results(rounds=(1, 2, 3), n_splits=8):
    """As several runs of `compare_methods`, put together."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "split": split,
            "method": name,
            "accuracy": level + 0.01 * turn + 0.02 * rng.standard_normal(),
            "labels": 6 + 3 * turn,
        }
        | {"round": turn}
        for turn in rounds
        for split in range(n_splits)
        for name, level in METHODS.items()
    ]
    rows += [
        {"split": split, "method": "public model alone", "accuracy": 0.85 + 0.001 * split, "labels": 0, "round": turn}
        for turn in rounds
        for split in range(n_splits)
    ]
    return pd.DataFrame(rows)


def points(display, method):
    return display.points[display.points["method"] == method]


def test_means_and_intervals_are_those_of_the_splits():
    frame = results()
    display = LearningCurveDisplay.from_results(frame, confidence=0.9)
    for turn, (_, point) in zip((1, 2, 3), points(display, "hidden study, margin").iterrows(), strict=True):
        values = frame.query("method == 'hidden study, margin' and round == @turn")["accuracy"]
        reach = t.ppf(0.95, 7) * values.sem()
        assert point["x"] == 6 + 3 * turn
        assert point[["accuracy", "low", "high"]].tolist() == pytest.approx(
            [values.mean(), values.mean() - reach, min(values.mean() + reach, 1.0)]
        )


def test_a_summary_draws_the_same_as_its_results():
    frame = results(rounds=(2,)).drop(columns="round")
    ours, theirs = (LearningCurveDisplay.from_results(table) for table in (frame, summarise(frame)))
    pd.testing.assert_frame_equal(ours.points, theirs.points)
    assert ours.ax_.get_xlabel().startswith("accuracy")  # rows: there is no curve to draw
    assert [tick.get_text() for tick in ours.ax_.get_yticklabels()] == list(dict.fromkeys(frame["method"]))


def test_a_summary_without_a_number_of_splits_has_normal_intervals():
    table = pd.DataFrame(
        {"method": ["m", "m"], "epsilon": [1, 2], "accuracy": [0.5, 0.6], "standard_error": [0.1, 0.3]}
    )
    display = LearningCurveDisplay.from_results(table, x="epsilon")
    assert display.points["low"].tolist() == pytest.approx([0.5 - 0.1 * norm.ppf(0.975), 0.6 - 0.3 * norm.ppf(0.975)])
    assert display.points["high"].tolist() == pytest.approx([0.5 + 0.1 * norm.ppf(0.975), 1.0])
    assert "ε" in display.ax_.get_xlabel()


def test_what_does_not_learn_is_a_level_line():
    display = LearningCurveDisplay.from_results(results())
    line = next(line for line in display.ax_.lines if line.get_label() == "public model alone")
    assert line.get_ydata()[0] == pytest.approx(0.8535)
    curve = next(one for one in display.ax_.containers if one.get_label() == "hidden study, margin")
    assert curve.lines[0].get_xdata(orig=False).tolist() == [9, 12, 15]
    np.testing.assert_allclose(
        curve.lines[0].get_ydata(orig=False), points(display, "hidden study, margin")["accuracy"].to_numpy()
    )


def test_no_two_methods_look_alike():
    frame = results()
    names = [*METHODS, *(f"way {letter}" for letter in "abcde")]
    frame = pd.concat([frame[frame["method"] == "hidden study, margin"].assign(method=name) for name in names])
    display = LearningCurveDisplay.from_results(frame)
    lines = [one.lines[0] for one in display.ax_.containers]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == len(names)
    ways = [one.lines[0].get_color() for one in display.ax_.containers if one.get_label().startswith("way")]
    assert len(set(ways[:3])) == 3


def test_points_at_the_same_round_stand_beside_each_other():
    display = LearningCurveDisplay.from_results(results(), x="round")
    places = [one.lines[0].get_xdata(orig=False) for one in display.ax_.containers]
    assert len({row[0] for row in places}) == len(METHODS) + 1
    assert max(abs(row - [1, 2, 3]).max() for row in places) < 0.15
    display.figure_.canvas.draw()
    assert all(float(tick).is_integer() for tick in display.ax_.get_xticks())


@pytest.fixture(scope="module")
def study(tmp_path_factory, srbct):
    from skdpal import PrivacyBudget, plan_study
    from skdpal.demo import run_study

    plan = plan_study(PrivacyBudget(2.0), n_labelled=6, n_pool=20, labels_per_round=3, rounds=2, n_components=16)
    return run_study(tmp_path_factory.mktemp("curve") / "study", plan)


def test_released_models_are_scored_on_public_rows(study, srbct):
    from skdpal.learner import load_model

    display = LearningCurveDisplay.from_study(study, srbct.X_public, srbct.y_public)
    released = points(display, "released models")
    assert released["x"].tolist() == [6.0, 9.0, 12.0]  # what the plan expects, whoever was asked
    for name, (_, point) in zip(["start", "round-1", "round-2"], released.iterrows(), strict=True):
        model = load_model(study.release_folder / "models" / f"{name}.npz")
        right = int((model.predict(srbct.X_public) == srbct.y_public).sum())
        interval = binomtest(right, len(srbct.y_public)).proportion_ci(0.95)
        assert (point["accuracy"], point["low"], point["high"]) == (right / 46, interval.low, interval.high)
    before = model[-1].public_model()
    public = (before.predict(model[:-1].transform(srbct.X_public)) == srbct.y_public).mean()
    assert points(display, "public model alone")["accuracy"].tolist() == [public]
    assert study.ledger.certificate()["status"] == "valid"
    for place in (study.folder, study.release_folder, str(study.release_folder)):
        again = LearningCurveDisplay.from_study(place, srbct.X_public, srbct.y_public)
        assert again.points.equals(display.points)


def test_a_study_without_releases_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="Expected released models in .* Release a step first"):
        LearningCurveDisplay.from_study(tmp_path, [[0]], [0])


def test_axes_and_keywords_are_passed_on(column):
    display = LearningCurveDisplay.from_results(results(), ax=column, ms=11)
    assert display.ax_ is column
    assert {one.lines[0].get_markersize() for one in column.containers} == {11}
    assert display.plot(highlight="one-shot random, no privacy") is display


@pytest.mark.parametrize("rounds", [(1, 2, 3), (2,)])
def test_words_have_room(column, readable, rounds):
    readable(LearningCurveDisplay.from_results(results(rounds), ax=column).figure_)
    readable(LearningCurveDisplay.from_results(results(rounds)).figure_)


def test_wrong_input_is_named():
    with pytest.raises(TypeError, match="Expected results to be a DataFrame. Found list"):
        LearningCurveDisplay.from_results([1])
    with pytest.raises(ValueError, match="none of the name 'accuracy'.*compare_methods"):
        LearningCurveDisplay.from_results(pd.DataFrame({"method": ["a"]}))
    with pytest.raises(ValueError, match="none of the name 'standard_error'"):
        LearningCurveDisplay.from_results(pd.DataFrame({"method": ["a"], "accuracy": [1.0], "labels": [1]}))
    with pytest.raises(ValueError, match="confidence"):
        LearningCurveDisplay.from_results(results(), confidence=2)
