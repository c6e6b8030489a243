"""Does `skdpal.audit` itself find planted faults, as a user would plant them without knowing: in the pipeline of a study?

`replay` compares one study in two worlds, `audit` attacks many. Both see whatever happens in this process, so that faults are planted by
monkeypatching, or by writing a study as it should not be.
"""

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from skdpal import DPPrototypeClassifier, PrivacyLedger, PrivateActiveLearner, PrivateQuery
from skdpal.audit import AuditCohort, PatientCanary, audit, replay
from skdpal.privacy.mechanisms import GaussianSum
from tests.audit.faults.studies import BUDGET, CLASSES, SIGMA
from tests.audit.faults.test_whole_studies import (
    clipped_row_by_row,
    half_the_noise,
    no_clipping,
    noise_by_whoever_came,
    noise_from_a_random_state,
    norm_of_the_cohort,
)

SEEN = AuditCohort.example()
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def study(cohort, prepare=lambda rows: rows, more=lambda ledger, cohort: None):
    """A start of four, one hidden round of the other eight; all that leaves."""
    start, pool = cohort[:4], cohort[4:]
    ledger = PrivacyLedger(BUDGET)
    both = prepare(np.vstack([start.X, pool.X]))
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(SIGMA, classes=range(CLASSES)),
        PrivateQuery(n_pool=pool.n_patients),
        both[: len(start.X)],
        start.y,
        ledger=ledger,
        record_ids=start.record_ids,
        expected_records=start.n_patients,
    )
    waiting = both[len(start.X) :]
    chosen, rows = learner.query(waiting, 3, record_ids=pool.record_ids)
    learner.teach(rows, pool.y[chosen], record_ids=[pool.record_ids[at] for at in chosen])
    return {"learner": learner, "model": learner.estimator, "more": more(ledger, cohort)}


def retrained(cohort):
    """Two releases of the same patients; the second is not charged."""
    ledger = PrivacyLedger(BUDGET)
    model = DPPrototypeClassifier(SIGMA, classes=range(CLASSES), ledger=ledger)
    model.fit(cohort.X, cohort.y, record_ids=cohort.record_ids, expected_records=cohort.n_patients)
    rows = np.column_stack([cohort.X, np.ones(len(cohort.X))]) / np.sqrt(2)
    return {"model": model, "again": GaussianSum(SIGMA).run(rows, cohort.record_ids)}


def standardised(rows):
    return StandardScaler().fit_transform(rows)


def test_the_engine_has_nothing_to_say_about_a_faultless_study():
    report = replay(study, runs=2)
    assert report.passed, str(report)
    assert report.mu == pytest.approx(1 / SIGMA)


@pytest.mark.parametrize(
    "fault",
    [
        half_the_noise,
        no_clipping,
        clipped_row_by_row,
        noise_from_a_random_state,
        noise_by_whoever_came,
        norm_of_the_cohort,
    ],
)
def test_replay_finds_a_fault_of_the_release(monkeypatch, fault):
    fault(monkeypatch)
    assert not replay(study, runs=1).passed


@pytest.mark.parametrize(
    "planted",
    [
        lambda cohort: study(cohort, standardised),
        lambda cohort: study(cohort, more=lambda ledger, cohort: len(cohort.X)),
        lambda cohort: study(cohort, more=lambda ledger, cohort: float(np.mean(cohort.X))),
        retrained,
    ],
    ids=["a scaler that is fitted to patients", "a count", "a mean", "retraining, charged once"],
)
def test_replay_finds_a_fault_of_the_pipeline(planted):
    assert not replay(planted, runs=1).passed


def one_release(cohort):
    """The quickest study there is."""
    model = DPPrototypeClassifier(SIGMA, classes=range(CLASSES), ledger=PrivacyLedger(BUDGET))
    return model.fit(cohort.X, cohort.y, record_ids=cohort.record_ids, expected_records=cohort.n_patients)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [None, half_the_noise, no_clipping])
def test_the_audit_tells_a_faultless_study_from_faulty_ones(monkeypatch, fault):
    """μ = 4 or 3√2 at the price of 2: by the exact path, and by 40 runs."""
    if fault is not None:
        fault(monkeypatch)
    report = audit(one_release, cohort=SEEN, canaries=[PatientCanary("a patient")], runs=40, progress=False)
    assert report.passed is (fault is None), str(report)
