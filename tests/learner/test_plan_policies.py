"""Policies look at what was released, and cannot spend what is not there."""

import math
from dataclasses import FrozenInstanceError, dataclass, fields

import pytest
from hypothesis import given
from hypothesis import strategies as some

from skdpal import PrivacyBudget, PrivacyLedger, plan_study
from skdpal.learner.planning import AllAtOnce, Geometric, Policy, PublicView, Uniform, follow, next_noise
from skdpal.privacy import events

POLICIES = some.one_of(some.just(Uniform()), some.just(AllAtOnce()), some.builds(Geometric, some.floats(1e-3, 1e3)))


@dataclass(frozen=True)
class Doubling:
    """Half of what is left, seen from the receipts: one that decides on the way."""

    adaptive = True

    def propose(self, view):
        return math.sqrt((1 + len(view.receipts)) * 2 / view.mu_squared_left)


@dataclass(frozen=True)
class Fixed:
    noise: float
    adaptive = False

    def propose(self, view):
        return self.noise


@given(policy=POLICIES, total=some.integers(1, 20), ceiling=some.floats(1e-4, 1e4))
def test_policies_spend_everything_and_no_more(policy, total, ceiling):
    spent = math.fsum(noise**-2 for noise in follow(policy, total, ceiling))
    assert spent == pytest.approx(ceiling, rel=1e-8)


def test_shares_are_what_their_names_say():
    assert follow(Uniform(), 4, 1.0) == pytest.approx([2.0] * 4)
    shares = [noise**-2 for noise in follow(Geometric(3.0), 4, 1.0)]
    assert [b / a for a, b in zip(shares, shares[1:], strict=False)] == pytest.approx([3.0] * 3)
    assert follow(Geometric(1.0), 4, 1.0) == pytest.approx(follow(Uniform(), 4, 1.0))
    assert follow(AllAtOnce(), 3, 0.25) == (math.inf, math.inf, 2.0)


def test_a_view_holds_public_things_and_cannot_be_written():
    view = PublicView(1, 3, 0.5)
    assert {field.name for field in fields(view)} == {"number", "total", "mu_squared_left", "receipts", "models"}
    with pytest.raises(FrozenInstanceError):
        view.mu_squared_left = 9.0
    for wrong in ((0, 3, 0.5), (4, 3, 0.5), (1, 3, -0.1), (1, 0, 1.0)):
        with pytest.raises(ValueError, match="Expected"):
            PublicView(*wrong)


def test_a_ledger_shows_what_is_left():
    ledger = PrivacyLedger(PrivacyBudget(2.0))
    whole = PublicView.of(ledger, 1, 3)
    assert whole.mu_squared_left == pytest.approx(plan_study(PrivacyBudget(2.0), 6, 20, 3, 1).noise_multiplier ** -2)
    noise = next_noise(Doubling(), whole)
    ledger.charge(events.noisy_scores(noise), label="scores 1", account="cohort/pool")
    after = PublicView.of(ledger, 2, 3, models=["released"])
    assert after.mu_squared_left == pytest.approx(whole.mu_squared_left / 2)
    assert [receipt.label for receipt in after.receipts] == ["scores 1"]
    assert after.models == ("released",)
    assert next_noise(Doubling(), after) == pytest.approx(noise * 2)
    ledger.charge(
        events.gaussian(math.sqrt(1 / after.mu_squared_left) * (1 + 1e-6)), label="rest", account="cohort/pool"
    )
    assert PublicView.of(ledger, 3, 3).mu_squared_left < 1e-5


def test_what_is_not_there_cannot_be_proposed():
    with pytest.raises(ValueError, match=r"at least 2.*Found 1\.9.*infinity to release nothing"):
        next_noise(Fixed(1.9), PublicView(1, 3, 0.25))
    for wrong in (0.0, -1.0, math.nan, "2"):
        with pytest.raises(ValueError, match="that the policy proposes"):
            next_noise(Fixed(wrong), PublicView(1, 3, 0.25))
    assert next_noise(Fixed(math.inf), PublicView(3, 3, 0.0)) == math.inf
    assert follow(Uniform(), 1, 0.0) == (math.inf,)


def test_a_frozen_schedule_is_not_left():
    view = PublicView(1, 3, 0.25)
    assert next_noise(Fixed(4.0), view, planned=4.0) == 4.0
    with pytest.raises(ValueError, match='frozen schedule, 4.*filter="gdp"'):
        next_noise(Fixed(5.0), view, planned=4.0)
    with pytest.raises(ValueError, match="looks at what was"):
        plan_study(PrivacyBudget(2.0), 6, 20, 3, 3, release="published", filter="planned", policy=Doubling())


def test_policies_of_ones_own_plug_in():
    assert isinstance(Doubling(), Policy)
    plan = plan_study(PrivacyBudget(2.0), 6, 20, 3, 3, release="published", policy=Doubling())
    assert plan.policy == "Doubling()"
    first, second, _ = (noise**-2 for noise in plan.selection_noise)
    assert second == pytest.approx(first / 2)
    assert plan.epsilon <= 2.0


@pytest.mark.parametrize("ratio", [0.0, -1.0, math.inf])
def test_ratios_are_positive(ratio):
    with pytest.raises(ValueError, match="ratio"):
        Geometric(ratio)
