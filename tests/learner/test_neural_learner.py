"""The loop with a network as its learner: hidden rounds, each patient pays once."""

import numpy as np
import pytest

from skdpal import DPNeuralClassifier, PrivacyBudget, PrivacyLedger, PrivateActiveLearner, PrivateQuery
from skdpal.estimators.neural.modules import GenomicClassifier
from skdpal.privacy import calibrate, events

STEPS = 4


@pytest.fixture
def learner(embedded):
    budget = PrivacyBudget(2.0, 1e-5)
    noise = calibrate(lambda sigma: events.gaussian(sigma, steps=STEPS), budget)
    network = DPNeuralClassifier(
        GenomicClassifier, noise, classes=np.unique(embedded.y), max_epochs=STEPS, module__widths=(8,), random_state=0
    )
    return PrivateActiveLearner(
        network,
        PrivateQuery("margin", reference=embedded.reference, n_pool=20),
        embedded.X[:10],
        embedded.y[:10],
        ledger=PrivacyLedger(budget),
        record_ids=embedded.ids[:10],
    )


def test_hidden_rounds_of_a_network_cost_the_ceiling_of_one(learner, embedded):
    X, y, ids = embedded.X[10:30], embedded.y[10:30], embedded.ids[10:30]
    for _ in range(2):
        before = learner.estimator.fingerprint()
        indices, rows = learner.query(X, 3, record_ids=ids)
        again, _ = learner.query(X, 3, record_ids=ids)
        assert np.array_equal(indices, again)
        learner.teach(rows, y[indices], record_ids=ids[indices])
        assert learner.estimator.fingerprint() != before
    assert [receipt.account for receipt in learner.ledger.receipts()] == [
        "cohort/start",
        "cohort/round-1",
        "cohort/round-2",
    ]
    assert learner.ledger.spent() == pytest.approx(2.0, abs=1e-3)


def test_a_round_in_which_nobody_was_accepted_trains_and_charges(learner, embedded):
    learner.query(embedded.X[10:30], 3, record_ids=embedded.ids[10:30])
    before = learner.estimator.fingerprint()
    learner.teach(embedded.X[:0], embedded.y[:0], record_ids=[])
    assert learner.estimator.fingerprint() != before
    assert learner.ledger.receipts()[-1].account == "cohort/round-1"
