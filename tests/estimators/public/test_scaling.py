"""Scaling of rows: each by itself, and undisturbed by what a platform does to it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

from skdpal import PublicEncoder
from skdpal.estimators.public.scaling import scale

ROWS = np.random.default_rng(0).normal(size=(9, 40))
PUBLIC = np.random.default_rng(1).normal(size=(20, 40)) + np.repeat(np.eye(4, 40) * 3, 5, axis=0)
LABELS = np.repeat(np.arange(4), 5)


def table(rows, how):
    return scale(rows, how).centred(np.zeros(rows.shape[1]))


@pytest.mark.parametrize("how", ["standardize", "rank"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_rows_have_mean_0_and_variance_1(how, dtype):
    scaled = table(ROWS.astype(dtype), how)
    np.testing.assert_allclose(scaled.mean(axis=1), 0, atol=1e-7)
    np.testing.assert_allclose(scaled.std(axis=1), 1, atol=1e-6)


@given(st.lists(st.one_of(st.integers(-3, 3), st.just(np.nan)), min_size=1, max_size=12))
def test_tied_ranks_are_averaged(row):
    row = np.array(row, dtype=np.float64)
    ranks = scale(row[None], "rank").values[0] / 2
    np.testing.assert_array_equal(ranks, rankdata(row, nan_policy="omit"))


@given(st.integers(0, 8), st.lists(st.integers(0, 8), max_size=6), st.sampled_from([None, "standardize", "rank"]))
def test_a_row_is_scaled_the_same_whoever_else_is_there(own, others, how):
    np.testing.assert_array_equal(table(ROWS[[*others, own]], how)[-1], table(ROWS[[own]], how)[0])


def test_scaling_over_patients_would_be_seen():
    quantiles = rankdata(ROWS, axis=0)  # what must never be done: ranks over patients
    assert (rankdata(ROWS[:1], axis=0) != quantiles[:1]).any()


DISTORTIONS = [np.exp, np.cbrt, np.arctan, lambda x: 3 * x - 7, lambda x: x**3 + x]


@pytest.mark.parametrize("distort", DISTORTIONS, ids=["exp", "cbrt", "arctan", "line", "cubic"])
def test_increasing_distortion_of_a_sample_changes_nothing(distort):
    encoder = PublicEncoder(n_components=5, sample_scaling="rank").fit(PUBLIC, LABELS)
    bent = np.array([distort(row) for row in ROWS])
    np.testing.assert_allclose(encoder.transform(bent), encoder.transform(ROWS), atol=1e-12)


def test_standardizing_does_not_survive_every_distortion():
    encoder = PublicEncoder(n_components=5, sample_scaling="standardize").fit(PUBLIC, LABELS)
    assert abs(encoder.transform(np.exp(ROWS)) - encoder.transform(ROWS)).max() > 0.01


@pytest.mark.parametrize("how", [None, "standardize", "rank"])
def test_missing_cells_take_no_part_and_count_as_the_public_mean(how):
    rows = ROWS.copy()
    rows[:, 30:] = np.nan
    encoder = PublicEncoder(n_components=5, sample_scaling=how).fit(PUBLIC, LABELS)
    seen = table(ROWS[:, :30].copy(), how) - encoder.mean_[:30]
    expected = seen @ encoder.components_[:, :30].T
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.transform(rows), expected, atol=1e-12)


@pytest.mark.parametrize("how", [None, "standardize", "rank"])
def test_public_data_may_have_missing_cells(how):
    rows = PUBLIC.copy()
    rows[np.arange(20), np.arange(20)] = np.nan
    encoder = PublicEncoder(n_components=5, sample_scaling=how).fit(rows, LABELS)
    kept = np.array([table(row[None, ~np.isnan(row)], how)[0] for row in rows])  # 39 cells each
    whole = np.full(rows.shape, np.nan)
    whole[~np.isnan(rows)] = kept.ravel()
    np.testing.assert_allclose(encoder.mean_, np.nanmean(whole, axis=0), atol=1e-12)
    assert encoder.out_of_sample(rows, LABELS).shape == (20, 5)


@pytest.mark.parametrize("how", [None, "standardize", "rank"])
def test_blocks_make_no_difference(how, monkeypatch):
    rows = ROWS.copy()
    rows[0, 0] = np.nan
    whole = scale(rows, how)
    means = whole.means()
    monkeypatch.setattr("skdpal.estimators.public.scaling._CELLS", 16)
    pieces = scale(rows, how)
    assert len(list(pieces.column_blocks())) == 40
    np.testing.assert_allclose(pieces.means(), means, atol=1e-14)
    directions = np.random.default_rng(2).normal(size=(3, 40))
    np.testing.assert_allclose(pieces.project(means, directions), whole.project(means, directions), atol=1e-12)


def test_more_columns_than_two_bytes_can_rank():
    row = np.random.default_rng(3).permutation(40_000)[None].astype(np.float64)
    assert scale(row[:, :100], "rank").values.dtype == np.uint16
    np.testing.assert_array_equal(scale(row, "rank").values[0], 2 * (row[0] + 1))
