"""One sum for several accounts: who is clipped to what, who pays what, all of them or none."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdpal.privacy import BudgetExhausted, LedgerError, PrivacyBudget, PrivacyLedger, Schedule, epsilon_of, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.mechanisms import GaussianBlocks, GaussianSum, LaplaceScores, release
from skdpal.privacy.randomness import simulation

DELTA = 1e-5
A, B, C = "cohort/site-a", "cohort/site-b", "cohort/site-c"
MEMBERS = {A: ["a1", "a2"], B: ["b1", "b2"], C: ["c1"]}
CEILINGS = {A: 1.0, B: 2.0, C: 4.0}
SHARES = {A: 0.25, B: 0.5, C: 1.0}
IDS = ["a1", "b1", "c1", "a2", "b2"]
ROWS = np.eye(5)
SUM = GaussianSum(3.0)


def opened(make=PrivacyLedger, filter="gdp"):
    ledger = make(PrivacyBudget(4.0, DELTA), filter)
    for account, patients in MEMBERS.items():
        ledger.split(POOL, account, patients, epsilon=CEILINGS[account] if filter == "gdp" else None)
    return ledger


def shared(ledger, values=lambda: ROWS, mechanism=SUM, ids=IDS, shares=SHARES):
    return release(values, mechanism, ledger.among(shares), "sum", record_ids=ids)


def unread():
    raise AssertionError("read")


# -- who pays ------------------------------------------------------------------------------------


@pytest.mark.parametrize("filter", ["gdp", "renyi"])
def test_each_account_pays_for_its_share(filter):
    ledger = opened(filter=filter)
    shared(ledger)
    receipts = {receipt.account: receipt.event for receipt in ledger.receipts()}
    assert receipts == {account: events.gaussian(3.0 / share) for account, share in SHARES.items()}
    for account, share in SHARES.items():
        if filter == "gdp":
            assert ledger.spent(account) == pytest.approx(epsilon_of([events.gaussian(3.0 / share)], DELTA), rel=1e-9)
    assert ledger.spent(POOL) == 0
    assert ledger.spent(A) < ledger.spent(B) < ledger.spent(C)


@pytest.mark.parametrize("poor", [A, B, C])
def test_all_pay_or_none(poor, journal):
    ledger = opened()
    noise = ledger.headroom(events.gaussian, poor)
    ledger.charge(events.gaussian(noise * 1.05), "before", poor)
    before = journal(ledger)
    payer = ledger.among(SHARES)
    assert not payer.affords(SUM.event)
    for attempt in (lambda: payer.require(SUM.event, "sum"), lambda: shared(ledger, unread)):
        with pytest.raises(BudgetExhausted, match=rf"account '{poor}'"):
            attempt()
    assert journal(ledger) == before


def test_it_is_paid_before_anything_is_read(durable, path):
    for account, patients in MEMBERS.items():
        durable.split(POOL, account, patients)
    seen = []

    def values():
        seen.extend(receipt.account for receipt in PrivacyLedger.open(path).receipts())
        return ROWS

    shared(durable, values, GaussianSum(5.0))
    assert seen == [A, B, C]


@pytest.mark.parametrize("filter", ["gdp", "renyi"])
def test_a_crash_between_two_prices_has_charged_nobody(filter, monkeypatch, journal):
    ledger, appended = opened(filter=filter), []
    before = journal(ledger)
    append = ledger._book._append_charge

    def dies(*arguments, **options):
        if appended:
            raise KeyboardInterrupt
        appended.append(True)
        return append(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(ledger._book, "_append_charge", dies)
        with pytest.raises(KeyboardInterrupt):
            shared(ledger, unread)
    assert journal(ledger) == before
    shared(ledger)


# -- who counts how much -------------------------------------------------------------------------


def silent(rows, ids=IDS, shares=SHARES, make=GaussianSum):
    with simulation(0):
        ledger = opened()
        ledger._book._state.filter.ceiling = (math.inf,)  # of noise that is none
        for leaf, one in ledger._book._state.accounts.leaves.items():
            ledger._book._state.accounts.leaves[leaf] = type(one)(one.paid, (math.inf,))
        return release(lambda: np.asarray(rows), make(1e-9), ledger.among(shares), "x", record_ids=ids)


def test_a_patient_counts_as_much_as_they_share():
    assert silent(ROWS) == pytest.approx([0.25, 0.5, 1.0, 0.25, 0.5], abs=1e-6)
    assert silent(0.4 * ROWS) == pytest.approx(0.4 * np.array([0.25, 0.5, 1.0, 0.25, 0.5]), abs=1e-6)


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(IDS), st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=6))
def test_nobody_counts_more_however_long_or_many_their_rows_are(rows):
    """One patient's rows are summed, clipped to length 1, and then shared: in this order."""
    account_of = {patient: account for account, patients in MEMBERS.items() for patient in patients}
    everybody = [f"{name}" for name, *_ in rows]
    table = np.array([own for _, *own in rows])
    for patient in set(everybody):
        kept = np.array([name != patient for name in everybody])
        moved = silent(table, everybody) - silent(table * kept[:, None], everybody)
        assert np.linalg.norm(moved) <= SHARES[account_of[patient]] + 1e-6


def test_equal_shares_are_an_ordinary_sum():
    same = silent(ROWS, shares=dict.fromkeys(SHARES, 1.0))
    assert same == pytest.approx(np.ones(5), abs=1e-6)


def test_who_moved_after_the_charge_counts_as_they_paid(monkeypatch):
    """Read in the transaction that charges: a later split must not lend a larger share."""
    ledger = opened()
    shares = {A: 0.25, "cohort/site-c": 1.0}

    def values():
        ledger.split(A, "cohort/other/a1", ["a1"])
        return np.array([[1.0], [1.0]])

    counted = []
    run = GaussianSum.run
    monkeypatch.setattr(
        GaussianSum, "run", lambda self, rows, ids, shares=None: counted.append(shares) or run(self, rows, ids, shares)
    )
    release(values, SUM, ledger.among(shares), "x", record_ids=["a1", "c1"])
    assert counted == [{"a1": 0.25, "c1": 1.0}]


def test_a_share_covers_all_that_is_below_its_account():
    ledger = PrivacyLedger(PrivacyBudget(4.0, DELTA))
    ledger.split(POOL, "cohort/sites/a", ["a1"])
    ledger.split(POOL, "cohort/sites/b", ["b1"])
    ledger.split(POOL, C, ["c1"])
    release(
        lambda: np.ones((3, 1)), SUM, ledger.among({"cohort/sites": 0.5, C: 1.0}), "x", record_ids=["a1", "b1", "c1"]
    )
    assert ledger.spent("cohort/sites/a") == ledger.spent("cohort/sites/b") < ledger.spent(C)


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0, -0.5, 1.0001, math.nan, math.inf, "1", None, True])
def test_a_share_is_above_0_and_at_most_1(share):
    with pytest.raises(ValueError, match="share"):
        opened().among({A: share})


def test_accounts_must_exist_and_have_no_leaf_in_common(journal):
    ledger = opened()
    with pytest.raises(ValueError, match="at least one account"):
        ledger.among({})
    with pytest.raises(ValueError, match="Expected account"):
        ledger.among({"cohort/nobody": 1.0})
    before = journal(ledger)
    for shares in ({A: 0.5, "cohort": 0.5}, {"cohort": 0.5, A: 0.5}):
        with pytest.raises(ValueError, match="without a common leaf"):
            shared(ledger, unread, shares=shares)
    assert journal(ledger) == before


def test_rows_are_of_these_accounts_only(journal):
    ledger = opened()
    before = journal(ledger)
    for ids in ([*IDS[:4], "stranger"], [*IDS[:3], "b2", "b1"]):
        with pytest.raises(ValueError, match=r"patients of the accounts") as error:
            shared(ledger, unread, ids=ids, shares={A: 0.5, C: 1.0})
        assert "stranger" not in str(error.value)
    assert journal(ledger) == before


@pytest.mark.parametrize("mechanism", [LaplaceScores(9.0), GaussianBlocks({"rna": (9.0, 5)})])
def test_only_sums_are_shared(mechanism, journal):
    ledger = opened()
    before = journal(ledger)
    with pytest.raises(TypeError, match="Expected a GaussianSum"):
        shared(ledger, unread, mechanism)
    with pytest.raises(ValueError, match="Expected a Gaussian release"):
        ledger.among(SHARES).require(mechanism.event, "x")
    assert journal(ledger) == before


def test_what_does_not_go_through_release_is_refused(journal):
    """It would not be weighed."""
    ledger = opened()
    before, payer = journal(ledger), ledger.among(SHARES)
    for attempt in (lambda: payer.charge(SUM.event, "x"), lambda: payer.charge_once(SUM.event, "x", IDS)):
        with pytest.raises(LedgerError, match="for nothing else"):
            attempt()
    with pytest.raises(LedgerError, match="headroom"):
        payer.headroom(events.gaussian)
    assert journal(ledger) == before


def test_a_planned_ledger_has_no_shares():
    ledger = PrivacyLedger(PrivacyBudget(4.0, DELTA), "planned", schedule=Schedule([SUM.event]))
    with pytest.raises(LedgerError, match="no shares"):
        ledger.among({"cohort": 1.0})


def test_a_sample_is_charged_with_everybody_or_not_at_all():
    from skdpal.privacy import Selection

    ledger = PrivacyLedger(PrivacyBudget(8.0, DELTA), "renyi")
    ledger.begin_round("r", hidden=True)
    ids = [f"p{at}" for at in range(20)]
    chosen = [name for name, coin in zip(ids, ledger.coins("r", ids), strict=True) if coin < 0.5]
    ledger.branch(POOL, "cohort/round-1", chosen, selection=Selection("r", 0.5)).charge(events.gaussian(9.0), "x")
    with pytest.raises(ValueError, match="secret coins"):
        release(unread, SUM, ledger.among({"cohort/round-1": 1.0}), "x", record_ids=chosen)


def test_copies_are_the_same_payer(path):
    ledger = opened(lambda budget, filter: PrivacyLedger.create(path, budget, filter))
    payer = ledger.among(SHARES)
    for twin in (copy.deepcopy(payer), pickle.loads(pickle.dumps(payer))):
        release(lambda: ROWS, GaussianSum(30.0), twin, "x", record_ids=IDS)
    assert len(ledger.receipts()) == 6


def test_a_real_ledger_shares_nothing_inside_a_simulation():
    ledger = opened()
    with simulation(0), pytest.raises(LedgerError, match="real ledger"):
        shared(ledger, unread)
