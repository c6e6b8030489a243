"""What moves a study on, from its folder alone."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Self

from sklearn.pipeline import Pipeline

from skdpal.learner.model_file import load_model, save_model
from skdpal.learner.study.desk import Desk, now
from skdpal.learner.study.errors import StudyError, TooEarly
from skdpal.learner.study.folder import Record, StudyFolder, json_bytes
from skdpal.learner.study.loop import Loop
from skdpal.learner.study.roster import Roster
from skdpal.learner.study.setup import Setup
from skdpal.learner.study.steps import EVALUATION, Step, StudyStatus, today
from skdpal.model_selection import PrivateScore
from skdpal.privacy import PrivacyLedger
from skdpal.privacy.validation import check_one_of

__all__ = ["Engine"]


class Engine:
    """Opens steps and releases them, each exactly once, however often it is killed on the way.

    Whoever calls it holds the folder's lock.

    Parameters
    ----------
    folder : StudyFolder
    setup : Setup
    desk : Desk
    ledger : PrivacyLedger
    """

    def __init__(self, folder: StudyFolder, setup: Setup, desk: Desk, ledger: PrivacyLedger) -> None:
        self.folder, self.setup, self.desk, self.ledger = folder, setup, desk, ledger
        self._loop: Loop | None = None

    @classmethod
    def open(cls, folder: StudyFolder) -> Self:
        """Take up everything from the folder, and nothing from memory."""
        setup = Setup.load(folder)
        desk = Desk(folder, setup.protocol, Roster.load(folder.patients), setup.form)
        return cls(folder, setup, desk, PrivacyLedger.open(folder.ledger))

    @property
    def evaluation(self) -> PrivateScore | None:
        """The noisy accuracy; None until it is released."""
        record = self.folder.record(EVALUATION)
        return PrivateScore(**record.result) if record is not None and record.result else None

    def status(self) -> StudyStatus:
        """Where the study stands, in public."""
        step, budget = self.desk.current(), self.setup.protocol.plan.budget
        last = self.setup.protocol.steps[-1] if step is None else step
        if step is None:
            waiting = "nothing"
        elif self.desk.open_record() is None:
            waiting = "next_batch, which writes the worksheet"
        else:
            waiting = "the worksheet (submit), then the release"
        return StudyStatus(
            step="done" if step is None else step.name,
            number=last.number,
            total=last.total,
            waiting_for=waiting,
            release_date=None if step is None else step.release_date,
            expected_labels=last.expected_labels,
            epsilon_spent=self.ledger.spent(),
            epsilon=budget.epsilon,
            delta=budget.delta,
        )

    def loop(self) -> Loop:
        """The learner after all released steps, also those of other processes."""
        if self._loop is None:
            setup = self.setup
            self._loop = Loop(setup.protocol, self.desk.roster, setup.blank(), setup.reference, self.ledger)
        for step in self.setup.protocol.steps:
            record = self.folder.record(step.key)
            known = step.key in (EVALUATION, *self._loop.learned)
            if not known and record is not None and record.released:
                self._learn(self._loop, step, record)
        return self._loop

    def begin(self) -> tuple[Step, Record]:
        """Choose the patients of the current step; the same when asked again."""
        step = self.desk.current()
        if step is None:
            raise StudyError("The study is done: nobody is asked about any more. See release/.")
        record = self.desk.open_record()
        if record is None:
            record = Record(self.loop().choose(step, self.desk.asked_before(step)), now())
            self.folder.keep(step.key, record)
        self.desk.write_log()
        return step, record

    def begun(self, key: str | None) -> tuple[Step, Record]:
        """The step of a name, or the last one that was begun."""
        steps = {step.key: step for step in self.setup.protocol.steps}
        if key is not None:
            check_one_of("step", key, steps)
        records = {name: self.folder.record(name) for name in (steps if key is None else [key])}
        known = [name for name, record in records.items() if record is not None]
        if not known:
            raise StudyError(
                f"{key or 'The first step'} was not begun. Call next_batch() and submit its worksheet first."
            )
        return steps[known[-1]], records[known[-1]]

    def release(self, step: Step, record: Record, leave_out_missing: bool) -> None:
        """Charge, learn, publish, and only then call it released: after a crash each part is repeated, and paid once."""
        if step.release_date is not None and today().isoformat() < step.release_date:
            raise TooEarly(
                f"The release of {step.name} is planned for {step.release_date}, not before: another day would "
                "tell how long the pathologist was busy. Wait for that day."
            )
        before, given = self._paid(), record
        if not record.locked:
            record = replace(self.desk.complete(record, leave_out_missing), locked=True)
            self.folder.keep(step.key, record)
        try:
            loop = self.loop()
            if step.key == EVALUATION:
                labels = self.desk.labels(record, self.setup.classes)
                record = replace(record, result=asdict(loop.evaluate(labels, record.asked)))
                self.folder.keep(step.key, record)
            else:
                self._learn(loop, step, record)
            self._publish_models(step)
            self.publish()
        except BaseException:
            self._loop = None  # it may be half way
            if not given.locked and self._paid() == before:
                self.folder.keep(step.key, given)
            raise
        self.folder.keep(step.key, replace(record, released=True))

    def model(self, step: Step) -> Pipeline:
        """What was released; written again if somebody moved it away."""
        path = self.folder.models / f"{'final' if step.key == EVALUATION else step.key}.npz"
        if not path.exists():
            self._publish_models(self.desk.last_released())
        return load_model(path)

    def publish(self) -> None:
        """Write protocol and certificate, from public parameters and released numbers."""
        protocol, evaluation = self.setup.protocol, self.evaluation
        plan = protocol.plan
        public = {name: value for name, value in protocol.to_json().items() if name != "readers"}  # people's names
        content = {
            **public,
            "plan": {**public["plan"], "epsilon": plan.epsilon, "expected_labels": plan.expected_labels},
            "n_components": self.setup.encoder.n_components,
            "classes": self.setup.public[-1].classes_.tolist(),
            "evaluation": None if evaluation is None else asdict(evaluation),
        }
        for name, entry in (("study.json", content), ("certificate.json", self.ledger.certificate())):
            self.folder.publish(
                self.folder.release / name, lambda path, entry=entry: path.write_bytes(json_bytes(entry))
            )

    # -- inside ------------------------------------------------------------------------------

    def _learn(self, loop: Loop, step: Step, record: Record) -> None:
        loop.learn(step, self.desk.labels(record, self.setup.classes))

    def _publish_models(self, last: Step) -> None:
        """Write every model up to a step that is not there; after the last step also ``final.npz``."""
        releases = self.loop().learner.estimator.releases_
        names = {step.key: step.number for step in self.setup.protocol.steps[: last.number] if step.key != EVALUATION}
        if last.number == last.total:
            names["final"] = len(releases)
        for name, number in names.items():
            path, model = self.folder.models / f"{name}.npz", self.setup.blank().restore(releases[:number])
            if not path.exists():
                self.folder.publish(path, lambda aside, model=model: save_model(aside, self.setup.encoder, model))

    def _paid(self) -> tuple[int, list[str]]:
        return len(self.ledger.receipts()), self.ledger.accounts()
