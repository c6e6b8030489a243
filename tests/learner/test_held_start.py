"""A start that is released together with the first round."""

import numpy as np
import pytest

from skdpal import (
    BudgetExhausted,
    DPPrototypeClassifier,
    PrivacyBudget,
    PrivacyLedger,
    PrivateActiveLearner,
    PrivateQuery,
    plan_study,
)
from skdpal.privacy import events

IDS = [f"p{number}" for number in range(26)]


def held(embedded, ledger, start=6, **options):
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(2.0, prior=embedded.prior),
        PrivateQuery(reference=embedded.reference, n_pool=20),
        ledger=ledger,
        hold_start=True,
        **options,
    )
    if start:
        learner.fit(embedded.X[:start], embedded.y[:start], record_ids=IDS[:start])
    return learner


def ask(learner, embedded, n=3):
    chosen, rows = learner.query(embedded.X[6:26], n, record_ids=IDS[6:])
    return chosen, rows, embedded.y[6:26][chosen], [IDS[6 + at] for at in chosen]


def test_nothing_is_paid_or_learnt_before_the_first_round(embedded, ledger):
    learner = held(embedded, ledger)
    public = learner.estimator.public_model()
    np.testing.assert_array_equal(learner.predict_proba(embedded.X), public.predict_proba(embedded.X))
    chosen = ask(learner, embedded)[0]
    assert ledger.receipts() == []
    assert ledger.accounts() == ["cohort/pool"]
    assert len(learner.X_training) == 6
    again = held(embedded, ledger)
    np.testing.assert_array_equal(ask(again, embedded)[0], chosen)


def test_one_release_covers_both(embedded, ledger):
    learner = held(embedded, ledger)
    _, rows, labels, ids = ask(learner, embedded)
    learner.teach(rows, labels, record_ids=ids)
    assert [receipt.account for receipt in ledger.receipts()] == ["cohort/round-1"]
    (release,) = learner.estimator.releases_
    assert release.expected_records == 9  # the start, and what was asked for
    assert set(ledger.accounts_of([*IDS[:6], *ids])) == {"cohort/round-1"}
    _, rows, labels, ids = ask(learner, embedded)
    learner.teach(rows, labels, record_ids=ids)
    assert [receipt.account for receipt in ledger.receipts()] == ["cohort/round-1", "cohort/round-2"]
    assert len(learner.estimator.releases_) == 2


def test_the_start_is_in_the_release(embedded):
    """With next to no noise, counts are those of the start and the chosen."""
    ledger = PrivacyLedger(PrivacyBudget(1e9))
    learner = held(embedded, ledger)
    learner.estimator.set_params(noise_multiplier=1e-3)
    _, rows, labels, ids = ask(learner, embedded, 8)
    learner.teach(rows, labels, record_ids=ids)
    counts = learner.estimator.release_[1] * np.sqrt(2)
    everybody = np.concatenate([embedded.y[:6], labels])
    np.testing.assert_allclose(counts, [(everybody == name).sum() for name in learner.estimator.classes_], atol=0.05)


def test_run_again_it_is_the_same_and_free(embedded, tmp_path):
    PrivacyLedger.create(tmp_path / "study.ledger", PrivacyBudget(2.0))
    models = []
    for _ in range(2):
        ledger = PrivacyLedger.open(tmp_path / "study.ledger")
        learner = held(embedded, ledger)
        for _ in range(2):
            _, rows, labels, ids = ask(learner, embedded)
            learner.teach(rows, labels, record_ids=ids)
        models.append(learner.predict_proba(embedded.X))
    np.testing.assert_array_equal(*models)
    assert len(ledger.receipts()) == 2


def test_nobody_to_start_from_and_nobody_accepted_is_a_release_as_any_other(embedded, ledger):
    learner = held(embedded, ledger, start=0)
    ask(learner, embedded)
    learner.teach(embedded.X[:0], embedded.y[:0], record_ids=[])
    assert len(ledger.receipts()) == 1
    assert learner.estimator.releases_[0].expected_records == 3


def test_a_refusal_leaves_everybody_where_they_were(embedded, ledger):
    learner = held(embedded, ledger)
    _, rows, labels, ids = ask(learner, embedded)
    learner.estimator.set_params(noise_multiplier=0.5)
    with pytest.raises(BudgetExhausted, match="costs ε"):
        learner.teach(rows, labels, record_ids=ids)
    learner.estimator.set_params(noise_multiplier=2.0)
    with pytest.raises(ValueError, match="every label of y"):
        learner.teach(np.vstack([rows, embedded.X[[6]]]), [*labels, "XYZ"], record_ids=[*ids, IDS[6]])
    assert ledger.accounts() == ["cohort/pool"]
    assert len(learner.X_training) == 6
    learner.teach(rows, labels, record_ids=ids)
    assert len(ledger.receipts()) == 1


def test_it_needs_a_public_model(ledger):
    with pytest.raises(ValueError, match="public prior"):
        PrivateActiveLearner(
            DPPrototypeClassifier(2.0, classes=["a", "b"]), PrivateQuery(n_pool=20), ledger=ledger, hold_start=True
        )


def test_amplified_rounds_follow_a_held_start(embedded):
    plan = plan_study(PrivacyBudget(2.0), 6, 20, 3, 3, filter="planned", hold_start=True)
    ledger = PrivacyLedger(plan.budget, "planned", schedule=plan)
    learner = held(embedded, ledger, amplified=True)
    for noise in plan.round_noise:
        learner.estimator.set_params(noise_multiplier=noise)
        _, rows, labels, ids = ask(learner, embedded)
        learner.teach(rows, labels, record_ids=ids)
    kinds = [type(receipt.event) for receipt in ledger.receipts()]
    assert kinds == [events.Gaussian, events.PoissonGaussian, events.PoissonGaussian]
    assert ledger.spent() <= 2.0
    assert ledger.certificate()["status"] == "valid"
