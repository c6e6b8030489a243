"""What error counts prove: closed forms, published figures, and coverage, summed exactly over all counts."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import binom, norm

from skdpal.audit import RUNS, epsilon_lower_bound, mu_lower_bound, power, runs_needed
from skdpal.audit.bounds import error_ceilings
from skdpal.privacy import epsilon_of, events

ALARM = 1e-6
CONFIDENCES = [0.5, 0.95, 1 - ALARM]
RATES = [1e-6, 1e-3, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.999]
SIZE = 40  # runs where all pairs of counts are visited


def pairs(bound):
    """A bound at all pairs of counts."""
    return np.array([[bound(first, second) for second in range(SIZE + 1)] for first in range(SIZE + 1)])


def chance(wrong, false_positive, false_negative):
    """The probability of a set of pairs of counts."""
    counts = np.arange(SIZE + 1)
    return binom.pmf(counts, SIZE, false_positive) @ wrong @ binom.pmf(counts, SIZE, false_negative)


@pytest.mark.parametrize("tail", [0.25, 0.025, ALARM / 2, 1e-12])
@pytest.mark.parametrize("runs", [1, 2, 100, 10_000])
def test_a_ceiling_is_the_rate_at_which_so_few_errors_are_too_rare(runs, tail):
    errors = np.unique(np.linspace(0, runs - 1, 20).astype(int))
    ceilings = error_ceilings(errors, runs, tail)
    exact = ceilings < 0.999  # nearer to 1, rounding up is all that is seen
    assert binom.cdf(errors, runs, ceilings)[exact] == pytest.approx(tail, rel=1e-3)
    assert (binom.cdf(errors, runs, ceilings) <= tail).all()
    assert error_ceilings(0, runs, tail) == pytest.approx(1 - tail ** (1 / runs))
    assert error_ceilings(0, runs, tail) >= -math.expm1(math.log(tail) / runs)
    assert error_ceilings(runs, runs, tail) == 1.0


@pytest.mark.parametrize(("runs", "ceiling"), [(100, 3.28), (500, 4.91), (1_000, 5.60), (10_000, 7.90)])
def test_runs_without_any_error_prove_so_much(runs, ceiling):
    assert epsilon_lower_bound(0, 0, runs, delta=1e-5) == pytest.approx(ceiling, abs=0.005)


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_a_true_mu_is_refuted_no_more_often_than_the_false_alarm(confidence):
    bounds = pairs(lambda first, second: mu_lower_bound(first, second, SIZE, confidence))
    for mu, rate in itertools.product([0.0, 0.3, 1.0, 2.5], RATES):
        false_negative = norm.cdf(norm.isf(rate) - mu)  # the sharpest attack on N(0, 1) against N(μ, 1)
        assert chance(bounds > mu, rate, false_negative) <= (1 - confidence) * (1 + 1e-9)


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize("delta", [0.0, 1e-5, 0.1])
def test_a_true_epsilon_is_refuted_no_more_often_than_the_false_alarm(delta, confidence):
    bounds = pairs(lambda first, second: epsilon_lower_bound(first, second, SIZE, delta, confidence))
    for epsilon, rate in itertools.product([0.0, 0.5, 2.0], RATES):
        # the leakiest mechanism that is (ε, δ)-DP
        left = max(0.0, 1 - delta - math.exp(epsilon) * rate, math.exp(-epsilon) * (1 - delta - rate))
        assert chance(bounds > epsilon, rate, left) <= (1 - confidence) * (1 + 1e-9)


def test_the_same_check_catches_a_bound_from_the_rates_themselves():
    rates = np.clip(np.arange(SIZE + 1) / SIZE, 1e-3, 1 - 1e-3)
    bounds = norm.isf(rates)[:, None] - norm.ppf(rates)[None, :]
    assert max(chance(bounds > 1.0, rate, norm.cdf(norm.isf(rate) - 1.0)) for rate in RATES) > 0.3


def test_half_the_runs_wrong_prove_nothing():
    assert mu_lower_bound(50, 50, 100) == epsilon_lower_bound(50, 50, 100, delta=1e-5) == 0.0
    assert mu_lower_bound(100, 100, 100) == epsilon_lower_bound(100, 100, 100, delta=0.0) == 0.0
    assert epsilon_lower_bound(0, 0, 100, delta=1.0) == 0.0


@pytest.mark.parametrize(
    "bound", [mu_lower_bound, lambda *counts, **more: epsilon_lower_bound(*counts, delta=1e-5, **more)]
)
def test_more_errors_fewer_runs_and_more_confidence_prove_less(bound):
    assert (np.diff([bound(count, 9, 200) for count in range(201)]) <= 0).all()
    assert (np.diff([bound(9, count, 200) for count in range(201)]) <= 0).all()
    assert (np.diff([bound(runs // 10, runs // 20, runs) for runs in RUNS]) > 0).all()
    assert (np.diff([bound(9, 19, 200, confidence=confidence) for confidence in CONFIDENCES]) < 0).all()
    assert bound(9, 19, 200) == bound(19, 9, 200) > 0


def test_a_larger_delta_proves_less():
    assert (np.diff([epsilon_lower_bound(1, 99, 200, delta) for delta in (0.0, 1e-5, 0.01, 0.1, 0.5)]) < 0).all()


@pytest.mark.parametrize("mu", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("delta", [1e-5, 0.01])
def test_many_runs_prove_nearly_the_truth_and_never_more(mu, delta):
    runs = 10**9
    truth = epsilon_of([events.gaussian(1 / mu)], delta)
    thresholds = np.linspace(0, mu / 2 + truth / mu + 2, 200)
    expected = [(round(runs * norm.sf(at)), round(runs * norm.cdf(at - mu))) for at in thresholds]
    assert 0.995 * mu < max(mu_lower_bound(*errors, runs) for errors in expected[:50]) <= mu
    assert 0.96 * truth < max(epsilon_lower_bound(*errors, runs, delta) for errors in expected) <= truth


def test_the_power_is_the_chance_that_the_bound_exceeds_the_claim():
    bounds = pairs(lambda first, second: mu_lower_bound(first, second, SIZE, 0.9))
    for mu, claim, threshold in [(1.0, 0.2, None), (2.0, 1.0, 0.3), (0.5, 0.5, None), (1.0, 0.0, 1.5)]:
        at = mu / 2 if threshold is None else threshold
        summed = chance(bounds > claim, norm.sf(at), norm.cdf(at - mu))
        assert power(mu, claim, SIZE, confidence=0.9, threshold=threshold) == pytest.approx(summed, rel=1e-9)


@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_a_true_claim_has_no_more_power_against_it_than_the_false_alarm(confidence):
    for mu, runs, shift in itertools.product([0.1, 1.0, 3.0], [100, 5_000], [-1.0, 0.0, 0.7]):
        assert power(mu, mu, runs, confidence=confidence, threshold=mu / 2 + shift) <= 1 - confidence


def test_power_grows_with_the_fault_and_is_largest_half_way():
    assert (np.diff([power(mu, 0.5, 300) for mu in (0.5, 0.7, 0.9, 1.1)]) > 0).all()
    assert (np.diff([power(1.0, claim, 300) for claim in (0.9, 0.7, 0.5)]) > 0).all()
    assert power(1.0, 0.5, 200) > max(power(1.0, 0.5, 200, threshold=at) for at in (-0.2, 0.1, 0.9, 1.2))


@pytest.mark.parametrize(("mu", "claim", "runs"), [(1.0, 0.5, 500), (0.75, 0.5, 1_000), (1.12, 1.0, 5_000)])
def test_so_many_runs_refute_a_wrong_claim(mu, claim, runs):
    assert runs_needed(mu, claim) == runs
    assert power(mu, claim, runs) >= 0.9
    assert power(mu, claim, RUNS[RUNS.index(runs) - 1]) < 0.9


def test_surer_verdicts_need_more_runs():
    assert runs_needed(1.0, 0.5, confidence=1 - ALARM) == 1_000
    assert runs_needed(1.0, 0.5, least_power=0.8) == 200


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mu_lower_bound(-1, 0, 10), "Expected false_positives to be a whole number"),
        (lambda: mu_lower_bound(0, 0.5, 10), "Expected false_negatives to be a whole number"),
        (lambda: mu_lower_bound(0, 11, 10), "Expected false_negatives to be at most runs=10. Found 11"),
        (lambda: mu_lower_bound(0, 0, 0), "Expected runs to be a whole number, 1 or more"),
        (lambda: mu_lower_bound(0, 0, 10, confidence=1.0), "Expected confidence"),
        (lambda: epsilon_lower_bound(11, 0, 10, 0.0), "Expected false_positives to be at most"),
        (lambda: epsilon_lower_bound(0, 0, 10, delta=-1e-5), "Expected delta"),
        (lambda: epsilon_lower_bound(0, 0, 10, delta=math.nan), "Expected delta"),
        (lambda: power(-1.0, 0.5, 10), "Expected mu"),
        (lambda: power(1.0, math.inf, 10), "Expected claim"),
        (lambda: power(1.0, 0.5, 0), "Expected runs"),
        (lambda: power(1.0, 0.5, 10, threshold=math.inf), "Expected threshold"),
        (lambda: runs_needed(0.5, 0.5), "Expected mu"),
        (lambda: runs_needed(1.0, 0.5, least_power=1.0), "Expected least_power"),
        (lambda: runs_needed(1.001, 1.0), "Expected mu to be far enough above claim for 100000 runs"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
