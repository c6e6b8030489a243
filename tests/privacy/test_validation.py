"""Messages name the argument, the value, what was expected."""

import numpy as np
import pytest

from skdpal.privacy.validation import check_count, check_finite, check_one_of, check_real


@pytest.mark.parametrize("value", [0, 1, -1, "x", None, True, float("nan"), float("inf")])
def test_reals(value):
    with pytest.raises(ValueError, match=r"Expected rate to be a finite number in \(0, 1\)\. Found"):
        check_real("rate", value, above=0, below=1)


def test_closed_intervals_hold_their_ends():
    assert check_real("x", 0, above=0, below=1, closed=True) == 0.0
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        check_real("x", 2, above=0, below=1, closed=True)


@pytest.mark.parametrize("value", [-1, 1.0, "1", True])
def test_counts(value):
    with pytest.raises(ValueError, match="Expected rounds to be a whole number, 0 or more"):
        check_count("rounds", value)
    assert check_count("rounds", np.int64(3)) == 3


@pytest.mark.parametrize("value", ["c", 1])
def test_words(value):
    with pytest.raises(ValueError, match=r"one of 'a', 'b'\. Found .* Try 'a'\."):
        check_one_of("mode", value, ["a", "b"], "Try 'a'.")


@pytest.mark.parametrize("value", [[np.nan, 123456.0], [np.inf, 123456.0], ["a", 123456.0]])
def test_private_values_are_not_shown(value):
    with pytest.raises(ValueError, match="Expected X") as error:
        check_finite("X", value)
    assert "123456" not in str(error.value)


def test_good_values_come_back_as_plain_numbers():
    assert type(check_real("x", np.float32(0.5))) is float
    assert type(check_count("n", np.int64(3))) is int
    assert check_one_of("mode", "a", ["a", "b"]) == "a"
    array = check_finite("X", [[1, 2], [3, 4]])
    assert (array.dtype, array.shape) == (np.float64, (2, 2))


def test_a_message_ends_with_what_was_found():
    with pytest.raises(ValueError, match=r"Found 'c'\.$"):
        check_one_of("mode", "c", ["a", "b"])
