"""The audit of the demo study, its exit status, and a real study in a folder, file by file."""

import json

import pytest
from click.testing import CliRunner

import skdpal
from skdpal.audit import Canary, replay
from skdpal.audit import demo as demo_module
from skdpal.audit.demo import audit_demo, demo_cohort, exhibits
from skdpal.audit.report import AuditReport, Finding
from skdpal.cli.commands import main
from skdpal.learner import ActiveLearningStudy, plan_study
from skdpal.report import write_report

CLEAN = exhibits()


@pytest.mark.parametrize("number", range(len(CLEAN)))
def test_every_exhibit_pays_for_all_that_it_tells(number):
    """Along one run, for every canary: exact, without chance. The ghost alone may be seen."""
    shown = CLEAN[number]
    for canary in shown.canaries:
        report = replay(shown.factory, cohort=shown.cohort, canary=canary, runs=1)
        assert report.passed is canary.protected, report.summary()


def test_canaries_cover_all_parts_of_a_study():
    names = " ".join(canary.name for shown in exhibits() for canary in shown.canaries)
    for part in (
        "training",
        "hidden selection",
        "published selection",
        "evaluation",
        "tuning",
        "label",
        "modality",
        "shift",
        "ghost",
    ):
        assert part in names


@pytest.fixture
def quick(monkeypatch):
    """The quickest exhibit, for the bookkeeping around it."""
    labels = exhibits(quick=True)[-1]
    monkeypatch.setattr(demo_module, "exhibits", lambda **options: [labels])


def test_half_of_the_noise_is_part_of_the_audit(quick):
    told = []
    report = audit_demo(runs=3, progress=lambda *now: told.append(now))
    assert [finding.planted for finding in report.findings] == [False, True]
    assert report.findings[1].verdict == "PLANTED FAULT, MISSED"  # three runs find nothing, and the audit says so
    assert not report.passed
    assert told[-1][:2] == (12, 12)
    assert {name for _, _, name in told} == {"label privacy"}


@pytest.mark.parametrize(
    ("verdict", "status"),
    [("below its price", 0), ("BEATS ITS PRICE", 1), ("NOT SEEN: the audit is blind", 1), ("PLANTED FAULT, MISSED", 1)],
)
def test_the_exit_status_is_the_verdict(monkeypatch, tmp_path, verdict, status):
    report = AuditReport((Finding("training", True, 1.0, 4.4, 1e-5, 9, 0.9, verdict=verdict),))
    asked = {}

    def pretend(**options):
        asked.update(options)
        options["progress"](1, 2, "training")
        return report

    monkeypatch.setattr(demo_module, "audit_demo", pretend)
    result = CliRunner().invoke(main, ["audit", "--quick", "--jobs", "1", "--output", str(tmp_path / "audit.json")])
    assert result.exit_code == status, result.output
    assert verdict in result.output
    assert json.loads((tmp_path / "audit.json").read_text())["passed"] is (status == 0)
    assert (asked["quick"], asked["runs"], asked["n_jobs"], asked["confidence"]) == (True, 100, 1, 0.95)


@pytest.mark.slow
def test_a_quick_audit_of_the_demo_passes():
    result = CliRunner().invoke(main, ["audit", "--quick", "--jobs", "2"])
    assert result.exit_code == 0, result.output
    assert "planted fault, caught" in result.output
    assert "not protected, as stated" in result.output


# -- a real study, in a folder ------------------------------------------------------------------------------------------

DATA = skdpal.datasets.load_srbct(as_frame=True)
LINES = DATA.is_cell_line


class Diagnosed(Canary):
    """A patient of the start with a diagnosis, or with none, who takes part in nothing."""

    def worlds(self, cohort):
        return cohort, cohort.changed(self.patient, label="no diagnosis")


def in_a_folder(cohort, leak=False):
    X, y = DATA.data[LINES], DATA.target[LINES]
    plan = plan_study(
        skdpal.PrivacyBudget(8.0),
        n_labelled=6,
        n_pool=20,
        n_evaluation=11,
        labels_per_round=3,
        rounds=1,
        n_components=8,
    )
    encoder = skdpal.PublicEncoder(n_components=8, sample_scaling="standardize").fit(X, y)
    prior = skdpal.DPPrototypeClassifier.prior_from_public(encoder.transform(X), y)
    study = ActiveLearningStudy(cohort.folder / "study", plan, encoder, prior)
    labels = dict(zip(cohort.roster, cohort.labels, strict=True))
    study.run(cohort.table, lambda sheet: [labels[name] for name in sheet["patient"]], record_ids=list(cohort.roster))
    write_report(study.release_folder, X)
    if leak:
        (study.release_folder / "labels.txt").write_text(
            "x" * sum(label != "no diagnosis" for label in labels.values())
        )
    return study


@pytest.mark.slow
def test_every_file_of_a_study_s_release_is_paid_for():
    tumours = DATA.data[~LINES]
    first = demo_cohort().roster[0]  # in the start, whose members public randomness draws
    cohort = skdpal.audit.AuditCohort.from_arrays(tumours, DATA.target[~LINES])
    report = replay(in_a_folder, cohort=cohort, canary=Diagnosed("diagnosis", first), runs=1)
    assert report.passed, report.summary()
    paths = report.differences["path"].tolist()
    assert any("models" in path or "model" in path for path in paths)
    assert report.mu == pytest.approx(report.claim.mu, rel=1e-3)

    def leaking(cohort):
        return in_a_folder(cohort, leak=True)

    faulty = replay(leaking, cohort=cohort, canary=Diagnosed("diagnosis", first), runs=1)
    assert "release/labels.txt" in faulty.unexplained["path"].tolist()
