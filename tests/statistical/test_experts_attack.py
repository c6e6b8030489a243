"""Attacks on a release whose labels may be wrong: a reader with a known matrix, and what must not be done with the matrix.

Zero-out: the patient is in the cohort, or is not. The attacker knows everybody else, every label as it was given, and the matrix.
Verdicts on faultless code are wrong with probability 1e-6 at most; so are the others (`test_the_attacks_are_sharp_enough`). (Randomized response, votes and panels: test_labels_attack.py.)
"""

import numpy as np
import pytest
from scipy.stats import norm

from skdpal import DPPrototypeClassifier
from skdpal.audit import attack, likelihood_ratio, repeated
from skdpal.estimators import Transition, prototype
from skdpal.privacy import PrivacyBudget, PrivacyLedger, epsilon_of, events
from skdpal.privacy.identities import sum_by_patient
from skdpal.privacy.mechanisms import GaussianSum
from skdpal.privacy.randomness import perturb
from tests.statistical.sharpness import MISSED, missed

pytestmark = pytest.mark.filterwarnings("ignore::skdpal.estimators.regime.WeakSignalWarning")  # four patients
SURE = 1 - 1e-6
DELTA = 1e-5
SIGMA = 1.0
MU = 1 / SIGMA
EPSILON = epsilon_of([events.gaussian(SIGMA)], DELTA)
RUNS = 1_200
LEAST = 0.35  # of the price; proven on faultless code
READER = Transition.randomized_response(1.0, ["a", "b"])
WITH_DEFER = Transition([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1]], ["a", "b"], ["a", "b", "defer"])
ROWS = np.array([[0.6, 0.8, 0.0], [0.0, -1.0, 0.0], [0.3, 0.0, 0.4], [2 / 3, -1 / 3, 2 / 3]])  # the canary is the last
NAMES = np.array(["p", "q", "r", "canary"])
UNDO = np.linalg.inv(READER.matrix)


def entries(labels, transition, change=None):
    """What each patient adds to the release."""
    table = np.zeros((4, len(transition.observed), 4))
    codes = np.searchsorted(transition.observed, labels)
    table[np.arange(4), codes] = np.column_stack([ROWS, np.ones(4)]) / np.sqrt(2)
    table = table if change is None else np.einsum("nld,lk->nkd", table, change)
    return table.reshape(4, -1)


class Unclipped(GaussianSum):
    """Contributions as they come."""

    def run(self, contributions, ids):
        return perturb(sum_by_patient(contributions, ids).sum(axis=0), self.noise_multiplier)


def handed_over(monkeypatch, labels, transition, present):
    """What a fit hands to the one door, of whoever is there: the mechanism, its input, and the names of its rows."""
    honest, found = prototype.release, []

    def release(contributions, mechanism, *arguments, record_ids, **options):
        found.append((mechanism, contributions(), record_ids))
        return honest(contributions, mechanism, *arguments, record_ids=record_ids, **options)

    ledger, there = PrivacyLedger(PrivacyBudget(EPSILON * 1.001, DELTA)), slice(4 if present else 3)
    with monkeypatch.context() as patch:
        patch.setattr(prototype, "release", release)
        model = DPPrototypeClassifier(SIGMA, transition=transition, ledger=ledger)
        model.fit(ROWS[there], labels[there], record_ids=NAMES[there], expected_records=4)
    assert ledger.spent() == pytest.approx(EPSILON, rel=1e-6)
    return found[0]


def study(monkeypatch, labels, transition, change=None, door=None):
    """Releases of a fit with production noise; the attacker compares densities. `change` is done to each label's column."""
    labels, worlds = np.array(labels), {}
    for present in (True, False):
        mechanism, rows, names = handed_over(monkeypatch, labels, transition, present)
        assert isinstance(mechanism, GaussianSum)
        if change is not None:
            rows = np.einsum("nld,lk->nkd", rows.reshape(len(rows), *change.shape[:1], -1), change).reshape(rows.shape)
        worlds[present] = (door or mechanism, rows, names)
    added = entries(labels, transition, change)
    statistic = likelihood_ratio(added.sum(axis=0), added[:3].sum(axis=0), SIGMA)

    def released(present):
        mechanism, rows, names = worlds[present]
        return mechanism.run(rows, names)

    return repeated(released, statistic)


@pytest.mark.parametrize(("labels", "transition"), [("abaa", READER), (["a", "defer", "b", "defer"], WITH_DEFER)])
def test_labels_that_may_be_wrong_tell_no_more_than_the_price(labels, transition, monkeypatch):
    found = attack(study(monkeypatch, list(labels), transition), RUNS, threshold=0.0, confidence=SURE)
    assert not found.beats(mu=MU), str(found)
    assert not found.beats(epsilon=EPSILON, delta=DELTA), str(found)
    assert found.beats(mu=LEAST * MU), str(found)  # or the attack would not work


def test_the_inverse_in_a_row_is_as_long_as_is_said():
    own = entries(np.array(list("aaaa")), READER, UNDO)[-1]
    assert np.linalg.norm(own) == pytest.approx(1.685, abs=1e-3)


def test_the_inverse_in_a_row_tells_more_than_the_price(monkeypatch):
    """The planted fault: rows are multiplied by the inverse matrix, to undo the reader. μ = 1.69 at the price of 1."""
    world = study(monkeypatch, list("abaa"), READER, UNDO, door=Unclipped(SIGMA))
    found = attack(world, RUNS, threshold=0.0, confidence=SURE)
    assert found.beats(mu=MU), str(found)


def test_the_door_clips_such_rows(monkeypatch):
    """In the learner alone the fault is no leak: rows are cut to length 1. The sums are then wrong, and useless."""
    found = attack(study(monkeypatch, list("abaa"), READER, UNDO), RUNS, threshold=0.0, confidence=SURE)
    assert not found.beats(mu=MU), str(found)


def test_the_attacks_are_sharp_enough():
    for mu, claim in ((MU, LEAST * MU), (1.685, MU)):
        assert missed((norm.sf(mu / 2), norm.sf(mu / 2)), RUNS, mu=claim) < MISSED
