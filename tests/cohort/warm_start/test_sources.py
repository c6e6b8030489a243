"""Four kinds of public data, and what each offers."""

import numpy as np
import pytest

from skdpal.cohort import PublicSource
from skdpal.estimators import DPShift


def test_labels_of_the_same_classes_give_an_embedding_a_prior_and_a_reference(srbct):
    source = PublicSource.same_classes(srbct.X_public, srbct.y_public)
    assert source.n_components == 24
    assert source.prior.classes.tolist() == ["BL", "EWS", "NB", "RMS"]
    assert source.reference.shape == (46, 24)
    own = source.encoder.transform(srbct.X_public)
    honest = source.encoder.out_of_sample(srbct.X_public, srbct.y_public, max_fits=20)
    np.testing.assert_allclose(source.reference, honest)  # as if each had been new
    assert np.linalg.norm(source.reference - own, axis=1).min() > 0.01
    np.testing.assert_allclose(source.centre, own.mean(axis=0))


def test_the_expected_mix_of_classes_moves_the_centre(srbct):
    fractions = {"EWS": 0.5, "RMS": 0.5}
    source = PublicSource.same_classes(srbct.X_public, srbct.y_public, n_components=8, fractions=fractions)
    rows = source.encoder.transform(srbct.X_public)
    np.testing.assert_allclose(source.centre, DPShift.mean_of_public(rows, srbct.labels_public, fractions))
    assert np.linalg.norm(source.centre - rows.mean(axis=0)) > 0.05


def test_other_labels_shape_the_embedding_and_say_nothing_of_the_classes(srbct):
    other = np.where(srbct.labels_public == "BL", "blood", "solid")
    source, unlabelled = PublicSource.other_classes(srbct.X_public, other), PublicSource.unlabelled(srbct.X_public)
    for one in (source, unlabelled):
        assert one.prior is None
        assert one.reference.shape == (46, one.n_components) == (46, 6)
    assert np.abs(source.encoder.components_ - unlabelled.encoder.components_).max() > 1e-3


def test_no_public_data_leave_random_directions():
    source = PublicSource.nothing(n_components=4, seed="protocol 7")
    assert (source.kind, source.prior, source.reference, source.n_components) == ("none", None, None, 4)
    np.testing.assert_array_equal(source.centre, 0)


def test_encoders_options_pass_through(srbct):
    source = PublicSource.unlabelled(srbct.X_public, n_components=3, sample_scaling="rank")
    assert source.encoder.sample_scaling == "rank"
    default = PublicSource.unlabelled(srbct.X_public)
    assert default.encoder.sample_scaling == "standardize"


def test_a_neural_encoder_serves_as_well(srbct):
    options = {
        "n_components": 4,
        "method": "neural",
        "widths": (8, 4),
        "max_epochs": 2,
        "random_state": 0,
        "verbose": False,
    }
    for source in (
        PublicSource.same_classes(srbct.X_public, srbct.y_public, **options),
        PublicSource.unlabelled(srbct.X_public, **options),
    ):
        assert source.reference.shape == (46, 4)
        np.testing.assert_allclose(np.linalg.norm(source.reference, axis=1), 1)


def test_the_names_say_what_they_are(srbct):
    texts = [
        repr(PublicSource.same_classes(srbct.X_public, srbct.y_public)),
        repr(PublicSource.unlabelled(srbct.X_public)),
        repr(PublicSource.nothing()),
    ]
    assert texts == [
        "<PublicSource of the same classes: 46 public rows, PublicEncoder to 24 columns, a prior of 4 classes>",
        "<PublicSource without labels: 46 public rows, PublicEncoder to 6 columns, no prior>",
        "<PublicSource without public data: RandomProjection to 6 columns, no prior>",
    ]


def test_bad_sources_are_named(srbct):
    with pytest.raises(ValueError, match="at least two classes"):
        PublicSource.same_classes(srbct.X_public, ["EWS"] * 46)
    with pytest.raises(ValueError, match="n_components"):
        PublicSource.unlabelled(srbct.X_public, n_components=200)
    with pytest.raises(ValueError, match="n_components"):
        PublicSource.nothing(n_components=0)
    with pytest.raises(ValueError, match="Rows must be scaled"):
        PublicSource.nothing(sample_scaling="z-score")
