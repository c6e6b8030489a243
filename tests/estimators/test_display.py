"""Estimators in notebooks show what is left of the budget."""

import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer

from skdpal import DPEncoder, DPNeuralClassifier, DPPrototypeClassifier
from skdpal.privacy import events

ESTIMATORS = [DPPrototypeClassifier, DPNeuralClassifier, DPEncoder]


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_bar_tells_spent_and_ceiling(ledger, kind):
    html = kind(ledger=ledger)._repr_html_()
    assert "ε 0.00 spent (odometer) of 2.00, δ=1e-05, account cohort" in html
    ledger.charge(events.gaussian(2.0), label="fit")
    html = kind(ledger=ledger)._repr_mimebundle_()["text/html"]
    assert f"ε {ledger.spent():.2f} spent" in html
    assert f"width:{50 * ledger.spent():.1f}%" in html
    assert kind.__name__ in html


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_without_a_ledger_it_says_so(kind):
    assert "no ledger: fits inside simulation() only" in kind()._repr_html_()


def test_accounts_are_named_and_pipelines_still_draw(ledger):
    model = DPPrototypeClassifier(ledger=ledger.within("cohort/pool"))
    assert "account cohort/pool" in model._repr_html_()
    assert "DPPrototypeClassifier" in make_pipeline(Normalizer(), model)._repr_html_()
