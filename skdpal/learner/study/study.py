"""A whole study, in a folder with a wall through it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import pandas as pd
from sklearn.pipeline import Pipeline

from skdpal.estimators import PublicEncoder, PublicPrior
from skdpal.learner.active_learner import PrivateActiveLearner
from skdpal.learner.panel import study_panel
from skdpal.learner.plan import StudyPlan
from skdpal.learner.study.engine import Engine
from skdpal.learner.study.errors import StudyError
from skdpal.learner.study.folder import StudyFolder
from skdpal.learner.study.protocol import Protocol
from skdpal.learner.study.roster import shown
from skdpal.learner.study.setup import Setup, readers_of
from skdpal.learner.study.steps import Step, StudyStatus, dates_of
from skdpal.learner.study.submission import read_table
from skdpal.learner.study.worksheet import DIAGNOSIS, PATIENT, Worksheet
from skdpal.model_selection import PrivateScore
from skdpal.privacy import PrivacyLedger
from skdpal.privacy.identities import identify
from skdpal.privacy.validation import check_count, check_one_of
from skdpal.query import PrivateQuery

__all__ = ["ActiveLearningStudy"]

Oracle = Callable[[pd.DataFrame], Sequence[Any]]


class ActiveLearningStudy:
    """Run a planned study from the first label to the certificate, over weeks.

    A step is three verbs: `next_batch` writes a worksheet, `submit` takes it back, `release` publishes the model.
    Everything is on disk between them: `open` goes on where any process stopped, or was killed.

    Parameters
    ----------
    folder : path
        Made new by `enrol`. ``release/`` may leave the hospital: certificate, protocol, released models.
        ``hospital-only/`` (mode 0700) may not: ledger, vault, patients, worksheets, labels, query log.
    plan : StudyPlan
        From `plan_study`; decides groups, noise and rounds.
    encoder : PublicEncoder
        Fitted on public data, of method "whitened-pca".
    prior : PublicPrior, optional
        From `DPPrototypeClassifier.prior_from_public`, in the embedding.
    classes : sequence, optional
        All labels that may occur. Default: those of `prior`.
    reference : array-like, optional
        Public rows, embedded out of sample; see `PrivateQuery`.
    utility : str, default="margin"
        A key of `UTILITIES`.
    acceptance : {"probability", "threshold"}, default="probability"
        Of hidden rounds, as in `PrivateQuery`.
    tilt : float, optional
        As in `PrivateQuery`. Default: that of the plan.
    group_seed : int, default=0
        Public randomness of the groups.
    filter : {"gdp", "planned"}, optional
        Kind of ledger: "planned" freezes the plan, and refuses everything else. Default: that of the plan.
    readers : sequence of str, default=()
        Names of pathologists who judge each case by themselves: a column each. Where they agree, that is the
        label; where they differ, the column "diagnosis" decides.
    release_dates : sequence of date or str, optional
        Planned day of the release of each step, in order. Before it `release` refuses.
    release_every : int, optional
        Instead: days between releases, from today.

    Notes
    -----
    Charged: one release by the starting cohort and by each round's, one noisy accuracy by the evaluation
    patients; each patient is in one of these groups, so the study costs the plan's ε once. A step that was paid for is
    never charged again: not by running a cell twice, nor after a crash.

    Without `release_dates` the day of a release, which receipts show, is chosen by people who know how many
    labels were asked for. Plan the dates, and leave the pathologist time for twice the expected number.

    Examples
    --------
    >>> import tempfile, skdpal
    >>> data = skdpal.datasets.load_srbct(as_frame=True)
    >>> X, y, lines = data.data, data.target, data.is_cell_line
    >>> plan = skdpal.plan_study(skdpal.PrivacyBudget(2.0), n_labelled=6, n_pool=20, labels_per_round=3, rounds=1)
    >>> encoder = skdpal.PublicEncoder(n_components=16).fit(X[lines], y[lines])
    >>> prior = skdpal.DPPrototypeClassifier.prior_from_public(encoder.transform(X[lines]), y[lines])
    >>> folder = tempfile.TemporaryDirectory()
    >>> study = skdpal.ActiveLearningStudy(f"{folder.name}/study", plan, encoder, prior).enrol(X[~lines])
    >>> sheet = study.next_batch()                                     # to the pathologist
    >>> study = skdpal.ActiveLearningStudy.open(f"{folder.name}/study")  # a week later
    >>> study.submit(sheet.frame.assign(diagnosis=y[sheet.frame["patient"]].to_numpy()))
    >>> model = study.release("start")
    >>> study.status().step, len(study.ledger.receipts())
    ('round 1', 1)
    >>> folder.cleanup()
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        plan: StudyPlan,
        encoder: PublicEncoder,
        prior: PublicPrior | None = None,
        *,
        classes: Any = None,
        reference: Any = None,
        utility: str = "margin",
        acceptance: str = "probability",
        tilt: float | None = None,
        group_seed: int = 0,
        filter: str | None = None,
        readers: Sequence[str] = (),
        release_dates: Any = None,
        release_every: int | None = None,
    ) -> None:
        if prior is None and classes is None:
            raise ValueError(
                "Expected classes, or a prior that has them. Pass classes=[...] with every possible label."
            )
        if encoder.method != "whitened-pca":
            raise ValueError(
                f'Expected an encoder of method="whitened-pca". Found {encoder.method!r}. '
                "A study keeps plain arrays only, so that opening it executes nothing."
            )
        tilt = plan.tilt if tilt is None else tilt
        query = PrivateQuery(utility, "hidden", reference, plan.n_pool, acceptance=acceptance, tilt=tilt)  # checks
        protocol = Protocol(
            plan,
            utility,
            query.acceptance,
            query.tilt,
            check_count("group_seed", group_seed),
            check_one_of("filter", plan.filter if filter is None else filter, ["gdp", "planned"]),
            readers_of(readers),
            dates_of(plan, release_dates, release_every),
        )
        self._setup = Setup.of(protocol, encoder, prior, classes, reference)
        self._engine: Engine | None = None
        self._folder = StudyFolder(folder)
        self._folder.require_free()

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Self:
        """Go on with a study, from its folder alone.

        Parameters
        ----------
        folder : path
            Of a study that was enrolled; wherever the folder is now.

        Raises
        ------
        FileNotFoundError
            If there is none, or its ledger is missing: a lost ledger is never a fresh budget.
        """
        self = cls.__new__(cls)
        self._folder = StudyFolder(folder)
        self._folder.require_study()
        self._engine = Engine.open(self._folder)
        self._setup = self._engine.setup
        return self

    # -- where it is -------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """Both halves."""
        return self._folder.path

    @property
    def release_folder(self) -> Path:
        """What may leave the hospital."""
        return self._folder.release

    @property
    def hospital_folder(self) -> Path:
        """What may not."""
        return self._folder.hospital

    @property
    def plan(self) -> StudyPlan:
        """The plan."""
        return self._setup.protocol.plan

    @property
    def ledger(self) -> PrivacyLedger:
        """Of the enrolled study."""
        return self._running.ledger

    @property
    def learner(self) -> PrivateActiveLearner:
        """The learner, with all that was released."""
        with self._folder.locked():
            return self._running.loop().learner

    @property
    def evaluation(self) -> PrivateScore | None:
        """The noisy accuracy; None until it is released."""
        return None if self._engine is None else self._engine.evaluation

    def status(self) -> StudyStatus:
        """Where the study stands, in words and numbers that may be told outside."""
        return self._running.status()

    # -- verbs -------------------------------------------------------------------------------

    def enrol(self, X: Any, *, record_ids: Any = None, worksheet_columns: Any = None, labelled: Any = None) -> Self:
        """Take in the patients, draw the groups, and make the folder.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_patients, n_columns)
            One row a patient, with the columns of the encoder. It is embedded; the embedding is kept in ``hospital-only/``.
        record_ids : sequence, optional
            The patients. Default: the index of X.
        worksheet_columns : DataFrame or sequence of str, optional
            What the pathologist sees of each patient, such as slide and block: a table with the rows of X, or names of
            columns of X. Kept in ``hospital-only/``.
        labelled : sequence, optional
            Ids of patients who have a label already, as a fact of the roster: the start is drawn from them alone.

        Raises
        ------
        BudgetExhausted
            If the plan is dearer than its budget; nothing is made.
        """
        self._folder.require_free()
        X, display = shown(X, worksheet_columns, (PATIENT, *self._setup.form.columns))
        self._setup.make(self._folder, X, identify(X, record_ids), display, labelled)
        self._engine = Engine.open(self._folder)
        self._engine.publish()
        return self

    def next_batch(self, *, excel: bool = True) -> Worksheet:
        """Write the worksheet of the current step.

        Called again, it hands out the same sheet with the same patients. A file that lies there is not written over.

        Parameters
        ----------
        excel : bool, default=True
            Also as an Excel file, with a list of classes to choose from.

        Returns
        -------
        Worksheet
            For the pathologist; may be without rows.

        Raises
        ------
        BudgetExhausted
            If the release that it prepares is not affordable.
        StudyError
            If the study is done.
        """
        engine = self._running
        with self._folder.locked():
            return engine.desk.hand_out(*engine.begin(), excel)

    def submit(self, worksheet: Any, *, partial: bool = False) -> None:
        """Check what the pathologist filled in, and store it.

        Labels may be corrected, by another submission, until the release. Wrong input stores and costs nothing.

        Parameters
        ----------
        worksheet : path, DataFrame or Series
            The worksheet of the current step, as .csv or .xlsx, a table, or labels with the patients as index. A case
            that cannot be diagnosed is marked ``no diagnosis``; it takes part in nothing.
        partial : bool, default=False
            Store what is there; rows may be missing or empty, to be handed in later.

        Raises
        ------
        WorksheetError
            With all rows that are wrong. For the eyes of the hospital.
        """
        table = read_table(worksheet)  # outside the lock: it may be a file on a slow share
        desk = self._running.desk
        with self._folder.locked():
            desk.receive(table, partial)

    def missing(self) -> list[str]:
        """Patients of the current worksheet without a label. For the hospital only."""
        desk = self._running.desk
        record = desk.open_record()
        return [] if record is None else desk.missing(record)

    def release(self, step: str | None = None, *, leave_out_missing: bool = False) -> Pipeline:
        """Release the current step: charge, learn, and publish the model into ``release/``.

        A step that was released already is not paid for again: its stored model comes back.

        Parameters
        ----------
        step : str, optional
            "start", "round-1", ..., "evaluation". Default: the step whose worksheet was handed out; if it was released
            already and the next was not begun, its model. Name it in notebook cells, so that they can be run again.
        leave_out_missing : bool, default=False
            Go on though labels are missing; these patients take part in nothing and are not asked about again. Only if
            a label is missing for a reason of the patient's own: with one that is missing because there were too
            many patients, one patient's data decide whether another's are used.

        Returns
        -------
        Pipeline
            Encoder and classifier, ready to predict; it holds released numbers only.

        Raises
        ------
        TooEarly
            Before the planned day.
        WorksheetError
            If labels are missing.
        StudyError
            If the step was not begun.
        """
        engine = self._running
        with self._folder.locked():
            begun, record = engine.begun(step)
            if not record.released:
                engine.release(begun, record, leave_out_missing)
            return engine.model(begun)

    def run(
        self,
        X: Any = None,
        oracle: Oracle | None = None,
        *,
        record_ids: Any = None,
        progress: Callable[[Step], None] | None = None,
    ) -> Self:
        """Run every step that is left, with a pathologist who answers at once.

        Parameters
        ----------
        X : DataFrame or array-like, optional
            As in `enrol`; None if the patients are enrolled.
        oracle : callable
            The pathologist: gets a worksheet, a DataFrame with a column "patient", returns one label for each of its
            rows, else ValueError (TypeError if it cannot be called). Called inside, also for an empty worksheet.
        record_ids : sequence, optional
            The patients. Default: the index of X.
        progress : callable, optional
            Gets a `Step` before each step.
        """
        if not callable(oracle):
            raise TypeError("Expected oracle to be a function that labels a worksheet. Pass oracle=...")
        if X is not None:
            self.enrol(X, record_ids=record_ids)
        desk = self._running.desk
        while (step := desk.current()) is not None:
            if progress is not None:
                progress(step)
            frame = self.next_batch(excel=False).frame
            labels = list(oracle(frame.drop(columns=list(self._setup.form.columns))))
            if len(labels) != len(frame):
                raise ValueError(
                    "Expected the oracle to return one label for each row of the worksheet. Fill in every row."
                )
            self.submit(pd.DataFrame({PATIENT: frame[PATIENT], DIAGNOSIS: labels}))
            self.release(step.key)
        return self

    def label(self, reader: str | None = None) -> Any:
        """Label the current worksheet in a notebook, one patient at a time.

        Parameters
        ----------
        reader : str, optional
            One of `readers`, whose column is filled in. Default: the column "diagnosis".

        Returns
        -------
        LabellingWidget
            Shown by the notebook; its button "save" submits.
        """
        from skdpal.learner.study.widget import LabellingWidget

        sheet = self.next_batch(excel=False)
        return LabellingWidget(sheet, self._setup.form, lambda table: self.submit(table, partial=True), reader)

    def __repr__(self) -> str:
        return f"<ActiveLearningStudy {self.folder}>"

    def _repr_html_(self) -> str:
        return study_panel(self)

    @property
    def _running(self) -> Engine:
        if self._engine is None:
            raise StudyError("Nobody is enrolled yet. Call enrol(X), or ActiveLearningStudy.open(folder) to go on.")
        return self._engine
