"""What a study is made of before it has patients: protocol and public models. All of it is public."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from skdpal.estimators import DPPrototypeClassifier, PublicEncoder, PublicPrior, Release
from skdpal.learner.model_file import load_model, save_model
from skdpal.learner.study.folder import StudyFolder, json_bytes
from skdpal.learner.study.protocol import Protocol
from skdpal.learner.study.roster import Roster
from skdpal.learner.study.submission import Form, text_of
from skdpal.learner.study.worksheet import COMMENT, DIAGNOSIS, NO_DIAGNOSIS, PATIENT
from skdpal.privacy import PrivacyLedger, Split
from skdpal.privacy.accounts import POOL
from skdpal.privacy.validation import check_finite

__all__ = ["Setup", "readers_of"]


@dataclass(frozen=True)
class Setup:
    """Protocol, encoder, prior and reference, as plain numbers.

    Attributes
    ----------
    protocol : Protocol
    public : Pipeline
        Encoder, and the classifier before any patient: a release about nobody.
    reference : ndarray or None
        Public rows in the embedding.
    form : Form
        What may stand in a worksheet.
    """

    protocol: Protocol
    public: Pipeline
    reference: np.ndarray | None
    form: Form

    @classmethod
    def of(
        cls, protocol: Protocol, encoder: PublicEncoder, prior: PublicPrior | None, classes: Any, reference: Any
    ) -> Self:
        """Check and collect the parts."""
        _check_plan(protocol, prior)
        blank = DPPrototypeClassifier(protocol.plan.noise_multiplier, prior, classes)
        n_classes = len(np.unique(np.asarray(classes if prior is None else prior.classes)))
        nothing = Release(np.zeros((n_classes, encoder.n_components)), np.zeros(n_classes), 1.0, 0.0)
        public = Pipeline([("encoder", encoder), ("classifier", blank.restore([nothing]))])
        rows = None if reference is None else check_finite("reference", reference)
        return cls(protocol, public, rows, _form_of(public[-1].classes_, protocol.readers))

    @classmethod
    def load(cls, folder: StudyFolder) -> Self:
        """Read what `make` stored; nothing in it can be executed."""
        protocol = Protocol.from_json(json.loads(folder.protocol.read_text(encoding="utf-8")))
        public = load_model(folder.public)
        rows = np.load(folder.reference, allow_pickle=False) if folder.reference.exists() else None
        return cls(protocol, public, rows, _form_of(public[-1].classes_, protocol.readers))

    @property
    def encoder(self) -> PublicEncoder:
        """The frozen embedding."""
        return self.public[0]

    @property
    def classes(self) -> dict[str, Any]:
        """The classes by their words."""
        return dict(zip(self.form.classes, self.public[-1].classes_, strict=True))

    def blank(self) -> DPPrototypeClassifier:
        """The classifier, not fitted."""
        known = self.public[-1]
        return DPPrototypeClassifier(self.protocol.plan.noise_multiplier, known.prior, known.classes_.tolist())

    def make(self, folder: StudyFolder, X: Any, ids: list[str], display: pd.DataFrame, labelled: Any) -> None:
        """Embed the patients, draw the groups, and fill a new folder."""
        protocol, plan = self.protocol, self.protocol.plan
        rows = check_finite("X, embedded,", self.encoder.transform(X))
        roster = Roster.draw(ids, rows, display, plan, protocol.group_seed, labelled)
        _require_affordable(protocol)
        schedule = plan if protocol.filter == "planned" else None
        with folder.making():
            ledger = PrivacyLedger.create(folder.ledger, plan.budget, protocol.filter, schedule=schedule)
            if roster.groups.evaluation:
                ledger.split(POOL, into="cohort/evaluation", members=roster.groups.evaluation)
            folder.place(folder.patients, roster.save)
            folder.place(folder.public, lambda path: save_model(path, self.encoder, self.public[-1]))
            if self.reference is not None:
                folder.place(folder.reference, lambda path: np.save(path, self.reference))
            folder.write(folder.protocol, json_bytes(protocol.to_json()))


def _check_plan(protocol: Protocol, prior: PublicPrior | None) -> None:
    """Refuse what a study cannot carry out."""
    plan = protocol.plan
    refused = [name for name in ("retrain", "chunks") if getattr(plan, name)]
    if refused:
        raise ValueError(
            f"Expected a plan without {', '.join(refused)}: a study releases each cohort once, in a step of its own. "
            "Plan without, or run PrivateActiveLearner by hand."
        )
    if plan.hold_start and prior is None:
        raise ValueError(
            "Expected prior= with a plan of hold_start=True: the public model chooses the first round. "
            "Pass DPPrototypeClassifier.prior_from_public(...), or plan without."
        )
    coins = (protocol.filter, protocol.acceptance, protocol.tilt)
    if plan.amplified and coins != ("planned", "probability", plan.tilt):
        raise ValueError(
            f'Expected filter="planned", acceptance="probability" and tilt={plan.tilt:g}, on which the price of this plan '
            f"rests. Found {coins}. Leave them out, or plan with others."
        )


def _require_affordable(protocol: Protocol) -> None:
    """Refuse a plan that is dearer than its budget, before anybody is asked for a label: it is played without patients."""
    plan = protocol.plan
    if protocol.filter == "planned":
        PrivacyLedger(plan.budget, "planned", schedule=plan)  # priced whole
        return
    ledger = PrivacyLedger(plan.budget, protocol.filter)
    for step in plan.schedule.steps:
        if isinstance(step, Split):
            ledger.split(step.source, into=step.into, members=[])
        else:
            ledger.charge(step.event, "the study", step.account)


def readers_of(readers: Sequence[str]) -> tuple[str, ...]:
    """Names of readers that can be columns."""
    names = (readers,) if isinstance(readers, str) else tuple(str(name).strip() for name in readers)
    folded = [name.casefold() for name in (*names, PATIENT, DIAGNOSIS, COMMENT)]
    if len(set(folded)) != len(folded) or not all(names):
        raise ValueError(
            f"Expected readers to have different names, none of them a column of the worksheet. Found {names}. Rename them."
        )
    return names


def _form_of(classes: Any, readers: tuple[str, ...]) -> Form:
    """The words for the classes."""
    words = tuple(text_of(entry) for entry in classes)
    if len(set(words)) != len(words) or not all(words) or NO_DIAGNOSIS in words:
        raise ValueError(
            f"Expected classes with different names, none of them empty or {NO_DIAGNOSIS!r}. Found {words}. Rename them."
        )
    return Form(words, readers)
