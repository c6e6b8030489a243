"""Several hospitals: ceilings that hold, patients at two of them, three ways to learn together."""

import json
import math
import pickle
import re

import numpy as np
import pandas as pd
import pytest

from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
from skdpal.cohort import Sites
from skdpal.privacy import calibrate, epsilon_of, events

DELTA = 1e-5
MEMBERS = {site: [f"{site}-{at}" for at in range(size)] for site, size in (("a", 6), ("b", 4), ("c", 2))}
CEILINGS = {"a": 1.0, "b": 2.0, "c": 4.0}
WAYS = ("shares", "each", "strictest")


def ledger(epsilon=4.0, **options):
    return PrivacyLedger(PrivacyBudget(epsilon, DELTA), **options)


def opened(members=MEMBERS, ceilings=CEILINGS, **options):
    return Sites(members, ceilings, **options).open(ledger(max(ceilings.values())))


@pytest.fixture
def patients():
    """Twelve rows of two classes, with names."""
    ids = [name for site in MEMBERS.values() for name in site]
    y = np.array(["x", "y"] * 6)
    rows = np.where((y == "x")[:, None], [0.6, 0.2], [-0.6, 0.2]) + np.linspace(-0.1, 0.1, 24).reshape(12, 2)
    return pd.DataFrame(rows, index=pd.Index(ids, name="patient"), columns=["one", "two"]), y


@pytest.fixture
def model():
    return DPPrototypeClassifier(classes=["x", "y"])


# -- accounts ------------------------------------------------------------------------------------


def test_every_site_is_an_account_with_its_ceiling():
    sites = opened()
    assert sites.ledger.accounts() == ["cohort/pool", "cohort/site-a", "cohort/site-b", "cohort/site-c"]
    assert sites.ledger.accounts_of(["a-0", "b-3", "c-1", "somebody"]) == [
        "cohort/site-a",
        "cohort/site-b",
        "cohort/site-c",
        "cohort/pool",
    ]
    for site, epsilon in CEILINGS.items():
        assert sites.certificate(site)["epsilon"] == pytest.approx(epsilon, rel=1e-6)
    assert sites.table()["ceiling"].to_dict() == CEILINGS


def test_groups_of_consent_are_accounts_too():
    sites = opened({"a/broad": ["1"], "a/narrow": ["2"]}, {"a/broad": 4.0, "a/narrow": 0.5})
    assert sites.ledger.accounts()[1:] == ["cohort/site-a/broad", "cohort/site-a/narrow"]
    assert sites.certificate("a/narrow")["epsilon"] == pytest.approx(0.5)
    assert sites.ledger.certificate("cohort/site-a")["epsilon"] == pytest.approx(4.0)


def test_sites_open_before_anything_is_released():
    """A ceiling that follows a release may follow what was seen."""
    late = ledger()
    late.charge(events.gaussian(9.0), "it")
    with pytest.raises(ValueError, match="without releases: a ceiling that is set after them guarantees nothing"):
        Sites(MEMBERS, CEILINGS).open(late)
    assert late.accounts() == ["cohort/pool"]


def test_sites_open_again_as_they_are(tmp_path):
    path = tmp_path / "study.ledger"
    first = Sites(MEMBERS, CEILINGS).open(PrivacyLedger.create(path, PrivacyBudget(4.0, DELTA)))
    first.within("a").charge(events.gaussian(9.0), "it")
    again = Sites(MEMBERS, CEILINGS).open(PrivacyLedger.open(path))
    assert again.table().equals(first.table())
    with pytest.raises(ValueError, match=r"Expected the ceiling 1 of 'cohort/site-a'\. Found 2"):
        Sites(MEMBERS, {**CEILINGS, "a": 2.0}).open(PrivacyLedger.open(path))
    with pytest.raises(ValueError, match="Expected the patients with whom 'cohort/site-a' was opened") as error:
        Sites({**MEMBERS, "a": [*MEMBERS["a"], "new"]}, CEILINGS).open(PrivacyLedger.open(path))
    assert "new" not in str(error.value)


def test_a_crash_between_two_accounts_is_mended():
    interrupted = ledger()
    interrupted.split("cohort/pool", "cohort/site-a", MEMBERS["a"], epsilon=1.0)
    assert Sites(MEMBERS, CEILINGS).open(interrupted).ledger.accounts()[1:] == [
        f"cohort/site-{site}" for site in MEMBERS
    ]


@pytest.mark.parametrize(
    ("members", "ceilings", "message"),
    [
        ({}, {}, "Expected ceilings for the sites"),
        ({"a": ["1"]}, {}, "Expected ceilings for the sites"),
        ({"a": ["1"]}, {"a": 1.0, "b": 1.0}, "Expected ceilings for the sites"),
        ({"A": ["1"]}, {"A": 1.0}, "Expected names of sites"),
        ({"a b": ["1"]}, {"a b": 1.0}, "Expected names of sites"),
        ({"a/": ["1"]}, {"a/": 1.0}, "Expected names of sites"),
        ({1: ["1"]}, {1: 1.0}, "Expected names of sites"),
        ({"a": "12"}, {"a": 1.0}, "a list of patients"),
        ({"a": 7}, {"a": 1.0}, "a list of patients"),
        ({"a": ["1", None]}, {"a": 1.0}, "without missing entries"),
        ({"a": ["1"]}, {"a": 0.0}, "ceiling of 'a'"),
        ({"a": ["1"]}, {"a": math.inf}, "ceiling of 'a'"),
    ],
)
def test_bad_sites_are_refused_by_name(members, ceilings, message):
    with pytest.raises(ValueError, match=message):
        Sites(members, ceilings)


def test_no_ceiling_is_above_the_ledgers():
    with pytest.raises(ValueError, match="Expected ceilings up to ε=2"):
        Sites(MEMBERS, CEILINGS).open(ledger(2.0))
    with pytest.raises(ValueError, match="Expected sites that are open"):
        Sites(MEMBERS, CEILINGS).noise_multipliers()
    with pytest.raises(ValueError, match="Expected site to be one of"):
        opened().within("z")


def test_neither_print_nor_pickle_tells_who():
    sites = opened()
    assert not any(name in repr(sites) + sites.page("a") + json.dumps(sites.certificate("a")) for name in MEMBERS["a"])
    assert b"a-0" not in pickle.dumps(sites)


# -- patients at two sites -----------------------------------------------------------------------

CLASH = {"a": ["Ann", "Bob"], "b": ["Ann", "Eve", "Bob"], "c": ["Zoe"]}


def test_a_patient_at_two_sites_is_found_and_named_inside_only():
    sites = Sites(CLASH, CEILINGS)
    assert sites.duplicates().to_dict("list") == {"patient": ["Ann", "Ann", "Bob", "Bob"], "site": ["a", "b", "a", "b"]}
    with pytest.raises(ValueError, match=r"Found the same at 'a', 'b'\. duplicates\(\) says who") as error:
        sites.open(ledger())
    assert not re.search(r"Ann|Bob|Eve|\d patients", str(error.value))
    assert len(Sites({**CLASH, "b": ["Eve", "Eve"]}, CEILINGS).duplicates()) == 0  # two samples of one patient


def test_the_error_does_not_tell_how_many():
    words = []
    for shared in (["Ann"], ["Ann", "Bob"]):
        with pytest.raises(ValueError, match="one site each") as error:
            Sites({"a": ["Ann", "Bob"], "b": shared}, {"a": 1.0, "b": 2.0}).open(ledger())
        words.append(str(error.value))
    assert words[0] == words[1]


def test_the_strictest_site_keeps_the_promise_of_both():
    sites = opened(CLASH, {"a": 1.0, "b": 0.5, "c": 4.0}, at_two_sites="strictest")
    assert sites.ledger.accounts_of(["Ann", "Bob", "Eve", "Zoe"]) == [*["cohort/site-b"] * 3, "cohort/site-c"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("P-0017", "p17"),
        ("P 17", "P_017 "),
        ("müller", "MÜLLER"),
        ("TCGA-OR-A5J1-01A-11D-A29I-10", "TCGA-OR-A5J1"),
        ("tcga-or-a5j1-10", "TCGA-OR-A5J1-01A"),
        ("0", "00"),
    ],
)
def test_ids_that_differ_only_in_writing_are_suspects(one, other):
    for members in ({"a": [one, "x"], "b": [other]}, {"a": [one, other]}):
        sites = Sites(members, {site: CEILINGS[site] for site in members})
        assert set(sites.suspects()["patient"]) == {one, other}
        assert sites.suspects()["key"].nunique() == 1
        assert len(sites.duplicates()) == 0


@pytest.mark.parametrize(
    ("one", "other"), [("P1", "P10"), ("P1", "Q1"), ("TCGA-OR-A5J1", "TCGA-OR-A5J2"), ("1-2", "12"), ("a1b", "a1c")]
)
def test_ids_of_two_people_are_not(one, other):
    assert len(Sites({"a": [one], "b": [other]}, {"a": 1.0, "b": 2.0}).suspects()) == 0


# -- learning together -----------------------------------------------------------------------------


def test_the_noise_of_a_site_uses_up_what_is_left_of_it():
    sites = opened()
    for site, noise in sites.noise_multipliers().items():
        assert noise == pytest.approx(calibrate(events.gaussian, PrivacyBudget(CEILINGS[site], DELTA)), rel=1e-6)
    for site, noise in sites.noise_multipliers(releases=4).items():
        assert noise == pytest.approx(2 * sites.noise_multipliers()[site], rel=1e-6)
    sites.within("b").charge(events.gaussian(4.0), "it")
    assert sites.noise_multipliers()["b"] > calibrate(events.gaussian, PrivacyBudget(2.0, DELTA))


@pytest.mark.parametrize("how", WAYS)
def test_a_fit_spends_what_each_site_has_and_no_more(patients, model, how):
    X, y = patients
    sites = opened()
    fitted = sites.fit(model, X, y, how=how)
    spent = sites.table()["spent"]
    expected = pd.Series(CEILINGS) if how != "strictest" else pd.Series(1.0, index=list(CEILINGS))
    assert (spent <= pd.Series(CEILINGS)).all()
    np.testing.assert_allclose(spent, expected, rtol=1e-6)
    assert fitted.predict(X).shape == (12,)
    assert sites.ledger.spent("cohort/pool") == 0
    assert len(fitted.releases_) == (3 if how == "each" else 1)
    assert fitted.ledger is model.ledger
    assert not hasattr(model, "releases_")


@pytest.mark.parametrize("how", WAYS)
def test_fits_that_were_planned_fit_and_one_more_does_not(patients, model, how):
    X, y = patients
    sites = opened()
    fitted = model
    for left in (3, 2, 1):
        fitted = sites.fit(fitted, X, y, how=how, releases=left)
    assert len(fitted.releases_) == (9 if how == "each" else 3)
    before = sites.ledger.receipts()
    with pytest.raises(ValueError, match="something left"):
        sites.fit(fitted, X, y, how=how)
    assert sites.ledger.receipts() == before


def noiseless(patients, model, how, monkeypatch, **options):
    monkeypatch.setattr("skdpal.privacy.mechanisms.sums.perturb", lambda values, scale: values)
    X, y = patients
    return opened().fit(model, X, y, how=how, **options)


def test_a_patient_counts_as_much_as_the_site_pays_for(patients, model, monkeypatch):
    """Sums, counts and the public normaliser have the same weights; the noise is that of the richest site."""
    X, y = patients
    fitted = noiseless(patients, model, "shares", monkeypatch)
    noises = opened().noise_multipliers()
    share = {site: noises["c"] / noise for site, noise in noises.items()}
    weights = np.array([share[name[0]] for name in X.index])
    (one,) = fitted.releases_
    for code, label in enumerate(("x", "y")):
        mine = weights * (y == label)
        np.testing.assert_allclose(one.sums[code] * math.sqrt(2), mine @ X.to_numpy(), rtol=1e-6)
        assert one.counts[code] * math.sqrt(2) == pytest.approx(mine.sum(), rel=1e-6)
    assert one.expected_records == pytest.approx(weights.sum())
    assert one.noise_multiplier == noises["c"]


def test_each_site_has_its_own_noise_and_number(patients, model, monkeypatch):
    fitted = noiseless(patients, model, "each", monkeypatch)
    assert [one.noise_multiplier for one in fitted.releases_] == list(opened().noise_multipliers().values())
    assert [one.expected_records for one in fitted.releases_] == [6, 4, 2]


def test_the_normaliser_is_public_also_where_numbers_are_not(patients, model):
    """After a hidden round only the expectation may be used: the same, whoever is there."""
    X, y = patients
    sites = opened()
    sites.ledger.begin_round("r", hidden=True)
    with pytest.raises(ValueError, match=r"Expected expected_records, the public number of patients of each site"):
        sites.fit(model, X, y)
    expected = {"a": 5.0, "b": 5.0, "c": 5.0}
    with pytest.raises(ValueError, match="Expected expected_records of the sites"):
        sites.fit(model, X, y, expected_records={"a": 5.0})
    numbers = set()
    for keep in (slice(0, 12), slice(1, 12), slice(0, 1)):
        again = opened()
        again.ledger.begin_round("r", hidden=True)
        (one,) = again.fit(model, X[keep], y[keep], expected_records=expected).releases_
        numbers.add(one.expected_records)
    assert len(numbers) == 1


def test_rows_of_one_patient_count_once(patients, model, monkeypatch):
    X, y = patients
    twice = pd.concat([X, X.iloc[:1]]), np.append(y, y[0])
    assert noiseless(twice, model, "each", monkeypatch).releases_[0].expected_records == 6


@pytest.mark.parametrize("how", WAYS)
def test_strangers_and_bad_input_cost_nothing(patients, model, how):
    X, y = patients
    sites = opened()
    stranger = X.rename(index={"a-0": "stranger"})
    with pytest.raises(ValueError, match="patients of these sites only") as error:
        sites.fit(model, stranger, y, how=how)
    assert "stranger" not in str(error.value)
    with pytest.raises(ValueError, match="to be in classes"):
        sites.fit(model, X, np.where(y == "x", "z", y), how=how)
    assert sites.ledger.receipts() == []


def test_a_word_that_is_no_way_is_refused(patients, model):
    with pytest.raises(ValueError, match="Expected how to be one of 'shares', 'each', 'strictest'"):
        opened().fit(model, *patients, how="mean")


def test_a_site_that_has_nothing_left_is_named(patients, model):
    sites = opened()
    sites.within("b").charge(events.gaussian(sites.noise_multipliers()["b"]), "all of it")
    with pytest.raises(ValueError, match=r"Found \['b'\] without"):
        sites.fit(model, *patients)
    with pytest.raises(ValueError, match=r"Found \['b'\] without"):
        sites.fit(model, *patients, how="each")
    assert len(sites.ledger.receipts()) == 1


def test_arrays_do_as_well(patients, model):
    X, y = patients
    sites = opened()
    assert sites.fit(model, X.to_numpy(), list(y), record_ids=list(X.index)).predict(X.to_numpy()).shape == (12,)


# -- what may be said ------------------------------------------------------------------------------


def test_a_site_reads_its_own_page(patients, model):
    sites = opened()
    sites.within("b").charge(events.gaussian(9.0), "b's own")
    sites.fit(model, *patients, how="shares")
    page = sites.page("a")
    assert "(ε=1, δ=1e-05)" in page
    assert "for each patient of account 'cohort/site-a'" in page
    assert "b's own" not in page
    assert "fit (paid by cohort/site-a; alone ε=1.00)" in page
    assert f"Journal: {sites.ledger.verify()}" in page
    assert "What this does not cover" in page
    assert "Nothing." in opened().page("a")
    assert [receipt["account"] for receipt in sites.certificate("b")["receipts"]] == ["cohort/site-b"] * 2


def test_the_odometer_of_a_site_is_what_its_receipts_cost(patients, model):
    sites = opened()
    sites.fit(model, *patients, how="shares", releases=2)
    certificate = sites.certificate("a")
    paid = [events.from_json(receipt["event"]) for receipt in certificate["receipts"]]
    assert certificate["odometer"]["epsilon_spent"] == pytest.approx(epsilon_of(paid, DELTA), rel=1e-6)
