"""One account of a ledger: branches, reservations, and who is in which."""

import pickle

import pytest

from skdpal.privacy import BudgetExhausted, events
from skdpal.privacy.accounts import POOL


def test_a_branch_is_made_by_its_first_charge(ledger, whole):
    branch = ledger.branch(POOL, "cohort/start", ["a", "b"])
    assert branch.affords(whole)
    assert ledger.accounts() == [POOL]
    branch.charge(whole, "fit", record_ids=["a"])
    assert ledger.accounts_of(["a", "b", "c"]) == ["cohort/start", "cohort/start", POOL]
    assert not branch.affords(whole)
    assert ledger.affords(whole, POOL)


def test_a_refused_branch_leaves_everybody_where_they_were(ledger, whole, journal):
    branch = ledger.branch(POOL, "cohort/start", ["a"])
    before = journal(ledger)
    with pytest.raises(BudgetExhausted):
        branch.charge(events.gaussian(whole.noise_multiplier / 2), "fit")
    with pytest.raises(ValueError, match="members"):
        branch.charge(whole, "fit", record_ids=["stranger"])
    assert journal(ledger) == before
    assert ledger.accounts_of(["a"]) == [POOL]


def test_a_handle_is_bound_to_its_account(ledger):
    handle = ledger.split(POOL, "cohort/a", ["p"])
    handle.charge(events.gaussian(4.0), "x", record_ids=["p"])
    with pytest.raises(ValueError, match="bound"):
        handle.charge(events.gaussian(4.0), "x", "cohort")
    assert handle.spent() == ledger.spent("cohort/a") > ledger.spent(POOL) == 0
    assert handle.budget == ledger.budget
    assert handle.receipts() == ledger.receipts()
    assert handle.certificate()["epsilon"] == 2.0
    assert handle.within(POOL).account == POOL
    assert handle.hidden_rounds == ledger.hidden_rounds == 0
    assert "cohort/a" in repr(handle)


def test_pickled_handles_carry_no_patients(durable):
    branch = durable.branch(POOL, "cohort/a", ["secret-name"])
    data = pickle.dumps(branch)
    assert b"secret-name" not in data
    with pytest.raises(ValueError, match="members"):
        pickle.loads(data).charge(events.gaussian(50), "x", record_ids=["secret-name"])


def test_a_reservation_is_one_receipt_on_which_fits_draw(durable):
    handle = durable.reserve(events.composed([events.gaussian(5.0)] * 3), "search")
    for _ in range(3):
        handle.require(events.gaussian(5.0), "fit")
        assert handle.charge(events.gaussian(5.0), "fit").label == "search"
    assert not handle.affords(events.gaussian(5.0))
    with pytest.raises(BudgetExhausted, match="of the reservation is left"):
        pickle.loads(pickle.dumps(handle)).charge(events.gaussian(5.0), "one more")
    assert len(durable.receipts()) == 1
    with pytest.raises(BudgetExhausted):
        durable.reserve(events.gaussian(0.5), "too much")


def test_a_handle_of_a_branch_prices_as_its_source(ledger, whole):
    ledger.charge(events.gaussian(4.0), "selection", POOL)
    branch = ledger.branch(POOL, "cohort/a", ["p"])
    assert branch.spent() == ledger.spent(POOL) > 0
    with pytest.raises(BudgetExhausted):
        branch.require(whole, "fit")
    branch.charge(events.gaussian(4.0), "fit")
    assert branch.spent() == ledger.spent("cohort/a") > ledger.spent(POOL)  # inherited, then paid


def test_a_branch_can_be_made_once(ledger):
    first, second = (ledger.branch(POOL, "cohort/a", ["p"]) for _ in range(2))
    first.charge(events.gaussian(9.0), "fit")
    with pytest.raises(ValueError, match="meets the existing account"):
        second.charge(events.gaussian(9.0), "fit")
    with pytest.raises(ValueError, match="meets the existing account"):
        ledger.branch(POOL, "cohort/a", ["q"])
    first.charge(events.gaussian(9.0), "again", record_ids=["p"])
    assert [receipt.account for receipt in ledger.receipts()] == ["cohort/a"] * 2


def test_a_member_of_another_account_stops_a_branch(ledger, journal):
    ledger.split(POOL, "cohort/a", ["p"])
    before = journal(ledger)
    with pytest.raises(ValueError, match="record_ids"):
        ledger.branch(POOL, "cohort/b", ["p", "q"]).charge(events.gaussian(9.0), "fit")
    assert journal(ledger) == before
    assert ledger.accounts_of(["p", "q"]) == ["cohort/a", POOL]


def test_a_refusal_names_no_patient(ledger):
    ledger.split(POOL, "cohort/a", ["ann"])
    for attempt in (
        lambda: ledger.split(POOL, "cohort/b", ["ann"]),
        lambda: ledger.charge(events.gaussian(9.0), "x", POOL, record_ids=["ann"]),
        lambda: ledger.branch(POOL, "cohort/b", ["bob"]).charge(events.gaussian(9.0), "x", record_ids=["ann"]),
    ):
        with pytest.raises(ValueError, match="Expected rows") as refusal:
            attempt()
        assert "ann" not in str(refusal.value)


def test_a_reservation_pays_for_patients_of_its_account_only(ledger):
    ledger.split(POOL, "cohort/a", ["p"])
    handle = ledger.reserve(events.gaussian(5.0), "search", "cohort/a")
    with pytest.raises(ValueError, match="patients of account"):
        handle.charge(events.gaussian(9.0), "fit", record_ids=["stranger"])
    handle.charge(events.gaussian(9.0), "fit", record_ids=["p"])
    assert len(ledger.receipts()) == 1


def test_a_refused_draw_says_what_is_left_and_writes_nothing(ledger, journal):
    handle = ledger.reserve(events.gaussian(2.2), "search")
    handle.charge(events.gaussian(3.0), "fit 1")
    before = journal(ledger)
    with pytest.raises(BudgetExhausted) as refusal:
        handle.charge(events.gaussian(3.0), "fit 2")
    assert journal(ledger) == before
    assert str(refusal.value).startswith("fit 2 costs ε=1.27; 1.17 of the reservation is left (spent 1.79 of 2.00")
    assert (refusal.value.spent, refusal.value.ceiling) == (ledger.spent(), 2.0)
    handle.charge(events.gaussian(3.3), "fit 2")  # what is left is still there


def test_no_draw_is_free_of_charge_after_all_was_drawn(ledger):
    handle = ledger.reserve(events.gaussian(5.0), "fit")
    handle.charge(events.gaussian(5.0), "fit")
    with pytest.raises(BudgetExhausted):
        handle.charge(events.gaussian(1e6), "one more")
    with pytest.raises(BudgetExhausted):
        handle.charge(events.nonprivate(), "scaler")
