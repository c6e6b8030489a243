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


def test_the_replace_one_figures(ledger):
    general = ledger.certificate()["replace_one"]
    assert general["epsilon"] == pytest.approx(4.39, abs=5e-3)
    assert general["epsilon_of_these_kinds"] == general["epsilon"]
    ledger.charge(events.composed([events.gaussian(9.0, replace_one=math.sqrt(2))]), "prototypes")
    prototypes = ledger.certificate()["replace_one"]
    assert prototypes["epsilon_of_these_kinds"] == pytest.approx(2.95, abs=5e-3)


def test_hidden_rounds_are_named(ledger):
    ledger.mark_hidden_round()
    assert ledger.certificate()["release_mode"] == "hidden selection"


def test_it_does_not_depend_on_who_or_how_many(budget):
    certificates = []
    for members in ([], ["ann", "bob"], ["zoe"]):
        ledger = PrivacyLedger(budget)
        ledger.branch(POOL, "cohort/round-1", members).charge(events.gaussian(3.0), "fit")
        certificates.append(ledger.certificate())
    assert certificates[0] == certificates[1] == certificates[2]


def test_versions_of_what_is_missing_are_said_to_be(monkeypatch, ledger):
    from skdpal.privacy import certificate

    monkeypatch.setattr(certificate, "_VERSIONED", ("no-such-package",))
    assert ledger.certificate()["versions"]["no-such-package"] == "not installed"
