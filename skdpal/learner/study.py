"""A whole study, in a folder with a wall through it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from skdpal.estimators import DPPrototypeClassifier, PublicEncoder, PublicPrior
from skdpal.learner.active_learner import PrivateActiveLearner
from skdpal.learner.groups import assign_groups
from skdpal.learner.model_file import save_model
from skdpal.learner.plan import StudyPlan
from skdpal.model_selection import private_accuracy
from skdpal.privacy import PrivacyLedger
from skdpal.privacy.accounts import POOL
from skdpal.privacy.identities import identify
from skdpal.privacy.validation import check_count, check_finite, check_one_of
from skdpal.query import PrivateQuery

__all__ = ["ActiveLearningStudy", "Step"]

Oracle = Callable[[pd.DataFrame], Sequence[Any]]


@dataclass(frozen=True)
class Step:
    """A step of the study, as it may be shown outside: nothing in it depends on who was accepted.

    Attributes
    ----------
    number, total : int
        This step, of how many.
    name : str
        "start", "round 1", ..., "evaluation".
    expected_labels : float
        Labels that have been asked for so far, on average.
    epsilon_committed : float
        The ceiling.
    """

    number: int
    total: int
    name: str
    expected_labels: float
    epsilon_committed: float


class ActiveLearningStudy:
    """Run a planned study from the first label to the certificate.

    Parameters
    ----------
    folder : path
        Made new. ``release/`` may leave the hospital: certificate, protocol, released models.
        ``hospital-only/`` (mode 0700) may not: ledger, vault, worksheets, query log.
    plan : StudyPlan
        From `plan_study`; decides groups, noise and rounds.
    encoder : PublicEncoder
        Fitted on public data.
    prior : PublicPrior, optional
        From `DPPrototypeClassifier.prior_from_public`, in the embedding.
    classes : sequence, optional
        All labels that may occur. Default: those of `prior`.
    reference : array-like, optional
        Public rows, embedded out of sample; see `PrivateQuery`.
    utility, acceptance, tilt
        As in `PrivateQuery`.
    group_seed : int, default=0
        Public randomness of the groups.
    filter : {"gdp", "planned"}, default="gdp"
        Kind of ledger: "planned" freezes the plan, and refuses everything else.

    Attributes
    ----------
    ledger : PrivacyLedger
    learner : PrivateActiveLearner
        After `run`.
    evaluation : PrivateScore or None
        The noisy accuracy.

    Notes
    -----
    Charged: one release by the starting cohort and by each round's, one noisy accuracy by the evaluation
    patients; each patient is in one of these groups, so the study costs the plan's ε once.

    Examples
    --------
    >>> import tempfile, skdpal
    >>> data = skdpal.datasets.load_srbct(as_frame=True)
    >>> X, y, lines = data.data, data.target, data.is_cell_line
    >>> plan = skdpal.plan_study(skdpal.PrivacyBudget(2.0), n_labelled=6, n_pool=20, labels_per_round=3, rounds=1)
    >>> encoder = skdpal.PublicEncoder(n_components=16).fit(X[lines], y[lines])
    >>> prior = skdpal.DPPrototypeClassifier.prior_from_public(encoder.transform(X[lines]), y[lines])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = skdpal.ActiveLearningStudy(f"{folder}/study", plan, encoder, prior)
    ...     study = study.run(X[~lines], oracle=lambda worksheet: y[worksheet["patient"]])
    ...     len(study.ledger.receipts()), study.ledger.certificate()["epsilon"]
    (2, 2.0)
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
        tilt: float = 0.5,
        group_seed: int = 0,
        filter: str = "gdp",
    ) -> None:
        self.folder = Path(folder)
        self.plan = plan
        self.encoder = encoder
        self.group_seed = check_count("group_seed", group_seed)
        self.filter = check_one_of("filter", filter, ["gdp", "planned"])
        self.query = PrivateQuery(utility, plan.release, reference, plan.n_pool, acceptance=acceptance, tilt=tilt)
        self.model = DPPrototypeClassifier(plan.noise_multiplier, prior, classes)
        if prior is None and classes is None:
            raise ValueError(
                "Expected classes, or a prior that has them. Pass classes=[...] with every possible label."
            )
        self.evaluation: Any = None
        if self.folder.exists() and any(self.folder.iterdir()):
            raise FileExistsError(
                f"{self.folder} is not empty. A study spends its budget once: choose another folder, "
                "or remove this one if its patients never mattered."
            )

    @property
    def release_folder(self) -> Path:
        """What may leave the hospital."""
        return self.folder / "release"

    @property
    def hospital_folder(self) -> Path:
        """What may not."""
        return self.folder / "hospital-only"

    def run(
        self, X: Any, oracle: Oracle, *, record_ids: Any = None, progress: Callable[[Step], None] | None = None
    ) -> Self:
        """Run every step.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_patients, n_columns)
            One row a patient, with the columns of the encoder.
        oracle : callable
            The pathologist: gets a worksheet, a DataFrame with a column "patient", returns one label for
            each of its rows. Called inside the hospital, and also for an empty worksheet.
        record_ids : sequence, optional
            The patients. Default: the index of X.
        progress : callable, optional
            Gets a `Step` before each step.
        """
        check_finite("X", X)
        ids = identify(X, record_ids)
        rows = pd.DataFrame(np.asarray(self.encoder.transform(X)), index=pd.Index(ids, name="patient"))
        plan = self.plan
        groups = assign_groups(ids, plan.n_labelled, plan.n_pool, plan.n_evaluation, seed=self.group_seed)
        self._make_folders()
        self.ledger = PrivacyLedger.create(
            self.hospital_folder / "study.ledger",
            plan.budget,
            self.filter,
            schedule=plan if self.filter == "planned" else None,
        )
        if self.filter == "gdp":  # before anybody is asked for a label; a schedule was priced whole
            self.ledger.require(self.model.privacy_event(), "the study")
        if groups.evaluation:
            self.ledger.split(POOL, into="cohort/evaluation", members=groups.evaluation)
        total = plan.rounds + 1 + bool(groups.evaluation)

        def tell(number: int, name: str, expected: float) -> None:
            if progress is not None:
                progress(Step(number, total, name, expected, plan.budget.epsilon))

        tell(1, "start", plan.n_labelled)
        start = rows.loc[list(groups.start)]
        labels = self._ask(oracle, "start", groups.start)
        self.learner = PrivateActiveLearner(
            self.model, self.query, start.to_numpy(), labels, ledger=self.ledger, record_ids=groups.start
        )
        self._save("start")
        pool = rows.loc[list(groups.pool)]
        for number in range(1, plan.rounds + 1):
            asked = min(number * plan.labels_per_round, plan.n_pool)
            tell(number + 1, f"round {number}", plan.n_labelled + asked)
            self._round(number, pool, oracle)
        if groups.evaluation:
            tell(total, "evaluation", plan.expected_labels)
            self._evaluate(rows.loc[list(groups.evaluation)], oracle)
        self._save("final")
        self._publish()
        return self

    # -- inside ------------------------------------------------------------------------------

    def _round(self, number: int, pool: pd.DataFrame, oracle: Oracle) -> None:
        chosen, cohort = self.learner.query(pool.to_numpy(), self.plan.labels_per_round, record_ids=pool.index)
        patients = tuple(pool.index[chosen])
        self._log(number, patients)
        labels = self._ask(oracle, f"round-{number}", patients)
        self.learner.teach(cohort, labels, record_ids=patients)
        self._save(f"round-{number}")

    def _evaluate(self, rows: pd.DataFrame, oracle: Oracle) -> None:
        labels = self._ask(oracle, "evaluation", tuple(rows.index))
        self.evaluation = private_accuracy(
            self.learner.estimator,
            rows.to_numpy(),
            labels,
            ledger=self.ledger.within("cohort/evaluation"),
            noise_multiplier=self.plan.noise_multiplier,
            record_ids=rows.index,
        )

    def _ask(self, oracle: Oracle, name: str, patients: tuple[str, ...]) -> np.ndarray:
        """Hand out a worksheet and take the labels back; both stay in the hospital."""
        worksheet = pd.DataFrame({"patient": list(patients)}, dtype=object)
        labels = np.asarray(oracle(worksheet.copy()))
        if len(labels) != len(worksheet):
            raise ValueError(
                "Expected the oracle to return one label for each row of the worksheet. Fill in every row."
            )
        worksheet.assign(diagnosis=labels).to_csv(self.hospital_folder / "worksheets" / f"{name}.csv", index=False)
        return labels

    def _log(self, number: int, patients: tuple[str, ...]) -> None:
        entry = {
            "round": number,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "utility": self.query.utility,
            "accepted": list(patients),
        }
        with (self.hospital_folder / "query_log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry) + "\n")

    def _make_folders(self) -> None:
        (self.release_folder / "models").mkdir(parents=True)
        self.hospital_folder.mkdir(mode=0o700)
        (self.hospital_folder / "worksheets").mkdir(mode=0o700)

    def _save(self, name: str) -> None:
        save_model(self.release_folder / "models" / f"{name}.npz", self.encoder, self.learner.estimator)

    def _publish(self) -> None:
        """Write what may leave, from public parameters and released numbers."""
        protocol = {
            "plan": {**asdict(self.plan), "epsilon": self.plan.epsilon, "expected_labels": self.plan.expected_labels},
            "group_seed": self.group_seed,
            "utility": self.query.utility,
            "acceptance": self.query.acceptance,
            "tilt": self.query.tilt,
            "n_components": self.encoder.n_components,
            "classes": self.learner.estimator.classes_.tolist(),
            "evaluation": None if self.evaluation is None else asdict(self.evaluation),
        }
        _write_json(self.release_folder / "study.json", protocol)
        _write_json(self.release_folder / "certificate.json", self.ledger.certificate())
        now = time.time()  # when each model was written would tell how long the pathologist was busy
        for path in (self.release_folder / "models").iterdir():
            os.utime(path, (now, now))


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
