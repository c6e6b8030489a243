"""The widget does what the worksheet does; its buttons are pressed without a browser."""

import sys

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("ipywidgets")

from skdpal import ActiveLearningStudy, PrivacyBudget, plan_study  # noqa: E402
from skdpal.learner.study import NO_DIAGNOSIS  # noqa: E402

PLAN = plan_study(PrivacyBudget(2.0, 1e-5), 6, 20, 3, 1, n_components=16)


@pytest.fixture
def study(embedded, srbct, tmp_path):
    notes = ["<script>alert(1)</script>" for _ in srbct.X.index]
    return ActiveLearningStudy(
        tmp_path / "study",
        PLAN,
        embedded.encoder,
        embedded.prior,
        reference=embedded.reference,
        readers=["Anna", "Ben"],
    ).enrol(srbct.X, worksheet_columns=pd.DataFrame({"note": notes}))


def text_of(widget):
    return widget.view.children[0].value


def test_pressing_buttons_labels_patients(study):
    widget = study.label()
    assert list(widget.buttons) == ["BL", "EWS", "NB", "RMS", NO_DIAGNOSIS, "back", "skip", "save"]
    assert "1 of 6" in text_of(widget)
    widget.buttons["back"].click()
    assert "1 of 6" in text_of(widget)
    widget.buttons["EWS"].click()
    widget.buttons["skip"].click()
    assert "3 of 6" in text_of(widget)
    widget.buttons["back"].click()
    widget.buttons["BL"].click()
    widget.buttons["back"].click()
    widget.buttons[NO_DIAGNOSIS].click()
    widget.buttons["save"].click()
    assert "saved" in text_of(widget)
    assert len(study.missing()) == 4
    widget = study.label()  # on another day: goes on at the first that is open
    assert "3 of 6" in text_of(widget)
    for _ in range(9):
        widget.buttons["EWS"].click()
    widget.buttons["save"].click()
    assert study.missing() == []
    assert study.next_batch().frame["diagnosis"].tolist() == ["EWS", NO_DIAGNOSIS, *["EWS"] * 4]


def test_each_reader_sees_the_own_answers_only(study):
    first = study.label("Anna")
    first.buttons["EWS"].click()
    first.buttons["save"].click()
    assert "EWS" in text_of(study.label("Anna")) or "2 of 6" in text_of(study.label("Anna"))
    assert "EWS" not in text_of(study.label("Ben"))
    assert study.next_batch().frame["Anna"].tolist()[0] == "EWS"
    with pytest.raises(ValueError, match="Expected reader"):
        study.label("Carl")


def test_what_a_table_holds_is_text_and_never_markup(study):
    assert "<script>" not in text_of(study.label())
    assert "&lt;script&gt;" in text_of(study.label())


def test_what_cannot_be_saved_is_said(study):
    widget = study.label()
    for _ in range(6):
        widget.buttons["EWS"].click()
    study.submit(study.next_batch().frame.assign(diagnosis="BL"))
    study.release()
    widget.buttons["save"].click()
    assert "not saved" in text_of(widget)


def test_nobody_to_label_is_a_step_like_any_other(study, monkeypatch):
    from skdpal import PrivacyLedger

    study.submit(study.next_batch().frame.assign(diagnosis="EWS"))
    study.release()
    monkeypatch.setattr(PrivacyLedger, "coins", lambda self, label, ids: np.ones(len(ids)))
    widget = study.label()
    assert "Nobody to label" in text_of(widget)
    for word in ("EWS", "skip", "save"):
        widget.buttons[word].click()
    assert "saved" in text_of(widget)
    study.release()


def test_a_notebook_shows_it(study):
    assert "application/vnd.jupyter.widget-view+json" in study.label()._repr_mimebundle_()


def test_without_ipywidgets_the_way_out_is_named(study, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match=r"skdpal\[notebook\]"):
        study.label()
