"""Active learning inside one hospital of several: its own pool, its own ceiling, the same ledger."""

import numpy as np
import pytest

from skdpal import (
    BudgetExhausted,
    DPPrototypeClassifier,
    PrivacyBudget,
    PrivacyLedger,
    PrivateActiveLearner,
    PrivateQuery,
)
from skdpal.cohort import Sites
from skdpal.privacy import calibrate, events
from skdpal.query import PublicChunks

IDS = [f"p{number}" for number in range(37)]
MEMBERS = {"a": IDS[:18], "b": IDS[18:36]}
CEILINGS = {"a": 1.0, "b": 4.0}
ROWS = {"a": slice(0, 18), "b": slice(18, 36)}


def opened(make=None):
    ledger = PrivacyLedger(PrivacyBudget(4.0)) if make is None else make(PrivacyBudget(4.0))
    return Sites(MEMBERS, CEILINGS).open(ledger)


def learner_of(sites, site, embedded, query=None, **options):
    noise = calibrate(events.gaussian, PrivacyBudget(CEILINGS[site]))
    query = PrivateQuery(reference=embedded.reference, n_pool=14) if query is None else query
    made = PrivateActiveLearner(
        DPPrototypeClassifier(noise, prior=embedded.prior),
        query,
        ledger=sites.ledger,
        pool=sites.account(site),
        **options,
    )
    X, y, ids = rows_of(site, embedded)
    return made if options else made.fit(X[:4], y[:4], record_ids=ids[:4])


def rows_of(site, embedded):
    where = ROWS[site]
    return embedded.X[where], embedded.y[where], IDS[where]


def a_round(learner, site, embedded, n=4):
    X, y, ids = rows_of(site, embedded)
    chosen, rows = learner.query(X[4:], n, record_ids=ids[4:])
    names = [ids[4 + at] for at in chosen]
    learner.teach(rows, y[4:][chosen], record_ids=names)
    return names


def test_two_hospitals_learn_side_by_side_under_their_own_ceilings(embedded):
    sites = opened()
    learners = {site: learner_of(sites, site, embedded) for site in MEMBERS}
    taken = {site: [a_round(learners[site], site, embedded) for _ in range(2)] for site in MEMBERS}
    ledger = sites.ledger
    assert set(ledger.accounts()) == {
        "cohort/pool",
        *(f"cohort/site-{site}{part}" for site in MEMBERS for part in ("", "-start", "-round-1", "-round-2")),
    }
    for site, epsilon in CEILINGS.items():
        for number, names in enumerate(taken[site], 1):
            account = f"cohort/site-{site}-round-{number}"
            assert set(ledger.accounts_of(names)) <= {account}
            assert ledger.certificate(account)["epsilon"] == pytest.approx(epsilon, rel=1e-6)
            assert ledger.spent(account) == pytest.approx(epsilon, rel=1e-5)
        assert ledger.spent(sites.account(site)) == 0  # hidden selection is free
    assert ledger.spent("cohort/pool") == 0


def test_rounds_of_hospitals_do_not_mix(embedded):
    """Their public sizes and numbers of labels are their own; a public model that both begin with names two rounds."""
    sites = opened()
    queries = {site: PrivateQuery(n_pool=size) for site, size in (("a", 14), ("b", 99))}
    learners = {site: learner_of(sites, site, embedded, queries[site], hold_start=True) for site in MEMBERS}
    for site, learner in learners.items():
        X, _, ids = rows_of(site, embedded)
        learner.query(X, 4, record_ids=ids)
    rounds = sites.ledger.rounds()
    assert len(rounds) == 2
    assert [(row["pool"], row["n_pool"], row["wanted"]) for row in rounds.values()] == [
        ("cohort/site-a", 14, 4),
        ("cohort/site-b", 99, 4),
    ]
    this = queries["b"].round_of(learners["b"])
    assert (this.number, this.asked_before, this.pool) == (0, 0, "cohort/site-b")


def test_a_patient_of_another_hospital_is_passed_over(embedded):
    sites = opened()
    learner = learner_of(sites, "a", embedded)
    chosen, _ = learner.query(embedded.X[18:36], 18, record_ids=IDS[18:36])
    assert len(chosen) == 0
    learner.teach(embedded.X[18:20], embedded.y[18:20], record_ids=IDS[18:20], expected_records=2.0)
    assert sites.ledger.accounts_of(IDS[18:20]) == ["cohort/site-b"] * 2
    assert sites.ledger.spent("cohort/site-b") == 0


def test_the_ceiling_of_the_hospital_stops_it(embedded):
    sites = opened()
    noise = calibrate(events.gaussian, PrivacyBudget(4.0))  # too little for a's ceiling
    with pytest.raises(BudgetExhausted, match=r"of 1\.00"):
        PrivateActiveLearner(
            DPPrototypeClassifier(noise, prior=embedded.prior),
            PrivateQuery(n_pool=14),
            embedded.X[:4],
            embedded.y[:4],
            ledger=sites.ledger,
            record_ids=IDS[:4],
            pool="cohort/site-a",
        )
    assert sites.ledger.receipts() == []


def test_a_published_choice_is_paid_by_the_hospital(embedded):
    sites = opened()
    for site, noise in (("b", 4.0), ("a", 20.0)):
        query = PrivateQuery(release="published", noise_multiplier=noise)
        learner = PrivateActiveLearner(
            DPPrototypeClassifier(20.0, prior=embedded.prior), query, ledger=sites.ledger, pool=sites.account(site)
        )
        X, y, ids = rows_of(site, embedded)
        learner.fit(X[:4], y[:4], record_ids=ids[:4])
        assert len(a_round(learner, site, embedded, 3)) == 3
    paid = {receipt.account for receipt in sites.ledger.receipts() if receipt.label.startswith("scores")}
    assert paid == {"cohort/site-a", "cohort/site-b"}


def test_chunks_are_cut_from_the_hospital(embedded):
    sites = opened()
    X, y, ids = rows_of("b", embedded)
    query = PrivateQuery(release="published", noise_multiplier=9.0, chunks=PublicChunks(2).cut(ids[4:]))
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(9.0, prior=embedded.prior), query, ledger=sites.ledger, pool="cohort/site-b"
    ).fit(X[:4], y[:4], record_ids=ids[:4])
    a_round(learner, "b", embedded, 2)
    assert "cohort/site-b-chunk-1" in sites.ledger.accounts()
    assert sites.ledger.spent("cohort/site-a") == 0


def test_a_restart_forgets_nothing(embedded, path):
    sites = opened(lambda budget: PrivacyLedger.create(path, budget))
    first = learner_of(sites, "a", embedded)
    names = a_round(first, "a", embedded)
    again = Sites(MEMBERS, CEILINGS).open(PrivacyLedger.open(path))
    second = learner_of(again, "a", embedded)
    assert a_round(second, "a", embedded) == names
    np.testing.assert_array_equal(first.predict_proba(embedded.X), second.predict_proba(embedded.X))
    assert len(again.ledger.receipts()) == 2


def test_everybody_again_would_be_every_hospital(embedded):
    learner = learner_of(opened(), "a", embedded)
    with pytest.raises(ValueError, match="every hospital"):
        learner.teach(embedded.X[4:6], embedded.y[4:6], only_new=False, record_ids=IDS[4:6], expected_records=2.0)


def test_a_pool_is_a_leaf_and_is_copied(embedded):
    sites = opened()
    for pool in ("cohort/site-z", "cohort", None):
        with pytest.raises(ValueError, match="Expected pool to be a leaf of the ledger"):
            PrivateActiveLearner(
                DPPrototypeClassifier(9.0, prior=embedded.prior), PrivateQuery(), ledger=sites.ledger, pool=pool
            )
    from sklearn.base import clone

    assert clone(learner_of(sites, "a", embedded)).get_params()["pool"] == "cohort/site-a"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "study.ledger"
