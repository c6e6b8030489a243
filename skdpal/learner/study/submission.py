"""What comes back from the pathologist: read, checked row by row, agreed upon.

Each patient's label follows from that patient's own row, so a submission adds nothing to what a release costs.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import pandas as pd

from skdpal.learner.study.errors import WorksheetError
from skdpal.learner.study.worksheet import COMMENT, DIAGNOSIS, NO_DIAGNOSIS, PATIENT, plain

__all__ = ["Answers", "Form", "read_table", "text_of"]

Answers = dict[str, dict[str, str]]  # of each patient, by column

_EXCEL = {".xlsx", ".xlsm"}
_TEXT = {".csv", ".tsv", ".txt"}


@dataclass(frozen=True)
class Form:
    """What may stand in a worksheet.

    Attributes
    ----------
    classes : tuple of str
        Words for the classes, in the order of the model's.
    readers : tuple of str
        Columns of readers who judge by themselves.
    """

    classes: tuple[str, ...]
    readers: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """What a cell of a diagnosis may hold."""
        return (*self.classes, NO_DIAGNOSIS)

    @property
    def choices(self) -> tuple[str, ...]:
        """Columns for a word of the list."""
        return (*self.readers, DIAGNOSIS)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns to be filled in."""
        return (*self.choices, COMMENT)

    def answers(self, table: pd.DataFrame, asked: Sequence[str]) -> tuple[Answers, list[str]]:
        """The filled cells of a submitted table by patient, and what is wrong with them.

        Parameters
        ----------
        table : DataFrame
            From `read_table`; its index numbers the rows as their author sees them.
        asked : sequence of str
            The patients of the step.
        """
        table, problems = self._named(table), []
        answers: Answers = {}
        seen: dict[str, Any] = {}
        for row, cells in zip(table.index, table.to_dict("records"), strict=True):
            if not any(cells.values()):
                continue
            patient = cells[PATIENT]
            if patient in seen:
                problems.append(f"row {row}: the same patient as in row {seen[patient]}")
            elif patient not in asked:
                problems.append(f"row {row}: {_stranger(patient, asked)}")
            seen.setdefault(patient, row)
            filled = {name: cells[name] for name in self.columns if cells.get(name)}
            for name in self.choices:
                if filled.get(name, NO_DIAGNOSIS) not in self.words:
                    problems.append(f"row {row}, {name}: {filled[name]!r} is none of {', '.join(self.words)}")
            answers[patient] = filled
        return answers, problems

    def patients(self, table: pd.DataFrame) -> list[str]:
        """Whose row is whose, as written in a table."""
        return self._named(table)[PATIENT].tolist()

    def agreed(self, answer: dict[str, str]) -> tuple[str | None, str]:
        """The label of one patient, or None and why there is none yet."""
        final = answer.get(DIAGNOSIS)
        read = [answer.get(name) for name in self.readers]
        common = read[0] if read and None not in read and len(set(read)) == 1 else None
        if final and common and final != common:
            return None, "the readers agree on another diagnosis than that of the row"
        if final or common:
            return final or common, ""
        if read and None not in read:
            return None, f"the readers differ: discuss, and fill in {DIAGNOSIS}"
        return None, f"no {DIAGNOSIS} yet" if not any(read) else "a reader's diagnosis is missing"

    def _named(self, table: pd.DataFrame) -> pd.DataFrame:
        """The table with our columns only, whatever their case."""
        found = {str(name).strip().casefold(): name for name in table.columns}
        wanted = [name for name in (PATIENT, *self.columns) if name.casefold() in found]
        missing = [PATIENT] if PATIENT not in wanted else []
        if not set(self.choices) & set(wanted):
            missing.append(DIAGNOSIS)
        if missing:
            raise WorksheetError(
                [f"it has no column {name!r}" for name in missing], "Hand in the worksheet that was handed out."
            )
        own = table[[found[name.casefold()] for name in wanted]]
        return own.set_axis(wanted, axis=1)


def read_table(source: Any) -> pd.DataFrame:
    """A submitted worksheet as texts.

    Parameters
    ----------
    source : path, DataFrame or Series
        A CSV file (separated by commas, semicolons or tabs), an Excel file, a table, or labels with the patients as index.

    Returns
    -------
    DataFrame
        Of stripped texts; its index has the row numbers of the file, or of the table from 0.
    """
    if isinstance(source, pd.Series):
        source = pd.DataFrame({PATIENT: source.index, DIAGNOSIS: source.to_numpy()})
    if isinstance(source, pd.DataFrame):
        if source.index.name == PATIENT and PATIENT not in source:
            source = source.reset_index()
        rows = [[text_of(cell) for cell in row] for row in source.itertuples(index=False, name=None)]
        return pd.DataFrame(rows, columns=[str(name) for name in source.columns], dtype=object)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(
            f"Expected a worksheet as a path, a DataFrame or a Series. Found {type(source).__name__}. Pass the file's path."
        )
    path = Path(source)
    if path.suffix.lower() in _EXCEL:
        rows = _excel_rows(path)
    elif path.suffix.lower() in _TEXT:
        rows = [[plain(cell) for cell in row] for row in _csv_rows(path)]
    else:
        raise ValueError(
            f"Expected a worksheet ending in .csv, .tsv or .xlsx. Found {path.name}. Save it as one of these."
        )
    rows = [[cell.strip() for cell in row] for row in rows]
    header, body = (rows[0], rows[1:]) if rows else ([], [])
    body = [(row + [""] * len(header))[: len(header)] for row in body]
    return pd.DataFrame(body, columns=header, index=range(2, len(body) + 2), dtype=object)


def text_of(cell: Any) -> str:
    """A cell as text: 3.0 is "3", as spreadsheets show it; nothing is ""."""
    if cell is None or (pd.api.types.is_scalar(cell) and pd.isna(cell)):
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


def _excel_rows(path: Path) -> list[list[str]]:
    from openpyxl import load_workbook

    try:
        book = load_workbook(path, read_only=True, data_only=True)
    except (KeyError, ValueError, BadZipFile):
        raise ValueError(
            f"Expected {path.name} to be an Excel file. It cannot be read. Save it again as .xlsx."
        ) from None
    try:
        return [[text_of(cell) for cell in row] for row in book.worksheets[0].iter_rows(values_only=True)]
    finally:
        book.close()


def _csv_rows(path: Path) -> list[list[str]]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")  # as spreadsheets save on some systems
    header = text.split("\n", 1)[0]
    separator = max(",;\t", key=header.count)
    return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))


def _stranger(patient: str, asked: Iterable[str]) -> str:
    if not patient:
        return "no patient"
    if any(_shortened(patient) == _shortened(other) for other in asked):
        return "the spreadsheet changed the patient's id (leading zeros, or a date): use the Excel worksheet, or type it again"
    return "this patient was not asked about"


def _shortened(patient: str) -> str:
    return patient.lstrip("0'").casefold()
