"""The learner of a study, brought to where the study stands by asking its ledger again.

Asking again is free: a ledger keeps the answer to every question it was asked. So a killed process, another
day or another machine ends up with the same models and the same patients.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skdpal.estimators import DPPrototypeClassifier
from skdpal.learner.active_learner import PrivateActiveLearner
from skdpal.learner.study.errors import StudyError
from skdpal.learner.study.protocol import Protocol
from skdpal.learner.study.roster import Roster
from skdpal.learner.study.steps import EVALUATION, START, Step
from skdpal.model_selection import PrivateScore, private_accuracy
from skdpal.privacy import PrivacyLedger
from skdpal.query import PrivateQuery

__all__ = ["Loop"]

Labels = Mapping[str, Any]


class Loop:
    """Choose, learn and evaluate, each exactly once.

    Parameters
    ----------
    protocol : Protocol
    roster : Roster
    model : DPPrototypeClassifier
        Not fitted.
    reference : ndarray or None
    ledger : PrivacyLedger
    """

    def __init__(
        self,
        protocol: Protocol,
        roster: Roster,
        model: DPPrototypeClassifier,
        reference: np.ndarray | None,
        ledger: PrivacyLedger,
    ) -> None:
        self.protocol, self.roster, self.ledger = protocol, roster, ledger
        self._reference = reference
        how = {"amplified": protocol.plan.amplified, "hold_start": protocol.plan.hold_start}
        self.learner = PrivateActiveLearner(model, self._query(1), ledger=ledger, **how)
        self.learned: list[str] = []

    def choose(self, step: Step, asked: set[str]) -> list[str]:
        """The patients to ask about; the same when asked again.

        Parameters
        ----------
        step : Step
        asked : set of str
            Who was asked about in earlier rounds.
        """
        groups = self.roster.groups
        if step.key in (START, EVALUATION):
            return list(groups.start if step.key == START else groups.evaluation)
        self._set_round(step)
        pool = [patient for patient in groups.pool if patient not in asked]
        rows = self.roster.rows.loc[pool].to_numpy()
        chosen, _ = self.learner.query(rows, self.protocol.plan.labels_per_round, record_ids=pool)
        return [*self._held(step), *(pool[at] for at in chosen)]

    def learn(self, step: Step, labels: Labels) -> None:
        """Charge and release the model of a step; a step that was learned before is repeated free of charge.

        Parameters
        ----------
        step : Step
        labels : mapping
            Class of each patient who has one.
        """
        if step.key == START:
            if not labels:
                raise StudyError(
                    "Expected at least one diagnosis to start from. Label a patient of the first worksheet."
                )
            self._fit(list(labels), labels)
        else:
            held = self._held(step)
            if held:
                self._fit([patient for patient in held if patient in labels], labels)
            self._set_round(step)
            patients = [patient for patient in labels if patient not in held]
            self.learner.teach(self._rows(patients), self._of(patients, labels), record_ids=patients)
        self.learned.append(step.key)

    def evaluate(self, labels: Labels, patients: Sequence[str]) -> PrivateScore:
        """Charge and release one noisy accuracy; a patient without diagnosis counts as misclassified."""
        truth = np.array([labels.get(patient) for patient in patients], dtype=object)
        return private_accuracy(
            self.learner.estimator,
            self.roster.rows.loc[list(patients)].to_numpy(),
            truth,
            ledger=self.ledger.within("cohort/evaluation", question="evaluation"),
            noise_multiplier=self.protocol.plan.evaluation_noise,
            record_ids=list(patients),
        )

    def _held(self, step: Step) -> tuple[str, ...]:
        """The start, if it is released with this step."""
        return self.roster.groups.start if self.protocol.plan.hold_start and step.round == 1 else ()

    def _fit(self, patients: list[str], labels: Labels) -> None:
        rows, classes = self._rows(patients), self._of(patients, labels)
        self.learner.fit(rows, classes, record_ids=patients, expected_records=self.protocol.plan.n_labelled)

    def _rows(self, patients: list[str]) -> np.ndarray:
        return self.roster.rows.loc[patients].to_numpy()

    def _of(self, patients: list[str], labels: Labels) -> np.ndarray:
        return np.asarray([labels[patient] for patient in patients], dtype=self._classes.dtype)

    def _set_round(self, step: Step) -> None:
        """Noise and strategy of a round, as planned."""
        self.learner.estimator.set_params(noise_multiplier=self.protocol.plan.round_noise[step.round - 1])
        self.learner.query_strategy = self._query(step.round)

    def _query(self, number: int) -> PrivateQuery:
        protocol, plan = self.protocol, self.protocol.plan
        if plan.release == "hidden":
            how = {"acceptance": protocol.acceptance, "tilt": protocol.tilt}
            return PrivateQuery(protocol.utility, plan.release, self._reference, plan.n_pool, **how)
        noise = plan.selection_noise[number - 1]
        if math.isinf(noise):  # coins, which look at nobody
            return PrivateQuery("random", plan.release, self._reference, plan.n_pool, 1.0)
        return PrivateQuery(protocol.utility, plan.release, self._reference, plan.n_pool, noise)

    @property
    def _classes(self) -> np.ndarray:
        estimator = self.learner.estimator
        return np.asarray(estimator.classes if estimator.prior is None else estimator.prior.classes)
