"""Prices turned round: what a budget pays for, what is left, and whether a remedy helps when it is followed."""

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdpal.privacy import BudgetExhausted, PrivacyBudget, PrivacyLedger, calibrate, events
from skdpal.privacy.accounts import POOL

BUDGET = PrivacyBudget(3.0, 1e-5)

FAMILIES = {
    "gaussian": lambda noise: events.gaussian(noise, steps=7),
    "noisy scores": events.noisy_scores,
    "laplace": events.laplace,
    "response": lambda noise: events.randomized_response(1 / noise, 4),
    "composed": lambda noise: events.composed([events.gaussian(noise), events.laplace(2 * noise)], count=3),
    "one of": lambda noise: events.one_of([events.gaussian(noise), events.laplace(noise)]),
    "poisson": lambda noise: events.poisson_gaussian(noise, 0.25, 20),
    "top k": lambda noise: events.gumbel_top_k(noise, k=3),
    "best of": lambda noise: events.repeat_and_select(events.gaussian(noise), 5.0),
}
WITH_MU = ("gaussian", "noisy scores", "laplace", "response", "composed", "one of")
CELLS = [(name, kind) for name in FAMILIES for kind in ("gdp", "renyi", "planned") if kind != "gdp" or name in WITH_MU]

LONG = [("poisson", "planned"), ("one of", "planned")]


def make(kind, event, budget=BUDGET):
    return PrivacyLedger(budget, kind, **({"schedule": [event]} if kind == "planned" else {}))


# ---- calibrate ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [pytest.param(*cell, marks=pytest.mark.slow if cell in LONG else ()) for cell in CELLS],
)
def test_what_is_calibrated_can_be_charged_and_hardly_less_noise_cannot(name, kind):
    family = FAMILIES[name]
    noise = calibrate(family, BUDGET, filter=kind)
    make(kind, family(noise)).charge(family(noise), "once")
    less = family(noise * (0.995 if kind == "planned" else 0.999))
    with pytest.raises(BudgetExhausted):
        make(kind, less).charge(less, "once")


@pytest.mark.parametrize("order", [4.0, 7.3, 30.0])
@pytest.mark.parametrize("name", ["gaussian", "laplace", "poisson"])
def test_calibrate_knows_the_order_of_the_ledger(name, order):
    family, budget = FAMILIES[name], PrivacyBudget(6.0, 1e-5)
    noise = calibrate(family, budget, filter="renyi", order=order)
    ledger = PrivacyLedger(budget, "renyi", order=order)
    assert not ledger.affords(family(noise * 0.999))
    ledger.charge(family(noise), "once")


def test_calibrate_takes_the_exact_filter_where_there_is_one():
    for name, kind in (("gaussian", "gdp"), ("laplace", "gdp"), ("top k", "planned")):
        assert calibrate(FAMILIES[name], BUDGET) == calibrate(FAMILIES[name], BUDGET, filter=kind)
    gaussian = FAMILIES["gaussian"]
    assert calibrate(gaussian, BUDGET, filter="renyi") > calibrate(gaussian, BUDGET, filter="gdp")
    assert calibrate(gaussian, BUDGET, filter="planned") == pytest.approx(calibrate(gaussian, BUDGET), rel=2e-4)


@pytest.mark.parametrize("kind", ["gdp", "renyi", "planned"])
def test_calibrate_says_when_nothing_fits(kind):
    with pytest.raises(ValueError, match="Raise epsilon or release less"):
        calibrate(lambda noise: events.composed([events.gaussian(noise), events.nonprivate()]), BUDGET, filter=kind)


def test_calibrate_names_an_unknown_filter():
    with pytest.raises(ValueError, match="Expected filter to be one of"):
        calibrate(events.gaussian, BUDGET, filter="pld")


# ---- headroom ----------------------------------------------------------------------------------------------------

ROOM = {
    "steps": (lambda steps: events.gaussian(20.0, steps=steps), "gdp", 1),
    "steps of samples": (lambda steps: events.poisson_gaussian(2.0, 0.25, steps), "renyi", 1),
    "winners": (lambda k: events.gumbel_top_k(5.0, k), "renyi", 1),
    "count": (lambda count: events.composed([events.laplace(9.0)], count=count), "gdp", 1),
    "rate": (lambda rate: events.poisson_gaussian(1.5, rate, 30), "renyi", 1e-6),
    "response": (lambda epsilon: events.randomized_response(epsilon, 3), "gdp", 1e-6),
    "response by divergence": (lambda epsilon: events.randomized_response(epsilon, 3), "renyi", 1e-6),
    "runs": (lambda extra: events.repeat_and_select(events.gaussian(9.0), 1 + extra), "renyi", 1e-6),
}


@pytest.mark.parametrize("name", ROOM)
def test_headroom_is_the_largest_that_fits(name):
    family, kind, step = ROOM[name]
    ledger = PrivacyLedger(BUDGET, kind)
    ledger.charge(events.gaussian(4.0), "before")
    largest = ledger.headroom(family)
    assert largest > 0
    assert isinstance(largest, int) == (step == 1)
    larger = largest + 1 if step == 1 else largest * (1 + 1e-6)
    assert not ledger.affords(family(larger))
    ledger.charge(family(largest), "all that is left")
    assert ledger.headroom(family) < max(1, largest / 10)


def test_a_rate_is_at_most_one():
    ledger = PrivacyLedger(BUDGET, "renyi")
    rate = ledger.headroom(lambda rate: events.poisson_gaussian(30.0, rate, 10))
    assert 1 - 1e-6 <= rate <= 1
    ledger.charge(events.poisson_gaussian(30.0, rate, 10), "nearly everybody")


@pytest.mark.parametrize("kind", ["gdp", "renyi"])
@settings(max_examples=15)
@given(paid=st.floats(2.0, 60.0), steps=st.integers(1, 30))
def test_headroom_of_noise_is_the_smallest_that_fits(kind, paid, steps):
    ledger = PrivacyLedger(BUDGET, kind)
    ledger.charge(events.gaussian(paid), "before")

    def family(noise):
        return events.gaussian(noise, steps=steps)

    least = ledger.headroom(family)
    assert not ledger.affords(family(least * (1 - 1e-6)))
    ledger.charge(family(least), "all that is left")
    assert ledger.headroom(family) > 50 * least


@pytest.mark.parametrize("kind", ["gdp", "renyi"])
@settings(max_examples=15)
@given(paid=st.floats(2.0, 60.0), noise=st.floats(3.0, 60.0))
def test_headroom_of_steps_leaves_less_than_one(kind, paid, noise):
    ledger = PrivacyLedger(BUDGET, kind)
    ledger.charge(events.gaussian(paid), "before")
    steps = ledger.headroom(lambda steps: events.gaussian(noise, steps=steps))
    if steps:
        ledger.charge(events.gaussian(noise, steps=steps), "all that is left")
    assert not ledger.affords(events.gaussian(noise))
    assert ledger.headroom(lambda steps: events.gaussian(noise, steps=steps)) == 0


def test_when_nothing_is_left_headroom_is_none():
    ledger = PrivacyLedger(BUDGET)
    for _ in range(3):  # what rounding leaves, and what that leaves
        if math.isfinite(least := ledger.headroom(events.gaussian)):
            ledger.charge(events.gaussian(least), "all that is left")
    assert ledger.headroom(events.gaussian) == math.inf
    assert ledger.headroom(lambda steps: events.gaussian(1e6, steps=steps)) == 0
    assert ledger.headroom(lambda epsilon: events.randomized_response(epsilon, 3)) == pytest.approx(0, abs=1e-5)


def test_what_has_no_price_has_no_headroom(ledger):
    assert ledger.headroom(lambda rate: events.poisson_gaussian(2.0, rate, 10)) == 0
    assert ledger.headroom(lambda noise: events.poisson_gaussian(noise, 0.1, 10)) in (0, math.inf)
    assert ledger.headroom(lambda count: events.composed([events.nonprivate()], count=count)) == 0


def test_what_costs_nothing_has_endless_headroom(ledger):
    assert ledger.headroom(lambda count: events.composed([], count=count)) == math.inf
    assert ledger.headroom(lambda epsilon: events.composed([])) == math.inf


def test_headroom_is_that_of_the_account_and_of_the_cap():
    ledger = PrivacyLedger(BUDGET)
    ledger.split(POOL, "cohort/a", [])
    ledger.charge(events.gaussian(3.0), "it", "cohort/a")
    rna = ledger.cap(POOL, "rna", epsilon=1.0)

    def family(steps):
        return events.gaussian(20.0, steps=steps)

    pool, a, everybody, part = (
        ledger.headroom(family, POOL),
        ledger.headroom(family, "cohort/a"),
        ledger.headroom(family),
        ledger.headroom(family, POOL, cap="rna"),
    )
    assert everybody == a < pool
    assert part < pool
    assert (ledger.within("cohort/a").headroom(family), rna.headroom(family)) == (a, part)
    rna.charge(family(part), "all of the part")
    assert rna.headroom(family) == 0
    assert ledger.headroom(family, POOL) == pool - part


# ---- remedies ----------------------------------------------------------------------------------------------------


def refusal_of(ledger, event, *account, **cap):
    with pytest.raises(BudgetExhausted) as refusal:
        ledger.charge(event, "it", *account, **cap)
    return str(refusal.value)


def number(words, message):
    return float(re.search(rf"{words} ([\d.]+(?:e\+\d+)?)", message).group(1))


RAISED = {
    "gaussian": ("gdp", lambda noise: events.gaussian(noise, steps=3)),
    "gaussian by divergence": ("renyi", events.gaussian),
    "noisy scores": ("gdp", events.noisy_scores),
    "laplace": ("gdp", events.laplace),
    "poisson": ("renyi", lambda noise: events.poisson_gaussian(noise, 0.25, 20)),
    "top k": ("renyi", lambda noise: events.gumbel_top_k(noise, 5)),
}


@pytest.mark.parametrize("before", [1.6, 3.0, 30.0])
@pytest.mark.parametrize("name", RAISED)
def test_the_noise_that_a_refusal_asks_for_is_enough_and_hardly_more(name, before):
    kind, family = RAISED[name]
    ledger = PrivacyLedger(BUDGET, kind)
    ledger.charge(events.gaussian(before * (1.4 if kind == "renyi" else 1)), "before")
    enough = number("Raise noise_multiplier to", refusal_of(ledger, family(0.5)))
    assert not ledger.affords(family(enough * 0.99))
    ledger.charge(family(enough), "it")


@settings(max_examples=25)
@given(before=st.floats(1.6, 40), noise=st.floats(0.05, 1.4), steps=st.integers(1, 200))
def test_the_noise_that_a_refusal_asks_for_is_always_enough(before, noise, steps):
    ledger = PrivacyLedger(BUDGET)
    ledger.charge(events.gaussian(before), "before")
    enough = number("Raise noise_multiplier to", refusal_of(ledger, events.gaussian(noise, steps=steps)))
    ledger.charge(events.gaussian(enough, steps=steps), "it")


MULTIPLIED = {
    "composed": ("gdp", lambda by: events.composed([events.gaussian(0.7 * by), events.laplace(0.9 * by)], count=2)),
    "search": ("gdp", lambda by: events.composed([events.composed([events.gaussian(0.5 * by)], 3)], 4)),
    "one of": ("gdp", lambda by: events.one_of([events.gaussian(0.5 * by), events.noisy_scores(0.6 * by)])),
    "training": (
        "renyi",
        lambda by: events.composed([events.poisson_gaussian(0.8 * by, 0.25, 20), events.noisy_scores(0.8 * by)]),
    ),
    "best of": ("renyi", lambda by: events.repeat_and_select(events.gaussian(0.6 * by), 5.0)),
    "response": ("gdp", lambda by: events.randomized_response(9.0 / by, 3)),
}


@pytest.mark.parametrize("name", MULTIPLIED)
def test_the_factor_that_a_refusal_asks_for_is_enough_and_hardly_more(name):
    kind, family = MULTIPLIED[name]
    ledger = PrivacyLedger(BUDGET, kind)
    ledger.charge(events.gaussian(6.0), "before")
    enough = number("Multiply every noise_multiplier by", refusal_of(ledger, family(1.0)))
    assert not ledger.affords(family(enough * 0.99))
    ledger.charge(family(enough), "it")


def test_the_remedy_of_a_lower_ceiling_and_of_a_cap_is_their_own():
    ledger = PrivacyLedger(BUDGET)
    ledger.split(POOL, "cohort/site", [], epsilon=1.0)
    enough = number("Raise noise_multiplier to", refusal_of(ledger, events.gaussian(1.5)))
    ledger.charge(events.gaussian(enough), "it")
    assert ledger.spent("cohort/site") == pytest.approx(1.0, abs=0.01)
    ledger.cap(POOL, "rna", epsilon=0.5)
    enough = number("Raise noise_multiplier to", refusal_of(ledger, events.gaussian(5.0), POOL, cap="rna"))
    ledger.charge(events.gaussian(enough), "it", POOL, cap="rna")


def test_the_remedy_of_several_accounts_is_enough_for_all():
    ledger = PrivacyLedger(BUDGET)
    ledger.split(POOL, "cohort/a", [])
    ledger.charge(events.gaussian(4.0), "it", POOL)
    ledger.charge(events.gaussian(1.6), "it", "cohort/a")
    message = refusal_of(ledger, events.gaussian(0.5))
    assert f"spent {ledger.spent('cohort/a'):.2f}" in message
    ledger.charge(events.gaussian(number("Raise noise_multiplier to", message)), "it")


def test_the_remedy_is_enough_for_the_leaf_and_for_its_cap():
    ledger = PrivacyLedger(BUDGET)
    ledger.cap(POOL, "rna", epsilon=0.5)
    message = refusal_of(ledger, events.gaussian(0.5), POOL, cap="rna")
    ledger.charge(events.gaussian(number("Raise noise_multiplier to", message)), "it", POOL, cap="rna")


def test_the_remedy_when_nothing_is_left_is_not_more_noise(exhausted):
    for event in (events.gaussian(1.0), events.composed([events.laplace(2.0)])):
        assert "Nothing is left" in refusal_of(exhausted, event)
