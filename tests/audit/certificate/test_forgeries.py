"""Planted faults: a changed certificate is found; changed consistently, it is found by the ledger."""

import copy
import json
import math

import pytest

from skdpal.audit import verify_certificate
from skdpal.audit.certificate import gaussian
from skdpal.privacy import PrivacyBudget, PrivacyLedger, events
from skdpal.privacy.accounts import POOL
from tests.audit.certificate.conftest import run_study

DELTA = 1e-5


def failures(certificate, **how):
    return {check.name for check in verify_certificate(certificate, **how).failed}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A durable ledger with its certificate; void."""
    path = tmp_path_factory.mktemp("forgeries") / "study.ledger"
    ledger = PrivacyLedger.create(path, PrivacyBudget(2.0, DELTA))
    run_study(ledger)
    valid = json.loads(json.dumps(ledger.certificate()))
    ledger.mark_void("chosen by uncharged scores")
    return path, valid, json.loads(json.dumps(ledger.certificate()))


@pytest.fixture
def path(study):
    return study[0]


@pytest.fixture
def certificate(study):
    return copy.deepcopy(study[1])


# ---- consistent lies: everything that depends on what is changed is changed as well -------------------------------


def reprice(certificate):
    """Compute every figure that follows from ε, δ, receipts and history, as a forger would."""
    epsilon, delta = certificate["epsilon"], certificate["delta"]
    paid = {POOL: 0.0}
    receipts = {receipt["number"]: receipt for receipt in certificate["receipts"]}
    for row in certificate["history"]:
        if row["kind"] == "split":
            paid[row["into"]] = paid[row["source"]]
        if row["kind"] == "charge":
            receipt = receipts[row["number"]]
            mu2 = receipt["event"]["steps"] / receipt["event"]["noise_multiplier"] ** 2
            receipt["epsilon"] = gaussian.epsilon_of(math.sqrt(mu2), delta)
            for leaf in paid:
                if leaf == receipt["account"] or leaf.startswith(f"{receipt['account']}/"):
                    paid[leaf] += mu2
    certificate["accounts"] = ["cohort", *paid]
    mu, spent = gaussian.mu_of(epsilon, delta), math.sqrt(max(paid.values()))
    factor = max(receipt["event"]["replace_one"] for receipt in certificate["receipts"])
    certificate["mu"] = mu
    certificate["statement"] = (
        f"Everything released under this ledger is (ε={epsilon:g}, δ={delta:g})-differentially "
        "private for each patient, however often and adaptively it is used."
    )
    certificate["replace_one"] |= {
        "epsilon": gaussian.epsilon_of(2 * mu, delta),
        "delta": delta,
        "epsilon_of_these_kinds": gaussian.epsilon_of(factor * mu, delta),
        "of_these_kinds_in_words": f"If the protocol admits only releases like those below: {factor:.4g} times μ.",
    }
    readings = {leaf: gaussian.epsilon_of(math.sqrt(mu2), delta) if mu2 else 0.0 for leaf, mu2 in paid.items()}
    certificate["odometer"] |= {
        "epsilon_spent": max(readings.values()),
        "epsilon_spent_by_account": readings,
        "replace_one_epsilon_spent": gaussian.epsilon_of(factor * spent, delta),
    }
    return certificate


def renumber(certificate):
    """After a row was taken out."""
    new = {row["number"]: at for at, row in enumerate(certificate["history"])}
    for row in certificate["history"]:
        row["number"] = new[row["number"]]
    for receipt in certificate["receipts"]:
        receipt["number"] = new[receipt["number"]]
    return certificate


def lower(certificate):
    certificate["epsilon"] *= 0.99
    return certificate


def other_delta(certificate):
    certificate["delta"] = 1e-6
    return certificate


def remove(certificate):
    del certificate["receipts"][1]
    return certificate


def remove_with_its_row(certificate):
    number = certificate["receipts"].pop(1)["number"]
    certificate["history"] = [row for row in certificate["history"] if row["number"] != number]
    return certificate


def double(certificate):
    certificate["receipts"][0]["event"]["noise_multiplier"] *= 2
    return certificate


def swap(certificate):
    event = {"schema": 2, "kind": "randomized-response", "epsilon": 0.01, "n_classes": 2}
    certificate["receipts"][0]["event"] = event
    return certificate


def swap_for_a_kind_of_its_price(certificate):
    """Prototype sums instead of scores: the exchange of a patient would cost less."""
    for receipt in certificate["receipts"]:
        receipt["event"]["replace_one"] = 1.0
    return certificate


def move(certificate):
    certificate["receipts"][3]["account"] = "cohort/round-2"  # was everybody's
    return certificate


def rename(certificate):
    text = json.dumps(certificate).replace("cohort/round-1", "cohort/round-9")
    return json.loads(text)


def rename_in_a_receipt(certificate):
    certificate["receipts"][1]["account"] = "cohort/round-9"
    return certificate


def halve_exchange(certificate):
    certificate["replace_one"]["epsilon"] /= 2
    return certificate


def halve_exchange_of_these_kinds(certificate):
    certificate["replace_one"]["epsilon_of_these_kinds"] /= 2
    return certificate


def forget_a_limit(certificate):
    certificate["not_covered"] = certificate["not_covered"][1:]
    return certificate


def call_it_published(certificate):
    certificate["release_mode"] = "published selection"
    return certificate


def backdate(certificate):
    certificate["issued"] = "2020-01-01"
    return certificate


def no_such_day(certificate):
    certificate["created"] = "2025-02-30"
    return certificate


def raise_reading(certificate):
    certificate["odometer"]["epsilon_spent_by_account"][POOL] /= 1.01
    return certificate


def promise_more(certificate):
    certificate["statement"] += " So is each family."
    return certificate


def call_caps_guarantees(certificate):
    certificate["caps_in_words"] = "Guarantees of one part of the data."
    return certificate


def seeded(certificate):
    certificate["randomness"] = "seeded simulation: not private"
    return certificate


NAIVE = {
    lower: {"statement", "replace-one"},
    other_delta: {"statement", "receipts", "odometer", "replace-one"},
    remove: {"numbering", "odometer"},
    remove_with_its_row: {"numbering", "odometer"},
    double: {"receipts", "odometer"},
    swap: {"receipts", "odometer"},
    swap_for_a_kind_of_its_price: {"replace-one"},
    move: {"odometer"},
    rename_in_a_receipt: {"accounts", "odometer"},
    halve_exchange: {"replace-one"},
    halve_exchange_of_these_kinds: {"replace-one"},
    forget_a_limit: {"limits"},
    call_it_published: {"selection"},
    backdate: {"dates"},
    no_such_day: {"dates"},
    raise_reading: {"odometer"},
    seeded: {"status"},
    promise_more: {"statement"},
    call_caps_guarantees: {"statement"},
}


@pytest.mark.parametrize("change", NAIVE, ids=lambda change: change.__name__)
def test_a_changed_certificate_is_found(certificate, change):
    assert not failures(certificate)
    assert failures(change(copy.deepcopy(certificate))) >= NAIVE[change]


@pytest.mark.parametrize(
    "change",
    [lower, other_delta, remove_with_its_row, double, swap_for_a_kind_of_its_price, move, rename],
    ids=lambda change: change.__name__,
)
def test_a_consistent_lie_is_found_by_the_ledger_only(certificate, path, change):
    """What docs/certificate.md says: whoever changes everything is not found by the certificate alone."""
    lie = reprice(renumber(change(copy.deepcopy(certificate))))
    assert not failures(lie)
    assert failures(lie, ledger=path) == {"ledger"}
    assert not failures(lie, head=certificate["journal_head"])  # the head by itself ties it to nothing


def test_a_lie_that_charges_more_than_its_ceiling_is_found_at_once(certificate):
    """ε lowered, consistently, below what the receipts cost."""
    certificate["epsilon"] = 1.0
    assert "ceiling" in failures(reprice(certificate))


def test_from_void_to_valid(study, path):
    void = copy.deepcopy(study[2])
    assert failures(void, ledger=path) == {"status"}
    assert failures({**void, "status": "valid"}) == {"status"}
    assert failures({**void, "status": "void: nothing much"}) == {"status"}
    history = [row for row in void["history"] if row["kind"] != "void"]
    lie = {**void, "status": "valid", "history": history}
    assert not failures(lie)  # consistent: it looks like the certificate of the day before
    assert failures(lie, ledger=path) == {"ledger"}


def test_the_honest_one_agrees_with_the_ledger_also_later(certificate, path):
    found = verify_certificate(certificate, ledger=path)
    assert found.passed, str(found)
    assert any("1 rows came later" in check.found for check in found.checks)


def test_another_ledger_is_found(certificate, tmp_path):
    PrivacyLedger.create(tmp_path / "other.ledger", PrivacyBudget(2.0, DELTA))
    assert failures(certificate, ledger=tmp_path / "other.ledger") == {"journal head"}
    assert failures(certificate, head="0" * 64) == {"noted head"}


def test_a_ledger_that_was_edited_is_found(certificate, tmp_path):
    import sqlite3

    path = tmp_path / "study.ledger"
    ledger = PrivacyLedger.create(path, PrivacyBudget(2.0, DELTA))
    ledger.charge(events.gaussian(4.0), "fit")
    own = ledger.certificate()
    assert not failures(own, ledger=path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE journal SET body = replace(body, '4.0', '8.0') WHERE number = 1")
    connection.close()
    (check,) = verify_certificate(own, ledger=path).failed
    assert (check.name, check.found) == ("journal", "row 1 was changed")
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM journal WHERE number = 1")
    connection.close()
    assert failures(own, ledger=path) == {"journal"}


def test_what_is_no_ledger_is_an_error(certificate, tmp_path):
    (tmp_path / "no.ledger").write_text("hello")
    with pytest.raises(ValueError, match="cannot be read as one"):
        verify_certificate(certificate, ledger=tmp_path / "no.ledger")
    with pytest.raises(FileNotFoundError, match="Expected ledger to be a file"):
        verify_certificate(certificate, ledger=tmp_path / "nowhere")


# ---- other kinds of ledgers ---------------------------------------------------------------------------------------


def renyi_lower(certificate):
    certificate["receipts"][4]["event"]["sampling_rate"] = 0.2
    return certificate


@pytest.mark.parametrize(
    ("kind", "change", "check"),
    [
        ("renyi", renyi_lower, "receipts"),
        ("renyi", lambda c: {**c, "filter_parameters": {"orders": [12.0], "curve": None}}, "odometer"),
        ("curve", lambda c: {**c, "lower_ceilings": {}}, "lower ceilings"),
        ("curve", lambda c: {**c, "epsilon": 0.5, "statement": c["statement"].replace("ε=4", "ε=0.5")}, "ceiling"),
        ("caps", lambda c: {**c, "caps": {}}, "caps"),
        ("caps", lambda c: {**c, "caps": {name: dict.fromkeys(caps, 0.4) for name, caps in c["caps"].items()}}, "caps"),
        ("site", lambda c: {**c, "epsilon": 0.99}, "lower ceilings"),
        ("site", lambda c: {**c, "account": "cohort/paris"}, "accounts"),
        ("redrawn", lambda c: {**c, "drawn_again": []}, "drawn again"),
        ("sample", lambda c: {**c, "accounts": c["accounts"][:-1]}, "accounts"),
        ("planned", lambda c: {**c, "epsilon": c["epsilon"] / 6}, "ceiling"),
        ("planned", lambda c: {**c, "replace_one": {**c["replace_one"], "delta": c["delta"]}}, "replace-one"),
        ("published", lambda c: {**c, "release_mode": "no private selection"}, "selection"),
    ],
)
def test_other_kinds_of_changes_are_found(certificates, kind, change, check):
    assert check in failures(change(copy.deepcopy(certificates[kind])))


def test_a_sample_that_pays_alone_is_found(certificates):
    lie = copy.deepcopy(certificates["sample"])
    lie["receipts"][-1]["account"] = "cohort/round-1"
    assert "rule L7" in next(c.found for c in verify_certificate(lie).failed if c.name == "accounts")


@pytest.mark.parametrize("what", ["event", "account", "split", "digest", "order"])
def test_a_schedule_that_was_not_followed_is_found(certificates, what):
    lie = copy.deepcopy(certificates["planned"])
    if what == "event":
        lie["receipts"][0]["event"]["noise_multiplier"] = 4.001
    if what == "account":
        lie["receipts"][1]["account"] = "cohort"
    if what == "split":
        lie["history"][1]["into"] = "cohort/begin"
    if what == "digest":
        lie["filter_parameters"]["schedule"][1]["event"]["noise_multiplier"] = 8.0
    if what == "order":
        steps = lie["filter_parameters"]["schedule"]
        steps[0], steps[1] = steps[1], steps[0]
        from skdpal.audit.certificate.schedule import digest_of

        lie["filter_parameters"]["digest"] = digest_of(steps)
    assert "ceiling" in failures(lie)


def test_a_certificate_for_a_site_shows_its_own_receipts_only(certificates):
    site = copy.deepcopy(certificates["site"])
    assert "1 receipts of other accounts" in verify_certificate(site).checks[1].found
    site["receipts"] = []
    assert "odometer" in failures(site)


# ---- a stranger's file --------------------------------------------------------------------------------------------


def nested(depth):
    event = {"schema": 2, "kind": "gaussian", "noise_multiplier": 4.0, "steps": 1, "replace_one": 2.0}
    for _ in range(depth):
        event = {"schema": 2, "kind": "composed", "events": [event], "count": 1}
    return event


HOSTILE = {
    "no noise to speak of": {
        "schema": 2,
        "kind": "gaussian",
        "noise_multiplier": 1e-300,
        "steps": 1,
        "replace_one": 2.0,
    },
    "very many": {"schema": 2, "kind": "composed", "events": [nested(0)], "count": 10**15},
    "many of many": {"schema": 2, "kind": "composed", "events": [nested(0)] * 300, "count": 300},
    "many steps": {
        "schema": 2,
        "kind": "poisson-gaussian",
        "noise_multiplier": 1.0,
        "sampling_rate": 0.5,
        "steps": 10**15,
    },
    "deep": nested(2000),
    "a certain label": {"schema": 2, "kind": "randomized-response", "epsilon": 1e300, "n_classes": 10**12},
    "much noise": {"schema": 2, "kind": "laplace", "noise_multiplier": 1e300},
}


@pytest.mark.parametrize("kind", ["gdp", "renyi", "planned"])
@pytest.mark.parametrize("event", HOSTILE)
def test_numbers_beyond_all_measure_fail_and_do_not_crash(certificates, kind, event):
    lie = {**certificates[kind], "receipts": [dict(receipt) for receipt in certificates[kind]["receipts"]]}
    lie["receipts"][0]["event"] = HOSTILE[event]
    assert failures(lie)
