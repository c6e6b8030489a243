"""Which filter takes which release, at what price; what it refuses, and in which words."""

import json
import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import erfinv, logsumexp, ndtr, ndtri
from scipy.stats import norm

from skdpal.privacy import BudgetExhausted, LedgerError, PrivacyBudget, PrivacyLedger, calibrate, epsilon_of, events
from skdpal.privacy.accounting import ceiling_mu_squared, mu_squared
from skdpal.privacy.accounting.amounts import add, ceil_of, fits, floor_of, value_of
from skdpal.privacy.accounting.frozen import epsilon_of_roles
from skdpal.privacy.accounting.losses import losses_of
from skdpal.privacy.accounting.renyi import ORDERS, best_epsilon, conversion, curve
from skdpal.privacy.accounts import POOL, Accounts
from skdpal.privacy.filters import GdpFilter, RenyiFilter
from skdpal.privacy.filters.planned import PlannedFilter, Schedule
from skdpal.privacy.filters.remedies import scaled
from tests.privacy import reference

DELTA = 1e-5
BUDGET = PrivacyBudget(8.0, DELTA)
ORDER = 12.0
SPARE = events.gaussian(20.0)  # what a plan allows beside the release under test

ONE_RUN = events.gaussian(8.0)
EVENTS = {
    "gaussian": events.gaussian(4.0, steps=2),
    "noisy scores": events.noisy_scores(3.0),
    "poisson": events.poisson_gaussian(2.0, 0.25, 5),
    "laplace": events.laplace(2.0),
    "response": events.randomized_response(0.7, 3),
    "top k": events.gumbel_top_k(4.0, k=3),
    "best of, geometric": events.repeat_and_select(ONE_RUN, 5.0),
    "best of, poisson": events.repeat_and_select(ONE_RUN, 5.0, math.inf),
    "one of": events.one_of([events.gaussian(4.0), events.noisy_scores(3.0)]),
    "composed": events.composed([events.gaussian(9.0), events.noisy_scores(6.0)], count=3),
    "modalities": events.modalities({"rna": events.gaussian(9.0), "wes": events.noisy_scores(6.0)}),
    "nonprivate": events.nonprivate(),
}

# what each kind of ledger says to each: its exact price, a proven bound on it, or no
TABLE = {
    #                      gdp          renyi, order   renyi, curve   planned
    "gaussian":           ("exact",     "exact",       "exact",       "exact"),
    "noisy scores":       ("exact",     "exact",       "exact",       "exact"),
    "poisson":            ("refused",   "exact",       "exact",       "exact"),
    "laplace":            ("converted", "exact",       "exact",       "exact"),
    "response":           ("converted", "exact",       "exact",       "exact"),
    "top k":              ("refused",   "converted",   "converted",   "exact"),
    "best of, geometric": ("refused",   "converted",   "converted",   "converted"),
    "best of, poisson":   ("refused",   "converted",   "converted",   "converted"),
    "one of":             ("exact",     "exact",       "exact",       "exact"),
    "composed":           ("exact",     "exact",       "exact",       "exact"),
    "modalities":         ("exact",     "exact",       "exact",       "exact"),
    "nonprivate":         ("refused",   "refused",     "refused",     "refused"),
}  # fmt: skip
KINDS = ("gdp", "order", "curve", "planned")
CELLS = [(name, kind, answer) for name, row in TABLE.items() for kind, answer in zip(KINDS, row, strict=True)]

WAY_OUT = {
    "poisson": r"full batches \(events\.gaussian\).*\"renyi\" or \"planned\"",
    "top k": r"use events\.noisy_scores",
    "best of, geometric": r"release all K runs, events\.gaussian\(noise_multiplier, steps=K\)",
    "best of, poisson": r"release all K runs, events\.gaussian\(noise_multiplier, steps=K\)",
    "nonprivate": r"DP estimator, public data",
}


def make(kind, event, budget=BUDGET):
    """A ledger of a kind; what must be planned, is."""
    return {
        "gdp": lambda: PrivacyLedger(budget),
        "order": lambda: PrivacyLedger(budget, "renyi", order=ORDER),
        "curve": lambda: PrivacyLedger(budget, "renyi", schedule=[event, SPARE]),
        "planned": lambda: PrivacyLedger(budget, "planned", schedule=[event]),
    }[kind]()


def filter_of(ledger):
    return ledger._book.read().filter


# ---- what is known of each release without the kernel -----------------------------------------------------------


def divergence(log_p, log_q, order, low, high, points):
    """The larger Rényi divergence of two densities, by integrating the definition."""

    def one(first, second):
        def exponent(x):
            return order * first(x) + (1 - order) * second(x)

        peak = max(exponent(x) for x in np.linspace(low, high, 4001))
        parts = [low, *points, high]
        area = sum(
            quad(lambda x: math.exp(exponent(x) - peak), a, b, limit=500, epsabs=0, epsrel=1e-11)[0]
            for a, b in zip(parts[:-1], parts[1:], strict=True)
        )
        return (peak + math.log(area)) / (order - 1)

    return max(one(log_p, log_q), one(log_q, log_p))


def divergence_of_tables(p, q, order):
    """The larger Rényi divergence of two finite laws."""
    logs = np.log(p), np.log(q)
    return max(logsumexp(order * a + (1 - order) * b) for a, b in (logs, logs[::-1])) / (order - 1)


def gaussian_divergence(sigma, order):
    def log_density(centre):
        return lambda x: -(((x - centre) / sigma) ** 2) / 2 - math.log(sigma * math.sqrt(2 * math.pi))

    return divergence(log_density(1.0), log_density(0.0), order, -12 * sigma, order + 12 * sigma, [0.0, order])


def sampled_divergence(sigma, rate, order):
    def absent(x):
        return -((x / sigma) ** 2) / 2 - math.log(sigma * math.sqrt(2 * math.pi))

    def present(x):
        return absent(x) + float(np.logaddexp(math.log1p(-rate), math.log(rate) + (2 * x - 1) / (2 * sigma**2)))

    return divergence(present, absent, order, -12 * sigma, order + 12 * sigma, [0.0, 1.0, order])


def laplace_divergence(scale, order):
    def log_density(centre):
        return lambda x: -abs(x - centre) / scale - math.log(2 * scale)

    return divergence(log_density(1.0), log_density(0.0), order, -60 * scale, 1 + 60 * scale, [0.0, 1.0])


def response_tables(epsilon, n_classes):
    other = 1 / (math.exp(epsilon) + n_classes - 1)
    p = np.full(n_classes, other)
    p[0] = 1 - (n_classes - 1) * other
    return p, np.roll(p, 1)


def best_of_many(sigma, mean, shape, order):
    """The divergence of what really leaves, the best of K scores; a lower bound of any price."""
    if shape == 1.0:
        slope, nothing = lambda s: -math.log(mean) - 2 * np.log(1 - (1 - 1 / mean) * s), -math.inf
    else:  # with K = 0 both worlds return the same default
        slope, nothing = lambda s: math.log(mean) + mean * (s - 1), -mean
    y = np.linspace(-14, 14, 200_001)
    p, q = (norm.logpdf(y, centre) + slope(ndtr(y - centre)) for centre in (1 / sigma, 0.0))

    def one(first, second):
        area = logsumexp(order * first + (1 - order) * second) + math.log(y[1] - y[0])
        return float(np.logaddexp(area, nothing)) / (order - 1)

    return max(one(p, q), one(q, p))


def choice_divergence(eta, k, order):
    """k peels of a choice between two: a lower bound of what Gumbel noise reveals."""

    def one(t):
        q = (math.exp(-t) - math.exp(-eta)) / -math.expm1(-eta)
        p = math.exp(t) * q
        return divergence_of_tables([p, 1 - p], [q, 1 - q], order)

    return k * max(one(eta * share) for share in np.linspace(0.05, 0.95, 19))


DIVERGENCES = {
    "gaussian": lambda order: 2 * gaussian_divergence(4.0, order),
    "noisy scores": lambda order: gaussian_divergence(3.0, order),
    "poisson": lambda order: 5 * sampled_divergence(2.0, 0.25, order),
    "laplace": lambda order: laplace_divergence(2.0, order),
    "response": lambda order: divergence_of_tables(*response_tables(0.7, 3), order),
    "top k": lambda order: choice_divergence(1 / 4.0, 3, order),
    "best of, geometric": lambda order: best_of_many(8.0, 5.0, 1.0, order),
    "best of, poisson": lambda order: best_of_many(8.0, 5.0, math.inf, order),
    "one of": lambda order: max(gaussian_divergence(4.0, order), gaussian_divergence(3.0, order)),
    "composed": lambda order: 3 * (gaussian_divergence(9.0, order) + gaussian_divergence(6.0, order)),
    "modalities": lambda order: gaussian_divergence(9.0, order) + gaussian_divergence(6.0, order),
}
MU_SQUARED = {
    "gaussian": 2 / 16,
    "noisy scores": 1 / 9,
    "laplace": (2 * norm.ppf(math.exp(0.5) / (1 + math.exp(0.5)))) ** 2,
    "response": sum(norm.ppf([1 - 1 / (math.exp(0.7) + 2), math.exp(0.7) / (math.exp(0.7) + 2)])) ** 2,
    "one of": 1 / 9,
    "composed": 3 * (1 / 81 + 1 / 36),
    "modalities": 1 / 81 + 1 / 36,
}
PAIRS = {
    "poisson": [(reference.poisson_gaussian(2.0, 0.25), 5)],
    "laplace": [(reference.laplace(2.0), 1)],
    "response": [(reference.randomized_response(0.7, 3), 1)],
    "top k": [(reference.bounded_range(1 / 4.0), 3)],
}


def gdp_epsilon(mu, delta=DELTA):
    """ε of μ by root finding on the textbook formula."""
    return brentq(lambda eps: norm.cdf(mu / 2 - eps / mu) - math.exp(eps) * norm.cdf(-mu / 2 - eps / mu) - delta, 0, 60)


# ---- the table ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind", "answer"), CELLS)
def test_the_table_of_releases_and_ledgers(name, kind, answer, journal):
    event = EVENTS[name]
    if answer == "refused":
        if kind in ("curve", "planned"):
            with pytest.raises(BudgetExhausted, match=r"schedule costs ε=inf.*spent 0\.00 of 8\.00") as refusal:
                make(kind, event)
            assert (refusal.value.price, refusal.value.spent, refusal.value.ceiling) == (math.inf, 0.0, 8.0)
            return
        ledger = make(kind, event)
        before = journal(ledger)
        assert not ledger.affords(event)
        for attempt in (ledger.charge, ledger.require, ledger.reserve):
            with pytest.raises(BudgetExhausted, match=rf"^it costs ε=inf; spent 0\.00 of 8\.00 .*{WAY_OUT[name]}"):
                attempt(event, "it")
        assert journal(ledger) == before
        return
    ledger = make(kind, event)
    assert ledger.affords(event)
    ledger.charge(event, "it")
    check_price(name, kind, answer, ledger)


def check_price(name, kind, answer, ledger):
    """What was paid is what can be found out without the kernel; a conversion is at least that."""
    (paid,), spent = ledger._book.read().accounts.spent()[:1] or (None,), ledger.spent()
    if kind == "gdp":
        assert value_of(paid) == pytest.approx(MU_SQUARED[name], rel=1e-9)
        assert spent == pytest.approx(gdp_epsilon(math.sqrt(MU_SQUARED[name])), rel=1e-6)
        cheaper = epsilon_of([EVENTS[name]], DELTA)
        assert spent == pytest.approx(cheaper, rel=1e-6) if answer == "exact" else spent > cheaper
    elif kind in ("order", "curve"):
        order = ORDER if kind == "order" else filter_of(ledger).orders[0]
        true = DIVERGENCES[name](order)
        assert value_of(paid) >= true * (1 - 1e-9)
        if answer == "exact" and float(order).is_integer():
            assert value_of(paid) == pytest.approx(true, rel=1e-6)
    elif name in PAIRS:
        lower, upper = reference.bounds(PAIRS[name], DELTA)
        assert lower <= spent * (1 + 1e-6)
        assert spent <= 1.01 * upper
    elif name in MU_SQUARED:
        assert spent == pytest.approx(gdp_epsilon(math.sqrt(MU_SQUARED[name])), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrapped", [events.composed, events.one_of])
def test_what_is_refused_is_refused_inside_of_others(kind, wrapped):
    event = wrapped([events.gaussian(50.0), wrapped([events.gaussian(60.0), events.nonprivate()])])
    with pytest.raises(BudgetExhausted, match=r"costs ε=inf.*; spent 0\.00 of 8\.00"):
        make(kind, event).charge(event, "it")


@pytest.mark.parametrize("name", ["poisson", "top k", "best of, geometric"])
def test_the_way_out_is_that_of_the_part_that_has_no_price(name):
    event = events.composed([events.gaussian(50.0), events.one_of([events.gaussian(60.0), EVENTS[name]])])
    with pytest.raises(BudgetExhausted, match=WAY_OUT[name]):
        PrivacyLedger(BUDGET).charge(event, "it")


@pytest.mark.parametrize("kind", ["gdp", "order", "curve"])
def test_a_refusal_says_price_spent_and_ceiling(kind, journal):
    ledger = make(kind, events.gaussian(1.0))
    ledger.charge(events.gaussian(1.2), "first")
    spent, before = ledger.spent(), journal(ledger)
    with pytest.raises(BudgetExhausted) as refusal:
        ledger.charge(events.gaussian(0.5), "second")
    price, paid, ceiling = map(
        float, re.match(r"second costs ε=(.*); spent (.*) of (\S*) ", str(refusal.value)).groups()
    )
    assert price == pytest.approx(refusal.value.price, abs=0.006)
    assert paid == pytest.approx(spent, abs=0.006)
    assert refusal.value.spent == spent
    assert ceiling == refusal.value.ceiling == 8.0
    assert journal(ledger) == before


# ---- μ of what is not Gaussian --------------------------------------------------------------------------------------


def gaussian_curve(alpha, mu):
    """The trade-off curve of μ-GDP."""
    return ndtr(ndtri(1 - alpha) - mu)


def gaussian_delta(mu, epsilon):
    return ndtr(mu / 2 - epsilon / mu) - np.exp(epsilon) * ndtr(-mu / 2 - epsilon / mu)


@pytest.mark.parametrize("epsilon", [0.05, 0.3, 1.0, 2.0, 5.0, 12.0])
def test_mu_of_a_pure_epsilon_dominates_and_is_tight(epsilon):
    mu = math.sqrt(mu_squared(events.laplace(1 / epsilon)))
    assert mu == pytest.approx(2 * norm.ppf(math.exp(epsilon) / (1 + math.exp(epsilon))), rel=1e-9)
    alpha = np.concatenate([np.geomspace(1e-12, 0.01, 400), np.linspace(0.01, 1 - 1e-9, 4000)])
    pure = np.maximum(np.maximum(1 - math.exp(epsilon) * alpha, math.exp(-epsilon) * (1 - alpha)), 0)
    assert (gaussian_curve(alpha, mu) <= pure + 1e-14).all()
    fixed_point = 1 / (1 + math.exp(epsilon))
    assert gaussian_curve(fixed_point, mu) == pytest.approx(fixed_point, rel=1e-9)
    assert gaussian_curve(fixed_point, 0.999 * mu) > fixed_point * (1 + 1e-6)


@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("epsilon", [0.05, 0.7, 2.0, 6.0])
def test_mu_of_randomized_response_dominates_and_is_tight(epsilon, n_classes):
    mu = math.sqrt(mu_squared(events.randomized_response(epsilon, n_classes)))
    p, q = response_tables(epsilon, n_classes)
    assert mu == pytest.approx(norm.ppf(1 - p[1]) + norm.ppf(p[0]), rel=1e-9)
    corners = np.array([p[1], 1 - p[0]])  # false alarms of the best tests; between them the curve is a chord
    assert (gaussian_curve(corners, mu) <= corners[::-1] * (1 + 1e-9)).all()
    assert (gaussian_curve(corners, 0.999 * mu) > corners[::-1]).all()
    grid = np.linspace(-1.2 * epsilon, 1.2 * epsilon, 481)
    exact = np.maximum(p[:, None] - np.exp(grid) * q[:, None], 0).sum(axis=0)
    assert (exact <= gaussian_delta(mu, grid) + 1e-14).all()
    assert mu <= math.sqrt(mu_squared(events.laplace(1 / epsilon))) * (1 + 1e-9)


def test_mu_of_a_response_covers_a_slot_that_answers_anything():
    """Zero-out is covered by label replacement, whatever public mixture an empty slot emits."""
    p, _ = response_tables(0.7, 4)
    mu = math.sqrt(mu_squared(events.randomized_response(0.7, 4)))
    grid = np.linspace(-2, 2, 401)
    labels = np.array([np.roll(p, shift) for shift in range(4)])
    for mixture in ([0.25] * 4, [0.7, 0.1, 0.1, 0.1], [0, 1, 0, 0], [0, 0.5, 0.5, 0]):
        empty = np.array(mixture) @ labels
        for first, second in ((p, empty), (empty, p)):
            exact = np.maximum(first[:, None] - np.exp(grid) * second[:, None], 0).sum(axis=0)
            assert (exact <= gaussian_delta(mu, grid) + 1e-14).all()


@given(st.lists(st.floats(0.5, 20), min_size=1, max_size=5), st.integers(1, 6))
def test_one_of_costs_the_dearest_and_composed_costs_the_sum(sigmas, count):
    parts = list(map(events.gaussian, sigmas))
    for filter in (GdpFilter(BUDGET), RenyiFilter(BUDGET, [4.0, ORDER], [1.0, 3.0])):
        prices = [filter.price(part) for part in parts]
        assert filter.price(events.one_of(parts)) == tuple(map(max, zip(*prices, strict=True)))
        whole = tuple(count * sum(column) for column in zip(*prices, strict=True))
        assert filter.price(events.composed(parts, count=count)) == whole
    mixed = events.one_of([events.laplace(2.0), events.composed(parts)])
    assert mu_squared(mixed) == max(mu_squared(events.laplace(2.0)), mu_squared(events.composed(parts)))


# ---- divergences -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DIVERGENCES)
def test_divergences_are_never_below_their_integral(name):
    orders = (1.5, 2.0, 3.7, 8.0, 20.0, 64.0)
    found = curve(EVENTS[name], orders)
    true = np.array([DIVERGENCES[name](order) for order in orders])
    assert (found >= true * (1 - 1e-9)).all()
    if TABLE[name][1] == "exact":
        whole = [float(order).is_integer() for order in orders]  # between, the bound for samples is looser
        assert found[whole] == pytest.approx(true[whole], rel=1e-6)


@pytest.mark.parametrize(("sigma", "rate"), [(0.7, 0.5), (1.0, 0.125), (1.5, 0.04), (6.0, 0.02), (4.0, 1.0)])
@pytest.mark.parametrize("order", [1.5, 3.9, 10.2, 32.0])
def test_divergences_of_samples_are_never_below_their_integral(sigma, rate, order):
    (found,) = curve(events.poisson_gaussian(sigma, rate, 7), (order,))
    true = 7 * (sampled_divergence(sigma, rate, order) if rate < 1 else gaussian_divergence(sigma, order))
    assert found >= true * (1 - 1e-9)


@pytest.mark.parametrize("n_classes", [2, 3, 10])
@pytest.mark.parametrize("epsilon", [0.01, 0.5, 3.0, 30.0])
def test_divergences_of_responses_are_sums_over_labels(epsilon, n_classes):
    for order in (1.1, 2.0, 10.2, 128.0):
        (found,) = curve(events.randomized_response(epsilon, n_classes), (order,))
        true = divergence_of_tables(*response_tables(epsilon, n_classes), order)
        assert true * (1 - 1e-8) <= found <= true * (1 + 1e-8)
        assert found <= epsilon * (1 + 1e-8)


@pytest.mark.parametrize("shape", [0.0, 1.0, math.inf], ids=["logarithmic", "geometric", "poisson"])
def test_the_best_of_many_costs_the_same_wherever_its_order_is_asked_for(shape):
    """λ̂ is taken from the whole grid, also when one order is asked for."""
    event = events.repeat_and_select(events.gaussian(4.0), 10.0, shape)
    among_all = curve(event)
    for place in (0, 40, len(ORDERS) - 3):
        assert curve(event, (ORDERS[place],))[0] == pytest.approx(among_all[place], rel=1e-9)


def test_the_best_of_many_is_priced_by_its_theorem():
    """Papernot and Steinke (2022, Theorem 2), with the best second order of the grid."""
    sigma, mean, order = 3.73, 10.0, 20
    grid = np.array(ORDERS)
    other = (2 * (1 - 1 / grid) * grid + 0) / (2 * sigma**2) + 2 * math.log(mean) / grid
    bound = order / (2 * sigma**2) + other.min() + math.log(mean) / (order - 1)
    (found,) = curve(events.repeat_and_select(events.gaussian(sigma), mean), (order,))
    assert found <= bound * (1 + 1e-6)
    assert found >= best_of_many(sigma, mean, 1.0, order)


# ---- kinds of filter -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsilon", [0.3, 2.0, 8.0, 20.0])
def test_the_order_that_is_chosen_leaves_most_for_a_gaussian(epsilon):
    budget = PrivacyBudget(epsilon, DELTA)
    chosen = calibrate(events.gaussian, budget, filter="renyi")
    for order in ORDERS:
        if epsilon > conversion(order, DELTA):
            assert calibrate(events.gaussian, budget, filter="renyi", order=order) >= chosen * (1 - 1e-9)
    ledger = PrivacyLedger(budget, "renyi")
    assert ledger.affords(events.gaussian(chosen))
    assert not ledger.affords(events.gaussian(chosen * 0.999))


@pytest.mark.parametrize("order", [1.5, 2.0, 3.0])
def test_an_order_at_which_nothing_is_left_is_no_order(order):
    with pytest.raises(ValueError, match=rf"order {order:g} .*eave order=None"):
        PrivacyLedger(PrivacyBudget(2.0, DELTA), "renyi", order=order)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"filter": "pld"}, "Expected filter to be one of 'gdp', 'renyi', 'planned'"),
        ({"filter": None}, "Expected filter"),
        ({"filter": "renyi", "order": 1.0}, "Expected order"),
        ({"filter": "renyi", "order": math.inf}, "Expected order"),
        ({"filter": "renyi", "order": math.nan}, "Expected order"),
        ({"filter": "renyi", "order": "8"}, "Expected order"),
        ({"order": 8.0}, "order= with filter='renyi'"),
        ({"filter": "planned", "order": 8.0, "schedule": [SPARE]}, "order= with filter='renyi'"),
        ({"filter": "renyi", "order": 8.0, "schedule": [SPARE]}, "no schedule"),
        ({"schedule": [SPARE]}, "none for 'gdp'"),
        ({"filter": "planned"}, "Expected schedule="),
    ],
)
def test_what_makes_no_filter_is_named(arguments, words, tmp_path):
    for attempt in (PrivacyLedger, lambda *a, **k: PrivacyLedger.create(tmp_path / "x.ledger", *a, **k)):
        with pytest.raises(ValueError, match=re.escape(words)):
            attempt(BUDGET, **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_the_filter_is_fixed_at_creation_and_read_back(kind, path):
    event = events.composed([events.gaussian(3.0)], count=2)
    arguments = {
        "gdp": {},
        "order": {"filter": "renyi", "order": 7.3},
        "curve": {"filter": "renyi", "schedule": [event, SPARE, SPARE]},
        "planned": {"filter": "planned", "schedule": [event, SPARE]},
    }[kind]
    made = PrivacyLedger.create(path, BUDGET, **arguments)
    made.charge(event, "first")
    again = PrivacyLedger.open(path)
    assert type(filter_of(again)) is {"gdp": GdpFilter, "planned": PlannedFilter}.get(kind, RenyiFilter)
    assert again.filter == made.filter
    assert filter_of(again).header() == filter_of(made).header()
    assert filter_of(again).ceiling == filter_of(made).ceiling
    assert again.spent() == made.spent() > 0
    for event in (SPARE, events.gaussian(0.5)):
        assert again.affords(event) == made.affords(event)
    assert made.affords(SPARE)
    assert not made.affords(events.gaussian(0.5))
    with pytest.raises(AttributeError):
        made.filter = "gdp"


def test_a_curve_is_enforced_at_every_order():
    """What fits at some orders only is refused, though a ledger of that one order takes it."""
    plan = events.gaussian(1.5)
    ledger = PrivacyLedger(BUDGET, "renyi", schedule=[plan])
    filter = filter_of(ledger)
    steep = events.laplace(0.6)  # dearer than the plan at small orders, cheaper at large ones
    price = filter.price(steep)
    sides = {paid <= most for paid, most in zip(price, filter.ceiling, strict=True)}
    assert sides == {True, False}
    assert not ledger.affords(steep)
    with pytest.raises(BudgetExhausted):
        ledger.charge(steep, "it")


def test_a_curve_pays_for_what_was_planned_in_any_sequence():
    plan = [events.gaussian(3.0), events.laplace(2.0), events.poisson_gaussian(2.0, 0.25, 5)]
    ledger = PrivacyLedger(BUDGET, "renyi", schedule=[*plan, SPARE])
    for event in reversed(plan):
        ledger.charge(event, "it")
    assert not ledger.affords(plan[0])
    assert ledger.spent() <= 8.0


@pytest.mark.parametrize("plan", [[3.0, 3.3], [5.0] * 3, [2.9, 3.1, 3.3, 3.5]])
def test_a_curve_pays_for_the_whole_plan(plan):
    ledger = PrivacyLedger(BUDGET, "renyi", schedule=list(map(events.gaussian, plan)))
    for sigma in plan:
        ledger.charge(events.gaussian(sigma), "it")
    assert not ledger.affords(events.gaussian(1e3))


def test_a_curve_that_is_too_dear_is_no_filter():
    with pytest.raises(
        BudgetExhausted, match=r"schedule costs ε=(.*) by its Rényi curve; spent 0\.00 of 8\.00"
    ) as refusal:
        PrivacyLedger(BUDGET, "renyi", schedule=[events.gaussian(0.6)])
    assert refusal.value.price > 8.0


# ---- the certificate of each kind ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_certificate_leads_with_the_ceiling_and_names_its_filter(kind):
    event = events.gaussian(4.0, replace_one=math.sqrt(2))
    ledger = make(kind, event)
    ledger.charge(event, "it")
    certificate = json.loads(json.dumps(ledger.certificate(), allow_nan=False))
    assert (certificate["epsilon"], certificate["delta"]) == (8.0, DELTA)
    assert "ε=8, δ=1e-05" in certificate["statement"]
    assert certificate["filter"] == {"gdp": "gdp", "planned": "planned"}.get(kind, "renyi")
    words = {"gdp": "μ²", "order": "order 12", "curve": "planned curve", "planned": "frozen schedule"}[kind]
    assert words in certificate["filter_in_words"]
    assert certificate["odometer"]["epsilon_spent"] == pytest.approx(ledger.spent())
    assert "not a guarantee" in certificate["odometer"]["in_words"]
    replaced = certificate["replace_one"]
    if kind == "gdp":
        mu = brentq(lambda mu: gaussian_delta(mu, 8.0) - DELTA, 0.1, 10)
        assert certificate["mu"] == pytest.approx(mu, rel=1e-9)
        assert replaced["epsilon"] == pytest.approx(gdp_epsilon(2 * mu), rel=1e-6)
        assert replaced["epsilon_of_these_kinds"] == pytest.approx(gdp_epsilon(math.sqrt(2) * mu), rel=1e-6)
        spent = certificate["odometer"]["replace_one_epsilon_spent"]
        assert spent == pytest.approx(gdp_epsilon(math.sqrt(2) / 4), rel=1e-6)
        ledger.charge(events.randomized_response(0.1, 3), "a label")  # all kinds must be as good
        replaced = ledger.certificate()["replace_one"]
        assert replaced["epsilon_of_these_kinds"] == replaced["epsilon"]
    else:
        assert "mu" not in certificate
        assert replaced["epsilon"] == 16.0
        assert replaced["delta"] == pytest.approx((1 + math.exp(8.0)) * DELTA)


# ---- amounts ---------------------------------------------------------------------------------------------------------

PRICES = st.floats(0, 1e6, allow_subnormal=True)


@given(st.lists(PRICES, max_size=30), st.randoms(use_true_random=False))
def test_sums_of_amounts_do_not_depend_on_their_order(values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    total, again = (0,), (0,)
    for first, second in zip(values, shuffled, strict=True):
        total, again = add(total, ceil_of([first])), add(again, ceil_of([second]))
    assert total == again
    exact = sum(map(Fraction, values), Fraction(0))
    assert exact <= Fraction(total[0], 2**100) <= exact + Fraction(len(values), 2**100)
    assert Fraction(value_of(total[0])) >= exact


@given(PRICES)
def test_prices_round_up_and_ceilings_down(value):
    unit = Fraction(1, 2**100)
    (up,), (down,) = ceil_of([value]), floor_of([value])
    assert Fraction(value) <= up * unit < Fraction(value) + unit
    assert Fraction(value) - unit < down * unit <= Fraction(value)
    assert not fits((up + 1,), floor_of([value]))
    assert ceil_of([math.inf]) == (math.inf,)
    assert not fits(ceil_of([math.inf]), (down,))


@given(st.floats(1e-3, 1e3), st.integers(1, 60))
def test_k_shares_of_a_ceiling_are_exactly_k(value, k):
    accounts = Accounts(floor_of([value * k]))
    share = ((accounts.leaves[POOL].ceiling[0]) // k,)
    for _ in range(k):
        assert accounts.affords("cohort", share)
        accounts.charge("cohort", share)
    assert not accounts.affords("cohort", share)
    assert not accounts.affords("cohort", (k,))  # less than k units are left
    assert accounts.affords("cohort", (0,))


@settings(max_examples=15)
@given(epsilon=st.floats(0.3, 20), k=st.integers(1, 25), kind=st.sampled_from(["gdp", "renyi"]))
def test_k_shares_of_a_budget_are_exactly_k(epsilon, k, kind):
    budget = PrivacyBudget(epsilon, DELTA)
    share = events.gaussian(calibrate(lambda noise: events.gaussian(noise, steps=k), budget, filter=kind))
    ledger = PrivacyLedger(budget, kind)
    for _ in range(k):
        ledger.charge(share, "share")
    assert not ledger.affords(share)
    assert not ledger.affords(events.gaussian(share.noise_multiplier * 1e4))
    assert ledger.spent() <= epsilon


@given(sigma=st.floats(0.3, 1e3), steps=st.integers(1, 10_000))
def test_rounding_is_never_in_favour_of_who_pays(sigma, steps):
    event = events.gaussian(sigma, steps)
    exact = steps / Fraction(sigma) ** 2
    assert Fraction(GdpFilter(BUDGET).price(event)[0], 2**100) >= exact
    for order, amount in zip((2.0, 10.2), RenyiFilter(BUDGET, [2.0, 10.2], [1, 1]).price(event), strict=True):
        assert Fraction(amount, 2**100) >= exact * Fraction(order) / 2
    for filter in (GdpFilter(BUDGET), RenyiFilter.at_one_order(BUDGET, ORDER)):
        assert filter.epsilon(filter.ceiling) <= BUDGET.epsilon * (1 + 1e-9)
        assert filter.epsilon_below(filter.ceiling) == BUDGET.epsilon
    assert Fraction(GdpFilter(BUDGET).ceiling[0], 2**100) <= Fraction(ceiling_mu_squared(BUDGET))


def tiny_laplace(size, order):
    """Divergence as a series in ε, for what is too small for differences."""
    terms = [size**n / math.factorial(n) * ((order - 1) ** (n - 1) + (-1) ** n * order ** (n - 1)) for n in range(2, 8)]
    return math.log1p(order * (order - 1) / (2 * order - 1) * math.fsum(terms)) / (order - 1)


def tiny_response(size, order):
    other = 1 / (math.exp(size) + 1)
    return math.log1p(-other * math.expm1(order * size) * math.expm1((1 - order) * size)) / (order - 1)


def tiny_sample(size, order):
    """The binomial sum of a whole order, without its first terms: they add up to 1."""
    terms = [
        math.comb(int(order), k) * size**k * (1 - size) ** (order - k) * math.expm1(k * (k - 1) / (2 * 20.0**2))
        for k in range(2, int(order) + 1)
    ]
    return math.log1p(math.fsum(terms)) / (order - 1)


def tiny_pure(size, _):
    return 8 * erfinv(math.tanh(size / 2)) ** 2


TINY = {
    ("gdp", "gaussian"): (lambda size: events.gaussian(1 / size), lambda size, _: size**2),
    ("gdp", "laplace"): (lambda size: events.laplace(1 / size), tiny_pure),
    ("gdp", "response"): (lambda size: events.randomized_response(size, 2), tiny_pure),
    ("order", "gaussian"): (lambda size: events.gaussian(1 / size), lambda size, order: order * size**2 / 2),
    ("order", "laplace"): (lambda size: events.laplace(1 / size), tiny_laplace),
    ("order", "response"): (lambda size: events.randomized_response(size, 2), tiny_response),
    ("order", "poisson"): (lambda size: events.poisson_gaussian(20.0, size, 1), tiny_sample),
}


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6, 1e-9, 1e-12, 1e-17])
@pytest.mark.parametrize(("kind", "name"), list(TINY))
def test_nothing_is_free_however_small(kind, name, size):
    """However little a release tells, whoever asks for it often enough must pay."""
    filter = GdpFilter(BUDGET) if kind == "gdp" else RenyiFilter.at_one_order(BUDGET, ORDER)
    event, price = TINY[kind, name]
    (paid,) = filter.price(event(size))
    assert paid > 0
    assert Fraction(value_of(paid)) >= Fraction(price(size, ORDER)) * (1 - Fraction(1, 10**13))


def test_no_charge_makes_room():
    budget = PrivacyBudget(8.0)
    ledger = PrivacyLedger(budget, "renyi", order=5.0)
    ledger.charge(events.gaussian(calibrate(events.gaussian, budget, filter="renyi", order=5.0)), "everything")
    spent = ledger.spent()
    sampled = events.composed([events.poisson_gaussian(50.0, 3e-12, 10**9)], count=10**12)
    with pytest.raises(ValueError, match="count"):
        events.composed([sampled], count=2 * 10**18)
    with pytest.raises(BudgetExhausted):
        ledger.charge(sampled, "more")
    assert ledger.spent() == spent


# ---- planned -----------------------------------------------------------------------------------------------


def test_a_planned_ledger_says_what_it_expected(journal):
    ledger = PrivacyLedger(BUDGET, "planned", schedule=Schedule([EVENTS["gaussian"], SPARE]))
    before = journal(ledger)
    with pytest.raises(
        BudgetExhausted, match=r"^it costs ε=.*; spent 0\.00 of 8\.00 .*not the next step.*Expected"
    ) as no:
        ledger.charge(SPARE, "it")
    assert no.value.price == pytest.approx(gdp_epsilon(1 / 20), rel=1e-6)
    assert journal(ledger) == before


def test_the_least_of_all_orders_is_only_a_reading():
    """`best_epsilon` of the planned curve is below what the filter commits to at any one of its orders."""
    filter = RenyiFilter.along(BUDGET, events.gaussian(1.0))
    price = best_epsilon([value_of(amount) for amount in filter.ceiling], filter.orders, DELTA)
    assert price <= filter.epsilon_below(filter.ceiling) == BUDGET.epsilon


# ---- where nothing is known ----------------------------------------------------------------------------------


def test_what_has_no_loss_distribution_has_none_inside_of_others():
    poisson = events.repeat_and_select(events.gaussian(4.0), 3.0, math.inf)
    for event in (events.nonprivate(), poisson, events.one_of([poisson, events.gaussian(4.0)])):
        assert losses_of([event], 1e-3) is None
    roles = [((poisson,), ()), ((), (events.poisson_gaussian(4.0, 0.5, 3),))]
    assert epsilon_of_roles(roles, 1e-5) == pytest.approx(epsilon_of([poisson], 1e-5))  # by divergences


def test_what_has_no_noise_cannot_have_more():
    assert scaled(events.nonprivate(), 2.0) == events.nonprivate()


def test_a_reservation_has_no_headroom(ledger):
    with pytest.raises(LedgerError, match="no headroom"):
        ledger.reserve(events.gaussian(9.0), "search").headroom(events.gaussian)


def test_amounts_of_a_planned_ledger_are_its_ceiling():
    ledger = PrivacyLedger(PrivacyBudget(2.0), "planned", schedule=[events.gaussian(9.0)])
    assert ledger._book.read().filter.epsilon(()) == 2.0
