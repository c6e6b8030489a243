"""A study in its folder: what leaves is the same whoever was accepted."""

import json
import re
import stat

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from skdpal import ActiveLearningStudy, BudgetExhausted, PrivacyBudget, PrivacyLedger, plan_study
from skdpal.learner import load_model

PLAN = plan_study(PrivacyBudget(2.0, 1e-5), 6, 20, 3, 3, n_evaluation=11, n_components=16)
COINS = {"nobody": 1.0, "half": None, "everybody": 0.0}


HASH = re.compile(r"[0-9a-f]{64}")  # of what was released, which is noisy


def skeleton(value):
    """JSON without its numbers and hashes, which noise decides."""
    if isinstance(value, dict):
        return {key: skeleton(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [skeleton(inner) for inner in value]
    if isinstance(value, str):
        return HASH.sub("#", value)
    return type(value).__name__ if isinstance(value, float) else value


def journal_of(ledger):
    """The rows of a journal, without their numbers."""
    return skeleton(ledger.root._book.journal.read(lambda transaction: transaction.rows()[0]))


@pytest.fixture(scope="module")
def studies(embedded, srbct, tmp_path_factory):
    """Three runs of one protocol, in which nobody, some and everybody of the pool were accepted."""
    runs = {}
    for name, coin in COINS.items():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("skdpal.privacy.ledger.state.nonce", lambda: "0" * 32)  # a ledger's name is random
            if coin is not None:
                patch.setattr(PrivacyLedger, "coins", lambda self, label, ids, coin=coin: np.full(len(ids), coin))
            study = ActiveLearningStudy(
                tmp_path_factory.mktemp("studies") / name,
                PLAN,
                embedded.encoder,
                embedded.prior,
                reference=embedded.reference,
            )
            steps = []
            study.run(srbct.X, lambda sheet: srbct.y[sheet["patient"]], progress=steps.append)
            runs[name] = (study, steps)
    return runs


def accepted(study):
    log = (study.hospital_folder / "query_log.jsonl").read_text(encoding="utf-8")
    return [len(json.loads(line)["accepted"]) for line in log.splitlines()]


def from_outside(study, steps):
    """Everything about a run that may be seen outside."""
    files = [path for path in study.folder.rglob("*") if path.is_file()]
    arrays = {}
    for path in study.release_folder.rglob("*.npz"):
        with np.load(path) as archive:
            arrays[path.name] = {name: (archive[name].shape, archive[name].dtype.str) for name in archive.files}
    return {
        "files": sorted(path.relative_to(study.folder).as_posix() for path in files),
        "modes": sorted((path.name, stat.S_IMODE(path.stat().st_mode)) for path in study.folder.rglob("*")),
        "sizes of models": {path.name: path.stat().st_size for path in study.release_folder.rglob("*.npz")},
        "arrays of models": arrays,
        "steps": steps,
        "receipts": study.ledger.receipts(),
        "accounts": study.ledger.accounts(),
        "spent": {name: study.ledger.spent(name) for name in study.ledger.accounts()},
        "journal": journal_of(study.ledger),
        "certificate": skeleton(json.loads((study.release_folder / "certificate.json").read_text(encoding="utf-8"))),
        "protocol": skeleton(json.loads((study.release_folder / "study.json").read_text(encoding="utf-8"))),
        "learner": re.sub(r"spent [\d.]+", "", repr(study.learner)),
    }


@pytest.mark.parametrize("other", ["half", "everybody"])
def test_what_leaves_does_not_tell_how_many_were_accepted(studies, other):
    assert sum(accepted(studies["nobody"][0])) == 0
    assert sum(accepted(studies[other][0])) > 0
    one, two = from_outside(*studies["nobody"]), from_outside(*studies[other])
    for what in one:
        assert one[what] == two[what], what


def test_the_same_comparison_catches_a_number_that_gets_out(studies):
    """A release that is skipped when nobody was accepted, and a file that grows with the cohort."""
    (nobody, steps), (everybody, _) = studies["nobody"], studies["everybody"]
    path = everybody.release_folder / "models" / "round-1.npz"
    kept = path.read_bytes()
    try:
        path.write_bytes(kept + b"\0" * sum(accepted(everybody)))
        assert from_outside(nobody, steps) != from_outside(everybody, steps)
        path.unlink()
        assert from_outside(nobody, steps) != from_outside(everybody, steps)
    finally:
        path.write_bytes(kept)


@pytest.mark.parametrize("name", COINS)
def test_nothing_released_names_a_patient_or_holds_a_row(studies, name, srbct, embedded):
    for path in studies[name][0].release_folder.rglob("*"):
        data = path.read_bytes() if path.is_file() else path.name.encode()
        assert not [patient for patient in srbct.X.index if patient.encode() in data], path
        assert not [row for row in (*embedded.X, *srbct.A) if row[:2].tobytes() in data], path


def test_the_other_half_stays_in_the_hospital(studies):
    study = studies["half"][0]
    assert stat.S_IMODE(study.hospital_folder.stat().st_mode) == 0o700
    for path in study.hospital_folder.glob("study.ledger*"):
        assert not path.stat().st_mode & 0o077, path
    assert {path.name for path in study.folder.iterdir()} == {"release", "hospital-only"}


def test_the_certificate_says_what_can_be_computed_again_without_us(studies):
    certificate = json.loads((studies["half"][0].release_folder / "certificate.json").read_text(encoding="utf-8"))
    assert (certificate["epsilon"], certificate["delta"]) == (2.0, 1e-5)

    def delta(epsilon, mu):
        return norm.cdf(mu / 2 - epsilon / mu) - np.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)

    paid = {}
    for receipt in certificate["receipts"]:
        event = receipt["event"]
        paid.setdefault(receipt["account"], []).append(event["steps"] / event["noise_multiplier"] ** 2)
    # every patient is in one of these accounts, whose names are not prefixes of each other
    assert sorted(paid) == ["cohort/evaluation", *(f"cohort/round-{number}" for number in (1, 2, 3)), "cohort/start"]
    dearest = np.sqrt(max(map(sum, paid.values())))
    epsilon = brentq(lambda epsilon: delta(epsilon, dearest) - 1e-5, 1e-6, 50)
    assert epsilon == pytest.approx(2.0, rel=1e-6)
    assert epsilon <= 2.0 * (1 + 1e-9)
    assert certificate["odometer"]["epsilon_spent"] == pytest.approx(epsilon, rel=1e-6)
    twice = brentq(lambda epsilon: delta(epsilon, 2 * dearest) - 1e-5, 1e-6, 50)
    assert certificate["replace_one"]["epsilon"] == pytest.approx(twice, rel=1e-6)


@pytest.mark.parametrize("name", COINS)
def test_evaluation_patients_are_never_trained_on(studies, name):
    study = studies[name][0]
    sheets = {path.stem: pd.read_csv(path) for path in (study.hospital_folder / "worksheets").glob("*.csv")}
    assert set(sheets) == {"start", "round-1", "round-2", "round-3", "evaluation"}
    groups = {stem: set(sheet["patient"]) for stem, sheet in sheets.items()}
    assert sum(map(len, groups.values())) == len(set().union(*groups.values()))  # nobody is in two
    assert (len(groups["start"]), len(groups["evaluation"])) == (6, 11)
    assert set(study.ledger.accounts_of(sheets["evaluation"]["patient"])) == {"cohort/evaluation"}
    assert len(study.learner.X_training) == len(set().union(*groups.values()) - groups["evaluation"])


def test_the_released_model_is_the_model_of_the_study(studies, srbct, embedded):
    study = studies["everybody"][0]
    released = load_model(study.release_folder / "models" / "final.npz")
    np.testing.assert_allclose(released.predict_proba(srbct.X), study.learner.predict_proba(embedded.X), rtol=1e-9)


def test_steps_show_public_numbers_only(studies):
    steps = studies["half"][1]
    assert [step.name for step in steps] == ["start", "round 1", "round 2", "round 3", "evaluation"]
    assert [step.expected_labels for step in steps] == [6, 9, 12, 15, 15]
    assert {(step.total, step.epsilon_committed) for step in steps} == {(5, 2.0)}


def test_a_study_that_cannot_pay_stops_before_it_asks_anybody(embedded, srbct, tmp_path):
    import dataclasses

    dear = dataclasses.replace(PLAN, noise_multiplier=1.0)
    asked = []
    study = ActiveLearningStudy(tmp_path / "study", dear, embedded.encoder, embedded.prior)
    with pytest.raises(BudgetExhausted, match=r"spent 0\.00 of 2\.00"):
        study.run(srbct.X, lambda sheet: asked.append(sheet) or srbct.y[sheet["patient"]])
    assert asked == []


def test_groups_do_not_follow_labels_or_the_order_of_rows(embedded, srbct, tmp_path):
    groups = []
    for number, order in enumerate((slice(None), slice(None, None, -1))):
        study = ActiveLearningStudy(tmp_path / str(number), PLAN, embedded.encoder, embedded.prior)
        study.run(srbct.X[order], lambda sheet: ["EWS"] * len(sheet))
        groups.append(set(pd.read_csv(study.hospital_folder / "worksheets" / "evaluation.csv")["patient"]))
    assert groups[0] == groups[1]


def test_a_study_follows_its_own_schedule(embedded, srbct, tmp_path):
    plan = plan_study(PrivacyBudget(2.0, 1e-5), 6, 20, 3, 2, n_evaluation=5)
    study = ActiveLearningStudy(
        tmp_path / "study", plan, embedded.encoder, embedded.prior, reference=embedded.reference, filter="planned"
    )
    study.run(srbct.X[:31], lambda sheet: srbct.y[sheet["patient"]])
    certificate = study.ledger.certificate()
    assert (certificate["filter"], certificate["status"], certificate["epsilon"]) == ("planned", "valid", 2.0)
    assert certificate["filter_parameters"]["digest"] == plan.schedule.digest
    assert len(study.ledger.receipts()) == 4
    assert study.ledger.spent() == pytest.approx(plan.epsilon)
    with pytest.raises(BudgetExhausted, match="The schedule is done"):
        study.ledger.charge(study.ledger.receipts()[0].event, "once more")
