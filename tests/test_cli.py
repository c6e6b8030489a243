"""The shell, and what a terminal may show."""

import json
import re

import numpy as np
import pytest
from click.testing import CliRunner

from skdpal import PrivacyBudget, PrivacyLedger
from skdpal.cli import console, main
from skdpal.privacy import events


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(console, "width", 100)

    def invoke(*arguments):
        with console.capture() as capture:
            result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        return result.exit_code, capture.get() + result.output

    return invoke


def test_plan_shows_every_release(run):
    code, text = run("plan", "--rounds", 2, "--epsilon", 1)
    assert code == 0
    assert text.count("cohort/round-") == 2
    assert "ε=1.00 at δ=1e-05" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["plan", "--epsilon", "0"], "epsilon"),
        (["plan", "--rounds", "0"], "rounds"),
        (["ledger", "show", "missing.ledger"], "never a fresh budget"),
        (["ledger", "verify", "missing.ledger"], "does not exist"),
        (["demo", "--n-pool", "50", "--benchmark-splits", "0"], "Make the groups smaller"),
        (["demo", "--n-components", "99", "--benchmark-splits", "0"], "n_components"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(run, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, text = run(*arguments)
    assert code == 1
    assert words in text
    assert "Traceback" not in text


def test_ledgers_can_be_looked_at(run, tmp_path):
    path = tmp_path / "a.ledger"
    ledger = PrivacyLedger.create(path, PrivacyBudget(2.0))
    ledger.charge(events.gaussian(4.0), "fit round 1")
    code, text = run("ledger", "show", path)
    assert code == 0
    assert "fit round 1" in text
    assert "ceiling ε=2 at δ=1e-05" in text
    code, text = run("ledger", "verify", path)
    assert code == 0
    assert ledger.verify() in text.replace("\n", "")


def test_a_head_kept_on_paper_finds_an_older_ledger(run, tmp_path):
    path = tmp_path / "a.ledger"
    ledger = PrivacyLedger.create(path, PrivacyBudget(2.0))
    backup = path.read_bytes()
    ledger.charge(events.gaussian(4.0), "fit round 1")
    code, head = run("ledger", "head", path)
    assert (code, head.strip()) == (0, ledger.verify())
    ledger.charge(events.gaussian(9.0), "fit round 2")
    assert run("ledger", "verify", path, "--head", head.strip())[0] == 0
    path.write_bytes(backup)
    code, text = run("ledger", "verify", path, "--head", head.strip())
    assert code == 1
    assert "never had the head" in text


def test_a_demo_is_made_once_and_removed_only_if_it_is_one(run, tmp_path):
    arguments = ("demo", "--output", tmp_path / "out", "--benchmark-splits", 2, "--rounds", 1)
    code, text = run(*arguments)
    assert code == 0, text
    assert (tmp_path / "out" / "benchmark.html").exists()
    code, text = run(*arguments)
    assert code == 1
    assert "spends its budget once" in text
    assert run(*arguments, "--overwrite")[0] == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    assert run("demo", "--output", tmp_path / "other", "--overwrite", "--benchmark-splits", 0)[0] == 1
    assert (tmp_path / "other" / "thesis.txt").exists()


def shape(value):
    """A JSON value without its numbers."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items() if key != "journal_head"}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return type(value).__name__ if isinstance(value, float) else value


def test_nothing_outside_tells_how_many_were_accepted(run, tmp_path, monkeypatch):
    """One study accepts nobody, one everybody it meets: terminal, files, receipts and sizes are alike."""
    monkeypatch.setattr("skdpal.privacy.ledger.state.nonce", lambda: "0" * 32)  # a ledger's name is random
    seen = []
    for name, coin in (("none", 1.0), ("many", 0.0)):
        folder = tmp_path / name
        monkeypatch.setattr(PrivacyLedger, "coin", lambda *_, coin=coin: coin)
        code, text = run("demo", "--output", folder, "--benchmark-splits", 0)
        assert code == 0, text
        release = folder / "release"
        log = (folder / "hospital-only" / "query_log.jsonl").read_text(encoding="utf-8").splitlines()
        certificate = json.loads((release / "certificate.json").read_text(encoding="utf-8"))
        seen.append(
            {
                "accepted": [len(json.loads(line)["accepted"]) for line in log],
                "terminal": re.sub(r"[\d.:/-]+|[━╸╺ ]+", "", text.replace(name, "")),
                "files": sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")),
                "sizes": {path.name: path.stat().st_size for path in release.rglob("*.npz")},
                "certificate": shape(certificate),
                "study": shape(json.loads((release / "study.json").read_text(encoding="utf-8"))),
                "report": re.sub(
                    r"[\d.]+", "", re.sub(r"data:[^\"]+", "", (release / "report.html").read_text(encoding="utf-8"))
                ),
                "shapes": {key: value.shape for key, value in np.load(release / "models" / "final.npz").items()},
                "journal": PrivacyLedger.open(folder / "hospital-only" / "study.ledger").verify(),
            }
        )
    nobody, everybody = seen
    assert nobody.pop("accepted") == [0, 0, 0]
    assert everybody.pop("accepted") == [20, 0, 0]
    for what in nobody:
        assert nobody[what] == everybody[what], what
