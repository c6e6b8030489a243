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


# ---- parts of a release -------------------------------------------------------------------------------------------

PARTS = events.modalities({"rna": events.gaussian(9.0), "wes": events.gaussian(12.0)})
ALONE = events.modalities({"wes": events.gaussian(12.0)})


def capped(kind="gdp", rna=2.5, wes=2.5):
    ledger = make(kind)
    ledger.cap("cohort", "rna", rna)
    ledger.cap("cohort", "wes", wes)
    return ledger


def test_each_cap_pays_its_own_part_and_the_patient_all(kind):
    ledger = capped(kind)
    ledger.charge(PARTS, "it")
    alone = {name: make(kind) for name in ("rna", "wes")}
    for name, part in events.by_modality(PARTS).items():
        alone[name].charge(part, "it")
        assert ledger.spent(cap=name) == alone[name].spent()
    both = make(kind)
    for part in events.by_modality(PARTS).values():
        both.charge(part, "it")
    assert ledger.spent() == both.spent()


def test_the_headline_is_the_root_of_the_sum_of_squares():
    """Budgets 1, ½ and ½ cost the patient 1.28, not 2 and not 1."""
    ledger = PrivacyLedger(BUDGET)
    shares = {"rna": 1.0, "methylation": 0.5, "clinical": 0.5}
    for name, epsilon in shares.items():
        ledger.cap("cohort", name, epsilon)
    ledger.charge(events.modalities({name: taking(epsilon) for name, epsilon in shares.items()}), "it")
    assert ledger.spent() == pytest.approx(1.28, abs=5e-3)
    for name, epsilon in shares.items():
        assert ledger.spent(cap=name) == pytest.approx(epsilon, rel=1e-6)
        assert not ledger.affords(events.modalities({name: events.gaussian(100.0)}))


def test_a_used_up_part_is_left_out_and_others_go_on(kind, journal):
    most = 2.2 if kind == "renyi" else 1.2
    ledger = capped(kind, rna=most)
    while ledger.affords(PARTS):
        ledger.charge(PARTS, "it")
    before, spent = journal(ledger), ledger.spent(cap="rna")
    with pytest.raises(BudgetExhausted, match=rf"of {most}0 \(account 'cohort', cap 'rna'.*Leave 'rna' out") as refusal:
        ledger.charge(PARTS, "it")
    assert refusal.value.spent == pytest.approx(spent)
    assert journal(ledger) == before
    assert ledger.used_up(PARTS) == ["rna"]
    assert ledger.within(POOL).used_up(PARTS) == ["rna"]
    assert ledger.reserve(ALONE, "more").used_up(PARTS) == []  # paid for as a whole
    ledger.charge(ALONE, "it")
    assert ledger.spent(cap="rna") == spent


def test_all_or_nothing_is_paid():
    """The part that could pay has not paid for a release that did not happen."""
    ledger = capped(wes=0.1)
    with pytest.raises(BudgetExhausted, match="cap 'wes'"):
        ledger.charge(PARTS, "it")
    assert ledger.spent(cap="rna") == ledger.spent(cap="wes") == ledger.spent() == 0


def test_the_account_stops_its_parts_too():
    ledger = capped(rna=3.9, wes=3.9)
    ledger.charge(taking(3.99), "it")
    with pytest.raises(BudgetExhausted, match=r"\(account 'cohort', δ") as refusal:
        ledger.charge(PARTS, "it")
    assert "Leave" not in str(refusal.value)


WAYS = {
    "plainly": lambda event: event,
    "in a list": lambda event: events.composed([event]),
    "in a list of lists": lambda event: events.composed([events.composed([events.gaussian(50.0), event])]),
    "several times": lambda event: events.composed([event], count=2),
    "as one of several": lambda event: events.one_of([event, events.gaussian(50.0)]),
    "as one of several, several times": lambda event: events.composed([events.one_of([event, ALONE])], count=2),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("door", ["charge", "reserve", "branch", "within", "question", "cap"])
def test_no_door_and_no_wrapping_passes_a_cap(way, door, journal):
    """The cap pays for 'rna' at least what the part alone costs, and refuses when it cannot."""
    event = WAYS[way](PARTS)
    whole = capped(rna=3.5, wes=3.5)
    opened(whole, door)(event)
    times = 2 if "times" in way else 1
    least = epsilon_of([events.gaussian(9.0, steps=times)], DELTA)
    account = "cohort/new" if door == "branch" else POOL
    assert whole.spent(account, cap="rna") >= least * (1 - 1e-9)
    assert door == "cap" or whole.spent(account, cap="rna") <= least * (1 + 1e-9)
    poor = capped(rna=0.99 * least, wes=3.5)
    before = journal(poor)
    with pytest.raises(BudgetExhausted, match="cap 'rna'"):
        opened(poor, door)(event)
    assert journal(poor) == before


def opened(ledger, door):
    doors = {
        "charge": lambda event: ledger.charge(event, "it", POOL),
        "reserve": lambda event: ledger.reserve(event, "it", POOL),
        "branch": lambda event: ledger.branch(POOL, "cohort/new", []).charge(event, "it"),
        "within": lambda event: ledger.within("cohort").charge(event, "it"),
        "question": lambda event: ledger.within(POOL, question="q").charge_once(event, "it", []),
        "cap": lambda event: ledger.within(POOL, cap="wes").charge(event, "it"),
    }
    return doors[door]


def test_parts_of_parts_would_pass_a_cap_and_are_refused():
    for inner in (PARTS, events.composed([PARTS]), events.one_of([PARTS])):
        with pytest.raises(ValueError, match="without parts of their own"):
            events.modalities({"all": inner})
    wrapped = events.repeat_and_select(PARTS, 3.0)
    with pytest.raises(ValueError, match="without parts of their own"):
        events.modalities({"all": wrapped})


def test_a_search_is_paid_by_every_cap_as_a_whole():
    event = events.repeat_and_select(PARTS, 3.0)
    ledger = PrivacyLedger(BUDGET, "renyi")
    ledger.cap("cohort", "rna", 3.9)
    ledger.charge(event, "it")
    assert ledger.spent(cap="rna") == ledger.spent() > 0


def test_what_was_split_off_is_capped_like_its_source():
    ledger = capped()
    ledger.charge(PARTS, "it")
    ledger.split(POOL, "cohort/a", [])
    assert ledger.spent("cohort/a", cap="rna") == ledger.spent(POOL, cap="rna") > 0
    while ledger.affords(PARTS, "cohort/a"):
        ledger.charge(PARTS, "it", "cohort/a")
    assert ledger.used_up(PARTS, "cohort/a")
    assert ledger.used_up(PARTS, POOL) == []


def test_a_reservation_pays_for_the_parts_it_names(kind):
    ledger = capped(kind)
    both = ledger.reserve(events.composed([PARTS], count=2), "two fits")
    paid = ledger.spent(cap="rna")
    both.charge(PARTS, "first")
    with pytest.raises(BudgetExhausted, match="of the reservation is left"):
        both.charge(events.modalities({"rna": events.gaussian(7.0)}), "more rna, less of all")
    both.charge(PARTS, "second")
    with pytest.raises(BudgetExhausted):
        both.charge(events.modalities({"rna": events.gaussian(900.0)}), "third")
    assert ledger.spent(cap="rna") == paid
    unnamed = ledger.reserve(events.gaussian(9.0), "no parts")
    with pytest.raises(BudgetExhausted):
        unnamed.charge(events.modalities({"rna": events.gaussian(50.0)}), "a part")
    unnamed.charge(events.gaussian(9.0), "it")


NOISE = st.floats(6.0, 40.0)


@given(st.lists(st.tuples(NOISE, NOISE, NOISE), min_size=2, max_size=4), st.data())
def test_what_was_reserved_for_one_of_several_pays_for_any_of_them(noises, data):
    """Amount by amount: no rounding stands between a reservation and its draw."""
    several = [events.modalities(dict(zip("abc", map(events.gaussian, some), strict=True))) for some in noises]
    for kind in ("gdp", "renyi"):
        ledger = make(kind)
        reservation = ledger.reserve(events.one_of(several), "one of them")
        reservation.charge(data.draw(st.sampled_from(several)), "this one")


@given(
    st.lists(st.tuples(st.sampled_from(["rna", "wes", "both", "all", "one"]), NOISE), max_size=10), st.floats(0.3, 3.0)
)
def test_no_sequence_of_parts_passes_a_cap_or_the_ceiling(charges, most):
    ledger = PrivacyLedger(BUDGET)
    ledger.cap("cohort", "rna", most)
    paid, of_rna = [], []
    for what, noise in charges:
        one = events.gaussian(noise)
        event = {
            "rna": events.modalities({"rna": one}),
            "wes": events.modalities({"wes": one}),
            "both": events.modalities({"rna": one, "wes": one}),
            "all": one,
            "one": events.one_of([events.modalities({"rna": one}), events.modalities({"wes": one})]),
        }[what]
        if ledger.affords(event):
            ledger.charge(event, "it")
            paid += [one, one] if what == "both" else [one]
            of_rna += [one] if what in ("rna", "both", "one") else []
        else:
            with pytest.raises(BudgetExhausted):
                ledger.charge(event, "it")
    assert ledger.spent() == pytest.approx(epsilon_of(paid, DELTA), rel=1e-6)
    assert ledger.spent(cap="rna") == pytest.approx(epsilon_of(of_rna, DELTA), rel=1e-6)
    assert epsilon_of(of_rna, DELTA) <= most * (1 + 1e-8)


def test_parts_are_read_back(path):
    made = PrivacyLedger.create(path, BUDGET)
    made.cap("cohort", "rna", 2.0)
    made.charge(PARTS, "it")
    reserved = made.reserve(PARTS, "more")
    reserved.charge(PARTS, "it")
    again = PrivacyLedger.open(path)
    assert again.spent(cap="rna") == made.spent(cap="rna")
    assert again.receipts()[0].event == PARTS
    assert again.certificate()["caps"] == {POOL: {"rna": pytest.approx(2.0)}}


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


# ---- the certificate of one account --------------------------------------------------------------------------------


def test_a_site_has_a_certificate_of_its_own(kind):
    ledger = make(kind)
    ledger.split(POOL, SITE, [], epsilon=2.5)
    ledger.charge(events.gaussian(9.0), "all")
    ledger.charge(events.gaussian(9.0), "rest", POOL)
    ledger.split(SITE, "cohort/round-1", [])
    ledger.charge(events.gaussian(9.0), "accepted", "cohort/round-1")
    certificate = ledger.certificate(SITE)
    assert (certificate["account"], certificate["epsilon"]) == (SITE, pytest.approx(2.5, rel=1e-6))
    assert f"of account '{SITE}'" in certificate["statement"]
    assert [receipt["label"] for receipt in certificate["receipts"]] == ["all"]
    accepted = ledger.certificate("cohort/round-1")
    assert accepted["epsilon"] == certificate["epsilon"]
    assert [receipt["label"] for receipt in accepted["receipts"]] == ["all", "accepted"]
    assert ledger.certificate(POOL)["epsilon"] == ledger.certificate()["epsilon"] == 4.0
    with pytest.raises(ValueError, match="Expected account"):
        ledger.certificate("cohort/nobody")


def test_a_ceiling_that_was_lowered_after_a_release_guarantees_nothing(kind):
    """Whoever lowers it when they like what they saw has only read the odometer."""
    ledger = make(kind)
    ledger.split(POOL, SITE, [], epsilon=2.5)
    ledger.charge(events.gaussian(9.0), "all")
    ledger.split(SITE, "cohort/late", [], epsilon=2.4)
    ledger.split(POOL, "cohort/other", [], epsilon=2.4)
    assert ledger.certificate("cohort/late")["epsilon"] == pytest.approx(2.5, rel=1e-6)
    assert ledger.certificate("cohort/other")["epsilon"] == 4.0
    assert ledger.certificate()["lower_ceilings"]["cohort/late"] == pytest.approx(2.4, rel=1e-6)  # still a limit


def test_an_inner_account_has_the_largest_ceiling_below_it():
    ledger = PrivacyLedger(BUDGET)
    ledger.split(POOL, "cohort/sites/a", [], epsilon=1.0)
    ledger.split(POOL, "cohort/sites/b", [], epsilon=3.0)
    assert ledger.certificate("cohort/sites")["epsilon"] == pytest.approx(3.0, rel=1e-6)
    assert ledger.certificate("cohort/sites/a")["epsilon"] == pytest.approx(1.0, rel=1e-6)
    whole = ledger.certificate("cohort/sites")["replace_one"]
    assert whole["epsilon"] == pytest.approx(
        epsilon_of([events.gaussian(taking(3.0).noise_multiplier / 2)], DELTA), rel=1e-5
    )
