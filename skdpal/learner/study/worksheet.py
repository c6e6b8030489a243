"""The sheet that the pathologist fills in: CSV and Excel, every cell a text."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

__all__ = ["COMMENT", "DIAGNOSIS", "NO_DIAGNOSIS", "PATIENT", "Worksheet", "csv_bytes", "plain", "save_excel"]

PATIENT, DIAGNOSIS, COMMENT = "patient", "diagnosis", "comment"
NO_DIAGNOSIS = "no diagnosis"  # for a case that cannot be diagnosed; an empty cell is one not looked at yet
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'")  # what a spreadsheet may run, and the mark that prevents it
_CLASSES = "classes"


@dataclass(frozen=True)
class Worksheet:
    """A step's worksheet. It names patients: it stays in the hospital.

    Attributes
    ----------
    step : str
        Whose it is.
    csv, excel : Path or None
        The files, in ``hospital-only/worksheets/``.
    frame : DataFrame
        The same as a table, with what was handed in so far.
    """

    step: str
    csv: Path
    excel: Path | None
    frame: pd.DataFrame = field(repr=False)


def csv_bytes(frame: pd.DataFrame) -> bytes:
    """A table as CSV. A cell that a spreadsheet could take for a formula gets a leading apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(frame.columns)
    writer.writerows([_guarded(cell) for cell in row] for row in frame.itertuples(index=False))
    return text.getvalue().encode("utf-8-sig")  # Excel finds the encoding by its mark


def plain(cell: str) -> str:
    """A cell of a CSV file without the apostrophe that `csv_bytes` gave it."""
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA) else cell


def save_excel(path: Path, frame: pd.DataFrame, words: Sequence[str], choices: Sequence[str]) -> None:
    """Write a table as an Excel file in which no cell is a formula and no text a number.

    Parameters
    ----------
    path : Path
        Ends in .xlsx.
    frame : DataFrame
        Of texts.
    words : sequence of str
        What may be filled in.
    choices : sequence of str
        Columns that take these words, by a list to choose from.
    """
    from openpyxl import Workbook
    from openpyxl.styles import Font
    from openpyxl.utils import get_column_letter
    from openpyxl.worksheet.datavalidation import DataValidation

    book = Workbook()
    sheet = book.active
    sheet.title = "worksheet"
    for number, row in enumerate([list(frame.columns), *frame.itertuples(index=False, name=None)], start=1):
        for column, content in enumerate(row, start=1):
            cell = sheet.cell(number, column)
            if content:
                cell.value = content
                cell.data_type = "s"  # also if it begins like a formula
            cell.number_format, cell.quotePrefix = "@", True
    for cell in sheet[1]:
        cell.font = Font(bold=True)
    listed = book.create_sheet(_CLASSES)
    for number, word in enumerate(words, start=1):
        listed.cell(number, 1).value = word
        listed.cell(number, 1).data_type = "s"
    allowed = DataValidation(type="list", formula1=f"{_CLASSES}!$A$1:$A${len(words)}", allow_blank=True)
    allowed.error, allowed.errorTitle, allowed.showErrorMessage = "Choose a word of the list.", "Unknown word", True
    sheet.add_data_validation(allowed)
    for column, name in enumerate(frame.columns, start=1):
        letter = get_column_letter(column)
        sheet.column_dimensions[letter].width = max(12, min(40, 2 + max(map(len, [name, *frame[name]]))))
        if name in choices:
            allowed.add(f"{letter}2:{letter}{max(2, len(frame) + 1)}")
    sheet.freeze_panes = "A2"
    book.save(path)


def _guarded(cell: str) -> str:
    return f"'{cell}" if cell.startswith(_FORMULA) else cell
