"""What the pages say, and what they cannot."""

import json
import math
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from jinja2 import UndefinedError
from scipy.stats import norm

from skdpal import PrivacyBudget, plan_study
from skdpal.audit.certificate.gaussian import mu_of
from skdpal.demo import run_study
from skdpal.privacy.accounting.gaussian import epsilon_of_mu
from skdpal.report import write_report
from skdpal.report.page import render
from skdpal.report.risk import Risk
from skdpal.report.words import receipt_in_words


class Reader(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += " " + " ".join(data.split())


@pytest.fixture(scope="module")
def study(studies):
    return studies["hidden"]


@pytest.fixture(scope="module")
def report(study):
    return (study.release_folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def officer(study):
    return (study.release_folder / "data-protection.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def benchmark(benchmark_page):
    return benchmark_page.read_text(encoding="utf-8")


@pytest.fixture(params=["report", "officer", "benchmark"])
def page(request):
    return request.getfixturevalue(request.param)


def test_pages_ask_nobody_for_anything(page):
    tags = Reader(page).tags
    assert not [tag for tag, _ in tags if tag in {"script", "iframe", "object", "form"}]
    links = [value for _, attrs in tags for name, value in attrs.items() if name in {"src", "srcset", "href"}]
    assert links
    assert all(link.startswith(("data:", "#")) for link in links)
    assert "url(" not in page
    assert "@import" not in page


def test_links_lead_to_places_of_the_page(page):
    tags = Reader(page).tags
    places = {attrs["id"] for _, attrs in tags if "id" in attrs}
    assert {attrs["href"][1:] for tag, attrs in tags if tag == "a"} <= places


def test_pictures_have_words(page):
    pictures = [attrs for tag, attrs in Reader(page).tags if tag == "img"]
    assert pictures
    assert all(len(attrs["alt"]) > 20 for attrs in pictures)


def test_pages_fit_small_screens_and_name_themselves(page):
    assert 'name="viewport"' in page
    assert page.startswith("<!doctype html>")
    assert Reader(page).tags[0] == ("html", {"lang": "en"})


def test_the_report_has_the_promise_in_plain_words(report, study):
    text = Reader(report).text
    assert "For the data-protection officer" in text
    assert "right at most 59.9 times in 100" in text.replace("  ", " ")
    assert "That a person has a slot in the study" in text
    assert "ε = 2.95" in text
    assert "ε = 4.39" in text
    assert text.count("cohort/round-") >= 2
    assert study.ledger.verify() in text
    assert f"{study.evaluation.accuracy:.2f}" in text
    assert "In short, for clinicians" in text


def test_the_officers_page_says_what_left_and_who_pays(officer, study):
    text = Reader(officer).text
    released = {path.relative_to(study.release_folder).as_posix() for path in study.release_folder.rglob("*.*")}
    assert {"certificate.json", "models/round-2.npz", "models/final.npz", "data-protection.html"} <= released
    for name in released:
        assert name in text
    assert "Other files" not in text
    for receipt in study.ledger.receipts():
        assert f" {receipt.number} " in text
        assert receipt.label in text
    assert "to teach the model of round 2: sums over the patients of the account, hidden in noise of 1.99 times" in text
    assert "Whom the study asked, and how many, did not leave." in text


def test_the_officers_page_has_the_risk_in_numbers(officer):
    """μ = 0.5016: textbook values of the trade-off curve."""
    text = Reader(officer).text
    mu = mu_of(2.0, 1e-5)
    for alarms in (0.01, 0.05, 0.1):
        assert f"{100 * norm.sf(norm.isf(alarms) - mu):.1f} in 100" in text
    assert "59.9 in 100 right" in text
    assert "69.2 in 100 right" in text
    assert "at most 7.39 times" in text.replace("  ", " ")
    assert f"1 in {1 / norm.sf(2.0 / mu - mu / 2):,.0f} at most" in text  # the loss passes ε: more often than δ
    assert "4.39" in text
    for matter in (
        "Checklist",
        "data manager",
        "pathologist",
        "skdpal certificate verify",
        "study.ledger.vault",
        "add up",
    ):
        assert matter in text


def test_other_files_in_the_folder_are_told_without_their_names(study, tmp_path):
    shutil.copytree(study.release_folder, tmp_path / "release")
    (tmp_path / "release" / "Mrs-Example.csv").write_text("1")
    (tmp_path / "release" / "models" / "round-x.npz").write_text("1")
    write_report(tmp_path / "release")
    page = (tmp_path / "release" / "data-protection.html").read_text(encoding="utf-8")
    assert "Other files lie in this folder" in page
    assert "Example" not in page
    assert "round-x" not in page


def test_pages_of_a_published_and_of_a_planned_study(studies):
    published = (studies["published"].release_folder / "data-protection.html").read_text(encoding="utf-8")
    assert "Whom the study asked may be known outside." in published
    assert "the highest were chosen" in published
    planned = (studies["planned"].release_folder / "data-protection.html").read_text(encoding="utf-8")
    assert "whom secret coins chose, at most" in planned
    assert "with more than a public chance" in planned
    assert "1 in 50,000 at most" in planned  # no μ: 2 δ
    assert "at most 14.8 times" in Reader(planned).text.replace("  ", " ")  # 2 e^ε


def test_pages_are_as_old_as_the_day(study):
    """A finer time would tell when the release was made, and so how long the pathologist was busy."""
    for path in study.release_folder.rglob("*.html"):
        assert path.stat().st_mtime % 86400 == 0


def test_the_report_is_made_from_what_was_released(study, tmp_path, srbct):
    shutil.copytree(study.release_folder, tmp_path / "release")  # nothing of the hospital comes along
    page = write_report(tmp_path / "release", srbct.X_public, title="Copy").read_text(encoding="utf-8")
    assert "<title>Copy</title>" in page
    officer = (tmp_path / "release" / "data-protection.html").read_text(encoding="utf-8")
    assert not [patient for patient in srbct.X.index if patient in page + officer]
    plain = write_report(tmp_path / "release").read_text(encoding="utf-8")
    assert "Why the model is unsure" not in plain


def test_a_certificate_that_is_not_valid_is_stamped(study, tmp_path):
    shutil.copytree(study.release_folder, tmp_path / "release")
    path = tmp_path / "release" / "certificate.json"
    certificate = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(certificate | {"status": "void: <b>a reason</b>"}), encoding="utf-8")
    page = write_report(tmp_path / "release").read_text(encoding="utf-8")
    assert "This certificate is not valid: void: &lt;b&gt;a reason" in page
    officer = (tmp_path / "release" / "data-protection.html").read_text(encoding="utf-8")
    assert "What this page says of a patient's risk does not hold." in officer
    assert "&lt;b&gt;a reason" in officer


def test_a_study_without_evaluation_has_no_accuracy(tmp_path):
    plan = plan_study(PrivacyBudget(2.0), n_labelled=6, n_pool=20, labels_per_round=3, rounds=1, n_components=4)
    study = run_study(tmp_path / "study", plan)
    page = (study.release_folder / "report.html").read_text(encoding="utf-8")
    assert "How good is the model?" not in page


def test_the_benchmark_is_stamped_and_complete(benchmark):
    text = Reader(benchmark).text
    assert "Not part of the guarantee" in text
    from skdpal.learner.benchmark import METHODS

    assert all(name in text for name in METHODS)
    assert len(re.findall(r"<tr", benchmark)) == len(METHODS) + 1


def test_a_missing_value_is_an_error_not_a_gap():
    with pytest.raises(UndefinedError):
        render("benchmark.html.j2", title="x", summary=pd.DataFrame({"n_splits": []}))


def test_the_risk_of_any_guarantee_is_that_of_its_worst_mechanism():
    """(ε, δ): with chance δ all is told, else an answer that is true with odds e^ε."""
    epsilon, delta = 1.2, 0.01
    risk = Risk(epsilon, delta)
    truthful = delta + (1 - delta) * math.exp(epsilon) / (1 + math.exp(epsilon))
    assert risk.hits(1 - truthful) == pytest.approx(truthful)
    assert risk.guess == pytest.approx(truthful)
    assert risk.hits([0.0, 1.0]) == pytest.approx([delta, 1.0])
    assert (1 - risk.delta * 2) < 1 - risk.slip + 1e-12
    assert risk.belief(0.5) == pytest.approx(risk.odds / (1 + risk.odds))


@pytest.mark.parametrize("mu", [0.1, 0.5, 2.0])
def test_the_chance_of_an_unlucky_draw(mu):
    """The losses of N(0, 1) against N(μ, 1), counted on a fine grid."""
    delta = 1e-5
    epsilon = epsilon_of_mu(mu, delta)
    x = np.linspace(-12, 14, 2_000_001)
    density = norm.pdf(x, mu)
    passed = density[(mu * x - mu * mu / 2) > epsilon].sum() * (x[1] - x[0])
    assert Risk(epsilon, delta, mu).slip == pytest.approx(passed, rel=1e-3)
    assert passed > delta  # so δ is not that chance


@pytest.mark.parametrize("kind", ["labels", "caps", "published", "renyi", "search", "sample"])
def test_every_kind_of_receipt_has_words(kind):
    from tests.audit.certificate.conftest import MAKERS

    for receipt in MAKERS[kind]()["receipts"]:
        words = receipt_in_words(receipt)
        assert len(words) > 20
        assert "None" not in words
