"""Noise comes from the operating system, and nowhere else unless it says so."""

import random
import threading
import warnings

import numpy as np
import pytest

from skdpal.privacy import LedgerError, PrivacyLeakWarning, PrivacyLedger, events, randomness
from skdpal.privacy.randomness import current_simulation, entropy, perturb, simulation


def draw():
    return perturb(np.zeros(4), 1.0)


def test_no_seed_of_anybody_moves_the_noise():
    import torch

    first = []
    for _ in range(2):
        random.seed(0)
        np.random.seed(0)
        torch.manual_seed(0)
        first.append(draw())
    assert not np.intersect1d(*first).size


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


def test_real_ledgers_stay_out_of_simulations(ledger):
    with simulation(1), pytest.raises(LedgerError, match="real ledger"):
        ledger.charge(events.gaussian(4.0), "x")


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
