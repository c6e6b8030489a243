"""The tree of accounts against a brute force in which every patient keeps their own receipts."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdpal.privacy import PrivacyBudget, PrivacyLedger, events
from skdpal.privacy.accounting.amounts import ceil_of, floor_of, value_of
from skdpal.privacy.accounts import POOL, ROOT, Accounts
from skdpal.privacy.filters import GdpFilter

PATIENTS = [f"p{number}" for number in range(6)]
SITES = ["cohort/site-0", "cohort/site-1"]  # inner accounts; leaves are split off under them
STEP = st.one_of(
    st.tuples(st.just("charge"), st.integers(0, 9), st.floats(5, 50), st.just(SITES[0])),
    st.tuples(
        st.just("split"), st.integers(0, 9), st.sets(st.sampled_from(PATIENTS)), st.sampled_from(["cohort", *SITES])
    ),
)


def contains(account, leaf):
    return leaf == account or leaf.startswith(f"{account}/")


@settings(max_examples=60, deadline=None)
@given(st.lists(STEP, max_size=14))
def test_a_leaf_has_paid_what_its_patients_would_have_paid_one_by_one(history):
    """Every patient keeps a list of the receipts that their rows could have entered; that list is the truth."""
    ledger = PrivacyLedger(PrivacyBudget(1000.0, 1e-5))
    leaf_of = dict.fromkeys(PATIENTS, POOL)
    own = {patient: [] for patient in PATIENTS}
    for number, (kind, pick, what, above) in enumerate(history):
        leaves = ledger.accounts()
        leaf = leaves[pick % len(leaves)]
        if kind == "charge":
            inner = [account for account in ["cohort", *SITES] if any(contains(account, leaf) for leaf in leaves)]
            account = [*leaves, *inner][pick % (len(leaves) + len(inner))]
            ledger.charge(events.gaussian(what), "x", account)
            for patient in PATIENTS:
                if contains(account, leaf_of[patient]):
                    own[patient].append(1 / what**2)
        else:
            into = f"{above}/leaf-{number}"
            members = sorted(patient for patient in what if leaf_of[patient] == leaf)
            ledger.split(leaf, into=into, members=members)
            leaf_of |= dict.fromkeys(members, into)
    assert ledger.accounts_of(PATIENTS) == list(leaf_of.values())
    accounts = ledger._book.read().accounts

    def spent(account=ROOT):
        return value_of(accounts.spent(account)[0])

    for patient in PATIENTS:
        assert spent(leaf_of[patient]) == pytest.approx(math.fsum(own[patient]), rel=1e-9)
    assert spent() >= max(math.fsum(paid) for paid in own.values()) * (1 - 1e-9)
    for site in SITES:
        below = [leaf for leaf in ledger.accounts() if contains(site, leaf)]
        assert not below or spent(site) == max(spent(leaf) for leaf in below)


@settings(max_examples=40, deadline=None)
@given(st.lists(STEP, max_size=14), st.sampled_from(["cohort", POOL, *SITES]), st.floats(0.2, 5))
def test_a_charge_is_affordable_exactly_if_every_leaf_below_can_pay(history, account, sigma):
    event, ceilings = events.gaussian(sigma), GdpFilter(PrivacyBudget(2.0))
    accounts = Accounts(ceilings.ceiling)
    for number, (kind, pick, what, above) in enumerate(history):
        leaf = list(accounts.leaves)[pick % len(accounts.leaves)]
        if kind == "charge":
            accounts.charge(leaf, ceil_of([what**-2]))
        else:
            accounts.split(leaf, f"{above}/leaf-{number}")
    below = [value_of(paid.paid[0]) for leaf, paid in accounts.leaves.items() if contains(account, leaf)]
    if below:
        able = all(paid + sigma**-2 <= value_of(ceilings.ceiling[0]) for paid in below)
        assert ceilings.affords(accounts, event, account) == able


@pytest.fixture
def accounts():
    """A pool that may pay 9.5."""
    return Accounts(floor_of([9.5]))


def spent(accounts, account=ROOT):
    return value_of(accounts.spent(account)[0])


def pay(accounts, account, price):
    accounts.charge(account, ceil_of([price]))


def test_a_new_leaf_inherits_and_then_pays_for_itself(accounts):
    pay(accounts, POOL, 1.0)
    accounts.split(POOL, "cohort/a")
    pay(accounts, "cohort/a", 3.0)
    pay(accounts, "cohort", 0.5)
    assert spent(accounts, POOL) == pytest.approx(1.5)
    assert spent(accounts, "cohort/a") == spent(accounts) == pytest.approx(4.5)


def test_an_inner_account_charges_every_leaf_below(accounts):
    accounts.split(POOL, "cohort/site-1/a")
    accounts.split(POOL, "cohort/site-1/b")
    pay(accounts, "cohort/site-1", 1.0)
    assert [spent(accounts, leaf) for leaf in accounts.leaves] == pytest.approx([0, 1, 1])


def test_names_that_only_look_alike_are_apart(accounts):
    accounts.split(POOL, "cohort/pool2")
    accounts.split(POOL, "cohort/a")
    accounts.split(POOL, "cohort/a.1")
    pay(accounts, "cohort/a", 1.0)
    assert [spent(accounts, leaf) for leaf in accounts.leaves] == pytest.approx([0, 0, 1, 0])


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
        (POOL, "cohort/x\n", "name like"),
        (POOL, "cohort//x", "name like"),
        (POOL, "cohort/x/", "name like"),
        (POOL, "pool/x", "name like"),
        (POOL, 3, "name like"),
    ],
)
def test_bad_splits_are_refused(accounts, source, into, words):
    with pytest.raises(ValueError, match=words):
        accounts.split(source, into)


def test_a_leaf_cannot_be_split_into_above_or_below_another(accounts):
    accounts.split(POOL, "cohort/site/a")
    for into in ("cohort/site", "cohort/site/a/b"):
        with pytest.raises(ValueError, match="meets the existing account 'cohort/site/a'"):
            accounts.split(POOL, into)


def test_an_unknown_account_names_the_known(accounts):
    with pytest.raises(ValueError, match="'cohort/pool'"):
        pay(accounts, "cohort/round-9", 1.0)


def test_a_number_is_public_unless_a_hidden_round_may_have_moved_somebody(ledger):
    ledger.split(POOL, into="cohort/evaluation", members=["a", "b"])
    assert ledger.settled(POOL)
    assert ledger.settled("cohort/evaluation")
    ledger.begin_round("round 1", hidden=True)
    assert ledger.settled(POOL) is False  # it was there all along, but is not known to be made by the protocol
    ledger.split(POOL, into="cohort/round-1", members=["c"])
    assert {leaf: ledger.settled(leaf) for leaf in ledger.accounts()} == {
        POOL: False,
        "cohort/evaluation": True,
        "cohort/round-1": False,
    }
    ledger.split("cohort/evaluation", into="cohort/later", members=["a"])
    assert not ledger.settled("cohort/evaluation")
    with pytest.raises(ValueError, match="cohort/nowhere"):
        ledger.settled("cohort/nowhere")
