"""The studies that `skdpal audit` attacks: that of the demo, hidden and published, and the parts that it could have.

The loop is that of `ActiveLearningStudy`, with a ledger in memory. (A study in a folder, file by file: `replay` in the
tests.) Patients are 37 published tumours (Khan et al. 2001), the public model is made of cell lines.

The budget is larger than that of the demo, because less noise lets fewer runs find a fault; the code is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pandas as pd

from skdpal.audit.canary import Canary, GhostCanary, LabelCanary, ModalityCanary, PatientCanary
from skdpal.audit.cohort import AuditCohort
from skdpal.audit.engine import GHOSTS, audit
from skdpal.audit.report import AuditReport, Finding
from skdpal.audit.slot import SlotUtility
from skdpal.cohort import DPModalityClassifier
from skdpal.cohort.experts import LabelPrivacy
from skdpal.datasets import load_srbct
from skdpal.estimators import DPPrototypeClassifier, PublicEncoder, PublicPrior
from skdpal.estimators.public import DPShift
from skdpal.learner.groups import Groups, assign_groups
from skdpal.learner.plan import StudyPlan, plan_study
from skdpal.learner.study.loop import Loop
from skdpal.learner.study.protocol import Protocol
from skdpal.learner.study.roster import Roster
from skdpal.learner.study.steps import EVALUATION
from skdpal.model_selection import PrivateSearchCV
from skdpal.privacy import PrivacyBudget, PrivacyLedger
from skdpal.privacy.accounts import POOL

__all__ = ["Exhibit", "audit_demo", "demo_cohort", "demo_factory", "exhibits"]

N_START, N_POOL, N_EVALUATION, LABELS, ROUNDS, WIDTH = 6, 20, 11, 3, 2, 16
EPSILON, DELTA = 8.0, 1e-5
_EVALUATION = "cohort/evaluation"
_UTILITY: Any = SlotUtility("margin")


@dataclass(frozen=True)
class Exhibit:
    """A study under audit, with the canaries that suit it.

    Attributes
    ----------
    factory : callable
    cohort : AuditCohort
    canaries : tuple of Canary
    """

    factory: Callable[[AuditCohort], Any]
    cohort: AuditCohort
    canaries: tuple[Canary, ...]


@lru_cache(maxsize=1)
def _public() -> tuple[PublicPrior, np.ndarray, pd.DataFrame, pd.Series]:
    """Prior and reference of the cell lines; the tumours in the embedding, with their types."""
    data = load_srbct(as_frame=True)
    lines = data.is_cell_line
    X, y = data.data[lines], data.target[lines]
    encoder = PublicEncoder(n_components=WIDTH, sample_scaling="standardize").fit(X, y)
    tumours = data.data[~lines]
    rows = pd.DataFrame(encoder.transform(tumours), index=tumours.index)
    prior = DPPrototypeClassifier.prior_from_public(encoder.transform(X), y)
    return prior, encoder.out_of_sample(X, y), rows, data.target[~lines]


def demo_cohort() -> AuditCohort:
    """The tumours, in the order start, pool, evaluation, which public randomness settled.

    Examples
    --------
    >>> from skdpal.audit.demo import demo_cohort
    >>> demo_cohort().X.shape
    (37, 16)
    """
    _, _, rows, types = _public()
    groups = assign_groups(list(map(str, rows.index)), N_START, N_POOL, N_EVALUATION)
    order = [*groups.start, *groups.pool, *groups.evaluation]
    table = rows.set_axis(rows.index.astype(str), axis=0).loc[order]
    return AuditCohort.from_arrays(
        table.to_numpy(), types.set_axis(types.index.astype(str)).loc[order].to_numpy(), order
    )


def demo_factory(
    release: str = "hidden", *, epsilon: float = EPSILON, rounds: int = ROUNDS
) -> Callable[[AuditCohort], Any]:
    """A factory of demo studies: start, rounds, released models and one noisy accuracy.

    Parameters
    ----------
    release : {"hidden", "published"}, default="hidden"
        How patients are chosen.
    epsilon : float, default=8.0
        Budget, at δ = 1e-5.
    rounds : int, default=2
        Number of rounds.

    Returns
    -------
    callable
        For `audit` and `replay`, with the patients of `demo_cohort`.

    Examples
    --------
    >>> from skdpal.audit import replay
    >>> from skdpal.audit.demo import demo_cohort, demo_factory
    >>> replay(demo_factory(rounds=1), cohort=demo_cohort(), runs=1).passed
    True
    """
    plan = plan_study(
        PrivacyBudget(epsilon, DELTA),
        n_labelled=N_START,
        n_pool=N_POOL,
        n_evaluation=N_EVALUATION,
        labels_per_round=LABELS,
        rounds=rounds,
        release=release,
        n_components=WIDTH,
    )
    return partial(_study, plan=plan)


def exhibits(epsilon: float = EPSILON, *, quick: bool = False) -> list[Exhibit]:
    """The studies of `skdpal audit`, with their canaries.

    Parameters
    ----------
    epsilon : float, default=8.0
        Budget of each study, at δ = 1e-5.
    quick : bool, default=False
        Fewer canaries, and studies of one round.
    """
    patients, others = demo_cohort(), AuditCohort.example()
    prior, _, _, _ = _public()
    between = _long(prior.means[:2].mean(axis=0))  # as near to one class as to another: the margin could not be smaller
    sure = {"row": _long(prior.means[0]), "label": prior.classes.tolist()[0]}  # and always classified so
    training = PatientCanary("training", 0, "cohort/start", row=_stretched)
    ghost = GhostCanary("ghost", N_START)
    published = PatientCanary("published selection, training", N_START, row=between)
    labels = Exhibit(_labels, others, (LabelCanary("label privacy", 0),))
    if quick:
        hidden, shown = (demo_factory(release, epsilon=epsilon, rounds=1) for release in ("hidden", "published"))
        return [Exhibit(hidden, patients, (training, ghost)), Exhibit(shown, patients, (published,)), labels]
    hidden, shown = (demo_factory(release, epsilon=epsilon) for release in ("hidden", "published"))
    chosen = PatientCanary("hidden selection, training", N_START, row=between)
    evaluation = PatientCanary("evaluation", -1, _EVALUATION, **sure)
    rna = ModalityCanary("modality", 0, modality="rna", columns=(0, 1))
    return [
        Exhibit(hidden, patients, (training, chosen, evaluation, ghost)),
        Exhibit(shown, patients, (published,)),
        Exhibit(partial(_tuned, epsilon=epsilon), patients, (PatientCanary("tuning", -1, **sure),)),
        labels,
        Exhibit(partial(_modalities, epsilon=epsilon), others, (rna,)),
        Exhibit(partial(_shifted, epsilon=epsilon), patients, (PatientCanary("shift correction, training", 3),)),
    ]


def audit_demo(
    *,
    quick: bool = False,
    runs: int = 200,
    confidence: float = 0.95,
    n_jobs: int | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> AuditReport:
    """Attack the demo study with all canaries, and with half of its noise to see whether that is noticed.

    Parameters
    ----------
    quick : bool, default=False
        Fewer canaries, studies of one round.
    runs, confidence, n_jobs
        As in `audit`; the confidence is that of all canaries of all studies together.
    progress : callable, optional
        Gets runs done, runs in all, and the name of a canary.

    Returns
    -------
    AuditReport
    """
    shown = exhibits(quick=quick)
    counts = [sum(canary.protected for canary in one.canaries) for one in shown]
    counts[0] += 1  # of which half the noise is taken away
    totals = [
        2 * sum(runs if canary.protected else GHOSTS for canary in one.canaries) + (2 * runs if one is shown[0] else 0)
        for one in shown
    ]
    findings: list[Finding] = []
    for at, one in enumerate(shown):
        before = sum(totals[:at])

        def tell(done: int, total: int, name: str, before: int = before) -> None:
            if progress is not None:
                progress(before + done, sum(totals), name)

        part = audit(
            one.factory,
            cohort=one.cohort,
            canaries=one.canaries,
            runs=runs,
            confidence=1 - (1 - confidence) * counts[at] / sum(counts),
            n_jobs=n_jobs,
            progress=tell,
            self_test=at == 0,
        )
        findings.extend(part.findings)
    last = sorted(findings, key=lambda finding: (not finding.protected) + 2 * finding.planted)
    return AuditReport(tuple(last), confidence=confidence)


def _long(row: np.ndarray) -> np.ndarray:
    """Of length 1, as embedded patients are."""
    return np.asarray(row / np.linalg.norm(row))


def _stretched(row: np.ndarray) -> np.ndarray:
    """Longer than a patient's row may be."""
    return 8 * row


def _study(cohort: AuditCohort, plan: StudyPlan) -> Any:
    prior, reference, _, _ = _public()
    start, pool, last = cohort[:N_START], cohort[N_START : N_START + N_POOL], cohort[N_START + N_POOL :]
    waiting = pool.slots if plan.release == "published" else pool
    evaluated = last.slots
    parts = [(start.X, start.record_ids), (waiting.X, waiting.record_ids), (evaluated.X, evaluated.record_ids)]
    rows = pd.DataFrame(np.vstack([X for X, _ in parts]), index=[name for _, names in parts for name in names])
    groups = Groups(*(tuple(names) for _, names in parts))
    labels = {
        name: label
        for part in (start, pool, last)
        for name, label in zip(part.record_ids, part.y, strict=True)
        if label is not None
    }
    ledger = PrivacyLedger(plan.budget)
    ledger.split(POOL, into=_EVALUATION, members=groups.evaluation)
    loop = Loop(
        Protocol(plan, _UTILITY, "probability", plan.tilt, 0, ledger.filter),
        Roster(rows, pd.DataFrame(index=rows.index), groups),
        DPPrototypeClassifier(plan.noise_multiplier, prior),
        reference,
        ledger,
    )
    published: dict[str, Any] = {"model": loop.learner.estimator, "ledger": ledger}
    asked: set[str] = set()
    for step in loop.protocol.steps:
        chosen = loop.choose(step, asked)
        if step.key == EVALUATION:
            published["accuracy"] = loop.evaluate(labels, chosen)
            continue
        if plan.release == "published":
            published[step.key] = chosen
        loop.learn(step, {name: labels[name] for name in chosen if name in labels})
        asked |= set(chosen)
    published["model"] = loop.learner.estimator
    return published


def _tuned(cohort: AuditCohort, epsilon: float) -> Any:
    """A search over weights of the prior; the last group scores. An empty slot there is misclassified by every model."""
    prior, _, _, _ = _public()
    classes = prior.classes.tolist()
    fitted, scoring = cohort[:-N_EVALUATION], cohort[-N_EVALUATION:].slots
    ledger = PrivacyLedger(PrivacyBudget(epsilon, DELTA))
    search = PrivateSearchCV(
        DPPrototypeClassifier(1.25, prior),
        {"prior_weight": [1.0, 9.0, 50.0, 200.0]},
        ledger=ledger,
        method="release-all",
        validation=scoring.record_ids,
    )
    empty = np.array([label is None for label in scoring.y])
    rows = np.where(empty[:, None], _long(prior.means[0]), scoring.X)
    labels = [classes[1] if label is None else label for label in scoring.y]
    search.fit(
        np.vstack([fitted.X, rows]),
        np.array([*fitted.y, *labels]),
        record_ids=[*fitted.record_ids, *scoring.record_ids],
    )
    return {"table": search.cv_results_, "best": search.best_params_, "models": search.estimators_, "ledger": ledger}


def _labels(cohort: AuditCohort) -> Any:
    """Labels leave, each swapped with a chance."""
    ledger = PrivacyLedger(PrivacyBudget(EPSILON, DELTA), "renyi")
    privacy = LabelPrivacy(1.5, [0, 1, 2], ledger)
    slots = cohort.slots
    return {"labels": privacy.publish(list(slots.y), slots.record_ids), "ledger": ledger}


def _modalities(cohort: AuditCohort, epsilon: float) -> Any:
    """Two modalities of two columns, of which a patient may lack one."""
    ledger = PrivacyLedger(PrivacyBudget(epsilon, DELTA))
    model = DPModalityClassifier(
        {"rna": 0.8, "protein": 1.2}, {"rna": 2, "protein": 2}, classes=[0, 1, 2], ledger=ledger
    )
    model.fit(cohort.X, cohort.y, record_ids=cohort.record_ids, expected_records=cohort.n_patients)
    return {"model": model, "ledger": ledger}


def _shifted(cohort: AuditCohort, epsilon: float) -> Any:
    """Everybody's mean is released, then a model of the start without that shift."""
    prior, reference, _, _ = _public()
    ledger = PrivacyLedger(PrivacyBudget(epsilon, DELTA))
    shift = DPShift(1.5, public_mean=reference.mean(axis=0), ledger=ledger)
    shift.fit(cohort.X, record_ids=cohort.record_ids, expected_records=cohort.n_patients)
    start = cohort[:N_START]
    payer = ledger.split(POOL, into="cohort/start", members=start.record_ids)
    model = DPPrototypeClassifier(0.8, prior, ledger=payer)
    rows = shift.transform(start.X)
    model.fit(rows, start.y, record_ids=start.record_ids, expected_records=start.n_patients)
    return {"shift": shift, "model": model, "ledger": ledger}
