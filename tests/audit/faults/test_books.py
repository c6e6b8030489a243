"""A charge after the release: a crash, or a refusal, then leaves something outside that nobody paid for.

The check looks at every noisy answer of a study: when it is drawn, the receipts must already pay for it and for all before it.
"""

import numpy as np
import pytest

from skdpal import BudgetExhausted, DPLinearClassifier, DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
from skdpal.estimators import DPShift, linear, prototype
from skdpal.estimators.public import shift
from skdpal.model_selection import metrics, private_accuracy
from skdpal.privacy.accounting import mu_squared
from skdpal.privacy.mechanisms import GaussianSum
from skdpal.privacy.mechanisms.door import require_ledger
from skdpal.privacy.randomness import simulation
from tests.audit.faults.studies import CLASSES, IDS, LABELS, ROWS

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
PARTS = {
    "prototype": (
        prototype,
        lambda ledger: DPPrototypeClassifier(0.7, classes=range(CLASSES), ledger=ledger).fit(
            ROWS, LABELS, record_ids=IDS, expected_records=12
        ),
    ),
    "linear": (
        linear,
        lambda ledger: DPLinearClassifier(0.7, classes=range(CLASSES), steps=2, ledger=ledger).fit(
            ROWS, LABELS, record_ids=IDS, expected_records=12
        ),
    ),
    "shift": (shift, lambda ledger: DPShift(0.7, ledger=ledger).fit(ROWS, record_ids=IDS, expected_records=12)),
    "accuracy": (
        metrics,
        lambda ledger: private_accuracy(PUBLIC, ROWS, LABELS, ledger=ledger, noise_multiplier=0.7, record_ids=IDS),
    ),
}
PUBLIC = DPPrototypeClassifier(prior=DPPrototypeClassifier.prior_from_public(ROWS[:6] / 2, LABELS[:6])).public_model()


def release_then_charge(values, mechanism, ledger, label, *, record_ids):
    """Planted: the same door, with two lines exchanged."""
    payer = require_ledger(ledger)
    answer = mechanism.run(values(), record_ids)
    payer.charge_once(mechanism.event, label, record_ids)
    return answer


def unpaid_answers(monkeypatch, part):
    """How many noisy answers were drawn before the receipts paid for them."""
    ledger, drawn, found = PrivacyLedger(PrivacyBudget(20.0)), [0.0], []

    def look(run):
        def watched(mechanism, *arguments):
            drawn[0] += mu_squared(mechanism.event)
            paid = sum(mu_squared(receipt.event) for receipt in ledger.receipts())
            found.append(drawn[0] > paid * (1 + 1e-12))
            return run(mechanism, *arguments)

        return watched

    with monkeypatch.context() as patch:
        patch.setattr(GaussianSum, "run", look(GaussianSum.run))
        patch.setattr(linear.NoisyDescent, "run", look(linear.NoisyDescent.run))
        PARTS[part][1](ledger)
    assert found
    return sum(found)


@pytest.mark.parametrize("part", PARTS)
def test_answers_are_paid_before_they_are_drawn(monkeypatch, part):
    assert unpaid_answers(monkeypatch, part) == 0


@pytest.mark.parametrize("part", PARTS)
def test_a_charge_after_the_release_is_seen(monkeypatch, part):
    monkeypatch.setattr(PARTS[part][0], "release", release_then_charge)
    assert unpaid_answers(monkeypatch, part) == 1


def left_by_a_refusal(monkeypatch):
    """Answers that exist although the ledger said no: each call could be printed, or sent, before it said so."""
    ledger, answers = PrivacyLedger(PrivacyBudget(0.5)), []
    run = GaussianSum.run
    monkeypatch.setattr(GaussianSum, "run", lambda self, *rest: answers.append(run(self, *rest)) or answers[-1])
    monkeypatch.setattr(
        PrivacyLedger, "require", lambda *arguments, **options: None
    )  # whoever asks first is not the point
    with pytest.raises(BudgetExhausted):
        PARTS["prototype"][1](ledger)
    return len(answers), len(ledger.receipts())


def test_a_refusal_leaves_nothing(monkeypatch):
    assert left_by_a_refusal(monkeypatch) == (0, 0)


def test_with_the_charge_after_the_release_a_refusal_leaves_an_answer_without_a_receipt(monkeypatch):
    monkeypatch.setattr(prototype, "release", release_then_charge)
    assert left_by_a_refusal(monkeypatch) == (1, 0)


def test_nobody_can_forget_to_tell_the_ledger():
    """An accountant that was never told of a training reads ε = 0; here it is told by the release itself."""
    with pytest.raises(ValueError, match="Expected ledger to be a PrivacyLedger"):
        PARTS["prototype"][1](None)
    ledger = PrivacyLedger(PrivacyBudget(20.0))
    assert ledger.spent() == 0
    PARTS["prototype"][1](ledger)
    assert ledger.spent() > 1


@pytest.mark.slow
def test_an_accountant_that_was_not_told_reads_nothing():
    """Opacus's, attached to nothing: ε = 0 after any training."""
    from opacus.accountants import RDPAccountant

    assert RDPAccountant().get_epsilon(delta=1e-5) == 0


def test_a_seeded_study_says_that_it_is_not_private():
    """Noise that can be drawn again is no noise; its certificate is void from the start."""
    with simulation(seed=3):
        ledger = PrivacyLedger(PrivacyBudget(20.0))
        first = PARTS["prototype"][1](ledger).release_[0]
        assert ledger.certificate()["status"] == "simulation: not private"
    second, third = (PARTS["prototype"][1](PrivacyLedger(PrivacyBudget(20.0))).release_[0] for _ in range(2))
    assert not np.array_equal(second, third)
    assert not np.array_equal(first, second)
