"""What is written down, and that the same answers come back whatever is asked."""

import threading

import numpy as np
import pytest
from scipy.stats import laplace, norm

from skdpal.audit.recording import Draw, recorded, seed_of
from skdpal.privacy import PrivacyBudget, PrivacyLedger, events
from skdpal.privacy.errors import LedgerError
from skdpal.privacy.randomness import current_simulation, entropy, perturb, sampler


def four(values):
    """One draw of each law."""
    labels = np.array([0, 2, 1])
    return (
        perturb(values, 2.0),
        perturb(values, 3.0, law="laplace"),
        sampler().top_k(np.asarray(values), 0.5, 2),
        sampler().response(labels, 3, 0.7),
    )


def test_every_draw_is_written_down_with_what_went_in():
    with recorded(1) as recorder:
        answers = four([1.0, 2.0, 3.0])
    assert [draw.law for draw in recorder.draws] == ["gaussian", "laplace", "gumbel", "response"]
    assert [draw.parameters for draw in recorder.draws] == [(2.0,), (3.0,), (0.5, 2), (3, 0.7)]
    for draw, answer in zip(recorder.draws, answers, strict=True):
        assert np.array_equal(draw.answer, answer)
        assert not np.shares_memory(draw.answer, answer)


def test_told_answers_come_back_and_coins_stay_the_same():
    with recorded(1) as first:
        answers, coins = four([1.0, 2.0, 3.0]), entropy(8)
    with recorded(1, answers=first.draws) as second:
        again, same = four([7.0, 8.0, 9.0]), entropy(8)
    assert all(np.array_equal(one, other) for one, other in zip(answers, again, strict=True))
    assert same == coins
    assert second.finished
    assert second.draws[0].values.tolist() == [7.0, 8.0, 9.0]


def test_laws_that_nobody_sees_are_drawn_from_the_seed():
    with recorded(1) as first:
        answers = four([1.0, 2.0, 3.0])
    with recorded(1, answers=first.draws, laws=("gaussian",)) as second:
        other = four([1.5, 2.0, 3.0])
    assert np.array_equal(answers[0], other[0])
    assert other[1] == pytest.approx(answers[1] + [0.5, 0.0, 0.0])  # the same noise on another value
    assert second.seen()[0].law == "gaussian"
    assert len(second.seen()) == 1


def test_a_stream_is_not_moved_by_what_is_drawn_elsewhere():
    with recorded(3):
        perturb([0.0, 0.0], 1.0)
        first = perturb([0.0], 1.0)
    with recorded(3):
        perturb([0.0] * 9, 1.0)
        entropy(100)
        second = perturb([0.0], 1.0)
    assert first == second


@pytest.mark.parametrize(
    "asked",
    [
        lambda: None,
        lambda: perturb([1.0], 1.0),
        lambda: perturb([1.0, 2.0, 3.0], 1.0, law="laplace"),
        lambda: [perturb([1.0, 2.0, 3.0], 1.0) for _ in range(2)],
    ],
)
def test_another_number_shape_or_law_of_answers_is_noticed(asked):
    with recorded(1) as first:
        perturb([1.0, 2.0, 3.0], 1.0)
    with recorded(1, answers=first.draws) as second:
        asked()
    assert not second.finished


def test_likelihood_ratios_are_those_of_the_laws():
    here, there, answer = np.array([1.0, -2.0]), np.array([0.0, 1.0]), np.array([0.3, 0.4])
    for law, density in (("gaussian", norm.logpdf), ("laplace", laplace.logpdf)):
        for scale, other in ((0.7, 0.7), (0.7, 1.4)):
            expected = density(answer, here, scale).sum() - density(answer, there, other).sum()
            found = Draw(law, here, (scale,), answer).ratio(Draw(law, there, (other,), answer))
            assert found == pytest.approx(expected)


def test_the_chance_of_winners_is_that_of_peeling():
    scores, winners, scale = np.array([0.1, 0.9, 0.5, 0.4]), np.array([1, 3]), 0.3
    weights = np.exp(scores / scale)
    expected = np.log(weights[1] / weights.sum()) + np.log(weights[3] / (weights.sum() - weights[1]))
    assert Draw("gumbel", scores, (scale, 2), winners).log_likelihood(winners) == pytest.approx(expected)


def test_the_chance_of_labels_is_that_of_the_response():
    told = np.array([0, 1, 1])
    draw = Draw("response", np.array([0, 1, 2]), (4, 0.7), told)
    assert draw.log_likelihood(told) == pytest.approx(2 * np.log(0.7) + np.log(0.1))


def test_a_recorder_is_a_simulation_and_ends_with_its_block():
    with recorded(1) as recorder:
        ledger = PrivacyLedger(PrivacyBudget(2.0))
        ledger.charge(events.gaussian(4.0), "inside")
        assert current_simulation() is recorder
        seen = []
        thread = threading.Thread(target=lambda: seen.append(current_simulation()))
        thread.start()
        thread.join()
        assert seen == [None]
    assert current_simulation() is None
    assert ledger.certificate()["status"] == "simulation: not private"
    with pytest.raises(LedgerError, match="only inside that block"):
        ledger.charge(events.gaussian(4.0), "outside")
    with pytest.raises(RuntimeError, match="does not nest"), recorded(1), recorded(2):
        pass


def test_a_real_ledger_is_not_charged_by_a_recording():
    ledger = PrivacyLedger(PrivacyBudget(2.0))
    with recorded(1), pytest.raises(LedgerError, match="real ledger"):
        ledger.charge(events.gaussian(4.0), "inside")


def test_the_noise_of_a_planted_fault_is_half_as_large():
    with recorded(5):
        whole = perturb(np.zeros(9), 2.0)
    with recorded(5, noise=0.5) as recorder:
        half = perturb(np.zeros(9), 2.0)
    assert half == pytest.approx(whole / 2)
    assert recorder.draws[0].parameters == (2.0,)  # and whoever asked for it does not know


def test_seeds_of_different_things_differ():
    assert len({seed_of(1, "a"), seed_of(1, "b"), seed_of("1", "a"), seed_of(1, "a", 0)}) == 4
