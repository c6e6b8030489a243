"""The one door."""

import numpy as np
import pytest

from skdpal.privacy import BudgetExhausted, PrivacyLedger, events
from skdpal.privacy.mechanisms import GaussianSum, release
from skdpal.privacy.randomness import simulation

SILENT = GaussianSum(1e-9)


def run(rows, ids=None, mechanism=SILENT):
    with simulation(0):
        return release(
            lambda: np.asarray(rows, dtype=float),
            mechanism,
            None,
            "x",
            record_ids=ids or [str(number) for number in range(len(rows))],
        )


def test_the_charge_is_written_before_anything_is_read(ledger):
    seen = []

    def contributions():
        seen.append(len(ledger.receipts()))
        return np.ones((1, 1))

    release(contributions, GaussianSum(4.0), ledger, "sum", record_ids=["a"])
    assert seen == [1]


def test_a_crash_after_the_charge_leaves_it_spent(ledger):
    def contributions():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        release(contributions, GaussianSum(4.0), ledger, "sum", record_ids=["a"])
    assert len(ledger.receipts()) == 1


def test_nothing_is_read_if_it_is_refused(ledger):
    def contributions():
        raise AssertionError("read")

    with pytest.raises(BudgetExhausted):
        release(contributions, GaussianSum(0.1), ledger, "sum", record_ids=["a"])
    with pytest.raises(ValueError, match="Expected ledger"):
        release(contributions, GaussianSum(4.0), None, "sum", record_ids=["a"])


def test_a_long_patient_is_clipped():
    assert np.linalg.norm(run([[30.0, 40.0]])) == pytest.approx(1, abs=1e-6)


def test_a_short_patient_is_not():
    assert run([[0.3, 0.4]]) == pytest.approx([0.3, 0.4], abs=1e-6)


def test_samples_of_one_patient_are_summed_then_clipped():
    assert run([[0.9, 0.0]] * 4, ["a"] * 4) == pytest.approx([1.0, 0.0], abs=1e-6)
    assert run([[0.9, 0.0]] * 4, list("abcd")) == pytest.approx([3.6, 0.0], abs=1e-6)


def test_the_clipping_norm_scales_bound_and_noise():
    assert np.linalg.norm(run([[30.0, 40.0]], mechanism=GaussianSum(1e-9, clipping_norm=5.0))) == pytest.approx(5)
    with simulation(3):
        one = release(lambda: np.zeros((0, 9)), GaussianSum(2.0), None, "x", record_ids=[])
    with simulation(3):
        five = release(lambda: np.zeros((0, 9)), GaussianSum(2.0, clipping_norm=5.0), None, "x", record_ids=[])
    assert five == pytest.approx(5 * one)


def test_zero_patients_are_charged_and_released(ledger):
    noise = release(lambda: np.zeros((0, 3)), GaussianSum(4.0), ledger, "x", record_ids=[])
    assert noise.shape == (3,)
    assert (noise != 0).all()
    assert len(ledger.receipts()) == 1


def test_nan_never_reaches_the_sampler(ledger):
    with pytest.raises(ValueError, match="NaN or infinity"):
        release(lambda: np.array([[np.nan]]), GaussianSum(4.0), ledger, "x", record_ids=["a"])


def test_the_event_is_the_mechanism(ledger):
    assert GaussianSum(3.0, clipping_norm=7.0, replace_one=1.0).event == events.gaussian(3.0, replace_one=1.0)


@pytest.mark.parametrize(
    "arguments",
    [{"noise_multiplier": 0}, {"noise_multiplier": 1, "clipping_norm": 0}, {"noise_multiplier": 1, "replace_one": 3}],
)
def test_bad_mechanisms_are_refused(arguments):
    with pytest.raises(ValueError, match="Expected"):
        GaussianSum(**arguments)


def test_neighbours_differ_by_at_most_the_sensitivity(budget):
    rng = np.random.default_rng(0)
    for _ in range(200):
        rows = rng.normal(size=(5, 3)) * rng.exponential(3)
        ids = rng.choice(list("abc"), 5).tolist()
        with_all = run(rows, ids)
        keep = [number for number, owner in enumerate(ids) if owner != "a"]
        without = run(rows[keep], [ids[number] for number in keep])
        assert np.linalg.norm(with_all - without) <= 1 + 1e-7
    assert PrivacyLedger(budget).receipts() == []
