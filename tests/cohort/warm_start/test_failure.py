"""What counts as a cold-start failure."""

import numpy as np
import pytest

from skdpal.cohort import cold_start_failures


def test_the_mean_of_the_first_three_releases_decides():
    table = cold_start_failures([[0.5, 0.7, 0.9, 0.0], [0.7, 0.6, 0.6, 1.0]], majority=[0.6, 0.65], public=[0.7, 0.6])
    assert table["accuracy"].tolist() == pytest.approx([0.7, 1.9 / 3])
    assert table["below_majority"].tolist() == [False, True]
    assert table["below_public"].tolist() == [False, False]
    assert table["fails"].tolist() == [False, True]
    assert table["any"].tolist() == [True, True]
    assert table["every"].tolist() == [False, False]


def test_ties_are_not_below_whatever_the_rounding():
    for n in range(1, 60):
        for right in range(n + 1):
            third = np.full(3, right / n)
            assert not cold_start_failures([third], right / n, right / n)[["fails", "any"]].to_numpy().any()


def test_the_smallest_step_below_counts():
    table = cold_start_failures([[49 / 50, 1.0, 1.0]], majority=0.2, public=1.0)
    assert table["fails"].tolist() == [True]
    assert table["every"].tolist() == [False]


def test_every_one_below_implies_the_mean_and_the_mean_implies_one():
    random = np.random.default_rng(0)
    table = cold_start_failures(
        random.integers(0, 8, (500, 3)) / 7, random.integers(0, 8, 500) / 7, random.integers(0, 8, 500) / 7
    )
    assert (table["fails"] >= table["every"]).all()
    assert (table["any"] >= table["fails"]).all()
    assert (table["fails"] == (table["below_majority"] | table["below_public"])).all()
    assert 0 < table["every"].sum() < table["fails"].sum() < table["any"].sum() < 500


def test_without_a_public_model_the_majority_alone_counts():
    table = cold_start_failures([[0.5, 0.5, 0.5], [0.9, 0.9, 0.9]], majority=0.6)
    assert table["fails"].tolist() == [True, False]
    assert not table["below_public"].any()


def test_more_or_fewer_releases_may_be_the_start():
    assert cold_start_failures([[0.5, 0.9]], majority=0.6, releases=1)["fails"].tolist() == [True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([0.5, 0.6, 0.7], 0.5), "shape"),
        (([[0.5, 0.6]], 0.5), "at least 3 releases"),
        (([[50.0, 60.0, 70.0]], 0.5), "fractions, not percents"),
        (([[0.5, 0.6, 0.7]], 60), "majority"),
        (([[0.5, 0.6, 0.7]], [0.5, 0.5]), "one for each of 1 studies"),
        (([[0.5, np.nan, 0.7]], 0.5), "finite"),
        (([[0.5, 0.6, 0.7]], 0.5, ["a"]), "numeric"),
    ],
)
def test_bad_input_is_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        cold_start_failures(*arguments)
