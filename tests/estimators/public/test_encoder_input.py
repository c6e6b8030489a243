"""What the encoder refuses, it refuses without a patient's value; what it embeds, it embeds row by row."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdpal import PublicEncoder

PUBLIC = np.random.default_rng(0).normal(size=(12, 5))
LABELS = np.arange(12) % 3
ENCODER = PublicEncoder(n_components=3).fit(PUBLIC, LABELS)
VALUE = 0.4321


@pytest.mark.parametrize("verb", ["transform", "fit_transform"])
@pytest.mark.parametrize(
    ("rows", "remedy"),
    [
        (np.full(5, VALUE), "Reshape"),
        (np.full((2, 5), VALUE) + 1j, "real"),
        (np.array([["0.4321", "Smith", "1", "2", "3"]]), "Convert"),
        (np.array([[VALUE, np.nan, 1, 2, 3]]), "Fill or drop"),
        (np.array([[VALUE, np.inf, 1, 2, 3]]), "Fill or drop"),
        (np.full((2, 4), VALUE), "expecting 5 features"),
    ],
    ids=["flat", "complex", "words", "NaN", "infinity", "columns"],
)
def test_bad_rows_are_refused_discreetly(rows, remedy, verb):
    with pytest.raises(ValueError, match=remedy) as error:
        getattr(ENCODER, verb)(rows)
    assert re.search(r"\bX\b", str(error.value))
    assert not re.search(r"0\.43|Smith", str(error.value))


@given(st.lists(st.integers(0, 11), min_size=1, max_size=12), st.integers(0, 11))
def test_a_row_is_embedded_the_same_whoever_else_is_there(others, own):
    alone = ENCODER.transform(PUBLIC[[own]])[0]
    among = ENCODER.transform(PUBLIC[[*others, own]])[-1]
    np.testing.assert_allclose(among, alone, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("scaling", [None, "standardize"])
def test_rows_without_any_signal_are_embedded_without_division_by_zero(scaling):
    encoder = PublicEncoder(n_components=2, sample_scaling=scaling).fit(PUBLIC, LABELS)
    embedded = encoder.transform(np.zeros((1, 5)))
    assert np.isfinite(embedded).all()
    assert np.linalg.norm(embedded) <= 1 + 1e-12


def fits_and_transforms(monkeypatch, rows, labels):
    """Embed out of sample, recording which rows fitted the encoder that embedded each single row."""
    fitted, pairs = {}, []
    fit, transform = PublicEncoder.fit, PublicEncoder.transform

    def recording_fit(self, X, y=None):
        fitted[id(self)] = (self, {row.tobytes() for row in np.asarray(X)})
        return fit(self, X, y)

    def recording_transform(self, X):
        if len(X) == 1 and id(self) in fitted:
            pairs.append((np.asarray(X)[0].tobytes(), fitted[id(self)][1]))
        return transform(self, X)

    encoder = PublicEncoder(n_components=3).fit(rows, labels)
    monkeypatch.setattr(PublicEncoder, "fit", recording_fit)
    monkeypatch.setattr(PublicEncoder, "transform", recording_transform)
    encoder.out_of_sample(rows, labels)
    return pairs, [encoder.components_ for encoder, _ in fitted.values()]


def test_no_row_was_seen_by_the_encoder_that_embeds_it_out_of_sample(monkeypatch):
    pairs, _ = fits_and_transforms(monkeypatch, PUBLIC, LABELS)
    assert [row for row, _ in pairs] == [row.tobytes() for row in PUBLIC]
    assert all(row not in seen and len(seen) == 11 for row, seen in pairs)


def test_changing_a_row_does_not_change_the_encoder_that_embeds_it_out_of_sample(monkeypatch):
    changed = PUBLIC.copy()
    changed[7] *= 100
    with monkeypatch.context() as patch:
        _, before = fits_and_transforms(patch, PUBLIC, LABELS)
    _, after = fits_and_transforms(monkeypatch, changed, LABELS)
    np.testing.assert_array_equal(before[7], after[7])
    assert not np.allclose(before[6], after[6])  # the others did see it


def test_out_of_sample_rows_are_less_certain_than_rows_that_shaped_the_model(embedded, simulated):
    from skdpal import DPPrototypeClassifier
    from skdpal.query import UTILITIES

    model = DPPrototypeClassifier(2.0, prior=embedded.prior, classes=embedded.prior.classes)
    model.partial_fit(np.zeros((0, 16)), [], expected_records=0)  # the prior alone
    inside, outside = (
        UTILITIES["margin"](model.predict_proba(rows)).mean() for rows in (embedded.X_public, embedded.reference)
    )
    assert inside < outside
