"""The page says what was run."""

import re

from tests.benchmarks.peers import checks, page


def test_the_tables_are_those_of_the_csv():
    text = page.PAGE.read_text(encoding="utf-8")
    assert page.filled(text, page.read()) == text


def test_every_check_was_run_and_is_shown():
    names = set(checks.load())
    assert {f"{row['check']}.{row['peer']}" for row in page.read()} == names
    shown = re.findall(r"`(\w+\.[\w-]+)` \|$", page.PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(shown) == sorted(names)


def test_every_peer_is_pinned():
    pinned = (page.ROOT / "requirements-peers.txt").read_text() + (page.ROOT / "requirements.lock").read_text()
    versions = {row["peer"]: row["version"] for row in page.read() if row["peer"] != "skdpal"}
    assert len(versions) == len(checks.DISTRIBUTIONS) - 1
    for peer, number in versions.items():
        assert f"{checks.DISTRIBUTIONS[peer]}=={number}".lower() in pinned.lower()


def test_a_table_that_was_retyped_is_noticed():
    text = page.PAGE.read_text(encoding="utf-8")
    outcome = page.read()[0]["outcome"]
    assert page.filled(text.replace(outcome, "much better"), page.read()) != text.replace(outcome, "much better")
