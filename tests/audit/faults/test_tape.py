"""The transcript that both worlds share: what it finds, and that it finds nothing where nothing is."""

import math

import numpy as np
import pytest

from skdpal.privacy.mechanisms import GaussianSum, GumbelTopK, LaplaceScores, NoisyScores, RandomizedResponse
from skdpal.privacy.randomness import perturb
from tests.audit.faults.tape import along, differences

ROW = np.array([[0.6, 0.8]])


def one_sum(present):
    return GaussianSum(2.0).run(ROW * present, ["canary"])


def test_one_release_is_as_far_apart_as_its_price():
    path = along(one_sum)
    assert path.mu == pytest.approx(0.5)
    assert not path.visible
    assert not path.tells_more_than(0.5)
    assert path.tells_more_than(0.49)


def adaptive(present):
    """What is asked second follows the first answer: alike in both worlds, as the answer is."""
    first = one_sum(present)
    return [first, perturb(first[0] + present, scale=1.0 + abs(first[1]))]


@pytest.mark.parametrize("seed", range(3))
def test_a_loop_that_follows_its_own_answers_shares_its_transcript(seed):
    path = along(adaptive, seed)
    assert not path.visible
    assert path.draws == 2
    assert path.mu > 0.5


@pytest.mark.parametrize(
    ("study", "words"),
    [
        (lambda present: float(present), "published differs"),
        (lambda present: [one_sum(present), {"n": 3 + present}], "published[1]['n'] differs"),
        (lambda present: [one_sum(present) for _ in range(2 - present)], "without the patient only"),
        (lambda present: [one_sum(present) for _ in range(1 + present)], "with the patient only"),
        (lambda present: perturb(0.0, 1.0 + present), "draw 1: gaussian of (1,) at 2.0"),
        (lambda present: perturb(np.zeros(1 + present), 1.0), "draw 1: gaussian of (2,)"),
        (lambda present: perturb(0.0, 1.0, law="laplace" if present else "gaussian"), "draw 1: laplace"),
        (lambda present: one_sum(present) + 1e-12 * present, "published differs"),
        (lambda present: one_sum(present) + np.random.default_rng(3).normal(size=2) + present, "published differs"),
    ],
)
def test_what_no_noise_covers_is_visible(study, words):
    assert any(words in found for found in along(study).visible)


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_of_other_laws_is_their_epsilon_at_most(seed):
    scores = {True: [1.0, 0.2, 0.4], False: [math.nan, 0.2, 0.4]}
    for mechanism, most in ((LaplaceScores(0.5), 2.0), (GumbelTopK(0.5, 2), 4.0)):
        path = along(lambda present, mechanism=mechanism: mechanism.run(scores[present], "abc"), seed)
        assert 0 < abs(path.loss) <= most * (1 + 1e-9)
    labels = {True: ["a", "b"], False: ["c", "b"]}
    path = along(lambda present: RandomizedResponse(1.5, list("abc")).run(labels[present], ["p", "q"]), seed)
    assert abs(path.loss) in (pytest.approx(1.5), pytest.approx(0.0))


def test_scores_are_half_a_unit_apart():
    assert along(lambda present: NoisyScores(1.0).run([1.0 if present else None, 0.3], "ab")).mu == pytest.approx(1.0)


def test_differences_are_named():
    assert differences({"a": [1.0, math.nan]}, {"a": [1.0, math.nan]}) == []
    assert differences({"a": 1}, {"b": 1}) != []
    assert differences([1], [1, 2]) == ["published has 1 and 2 entries"]
    assert differences(np.array([1.0, math.nan]), np.array([1.0, math.nan])) == []
