"""The one door."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdpal.privacy import BudgetExhausted, LedgerError, PrivacyLedger, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.mechanisms import GaussianSum, release
from skdpal.privacy.randomness import perturb, simulation

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


def test_the_charge_is_on_disk_before_anything_is_read(durable, path):
    seen = []

    def contributions():
        seen.append([receipt.label for receipt in PrivacyLedger.open(path).receipts()])
        return np.ones((1, 1))

    release(contributions, GaussianSum(4.0), durable, "sum", record_ids=["a"])
    assert seen == [["sum"]]


def test_a_crash_after_the_charge_leaves_it_spent(ledger):
    def contributions():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        release(contributions, GaussianSum(4.0), ledger, "sum", record_ids=["a"])
    assert len(ledger.receipts()) == 1


def test_nothing_is_read_if_it_is_refused(ledger, exhausted):
    def contributions():
        raise AssertionError("read")

    with pytest.raises(BudgetExhausted):
        release(contributions, GaussianSum(4.0), exhausted, "sum", record_ids=["a"])
    with pytest.raises(ValueError, match="Expected ledger"):
        release(contributions, GaussianSum(4.0), None, "sum", record_ids=["a"])
    handle = ledger.split(POOL, "cohort/a", ["a"])
    with pytest.raises(ValueError, match="patients of account"):
        release(contributions, GaussianSum(4.0), handle, "sum", record_ids=["a", "stranger"])
    with simulation(0), pytest.raises(LedgerError, match="real ledger"):
        release(contributions, GaussianSum(4.0), ledger, "sum", record_ids=["a"])
    assert ledger.receipts() == []


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


def test_rows_too_long_for_a_float_are_clipped_like_any_others():
    """Two such rows of one patient add up to infinity; the patient must not decide whether there is an error."""
    for rows, ids in [([[1e200], [0.0]], "ab"), ([[1.7e308], [1.7e308]], "aa"), ([[1.7e308], [-1.7e308]], "ab")]:
        assert np.linalg.norm(run(rows, list(ids))) <= 1 + 1e-6


@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        ([[1.0, 1.0]], ["a", "b", "c"]),  # one row must not be spread over three patients
        ([[1.0], [1.0]], ["a"]),
        ([1.0, 1.0, 1.0], ["a", "b", "c"]),
        ([[[1.0]], [[1.0]]], ["a", "b"]),
    ],
)
def test_rows_and_patients_must_correspond(rows, ids):
    with pytest.raises(ValueError, match="Expected"):
        run(rows, ids)


def test_a_patient_is_one_however_the_id_is_written():
    assert run([[0.9], [0.9], [0.9]], [1, "1", np.int64(1)]) == pytest.approx([1.0], abs=1e-6)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_there_is_no_release_without_noise(scale):
    with pytest.raises(ValueError, match="Expected scale"):
        perturb([1.0], scale)


def test_the_event_is_the_mechanism(ledger):
    assert GaussianSum(3.0, clipping_norm=7.0, replace_one=1.0).event == events.gaussian(3.0, replace_one=1.0)


@pytest.mark.parametrize(
    "arguments",
    [{"noise_multiplier": 0}, {"noise_multiplier": 1, "clipping_norm": 0}, {"noise_multiplier": 1, "replace_one": 3}],
)
def test_bad_mechanisms_are_refused(arguments):
    with pytest.raises(ValueError, match="Expected"):
        GaussianSum(**arguments)


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1, max_size=6),
    owners=st.lists(st.sampled_from("abc"), min_size=6, max_size=6),
    norm=st.floats(0.1, 100),
)
def test_neighbours_differ_by_at_most_the_sensitivity(rows, owners, norm):
    mechanism = GaussianSum(1e-12 / norm, clipping_norm=norm)
    ids, keep = owners[: len(rows)], [at for at in range(len(rows)) if owners[at] != "a"]
    difference = run(rows, ids, mechanism) - run(
        np.reshape([rows[at] for at in keep], (-1, 3)), [ids[at] for at in keep], mechanism
    )
    assert np.linalg.norm(difference) <= norm + 1e-9
