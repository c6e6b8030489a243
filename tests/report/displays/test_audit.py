"""Claims and bounds are drawn where they are; what beats its price cannot be overlooked."""

import numpy as np
import pandas as pd
import pytest

from skdpal.audit import GhostCanary, PatientCanary, audit
from skdpal.audit.report import VERDICTS
from skdpal.report import AuditDisplay


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "canary": ["training", "tuning", "label_privacy", "ghost"],
            "protected": [True, True, True, False],
            "claimed_mu": [0.5, np.nan, 0.3, np.nan],
            "claimed_epsilon": [2.0, 1.5, 1.1, np.nan],
            "delta": 1e-5,
            "runs": 400,
            "power": [0.93, 0.8, 0.7, np.nan],
            "mu_low": [0.42, 0.2, 0.36, np.inf],
            "epsilon_low": [1.6, 0.9, 1.4, np.inf],
        }
    )


def dots(display):
    return {line.get_ydata()[0]: line.get_xdata()[0] for line in display.ax_.lines if line.get_linestyle() == "None"}


def ticks(display):
    return {
        np.mean(line.get_ydata()): line.get_xdata()[0] for line in display.ax_.lines if np.ptp(line.get_ydata()) > 0
    }


@pytest.mark.parametrize("unit", ["mu", "epsilon"])
def test_dots_and_ticks_are_where_the_table_says(frame, unit):
    display = AuditDisplay.from_report(frame, unit=unit)
    assert [dots(display)[place] for place in (3, 2, 1)] == frame[f"{unit}_low"][:3].tolist()
    claims = frame[f"claimed_{unit}"][:3]
    assert ticks(display) == {3 - place: claim for place, claim in enumerate(claims) if np.isfinite(claim)}


def test_a_claim_in_the_other_unit_is_said(frame):
    words = [text.get_text() for text in AuditDisplay.from_report(frame).ax_.texts]
    assert words == ["power 0.93", "claimed\nε = 1.5", "beats its\nprice", "seen"]


def test_what_beats_its_price_is_named(frame):
    display = AuditDisplay.from_report(frame)
    assert display.beaten_ == ["label_privacy"]
    assert any("beats its" in text.get_text() for text in display.ax_.texts)
    fair = AuditDisplay.from_report(frame.assign(mu_low=[0.42, 0.2, 0.2, np.inf], epsilon_low=[1.6, 0.9, 0.7, np.inf]))
    assert fair.beaten_ == []
    assert not any("beats" in text.get_text() for text in fair.ax_.texts)


def test_the_ghost_is_not_protected_as_stated(frame):
    display = AuditDisplay.from_report(frame)
    assert "ghost\nnot protected, as stated" in [tick.get_text() for tick in display.ax_.get_yticklabels()]
    assert dots(display)[0] <= display.ax_.get_xlim()[1]
    assert 0 not in ticks(display)
    assert display.ax_.get_xlim()[1] < 1  # what is protected decides the scale


def test_verdicts_of_a_report_count(frame):
    for verdict in VERDICTS:
        display = AuditDisplay.from_report(frame.assign(verdict=[verdict, *3 * ["below its price"]]))
        beaten = (
            ["training"]
            if verdict in {"BEATS ITS PRICE", "exceeds its price on a path", "differs without a receipt"}
            else []
        )
        assert display.beaten_ == beaten
        said = " ".join(" ".join(text.get_text() for text in display.ax_.texts).split())
        assert (verdict.lower() in said) == (verdict not in {"below its price", "not protected, as stated"})


def test_a_real_report_is_drawn():
    def study(cohort):
        from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger

        ledger = PrivacyLedger(PrivacyBudget(2.0))
        model = DPPrototypeClassifier(2.0, classes=[0, 1], ledger=ledger)
        return model.fit(cohort.X, cohort.y, record_ids=cohort.record_ids, expected_records=cohort.n_patients)

    X = np.linspace(-0.5, 0.5, 24).reshape(12, 2)
    canaries = [PatientCanary("patient"), GhostCanary("ghost")]
    report = audit(study, cohort=(X, np.arange(12) % 2), canaries=canaries, runs=3, progress=False)
    display = AuditDisplay.from_report(report)
    pd.testing.assert_frame_equal(display.canaries, report.frame())
    assert len(display.ax_.get_yticks()) == len(report.frame())


def test_axes_and_keywords_are_passed_on(frame, column):
    display = AuditDisplay.from_report(frame, ax=column, ms=12)
    assert display.ax_ is column
    assert {line.get_markersize() for line in column.lines if line.get_linestyle() == "None"} == {12}
    assert display.plot(unit="epsilon") is display


@pytest.mark.parametrize("unit", ["mu", "epsilon"])
def test_words_have_room(frame, column, readable, unit):
    readable(AuditDisplay.from_report(frame, ax=column, unit=unit).figure_)
    readable(AuditDisplay.from_report(frame, unit=unit).figure_)


def test_wrong_input_is_named(frame):
    with pytest.raises(TypeError, match="Expected report to be a DataFrame. Found dict"):
        AuditDisplay.from_report({})
    with pytest.raises(ValueError, match="none of the name 'protected'"):
        AuditDisplay.from_report(frame.drop(columns="protected"))
    with pytest.raises(ValueError, match="Expected unit"):
        AuditDisplay.from_report(frame, unit="delta")
