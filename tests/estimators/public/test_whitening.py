"""Whitened principal components by three roads, and public rows embedded as if they were new."""

import numpy as np
import pytest
from sklearn.covariance import oas
from sklearn.model_selection import KFold

from skdpal import PublicEncoder
from skdpal.estimators.public import encoder as encoder_file
from skdpal.estimators.public import whitening
from skdpal.estimators.public.scaling import scale


def public(n_rows, n_columns, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(n_rows) % 3
    rows = rng.normal(size=(n_rows, n_columns)) * rng.uniform(0.2, 3, n_columns)
    return rows + rng.normal(size=(3, n_columns))[labels] + 5, labels


class Plain:
    """The definition, in one piece: no blocks, no inner products."""

    def __init__(self, rows, labels, n_components, scaled=lambda rows: rows):
        self.scaled, rows = scaled, scaled(rows)
        self.mean = rows.mean(axis=0)
        directions = np.linalg.svd(rows - self.mean, full_matrices=False)[2][:n_components]
        projected = (rows - self.mean) @ directions.T
        centres = np.array([projected[labels == label].mean(axis=0) for label in labels])
        values, vectors = np.linalg.eigh(oas(projected - centres, assume_centered=True)[0])
        self.components = (vectors / np.sqrt(values)) @ vectors.T @ directions

    def transform(self, rows):
        embedded = (self.scaled(rows) - self.mean) @ self.components.T
        return embedded / np.linalg.norm(embedded, axis=1, keepdims=True)


def plain_out_of_sample(rows, labels, n_components, n_folds, scaled=lambda rows: rows, peek=False):
    """Refit for every fold; `peek` plants the fault of learning from the rows that are embedded."""
    own = Plain(rows, labels, n_components, scaled).transform(rows)
    centres = np.array([own[labels == label].mean(axis=0) for label in labels])
    result = np.empty_like(own)
    for train, test in KFold(n_folds).split(rows):
        learnt = np.arange(len(rows)) if peek else train
        model = Plain(rows[learnt], labels[learnt], n_components, scaled)
        seen = model.transform(rows[train])
        left, _, right = np.linalg.svd(seen.T @ own[train], full_matrices=False)
        for row in test:
            moved = model.transform(rows[[row]])[0] @ left @ right
            peers = labels[train] == labels[row]
            moved += centres[row] - (seen[peers] @ left @ right).mean(axis=0)
            result[row] = moved / np.linalg.norm(moved)
    return result


def standardized(rows):
    return (rows - rows.mean(axis=1, keepdims=True)) / rows.std(axis=1, keepdims=True)


def up_to_signs(found, expected):
    return found * np.sign((found * expected).sum(axis=0))


@pytest.mark.parametrize("small", [True, False], ids=["decomposed", "in blocks"])
@pytest.mark.parametrize("shape", [(30, 200), (200, 30), (40, 40)], ids=["wide", "long", "square"])
@pytest.mark.parametrize("how", [None, "standardize"])
def test_every_road_leads_to_the_definition(shape, small, how, monkeypatch):
    if not small:
        monkeypatch.setattr(whitening, "_SMALL", 0)
        monkeypatch.setattr("skdpal.estimators.public.scaling._CELLS", 500)
    rows, labels = public(*shape)
    new, _ = public(11, shape[1], seed=1)
    found = PublicEncoder(n_components=7, sample_scaling=how).fit(rows, labels)
    expected = Plain(rows, labels, 7, standardized if how else lambda rows: rows)
    np.testing.assert_allclose(found.mean_, expected.mean, atol=1e-10)
    assert up_to_signs(found.transform(new), expected.transform(new)) == pytest.approx(
        expected.transform(new), abs=1e-8
    )


def test_float32_loses_only_its_own_precision(monkeypatch):
    monkeypatch.setattr(whitening, "_SMALL", 0)
    rows, labels = public(50, 300)
    double = PublicEncoder(n_components=8).fit(rows, labels)
    single = PublicEncoder(n_components=8).fit(rows.astype(np.float32), labels)
    expected = double.transform(rows)
    assert up_to_signs(single.transform(rows), expected) == pytest.approx(expected, abs=1e-4)
    assert scale(rows.astype(np.float32)).values.dtype == np.float32


def test_columns_that_never_vary_do_no_harm(monkeypatch):
    rows, labels = public(30, 60)
    rows[:, 5:] = 1.0  # rank 5
    for small in (2**20, 0):
        monkeypatch.setattr(whitening, "_SMALL", small)
        encoder = PublicEncoder(n_components=8).fit(rows, labels)
        assert np.isfinite(encoder.transform(rows)).all()
        directions = whitening._directions(scale(rows), rows.mean(axis=0), 8)
        np.testing.assert_allclose(directions @ directions.T, np.eye(8), atol=1e-8)


def test_a_class_for_every_row_is_as_no_labels():
    rows, _ = public(20, 40)
    new, _ = public(5, 40, seed=1)
    alone = PublicEncoder(n_components=4).fit(rows, np.arange(20)).transform(new)
    np.testing.assert_allclose(alone, PublicEncoder(n_components=4).fit(rows).transform(new), atol=1e-12)


def test_public_rows_that_are_all_alike_do_no_harm():
    encoder = PublicEncoder(n_components=2).fit(np.ones((6, 5)))
    assert np.isfinite(encoder.transform(np.arange(10.0).reshape(2, 5))).all()


@pytest.mark.parametrize("shape", [(24, 150), (60, 20)], ids=["wide", "long"])
@pytest.mark.parametrize("n_folds", [7, None], ids=["folds", "leave one out"])
@pytest.mark.parametrize("how", [None, "standardize"])
def test_out_of_sample_equals_plain_refits(shape, n_folds, how):
    rows, labels = public(*shape)
    scaled = standardized if how else lambda rows: rows
    encoder = PublicEncoder(n_components=6, sample_scaling=how).fit(rows, labels)
    found = encoder.out_of_sample(rows, labels, max_fits=n_folds)
    expected = plain_out_of_sample(rows, labels, 6, n_folds or len(rows), scaled)
    assert up_to_signs(found, expected) == pytest.approx(expected, abs=1e-6)


def test_an_encoder_that_peeks_would_be_seen():
    rows, labels = public(24, 150)
    honest, peeking = (plain_out_of_sample(rows, labels, 6, 24, peek=peek) for peek in (False, True))
    assert abs(up_to_signs(peeking, honest) - honest).max() > 0.05


def test_no_encoder_learns_from_the_rows_that_it_embeds_out_of_sample(monkeypatch):
    rows, labels = public(12, 40)
    encoder, learnt = PublicEncoder(n_components=3).fit(rows, labels), []

    def recording(some, y, n_components, whiten=whitening.whiten):
        learnt.append({row.tobytes() for row in some.values})
        return whiten(some, y, n_components)

    table = whitening.coordinates(scale(rows))
    monkeypatch.setattr(encoder_file, "whiten", recording)
    encoder.out_of_sample(rows, labels)
    assert [row.tobytes() in seen for row, seen in zip(table, learnt, strict=True)] == [False] * 12
    assert all(len(seen) == 11 for seen in learnt)


@pytest.mark.parametrize("shape", [(20, 300), (50, 10)])
def test_coordinates_keep_all_distances(shape):
    rows, _ = public(*shape)
    table = whitening.coordinates(scale(rows))
    assert table.shape[1] <= min(shape)

    def distances(points):
        return np.linalg.norm(points[:, None] - points[None], axis=2)

    np.testing.assert_allclose(distances(table), distances(rows), rtol=1e-9, atol=1e-6)
