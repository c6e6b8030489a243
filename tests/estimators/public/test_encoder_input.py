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
        (np.array([[VALUE, np.inf, 1, 2, 3]]), "Fill or drop"),
        (np.full((2, 4), VALUE), "expecting 5 features"),
    ],
    ids=["flat", "complex", "words", "infinity", "columns"],
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


@pytest.mark.parametrize("scaling", [None, "standardize", "rank"])
def test_rows_without_any_signal_are_embedded_without_division_by_zero(scaling):
    encoder = PublicEncoder(n_components=2, sample_scaling=scaling).fit(PUBLIC, LABELS)
    for rows in (np.zeros((1, 5)), np.full((1, 5), 0.1), np.full((1, 5), np.nan)):
        embedded = encoder.transform(rows)
        assert np.isfinite(embedded).all()
        assert np.linalg.norm(embedded) <= 1 + 1e-12


def test_rounding_of_a_flat_row_is_not_taken_for_signal():
    encoder = PublicEncoder(n_components=2, sample_scaling="standardize").fit(PUBLIC, LABELS)
    flat = np.full((1, 5), 0.1)
    flat[0, 0] += 1e-17
    np.testing.assert_array_equal(encoder.transform(flat), encoder.transform(np.zeros((1, 5))))


def test_out_of_sample_rows_are_less_certain_than_rows_that_shaped_the_model(embedded, simulated):
    from skdpal import DPPrototypeClassifier
    from skdpal.query import score

    model = DPPrototypeClassifier(2.0, prior=embedded.prior, classes=embedded.prior.classes)
    model.partial_fit(np.zeros((0, 16)), [], expected_records=0)  # the prior alone
    inside, outside = (score("margin", model, rows).mean() for rows in (embedded.X_public, embedded.reference))
    assert inside < outside
