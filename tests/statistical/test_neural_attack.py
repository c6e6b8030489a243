"""Attacks on the neural classifier, with the noise of production: whether one patient was there, from the released weights.

The charge is μ = 2. Verdicts on faultless code are wrong with probability 1e-6. A fault that halves the noise, or doubles what
a patient adds, makes μ = 4: each error rate is then Φ(-2), and the attack proves more than 2, but for a chance of 1e-6.
"""

import numpy as np
import pytest
from scipy.stats import norm
from torch import nn

from skdpal import DPNeuralClassifier, PrivacyBudget, PrivacyLedger
from skdpal.audit import attack, repeated
from skdpal.estimators.neural import trainer, training
from skdpal.privacy.randomness import simulation
from tests.statistical.sharpness import MISSED, missed

RUNS = 350
LEAST = 0.7  # proven on faultless code
SURE = 1 - 1e-6
CLIP = 0.1  # far below the gradient's norm, so that clipping is what bounds the patient
NAMES = ["canary", "canary", *map(str, range(6))]
OTHERS = np.array([[0.2, 1.0, -1.0, 0.5], [0.1, -1.0, 0.3, 0.2], [0.4, 0.3, 1.0, -0.7]] * 2)
CANARY = np.array([[3.0, 0.0, 0.0, 0.0]] * 2)  # two samples of one patient


def module():
    layer = nn.Linear(4, 2, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def fitted(present, ledger=None, noise=0.5):
    """Weights after one step; zero-out: the slot stays, its content becomes nothing."""
    model = DPNeuralClassifier(module(), noise, CLIP, classes=[0, 1], ledger=ledger, max_epochs=1, lr=1.0)
    rows = np.vstack([CANARY if present else 0 * CANARY, OTHERS])
    model.fit(rows, [0, 0, 1, 0, 1, 0, 1, 0], record_ids=NAMES, expected_records=10)
    return model.module_.weight.detach().numpy()


def statistic(weights):
    """Along the canary's gradient at zero weights: (-1, 1)/√2 in its first column; in units of the clipping norm."""
    return float((weights[0, 0] - weights[1, 0]) / np.sqrt(2) * 10 / CLIP)


def found():
    with simulation(0):  # the middle between the two worlds
        middle = sum(statistic(fitted(present, noise=1e-6)) for present in (False, True)) / 2

    def release(present):
        return fitted(present, PrivacyLedger(PrivacyBudget(60.0, 1e-5)))

    return attack(repeated(release, statistic), RUNS, threshold=middle, confidence=SURE)


def test_the_attack_is_sharp_enough():
    assert missed((norm.sf(2.0), norm.sf(2.0)), RUNS, mu=2.0) < MISSED
    assert missed((norm.sf(1.0), norm.sf(1.0)), RUNS, mu=LEAST) < MISSED


def test_the_classifier_is_as_private_as_it_is_charged_for():
    outcome = found()
    assert not outcome.beats(mu=2.0)
    assert outcome.mu > LEAST  # the attack works


def half_noise(monkeypatch):
    real = trainer.engine_for

    def engine_for(*parts, noise_multiplier, **rest):
        engine = real(*parts, noise_multiplier=noise_multiplier / 2, **rest)
        honest = engine.gradients

        class Liar:
            mode, release = engine.mode, engine.release
            gradients = staticmethod(honest)

        Liar.noise_multiplier = noise_multiplier
        return Liar()

    monkeypatch.setattr(trainer, "engine_for", engine_for)


def each_row_for_itself(monkeypatch):
    monkeypatch.setattr(training, "slots_of", lambda ids: np.arange(len(ids)))


@pytest.mark.parametrize("fault", [half_noise, each_row_for_itself])
def test_planted_faults_are_found(monkeypatch, fault):
    fault(monkeypatch)
    assert found().beats(mu=2.0)
