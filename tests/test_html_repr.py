"""Ledger, learner and study in a notebook: what they show is public, escaped, and said in words too."""

import copy
import pickle
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from sklearn.base import clone

from skdpal import (
    ActiveLearningStudy,
    DPPrototypeClassifier,
    PrivacyBudget,
    PrivacyLedger,
    PrivateActiveLearner,
    PrivateQuery,
    PublicEncoder,
    plan_study,
)
from skdpal.privacy import events

VOID = {"br", "hr", "img", "input", "meta", "link", "path"}


class Reader(HTMLParser):
    """Tags with their attributes; every tag that is opened must be closed."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += " " + " ".join(data.split())


def html_of(thing):
    return thing._repr_mimebundle_()["text/html"] if hasattr(thing, "_repr_mimebundle_") else thing._repr_html_()


def plain(html):
    """Without the running numbers of scikit-learn's diagrams."""
    return re.sub(r"sk-(container|estimator)-id-\d+", "sk-id", html)


def of_ours(html):
    """What stands in our own panels."""
    return Reader(html).text


@pytest.fixture
def spent(ledger):
    ledger.charge(events.gaussian(4.0), label="fit")
    ledger.split("cohort/pool", into="cohort/site", members=[], epsilon=1.5)
    return ledger


def test_a_ledger_tells_promise_status_accounts_and_receipts(spent):
    text = of_ours(html_of(spent))
    assert "ε = 2 at δ = 1e-05 committed" in text
    assert "Status: valid . Gaussian differential privacy" in text
    assert f"cohort/pool {spent.spent():.2f} of 2.00" in text
    assert f"cohort/site {spent.spent():.2f} of 1.50" in text
    assert re.search(r"1 receipt\b", text)
    spent.mark_void("a reason")
    assert "void: a reason" in of_ours(html_of(spent))


def test_bars_have_words_and_the_right_length(spent):
    tags = Reader(html_of(spent)).tags
    bars = [attrs["aria-label"] for tag, attrs in tags if attrs.get("role") == "img"]
    assert bars == [
        f"cohort/{name}: ε {spent.spent():.2f} of {most:.2f} paid" for name, most in (("pool", 2), ("site", 1.5))
    ]
    widths = re.findall(r'style="width:([\d.]+)%', html_of(spent))
    assert [float(width) for width in widths] == pytest.approx(
        [50 * spent.spent(), 100 / 1.5 * spent.spent()], abs=0.05
    )


def test_tables_have_heads_for_rows_and_columns(spent):
    tags = Reader(html_of(spent)).tags
    assert all(attrs.get("scope") in {"row", "col"} for tag, attrs in tags if tag == "th")
    assert all(attrs.get("aria-label") for tag, attrs in tags if tag == "table")


def test_the_style_is_bound_to_our_class_and_nothing_is_fetched(spent):
    html = html_of(spent)
    style = html[html.index("<style>") + 7 : html.index("</style>")]
    selectors = [part.split("{")[0].strip() for part in style.split("}") if part.strip()]
    assert selectors
    assert all(each.strip().startswith(".skdpal") for names in selectors for each in names.split(","))
    assert not re.search(r"url\(|@import|src=|href=|<script", html)


def test_only_the_last_receipts_are_listed(ledger):
    for number in range(9):
        ledger.charge(events.gaussian(40.0), label=f"release number {number}")
    text = of_ours(html_of(ledger))
    assert "9 receipts, the last of them:" in text
    assert [number for number in range(9) if f"release number {number}" in text] == [4, 5, 6, 7, 8]


EVIL = "<script>alert('x')</script><img src=x onerror=alert(1)>"


def test_what_users_named_is_text(ledger):
    ledger.charge(events.gaussian(4.0), label=EVIL)
    ledger.mark_void(EVIL)
    tags = {tag for tag, _ in Reader(html_of(ledger)).tags}
    assert not tags & {"script", "img"}
    assert of_ours(html_of(ledger)).count("alert('x')") == 2


def test_handles_show_their_ledger(spent):
    assert html_of(spent.within("cohort/site")) == html_of(spent)


def test_a_sealed_copy_can_be_looked_at(spent):
    assert html_of(pickle.loads(pickle.dumps(spent))) == html_of(spent)


def test_looking_writes_nothing(spent, journal):
    before = journal(spent)
    html_of(spent)
    assert journal(spent) == before


def test_copies_and_clones_look_the_same(spent):
    for other in (copy.deepcopy(spent), clone(spent, safe=False)):
        assert html_of(other) == html_of(spent)


def learner_of(embedded, start=slice(0, 6), taught=slice(6, 9), name="p"):
    """One that was taught once; who was in it is private."""
    ids = np.array([f"{name}{number}" for number in range(len(embedded.X))])
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(2.0, embedded.prior),
        PrivateQuery(n_pool=20),
        embedded.X[start],
        embedded.y[start],
        PrivacyLedger(PrivacyBudget(2.0)),
        ids[start],
    )
    learner.query(embedded.X[6:26], record_ids=ids[6:26])
    learner.teach(embedded.X[taught], embedded.y[taught], record_ids=ids[taught])
    return learner


def test_a_learner_tells_strategy_rounds_and_ledger(embedded):
    learner = learner_of(embedded)
    text = of_ours(html_of(learner))
    assert "PrivateQuery(utility=Margin()" in text
    assert "rounds taught 1 " in text
    assert "DPPrototypeClassifier" in text
    assert f"cohort/round-1 {learner.ledger.spent():.2f} of 2.00" in text


@pytest.mark.parametrize("taught", [slice(6, 9), slice(6, 6), slice(12, 25)])
def test_who_and_how_many_were_taught_changes_nothing(embedded, taught):
    ours = learner_of(embedded)
    theirs = learner_of(embedded, start=slice(26, 32), taught=taught, name="somebody-else-")
    assert plain(html_of(ours)) == plain(html_of(theirs))
    assert repr(ours) == repr(theirs)
    assert "somebody" not in html_of(theirs)
    for copied in (clone(theirs), pickle.loads(pickle.dumps(theirs))):
        assert "somebody" not in html_of(copied)


def test_a_planted_count_is_found(embedded):
    ours, theirs = learner_of(embedded), learner_of(embedded, taught=slice(12, 25))

    def leaky(learner):
        return plain(html_of(learner)) + f"<p>{len(learner.X_training)} patients</p>"

    assert leaky(ours) != leaky(theirs)


@pytest.fixture(scope="module")
def protocol(srbct):
    plan = plan_study(PrivacyBudget(2.0), n_labelled=6, n_pool=20, labels_per_round=3, rounds=1, n_components=16)
    encoder = PublicEncoder(n_components=16).fit(srbct.X_public, srbct.y_public)
    return plan, encoder, DPPrototypeClassifier.prior_from_public(encoder.transform(srbct.X_public), srbct.y_public)


def test_a_study_tells_steps_files_and_ledger(tmp_path, protocol, srbct):
    study = ActiveLearningStudy(tmp_path / EVIL.replace("/", "_"), *protocol)
    assert "Nobody is enrolled yet" in of_ours(html_of(study))
    study.enrol(srbct.X)
    assert {tag for tag, _ in Reader(html_of(study)).tags}.isdisjoint({"script", "img"})
    text = of_ours(html_of(study))
    assert "start next 6 any day" in text
    assert "round 1 to come 9 any day" in text
    assert "certificate.json , study.json" in text
    assert str(tmp_path) not in text
    sheet = study.next_batch()
    study.submit(sheet.frame.assign(diagnosis=srbct.y[sheet.frame["patient"]].to_numpy()))
    study.release("start")
    text = of_ours(html_of(study))
    assert "start released 6" in text
    assert "round 1 next 9" in text
    assert "models/start.npz" in text
    assert "hospital" not in text.replace("leave the hospital", "")
    assert not [patient for patient in srbct.X.index if patient in html_of(study)]
    assert html_of(ActiveLearningStudy.open(study.folder)) == html_of(study)


def test_whoever_was_accepted_a_study_looks_the_same(tmp_path, protocol, srbct):
    pages, asked = {}, {}
    for name, patients in (
        ("one", srbct.X),
        ("two", srbct.X.iloc[::-1].set_axis([f"q{n}" for n in range(len(srbct.X))])),
    ):
        study = ActiveLearningStudy(tmp_path / name / "study", *protocol).enrol(patients)
        study.run(oracle=lambda sheet: [srbct.y.iloc[0]] * len(sheet))
        pages[name] = html_of(study)
        asked[name] = study._folder.record("round-1").asked
    assert asked["one"] != asked["two"]
    assert pages["one"] == pages["two"]
    assert "round 1 released 9" in of_ours(pages["one"])
