"""Noise comes from the operating system, and nowhere else unless it says so."""

import os
import random
import threading
import warnings

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer
from sklearn.utils._testing import set_random_state

from skdpal.privacy import LedgerError, PrivacyLeakWarning, PrivacyLedger, events, randomness
from skdpal.privacy.accounts import POOL
from skdpal.privacy.randomness import current_simulation, entropy, perturb, simulation


def draw():
    return perturb(np.zeros(4), 1.0)


def in_fork(call):
    """What a call returns in a child process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, call())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        return pipe.read()


def test_no_seed_of_anybody_moves_the_noise():
    import torch

    first = []
    for _ in range(2):
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        first.append(draw())
    assert not np.intersect1d(*first).size


def test_no_seed_of_an_estimator_moves_the_noise(budget):
    """Everything that scikit-learn can be told about randomness is told twice; the noise differs."""
    from skdpal import DPPrototypeClassifier

    def fit():
        rng = np.random.RandomState(0)
        pipeline = make_pipeline(
            KBinsDiscretizer(2, encode="ordinal", random_state=0),
            DPPrototypeClassifier(4.0, classes=[0, 1], ledger=PrivacyLedger(budget)),
        )
        set_random_state(pipeline, 0)
        return pipeline.fit(rng.normal(size=(40, 2)), np.arange(40) % 2)[-1].release_[0]

    assert not np.intersect1d(fit(), fit()).size


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forks_do_not_share_noise_or_secrets():
    def child():
        return perturb(np.zeros(3), 1.0).tobytes() + entropy(16)

    child()  # whatever state there is, is there before the fork
    drawn = [in_fork(child) for _ in range(3)] + [child()]
    assert len({draw[:24] for draw in drawn}) == len({draw[24:] for draw in drawn}) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_simulation_does_not_reach_a_fork(simulated):
    assert in_fork(lambda: str(current_simulation()).encode()) == b"None"
    assert current_simulation() is simulated


def test_secrets_come_from_the_operating_system(monkeypatch):
    monkeypatch.setattr(randomness.os, "urandom", lambda size: b"x" * size)
    assert entropy(5) == b"xxxxx"


def test_a_simulation_can_be_repeated():
    def once():
        with simulation(5):
            return draw(), entropy(8)

    (noise, secret), (again, same) = once(), once()
    assert (noise == again).all()
    assert secret == same
    with simulation(6):
        assert not np.intersect1d(noise, draw()).size


def test_a_simulation_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PrivacyLeakWarning, match="private"), simulation(1):
            pass
    assert current_simulation() is None


def test_a_simulation_ends_with_its_block_also_by_an_error():
    with pytest.raises(KeyError), simulation(1):
        raise KeyError
    assert current_simulation() is None


def test_a_simulation_does_not_nest(simulated):
    with pytest.raises(RuntimeError, match="nest"), simulation(2):
        pass
    assert current_simulation() is simulated


def test_a_simulation_does_not_reach_other_threads(simulated):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(current_simulation()))
    thread.start()
    thread.join()
    assert seen == [None]


def test_ledgers_of_a_simulation_stay_in_it(budget):
    with simulation(1):
        inside = PrivacyLedger(budget)
        inside.charge(events.gaussian(4.0), "x")
        assert inside.certificate()["status"] == "simulation: not private"
        assert "not private" in inside.certificate()["randomness"]
    with pytest.raises(LedgerError, match="only inside that block"):
        inside.charge(events.gaussian(4.0), "x")
    with simulation(1), pytest.raises(LedgerError, match="only inside that block"):
        inside.charge(events.gaussian(4.0), "x")
    assert len(inside.receipts()) == 1


def test_real_ledgers_stay_out_of_simulations(ledger):
    with simulation(1):
        for attempt in (
            lambda: ledger.charge(events.gaussian(4.0), "x"),
            lambda: ledger.reserve(events.gaussian(4.0), "x"),
            lambda: ledger.split(POOL, "cohort/a", ["p"]),
            lambda: ledger.branch(POOL, "cohort/a", ["p"]).charge(events.gaussian(4.0), "x"),
            lambda: ledger.begin_round("round 1", hidden=True),
        ):
            with pytest.raises(LedgerError, match="real ledger"):
                attempt()
    assert ledger.accounts() == ledger.accounts_of(["p"]) == [POOL]
    assert ledger.receipts() == []
    assert ledger.certificate()["status"] == "valid"


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(ValueError, match="seed"), simulation(seed):
        pass


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_only_finite_numbers_are_perturbed(bad):
    with pytest.raises(ValueError, match="finite"):
        perturb([bad], 1.0)


def test_shapes_are_kept():
    assert perturb(np.zeros((2, 3)), 1.0).shape == (2, 3)
    assert perturb([], 1.0).shape == (0,)
