"""The tree of accounts against a brute force in which every patient keeps their own receipts."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdpal.privacy import PrivacyBudget, PrivacyLedger, events
from skdpal.privacy.accounts import POOL, Accounts

PATIENTS = [f"p{number}" for number in range(6)]
STEP = st.one_of(
    st.tuples(st.just("charge"), st.integers(0, 5), st.floats(5, 50)),
    st.tuples(st.just("split"), st.integers(0, 5), st.sets(st.sampled_from(PATIENTS))),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=12))
def test_the_largest_leaf_bounds_every_patient(history):
    ledger = PrivacyLedger(PrivacyBudget(1000.0, 1e-5))
    leaf_of = dict.fromkeys(PATIENTS, POOL)
    own = {patient: [] for patient in PATIENTS}
    for number, (kind, pick, what) in enumerate(history):
        leaves = ledger.accounts()
        leaf = leaves[pick % len(leaves)]
        if kind == "charge":
            account = "cohort" if pick == 5 else leaf
            ledger.charge(events.gaussian(what), "x", account)
            for patient in PATIENTS:
                if account in ("cohort", leaf_of[patient]):
                    own[patient].append(1 / what**2)
        else:
            members = sorted(patient for patient in what if leaf_of[patient] == leaf)
            ledger.split(leaf, into=f"cohort/leaf-{number}", members=members)
            leaf_of |= dict.fromkeys(members, f"cohort/leaf-{number}")
    assert ledger.accounts_of(PATIENTS) == list(leaf_of.values())
    state = ledger._read().accounts
    for patient in PATIENTS:
        assert state.spent(leaf_of[patient]) == pytest.approx(math.fsum(own[patient]), rel=1e-9)
    assert state.spent() >= max(math.fsum(paid) for paid in own.values()) * (1 - 1e-9)


def test_a_new_leaf_inherits_and_then_pays_for_itself():
    accounts = Accounts()
    accounts.charge(POOL, 1.0, 2.0)
    accounts.split(POOL, "cohort/a")
    accounts.charge("cohort/a", 3.0, 3.0)
    accounts.charge("cohort", 0.5, 0.5)
    assert accounts.spent(POOL) == 1.5
    assert accounts.spent("cohort/a") == 4.5
    assert accounts.spent() == 4.5
    assert accounts.spent(replace_one=True) == 5.5


def test_an_inner_account_charges_every_leaf_below():
    accounts = Accounts()
    accounts.split(POOL, "cohort/site-1/a")
    accounts.split(POOL, "cohort/site-1/b")
    accounts.charge("cohort/site-1", 1.0, 1.0)
    assert [accounts.spent(leaf) for leaf in accounts.leaves] == [0, 1, 1]


@pytest.mark.parametrize(
    ("source", "into", "words"),
    [
        ("cohort", "cohort/x", "leaf"),
        ("cohort/missing", "cohort/x", "leaf"),
        (POOL, "cohort/pool", "meets"),
        (POOL, "cohort/pool/x", "meets"),
        (POOL, "cohort", "name like"),
        (POOL, "Cohort/x", "name like"),
        (POOL, "cohort/../x", "name like"),
        (POOL, 3, "name like"),
    ],
)
def test_bad_splits_are_refused(source, into, words):
    with pytest.raises(ValueError, match=words):
        Accounts().split(source, into)


def test_an_unknown_account_names_the_known():
    with pytest.raises(ValueError, match="'cohort/pool'"):
        Accounts().charge("cohort/round-9", 1.0, 1.0)
