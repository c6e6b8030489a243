"""A worksheet survives spreadsheets, and comes back only if every row makes sense."""

import numpy as np
import pandas as pd
import pytest
from openpyxl import load_workbook

from skdpal.learner.study import NO_DIAGNOSIS, WorksheetError
from skdpal.learner.study.submission import Form, read_table, text_of
from skdpal.learner.study.worksheet import csv_bytes, save_excel

IDS = ["00123", "123", "=1+1", "+49", "-5", "@cmd", "'quoted", "1-2", "Müller;7", "1e5", "TRUE", '=HYPERLINK("x")']
FORM = Form(("EWS", "BL", "RMS, alveolar"))
TWO = Form(("EWS", "BL"), ("Anna", "Ben"))


def frame_of(ids=IDS, form=FORM, **filled):
    columns = dict.fromkeys(form.columns, "")
    return pd.DataFrame(
        {"patient": ids, "slide": [f"-{at}" for at in range(len(ids))], **columns, **filled}, dtype=object
    )


def test_every_id_survives_excel(tmp_path):
    save_excel(tmp_path / "a.xlsx", frame_of(), FORM.words, FORM.choices)
    assert read_table(tmp_path / "a.xlsx")["patient"].tolist() == IDS


@pytest.mark.parametrize("suffix", [".csv", ".txt"])
def test_every_id_survives_csv(tmp_path, suffix):
    (tmp_path / f"a{suffix}").write_bytes(csv_bytes(frame_of()))
    table = read_table(tmp_path / f"a{suffix}")
    assert table["patient"].tolist() == IDS
    assert table["slide"].tolist() == [f"-{at}" for at in range(len(IDS))]


def test_no_cell_can_run(tmp_path):
    frame = frame_of(comment="=cmd|' /C calc'!A0")
    save_excel(tmp_path / "a.xlsx", frame, FORM.words, FORM.choices)
    book = load_workbook(tmp_path / "a.xlsx")
    kinds = {cell.data_type for sheet in book for row in sheet.iter_rows() for cell in row}
    assert kinds <= {"s", "n"}  # "n" is an empty cell
    assert not [cell for row in book["worksheet"].iter_rows() for cell in row if cell.data_type == "n" and cell.value]
    assert all(cell.number_format == "@" and cell.quotePrefix for cell in book["worksheet"]["A"])
    lines = csv_bytes(frame).decode("utf-8-sig").splitlines()[1:]
    cells = [cell.strip('"') for line in lines for cell in line.split(",")]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


def test_the_same_checks_catch_a_cell_that_runs(tmp_path):
    from openpyxl import Workbook

    book = Workbook()
    book.active["A1"] = "=1+1"
    book.save(tmp_path / "a.xlsx")
    assert load_workbook(tmp_path / "a.xlsx").active["A1"].data_type == "f"


def test_excel_offers_the_classes(tmp_path):
    save_excel(tmp_path / "a.xlsx", frame_of(IDS[:3]), FORM.words, FORM.choices)
    book = load_workbook(tmp_path / "a.xlsx")
    (allowed,) = book["worksheet"].data_validations.dataValidation
    assert (allowed.type, str(allowed.sqref), allowed.formula1) == ("list", "C2:C4", "classes!$A$1:$A$4")
    assert [row[0].value for row in book["classes"].iter_rows()] == [*FORM.classes, NO_DIAGNOSIS]


def test_an_empty_worksheet_can_be_written_and_read(tmp_path):
    save_excel(tmp_path / "a.xlsx", frame_of([]), FORM.words, FORM.choices)
    (tmp_path / "a.csv").write_bytes(csv_bytes(frame_of([])))
    for name in ("a.xlsx", "a.csv"):
        table = read_table(tmp_path / name)
        assert len(table) == 0
        assert FORM.answers(table, []) == ({}, [])


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("patient;Diagnosis\n00123;EWS\n", "utf-8"),
        ("patient\tdiagnosis\n00123\tEWS\n", "utf-8-sig"),
        ("Patient,slide,DIAGNOSIS\r\n00123,M\xfcller,EWS\r\n\r\n,,\r\n", "cp1252"),
        ("patient,diagnosis\n 00123 , EWS \n", "utf-8"),
    ],
)
def test_files_of_many_spreadsheets_are_read(tmp_path, content, encoding):
    (tmp_path / "a.csv").write_bytes(content.encode(encoding))
    answers, problems = FORM.answers(read_table(tmp_path / "a.csv"), ["00123"])
    assert (answers, problems) == ({"00123": {"diagnosis": "EWS"}}, [])


@pytest.mark.parametrize(
    "table",
    [
        pd.Series(["EWS", "BL"], index=["7", "8"]),
        pd.Series([np.nan, "BL"], index=[7, 8]),
        pd.DataFrame({"diagnosis": ["EWS", "BL"]}, index=pd.Index([7.0, 8.0], name="patient")),
        pd.DataFrame({"diagnosis": ["EWS", "BL"], "patient": [7, 8]}),
    ],
    ids=["series", "gap", "index", "columns"],
)
def test_tables_are_read(table):
    answers, problems = FORM.answers(read_table(table), ["7", "8"])
    assert problems == []
    assert answers["8"] == {"diagnosis": "BL"}


def test_numbers_are_the_same_word_in_any_type():
    assert [text_of(cell) for cell in (1, 1.0, np.float64(1), "1", np.int64(1))] == ["1"] * 5
    assert [text_of(cell) for cell in (None, np.nan, pd.NA, "", " ")] == [""] * 5


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("7", "EWSS")], r"row 2, diagnosis: 'EWSS' is none of EWS, BL"),
        ([("7", "EWS"), ("7", "BL")], "row 3: the same patient as in row 2"),
        ([("7", "EWS"), ("9", "BL")], "row 3: this patient was not asked about"),
        ([("", "EWS")], "row 2: no patient"),
        ([("123", "EWS")], "leading zeros"),
    ],
)
def test_what_makes_no_sense_is_named_by_row(tmp_path, rows, words):
    lines = ["patient,diagnosis", *(",".join(row) for row in rows)]
    (tmp_path / "a.csv").write_text("\n".join(lines), encoding="utf-8")
    _, problems = FORM.answers(read_table(tmp_path / "a.csv"), ["7", "00123"])
    assert len(problems) == 1
    assert words in problems[0]


def test_all_problems_are_told_at_once():
    table = read_table(pd.DataFrame({"patient": ["1", "1", "2"], "diagnosis": ["x", "EWS", "EWS"]}))
    _, problems = FORM.answers(table, ["1"])
    assert len(problems) == 3
    assert "row 2" in str(WorksheetError(problems, "Correct them."))
    assert "..." in str(WorksheetError(problems * 10, "Correct them."))


@pytest.mark.parametrize("columns", [["name", "diagnosis"], ["patient", "result"], []])
def test_a_sheet_without_our_columns_is_not_ours(columns):
    with pytest.raises(WorksheetError, match="no column"):
        FORM.answers(read_table(pd.DataFrame([["a"] * len(columns)], columns=columns)), ["a"])


@pytest.mark.parametrize("name", ["a.ods", "a"])
def test_other_files_are_refused(tmp_path, name):
    (tmp_path / name).write_text("x", encoding="utf-8")
    with pytest.raises(ValueError, match=r"\.csv, \.tsv or \.xlsx"):
        read_table(tmp_path / name)
    with pytest.raises(TypeError, match="path, a DataFrame or a Series"):
        read_table(3)
    (tmp_path / "b.xlsx").write_text("x", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be read"):
        read_table(tmp_path / "b.xlsx")
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "c.xlsx")


@pytest.mark.parametrize(
    ("answer", "label", "why"),
    [
        ({"Anna": "EWS", "Ben": "EWS"}, "EWS", ""),
        ({"Anna": "EWS", "Ben": "BL"}, None, "differ"),
        ({"Anna": "EWS", "Ben": "BL", "diagnosis": "BL"}, "BL", ""),
        ({"Anna": "EWS", "Ben": "BL", "diagnosis": NO_DIAGNOSIS}, NO_DIAGNOSIS, ""),
        ({"Anna": "EWS", "Ben": "EWS", "diagnosis": "BL"}, None, "agree on another"),
        ({"Anna": "EWS"}, None, "reader's diagnosis is missing"),
        ({"Anna": "EWS", "diagnosis": "EWS"}, "EWS", ""),
        ({}, None, "no diagnosis yet"),
    ],
)
def test_readers_agree_or_somebody_decides(answer, label, why):
    found, reason = TWO.agreed(answer)
    assert found == label
    assert why in reason
