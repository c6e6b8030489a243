"""Rounds that are paid for as samples, by those from whom they were drawn (docs/trusted_kernel.md, Theorem A)."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from skdpal.privacy import BudgetExhausted, PrivacyBudget, PrivacyLedger, Schedule, Selection, Split, epsilon_of, events
from skdpal.privacy.accounting.gaussian import epsilon_of_mu
from skdpal.privacy.accounts import POOL, Accounts
from skdpal.privacy.filters import Charge
from skdpal.privacy.mechanisms import GaussianSum, release

RATE, DELTA = 0.3, 1e-5
EVENT = events.gaussian(4.0)
PAID = events.poisson_gaussian(4.0, RATE, 1)
PATIENTS = [f"p{number}" for number in range(60)]


@pytest.fixture
def renyi():
    return PrivacyLedger(PrivacyBudget(4.0), "renyi")


def chosen(ledger, label="round 1", rate=RATE):
    return [patient for patient, coin in zip(PATIENTS, ledger.coins(label, PATIENTS), strict=True) if coin < rate]


def sample(ledger, number=1, members=None, question="fit", rate=RATE, label=None):
    label = f"round {number}" if label is None else label
    waiting = [patient for patient in chosen(ledger, label, rate) if ledger.accounts_of([patient]) == [POOL]]
    return ledger.branch(
        POOL,
        f"cohort/round-{number}",
        waiting if members is None else members,
        question=question,
        selection=Selection(label, rate),
    )


def test_the_source_pays_for_a_poisson_sample_before_the_split(renyi, journal):
    handle = sample(renyi)
    assert handle.affords(EVENT)
    assert handle.spent() == 0
    handle.charge(EVENT, "fit")
    rows = journal(renyi)[1:]
    assert [row["kind"] for row in rows] == ["charge", "split"]
    (receipt,) = renyi.receipts()
    assert (receipt.account, receipt.event) == (POOL, PAID)
    assert rows[0]["account"] == POOL
    assert (rows[1]["round"], rows[1]["sampled"]) == ("round 1", True)
    assert renyi.spent("cohort/round-1") == renyi.spent(POOL) == renyi.spent() > 0
    assert set(renyi.accounts_of(chosen(renyi))) == {"cohort/round-1"}
    filter = renyi._book.filter()
    assert filter.price(PAID) < filter.price(EVENT)


def test_a_planned_ledger_accepts_the_charge_and_then_the_split_only():
    steps = [Charge(PAID, POOL), Split(POOL, "cohort/round-1"), Charge(PAID, POOL), Split(POOL, "cohort/round-2")]
    ledger = PrivacyLedger(PrivacyBudget(2.0), "planned", schedule=Schedule(steps))
    with pytest.raises(BudgetExhausted, match="not the next step"):
        sample(ledger, rate=0.2).charge(EVENT, "fit")
    with pytest.raises(BudgetExhausted, match="not the next step"):
        sample(ledger, rate=0.2).require(EVENT, "fit")
    for number in (1, 2):
        handle = sample(ledger, number)
        handle.require(EVENT, "fit")
        handle.charge(EVENT, "fit")
    assert [receipt.event for receipt in ledger.receipts()] == [PAID, PAID]
    assert ledger.spent() <= Schedule(steps).epsilon(DELTA) + 1e-9


def test_a_gdp_ledger_refuses_with_the_way_out(ledger, journal):
    before = journal(ledger)
    for use in (lambda: sample(ledger).require(EVENT, "fit"), lambda: sample(ledger).charge(EVENT, "fit")):
        with pytest.raises(BudgetExhausted, match='no μ for Poisson sampling.*"renyi" or "planned"'):
            use()
    assert journal(ledger) == before


def test_whose_coin_is_above_the_rate_is_no_sample_and_nothing_is_written(renyi, journal):
    before = journal(renyi)
    stranger = next(patient for patient in PATIENTS if patient not in chosen(renyi))
    with pytest.raises(ValueError, match="coins are below the rate") as refusal:
        sample(renyi, members=[*chosen(renyi), stranger]).charge(EVENT, "fit")
    assert stranger not in str(refusal.value)
    assert journal(renyi) == before
    assert renyi.accounts() == [POOL]
    assert set(renyi.accounts_of(PATIENTS)) == {POOL}
    renyi.charge(EVENT, "the state is whole", POOL)
    sample(renyi).charge(EVENT, "fit")
    assert [receipt.event for receipt in renyi.receipts()] == [EVENT, PAID]
    renyi.verify()


def test_a_patient_who_left_the_pool_stops_a_sample_after_its_charge_was_written(renyi, journal):
    (one, *_) = members = chosen(renyi)
    renyi.split(POOL, "cohort/gone", [one])
    before = journal(renyi)
    with pytest.raises(ValueError, match="Expected rows of patients"):
        sample(renyi, members=members).charge(EVENT, "fit")
    assert journal(renyi) == before
    assert renyi.accounts_of(members[:2]) == ["cohort/gone", POOL]
    sample(renyi).charge(EVENT, "fit")
    assert renyi.accounts_of(members[:2]) == ["cohort/gone", "cohort/round-1"]


def test_the_coins_of_a_round_fill_one_account(renyi, journal):
    handle = sample(renyi)
    handle.charge(EVENT, "fit")
    before = journal(renyi)
    with pytest.raises(ValueError, match=r"coins of 'round 1' filled"):
        sample(renyi, 2, label="round 1").charge(EVENT, "fit")
    assert journal(renyi) == before


def test_nobody_in_the_sample_looks_like_any_other(renyi, journal):
    sample(renyi, members=[]).charge(EVENT, "fit")
    other = PrivacyLedger(PrivacyBudget(4.0), "renyi")
    sample(other).charge(EVENT, "fit")
    assert journal(renyi)[1:] == journal(other)[1:]


# -- L7: the sample alone is not charged -------------------------------------------------------------


def seal_holds(ledger):
    """Whether every charge that falls on the sample but not on all who might have been in it is refused."""
    alone = [
        lambda: ledger.charge(EVENT, "again", "cohort/round-1"),
        lambda: ledger.reserve(EVENT, "again", "cohort/round-1"),
        lambda: ledger.within("cohort/round-1").charge(EVENT, "again"),
        lambda: ledger.branch("cohort/round-1", "cohort/x", []).charge(EVENT, "again"),
        lambda: ledger.branch("cohort/round-1", "cohort/x", [], selection=Selection("s", 0.5)).charge(EVENT, "again"),
    ]
    refused = 0
    for attempt in alone:
        try:
            attempt()
        except ValueError as error:
            refused += "chosen" in str(error) or "secret coins" in str(error)
    return refused == len(alone)


def test_a_sample_is_charged_with_everybody_or_not_at_all(renyi):
    sample(renyi).charge(EVENT, "fit")
    assert seal_holds(renyi)
    assert len(renyi.receipts()) == 1
    renyi.split("cohort/round-1", "cohort/half", chosen(renyi)[:1])  # moving costs nothing, and inherits the seal
    with pytest.raises(ValueError, match="secret coins"):
        renyi.charge(EVENT, "again", "cohort/half")
    renyi.charge(EVENT, "everybody")
    renyi.charge(EVENT, "those who were not chosen", POOL)
    assert [receipt.account for receipt in renyi.receipts()] == [POOL, "cohort", POOL]


def test_a_ledger_without_the_seal_would_be_seen(renyi, monkeypatch):
    monkeypatch.setattr(Accounts, "check_whole", lambda self, account: None)
    sample(renyi).charge(EVENT, "fit")
    assert not seal_holds(renyi)


def test_an_account_holds_a_sample_whole_only_with_all_that_was_split_from_its_payer():
    ledger = PrivacyLedger(PrivacyBudget(4.0), "renyi")
    ledger.split(POOL, "cohort/a/left", PATIENTS)
    members = chosen(ledger)
    selection = Selection("round 1", RATE)
    ledger.branch("cohort/a/left", "cohort/a/round-1", members, selection=selection).charge(EVENT, "fit")
    ledger.charge(EVENT, "the site", "cohort/a")  # all from whom it was drawn; the pool never was one of them
    ledger.split("cohort/a/left", "cohort/b", [patient for patient in PATIENTS if patient not in members][:3])
    with pytest.raises(ValueError, match="secret coins"):
        ledger.charge(EVENT, "the site", "cohort/a")  # who is in b might have been chosen
    ledger.charge(EVENT, "b alone", "cohort/b")
    ledger.charge(EVENT, "everybody")


@pytest.mark.parametrize("event", [events.gaussian(4.0, 2), events.laplace(8.0), events.noisy_scores(4.0)])
def test_other_releases_of_a_sample_are_refused(renyi, event, journal):
    before = journal(renyi)
    with pytest.raises(ValueError, match="one Gaussian release of the sample"):
        sample(renyi).charge(event, "fit")
    assert journal(renyi) == before


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_rates_are_probabilities(rate):
    with pytest.raises(ValueError, match="rate"):
        Selection("r", rate)


def test_a_rate_of_one_is_the_whole_price(renyi):
    whole = Selection("r", 1.0).event_of(EVENT)
    assert epsilon_of([whole], DELTA) == pytest.approx(epsilon_of([EVENT], DELTA), rel=1e-3)
    assert Selection("r").event_of(EVENT) is EVENT


# -- memory ------------------------------------------------------------------------------------------


def test_a_sample_that_is_asked_again_answers_and_its_pool_pays_once(renyi):
    mechanism = GaussianSum(4.0)
    members = chosen(renyi)
    answers = [
        release(
            lambda: np.ones((len(members), 2)), mechanism, sample(renyi, members=members), "fit", record_ids=members
        )
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*answers)
    assert len(renyi.receipts()) == 1
    first, second = (sample(renyi, 2, question="fit") for _ in range(2))
    ids = chosen(renyi, "round 2")
    ids = [patient for patient in ids if patient not in members]
    for handle in (first, second):  # both found no answer
        handle.charge_once(EVENT, "fit", ids)
    assert len(renyi.receipts()) == 2
    assert renyi.certificate()["drawn_again"] == [renyi.receipts()[1].number]


def test_waiting_is_who_was_in_the_leaf_when_the_round_began(renyi):
    renyi.split(POOL, "cohort/start", ["s"])
    members = {}
    for number in (1, 2):
        renyi.begin_round(f"round {number}", {}, hidden=True)
        handle = sample(renyi, number)
        handle.charge(EVENT, "fit")
        members[number] = handle.account
    leaves = dict(zip(PATIENTS, renyi.accounts_of(PATIENTS), strict=True))
    for number, gone in ((1, set()), (2, {members[1]})):
        expected = [leaves[patient] not in gone for patient in PATIENTS]
        assert renyi.waiting(PATIENTS, f"round {number}").tolist() == expected
    assert renyi.waiting(["s"], "round 1").tolist() == [False]
    assert renyi.waiting(["s"], "round 1", "cohort/start").tolist() == [True]
    assert renyi.waiting(PATIENTS, "never begun").tolist() == [leaves[patient] == POOL for patient in PATIENTS]


# -- what the rounds together cost, against an exact computation -------------------------------------


def exact_epsilon(rate, sigma, weights):
    """ε of one round of a Poisson sample on a line, by integrating the larger direction; weights: P's mixture."""
    grid = np.linspace(-40, 41, 400_001)
    null = norm.pdf(grid, 0, sigma)
    shifted = sum(weight * norm.pdf(grid, mean, sigma) for mean, weight in weights)
    step = grid[1] - grid[0]

    def delta(epsilon):
        return max(
            np.clip(shifted - math.exp(epsilon) * null, 0, None).sum() * step,
            np.clip(null - math.exp(epsilon) * shifted, 0, None).sum() * step,
        )

    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if delta(middle) > DELTA else (low, middle)
    return high


@pytest.mark.parametrize("accepted", [RATE, RATE / 2])
def test_the_price_covers_any_chance_up_to_the_rate(accepted):
    sigma = 1.0
    price = epsilon_of([events.poisson_gaussian(sigma, RATE, 1)], DELTA)
    truth = exact_epsilon(RATE, sigma, [(0.0, 1 - accepted), (1.0, accepted)])
    assert truth <= price + 1e-3
    assert exact_epsilon(RATE, sigma, [(0.0, 0.5), (1.0, 0.5)]) > price + 0.05  # a chance above the rate is not covered


# -- groups that were settled before the first release -----------------------------------------------


def two_groups(first, second):
    return [Split(POOL, "cohort/start"), Charge(first, "cohort/start"), Charge(second, POOL)]


@pytest.mark.parametrize(("one", "other"), [(2.0, 4.0), (4.0, 2.0), (3.0, 3.0)])
def test_the_dearest_of_settled_groups_is_the_price(one, other):
    schedule = Schedule(two_groups(events.gaussian(one), events.gaussian(other)))
    assert len(schedule.groups()) == 2
    assert schedule.epsilon(DELTA) == pytest.approx(epsilon_of_mu(1 / min(one, other), DELTA), rel=1e-6)
    mixed = Schedule(two_groups(events.poisson_gaussian(1.0, 0.1, 1), events.gaussian(other)))
    alone = [epsilon_of([event], DELTA) for event in (events.poisson_gaussian(1.0, 0.1, 1), events.gaussian(other))]
    assert mixed.epsilon(DELTA) == pytest.approx(max(alone), rel=1e-6)  # they do not add up


def test_a_split_after_a_release_is_not_settled():
    """Who moves may follow from that release: the groups add up, as roles do."""
    sampled, whole = events.poisson_gaussian(0.7, 0.02, 1), events.gaussian(2.5)
    late = [
        Charge(events.gaussian(5.0), POOL),
        Split(POOL, "cohort/round-1"),
        Charge(sampled, "cohort/round-1"),
        Charge(whole, POOL),
    ]
    schedule = Schedule(late)
    assert len(schedule.groups()) == 1
    roles = [epsilon_of([events.gaussian(5.0), event], DELTA) for event in (sampled, whole)]
    assert schedule.epsilon(DELTA) > max(roles) + 0.01  # taken for settled, it would be the maximum
    early = Schedule([late[1], late[0], *late[2:]])
    assert len(early.groups()) == 2
    assert early.epsilon(DELTA) == pytest.approx(max(epsilon_of([sampled], DELTA), roles[1]), rel=1e-6)


def test_leaves_split_from_a_settled_one_stay_in_its_group():
    schedule = Schedule(
        [
            Split(POOL, "cohort/start"),
            Charge(EVENT, "cohort/start"),
            Charge(PAID, POOL),
            Split(POOL, "cohort/round-1"),
            Split("cohort/start", "cohort/start-b"),
        ]
    )
    assert sorted(len(group) for group in schedule.groups()) == [2, 2]
    assert [len(group) for group in schedule.groups("cohort/start")] == [1]
    assert schedule.groups(first=1) == [[((), ())], [((), ())]]
    assert len(schedule.roles()) == 4
