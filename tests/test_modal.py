"""modAL's own learner, and its contract on ours."""

import numpy as np
import pytest
from modAL.models import ActiveLearner

from skdpal import BudgetExhausted, DPPrototypeClassifier, PrivateActiveLearner, PrivateQuery
from skdpal.privacy import PrivacyBudget, PrivacyLedger


@pytest.fixture
def plain(embedded):
    ledger = PrivacyLedger(PrivacyBudget(2.0, 1e-5))
    query = PrivateQuery(reference=embedded.reference, n_pool=20)
    model = DPPrototypeClassifier(4.0, prior=embedded.prior, ledger=ledger)
    return ActiveLearner(model, query, X_training=embedded.X[:6], y_training=embedded.y[:6])


def test_a_plain_learner_is_constructed_and_queries(plain, embedded):
    pool = embedded.X[6:26]
    indices, rows = plain.query(pool, n_instances=3)
    assert (rows == pool[indices]).all()
    assert len(plain.estimator.ledger.receipts()) == 1
    assert plain.predict(pool).shape == (20,)
    assert plain.score(embedded.X_public[:3], ["EWS"] * 3, public=True) >= 0


def test_the_strategy_is_called_once(embedded):
    calls = []

    class Counting(PrivateQuery):
        def __call__(self, *args, **kwargs):
            calls.append(args)
            return super().__call__(*args, **kwargs)

    ledger = PrivacyLedger(PrivacyBudget(2.0, 1e-5))
    for kind in (ActiveLearner, PrivateActiveLearner):
        model = DPPrototypeClassifier(6.0, prior=embedded.prior, ledger=ledger)
        X, y = embedded.X[:6], embedded.y[:6]
        learner = kind(model, Counting(reference=embedded.reference, n_pool=20), X_training=X, y_training=y)
        calls.clear()
        learner.query(embedded.X[6:26], n_instances=3)
        assert len(calls) == 1


def test_a_plain_learner_is_refused_a_query_that_prepares_too_much(embedded):
    ledger = PrivacyLedger(PrivacyBudget(2.0, 1e-5))
    model = DPPrototypeClassifier(2.0, prior=embedded.prior, ledger=ledger)
    learner = ActiveLearner(model, PrivateQuery(n_pool=20), X_training=embedded.X[:6], y_training=embedded.y[:6])
    with pytest.raises(BudgetExhausted, match=r"query for about 3 labels.*costs ε=.*spent .* of 2\.00"):
        learner.query(embedded.X[6:26], n_instances=3)
    assert ledger.hidden_rounds == 0


def test_after_a_hidden_query_a_plain_refit_must_not_count(plain, embedded):
    plain.query(embedded.X[6:26], n_instances=3)
    with pytest.raises(ValueError, match="expected_records"):
        plain.estimator.fit(embedded.X[:9], embedded.y[:9])
    plain.estimator.set_params(noise_multiplier=6.0).fit(embedded.X[:9], embedded.y[:9], expected_records=9)


def test_the_contract_of_modal_holds_for_ours(embedded, ledger):
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(2.0, prior=embedded.prior),
        PrivateQuery(reference=embedded.reference, n_pool=20),
        X_training=embedded.X[:6],
        y_training=embedded.y[:6],
        ledger=ledger,
    )
    assert isinstance(learner, ActiveLearner)
    assert (learner.X_training == embedded.X[:6]).all()
    indices, rows = learner.query(embedded.X[6:26], n_instances=4)
    assert learner.teach(rows, embedded.y[6:26][indices]) is None
    assert len(learner.X_training) == len(learner.y_training) == 6 + len(indices)
    assert learner.predict_proba(embedded.X[:2]).shape == (2, 4)
    assert np.isin(learner.predict(embedded.X[:5]), learner.estimator.classes_).all()
