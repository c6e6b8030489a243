"""The secret number of runs has the law that is priced."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import chi2, ncx2

from skdpal.model_selection import repeats
from skdpal.privacy.accounting.repetition import gamma_of

FALSE_ALARM = 1e-6
DRAWS = 20_000
LAWS = [("geometric", 3.0), ("geometric", 10.0), ("logarithmic", 2.0), ("logarithmic", 4.0)]


def chances(law, mean):
    """P(1), P(2), ... of the law of that mean, by the textbook."""
    if law == "geometric":
        gamma, tail = 1 / mean, np.arange(1, 4000)
        return gamma * (1 - gamma) ** (tail - 1)
    p = brentq(lambda p: -p / ((1 - p) * math.log1p(-p)) - mean, 1e-9, 1 - 1e-9)
    k = np.arange(1, 4000)
    return -(p**k) / (k * math.log1p(-p))


def cells(law, mean, draws=DRAWS):
    """The chances of 1, 2, ..., and of everything larger, each expected ten times at least."""
    each = chances(law, mean)
    last = int(np.argmax(draws * each < 10))
    return np.append(each[:last], 1 - each[:last].sum())


def surprise(numbers, law, mean):
    """p-value of Pearson's test."""
    expected = len(numbers) * cells(law, mean, len(numbers))
    observed = np.bincount(np.minimum(numbers, len(expected)), minlength=len(expected) + 1)[1:]
    return chi2.sf(((observed - expected) ** 2 / expected).sum(), len(expected) - 1)


def drawn(law, mean, draws=DRAWS):
    return np.array([repeats.draw(mean, law) for _ in range(draws)])


@pytest.mark.parametrize(("law", "mean"), LAWS)
def test_the_law_is_that_of_the_price(law, mean):
    assert surprise(drawn(law, mean), law, mean) > FALSE_ALARM


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda: drawn("geometric", 11.0), id="mean"),
        pytest.param(lambda: drawn("logarithmic", 10.0, 2_000), id="law"),
        pytest.param(lambda: np.minimum(drawn("geometric", 10.0), 30), id="capped"),
        pytest.param(lambda: drawn("geometric", 9.0) + 1, id="one more"),
    ],
)
def test_a_planted_fault_is_found(fault):
    assert surprise(fault(), "geometric", 10.0) < FALSE_ALARM


def test_a_mean_off_by_a_tenth_is_found():
    right, wrong = cells("geometric", 10.0), chances("geometric", 11.0)
    wrong = np.append(wrong[: len(right) - 1], 1 - wrong[: len(right) - 1].sum())
    away, freedom = DRAWS * ((wrong - right) ** 2 / right).sum(), len(right) - 1
    assert ncx2.sf(chi2.isf(FALSE_ALARM, freedom), freedom, away) > 1 - 1e-9


@pytest.mark.parametrize("bound", [1, 2, 5, 256, 257])
def test_a_uniform_number_is_uniform(bound):
    numbers = np.array([repeats.below(bound) for _ in range(60 * bound)])
    observed = np.bincount(numbers, minlength=bound)
    assert len(observed) == bound
    assert bound == 1 or chi2.sf(((observed - 60) ** 2 / 60).sum(), bound - 1) > FALSE_ALARM


@pytest.mark.parametrize("law", repeats.SHAPES)
@pytest.mark.parametrize("mean", [1.0001, 2.0, 10.0, 1e4])
def test_the_chance_is_never_below_that_of_the_price(law, mean):
    shape = repeats.shape_of(law)
    chance = repeats._chance(mean, shape) / 2**64
    assert chance >= gamma_of(mean, shape)
    assert chance == pytest.approx(gamma_of(mean, shape), rel=1e-9)


def test_tosses_are_compared_as_whole_numbers(monkeypatch):
    """A word is a success exactly if it is below the chance, wherever in the stream it comes."""
    chance = 2**63 + 1
    words = [2**64 - 1] * 70 + [chance] * 3 + [chance - 1] + [0] * 200
    stream = b"".join(word.to_bytes(8, "little") for word in words)
    position = 0

    def entropy(size):
        nonlocal position
        position += size
        return stream[position - size : position]

    monkeypatch.setattr(repeats, "entropy", entropy)
    assert repeats._geometric(chance) == 74


@pytest.mark.parametrize(("law", "mean"), LAWS)
def test_the_chance_of_more_is_the_tail(law, mean):
    each = chances(law, mean)
    for number in (1, 3, 20):
        assert repeats.chance_of_more(number, mean, law) == pytest.approx(1 - each[:number].sum(), rel=1e-6, abs=1e-12)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="law"):
        repeats.draw(3.0, "poisson")
    with pytest.raises(ValueError, match="mean"):
        repeats.draw(1.0, "geometric")
