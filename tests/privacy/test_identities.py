"""Whose row it is."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdpal.privacy.identities import identify, sum_by_patient

ROWS = np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])


def test_given_ids_win():
    frame = pd.DataFrame(ROWS, index=["a", "b", "c"])
    assert identify(frame, [1, 2, 1]) == ["1", "2", "1"]


def test_a_named_index_is_the_patients():
    assert identify(pd.DataFrame(ROWS, index=["a", "b", "a"])) == ["a", "b", "a"]


def test_an_index_that_pandas_made_up_is_nobody():
    frame = pd.DataFrame(ROWS)
    assert identify(frame) == identify(ROWS)
    assert identify(frame.iloc[[1]]) == ["1"]  # positions that were picked are names again


def test_equal_rows_are_one_patient_wherever_they_turn_up():
    first, second, third = identify(ROWS)
    assert first == third != second
    assert identify(ROWS[[1]])[0] == second
    assert identify(np.array([[-0.0, 1.0]])) == identify(np.array([[0.0, 1.0]]))
    assert len(set(identify(np.array([["x", 1], ["y", 1]], dtype=object)))) == 2


@pytest.mark.parametrize(
    ("ids", "words"), [(["a"], "one entry"), (["a", None, "b"], "missing"), (["a", np.nan, "b"], "missing")]
)
def test_bad_ids_are_refused_without_naming_them(ids, words):
    with pytest.raises(ValueError, match=words):
        identify(ROWS, ids)


def test_a_message_about_ids_names_none_of_them():
    with pytest.raises(ValueError, match="one entry") as error:
        identify(ROWS, ["ann"])
    assert "ann" not in str(error.value)


@given(st.permutations(range(3)), st.lists(st.integers(0, 2), unique=True))
def test_an_id_does_not_depend_on_the_other_rows(order, keep):
    everybody = identify(ROWS)
    assert identify(ROWS[list(order)]) == [everybody[at] for at in order]
    assert identify(ROWS[keep]) == [everybody[at] for at in keep]


def test_a_frame_and_its_numbers_are_the_same_patients():
    assert identify(pd.DataFrame(ROWS.astype(np.float32))) == identify(ROWS.tolist()) == identify(ROWS)


def test_an_index_of_several_levels_or_with_a_name_is_the_patients():
    levels = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("a", 1)])
    first, second, third = identify(pd.DataFrame(ROWS, index=levels))
    assert first == third != second
    assert identify(pd.DataFrame(ROWS, index=pd.RangeIndex(3, name="patient"))) == ["0", "1", "2"]


def test_rows_of_a_patient_are_added():
    sums = sum_by_patient(ROWS, ["a", "b", "a"])
    assert sums.tolist() == [[2.0, 4.0], [3.0, 4.0]]
    assert sum_by_patient(np.zeros((0, 2)), []).shape == (0, 2)
