"""What the pages say, and what they cannot."""

import json
import re
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest
from jinja2 import UndefinedError

from skdpal import PrivacyBudget, plan_study
from skdpal.demo import run_benchmark, run_study
from skdpal.report import write_report
from skdpal.report.page import render


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
def plan():
    return plan_study(
        PrivacyBudget(2.0), n_labelled=6, n_pool=20, labels_per_round=3, rounds=2, n_evaluation=11, n_components=16
    )


@pytest.fixture(scope="module")
def study(plan, tmp_path_factory):
    return run_study(tmp_path_factory.mktemp("demo") / "study", plan)


@pytest.fixture(scope="module")
def report(study):
    return (study.release_folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def benchmark(plan, tmp_path_factory):
    path = run_benchmark(tmp_path_factory.mktemp("benchmark") / "benchmark.html", plan, n_splits=3)
    return path.read_text(encoding="utf-8")


@pytest.fixture(params=["report", "benchmark"])
def page(request):
    return request.getfixturevalue(request.param)


def test_pages_ask_nobody_for_anything(page):
    tags = Reader(page).tags
    assert not [tag for tag, _ in tags if tag in {"script", "iframe", "object", "form"}]
    links = [value for _, attrs in tags for name, value in attrs.items() if name in {"src", "href"}]
    assert links
    assert all(link.startswith("data:") for link in links)
    assert "url(" not in page
    assert "@import" not in page


def test_pictures_have_words(page):
    pictures = [attrs for tag, attrs in Reader(page).tags if tag == "img"]
    assert pictures
    assert all(len(attrs["alt"]) > 20 for attrs in pictures)


def test_pages_fit_small_screens_and_name_themselves(page):
    assert 'name="viewport"' in page
    assert page.startswith("<!doctype html>")
    assert Reader(page).tags[0] == ("html", {"lang": "en"})


def test_the_officer_reads_the_promise_in_plain_words(report, study):
    text = Reader(report).text
    assert "For the data-protection officer" in text
    assert "right at most 59.9 times in 100" in text.replace("  ", " ")
    assert "That a person has a slot in the study" in text
    assert "ε = 2.95" in text
    assert "ε = 4.39" in text
    assert text.count("cohort/round-") >= 2
    assert study.ledger.verify() in text
    assert f"{study.evaluation.accuracy:.2f}" in text


def test_the_report_is_made_from_what_was_released(study, tmp_path, srbct):
    shutil.copytree(study.release_folder, tmp_path / "release")  # nothing of the hospital comes along
    page = write_report(tmp_path / "release", srbct.X_public, title="Copy").read_text(encoding="utf-8")
    assert "<title>Copy</title>" in page
    assert not [patient for patient in srbct.X.index if patient in page]
    plain = write_report(tmp_path / "release").read_text(encoding="utf-8")
    assert "Why the model is unsure" not in plain


def test_a_certificate_that_is_not_valid_is_stamped(study, tmp_path):
    shutil.copytree(study.release_folder, tmp_path / "release")
    path = tmp_path / "release" / "certificate.json"
    certificate = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(certificate | {"status": "void: <b>a reason</b>"}), encoding="utf-8")
    page = write_report(tmp_path / "release").read_text(encoding="utf-8")
    assert "This certificate is not valid: void: &lt;b&gt;a reason" in page


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
