"""Tables go in and come out with names of genes and patients, and no library warns on the way."""

import pandas as pd
import pytest

import skdpal


@pytest.fixture(scope="module")
def tables():
    data = skdpal.datasets.load_srbct(as_frame=True)
    lines = data.is_cell_line
    encoder = skdpal.PublicEncoder(n_components=8).set_output(transform="pandas")
    encoder.fit(data.data[lines], data.target[lines])
    reference = encoder.out_of_sample(data.data[lines], data.target[lines])
    return encoder.transform(data.data), data.target, lines, reference


def test_out_of_sample_keeps_to_set_output(tables):
    embedded, _, lines, reference = tables
    assert isinstance(reference, pd.DataFrame)
    assert reference.index.equals(embedded.index[lines])
    assert reference.columns.equals(embedded.columns)


@pytest.mark.parametrize("scorer", ["public-first", "public", "released"])
def test_a_study_of_tables_with_names_warns_of_nothing(tables, scorer):
    embedded, target, lines, reference = tables
    patients, truth = embedded[~lines], target[~lines]
    prior = skdpal.DPPrototypeClassifier.prior_from_public(embedded[lines], target[lines])
    learner = skdpal.PrivateActiveLearner(
        skdpal.DPPrototypeClassifier(2.0, prior),
        skdpal.PrivateQuery(reference=reference, n_pool=20, scorer=scorer),
        patients[:6],
        truth[:6],
        ledger=skdpal.PrivacyLedger(skdpal.PrivacyBudget(2.0)),
    )
    for _ in range(2):  # a UserWarning of scikit-learn would fail the test
        chosen, rows = learner.query(patients[6:26], n_instances=5)
        assert rows.index.equals(patients.index[6:26][chosen])
        learner.teach(rows, truth[rows.index])
    assert learner.estimator.public_model().predict(patients).shape == (37,)
