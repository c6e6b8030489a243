"""Limits inside the limit: caps of parts of an account, and leaves with lower ceilings of their own."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdpal.privacy import BudgetExhausted, PrivacyBudget, PrivacyLedger, calibrate, epsilon_of, events
from skdpal.privacy.accounts import POOL

DELTA = 1e-5
BUDGET = PrivacyBudget(4.0, DELTA)
SITE = "cohort/site"


def make(kind):
    arguments = {
        "gdp": {},
        "renyi": {"filter": "renyi"},
        "curve": {"filter": "renyi", "schedule": [events.gaussian(1.6)]},
    }
    return PrivacyLedger(BUDGET, **arguments[kind])


def taking(epsilon, kind="gdp"):
    """One release that takes a whole ceiling."""
    filter = "gdp" if kind == "gdp" else "renyi"
    return events.gaussian(calibrate(events.gaussian, PrivacyBudget(epsilon, DELTA), filter=filter))


@pytest.fixture(params=["gdp", "renyi", "curve"])
def kind(request):
    return request.param


# ---- caps --------------------------------------------------------------------------------------------------------


def test_what_a_part_pays_the_account_pays_too(kind):
    ledger = make(kind)
    rna = ledger.cap("cohort", "rna", epsilon=2.0)
    receipt = rna.charge(events.gaussian(5.0), "it")
    assert (receipt.account, receipt.cap) == ("cohort", "rna")
    assert rna.spent() == ledger.spent() == ledger.spent(cap="rna") > 0
    ledger.charge(events.gaussian(5.0), "other")
    assert rna.spent() < ledger.spent()


def test_a_used_up_part_stops_and_others_go_on(kind, journal):
    ledger = make(kind)
    rna, wes = (ledger.cap(POOL, name, epsilon=2.5) for name in ("rna", "wes"))
    step = events.gaussian(7.0)
    while rna.affords(step):
        rna.charge(step, "it")
    before, spent = journal(ledger), rna.spent()
    with pytest.raises(BudgetExhausted, match=r"of 2\.50 \(account 'cohort/pool', cap 'rna'") as refusal:
        rna.charge(step, "it")
    assert (refusal.value.spent, refusal.value.ceiling) == (pytest.approx(spent), pytest.approx(2.5, rel=1e-6))
    assert journal(ledger) == before
    assert wes.affords(step)
    wes.charge(step, "it")
    ledger.charge(step, "it", POOL)
    assert wes.spent() == pytest.approx(epsilon_of([step], DELTA), rel=1e-6) if kind == "gdp" else wes.spent() > 0
    assert rna.spent() == spent <= 2.5


def test_an_account_that_is_used_up_stops_its_parts():
    ledger = PrivacyLedger(BUDGET)
    rna = ledger.cap(POOL, "rna", epsilon=3.0)
    ledger.charge(taking(3.9), "it")
    assert rna.spent() == 0
    with pytest.raises(BudgetExhausted, match=r"spent 3\.90 of 4\.00"):
        rna.charge(events.gaussian(3.0), "it")


def test_a_cap_counts_from_now_on():
    ledger = PrivacyLedger(BUDGET)
    ledger.charge(events.gaussian(2.0), "before")
    rna = ledger.cap("cohort", "rna", epsilon=0.5)
    assert rna.spent() == 0
    rna.charge(taking(0.5), "it")
    assert rna.headroom(lambda steps: events.gaussian(100.0, steps=steps)) == 0


def test_a_cap_and_what_was_drawn_are_inherited(kind):
    ledger = make(kind)
    ledger.cap(POOL, "rna", epsilon=2.5).charge(events.gaussian(5.0), "it")
    drawn = ledger.spent(POOL, cap="rna")
    ledger.split(POOL, "cohort/a", [])
    ledger.branch(POOL, "cohort/b", []).charge(events.gaussian(20.0), "it")
    for leaf in ("cohort/a", "cohort/b"):
        assert ledger.spent(leaf, cap="rna") == drawn
    a, pool = ledger.within("cohort/a", cap="rna"), ledger.within(POOL, cap="rna")
    while a.affords(events.gaussian(5.0)):
        a.charge(events.gaussian(5.0), "it")
    assert pool.spent() == drawn < a.spent() <= 2.5
    assert pool.affords(events.gaussian(5.0))
    assert not ledger.affords(events.gaussian(5.0), cap="rna")  # every leaf must be able to pay


def test_a_cap_of_everybody_is_a_cap_of_each_leaf():
    ledger = PrivacyLedger(BUDGET)
    ledger.split(POOL, "cohort/a", [])
    rna = ledger.cap("cohort", "rna", epsilon=1.0)
    ledger.charge(taking(1.0), "it", "cohort/a", cap="rna")
    assert ledger.affords(taking(1.0), POOL, cap="rna")
    with pytest.raises(BudgetExhausted, match="cap 'rna'"):
        rna.charge(taking(1.0), "it")


def test_a_cap_that_some_leaf_has_not_is_named(journal):
    ledger = PrivacyLedger(BUDGET)
    ledger.split(POOL, "cohort/a", [])
    ledger.cap("cohort/a", "rna", epsilon=1.0)
    before = journal(ledger)
    for account, cap in (("cohort", "rna"), (POOL, "rna"), ("cohort/a", "wes"), ("cohort/a", "")):
        for attempt in (
            lambda account=account, cap=cap: ledger.charge(events.gaussian(9.0), "it", account, cap=cap),
            lambda account=account, cap=cap: ledger.affords(events.gaussian(9.0), account, cap=cap),
            lambda account=account, cap=cap: ledger.spent(account, cap=cap),
            lambda account=account, cap=cap: ledger.within(account, cap=cap),
        ):
            with pytest.raises(
                ValueError, match=re.escape(f"cap to be one that every leaf of {account!r} has. Found {cap!r}")
            ):
                attempt()
    assert journal(ledger) == before


def test_a_cap_never_changes(journal):
    ledger = PrivacyLedger(BUDGET)
    ledger.cap(POOL, "rna", epsilon=1.0)
    ledger.split(POOL, "cohort/a", [])
    before = journal(ledger)
    for account in (POOL, "cohort/a", "cohort"):
        with pytest.raises(ValueError, match="exists and never changes"):
            ledger.cap(account, "rna", epsilon=2.0)
    assert journal(ledger) == before


@pytest.mark.parametrize(
    ("account", "name", "epsilon"),
    [("cohort/none", "rna", 1.0), (POOL, "", 1.0), (POOL, None, 1.0), (POOL, "rna", 0.0), (POOL, "rna", -1.0)],
)
def test_what_is_no_cap_is_refused(account, name, epsilon, journal):
    for kind in ("gdp", "renyi"):
        ledger = make(kind)
        before = journal(ledger)
        with pytest.raises(ValueError, match=r"Expected|above"):
            ledger.cap(account, name, epsilon)
        assert journal(ledger) == before


@pytest.mark.parametrize("epsilon", [float("nan")])
def test_the_ceiling_of_a_part_is_a_number_above_nothing(epsilon):
    for attempt in (
        lambda ledger: ledger.cap(POOL, "rna", epsilon),
        lambda ledger: ledger.split(POOL, SITE, [], epsilon=epsilon),
    ):
        with pytest.raises(ValueError, match="epsilon"):
            attempt(make("curve"))


def test_a_handle_names_account_and_cap():
    ledger = PrivacyLedger(BUDGET)
    ledger.split(POOL, "cohort/a", [])
    ledger.cap("cohort", "rna", epsilon=1.0)
    rna = ledger.within(POOL).within("cohort/a", cap="rna")
    assert (rna.account, rna.cap) == ("cohort/a", "rna")
    rna.charge(events.gaussian(9.0), "it")
    assert ledger.spent("cohort/a", cap="rna") == rna.spent() > 0
    assert ledger.spent(POOL) == ledger.spent(POOL, cap="rna") == 0
    assert ledger.within("cohort/a").cap is None
    with pytest.raises(ValueError, match="bound"):
        rna.charge(events.gaussian(9.0), "it", POOL)


def test_caps_and_ceilings_are_read_back(path):
    made = PrivacyLedger.create(path, BUDGET)
    made.cap(POOL, "rna", epsilon=1.0)
    made.split(POOL, SITE, ["p"], epsilon=2.0)
    made.charge(events.gaussian(6.0), "it", SITE, cap="rna")
    again = PrivacyLedger.open(path)
    assert again.spent(SITE, cap="rna") == made.spent(SITE, cap="rna") > 0
    assert again.certificate()["lower_ceilings"] == made.certificate()["lower_ceilings"]
    for event in (taking(1.0), events.gaussian(6.0), taking(2.0)):
        assert again.affords(event, SITE, cap="rna") == made.affords(event, SITE, cap="rna")
        assert again.affords(event, SITE) == made.affords(event, SITE)


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.sampled_from([None, "rna", "wes"]), st.floats(2.0, 20.0)), max_size=12),
    st.floats(0.3, 3.0),
    st.floats(0.3, 3.0),
)
def test_no_sequence_passes_a_cap_or_the_ceiling(charges, rna, wes):
    ledger = PrivacyLedger(BUDGET)
    ledger.cap("cohort", "rna", rna)
    ledger.cap("cohort", "wes", wes)
    paid = {None: [], "rna": [], "wes": []}
    for cap, noise in charges:
        event = events.gaussian(noise)
        if ledger.affords(event, cap=cap):
            ledger.charge(event, "it", cap=cap)
            paid[cap].append(event)
            if cap is not None:
                paid[None].append(event)
        else:
            with pytest.raises(BudgetExhausted):
                ledger.charge(event, "it", cap=cap)
    for cap, most in ((None, 4.0), ("rna", rna), ("wes", wes)):
        assert epsilon_of(paid[cap], DELTA) <= most * (1 + 1e-8)
        assert ledger.spent(cap=cap) == pytest.approx(epsilon_of(paid[cap], DELTA), rel=1e-6)


# ---- lower ceilings -----------------------------------------------------------------------------------------------


def test_a_lower_ceiling_is_its_own(kind, journal):
    ledger = make(kind)
    ledger.split(POOL, SITE, [], epsilon=2.5)
    step = events.gaussian(6.0)
    while ledger.affords(step, SITE):
        ledger.charge(step, "it", SITE)
    before = journal(ledger)
    for account in (SITE, "cohort"):  # the poorest leaf decides
        with pytest.raises(BudgetExhausted, match=rf"of 2\.50 \(account '{account}'") as refusal:
            ledger.charge(step, "it", account)
        assert refusal.value.ceiling == pytest.approx(2.5, rel=1e-6)
        assert refusal.value.spent == pytest.approx(ledger.spent(SITE))
    assert journal(ledger) == before
    ledger.charge(step, "it", POOL)
    assert ledger.spent(SITE) <= 2.5


def test_a_charge_to_an_inner_account_needs_its_poorest_leaf():
    ledger = PrivacyLedger(BUDGET)
    ledger.split(POOL, "cohort/sites/rich", [], epsilon=3.0)
    ledger.split(POOL, "cohort/sites/poor", [], epsilon=1.0)
    ledger.charge(taking(1.0), "it", "cohort/sites")
    with pytest.raises(BudgetExhausted, match=r"spent 1\.00 of 1\.00 \(account 'cohort/sites'"):
        ledger.charge(events.gaussian(20.0), "it", "cohort/sites")
    ledger.charge(events.gaussian(20.0), "it", "cohort/sites/rich")
    assert ledger.spent(POOL) == 0


def test_a_ceiling_is_never_higher_than_that_above_it(kind):
    ledger = make(kind)
    whole = taking(4.0, kind)
    ledger.split(POOL, "cohort/a", [], epsilon=100.0)
    assert ledger.certificate()["lower_ceilings"] == {}
    ledger.split(POOL, SITE, [], epsilon=2.5)
    ledger.split(SITE, "cohort/b", [], epsilon=3.5)
    ceilings = ledger.certificate()["lower_ceilings"]
    assert ceilings == {SITE: pytest.approx(2.5, rel=1e-6), "cohort/b": pytest.approx(2.5, rel=1e-6)}
    if kind == "gdp":
        assert ledger.affords(whole, "cohort/a")
    assert not ledger.affords(events.gaussian(0.99 * whole.noise_multiplier), "cohort/a")
    assert not ledger.affords(events.gaussian(1.05 * whole.noise_multiplier), "cohort/b")


def test_children_inherit_a_lower_ceiling_and_what_was_paid():
    ledger = PrivacyLedger(BUDGET)
    ledger.charge(events.gaussian(8.0), "it")
    ledger.split(POOL, SITE, [], epsilon=2.0)
    ledger.split(SITE, "cohort/child", [])
    ledger.split("cohort/child", "cohort/grandchild", [], epsilon=1.0)
    ledger.split(POOL, "cohort/other", [])
    assert ledger.certificate()["lower_ceilings"] == {
        SITE: pytest.approx(2.0),
        "cohort/child": pytest.approx(2.0),
        "cohort/grandchild": pytest.approx(1.0),
    }
    assert len({ledger.spent(leaf) for leaf in ledger.accounts()}) == 1
    room = {leaf: ledger.headroom(lambda steps: events.gaussian(30.0, steps), leaf) for leaf in ledger.accounts()}
    assert room["cohort/grandchild"] < room[SITE] == room["cohort/child"] < room[POOL] == room["cohort/other"]


def test_a_ceiling_below_what_was_paid_is_refused(kind, journal):
    ledger = make(kind)
    ledger.charge(events.gaussian(2.4), "it")
    before = journal(ledger)
    with pytest.raises(ValueError, match="Expected a ceiling above what 'cohort/pool' has paid already"):
        ledger.split(POOL, SITE, ["p"], epsilon=0.7 if kind != "renyi" else 1.9)
    assert journal(ledger) == before
    assert ledger.accounts_of(["p"]) == [POOL]


def test_a_branch_of_a_site_pays_from_its_own_ceiling():
    ledger = PrivacyLedger(BUDGET)
    ledger.split(POOL, SITE, ["p"], epsilon=1.0)
    branch = ledger.branch(SITE, "cohort/round-1", ["p"])
    assert not branch.affords(taking(1.5))
    with pytest.raises(BudgetExhausted, match=r"of 1\.00"):
        branch.charge(taking(1.5), "it")
    assert ledger.accounts_of(["p"]) == [SITE]
    branch.charge(taking(1.0), "it")
    assert ledger.accounts_of(["p"]) == ["cohort/round-1"]


def test_the_certificate_lists_lower_ceilings_and_nobody(monkeypatch):
    # the day and the ledger's random name are all that may differ
    monkeypatch.setattr("skdpal.privacy.ledger.book.today", lambda: "2026-01-01")
    monkeypatch.setattr("skdpal.privacy.ledger.state.nonce", lambda: "0" * 32)
    certificates = []
    for members in ([], ["Ann-1"], ["Bob-2", "Eve-3", "Zoe-4"]):
        ledger = PrivacyLedger(BUDGET)
        ledger.cap(POOL, "rna", epsilon=1.0)
        ledger.split(POOL, SITE, members, epsilon=2.0)
        ledger.charge(events.gaussian(9.0), "it", SITE, cap="rna", record_ids=members)
        certificates.append({**ledger.certificate(), "issued": ""})
        assert not any(name in json.dumps(certificates[-1]) for name in ("Ann-1", "Bob-2", "Eve-3", "Zoe-4"))
    assert certificates[0] == certificates[1] == certificates[2]
    certificate = certificates[0]
    assert certificate["lower_ceilings"] == {SITE: pytest.approx(2.0)}
    assert certificate["receipts"][0]["cap"] == "rna"
    assert certificate["epsilon"] == 4.0
    assert not {"members", "count", "n", "size", "n_patients"} & set(certificate)
