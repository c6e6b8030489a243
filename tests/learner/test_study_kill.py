"""SIGKILL at any moment of a whole study: nothing is paid twice, no label is lost, nobody is asked twice.

The killing is done in a process of its own (this file run as a script), whose children are forked from one
warm parent. A child goes on with the study from its folder until it is killed: at a random time, or right
before or after a random one of its writes (a file put into place, a commit of the ledger or its vault).
Noise is so small that the released counts tell which labels were used.
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from skdpal import ActiveLearningStudy, DPPrototypeClassifier, PrivacyBudget, PublicEncoder, plan_study
from skdpal.datasets import load_srbct
from skdpal.learner import load_model
from skdpal.learner.study.folder import StudyFolder
from skdpal.privacy.randomness import perturb

KEYS = ["start", "round-1", "round-2", "round-3", "evaluation"]
PLAN = plan_study(PrivacyBudget(1e6, 1e-5), 6, 20, 5, 3, n_evaluation=8, n_components=4)
DATA = load_srbct(as_frame=True)
LINES = DATA.is_cell_line
X, Y = DATA.data[~LINES], DATA.target[~LINES]
ENCODER = PublicEncoder(n_components=4, sample_scaling="standardize").fit(DATA.data[LINES], DATA.target[LINES])


def test_a_study_survives_being_killed():
    report = killing("kill", 12)
    assert report["kills"] >= 12
    assert report["releases"] == len(KEYS) * report["studies"]


@pytest.mark.slow
def test_a_study_survives_being_killed_many_times():
    report = killing("kill", 100)
    assert report["kills"] >= 100
    assert report["killed after a charge, before the release"] > 0


def test_planted_losses_are_caught():
    good = {"accounts": [f"cohort/{key}" for key in KEYS], "asked": [["a"], ["b"]], "used": 2.0, "labels": 2}
    check_facts(good)
    for change, words in [
        ({"accounts": [*good["accounts"], "cohort/start"]}, "paid"),
        ({"accounts": good["accounts"][1:]}, "paid"),
        ({"asked": [["a"], ["a"]]}, "twice"),
        ({"used": 1.0}, "label"),
        ({"used": 3.0}, "label"),
    ]:
        with pytest.raises(AssertionError, match=words):
            check_facts({**good, **change})
    with pytest.raises(AssertionError, match="another model"):
        check_said([["start", "aa"], ["start", "bb"]], {})
    with pytest.raises(AssertionError, match="lost"):
        check_said([["stored", "start", "a", "EWS"]], {"start": {}})


def killing(*arguments):
    """What this file, run as a script, reports."""
    command = [sys.executable, "-W", "error", "-W", "ignore:κ = n μ:UserWarning", __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# -- the checks ----------------------------------------------------------------------------------


def check_facts(facts):
    assert facts["accounts"] == [f"cohort/{key}" for key in KEYS], "a step was not paid exactly once"
    everybody = [patient for asked in facts["asked"] for patient in asked]
    assert len(set(everybody)) == len(everybody), "somebody was asked twice"
    assert abs(facts["used"] - facts["labels"]) < 0.4, "a label was lost, or used twice"


def check_said(said, answers):
    """A model that was once returned is the model that stays; a label that was stored is kept."""
    models = {}
    for kind, *rest in said:
        if kind == "stored":
            step, patient, word = rest
            assert answers[step].get(patient, {}).get("diagnosis") == word, "a stored label was lost"
        else:
            assert models.setdefault(kind, rest[0]) == rest[0], "another model came back"
    return models


def check(folder, said):
    """All that must hold when the study is done."""
    study = ActiveLearningStudy.open(folder)
    study.ledger.verify()
    records = {key: StudyFolder(folder).record(key) for key in KEYS}
    models = check_said(said, {key: record.answers for key, record in records.items()})
    releases = load_model(study.release_folder / "models" / "final.npz")[-1].releases_
    trained = [answer for key in KEYS[:-1] for answer in records[key].answers.values()]
    check_facts(
        {
            "accounts": [receipt.account for receipt in study.ledger.receipts()],
            "asked": [record.asked for record in records.values()],
            "used": float(sum(release.counts.sum() for release in releases)) * np.sqrt(2),
            "labels": len(trained),
        }
    )
    for key in KEYS[:-1]:
        path = study.release_folder / "models" / f"{key}.npz"
        load_model(path).predict(X)
        assert digest(path) == models.get(key, digest(path))  # it may have been killed before it could tell
    counts = releases[0].counts * np.sqrt(2)  # the starting labels, class by class
    words = Counter(answer["diagnosis"] for answer in records["start"].answers.values())
    assert np.allclose(counts, [words[name] for name in ("BL", "EWS", "NB", "RMS")], atol=0.2)
    certificate = json.loads((study.release_folder / "certificate.json").read_text(encoding="utf-8"))
    assert certificate["status"] == "valid"
    assert certificate["journal_head"] == study.ledger.verify()
    assert len(certificate["receipts"]) == len(KEYS)
    assert study.status().waiting_for == "nothing"
    assert not list(folder.rglob("scratch/*"))


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


# -- the children --------------------------------------------------------------------------------


def make(folder):
    rows = ENCODER.transform(DATA.data[LINES])
    prior = DPPrototypeClassifier.prior_from_public(rows, DATA.target[LINES])
    return ActiveLearningStudy(folder, PLAN, ENCODER, prior, reference=rows)


def work(folder, say):
    """Go on with the study until it is done."""
    try:
        study = ActiveLearningStudy.open(folder)
    except FileNotFoundError:
        study = make(folder).enrol(X)
    while (step := study.status().step.replace(" ", "-")) != "done":
        sheet = study.next_batch(excel=step == "round-1")
        filled = sheet.frame.assign(diagnosis=Y[sheet.frame["patient"]].to_numpy())
        half = len(filled) // 2
        for part, partial in ((filled[:half], True), (filled[half:], False)):
            if not sheet.frame["diagnosis"].all() or not len(filled):
                study.submit(part, partial=partial)
                for row in part.itertuples():
                    say(f"stored {step} {row.patient} {row.diagnosis}")
        study.release(step)
        if step != "evaluation":
            say(f"{step} {digest(study.release_folder / 'models' / f'{step}.npz')}")


def mortal(countdown):
    """Die right before or after a write of this process."""

    def tick(*_):
        countdown[0] -= 1
        if countdown[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    replace = Path.replace

    def put(self, target):
        tick()
        done = replace(self, target)
        tick()
        return done

    sync = os.fsync
    os.fsync = lambda handle: (sync(handle), tick())[0]
    Path.replace = put
    commit = sa.engine.Connection._commit_impl
    sa.engine.Connection._commit_impl = lambda self: (tick(), commit(self), tick())[1]


def child(folder, moment):
    """Fork; (whether it was killed, what it said)."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        code = 1
        try:
            if isinstance(moment, int):
                mortal([moment])
            work(folder, lambda text: os.write(writing, f"{text}\n".encode()))
            code = 0
        except BaseException as error:  # noqa: BLE001
            os.write(writing, f"failed {error!r}\n".encode())
        os._exit(code)
    os.close(writing)
    if isinstance(moment, float):
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)
    said = b""
    while more := os.read(reading, 65536):
        said += more
    os.close(reading)
    status = os.waitpid(pid, 0)[1]
    lines = [line.split(" ") for line in said.decode().split("\n")[:-1]]
    assert not [line for line in lines if line[0] == "failed"], lines
    return os.WIFSIGNALED(status), lines


def kill(parent, kills):
    """Kill that many times, over as many studies as it takes."""
    rng, report = random.Random(3), Counter()
    while report["kills"] < kills:
        folder, said = parent / str(report["studies"]), []
        for turn in range(1000):
            moment = rng.randint(1, 220) if turn % 3 else rng.uniform(0.0, 0.4)
            killed, lines = child(folder, moment)
            said += lines
            report["kills"] += killed
            report.update(seen(folder))
            if not killed:
                break
        check(folder, said)
        report["studies"] += 1
        report["releases"] += len(KEYS)
    return report


def seen(folder):
    """At which telling moments the last child died."""
    if not (folder / "hospital-only" / "protocol.json").exists():
        return {"killed while it was made": 1}
    records = [record for key in KEYS if (record := StudyFolder(folder).record(key)) is not None]
    if not records or records[-1].released:
        return {}
    ledger = ActiveLearningStudy.open(folder).ledger
    paid = len(ledger.receipts()) == len(records)
    half = not records[-1].locked and 0 < sum(map(bool, records[-1].answers.values())) < len(records[-1].asked)
    return {"killed after a charge, before the release": paid, "killed while labels were stored": half}


def main(command, kills):
    perturb([0.0], 1.0)  # loads the sampler, so that the children need not
    with tempfile.TemporaryDirectory() as name:
        report = {"kill": kill}[command](Path(name), int(kills))
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
