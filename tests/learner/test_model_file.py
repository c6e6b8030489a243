"""A released model is numbers in a file: no code, no patients, no size that tells anything."""

import zipfile

import numpy as np
import pytest

from skdpal import DPPrototypeClassifier, PublicEncoder
from skdpal.learner import load_model, save_model

PUBLIC = np.random.default_rng(0).normal(size=(12, 5))
LABELS = np.arange(12) % 3


@pytest.fixture
def encoder():
    return PublicEncoder(n_components=3, sample_scaling="standardize").fit(PUBLIC, LABELS)


def trained(encoder, n_rows=6, prior=True, classes=(0, 1, 2), **parameters):
    rows = encoder.transform(PUBLIC)
    names = np.array(classes)[LABELS]
    model = DPPrototypeClassifier(
        1.0, DPPrototypeClassifier.prior_from_public(rows, names) if prior else None, classes, **parameters
    )
    model.fit(rows[:6], names[:6], expected_records=6)
    return model.partial_fit(rows[:n_rows], names[:n_rows], expected_records=3)


@pytest.mark.parametrize("classes", [(0, 1, 2), ("a", "bb", "ccc"), (False, True, 2)])
@pytest.mark.parametrize("parameters", [{}, {"prior": False}, {"prior_weight": 3.0}])
def test_a_model_survives_the_round_trip(classes, parameters, encoder, simulated, tmp_path):
    model = trained(encoder, classes=classes, **parameters)
    save_model(tmp_path / "model.npz", encoder, model)
    released = load_model(tmp_path / "model.npz")
    np.testing.assert_array_equal(released.predict_proba(PUBLIC), model.predict_proba(encoder.transform(PUBLIC)))
    np.testing.assert_array_equal(released.predict(PUBLIC), model.predict(encoder.transform(PUBLIC)))
    assert released.classes_.tolist() == model.classes_.tolist()


def test_a_loaded_model_is_frozen_and_cannot_learn(encoder, simulated, tmp_path):
    save_model(tmp_path / "model.npz", encoder, trained(encoder))
    released = load_model(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="frozen"):
        released["encoder"].fit(PUBLIC, LABELS)
    assert released["classifier"].ledger is None


def test_nothing_in_the_file_is_executed(encoder, simulated, tmp_path):
    save_model(tmp_path / "model.npz", encoder, trained(encoder, classes=("a", "bb", "ccc")))
    with np.load(tmp_path / "model.npz", allow_pickle=False) as archive:
        assert all(archive[name].dtype != object for name in archive.files)
    np.savez(tmp_path / "evil.npz", schema=np.array([print], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        load_model(tmp_path / "evil.npz")


@pytest.mark.parametrize("n_rows", [1, 6, 12])
def test_the_size_of_the_file_follows_from_public_shapes(n_rows, encoder, simulated, tmp_path):
    sizes = []
    for name, rows in (("nobody", 0), ("some", n_rows)):
        path = tmp_path / f"{name}.npz"
        save_model(path, encoder, trained(encoder, n_rows=rows))
        with zipfile.ZipFile(path) as archive:
            members = [(entry.filename, entry.file_size, entry.compress_size) for entry in archive.infolist()]
        sizes.append((path.stat().st_size, members))
    assert sizes[0] == sizes[1]


def test_a_file_of_another_kind_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", schema=99)
    with pytest.raises(ValueError, match=r"schema 2.*Update skdpal"):
        load_model(tmp_path / "other.npz")


def test_a_neural_encoder_is_refused(tmp_path):
    from types import SimpleNamespace

    with pytest.raises(ValueError, match='method="whitened-pca"'):
        save_model(tmp_path / "model.npz", SimpleNamespace(method="neural"), None)
    assert not list(tmp_path.iterdir())
