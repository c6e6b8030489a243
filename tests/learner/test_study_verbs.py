"""A study over weeks: next_batch, submit, release, each as often as anybody likes."""

import dataclasses
import json
import os
import shutil
import stat
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook

from skdpal import ActiveLearningStudy, BudgetExhausted, PrivacyBudget, PrivacyLedger, plan_study
from skdpal.learner import load_model
from skdpal.learner.study import NO_DIAGNOSIS, StudyError, TooEarly, WorksheetError
from skdpal.learner.study.folder import StudyFolder

PLAN = plan_study(PrivacyBudget(2.0, 1e-5), 6, 20, 3, 1, n_evaluation=11, n_components=16)
KEYS = ["start", "round-1", "evaluation"]
SLIDES = [f"B{number}" for number in range(37)]


def prepare(embedded, folder, plan=PLAN, **options):
    return ActiveLearningStudy(
        folder, plan, embedded.encoder, embedded.prior, **{"reference": embedded.reference, **options}
    )


@pytest.fixture
def study(embedded, srbct, tmp_path):
    display = pd.DataFrame({"slide": SLIDES}, index=srbct.X.index)
    return prepare(embedded, tmp_path / "study").enrol(srbct.X, worksheet_columns=display)


def again(study):
    """The same study on another day."""
    return ActiveLearningStudy.open(study.folder)


def fill(sheet, truth):
    return sheet.frame.assign(diagnosis=truth[sheet.frame["patient"]].to_numpy())


def finish(study, truth):
    while study.status().waiting_for != "nothing":
        study = again(study)
        sheet = study.next_batch(excel=False)
        study.submit(fill(sheet, truth))
        study.release()
    return study


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_study_goes_on_from_its_folder_alone(study, srbct):
    finished = finish(study, srbct.y)
    assert [receipt.account for receipt in finished.ledger.receipts()] == [f"cohort/{key}" for key in KEYS]
    assert {path.stem for path in finished.release_folder.glob("models/*.npz")} == {"start", "round-1", "final"}
    assert 0 <= finished.evaluation.accuracy <= 1
    status = again(finished).status()
    assert (status.step, status.number, status.total) == ("done", 3, 3)
    assert status.epsilon_spent == pytest.approx(2.0)
    final = load_model(finished.release_folder / "models" / "final.npz")
    np.testing.assert_allclose(
        final.predict_proba(srbct.X), again(finished).learner.estimator.predict_proba(final[0].transform(srbct.X))
    )


def test_running_a_cell_again_gives_the_stored_model(study, srbct, journal):
    sheet = study.next_batch()
    for turn in range(3):
        if turn == 0:
            study.submit(fill(sheet, srbct.y))
        else:
            with pytest.warns(UserWarning, match="released: nothing to store"):
                study.submit(fill(sheet, srbct.y))
        models = [study.release("start"), study.release(), again(study).release("start")]
        probabilities = [model.predict_proba(srbct.X) for model in models]
        np.testing.assert_array_equal(probabilities[0], probabilities[1])
        np.testing.assert_array_equal(probabilities[0], probabilities[2])
        if turn == 0:
            first, rows = probabilities[0], journal(study.ledger)
    np.testing.assert_array_equal(first, probabilities[0])
    assert journal(again(study).ledger) == rows
    assert study.status().step == "round 1"


def test_a_worksheet_asked_for_again_is_the_same_and_not_written_over(study, srbct):
    first = study.next_batch()
    filled = fill(first, srbct.y)
    filled.to_csv(first.csv, index=False)  # the pathologist works in place
    second = again(study).next_batch()
    assert second.frame["patient"].tolist() == first.frame["patient"].tolist()
    assert (pd.read_csv(second.csv)["diagnosis"] == filled["diagnosis"]).all()
    study.submit(first.csv)
    assert again(study).next_batch().frame["diagnosis"].tolist() == filled["diagnosis"].tolist()
    assert first.frame["slide"].isin(SLIDES).all()
    first.csv.unlink()
    assert again(study).next_batch().csv.exists()


def test_an_excel_file_goes_to_the_pathologist_and_back(study, srbct):
    sheet = study.next_batch()
    book = load_workbook(sheet.excel)
    rows = book["worksheet"]
    assert [cell.value for cell in rows[1]] == ["patient", "slide", "diagnosis", "comment"]
    for row in rows.iter_rows(min_row=2):
        row[2].value, row[3].value = srbct.y[row[0].value], "typical"
    book.save(sheet.excel)
    study.submit(sheet.excel)
    assert study.missing() == []
    assert set(study.next_batch().frame["comment"]) == {"typical"}


def test_part_of_a_worksheet_is_kept_and_completed_later(study, srbct):
    sheet = study.next_batch(excel=False)
    filled = fill(sheet, srbct.y)
    with pytest.raises(WorksheetError, match="not handed in"):
        study.submit(filled[:2])
    assert len(study.missing()) == 6
    study.submit(filled[:2], partial=True)
    study = again(study)
    assert study.missing() == sheet.frame["patient"].tolist()[2:]
    with pytest.raises(WorksheetError, match="Nothing was released:\n  row 4 of the worksheet: no diagnosis yet"):
        study.release()
    assert study.ledger.receipts() == []
    study.submit(filled[2:])
    study.release()
    assert len(study.learner.X_training) == 6
    history = (study.hospital_folder / "submissions.jsonl").read_text(encoding="utf-8").splitlines()
    assert [len(json.loads(line)["answers"]) for line in history] == [2, 4]


def test_labels_can_be_corrected_until_the_release(study, srbct):
    sheet = study.next_batch(excel=False)
    study.submit(fill(sheet, srbct.y).assign(diagnosis="BL"))
    study.submit(fill(sheet, srbct.y))
    assert study.next_batch(excel=False).frame["diagnosis"].tolist() == srbct.y[sheet.frame["patient"]].tolist()
    study.release()
    with pytest.raises(StudyError, match="do not change any more"):
        study.submit(fill(sheet, srbct.y).assign(diagnosis="BL"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame, other: frame.assign(diagnosis="EWSS"), "'EWSS' is none of"),
        (lambda frame, other: frame.assign(diagnosis=""), "no diagnosis yet"),
        (lambda frame, other: pd.concat([frame, frame[:1]]), "the same patient"),
        (lambda frame, other: frame.assign(patient=[other, *frame["patient"][1:]]), "was not asked about"),
        (lambda frame, other: frame[1:], "it was not handed in"),
        (lambda frame, other: frame.drop(columns="patient"), "no column 'patient'"),
        (lambda frame, other: frame[:0], "it was not handed in"),
    ],
    ids=["unknown", "missing", "twice", "stranger", "absent", "columns", "empty"],
)
def test_wrong_input_stores_and_costs_nothing(study, srbct, change, words, journal):
    sheet = study.next_batch(excel=False)
    other = next(patient for patient in srbct.X.index if patient not in set(sheet.frame["patient"]))
    inside, outside, rows = files(study.hospital_folder), files(study.release_folder), journal(study.ledger)
    with pytest.raises(WorksheetError, match=words):
        study.submit(change(fill(sheet, srbct.y), other))
    assert files(study.release_folder) == outside
    assert files(study.hospital_folder) == inside
    assert journal(study.ledger) == rows
    study.submit(fill(sheet, srbct.y))
    study.release()


def test_the_worksheet_of_another_step_is_refused(study, srbct):
    with pytest.raises(StudyError, match="Call next_batch"):
        study.submit(pd.Series({"anybody": "EWS"}))
    with pytest.raises(StudyError, match="not begun"):
        study.release()
    start = study.next_batch(excel=False)
    study.submit(fill(start, srbct.y))
    study.release()
    with pytest.raises(StudyError, match="not begun"):
        study.release("round-1")
    with pytest.raises(ValueError, match="Expected step"):
        study.release("round-9")
    study.next_batch(excel=False)
    with pytest.raises(StudyError, match="labels of start were released"):
        study.submit(fill(start, srbct.y).assign(diagnosis="EWS"))
    finished = finish(study, srbct.y)
    with pytest.raises(StudyError, match="study is done"):
        finished.next_batch()
    with pytest.raises(StudyError, match="study is done"):
        finished.submit(pd.Series({"anybody": "EWS"}))


def test_a_case_that_cannot_be_diagnosed_takes_part_in_nothing(study, srbct):
    sheet = study.next_batch(excel=False)
    filled = fill(sheet, srbct.y)
    filled.loc[0, "diagnosis"] = NO_DIAGNOSIS
    study.submit(filled)
    study.release()
    assert len(study.learner.X_training) == 5
    assert len(study.learner.estimator.releases_) == 1
    assert study.learner.estimator.releases_[0].expected_records == 6  # public, whatever came back
    while study.status().waiting_for != "nothing":
        sheet = study.next_batch(excel=False)
        assert filled["patient"][0] not in set(sheet.frame["patient"])
        study.submit(sheet.frame.assign(diagnosis=NO_DIAGNOSIS))
        study.release()
    assert len(study.learner.X_training) == 5
    assert len(study.ledger.receipts()) == 3


def test_labels_that_never_come_are_left_out_on_request(study, srbct):
    sheet = study.next_batch(excel=False)
    study.submit(fill(sheet, srbct.y)[:4], partial=True)
    study.release(leave_out_missing=True)
    assert len(study.learner.X_training) == 4


def test_a_start_without_any_label_is_refused_and_can_be_corrected(study, srbct):
    sheet = study.next_batch(excel=False)
    study.submit(sheet.frame.assign(diagnosis=NO_DIAGNOSIS))
    with pytest.raises(StudyError, match="at least one diagnosis"):
        study.release()
    assert study.ledger.receipts() == []
    study.submit(fill(sheet, srbct.y))
    study.release()


def test_readers_judge_alone_and_then_agree(embedded, srbct, tmp_path):
    study = prepare(embedded, tmp_path / "study", readers=["Anna", "Ben"]).enrol(srbct.X)
    sheet = study.next_batch()
    assert list(sheet.frame.columns) == ["patient", "Anna", "Ben", "diagnosis", "comment"]
    truth = srbct.y[sheet.frame["patient"]].to_numpy()
    anna = sheet.frame[["patient"]].assign(Anna=truth)
    study.submit(anna, partial=True)
    ben = sheet.frame[["patient"]].assign(Ben=["BL", *truth[1:]])
    with pytest.raises(WorksheetError, match="row 0: the readers differ"):
        study.submit(ben)
    study.submit(ben, partial=True)
    assert study.missing() == sheet.frame["patient"].tolist()[:1]
    study.submit(pd.Series({sheet.frame["patient"][0]: "EWS"}))
    study.release()
    assert study.learner.y_training[0] == "EWS"
    assert not [name for name, content in files(study.release_folder).items() if b"Anna" in content]
    with pytest.raises(ValueError, match="readers"):
        prepare(embedded, tmp_path / "other", readers=["Anna", "anna"])
    with pytest.raises(ValueError, match="readers"):
        prepare(embedded, tmp_path / "other", readers=["diagnosis"])


def test_a_release_waits_for_its_day(embedded, srbct, tmp_path, monkeypatch):
    days = [date(2030, 1, 10), date(2030, 2, 10), "2030-03-10"]
    study = prepare(embedded, tmp_path / "study", release_dates=days).enrol(srbct.X)
    monkeypatch.setattr("skdpal.learner.study.engine.today", lambda: date(2030, 1, 9))
    study.submit(fill(study.next_batch(excel=False), srbct.y))
    with pytest.raises(TooEarly, match="2030-01-10"):
        study.release()
    assert study.ledger.receipts() == []
    assert study.status().release_date == "2030-01-10"
    monkeypatch.setattr("skdpal.learner.study.engine.today", lambda: date(2030, 1, 10))
    study.release()
    assert again(study).status().release_date == "2030-02-10"


@pytest.mark.parametrize(
    ("dates", "words"),
    [
        ({"release_dates": ["2030-01-01"]}, "3 days in order"),
        ({"release_dates": ["2030-01-03", "2030-01-02", "2030-01-04"]}, "3 days in order"),
        ({"release_dates": ["soon"] * 3}, "YYYY-MM-DD"),
        ({"release_every": 0}, "release_every"),
        ({"release_every": 7, "release_dates": ["2030-01-01"] * 3}, "not both"),
    ],
)
def test_wrong_days_are_refused(embedded, tmp_path, dates, words):
    with pytest.raises(ValueError, match=words):
        prepare(embedded, tmp_path / "study", **dates)


def test_days_can_be_regular(embedded, srbct, tmp_path):
    study = prepare(embedded, tmp_path / "study", release_every=14).enrol(srbct.X)
    study.next_batch(excel=False)
    with pytest.raises(TooEarly):
        study.release()
    assert date.fromisoformat(study.status().release_date) - date.today() >= timedelta(13)


def test_what_is_told_outside_is_the_same_for_nobody_and_everybody(embedded, srbct, tmp_path, monkeypatch):
    """Status, names, sizes and times of files in release/, before and after the labels of a round come in."""
    monkeypatch.setattr("skdpal.privacy.ledger.state.nonce", lambda: "0" * 32)
    seen = {}
    for name, coin in (("nobody", 1.0), ("everybody", 0.0)):
        monkeypatch.setattr(PrivacyLedger, "coins", lambda self, label, ids, coin=coin: np.full(len(ids), coin))
        study = prepare(embedded, tmp_path / name).enrol(srbct.X)
        study.submit(fill(study.next_batch(), srbct.y))
        study.release()
        told = seen.setdefault(name, [outside(study)])
        sheet = study.next_batch()
        assert len(sheet.frame) == (0 if name == "nobody" else 20)
        told.append(outside(study))
        study.submit(fill(sheet, srbct.y)[:1], partial=True)
        told.append(outside(study))
        study.submit(fill(sheet, srbct.y))
        told.append(outside(study))
        study.release()
        told.append(outside(study))
    assert seen["nobody"] == seen["everybody"]
    assert seen["nobody"][1] == seen["nobody"][2] == seen["nobody"][3]  # labels coming in are not seen


def outside(study):
    paths = sorted(study.release_folder.rglob("*"))
    return (
        str(study.status()),
        repr(study).replace(study.folder.name, ""),
        [path.name for path in paths],
        {path.name: path.stat().st_size for path in paths if path.suffix == ".npz"},
        {path.stat().st_mtime % 86400 for path in [*paths, study.release_folder]},
    )


def test_only_the_hospital_reads_its_half(study, srbct):
    study = finish(study, srbct.y)
    assert stat.S_IMODE(study.hospital_folder.stat().st_mode) == 0o700
    for path in study.hospital_folder.rglob("*"):
        if path.is_file():
            assert not path.stat().st_mode & 0o077, path
    study.hospital_folder.chmod(0o755)  # as a backup may be restored
    again(study)
    assert stat.S_IMODE(study.hospital_folder.stat().st_mode) == 0o700


def test_nothing_in_the_folder_needs_to_be_trusted_to_be_read(study, srbct):
    """No file is a pickle: opening a study that somebody tampered with executes nothing."""
    study = finish(study, srbct.y)
    for path in study.folder.rglob("*.np[yz]"):
        loaded = np.load(path, allow_pickle=False)
        assert all(loaded[name].dtype != object for name in getattr(loaded, "files", ()))
    kinds = {path.suffix for path in study.folder.rglob("*") if path.is_file()}
    assert kinds <= {".npz", ".npy", ".json", ".jsonl", ".csv", ".xlsx", ".ledger", ".vault", ""}


def test_a_study_can_be_moved_and_its_models_carried_away(study, srbct, tmp_path):
    study = finish(study, srbct.y)
    before = files(study.release_folder / "models")
    shutil.move(study.folder, tmp_path / "elsewhere")
    shutil.rmtree(tmp_path / "elsewhere" / "release")
    moved = ActiveLearningStudy.open(tmp_path / "elsewhere")
    moved.release("start")
    assert files(moved.release_folder / "models") == before
    assert len(moved.ledger.receipts()) == 3


def test_a_folder_without_a_study_says_so(tmp_path, study):
    with pytest.raises(FileNotFoundError, match="holds no study"):
        ActiveLearningStudy.open(tmp_path / "nothing")
    study.hospital_folder.joinpath("study.ledger").unlink()
    with pytest.raises(FileNotFoundError, match="never a fresh budget"):
        again(study)


def test_a_study_that_was_killed_while_it_was_made_is_made_again(embedded, srbct, tmp_path, monkeypatch):
    folder = tmp_path / "study"
    calls = []
    place = StudyFolder.place

    def dying(self, *arguments, **named):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return place(self, *arguments, **named)

    monkeypatch.setattr(StudyFolder, "place", dying)
    with pytest.raises(KeyboardInterrupt):
        prepare(embedded, folder).enrol(srbct.X)
    monkeypatch.setattr(StudyFolder, "place", place)
    with pytest.raises(FileNotFoundError, match="holds no study"):
        ActiveLearningStudy.open(folder)
    assert prepare(embedded, folder).enrol(srbct.X).status().step == "start"


def test_a_release_that_fails_half_way_is_taken_up(study, srbct, monkeypatch):
    study.submit(fill(study.next_batch(excel=False), srbct.y))
    publish = StudyFolder.publish

    def full(*arguments):
        raise OSError("No space left on device")

    monkeypatch.setattr(StudyFolder, "publish", full)
    with pytest.raises(OSError, match="No space"):
        study.release()
    assert len(study.ledger.receipts()) == 1
    with pytest.raises(StudyError, match="do not change"):
        study.submit(study.next_batch(excel=False).frame.assign(diagnosis="BL"))
    monkeypatch.setattr(StudyFolder, "publish", publish)
    for turn in (study, again(study)):
        turn.release()
        assert len(turn.ledger.receipts()) == 1
    assert study.status().step == "round 1"


def test_two_processes_do_not_step_on_each_other(study, srbct):
    other = again(study)
    study.submit(fill(study.next_batch(excel=False), srbct.y))
    one, two = study.release("start"), other.release("start")
    np.testing.assert_array_equal(one.predict_proba(srbct.X), two.predict_proba(srbct.X))
    sheets = [turn.next_batch(excel=False).frame["patient"].tolist() for turn in (other, study)]
    assert sheets[0] == sheets[1]
    other.submit(fill(study.next_batch(excel=False), srbct.y))
    other.release("round-1")
    study.release("round-1")
    assert len(study.ledger.receipts()) == 2
    assert len(study.learner.estimator.releases_) == 2


@pytest.mark.parametrize(
    ("plan", "accounts"),
    [
        ({"filter": "planned"}, ["start", "pool", "pool", "evaluation"]),
        ({"release": "published"}, ["start", "pool", "round-1", "pool", "round-2", "evaluation"]),
        ({"hold_start": True}, ["round-1", "round-2", "evaluation"]),
        ({"hold_start": True, "filter": "planned"}, ["round-1", "pool", "evaluation"]),
    ],
    ids=["planned", "published", "held", "held and planned"],
)
def test_every_kind_of_plan_is_carried_out(embedded, srbct, tmp_path, plan, accounts):
    planned = plan_study(PrivacyBudget(2.0, 1e-5), 6, 20, 3, 2, n_evaluation=11, n_components=16, **plan)
    study = finish(prepare(embedded, tmp_path / "study", planned).enrol(srbct.X), srbct.y)
    paid = [receipt.account.removeprefix("cohort/") for receipt in study.ledger.receipts()]
    assert paid == accounts
    certificate = json.loads((study.release_folder / "certificate.json").read_text(encoding="utf-8"))
    assert (certificate["status"], certificate["filter"]) == ("valid", planned.filter)
    noises = [release.noise_multiplier for release in study.learner.estimator.releases_]
    assert noises == pytest.approx([planned.noise_multiplier, *planned.round_noise][planned.hold_start :])
    expected = [release.expected_records for release in study.learner.estimator.releases_]
    assert expected == ([9, 3] if planned.hold_start else [6, 3, 3])
    if planned.release == "published":
        sheets = [study._folder.record(f"round-{number}").asked for number in (1, 2)]
        assert [len(asked) for asked in sheets] == [3, 3]


def test_plans_that_a_study_cannot_carry_out_are_refused(embedded, tmp_path):
    budget = PrivacyBudget(2.0, 1e-5)
    for other, release in [("retrain", "hidden"), ("chunks", "published")]:
        with pytest.raises(ValueError, match=f"without {other}"):
            prepare(embedded, tmp_path / "study", plan_study(budget, 6, 20, 3, 2, release, **{other: True}))
    frozen = plan_study(budget, 6, 20, 3, 2, filter="planned")
    for other in ({"filter": "gdp"}, {"tilt": 0.9}, {"acceptance": "threshold"}):
        with pytest.raises(ValueError, match="price of this plan"):
            prepare(embedded, tmp_path / "study", frozen, **other)


def test_patients_with_labels_start(embedded, srbct, tmp_path):
    known = srbct.X.index[:7]
    study = prepare(embedded, tmp_path / "study").enrol(srbct.X, labelled=known)
    sheet = study.next_batch(excel=False)
    assert set(sheet.frame["patient"]) < set(known)
    with pytest.raises(ValueError, match="labelled to be patients"):
        prepare(embedded, tmp_path / "other").enrol(srbct.X, labelled=["nobody"])
    with pytest.raises(ValueError, match="groups smaller"):
        prepare(embedded, tmp_path / "other").enrol(srbct.X, labelled=known[:2])
    assert not (tmp_path / "other").exists()


def test_columns_of_the_table_can_be_shown(embedded, srbct, tmp_path):
    table = srbct.X.assign(slide=SLIDES, note=np.nan)
    study = prepare(embedded, tmp_path / "study").enrol(table, worksheet_columns=["slide", "note"])
    frame = study.next_batch().frame
    assert list(frame.columns) == ["patient", "slide", "note", "diagnosis", "comment"]
    assert frame["slide"].tolist() == table.loc[frame["patient"], "slide"].tolist()
    assert set(frame["note"]) == {""}
    for wrong, words in [
        (["missing"], "worksheet_columns"),
        ("slide", "worksheet_columns"),
        (table[["slide"]][:3], "one row for each"),
        (table[["slide"]].set_axis(["Patient"], axis=1), "Rename"),
        (table[["slide", "note"]].set_axis(["a", "a"], axis=1), "Rename"),
    ]:
        with pytest.raises(ValueError, match=words):
            prepare(embedded, tmp_path / "other").enrol(table, worksheet_columns=wrong)


def test_numbers_can_be_classes(embedded, srbct, tmp_path):
    codes = pd.Series(pd.factorize(srbct.y, sort=True)[0], index=srbct.y.index)
    study = ActiveLearningStudy(tmp_path / "study", PLAN, embedded.encoder, classes=[0, 1, 2, 3]).enrol(srbct.X)
    sheet = study.next_batch()
    study.submit(sheet.frame.assign(diagnosis=codes[sheet.frame["patient"]].to_numpy().astype(float)))
    model = study.release()
    assert model.predict(srbct.X).dtype.kind == "i"
    with pytest.raises(ValueError, match="different names"):
        ActiveLearningStudy(tmp_path / "other", PLAN, embedded.encoder, classes=["1", NO_DIAGNOSIS])


def test_what_cannot_be_stored_or_was_not_begun_is_refused(embedded, srbct, tmp_path):
    encoder = type("Other", (), {"method": "neural"})()
    with pytest.raises(ValueError, match="whitened-pca"):
        ActiveLearningStudy(tmp_path / "study", PLAN, encoder, embedded.prior)
    fresh = prepare(embedded, tmp_path / "study")
    for verb in (fresh.next_batch, fresh.release, fresh.status, fresh.missing, lambda: fresh.ledger):
        with pytest.raises(StudyError, match="Nobody is enrolled"):
            verb()
    with pytest.raises(TypeError, match="oracle"):
        fresh.run(srbct.X)
    assert fresh.evaluation is None
    dear = dataclasses.replace(PLAN, noise_multiplier=1.0)
    with pytest.raises(BudgetExhausted):
        prepare(embedded, tmp_path / "dear", dear).enrol(srbct.X)
    assert not (tmp_path / "dear").exists()


def test_a_study_of_another_version_is_not_guessed_at(study):
    path = study.hospital_folder / "protocol.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, "schema": 0}), encoding="utf-8")
    with pytest.raises(ValueError, match="Update skdpal"):
        again(study)


def test_the_history_goes_on_after_a_torn_line(study, srbct):
    history = study.hospital_folder / "submissions.jsonl"
    history.write_text('{"step": "sta', encoding="utf-8")
    study.submit(fill(study.next_batch(excel=False), srbct.y))
    lines = history.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert json.loads(lines[1])["step"] == "start"


def test_what_a_dead_process_left_aside_is_cleared(study):
    left = study.hospital_folder / "scratch" / "left.npz"
    left.write_bytes(b"half")
    os.utime(left)
    study.next_batch(excel=False)
    assert not left.exists()
