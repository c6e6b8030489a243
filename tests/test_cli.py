"""The shell, and what a terminal may show."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from skdpal import PrivacyBudget, PrivacyLedger
from skdpal.cli import console, main
from skdpal.cli.tables import patients_of, public_of
from skdpal.learner.study.submission import read_table
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


def journal_of(ledger):
    """The journal without its numbers; rounds are named after what was released, which is noisy."""
    rows = ledger.root._book.journal.read(lambda transaction: transaction.rows()[0])
    return re.sub(r"[0-9a-f]{64}", "#", json.dumps(shape(rows)))


def test_nothing_outside_tells_how_many_were_accepted(run, tmp_path, monkeypatch):
    """One study accepts nobody, one everybody it meets: terminal, files, receipts and sizes are alike."""
    monkeypatch.setattr("skdpal.privacy.ledger.state.nonce", lambda: "0" * 32)  # a ledger's name is random
    seen = []
    for name, coin in (("world-1", 1.0), ("world-0", 0.0)):
        folder = tmp_path / name
        monkeypatch.setattr(PrivacyLedger, "coins", lambda self, label, ids, coin=coin: np.full(len(ids), coin))
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
                    r"[0-9a-f]{64}|[\d.]+",
                    "",
                    re.sub(r"data:[^\"]+", "", (release / "report.html").read_text(encoding="utf-8")),
                ),
                "shapes": {key: value.shape for key, value in np.load(release / "models" / "final.npz").items()},
                "journal": journal_of(PrivacyLedger.open(folder / "hospital-only" / "study.ledger")),
            }
        )
    nobody, everybody = seen
    assert nobody.pop("accepted") == [0, 0, 0]
    assert everybody.pop("accepted") == [20, 0, 0]
    for what in nobody:
        assert nobody[what] == everybody[what], what


@pytest.fixture(scope="module")
def tables(srbct, tmp_path_factory):
    """Tables as a hospital has them: ids with leading zeros, a slide, a column of words."""
    folder = tmp_path_factory.mktemp("tables")
    genes = srbct.X.columns[:60]
    public = srbct.X_public[genes].assign(subtype=srbct.y_public, origin="cell line")
    public.to_csv(folder / "public.csv", index_label="sample")
    ids = [f"{number:05d}" for number in range(37)]
    patients = srbct.X[genes].assign(slide=[f"-{at}" for at in range(37)], known=["yes"] * 8 + [None] * 29)
    patients.insert(0, "pid", ids)
    patients.to_csv(folder / "patients.tsv", sep="\t", index=False)
    truth = pd.Series(srbct.y.to_numpy(), index=ids)
    return SimpleNamespace(folder=folder, truth=truth, patients=folder / "patients.tsv", public=folder / "public.csv")


def new(tables, folder, *more):
    return (
        *("study", "new", folder, "--patients", tables.patients, "--id-column", "pid", "--show", "slide"),
        *("--public", tables.public, "--label-column", "subtype", "--public-id-column", "sample", "--ignore", "origin"),
        *("--n-labelled", 6, "--n-pool", 20, "--n-evaluation", 8, "--rounds", 1, "--n-components", 8, *more),
    )


def test_a_study_is_run_from_the_shell(run, tables, tmp_path):
    folder = tmp_path / "study"
    code, text = run(*new(tables, folder, "--yes", "--labelled", "known"))
    assert code == 0, text
    assert "cohort/round-1" in text
    assert "60" in text  # genes matched
    for step in ("start", "round-1", "evaluation"):
        code, text = run("study", "next", folder)
        assert code == 0, text
        path = folder / "hospital-only" / "worksheets" / f"{step}.csv"
        assert str(path) in text
        sheet = read_table(path)
        assert list(sheet.columns) == ["patient", "slide", "diagnosis", "comment"]
        if step == "start":
            assert set(sheet["patient"]) <= {f"{number:05d}" for number in range(8)}
        sheet.assign(diagnosis=tables.truth[sheet["patient"]].to_numpy()).to_csv(tmp_path / "filled.csv", index=False)
        code, text = run("study", "submit", folder, tmp_path / "filled.csv")
        assert code == 0, text
        for _ in range(2):
            code, text = run("study", "release", folder, "--step", step)
            assert code == 0, text
    assert "done" in text
    code, text = run("study", "status", folder, "--json")
    assert json.loads(text)["epsilon_spent"] == pytest.approx(2.0)
    code, text = run(
        "study",
        "report",
        folder,
        "--title",
        "Ours",
        "--public",
        tables.public,
        "--label-column",
        "subtype",
        "--public-id-column",
        "sample",
        "--ignore",
        "origin",
    )
    assert code == 0, text
    assert "<title>Ours</title>" in (folder / "release" / "report.html").read_text(encoding="utf-8")
    assert len(PrivacyLedger.open(folder / "hospital-only" / "study.ledger").receipts()) == 3


def test_a_plan_is_shown_before_it_is_agreed_to(tables, tmp_path):
    arguments = [str(argument) for argument in new(tables, tmp_path / "study")]
    result = CliRunner().invoke(main, arguments, input="n\n")
    assert result.exit_code == 1
    assert "The plan can never be changed" in result.output
    assert not (tmp_path / "study").exists()
    assert CliRunner().invoke(main, arguments, input="y\n").exit_code == 0
    assert (tmp_path / "study" / "release" / "study.json").exists()


def test_what_is_wrong_with_a_study_is_said_in_plain_words(run, tables, tmp_path):
    folder = tmp_path / "study"
    for arguments, words in [
        (("study", "status", folder), "holds no study"),
        (new(tables, folder, "--show", "grade", "--yes"), "grade is not there"),
        (new(tables, folder, "--n-pool", 99, "--yes"), "Make the groups smaller"),
        (new(tables, folder, "--release-date", "soon", "--yes"), "YYYY-MM-DD"),
        (new(tables, folder, "--utility", "coreset", "--yes"), "coreset"),
        (new(tables, folder, "--label-column", "origin", "--yes"), "subtype hold words"),
        (new(tables, folder, "--labelled", "missing", "--yes"), "missing is not there"),
        (new(tables, folder, "--patients", tables.folder / "a.ods", "--yes"), "does not exist"),
    ]:
        code, text = run(*arguments)
        assert code in (1, 2), text
        assert words in " ".join(text.split())
        assert "Traceback" not in text
        assert not folder.exists()
    assert run(*new(tables, folder, "--yes", "--release-every", 30))[0] == 0
    assert "spends its budget once" in " ".join(run(*new(tables, folder, "--yes"))[1].split())
    assert "not begun" in run("study", "release", folder)[1]
    looked = (
        "--public",
        tables.public,
        "--label-column",
        "subtype",
        "--public-id-column",
        "sample",
        "--ignore",
        "origin",
    )
    assert "Nothing was released yet" in run("study", "report", folder, *looked)[1]
    assert run("study", "report", folder)[0] == 0
    assert run("study", "next", folder)[0] == 0
    sheet = read_table(folder / "hospital-only" / "worksheets" / "start.csv")
    sheet.assign(diagnosis="EWSS").to_csv(tmp_path / "wrong.csv", index=False)
    code, text = run("study", "submit", folder, tmp_path / "wrong.csv")
    assert (code, "'EWSS' is none of" in text) == (1, True)
    code, text = run("study", "release", folder)
    assert (code, "is planned for" in text) == (1, True)


def test_tables_are_read_or_the_way_out_is_named(tmp_path, monkeypatch):
    table = pd.DataFrame({"id": ["007", None], "label": ["a", None], "gene": [1, 2]})
    table.to_csv(tmp_path / "gaps.csv", index=False)
    with pytest.raises(ValueError, match="gaps. Drop"):
        public_of(tmp_path / "gaps.csv", "label", "id", ())
    with pytest.raises(ValueError, match="gaps. Fill"):
        patients_of(tmp_path / "gaps.csv", "id", ())
    table.dropna().to_csv(tmp_path / "good.tsv.gz", sep="\t", index=False)
    assert patients_of(tmp_path / "good.tsv.gz", "id", ())[1] == ["007"]
    with pytest.raises(ValueError, match="Convert"):
        patients_of(tmp_path / "a.sav", "id", ())

    def without_pyarrow(path):
        raise ImportError

    monkeypatch.setattr(pd, "read_parquet", without_pyarrow)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        patients_of(tmp_path / "a.parquet", "id", ())
    monkeypatch.setattr(pd, "read_parquet", lambda path: table[:1])
    assert patients_of(tmp_path / "a.parquet", "id", ())[1] == ["007"]


@pytest.mark.slow
def test_the_commands_of_the_guide_run(tmp_path):
    """Every shell block of docs/guide/studies.md, in order, in an empty folder."""
    here = Path(__file__).parents[1]
    blocks = re.findall(
        r"^```sh\n(.*?)^```", (here / "docs" / "guide" / "studies.md").read_text(encoding="utf-8"), re.M | re.S
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    script = "\n".join(["set -eu", *blocks])
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "study" / "release" / "report.html").exists()
