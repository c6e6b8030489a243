"""A ledger in a notebook: what it shows is public, escaped, and said in words too."""

import copy
import pickle
import re

import pytest
from sklearn.base import clone

from skdpal.privacy import events
from tests.markup import EVIL, Reader, html_of, of_ours


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
