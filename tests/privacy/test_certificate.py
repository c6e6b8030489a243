"""What may be said in public."""

import json
import math

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from skdpal.privacy import PrivacyLedger, events
from skdpal.privacy.accounts import POOL


def independent_epsilon(mu, delta):
    """ε from μ by root finding on the textbook formula."""
    return brentq(lambda eps: norm.cdf(mu / 2 - eps / mu) - math.exp(eps) * norm.cdf(-mu / 2 - eps / mu) - delta, 0, 60)


def test_the_receipts_give_the_epsilon_again(ledger):
    ledger.charge(events.gaussian(4.0), "a")
    ledger.branch(POOL, "cohort/round-1", ["p"]).charge(events.gaussian(3.0, replace_one=math.sqrt(2)), "b")
    certificate = json.loads(json.dumps(ledger.certificate()))
    paid = {}
    for receipt in certificate["receipts"]:
        paid.setdefault(receipt["account"], []).append(receipt["event"]["noise_multiplier"] ** -2)
    dearest = sum(paid["cohort"]) + sum(paid["cohort/round-1"])
    assert certificate["odometer"]["epsilon_spent"] == pytest.approx(
        independent_epsilon(math.sqrt(dearest), certificate["delta"]), rel=1e-6
    )
    assert independent_epsilon(certificate["mu"], certificate["delta"]) == pytest.approx(2.0, rel=1e-6)


def test_it_leads_with_the_ceiling_and_names_everything(ledger):
    certificate = ledger.certificate()
    assert (certificate["epsilon"], certificate["delta"]) == (2.0, 1e-5)
    assert certificate["adjacency"] == "zero-out"
    assert certificate["status"] == "valid"
    assert certificate["unit"].startswith("patient")
    assert certificate["release_mode"] == "no private selection"
    assert certificate["journal_head"] == ledger.verify()
    assert "not a guarantee" in certificate["odometer"]["in_words"]
    assert {"replace_one", "receipts", "versions", "randomness", "not_covered", "filter"} <= set(certificate)
    assert "no seed" in certificate["randomness"]
    assert {"python", "skdpal", "numpy", "opendp"} <= set(certificate["versions"])
    json.dumps(certificate, allow_nan=False)


def test_a_receipt_says_what_who_when_and_how_much(ledger):
    ledger.charge(events.gaussian(4.0), "fit")
    (receipt,) = ledger.certificate()["receipts"]
    assert set(receipt) == {"number", "label", "account", "event", "epsilon", "date", "cap", "question"}
    assert (receipt["label"], receipt["account"]) == ("fit", "cohort")
    assert receipt["epsilon"] == pytest.approx(independent_epsilon(1 / 4, 1e-5), rel=1e-6)
    assert events.from_json(receipt["event"]) == events.gaussian(4.0)


def test_the_replace_one_figures(ledger):
    general = ledger.certificate()["replace_one"]
    assert general["epsilon"] == pytest.approx(4.39, abs=5e-3)
    assert general["epsilon_of_these_kinds"] == general["epsilon"]
    ledger.charge(events.composed([events.gaussian(9.0, replace_one=math.sqrt(2))]), "prototypes")
    prototypes = ledger.certificate()["replace_one"]
    assert prototypes["epsilon_of_these_kinds"] == pytest.approx(2.95, abs=5e-3)


def test_hidden_rounds_are_named(ledger):
    ledger.begin_round("round 1", hidden=True)
    assert ledger.certificate()["release_mode"] == "hidden selection"


def test_it_does_not_depend_on_who_or_how_many(budget, monkeypatch):
    # the day and the ledger's random name are all that may differ
    monkeypatch.setattr("skdpal.privacy.ledger.book.today", lambda: "2026-01-01")
    monkeypatch.setattr("skdpal.privacy.ledger.state.nonce", lambda: "0" * 32)
    certificates = []
    for members in ([], ["Ann-1", "Bob-2"], ["Zoe-3"]):
        ledger = PrivacyLedger(budget)
        ledger.branch(POOL, "cohort/start", ["Eve-4"] * len(members)).charge(events.gaussian(3.0), "fit")
        ledger.begin_round("round 1", hidden=True)
        ledger.branch(POOL, "cohort/round-1", members).charge(events.gaussian(3.0), "teach", record_ids=members)
        certificates.append({**ledger.certificate(), "issued": ""})
        assert not any(name in json.dumps(certificates[-1]) for name in ("Ann-1", "Bob-2", "Eve-4", "Zoe-3"))
    assert certificates[0] == certificates[1] == certificates[2]  # the journal's head among it


def test_a_void_names_its_reasons(ledger):
    ledger.mark_void("chosen by uncharged scores")
    ledger.mark_void("scaled on patients")
    assert ledger.certificate()["status"] == "void: chosen by uncharged scores; scaled on patients"


def test_what_is_not_covered_is_said_in_words(ledger):
    text = " ".join(ledger.certificate()["not_covered"])
    for matter in ("slot", "dates", "hospital", "relatives", "public", "timing", "without passing"):
        assert matter in text


def test_a_reading_above_nothing_never_passes_the_ceiling(exhausted):
    odometer = exhausted.certificate()["odometer"]
    assert odometer["epsilon_spent"] == pytest.approx(2.0)
    assert odometer["epsilon_spent"] <= 2.0
    assert odometer["replace_one_epsilon_spent"] == pytest.approx(4.39, abs=5e-3)


def test_versions_of_what_is_missing_are_said_to_be(monkeypatch, ledger):
    from skdpal.privacy.ledger import certificate

    monkeypatch.setattr(certificate, "_VERSIONED", ("no-such-package",))
    assert ledger.certificate()["versions"]["no-such-package"] == "not installed"
