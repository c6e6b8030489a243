"""Prices of every kind of release against bounds that share no code with them (reference.py)."""

import functools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import ndtr
from scipy.stats import laplace, norm

from skdpal.privacy import PrivacyBudget, calibrate, epsilon_of, events
from tests.privacy import reference

DELTA = 1e-5


def mechanisms(event):
    """An event in the words of the reference: [(mechanism, how often), ...]."""
    match event:
        case events.Gaussian():
            return [(reference.gaussian(event.noise_multiplier), event.steps)]
        case events.PoissonGaussian():
            return [(reference.poisson_gaussian(event.noise_multiplier, event.sampling_rate), event.steps)]
        case events.Laplace():
            return [(reference.laplace(event.noise_multiplier), 1)]
        case events.RandomizedResponse():
            return [(reference.randomized_response(event.epsilon, event.n_classes), 1)]
        case events.Composed():
            return [(pair, event.count * times) for part in event.events for pair, times in mechanisms(part)]
    raise TypeError(event)


def check(price, lower, upper):
    """A price is no less than what somebody can find out, and hardly more."""
    assert lower <= price * (1 + 1e-6)
    assert price <= 1.01 * upper


def known(released, delta):
    return reference.bounds(mechanisms(events.composed(released)), delta)


# ---- the reference itself -------------------------------------------------------------------------------------


@pytest.mark.parametrize("delta", [1e-8, 1e-5, 0.01])
@pytest.mark.parametrize(("sigma", "steps"), [(0.5, 3), (1.0, 1), (4.0, 1), (8.0, 20), (30.0, 1)])
def test_reference_brackets_the_closed_form_of_gaussians(sigma, steps, delta):
    mu = math.sqrt(steps) / sigma

    def excess(epsilon):
        return ndtr(mu / 2 - epsilon / mu) - math.exp(epsilon) * ndtr(-mu / 2 - epsilon / mu) - delta

    exact = brentq(excess, 0, 40, xtol=1e-12) if excess(0) > 0 else 0.0
    lower, upper = reference.bounds([(reference.gaussian(sigma), steps)], delta)
    assert lower <= exact <= upper <= lower * 1.006
    split = [(reference.gaussian(sigma), steps - 1), (reference.gaussian(sigma), 1)]
    assert reference.bounds(split, delta) == pytest.approx((lower, upper), rel=1e-6)


@pytest.mark.parametrize("delta", [1e-8, 1e-5, 0.01])
@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0, 10.0])
def test_reference_brackets_the_closed_form_of_laplace(scale, delta):
    exact = 1 / scale + 2 * math.log1p(-delta)  # δ(ε) = 1 - exp((ε - 1/b) / 2)
    lower, upper = reference.bounds([(reference.laplace(scale), 1)], delta)
    assert lower <= exact <= upper <= lower * 1.006


@pytest.mark.parametrize("times", [1, 4, 30])
def test_reference_brackets_the_sum_over_answers(times):
    """Composed randomized response with two classes is a binomial: δ is a sum of its terms."""
    p = math.e / (1 + math.e)
    right = np.arange(times + 1)
    terms = np.array([math.comb(times, k) * p**k * (1 - p) ** (times - k) for k in right])
    losses = 2.0 * right - times

    def excess(epsilon):
        return (terms * np.maximum(0, -np.expm1(epsilon - losses))).sum() - DELTA

    lower, upper = reference.bounds([(reference.randomized_response(1.0, 2), times)], DELTA)
    assert lower <= brentq(excess, 0, times, xtol=1e-12) <= upper <= lower * 1.006


def test_reference_of_a_full_sample_is_gaussian():
    full = reference.bounds([(reference.poisson_gaussian(2.0, 1.0), 7)], DELTA)
    assert full == pytest.approx(reference.bounds([(reference.gaussian(2.0), 7)], DELTA), rel=1e-6)


@pytest.mark.parametrize("order", [0, 1], ids=["present", "absent"])
@pytest.mark.parametrize("epsilon", [0.05, 0.15, 0.3])
def test_reference_of_one_sampled_step_is_the_integral_of_its_definition(epsilon, order):
    sigma, rate = 1.3, 0.2
    x = np.linspace(-15, 16, 400_001)
    absent = norm.pdf(x, scale=sigma)
    pair = [(1 - rate) * absent + rate * norm.pdf(x, 1, sigma), absent]
    excess = np.maximum(pair[order] - math.exp(epsilon) * pair[1 - order], 0)
    delta = float(np.trapezoid(excess, x))
    lower, upper = reference.bounds([((reference.poisson_gaussian(sigma, rate)[order],) * 2, 1)], max(delta, 1e-8))
    if delta > 1e-8:  # with the patient absent no loss is above -log(1 - q) = 0.22
        assert lower <= epsilon + 1e-9
        assert epsilon <= upper + 1e-9
    else:
        assert upper <= epsilon


def test_bounded_range_dominates_what_a_binary_choice_does():
    eta, t = 0.7, 0.3
    _, dominating = reference.bounds([(reference.bounded_range(eta), 1)], 0.01)
    assert dominating <= eta
    lower, upper = reference.bounds([(reference.binary_choice(eta, t), 1)], 0.01)
    assert lower <= dominating
    assert upper <= 1.006 * max(t, eta - t)  # the other choice gives away η - t


# ---- prices between the bounds --------------------------------------------------------------------------------

CASES = {
    "gaussian": ([events.gaussian(4.0)], DELTA),
    "scores": ([events.noisy_scores(1.48)] * 5, DELTA),
    "laplace": ([events.laplace(2.0)], DELTA),
    "laplaces": ([events.laplace(3.0)] * 12, 1e-6),
    "response": ([events.randomized_response(1.0, 2)] * 5, 1e-8),
    "responses": ([events.randomized_response(0.5, 7)] * 40, DELTA),
    "one step": ([events.poisson_gaussian(1.0, 0.1, 1)], DELTA),
    "50 steps": ([events.poisson_gaussian(4.0, 0.25, 50)], DELTA),
    "80 steps": ([events.poisson_gaussian(1.0, 4 / 32, 80)], DELTA),
    "2250 steps": ([events.poisson_gaussian(1.5, 0.04, 2250)], DELTA),
    "small": ([events.poisson_gaussian(6.0, 0.02, 100)], DELTA),
    "tiny delta": ([events.poisson_gaussian(2.0, 0.25, 20), events.gaussian(3.0)], 1e-8),
    "mixed": ([*[events.gaussian(2.0)] * 3, events.laplace(1.5), events.randomized_response(1.0, 4)], DELTA),
    "study": (
        [
            events.composed([events.poisson_gaussian(2.0, 0.25, 20), events.noisy_scores(3.0)], count=4),
            events.randomized_response(0.8, 5),
            events.laplace(4.0),
        ],
        1e-6,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_price_is_between_the_bounds(name):
    released, delta = CASES[name]
    check(epsilon_of(released, delta), *known(released, delta))


@pytest.mark.parametrize("seed", range(6))
def test_price_of_any_list_is_between_the_bounds(seed):
    rng = np.random.default_rng(seed)
    makers = [
        lambda: events.gaussian(rng.uniform(1, 8), int(rng.integers(1, 10))),
        lambda: events.poisson_gaussian(rng.uniform(0.8, 4), rng.uniform(0.02, 0.5), int(rng.integers(1, 40))),
        lambda: events.laplace(rng.uniform(1, 8)),
        lambda: events.randomized_response(rng.uniform(0.1, 2), int(rng.integers(2, 12))),
    ]
    released = [makers[rng.integers(4)]() for _ in range(rng.integers(2, 6))]
    check(epsilon_of(released, DELTA), *known(released, DELTA))


def test_known_prices():
    assert epsilon_of([events.poisson_gaussian(1.5, 0.04, 2250)], DELTA) == pytest.approx(6.7688, abs=0.01)
    assert epsilon_of([events.randomized_response(1.0, 2)] * 5, 1e-9) == pytest.approx(5.0, abs=0.001)


@pytest.mark.parametrize(
    "make",
    [
        events.gaussian,
        lambda noise: events.poisson_gaussian(noise, 0.25, 20),
        events.laplace,
        lambda noise: events.randomized_response(1 / noise, 3),
    ],
    ids=["gaussian", "poisson", "laplace", "response"],
)
def test_five_percent_more_noise_in_the_price_would_be_noticed(make):
    """The check can fail, in both directions."""
    lower, upper = known([make(2.0)], DELTA)
    check(epsilon_of([make(2.0)], DELTA), lower, upper)
    for fault in (1.05, 1 / 1.05):
        with pytest.raises(AssertionError):
            check(epsilon_of([make(2.0 * fault)], DELTA), lower, upper)


@pytest.mark.parametrize(("noise", "k"), [(0.5, 1), (2.0, 1), (2.0, 3), (1.0, 8), (5.0, 20), (4.0, 60)])
def test_top_k_costs_what_a_binary_choice_reveals_and_no_more_than_the_dominating_pair(noise, k):
    eta, price = 1 / noise, epsilon_of([events.gumbel_top_k(noise, k)], DELTA)
    choices = [reference.binary_choice(eta, eta * share) for share in np.linspace(0.04, 0.96, 24)]
    lower = max(reference.bounds([(choice, k)], DELTA)[0] for choice in choices)
    check(price, lower, reference.bounds([(reference.bounded_range(eta), k)], DELTA)[1])
    rho = k * eta**2 / 8  # zero-concentrated (Cesar and Rogers 2021)
    assert price <= min(k * eta, rho + 2 * math.sqrt(rho * math.log(1 / DELTA))) * (1 + 1e-6)


# ---- what prices must obey ------------------------------------------------------------------------------------

ONE_EACH = {
    "gaussian": events.gaussian(3.0),
    "poisson": events.poisson_gaussian(2.0, 0.25, 20),
    "laplace": events.laplace(2.0),
    "response": events.randomized_response(1.0, 3),
    "top k": events.gumbel_top_k(3.0, 2),
    "best of": events.repeat_and_select(events.gaussian(4.0), 5.0),
}


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("name", ONE_EACH)
def test_k_times_is_count_k(name, k):
    event = ONE_EACH[name]
    price = epsilon_of([event] * k, DELTA)
    assert epsilon_of([events.composed([event], count=k)], DELTA) == pytest.approx(price, rel=1e-6)
    assert epsilon_of([events.composed([event] * k)], DELTA) == pytest.approx(price, rel=1e-6)


def test_k_times_is_k_steps_and_k_winners():
    steps = epsilon_of([events.poisson_gaussian(2.0, 0.25, 1)] * 20, DELTA)
    assert epsilon_of([ONE_EACH["poisson"]], DELTA) == pytest.approx(steps, rel=1e-6)
    winners = epsilon_of([events.gumbel_top_k(2.0, 1)] * 6, DELTA)
    assert epsilon_of([events.gumbel_top_k(2.0, 6)], DELTA) == pytest.approx(winners, rel=1e-6)


@settings(max_examples=5)
@given(st.permutations([event for name, event in ONE_EACH.items() if name != "best of"]))
def test_order_does_not_matter(released):
    assert epsilon_of(released, DELTA) == pytest.approx(in_order(), rel=1e-9)


@functools.cache
def in_order():
    return epsilon_of([event for name, event in ONE_EACH.items() if name != "best of"], DELTA)


NOISY = {
    "gaussian": events.gaussian,
    "laplace": events.laplace,
    "top k": lambda noise: events.gumbel_top_k(noise, 3),
    "poisson": lambda noise: events.poisson_gaussian(noise, 0.2, 10),
    "response": lambda noise: events.randomized_response(1 / noise, 4),
    "best of": lambda noise: events.repeat_and_select(events.gaussian(noise), 5.0),
    "rate": lambda noise: events.poisson_gaussian(1.5, 0.9 / noise, 10),
    "steps": lambda noise: events.poisson_gaussian(1.5, 0.2, math.ceil(100 / noise)),
    "winners": lambda noise: events.gumbel_top_k(4.0, math.ceil(20 / noise)),
    "tries": lambda noise: events.repeat_and_select(events.gaussian(3.0), 1 + 20 / noise),
}


@pytest.mark.parametrize("name", NOISY)
@settings(max_examples=4)
@given(noise=st.floats(1.0, 10), more=st.floats(1.01, 3))
def test_more_noise_or_less_data_never_costs_more(name, noise, more):
    make = NOISY[name]
    assert epsilon_of([make(noise * more)], DELTA) <= epsilon_of([make(noise)], DELTA) * (1 + 1e-6)


@pytest.mark.parametrize("name", ONE_EACH)
def test_one_more_release_never_costs_less(name):
    alone = epsilon_of([ONE_EACH["gaussian"]], DELTA)
    assert epsilon_of([ONE_EACH["gaussian"], ONE_EACH[name]], DELTA) >= alone * (1 - 1e-6)


def test_without_privacy_nothing_helps():
    for event in ONE_EACH.values():
        assert epsilon_of([event, events.nonprivate()], DELTA) == math.inf
        assert epsilon_of([events.one_of([event, events.nonprivate()])], DELTA) == math.inf


# ---- one of several releases ----------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ONE_EACH)
@pytest.mark.parametrize("second", ["gaussian", "poisson", "response"])
def test_one_of_two_costs_at_least_the_dearer_and_at_most_both(first, second):
    pair = [ONE_EACH[first], ONE_EACH[second]]
    either = epsilon_of([events.one_of(pair)], DELTA)
    assert either >= max(epsilon_of([event], DELTA) for event in pair) * (1 - 1e-6)
    assert either <= epsilon_of([events.composed(pair)], DELTA) * (1 + 1e-6)


def test_five_rounds_of_training_or_selection_and_a_last_training():
    train, selection = events.poisson_gaussian(2.0, 0.25, 20), events.gaussian(1.48)
    rounds = epsilon_of([*[events.one_of([train, selection])] * 5, train], DELTA)
    assert rounds == pytest.approx(7.81, abs=0.01)
    assert epsilon_of([*[train] * 6, *[selection] * 5], DELTA) == pytest.approx(10.75, abs=0.02)
    # a patient may have been in any number of the trainings
    for trainings in range(1, 7):
        lower, _ = known([*[train] * trainings, *[selection] * (6 - trainings)], DELTA)
        assert rounds >= lower


@pytest.mark.parametrize("noise", [1.0, 3.0])
@pytest.mark.parametrize(("sigma", "scale"), [(4.0, 1.0), (2.0, 1.0), (3.0, 0.5), (8.0, 4.0)])
def test_a_role_that_an_earlier_release_decides_costs_its_exact_price(noise, sigma, scale):
    """What came out of the first round, x, sends the patient where they show most: δ(ε) = E max δ_role(ε - L(x))."""
    mu = 1 / sigma

    def roles(x):
        gaussian = ndtr(mu / 2 - x / mu) - np.exp(x) * ndtr(-mu / 2 - x / mu)
        inside = -np.expm1((np.minimum(x, 1 / scale) - 1 / scale) / 2)
        return gaussian, np.where(x < -1 / scale, -np.expm1(np.minimum(x, 0)), inside)

    loss = np.linspace(-12, 12, 200_001) / noise + 1 / (2 * noise**2)
    mass = norm.pdf(loss, 1 / (2 * noise**2), 1 / noise) * (loss[1] - loss[0])

    def price(role):
        return brentq(lambda epsilon: mass @ role(epsilon - loss) - DELTA, 0, 40)

    exact = price(lambda x: np.maximum(*roles(x)))
    fixed = max(price(lambda x, which=which: roles(x)[which]) for which in (0, 1))
    assert exact >= fixed
    either = events.one_of([events.gaussian(sigma), events.laplace(scale)])
    check(epsilon_of([events.gaussian(noise), either], DELTA), exact, exact)


# ---- the published claim, and the best of many ----------------------------------------------------------------


def test_five_published_rounds_cost_far_more_than_was_claimed():
    """80 steps a round with q = 4/32 and σ = 1 were published as ε = 2."""
    released = [events.poisson_gaussian(1.0, 4 / 32, 80)] * 5
    price = epsilon_of(released, DELTA)
    assert price >= 17.2
    check(price, *known(released, DELTA))


def slope(mean, shape):
    """φ'(s) for φ the probability generating function of the number of runs."""
    if shape == 1.0:  # geometric
        return lambda s: (1 / mean) / (1 - (1 - 1 / mean) * s) ** 2
    if shape == 0.0:  # logarithmic
        gamma = brentq(lambda gamma: (1 / gamma - 1) / math.log(1 / gamma) - mean, 1e-9, 1 - 1e-9)
        return lambda s: (1 - gamma) / math.log(1 / gamma) / (1 - (1 - gamma) * s)
    return lambda s: mean * np.exp(mean * (s - 1))  # Poisson


def best_of_many(law, mean, shape):
    """ε when the largest of K scores is released; `law` gives density and distribution in both worlds."""
    y = np.linspace(-16, 17, 400_001)
    number = slope(mean, shape)
    present, absent = (density(y) * number(below(y)) for density, below in law)

    def excess(epsilon, first, second):
        return np.trapezoid(np.maximum(first - math.exp(epsilon) * second, 0), y) - DELTA

    return max(brentq(excess, 0, 30, args=pair) for pair in ((present, absent), (absent, present)))


def normal(centre, scale=1.0):
    return functools.partial(norm.pdf, loc=centre, scale=scale), lambda y: ndtr((y - centre) / scale)


def sampled(sigma, rate):
    (one, below_one), (zero, below_zero) = normal(1.0, sigma), normal(0.0, sigma)
    return lambda y: (1 - rate) * zero(y) + rate * one(y), lambda y: (1 - rate) * below_zero(y) + rate * below_one(y)


RUNS = {
    "dear": (events.gaussian(1.0), (normal(1.0), normal(0.0))),
    "usual": (events.gaussian(3.73), (normal(1 / 3.73), normal(0.0))),
    "cheap": (events.gaussian(10.0), (normal(0.1), normal(0.0))),
    "sampled": (events.poisson_gaussian(1.5, 0.2, 1), (sampled(1.5, 0.2), normal(0.0, 1.5))),
    "laplace": (events.laplace(1.0), tuple((laplace(at, scale=1.0).pdf, laplace(at, scale=1.0).cdf) for at in (1, 0))),
}


@pytest.mark.parametrize("mean", [3.0, 100.0])
@pytest.mark.parametrize("shape", [1.0, 0.0, math.inf], ids=["geometric", "logarithmic", "poisson"])
@pytest.mark.parametrize("name", RUNS)
def test_best_of_many_costs_at_least_what_it_reveals(name, shape, mean):
    event, law = RUNS[name]
    assert epsilon_of([events.repeat_and_select(event, mean, shape)], DELTA) >= best_of_many(law, mean, shape)


@pytest.mark.parametrize(("shape", "expected"), [(1.0, 1.63), (0.0, 1.51)], ids=["geometric", "logarithmic"])
def test_best_of_ten_runs_of_epsilon_one(shape, expected):
    one = events.gaussian(calibrate(events.gaussian, PrivacyBudget(1.0, DELTA)))
    assert epsilon_of([events.repeat_and_select(one, 10.0, shape)], DELTA) == pytest.approx(expected, abs=0.03)
