"""The linear classifier: one price for any number of steps, clipped by patient, public numbers only."""

from unittest import SkipTest

import numpy as np
import pytest
from scipy.stats import binom, norm
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdpal import BudgetExhausted, DPLinearClassifier, DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
from skdpal.audit import attack, mu_lower_bound, repeated
from skdpal.estimators import linear
from skdpal.estimators.regime import WeakSignalWarning
from skdpal.privacy import events
from skdpal.privacy.identities import sum_by_patient
from skdpal.privacy.randomness import simulation

RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 6)) / 4
Y = np.where(X[:, 0] - 0.5 * X[:, 1] > 0, "yes", "no")


def model(**parameters):
    return DPLinearClassifier(**({"noise_multiplier": 2.0, "classes": ["no", "yes"]} | parameters))


def test_a_fit_is_charged_before_a_row_is_read(exhausted, untouchable, journal):
    before = journal(exhausted)
    with pytest.raises(BudgetExhausted, match=r"fit costs ε=1\.\d+; spent 2\.00 of 2\.00"):
        model(noise_multiplier=3.0, ledger=exhausted).fit(untouchable, untouchable)
    assert journal(exhausted) == before


@pytest.mark.parametrize("steps", ["auto", 1, 7])
def test_any_number_of_steps_has_one_price(steps):
    ledger = PrivacyLedger(PrivacyBudget(5.0, 1e-5))
    learner = model(steps=steps, ledger=ledger).fit(X, Y)
    learner.partial_fit(X[:0], Y[:0], expected_records=10)
    assert [receipt.event for receipt in ledger.receipts()] == [events.gaussian(2.0)] * 2
    assert learner.privacy_event() == learner.privacy_event(9) == events.gaussian(2.0)


@pytest.mark.parametrize("steps", [1, 4, 16])
def test_the_noise_of_the_steps_adds_up_to_what_was_charged(steps):
    """Σ 1/σ² over the steps is at most 1/noise_multiplier²; recorded where the noise is drawn."""
    scales, real = [], linear.perturb

    def recorded(values, scale):
        scales.append(scale)
        return real(values, scale)

    with pytest.MonkeyPatch.context() as patch, simulation(0):
        patch.setattr(linear, "perturb", recorded)
        model(steps=steps, clipping_norm=0.5).fit(X, Y)
    assert len(scales) == steps
    price = sum((0.5 / scale) ** 2 for scale in scales)
    assert 0.999 / 4 < price <= 1 / 4


def test_steps_follow_the_public_rule(simulated):
    for expected, steps in ((10, 1), (50, 4), (400, 16)):
        assert model().fit(X, Y, expected_records=expected).steps_ == steps


def test_it_learns_with_privacy(simulated):
    learner = model(noise_multiplier=2.2).fit(X, Y)
    assert (learner.predict(X) == Y).mean() > 0.8
    assert np.allclose(learner.predict_proba(X).sum(axis=1), 1.0)
    assert np.array_equal(learner.predict(X) == "yes", learner.decision_function(X) > 0)


def test_three_classes_and_a_cohort_more(simulated):
    labels = np.select([X[:, 0] > 0.1, X[:, 1] > 0.1], ["a", "b"], "c")
    learner = DPLinearClassifier(0.1, classes=["a", "b", "c"]).fit(X[:200], labels[:200])
    before = (learner.predict(X[200:]) == labels[200:]).mean()
    learner.partial_fit(X[200:], labels[200:])
    assert before > 0.7
    assert (learner.predict(X[200:]) == labels[200:]).mean() > before - 0.05
    assert learner.decision_function(X).shape == (400, 3)


def test_it_starts_at_the_public_model(simulated):
    prior = DPPrototypeClassifier.prior_from_public(X, Y)
    learner = DPLinearClassifier(1e-6, prior, learning_rate=1e-12).fit(X, Y)
    nearest = ((X[:, None] - prior.means) ** 2).sum(axis=2).argmin(axis=1)
    assert np.array_equal(learner.predict(X), prior.classes[nearest])


def test_a_prior_of_other_columns_or_classes_is_refused(ledger):
    prior = DPPrototypeClassifier.prior_from_public(X[:, :3], Y)
    with pytest.raises(ValueError, match="3 columns of the prior"):
        DPLinearClassifier(2.0, prior, ledger=ledger).fit(X, Y)
    with pytest.raises(ValueError, match="those of the prior"):
        DPLinearClassifier(2.0, prior, classes=["a", "b"], ledger=ledger).fit(X[:, :3], Y)
    assert ledger.spent() == 0


@pytest.mark.parametrize(
    "parameters",
    [{"steps": 0}, {"learning_rate": 0.0}, {"clipping_norm": -1.0}, {"l2": -0.1}, {"noise_multiplier": 0.0}],
)
def test_bad_parameters_cost_nothing(ledger, parameters):
    with pytest.raises(ValueError, match=next(iter(parameters))):
        model(ledger=ledger, **parameters).fit(X, Y)
    assert ledger.spent() == 0


def test_weak_signals_are_said_before_the_charge(ledger):
    with pytest.warns(WeakSignalWarning, match="below 2"):
        model(ledger=ledger, noise_multiplier=9.0).fit(X[:10], Y[:10])


def slopes(rows, codes, ids, clip=1.0):
    """The clipped sum at zero weights, without noise."""
    descent = linear.NoisyDescent(1.0, 1, clip, 1.0, 0.0, 1.0, np.zeros((2, rows.shape[1])))
    return descent._clipped_sum(rows, np.eye(2)[codes], descent.start, ids)


def largest_move():
    """How far the sum goes when one patient, of up to three rows, becomes nothing."""
    random, most = np.random.default_rng(1), 0.0
    for _ in range(60):
        rows, codes = random.normal(size=(9, 5)) * random.choice([0.1, 1.0, 30.0]), random.integers(0, 2, 9)
        ids = [str(name) for name in random.integers(0, 4, 9)]
        gone = np.array([name == ids[0] for name in ids])
        without = slopes(rows[~gone], codes[~gone], [name for name in ids if name != ids[0]])
        most = max(most, float(np.linalg.norm(slopes(rows, codes, ids) - without)))
    return most


def test_a_patient_moves_a_step_by_the_clipping_norm_at_most():
    assert 0.99 < largest_move() <= 1.0


def test_clipping_row_by_row_is_caught(monkeypatch):
    monkeypatch.setattr(
        linear, "sum_by_patient", lambda table, ids: sum_by_patient(table, list(map(str, range(len(ids)))))
    )
    assert largest_move() > 1.5


# μ = 2 is charged; half the noise makes it 4. 400 runs in each world; false alarm 1e-6, power above 0.999 (error rates Φ(-2)).


def outcome():
    rows = np.zeros((3, 2))

    def release(present):
        content = rows.copy()
        content[0, 0] = 1.0 if present else 0.0
        learner = DPLinearClassifier(
            0.5,
            None,
            [0, 1],
            PrivacyLedger(PrivacyBudget(60.0, 1e-5)),
            steps=4,
            clipping_norm=0.1,
            learning_rate=0.01,
            l2=0.0,
        )
        learner.fit(content, [0, 1, 0], record_ids=["a", "b", "c"], expected_records=10)
        # the average of the weights after steps 3 and 4 weighs the four sums 1, 1, 1, ½
        return (learner.coef_[0, 0] - learner.coef_[1, 0]) * 10 / (0.01 * 0.1)

    return attack(repeated(release, float), 400, threshold=3.5 / 2, confidence=1 - 1e-6)


def test_the_classifier_is_as_private_as_it_is_charged_for():
    found = outcome()
    assert not found.beats(mu=2.0)
    assert found.mu > 0.3


def test_half_the_noise_is_caught(monkeypatch):
    real = linear.perturb
    monkeypatch.setattr(linear, "perturb", lambda values, scale: real(values, scale / 2))
    assert outcome().beats(mu=2.0)


def test_the_attack_is_sharp_enough():
    worst = int(binom.isf(4e-4, 400, norm.cdf(-2.0)))  # errors of each kind that the fault makes at most
    assert mu_lower_bound(worst, worst, 400, 1 - 1e-6) > 2.0


@parametrize_with_checks([DPLinearClassifier(noise_multiplier=1e-9)])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_contract(estimator, check):
    with simulation(seed=0):
        try:
            check(estimator)
        except SkipTest as reason:
            if "SCIPY_ARRAY_API" not in str(reason):  # arrays of other libraries, which we do not claim to take
                raise
