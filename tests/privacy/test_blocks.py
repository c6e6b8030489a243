"""Parts of the patients' data, each with noise of its own: what is charged, clipped and released."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdpal.privacy import BudgetExhausted, PrivacyBudget, PrivacyLedger, calibrate, epsilon_of, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.mechanisms import GaussianBlocks, GaussianSum, release
from skdpal.privacy.randomness import simulation

SILENT = GaussianBlocks({"rna": (1e-9, 2), "wes": (1e-9, 1)})
TWO = GaussianBlocks({"rna": (4.0, 2), "wes": (8.0, 1)})


def run(rows, ids=None, mechanism=SILENT, seed=0):
    names = [str(at) for at in range(len(rows))] if ids is None else ids
    with simulation(seed):
        return release(lambda: np.asarray(rows, dtype=float), mechanism, None, "x", record_ids=names)


# what is charged


def test_the_price_names_every_part_and_the_patient_pays_all_of_them(ledger):
    assert TWO.event == events.modalities({"rna": events.gaussian(4.0), "wes": events.gaussian(8.0)})
    release(lambda: np.ones((2, 3)), TWO, ledger, "both", record_ids=["a", "b"])
    (receipt,) = ledger.receipts()
    assert receipt.event == TWO.event
    together = events.gaussian(1 / math.sqrt(1 / 16 + 1 / 64))
    assert ledger.spent() == pytest.approx(epsilon_of([together], 1e-5), rel=1e-9)


def test_each_part_is_paid_by_its_cap():
    ledger = PrivacyLedger(PrivacyBudget(4.0, 1e-5))
    for name in ("rna", "wes", "other"):
        ledger.cap("cohort", name, epsilon=2.0)
    release(lambda: np.ones((2, 3)), TWO, ledger, "both", record_ids=["a", "b"])
    for name, noise in (("rna", 4.0), ("wes", 8.0)):
        assert ledger.spent(cap=name) == pytest.approx(epsilon_of([events.gaussian(noise)], 1e-5), rel=1e-9)
    assert ledger.spent(cap="other") == 0


def test_nothing_is_read_if_a_part_cannot_pay(untouchable):
    ledger = PrivacyLedger(PrivacyBudget(4.0, 1e-5))
    ledger.cap("cohort", "wes", epsilon=0.1)
    with pytest.raises(BudgetExhausted, match=r"cap 'wes'.*Leave 'wes' out"):
        release(untouchable, TWO, ledger, "both", record_ids=["a"])
    assert ledger.receipts() == []
    assert ledger.spent() == 0


def test_the_noise_of_a_part_does_not_move_with_the_others():
    """The same seed, other rows in the other part, other noise there: this part's numbers stay."""
    first = run([[0.3, 0.1, 0.0], [0.0, 0.2, 0.0]], mechanism=TWO)
    second = run([[0.3, 0.1, 9.0], [0.0, 0.2, -4.0]], mechanism=GaussianBlocks({"rna": (4.0, 2), "wes": (1.0, 1)}))
    assert first[:2].tolist() == second[:2].tolist()


def test_every_part_has_the_noise_it_was_charged():
    mechanism = GaussianBlocks({"rna": (2.0, 4000), "wes": (0.5, 4000)})
    noise = mechanism.run(np.zeros((0, 8000)), [])
    for part, scale in ((noise[:4000], 2.0), (noise[4000:], 0.5)):
        assert part.std() == pytest.approx(scale, rel=0.08)  # 7 standard errors


# what is clipped


def test_each_part_is_clipped_by_itself():
    assert run([[30.0, 40.0, 0.5]]) == pytest.approx([0.6, 0.8, 0.5], abs=1e-6)
    assert run([[0.3, 0.4, -7.0]]) == pytest.approx([0.3, 0.4, -1.0], abs=1e-6)


def test_samples_of_one_patient_are_summed_then_clipped():
    rows = [[0.9, 0.0, 0.3]] * 4
    assert run(rows, ["a"] * 4) == pytest.approx([1.0, 0.0, 1.0], abs=1e-6)
    assert run(rows, list("abcd")) == pytest.approx([3.6, 0.0, 1.2], abs=1e-6)


ROWS = st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), min_size=1, max_size=4)


@given(rows=ROWS, own=st.lists(st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=3), max_size=3))
def test_a_patient_moves_each_part_by_one_at_most(rows, own):
    others = [f"other-{at}" for at in range(len(rows))]
    without = run(rows, others)
    moved = run(rows + own, [*others, *["own"] * len(own)]) - without
    assert np.linalg.norm(moved[:2]) <= 1 + 1e-6
    assert abs(moved[2]) <= 1 + 1e-6


def test_one_part_is_a_sum():
    rows = [[0.3, 0.4], [2.0, 0.0]]
    assert (
        run(rows, mechanism=GaussianBlocks({"all": (3.0, 2)})).tolist()
        == run(rows, mechanism=GaussianSum(3.0)).tolist()
    )


# what is refused


@pytest.mark.parametrize("shape", [(2, 2), (2, 4), (2,), (2, 3, 1)])
def test_rows_have_the_columns_of_all_parts(shape):
    with pytest.raises(ValueError, match="the 3 columns of all blocks"):
        run(np.zeros(shape))


def test_nan_never_reaches_the_sampler(ledger):
    with pytest.raises(ValueError, match="NaN or infinity"):
        release(lambda: np.array([[0.1, 0.1, np.nan]]), TWO, ledger, "x", record_ids=["a"])
    assert len(ledger.receipts()) == 1


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ({}, "at least one part"),
        ({"rna": (0.0, 2)}, "noise_multiplier"),
        ({"rna": (math.nan, 2)}, "noise_multiplier"),
        ({"rna": (1.0, 0)}, "columns"),
        ({"rna": (1.0, 2.5)}, "columns"),
        ({"": (1.0, 2)}, "different words"),
        ({1: (1.0, 2)}, "different words"),
        ({"rna": 4.0}, r"noise multiplier and its number of columns"),
        ({"rna": (4.0,)}, r"noise multiplier and its number of columns"),
    ],
)
def test_bad_parts_are_refused_by_name(blocks, message):
    with pytest.raises(ValueError, match=message):
        GaussianBlocks(blocks)


def test_a_mechanism_does_not_change_with_the_mapping_it_was_made_of():
    blocks = {"rna": (4.0, 2)}
    mechanism = GaussianBlocks(blocks)
    blocks["rna"] = (1e-9, 2)
    assert mechanism.event == events.modalities({"rna": events.gaussian(4.0)})
    with pytest.raises(TypeError):
        mechanism.blocks["rna"] = (1e-9, 2)


def test_it_is_calibrated_like_any_other():
    budget = PrivacyBudget(2.0, 1e-5)
    noise = calibrate(lambda sigma: GaussianBlocks({"rna": (sigma, 2), "wes": (2 * sigma, 1)}).event, budget)
    ledger = PrivacyLedger(budget)
    ledger.within(POOL).charge(GaussianBlocks({"rna": (noise, 2), "wes": (2 * noise, 1)}).event, "it")
    assert ledger.spent() == pytest.approx(2.0, rel=1e-6)
