"""A schedule that was frozen beforehand: the next step passes, whatever else is refused."""

import json
import math
from types import SimpleNamespace

import pytest

from skdpal.privacy import (
    BudgetExhausted,
    Charge,
    LedgerError,
    LedgerTampered,
    PrivacyBudget,
    PrivacyLedger,
    Schedule,
    Split,
    epsilon_of,
    events,
)
from skdpal.privacy.accounting import frozen
from skdpal.privacy.accounts import POOL
from skdpal.privacy.ledger.state import header_of
from skdpal.privacy.storage.journal import Journal
from tests.privacy import reference

DELTA = 1e-5
BUDGET = PrivacyBudget(8.0, DELTA)
START, LATER = "cohort/labelled/start", "cohort/labelled/later"
FIT, SCORES, LAST = events.gaussian(3.0), events.noisy_scores(4.0), events.noisy_scores(5.0)
STEPS = [
    Split(POOL, START),
    Charge(FIT, START),
    Charge(SCORES, POOL),
    Split(POOL, LATER),
    Charge(FIT, "cohort/labelled"),
    Charge(LAST),
]


@pytest.fixture
def planned():
    return PrivacyLedger(BUDGET, "planned", schedule=STEPS)


def follow(ledger, steps):
    """Do what was planned."""
    for step in steps:
        if isinstance(step, Split):
            ledger.split(step.source, step.into, [])
        else:
            ledger.charge(step.event, "it", step.account)


# ---- step by step -----------------------------------------------------------------------------------------------


def test_the_schedule_passes_and_then_nothing_does(planned, journal):
    for step in STEPS:
        if isinstance(step, Charge):
            assert planned.affords(step.event, step.account)
            planned.require(step.event, "it", step.account)
        follow(planned, [step])
    assert [receipt.account for receipt in planned.receipts()] == [START, POOL, "cohort/labelled", "cohort"]
    before = journal(planned)
    assert not planned.affords(events.gaussian(1e6))
    with pytest.raises(BudgetExhausted, match="The schedule is done"):
        planned.charge(events.gaussian(1e6), "more")
    with pytest.raises(ValueError, match="The schedule is done"):
        planned.split(POOL, "cohort/more", [])
    assert journal(planned) == before


CHARGES = {
    "an ulp less noise": (events.gaussian(math.nextafter(3.0, 0)), START),
    "an ulp more noise": (events.gaussian(math.nextafter(3.0, 4)), START),
    "another count": (events.gaussian(3.0, steps=2), START),
    "another kind of the same price": (events.noisy_scores(3.0), START),
    "another sensitivity to exchange": (events.gaussian(3.0, replace_one=1.0), START),
    "the same in another word": (events.composed([events.gaussian(3.0)]), START),
    "the pool": (FIT, POOL),
    "everybody": (FIT, "cohort"),
    "the account above": (FIT, "cohort/labelled"),
    "a step ahead": (SCORES, POOL),
    "something cheap": (events.gaussian(1e9), START),
    "nothing": (events.composed([]), START),
    "something without noise": (events.nonprivate(), START),
}


@pytest.mark.parametrize("name", CHARGES)
def test_any_other_charge_is_refused(planned, journal, name):
    event, account = CHARGES[name]
    follow(planned, STEPS[:1])
    before, spent = journal(planned), planned.spent()
    assert not planned.affords(event, account)
    for attempt in (planned.charge, planned.require):
        with pytest.raises(BudgetExhausted, match=r"it costs ε=.* of 8\.00.*not the next step.*Expected Charge") as no:
            attempt(event, "it", account)
        assert (no.value.spent, no.value.ceiling) == (spent, 8.0)
    assert journal(planned) == before
    follow(planned, STEPS[1:])  # and the schedule goes on


@pytest.mark.parametrize("done", range(1, len(STEPS)))
def test_no_step_can_be_repeated_or_skipped(planned, journal, done):
    follow(planned, STEPS[:done])
    before = journal(planned)
    for other in {done - 1, done + 1} & set(range(len(STEPS))):
        if STEPS[other] != STEPS[done]:
            with pytest.raises((BudgetExhausted, ValueError)):
                follow(planned, [STEPS[other]])
    assert journal(planned) == before


def test_a_split_that_is_not_planned_is_refused(planned, journal):
    before = journal(planned)
    for source, into in ((POOL, LATER), (POOL, "cohort/labelled/start-2")):
        with pytest.raises(ValueError, match=r"not the next step of the frozen schedule\. Expected Split"):
            planned.split(source, into, ["p"])
    with pytest.raises((BudgetExhausted, ValueError), match="not the next step"):
        planned.branch(POOL, LATER, ["p"]).charge(FIT, "it")
    assert journal(planned) == before
    assert planned.accounts_of(["p"]) == [POOL]


def test_a_branch_is_a_split_and_a_charge_of_the_schedule(planned, journal):
    branch = planned.branch(POOL, START, ["p"])
    before = journal(planned)
    assert not branch.affords(events.gaussian(3.5))
    with pytest.raises(BudgetExhausted, match="not the next step"):
        branch.charge(events.gaussian(3.5), "it")
    assert journal(planned) == before
    assert planned.accounts_of(["p"]) == [POOL]
    assert branch.affords(FIT)
    branch.charge(FIT, "it", record_ids=["p"])
    assert planned.accounts_of(["p", "q"]) == [START, POOL]
    planned.charge(SCORES, "it", POOL)
    with pytest.raises(BudgetExhausted):  # the charge after this split is to the account above
        planned.branch(POOL, LATER, ["q"]).charge(FIT, "it")
    follow(planned, STEPS[3:])


def test_members_of_a_planned_split_are_free(planned):
    planned.split(POOL, START, ["p", "q"])
    assert planned.accounts_of(["p", "q", "r"]) == [START, START, POOL]


@pytest.mark.parametrize(
    "attempt",
    [
        lambda ledger: ledger.reserve(FIT, "it"),
        lambda ledger: ledger.headroom(events.gaussian),
        lambda ledger: ledger.within(POOL).headroom(events.gaussian),
    ],
    ids=["reserve", "headroom", "headroom of an account"],
)
def test_a_planned_ledger_reserves_nothing_and_has_no_headroom(planned, journal, attempt):
    before = journal(planned)
    with pytest.raises(LedgerError, match="schedule"):
        attempt(planned)
    assert journal(planned) == before


def test_parts_of_a_planned_ledger_have_no_ceilings(planned, journal):
    before = journal(planned)
    with pytest.raises(ValueError, match="Put the limits into the schedule"):
        planned.cap(POOL, "rna", 1.0)
    with pytest.raises(ValueError, match="Put the limits into the schedule"):
        planned.split(POOL, START, [], epsilon=1.0)
    with pytest.raises(ValueError, match="Expected cap"):
        planned.charge(FIT, "it", cap="rna")
    assert journal(planned) == before


# ---- what was spent -------------------------------------------------------------------------------------------------


def test_the_odometer_ends_at_the_price_of_the_schedule():
    steps = [*STEPS[:-1], Charge(events.laplace(4.0))]
    planned = PrivacyLedger(BUDGET, "planned", schedule=steps)
    readings = [planned.spent()]
    for step in steps:
        follow(planned, [step])
        readings.append(planned.spent())
    assert readings[0] == 0
    assert all(later >= earlier * (1 - 1e-3) for earlier, later in zip(readings[:-1], readings[1:], strict=True))
    assert readings[2] == pytest.approx(epsilon_of([FIT], DELTA), rel=1e-6)
    assert readings[-1] == Schedule(steps).epsilon(DELTA) <= BUDGET.epsilon
    assert planned.spent(START) == pytest.approx(epsilon_of([FIT, FIT, events.laplace(4.0)], DELTA), rel=1e-6)
    assert planned.spent(POOL) == pytest.approx(epsilon_of([SCORES, events.laplace(4.0)], DELTA), rel=1e-6)
    assert planned.spent(LATER) <= planned.spent()


def test_reading_is_not_paying(planned):
    follow(planned, STEPS[:2])
    assert planned.certificate()["epsilon"] == 8.0
    assert planned.certificate()["odometer"]["epsilon_spent"] == planned.spent() < 8.0


def test_a_schedule_that_is_too_dear_is_refused_at_creation(tmp_path):
    schedule = Schedule(STEPS)
    price = schedule.epsilon(DELTA)
    for attempt in (PrivacyLedger, lambda *a, **k: PrivacyLedger.create(tmp_path / "x.ledger", *a, **k)):
        with pytest.raises(BudgetExhausted, match=rf"costs ε={price:.2f}; spent 0\.00 of {0.99 * price:.2f}") as no:
            attempt(PrivacyBudget(0.99 * price, DELTA), "planned", schedule=schedule)
        assert (no.value.price, no.value.spent, no.value.ceiling) == (price, 0.0, 0.99 * price)
    assert not list(tmp_path.iterdir())
    PrivacyLedger(PrivacyBudget(price, DELTA), "planned", schedule=schedule)


# ---- roles ----------------------------------------------------------------------------------------------------------


def study(rounds, train, selection):
    """Train on the labelled and score the pool, then split: `rounds` times, and one training more."""
    steps = [Split(POOL, "cohort/labelled/0")]
    for number in range(1, rounds + 1):
        steps += [Charge(train, "cohort/labelled"), Charge(selection, POOL), Split(POOL, f"cohort/labelled/{number}")]
    return Schedule([*steps, Charge(train, "cohort/labelled")])


TRAIN, SELECTION = events.poisson_gaussian(2.0, 0.25, 20), events.gaussian(1.48)


def test_five_rounds_of_training_and_selection_cost_less_than_their_sum():
    schedule = study(5, TRAIN, SELECTION)
    assert len(schedule.roles()) == 7
    price = schedule.epsilon(DELTA)
    assert price == pytest.approx(7.81, abs=0.01)
    sequential = epsilon_of([*[TRAIN] * 6, *[SELECTION] * 5], DELTA)
    assert sequential == pytest.approx(10.75, abs=0.01)
    sampled, scores = reference.poisson_gaussian(2.0, 0.25), reference.gaussian(1.48)
    for selections in range(6):  # no patient's fixed role is dearer
        lower, _ = reference.bounds([(sampled, 20 * (6 - selections)), (scores, max(selections, 1))], DELTA)
        assert price >= lower or selections == 0
    ledger = PrivacyLedger(PrivacyBudget(7.82, DELTA), "planned", schedule=schedule)
    follow(ledger, schedule.steps)
    assert ledger.spent() == price


def test_either_of_the_two_bounds_may_be_the_smaller():
    """Dominating pairs where many rounds are alike; the sum over roles where two roles differ for good."""
    rounds = study(3, TRAIN, SELECTION).roles()
    forked = Schedule(
        [
            Split(POOL, "cohort/fork/0"),
            *(
                step
                for number in range(1, 6)
                for step in (
                    Charge(events.gaussian(2.5), "cohort/fork"),
                    Charge(events.laplace(1.0), POOL),
                    Split("cohort/fork/0", f"cohort/fork/{number}"),
                )
            ),
        ]
    ).roles()
    for roles, smaller in ((rounds, "rounds"), (forked, "roles")):
        flat = {events.composed([event for turn in role for event in turn]) for role in roles}
        bounds = {"rounds": frozen._by_rounds(roles, DELTA, 1e-3), "roles": frozen._by_roles(flat, DELTA, 1e-3)}
        assert min(bounds, key=bounds.get) == smaller
        assert frozen.epsilon_of_roles(roles, DELTA) == pytest.approx(bounds[smaller], rel=1e-3)
        assert max(bounds.values()) > 1.02 * min(bounds.values())
        assert min(bounds.values()) >= max(epsilon_of([role], DELTA) for role in flat) * (1 - 1e-3)


def test_roles_are_what_each_leaf_was_in_round_by_round():
    assert Schedule(STEPS).groups() == [  # who was split off before the first release is apart
        [((), (SCORES,), (LAST,)), ((), (SCORES,), (FIT, LAST))],
        [((), (FIT,), (FIT, LAST))],
    ]
    assert Schedule(STEPS).roles() == [role for group in Schedule(STEPS).groups() for role in group]
    assert Schedule(STEPS).roles("cohort/labelled", first=3) == [((), (FIT,))]
    assert Schedule([FIT]).roles() == [((FIT,),)]


def test_gaussian_roles_cost_the_dearest_of_them():
    schedule = study(3, events.gaussian(4.0), events.gaussian(3.0))
    dearest = max(selections / 9 + (4 - selections) / 16 for selections in range(4))
    assert schedule.epsilon(DELTA) == pytest.approx(epsilon_of([events.gaussian(dearest**-0.5)], DELTA), rel=1e-9)


def test_a_leaf_that_nobody_charges_costs_nothing_of_its_own():
    alone = Schedule([Charge(TRAIN)]).epsilon(DELTA)
    assert Schedule([Charge(TRAIN), Split(POOL, START)]).epsilon(DELTA) == pytest.approx(alone, rel=1e-9)
    apart = Schedule([Split(POOL, START), Charge(TRAIN, START)]).epsilon(DELTA)
    assert alone * (1 - 1e-3) <= apart <= alone * (1 + 1e-2)


# ---- what a schedule is --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "steps", [[], ["fit"], [FIT, None], [(FIT, POOL)], [3.0]], ids=["nothing", "word", "none", "tuple", "number"]
)
def test_what_is_no_schedule_is_refused(steps):
    with pytest.raises(TypeError, match="Expected schedule"):
        Schedule(steps)


@pytest.mark.parametrize(
    "steps",
    [
        [Charge(FIT, START)],
        [Split("cohort/none", START)],
        [Split(POOL, "labelled")],
        [Split(POOL, START), Split(POOL, START)],
        [Split("cohort", START)],
    ],
    ids=["no account", "no source", "no name", "twice", "no leaf"],
)
def test_a_schedule_is_checked_against_its_own_splits(steps):
    with pytest.raises(ValueError, match="account|into="):
        Schedule(steps)


def test_events_alone_are_charges_to_everybody():
    assert Schedule([FIT, SCORES]) == Schedule([Charge(FIT), Charge(SCORES, "cohort")])


def test_json_and_back():
    schedule = Schedule([*STEPS, events.one_of([TRAIN, events.repeat_and_select(FIT, 5.0, math.inf)])])
    again = Schedule.from_json(json.loads(json.dumps(schedule.to_json(), allow_nan=False)))
    assert again == schedule
    assert again.digest == schedule.digest
    assert hash(again) == hash(schedule)
    others = [Schedule(STEPS), Schedule([*STEPS[:-1], Charge(events.noisy_scores(math.nextafter(5.0, 6)))])]
    assert len({schedule.digest, *(other.digest for other in others)}) == 3


@pytest.mark.parametrize("record", [{"source": POOL}, {"source": POOL, "into": START, "more": 1}, {"event": {}}])
def test_a_record_that_is_unknown_is_refused(record):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Schedule.from_json([record])


@pytest.mark.parametrize(
    "make",
    [lambda: STEPS, lambda: Schedule(STEPS), lambda: SimpleNamespace(schedule=Schedule(STEPS))],
    ids=["steps", "schedule", "plan"],
)
def test_what_holds_a_schedule_is_accepted(make):
    ledger = PrivacyLedger(BUDGET, "planned", schedule=make())
    assert ledger.certificate()["filter_parameters"]["digest"] == Schedule(STEPS).digest
    follow(ledger, STEPS)


# ---- in a file ------------------------------------------------------------------------------------------------------


def test_a_file_goes_on_where_it_stopped(path):
    made = PrivacyLedger.create(path, BUDGET, "planned", schedule=STEPS)
    for step in STEPS:
        again = PrivacyLedger.open(path)
        assert again.filter == "planned"
        follow(again, [step])
    assert made.spent() == Schedule(STEPS).epsilon(DELTA)
    with pytest.raises(BudgetExhausted, match="done"):
        PrivacyLedger.open(path).charge(FIT, "more")
    made.verify()


@pytest.mark.parametrize("edit", ["noise", "digest", "account", "step"])
def test_an_edited_schedule_is_found(path, edit):
    """Even if the chain of the journal is made anew."""
    header = json.loads(json.dumps(header_of(BUDGET, "planned", schedule=STEPS)))
    if edit == "noise":
        header["schedule"][1]["event"]["noise_multiplier"] = 2.0
    elif edit == "digest":
        header["digest"] = Schedule(STEPS[:1]).digest
    elif edit == "account":
        header["schedule"][1]["account"] = POOL
    else:
        header["schedule"].append(header["schedule"][2])
    PrivacyLedger.create(path, BUDGET, "planned", schedule=STEPS)  # makes the vault
    path.unlink()
    path.touch()
    Journal(path, header=header)
    with pytest.raises(LedgerTampered):
        PrivacyLedger.open(path)
