"""The attack's bookkeeping, on worlds whose outputs are written down."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import norm

from skdpal.audit import Attack, attack, epsilon_lower_bound, likelihood_ratio, mu_lower_bound, repeated


def written(present, absent):
    """A world that returns these statistics, and remembers how it was called."""
    calls = []

    def world(there, runs):
        calls.append((there, runs))
        return present if there else absent

    world.calls = calls
    return world


def quantiles(mu, runs):
    """The statistics of two ideal samples of N(μ, 1), one that chooses and one that judges."""
    return np.tile(norm.ppf((np.arange(runs) + 0.5) / runs) + mu, 2)


def test_errors_are_counted_on_a_fixed_threshold():
    world = written(present=[0.0, 1.0, 2.0, 3.0], absent=[-1.0, 0.0, 1.0, 5.0])
    found = attack(world, 4, threshold=1.0)
    assert world.calls == [(True, 4), (False, 4)]
    assert found == Attack(runs=4, threshold=1.0, false_positives=1, false_negatives=2)


def test_runs_that_choose_judge_nothing():
    world = written(present=[4.0, 5.0, 0.0, 9.0], absent=[1.0, 2.0, 0.0, 9.0])
    found = attack(world, 2)
    assert world.calls == [(True, 4), (False, 4)]  # one call a world
    assert found == Attack(runs=2, threshold=3.0, false_positives=1, false_negatives=1)


@pytest.mark.parametrize("judging", [-50.0, 0.4, 50.0])
def test_runs_that_judge_choose_nothing(judging):
    present, absent = quantiles(1.0, 200), quantiles(0.0, 200)
    threshold = attack(written(present, absent), 200).threshold
    present[200:] = absent[200:] = judging
    assert attack(written(present, absent), 200).threshold == threshold


@pytest.mark.parametrize("mu", [0.5, 1.0, 3.0])
def test_for_mu_the_threshold_lies_near_half_way(mu):
    found = attack(written(quantiles(mu, 2_000), quantiles(0.0, 2_000)), 2_000)
    assert found.threshold == pytest.approx(mu / 2, abs=0.25)
    assert 0.75 * mu < found.mu < mu


def test_for_epsilon_the_threshold_lies_where_one_kind_of_error_is_rare():
    world = written(quantiles(2.0, 2_000), quantiles(0.0, 2_000))
    half_way, rare = attack(world, 2_000), attack(world, 2_000, delta=1e-5)
    assert abs(rare.threshold - 1.0) > 1.0 > abs(half_way.threshold - 1.0)
    assert rare.epsilon(1e-5) > half_way.epsilon(1e-5)
    assert rare.mu < half_way.mu


def test_a_rare_output_that_only_the_patient_causes_is_found():
    present = np.zeros(2_000)
    present[::10] = 1.0
    found = attack(written(present, np.zeros(2_000)), 1_000, delta=1e-5)
    assert (found.threshold, found.false_positives, found.false_negatives) == (0.5, 0, 900)
    assert found.beats(epsilon=2.5, delta=1e-5)
    assert not found.beats(epsilon=0.0, delta=0.5)  # a δ of 0.5 allows it


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-math.inf, math.inf), (-math.inf, 0.0), (0.0, 5e-324)])
def test_worlds_without_overlap_are_told_apart(low, high):
    found = attack(written([high] * 200, [low] * 200), 100, confidence=1 - 1e-6)
    assert (found.false_positives, found.false_negatives) == (0, 0)
    assert found.mu == mu_lower_bound(0, 0, 100, 1 - 1e-6) > 2


@pytest.mark.parametrize("value", [0.0, math.inf, -math.inf])
def test_equal_worlds_prove_nothing(value):
    found = attack(written([value] * 20, [value] * 20), 10)
    assert found.mu == found.epsilon(1e-5) == 0.0
    assert not found.beats(mu=0.0)


def test_verdicts_compare_the_bounds_with_the_claim():
    found = Attack(1_000, 0.0, 20, 30, confidence=0.99)
    mu = mu_lower_bound(20, 30, 1_000, 0.99)
    epsilon = epsilon_lower_bound(20, 30, 1_000, 1e-5, 0.99)
    assert found.mu == mu
    assert found.epsilon(1e-5) == epsilon
    assert found.beats(mu=mu - 1e-9)
    assert not found.beats(mu=mu)
    assert found.beats(epsilon=epsilon - 1e-9, delta=1e-5)
    assert not found.beats(epsilon=epsilon, delta=1e-5)


def test_a_result_reads_well_and_does_not_change():
    found = Attack(1_000, 0.5, 20, 30, confidence=1 - 1e-6)
    assert str(found) == found.summary(delta=1e-5)
    assert str(found) == (
        "1000 runs a world; at statistic > 0.5 20 false positives and 30 false negatives. "
        "μ >= 3.152; ε >= 2.915 at δ = 1e-05. Wrong with probability 1e-06 at most."
    )
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.false_positives = 0


def test_a_mechanism_can_be_called_run_by_run():
    seen = []

    def release(present):
        seen.append(present)
        return {"output": 2 * present}

    world = repeated(release, lambda released: released["output"])
    assert world(True, 3).tolist() == [2.0, 2.0, 2.0]
    assert repeated(float)(False, 2).tolist() == [0.0, 0.0]
    assert seen == [True] * 3


def test_the_likelihood_ratio_is_that_of_gaussian_noise():
    present, absent, output = np.array([[1.0, -2.0], [0.5, 0.0]]), np.array([[0.0, 1.0], [0.5, 3.0]]), np.ones((2, 2))
    expected = (norm.logpdf(output, present, 0.7) - norm.logpdf(output, absent, 0.7)).sum()
    assert likelihood_ratio(present, absent, 0.7)(output) == pytest.approx(expected)
    assert likelihood_ratio(2.0, 0.0, 1.0)(1.0) == 0.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: attack(written([], []), 0), "Expected runs"),
        (lambda: attack(written([], []), 1, confidence=0.0), "Expected confidence"),
        (lambda: attack(written([], []), 1, delta=2.0), "Expected delta"),
        (lambda: attack(written([0.0], [0.0]), 1, threshold=math.nan), "Expected threshold"),
        (lambda: attack(written([0.0] * 3, [0.0] * 4), 2), r"array of shape \(4,\). Found shape \(3,\)"),
        (lambda: attack(written([[0.0]] * 4, [0.0] * 4), 2), "Make a statistic of each output"),
        (lambda: attack(written([math.nan] * 4, [0.0] * 4), 2), "Found NaN"),
        (lambda: likelihood_ratio([1.0], [1.0], 0.0), "Expected scale"),
        (lambda: likelihood_ratio([1.0], [0.0, 0.0], 1.0), "Zero the patient out"),
        (lambda: likelihood_ratio([math.nan], [0.0], 1.0), "Expected present to be finite"),
        (lambda: Attack(10, 0.0, 11, 0), "Expected false_positives to be at most runs=10"),
        (lambda: Attack(10, math.inf, 0, 0), "Expected threshold"),
        (lambda: Attack(10, 0.0, 1, 1).beats(), "Expected one claim"),
        (lambda: Attack(10, 0.0, 1, 1).beats(mu=1.0, epsilon=1.0, delta=1e-5), "Expected one claim"),
        (lambda: Attack(10, 0.0, 1, 1).beats(epsilon=1.0), "Pass either mu, or epsilon and delta"),
        (lambda: Attack(10, 0.0, 1, 1).beats(mu=-1.0), "Expected mu"),
        (lambda: Attack(10, 0.0, 1, 1).beats(epsilon=-1.0, delta=1e-5), "Expected epsilon"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
