"""The hospital's desk: worksheets go out, labels come in. Nothing here is seen outside."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pandas as pd

from skdpal.learner.study.errors import StudyError, WorksheetError
from skdpal.learner.study.folder import Record, StudyFolder
from skdpal.learner.study.protocol import Protocol
from skdpal.learner.study.roster import Roster
from skdpal.learner.study.steps import EVALUATION, START, Step
from skdpal.learner.study.submission import Answers, Form
from skdpal.learner.study.worksheet import DIAGNOSIS, NO_DIAGNOSIS, PATIENT, Worksheet, csv_bytes, save_excel

__all__ = ["Desk", "now"]


class Desk:
    """Worksheets and answers of one study.

    Parameters
    ----------
    folder : StudyFolder
    protocol : Protocol
    roster : Roster
    form : Form
    """

    def __init__(self, folder: StudyFolder, protocol: Protocol, roster: Roster, form: Form) -> None:
        self.folder, self.protocol, self.roster, self.form = folder, protocol, roster, form

    @property
    def rounds(self) -> list[Step]:
        """The steps that ask patients of the pool."""
        return [step for step in self.protocol.steps if step.key not in (START, EVALUATION)]

    def current(self) -> Step | None:
        """The first step that is not released; None after the last."""
        for step in self.protocol.steps:
            record = self.folder.record(step.key)
            if record is None or not record.released:
                return step
        return None

    def open_record(self) -> Record | None:
        """What is known about the current step; None if it was not begun, or all are done."""
        step = self.current()
        return None if step is None else self.folder.record(step.key)

    def last_released(self) -> Step:
        """The last step of which everything is in ``release/``."""
        step = self.current()
        steps = self.protocol.steps
        return steps[-1] if step is None else steps[step.number - 2]

    def asked_before(self, step: Step) -> set[str]:
        """Patients of the pool who were asked about in the rounds before a step."""
        records = [self.folder.record(earlier.key) for earlier in self.rounds if earlier.number < step.number]
        return {patient for record in records if record is not None for patient in record.asked}

    # -- out ---------------------------------------------------------------------------------

    def hand_out(self, step: Step, record: Record, excel: bool) -> Worksheet:
        """The worksheet of a step. A file that lies there may be half filled in: it stays."""
        frame = self._frame(record)
        csv, book = (self.folder.worksheets / f"{step.key}{suffix}" for suffix in (".csv", ".xlsx"))
        if not csv.exists():
            self.folder.write(csv, csv_bytes(frame))
        if excel and not book.exists():
            self.folder.place(book, lambda path: save_excel(path, frame, self.form.words, self.form.choices))
        return Worksheet(step.name, csv, book if book.exists() else None, frame)

    def write_log(self) -> None:
        """Who was accepted in each round: ``query_log.jsonl``."""
        lines, start = [], set(self.roster.groups.start)
        for number, step in enumerate(self.rounds, start=1):
            record = self.folder.record(step.key)
            if record is not None:
                entry = {"round": number, "time": record.opened, "utility": self.protocol.utility}
                accepted = [patient for patient in record.asked if patient not in start]
                lines.append(json.dumps({**entry, "accepted": accepted}, ensure_ascii=False) + "\n")
        path, content = self.folder.hospital / "query_log.jsonl", "".join(lines).encode()
        if lines and not (path.exists() and path.read_bytes() == content):
            self.folder.write(path, content)

    # -- in ----------------------------------------------------------------------------------

    def receive(self, table: pd.DataFrame, partial: bool) -> None:
        """Check and store what was handed in."""
        step, record = self._addressed(table)
        answers, problems = self.form.answers(table, record.asked)
        merged = {patient: {**record.answers.get(patient, {}), **answers.get(patient, {})} for patient in record.asked}
        if record.locked:
            if problems or merged != {patient: record.answers.get(patient, {}) for patient in record.asked}:
                raise StudyError(
                    f"The labels of {step.name} were released and do not change any more: its patients paid once. "
                    "Submit the worksheet of the current step; see status()."
                )
            warnings.warn(f"This is the worksheet of {step.name}, which is released: nothing to store.", stacklevel=3)
            return
        if not partial and not problems:
            rows = dict(zip(self.form.patients(table), table.index, strict=True))
            problems = self._unfinished(record.asked, merged, rows)
        if problems:
            raise WorksheetError(
                problems, "Correct these rows and submit again; partial=True stores unfinished sheets."
            )
        self.folder.append_submission({"step": step.key, "time": now(), "answers": answers})
        self.folder.keep(step.key, replace(record, answers=merged))

    def missing(self, record: Record) -> list[str]:
        """Patients without a label."""
        return [patient for patient in record.asked if self._label(record.answers, patient) is None]

    def complete(self, record: Record, leave_out_missing: bool) -> Record:
        """The record with a word for every patient, or `WorksheetError`."""
        left = self.missing(record)
        if left and not leave_out_missing:
            raise WorksheetError(
                self._unfinished(record.asked, record.answers, None),
                f"Submit their labels, or {NO_DIAGNOSIS!r} where there can be none; then release.",
                "Nothing was released",
            )
        marked = {patient: {**record.answers.get(patient, {}), DIAGNOSIS: NO_DIAGNOSIS} for patient in left}
        return replace(record, answers={**record.answers, **marked})

    def labels(self, record: Record, classes: dict[str, Any]) -> dict[str, Any]:
        """The class of every patient who has one, in the order of the worksheet."""
        words = {patient: self._label(record.answers, patient) for patient in record.asked}
        return {patient: classes[word] for patient, word in words.items() if word in classes}

    # -- inside ------------------------------------------------------------------------------

    def _frame(self, record: Record) -> pd.DataFrame:
        """The table that is handed out, with what was handed in so far."""
        table = self.roster.display.loc[record.asked].reset_index(drop=True)
        table.insert(0, PATIENT, pd.Series(record.asked, dtype=object))
        for name in self.form.columns:
            filled = [record.answers.get(patient, {}).get(name, "") for patient in record.asked]
            table[name] = pd.Series(filled, dtype=object)
        return table

    def _addressed(self, table: pd.DataFrame) -> tuple[Step, Record]:
        """The step whose worksheet a table is."""
        patients = {patient for patient in self.form.patients(table) if patient}
        step, record = self.current(), self.open_record()
        if record is not None and (not patients or patients & set(record.asked)):
            return step, record
        for earlier in self.protocol.steps:
            old = self.folder.record(earlier.key)
            if old is not None and old.locked and patients and patients <= set(old.asked):
                return earlier, old
        if record is None:
            todo = "The study is done." if step is None else f"Call next_batch() first: {step.name} was not begun."
            raise StudyError(f"No worksheet is waited for. {todo}")
        return step, record

    def _unfinished(self, asked: list[str], answers: Answers, rows: dict[str, Any] | None) -> list[str]:
        """Why patients have no label yet; by row of the submitted table, else of the worksheet."""
        problems = []
        for at, patient in enumerate(asked, start=2):
            label, why = self.form.agreed(answers.get(patient, {}))
            if label is None:
                absent = rows is not None and patient not in rows
                where = f"row {at} of the worksheet" if absent or rows is None else f"row {rows[patient]}"
                problems.append(f"{where}: {'it was not handed in' if absent else why}")
        return problems

    def _label(self, answers: Answers, patient: str) -> str | None:
        return self.form.agreed(answers.get(patient, {}))[0]


def now() -> str:
    """The time, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
