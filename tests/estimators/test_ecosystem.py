"""Estimators among others: frames of pandas and polars, columns, pipelines, routed metadata, persistence."""

import warnings

import numpy as np
import pandas as pd
import polars
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline, make_pipeline

from skdpal import DPNeuralClassifier, DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
from skdpal.estimators.neural.modules import GenomicClassifier

CLASSES = ["BL", "EWS", "NB", "RMS"]


def learners():
    return [
        pytest.param(DPPrototypeClassifier(20.0, classes=CLASSES), id="prototype"),
        pytest.param(
            DPNeuralClassifier(GenomicClassifier, 40.0, classes=CLASSES, max_epochs=2, module__widths=(8,)), id="neural"
        ),
    ]


@pytest.fixture
def frame(embedded):
    return pd.DataFrame(embedded.X, index=embedded.ids, columns=[f"z{number}" for number in range(16)])


@pytest.mark.parametrize("learner", learners())
def test_frames_of_pandas_and_polars(ledger, frame, embedded, learner):
    learner = clone(learner).set_params(ledger=ledger)
    learner.fit(frame, embedded.y)
    assert list(learner.feature_names_in_) == list(frame.columns)
    other = polars.DataFrame({name: frame[name].to_numpy() for name in frame})
    assert np.array_equal(learner.predict(other), learner.predict(frame))
    learner.fit(other, polars.Series(embedded.y.tolist()), record_ids=embedded.ids)
    with pytest.raises(ValueError, match="feature names"):
        learner.predict(other.rename({"z0": "other"}))


@pytest.mark.parametrize("learner", learners())
def test_columns_and_pipelines_with_frames_out(ledger, srbct, embedded, learner):
    columns = ColumnTransformer([("rna", FrozenEstimator(embedded.encoder), list(srbct.X.columns))])
    model = make_pipeline(columns, clone(learner).set_params(ledger=ledger)).set_output(transform="pandas")
    model.fit(srbct.X, embedded.y)
    inside = model[-1].feature_names_in_
    assert inside[0] == "rna__publicencoder0"
    assert model[:-1].transform(srbct.X).index.equals(srbct.X.index)  # names of patients are kept
    assert model.predict_proba(srbct.X).shape == (37, 4)


@pytest.mark.parametrize("learner", learners())
def test_record_ids_are_routed(ledger, frame, embedded, learner):
    with sklearn.config_context(enable_metadata_routing=True):
        learner = clone(learner).set_params(ledger=ledger).set_fit_request(record_ids=True, expected_records=True)
        Pipeline([("learn", learner)]).fit(frame, embedded.y, record_ids=embedded.ids, expected_records=40)
    assert len(ledger.receipts()) == 1


@pytest.mark.parametrize("learner", learners())
def test_sample_weights_are_refused_with_the_reason(ledger, frame, embedded, learner):
    learner = clone(learner).set_params(ledger=ledger)
    for fit in (learner.fit, learner.partial_fit):
        with pytest.raises(TypeError, match="sample_weight.* sensitivity"):
            fit(frame, embedded.y, sample_weight=np.ones(len(frame)))
    assert ledger.spent() == 0


def test_a_search_over_noise_multipliers_in_two_processes_charges_one_ledger(tmp_path, frame, embedded):
    ledger = PrivacyLedger.create(tmp_path / "study.ledger", PrivacyBudget(50.0, 1e-5))
    search = GridSearchCV(
        DPPrototypeClassifier(classes=CLASSES, ledger=ledger),
        {"noise_multiplier": [2.0, 4.0]},
        cv=KFold(3),
        n_jobs=2,
        scoring="accuracy",
        error_score="raise",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(frame, embedded.y)
    assert len(ledger.receipts()) == 2 * 3 + 1
    assert ledger.certificate()["status"] == "void: chosen by uncharged scores"


def test_skops_stores_a_model_without_patients(ledger, frame, embedded):
    from skops import io

    model = DPPrototypeClassifier(20.0, prior=embedded.prior, ledger=None, classes=CLASSES)
    fitted = clone(model).set_params(ledger=ledger).fit(frame, embedded.y).set_params(ledger=None)
    text = io.dumps(fitted)
    assert embedded.X[0].tobytes() not in text
    unknown = io.get_untrusted_types(data=text)
    assert all(name.startswith("skdpal.estimators.") for name in unknown), unknown
    again = io.loads(text, trusted=unknown)
    assert np.array_equal(again.predict_proba(frame), fitted.predict_proba(frame))
