"""Whole studies, attacked: honest ones stay below their price, planted faults are found, and nothing else is claimed.

Honest studies are called faulty with probability 1e-6 at most, by the bound's own confidence. Faults that errors must
find are found with the power that the report states beforehand; faults that a path or a difference shows are found for certain.
"""

import json
import math

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from skdpal import DPPrototypeClassifier, PrivateActiveLearner, PrivateQuery
from skdpal.audit import (
    AuditCohort,
    GhostCanary,
    LabelCanary,
    ModalityCanary,
    PatientCanary,
    SlotUtility,
    audit,
    replay,
)
from skdpal.audit.claim import Claim
from skdpal.audit.learnt import weighed
from skdpal.audit.odds import power_of
from skdpal.audit.report import VERDICTS, AuditReport, Finding
from skdpal.cohort import DPModalityClassifier
from skdpal.cohort.experts import LabelPrivacy
from skdpal.model_selection import PrivateSearchCV, private_accuracy
from skdpal.privacy import PrivacyBudget, PrivacyLedger
from skdpal.privacy.mechanisms import GaussianSum, NoisyScores, RandomizedResponse, sums
from skdpal.privacy.mechanisms import scores as mechanism_of_scores
from skdpal.privacy.randomness import perturb

SURE = 1 - 1e-6
SIGMA = 0.5
LONG = PatientCanary("long row", 0, row=lambda row: 8 * row)


def model_of(cohort, sigma=SIGMA):
    """One release of everybody."""
    model = DPPrototypeClassifier(sigma, classes=[0, 1, 2], ledger=PrivacyLedger(PrivacyBudget(30.0)))
    return model.fit(cohort.X, cohort.y, record_ids=cohort.record_ids, expected_records=cohort.n_patients)


def looped(cohort, release="hidden", *, forget=True):
    """A start and two rounds; who was asked in public is asked about once."""
    start, pool = cohort[:4], cohort[4:]
    waiting = pool.slots if release == "published" else pool
    noise = {"noise_multiplier": 1.0} if release == "published" else {}
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(SIGMA, classes=[0, 1, 2]),
        PrivateQuery(SlotUtility("margin"), release, n_pool=pool.n_patients, **noise),
        start.X,
        start.y,
        ledger=PrivacyLedger(PrivacyBudget(30.0)),
        record_ids=start.record_ids,
        expected_records=start.n_patients,
    )
    names, left = np.array(waiting.record_ids), np.arange(len(waiting.X))
    for _ in range(2):
        found, _ = learner.query(waiting.X[left], 2, record_ids=names[left])
        at = left[found]
        known = [one for one in at if waiting.y[one] is not None]
        learner.teach(waiting.X[known], list(waiting.y[known]), record_ids=names[known], expected_records=2)
        left = np.setdiff1d(left, at) if forget else left
    return learner


def published(cohort):
    return looped(cohort, "published")


def scored_again(cohort):
    """Who was chosen in public and has no label waits on, and is scored in the next round."""
    return looped(cohort, "published", forget=False)


def evaluated(cohort):
    """A model that knows everybody, and its noisy accuracy on a group of its own."""
    first, last = cohort[:6], cohort[6:].slots
    ledger = PrivacyLedger(PrivacyBudget(30.0))
    payer = ledger.split("cohort/pool", into="cohort/evaluation", members=last.record_ids)
    model = DPPrototypeClassifier(SIGMA, classes=[0, 1, 2], ledger=ledger.within("cohort/pool"))
    model.fit(first.X, first.y, record_ids=first.record_ids, expected_records=6)
    truth = np.array(
        [model.predict(row[None])[0] if label is not None else None for row, label in zip(last.X, last.y, strict=True)]
    )
    score = private_accuracy(model, last.X, truth, ledger=payer, noise_multiplier=SIGMA, record_ids=last.record_ids)
    return {"score": score, "ledger": ledger}


def tuned(cohort):
    first, last = cohort[:6], cohort[6:].slots
    ledger = PrivacyLedger(PrivacyBudget(30.0))
    search = PrivateSearchCV(
        DPPrototypeClassifier(1.0, classes=[0, 1, 2]),
        {"prior_weight": [1.0, 4.0]},
        ledger=ledger,
        method="release-all",
        validation=last.record_ids,
    )
    rows = np.array([row if label is not None else first.X[0] for row, label in zip(last.X, last.y, strict=True)])
    labels = [label if label is not None else 2 for label in last.y]
    search.fit(
        np.vstack([first.X, rows]), np.array([*first.y, *labels]), record_ids=[*first.record_ids, *last.record_ids]
    )
    return {"scores": search.cv_results_, "ledger": ledger}


def labelled(cohort):
    ledger = PrivacyLedger(PrivacyBudget(8.0), "renyi")
    slots = cohort.slots
    return {"labels": LabelPrivacy(2.0, [0, 1, 2], ledger).publish(list(slots.y), slots.record_ids), "ledger": ledger}


def fused(cohort):
    ledger = PrivacyLedger(PrivacyBudget(30.0))
    model = DPModalityClassifier(
        {"rna": SIGMA, "protein": 1.0}, {"rna": 2, "protein": 2}, classes=[0, 1, 2], ledger=ledger
    )
    return model.fit(cohort.X, cohort.y, record_ids=cohort.record_ids, expected_records=cohort.n_patients)


HONEST = [
    (model_of, LONG),
    (looped, PatientCanary("in the pool", -1)),
    (published, PatientCanary("in a published pool", -1)),
    (evaluated, PatientCanary("evaluation", -1, "cohort/evaluation")),
    (tuned, PatientCanary("tuning", -1)),
    (labelled, LabelCanary("label", 0)),
    (fused, ModalityCanary("modality", 0, modality="rna", columns=(0, 1))),
]


def attacked(study, canary, runs=3, **options):
    (finding, *_) = audit(study, canaries=[canary], runs=runs, confidence=SURE, progress=False, **options).findings
    return finding


@pytest.mark.parametrize(("study", "canary"), HONEST, ids=[canary.name for _, canary in HONEST])
def test_an_honest_study_stays_below_its_price(study, canary):
    finding = attacked(study, canary)
    assert finding.verdict == "below its price", finding
    assert finding.statistic == "transcript"
    assert not finding.differing


@pytest.mark.slow
@pytest.mark.parametrize(("study", "canary"), HONEST[:2], ids=[canary.name for _, canary in HONEST[:2]])
def test_an_honest_study_stays_below_its_price_with_many_runs(study, canary):
    assert attacked(study, canary, runs=100).verdict == "below its price"


# -- what no receipt pays for: found in a few runs, for certain ---------------------------------------------------------


def counting(cohort):
    return {"model": model_of(cohort), "rows": len(cohort.X)}


def scaled(cohort):
    scaler = StandardScaler().fit(cohort.X)
    ledger = PrivacyLedger(PrivacyBudget(30.0))
    model = DPPrototypeClassifier(SIGMA, classes=[0, 1, 2], ledger=ledger)
    rows = scaler.transform(cohort.X)
    model.fit(rows, cohort.y, record_ids=cohort.record_ids, expected_records=cohort.n_patients)
    return {"scaler": scaler, "model": model}


def seeded(cohort):
    """Noise from a seed, beside a model that is paid for."""
    total = cohort.X.sum(axis=0) + np.random.default_rng(0).normal(size=4)
    return {"model": model_of(cohort), "sum": total}


def refusing(cohort):
    """An error that follows the patient."""
    model = model_of(cohort)
    if len(cohort.X) < cohort.n_patients:
        raise RuntimeError("too few patients")
    return model


def skipping(cohort):
    """No release where somebody is missing: the number of receipts follows the patient."""
    return {"model": model_of(cohort if len(cohort.X) == cohort.n_patients else cohort[1:])}


@pytest.mark.parametrize(
    ("study", "path"),
    [
        (counting, "rows"),
        (scaled, "scaler.mean_"),
        (seeded, "sum"),
        (refusing, "refusal 'RuntimeError: too few patients'"),
        (skipping, "model.releases_[0].expected_records"),
    ],
)
def test_what_differs_without_a_receipt_is_found(study, path):
    finding = attacked(study, LONG, runs=2)
    assert finding.verdict == "differs without a receipt"
    assert path in finding.differing
    assert "rows" not in finding.differing or study is counting
    report = replay(study, canary=LONG, runs=1)
    assert not report.passed
    assert path in report.unexplained["path"].tolist()


def test_replay_explains_what_a_receipt_pays_for():
    report = replay(looped, runs=1)
    assert report.passed, report.summary()
    assert report.unexplained.empty
    assert "estimator.releases_[0].sums" in report.explained["path"].tolist()
    assert report.mu == pytest.approx(1 / SIGMA, rel=1e-6)
    assert report.mu <= report.claim.mu
    assert set(report.draws["law"]) == {"gaussian"}
    assert len(report.receipts) == 3
    assert "PASSED" in str(report)
    assert "<table" in report._repr_html_()


# -- what is more than was paid for, along one run ----------------------------------------------------------------------


def unclipped(patch):
    patch.setattr(
        GaussianSum,
        "run",
        lambda self, rows, ids, shares=None: perturb(2 * np.asarray(rows).sum(axis=0), self.noise_multiplier),
    )


def twice(patch):
    """Every cohort is learnt from a second time, for nothing; the mean of both leaves."""
    run = GaussianSum.run
    patch.setattr(GaussianSum, "run", lambda self, rows, ids: (run(self, rows, ids) + run(self, rows, ids)) / 2)


def half_noise(patch):
    patch.setattr(sums, "perturb", lambda values, scale: perturb(values, scale / 2))


def half_noise_on_scores(patch):
    patch.setattr(mechanism_of_scores, "perturb", lambda values, scale, law="gaussian": perturb(values, scale / 2, law))


def uncut(patch):
    patch.setattr(
        NoisyScores, "run", lambda self, values, ids: perturb(3 * np.asarray(values), self.noise_multiplier / 2)
    )


FAULTS = [
    (unclipped, model_of, LONG),
    (twice, model_of, LONG),
    (half_noise, model_of, LONG),
    (half_noise, looped, PatientCanary("in the start", 0, "cohort/start")),
    (half_noise, evaluated, PatientCanary("evaluation", -1, "cohort/evaluation")),
    (half_noise, tuned, PatientCanary("tuning", -1)),
    (half_noise, fused, ModalityCanary("modality", 0, modality="rna", columns=(0, 1))),
    (half_noise_on_scores, published, PatientCanary("never chosen", -1, "cohort/pool", label=None)),
    (uncut, published, PatientCanary("never chosen", -1, "cohort/pool")),
]


@pytest.mark.parametrize(("fault", "study", "canary"), FAULTS)
def test_one_run_shows_that_more_was_told_than_paid_for(monkeypatch, fault, study, canary):
    fault(monkeypatch)
    finding = attacked(study, canary, runs=2)
    assert finding.verdict == "exceeds its price on a path", finding
    assert finding.mu_path > finding.claimed_mu * 1.05


# -- what only errors show ----------------------------------------------------------------------------------------------


def paid(event, filter="gdp"):
    """A ledger that paid once, before any run, so that a study takes no time."""
    ledger = PrivacyLedger(PrivacyBudget(30.0), filter)
    ledger.charge(event, "a release")
    return ledger


class Quick:
    """One mechanism, on a ledger that paid for it; a study of a millisecond."""

    def __init__(self, mechanism, filter="gdp", times=1):
        self.mechanism, self.times, self.ledger = mechanism, times, paid(mechanism.event, filter)

    def __call__(self, cohort):
        slots = cohort.slots
        values = slots.X if isinstance(self.mechanism, GaussianSum) else list(slots.y)
        return {
            "told": [self.mechanism.run(values, slots.record_ids) for _ in range(self.times)],
            "ledger": self.ledger,
        }


def test_a_sampler_with_half_of_its_noise_is_caught():
    """Nobody who asks for noise knows: exact values and scales are as they should be."""
    report = audit(
        Quick(GaussianSum(SIGMA)), canaries=[LONG], runs=400, confidence=SURE, progress=False, self_test=True
    )
    honest, planted = report.findings
    assert honest.verdict == "below its price"
    assert honest.mu_low > 0.5 / SIGMA  # or the attack would not work
    assert planted.verdict == "planted fault, caught"
    assert planted.power > 1 - 1e-6
    assert report.passed


RESPONSE, LABEL = RandomizedResponse(2.0, [0, 1, 2]), LabelCanary("label", 0)


def test_labels_are_worth_their_price():
    finding = attacked(Quick(RESPONSE, "renyi"), LABEL, runs=400)
    assert finding.verdict == "below its price"
    assert finding.claimed_epsilon == 2.0
    assert finding.epsilon_low > 0.8


def test_labels_that_are_kept_too_often_are_caught(monkeypatch):
    keep = RandomizedResponse.keep
    monkeypatch.setattr(RandomizedResponse, "keep", property(lambda self: 1 - (1 - keep.fget(self)) / 8))
    assert attacked(Quick(RESPONSE, "renyi"), LABEL, runs=400).verdict == "BEATS ITS PRICE"


def test_labels_drawn_nine_times_at_the_price_of_one_are_caught():
    assert attacked(Quick(RESPONSE, "renyi", times=9), LABEL, runs=400).verdict == "BEATS ITS PRICE"


def test_whoever_is_in_the_pool_of_a_published_choice_is_asked_about_once():
    finding = attacked(scored_again, PatientCanary("chosen", -1), runs=4)
    assert finding.verdict == "differs without a receipt"
    assert "noisy answers" in finding.differing
    assert attacked(published, PatientCanary("chosen", -1), runs=4).verdict == "below its price"


# -- prices that rest on coins ------------------------------------------------------------------------------------------


def amplified(cohort):
    """A pool that pays for its sample."""
    start, pool = cohort[:4], cohort[4:]
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(SIGMA, classes=[0, 1, 2]),
        PrivateQuery(n_pool=pool.n_patients),
        start.X,
        start.y,
        ledger=PrivacyLedger(PrivacyBudget(40.0), "renyi", order=3.0),
        record_ids=start.record_ids,
        expected_records=start.n_patients,
        amplified=True,
    )
    at, rows = learner.query(pool.X, 2, record_ids=pool.record_ids)
    learner.teach(rows, pool.y[at], record_ids=[pool.record_ids[one] for one in at])
    return learner


def searched(cohort):
    """The best of a secret number of candidates."""
    ledger = PrivacyLedger(PrivacyBudget(8.0), "renyi")
    last = cohort[6:].slots
    search = PrivateSearchCV(
        DPPrototypeClassifier(3.0, classes=[0, 1, 2]),
        {"prior_weight": [1.0, 4.0]},
        ledger=ledger,
        method="repeat",
        mean_repeats=2.0,
        validation=last.record_ids,
    )
    labels = [label if label is not None else 2 for label in last.y]
    rows = np.vstack([cohort[:6].X, last.X])
    search.fit(rows, np.array([*cohort[:6].y, *labels]), record_ids=[*cohort[:6].record_ids, *last.record_ids])
    return {"best": search.best_params_, "score": search.best_score_, "model": search.best_estimator_, "ledger": ledger}


def test_own_coins_are_not_told_where_the_price_rests_on_them():
    finding = attacked(amplified, PatientCanary("in the pool", -1), runs=2)
    assert finding.statistic == "own coins secret"
    assert finding.verdict == "below its price"
    assert math.isnan(finding.claimed_mu)


def test_what_is_withheld_is_not_told_where_the_price_rests_on_it():
    finding = attacked(searched, PatientCanary("scores", -1), runs=4)
    assert finding.statistic == "published"
    assert finding.verdict == "below its price"


def test_a_learnt_statistic_finds_what_was_published_without_noise():
    """Weights come from one half of the runs, and the other half judges."""
    rng = np.random.default_rng(0)
    words = ["a", "b"]

    def run(there):
        return {
            "model": rng.normal(size=5) + 3 * there * np.eye(5)[2],
            "best": words[int(rng.random() < 0.5)],
            "n": np.array(1.0),
        }

    there, gone = weighed([run(1) for _ in range(200)], [run(0) for _ in range(200)])
    middle = (there[:100].mean() + gone[:100].mean()) / 2
    assert (there[100:] > middle).mean() > 0.85
    assert (gone[100:] > middle).mean() < 0.15


# -- what is stated beforehand ------------------------------------------------------------------------------------------


def test_the_ghost_is_found_and_said_to_be_unprotected():
    report = audit(model_of, canaries=[GhostCanary()], runs=2, progress=False)
    (finding,) = report.findings
    assert finding.verdict == "not protected, as stated"
    assert finding.mu_low == math.inf
    assert "releases_[0].expected_records" in finding.differing
    assert report.passed
    assert "roster is public" in str(report)


def test_an_audit_that_sees_nothing_says_so():
    """Only the ledger is returned, and nothing of it follows the roster."""

    def silent(cohort):
        return DPPrototypeClassifier(1.0, classes=[0], ledger=PrivacyLedger(PrivacyBudget(2.0))).ledger

    report = audit(silent, canaries=[GhostCanary()], runs=2, progress=False)
    assert report.findings[0].verdict == "NOT SEEN: the audit is blind"
    assert not report.passed


def test_power_is_that_of_half_the_noise():
    assert power_of(Claim(1.0, 4.4, 1e-5), 500, 0.95) > 0.999
    assert power_of(Claim(0.5, 1.8, 1e-5), 500, 0.95) > 0.9
    assert power_of(Claim(math.nan, 1.0, 0.0), 500, 0.95) > 0.99
    assert power_of(Claim(math.nan, 1.8, 1e-5), 1_000, 0.95) > power_of(Claim(math.nan, 1.8, 1e-5), 200, 0.95)
    assert math.isnan(power_of(Claim(math.nan, math.inf, 1e-5), 500, 0.95))
    runs = [power_of(Claim(1.5, 7.0, 1e-5), number, 0.95) for number in (20, 60, 200)]
    assert runs == sorted(runs)


def test_all_canaries_together_have_the_confidence(monkeypatch):
    """Each gets its share of the false alarm."""
    seen = []
    from skdpal.audit import engine

    honest = engine.attack
    monkeypatch.setattr(engine, "attack", lambda *a, **k: seen.append(k["confidence"]) or honest(*a, **k))
    canaries = [PatientCanary(str(at), at) for at in range(4)]
    audit(model_of, canaries=[*canaries, GhostCanary()], runs=2, confidence=0.9, progress=False)
    assert seen == pytest.approx([1 - 0.1 / 4] * 4)


@pytest.mark.slow
def test_the_result_does_not_depend_on_processes():
    alone, together = (
        audit(model_of, canaries=[LONG, GhostCanary()], runs=4, progress=False, n_jobs=jobs) for jobs in (None, 2)
    )
    assert alone.to_json() == together.to_json()


def test_progress_tells_canaries_and_numbers_of_runs_only():
    told = []
    audit(looped, canaries=[PatientCanary("pool", -1)], runs=2, progress=lambda *all_of_it: told.append(all_of_it))
    assert told == [(done, 4, "pool") for done in (1, 2, 3, 4)]


def test_receipts_that_change_make_the_ceiling_the_claim():
    def moody(cohort):
        model = model_of(cohort)
        return model_of(cohort, 0.6) if model.releases_[0].sums[0, 0] > 1.5 else model

    finding = attacked(moody, LONG, runs=10)
    assert finding.claimed_epsilon == pytest.approx(30.0)


# -- reports ------------------------------------------------------------------------------------------------------------


def finding(**changes):
    return Finding(**{"canary": "a", "protected": True, "claimed_mu": 1.0, "claimed_epsilon": 4.38, "delta": 1e-5, "runs": 10}
                   | {"power": 0.99949, "mu_low": 0.5, "epsilon_low": 0.4, "verdict": "below its price"} | changes)  # fmt: skip


def test_a_report_reads_well_and_is_json():
    report = AuditReport((finding(), finding(canary="ghost", protected=False, claimed_mu=math.nan, mu_low=math.inf,
                                             power=math.nan, verdict="not protected, as stated")))  # fmt: skip
    text = report.summary()
    assert "PASSED" in text
    assert "99.94%" in text  # rounded down
    assert "∞" in text
    assert str(report) == text
    assert json.loads(report.to_json())["findings"][1]["mu_low"] is None
    assert report.frame().columns.tolist() == [
        "canary", "protected", "claimed_mu", "claimed_epsilon", "delta", "runs", "power", "mu_low", "epsilon_low",
        "false_positives", "false_negatives", "verdict",
    ]  # fmt: skip
    assert "<td" in report._repr_html_()


@pytest.mark.parametrize("verdict", VERDICTS)
def test_verdicts_decide(verdict):
    fine = verdict in ("below its price", "not protected, as stated", "planted fault, caught")
    report = AuditReport((finding(), finding(canary="b", verdict=verdict)))
    assert report.passed is fine
    assert ("FAILED: see b" in str(report)) is not fine


def test_a_canary_s_name_is_no_markup():
    assert "<script>" not in AuditReport((finding(canary="<script>"),))._repr_html_()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: audit(lambda cohort: 1.0, runs=2, progress=False),
            ValueError,
            "Expected study_factory to return its ledger",
        ),
        (lambda: audit(model_of, runs=1), ValueError, "Expected runs"),
        (lambda: audit(model_of, confidence=1.0), ValueError, "Expected confidence"),
        (lambda: audit(model_of, canaries=[]), ValueError, "Expected canaries to be a list of canaries"),
        (lambda: audit(model_of, canaries=[LONG, LONG]), ValueError, "different names"),
        (lambda: audit(model_of, cohort=3), TypeError, "Expected cohort to be an AuditCohort"),
        (
            lambda: audit(model_of, canaries=[PatientCanary("a", 12)], progress=False),
            ValueError,
            "one of 12 slots. Found 12",
        ),
        (lambda: audit(model_of, canaries=[PatientCanary("a", "x")], progress=False), ValueError, "one of the roster"),
        (
            lambda: audit(model_of, canaries=[PatientCanary("a", account="cohort/x")], progress=False),
            ValueError,
            "Expected account to be one of",
        ),
        (
            lambda: audit(model_of, canaries=[ModalityCanary("m", modality="rna", columns=(0,))], progress=False),
            ValueError,
            "Expected receipts that name the modality 'rna'",
        ),
        (lambda: ModalityCanary("m").worlds(AuditCohort.example()), ValueError, "Expected modality and columns"),
        (lambda: LabelCanary("l", label=1, other=1).worlds(AuditCohort.example()), ValueError, "two different labels"),
        (lambda: LabelCanary("l", epsilon=-1.0), ValueError, "Expected epsilon"),
        (lambda: AuditCohort.from_arrays(np.eye(3), [1, 2]), ValueError, "Expected y to have one label"),
        (lambda: AuditCohort.from_arrays(np.eye(2), record_ids=["a", "a"]), ValueError, "each patient once"),
        (lambda: AuditCohort.example().folder, ValueError, "inside an audit"),
        (lambda: replay(model_of, runs=0), ValueError, "Expected runs"),
    ],
)
def test_what_is_wrong_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_study_that_fails_in_both_worlds_says_where():
    def broken(cohort):
        raise KeyError("no such column")

    with pytest.raises(KeyError) as caught:
        audit(broken, runs=2, progress=False)
    assert "study under audit, with the patient" in caught.value.__notes__[0]
