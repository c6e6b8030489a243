"""Events are frozen, and nothing unknown is read as if it were known."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdpal.privacy import epsilon_of, events
from skdpal.privacy.accounting import mu_squared

GAUSSIANS = st.builds(
    events.gaussian, st.floats(0.01, 1e3), st.integers(1, 1000), replace_one=st.floats(0, 2, exclude_min=False)
)
NOISE = st.floats(0.01, 1e3)
EVENTS = st.recursive(
    st.one_of(
        GAUSSIANS,
        st.builds(events.noisy_scores, NOISE),
        st.builds(events.poisson_gaussian, NOISE, st.floats(0, 1, exclude_min=True), st.integers(1, 100)),
        st.builds(events.laplace, NOISE),
        st.builds(events.randomized_response, st.floats(0.01, 9), st.integers(2, 20)),
        st.builds(events.gumbel_top_k, NOISE, st.integers(1, 9)),
        st.builds(events.nonprivate),
    ),
    lambda parts: st.one_of(
        st.builds(events.composed, st.lists(parts), st.integers(1, 9)),
        st.builds(events.one_of, st.lists(parts)),
        st.builds(events.repeat_and_select, parts, st.floats(1.1, 99), st.sampled_from([0.0, 0.5, 1.0, math.inf])),
    ),
)


@given(EVENTS)
def test_json_round_trip(event):
    assert events.from_json(json.loads(json.dumps(events.to_json(event)))) == event


@pytest.mark.parametrize(
    "record",
    [
        {"schema": 1, "kind": "nonprivate"},
        {"schema": 3, "kind": "nonprivate"},
        {"kind": "nonprivate"},
        {"schema": 2, "kind": "laplace", "scale": 1.0},
        {"schema": 2, "kind": "exponential", "noise_multiplier": 1.0},
        {"schema": 2, "kind": "gaussian", "noise_multiplier": 1.0},
        {"schema": 2, "kind": "gaussian", "noise_multiplier": 1.0, "steps": 1, "replace_one": 2.0, "extra": 0},
        {"schema": 2, "kind": "gaussian", "noise_multiplier": -1.0, "steps": 1, "replace_one": 2.0},
        {"schema": 2, "kind": "composed"},
        {"schema": 2, "kind": "nonprivate", "extra": 0},
        {"schema": 2, "kind": "composed", "events": [{"schema": 2, "kind": "unheard"}], "count": 1},
        {"schema": 2, "kind": "poisson-gaussian", "noise_multiplier": 1.0, "sampling_rate": 1.1, "steps": 1},
        {"schema": 2, "kind": "randomized-response", "epsilon": 1.0, "n_classes": 1},
        {"schema": "2", "kind": "nonprivate"},
        {"schema": 2, "kind": ["gaussian"]},
        {},
    ],
)
def test_unknown_records_are_refused(record):
    with pytest.raises(ValueError, match="Expected"):
        events.from_json(record)


def test_events_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        events.gaussian(1.0).noise_multiplier = 2.0


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), "1", None, True])
def test_bad_noise_is_refused_by_name(bad):
    with pytest.raises(ValueError, match="noise_multiplier"):
        events.gaussian(bad)


@pytest.mark.parametrize("steps", [0, -1, 1.5, True])
def test_bad_steps_are_refused_by_name(steps):
    with pytest.raises(ValueError, match="steps"):
        events.gaussian(1.0, steps)


def test_what_is_not_an_event_is_refused():
    with pytest.raises(TypeError, match=r"skdpal\.privacy\.events"):
        events.composed(["free"])
    with pytest.raises(TypeError, match=r"skdpal\.privacy\.events"):
        epsilon_of([1.0], 1e-5)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_numbers_of_numpy_are_plain_numbers_in_an_event(kind):
    event = events.gaussian(kind(3), np.int64(5))
    assert json.loads(json.dumps(events.to_json(event))) == events.to_json(events.gaussian(3.0, 5))


@pytest.mark.parametrize("sigma", [1e-320, 1e-200, 1e-154])
def test_so_little_noise_that_its_price_overflows_costs_infinity(sigma):
    assert epsilon_of([events.gaussian(sigma)] * 2, 1e-5) == math.inf


def test_so_much_noise_that_its_price_underflows_still_costs_something():
    assert 0 < mu_squared(events.gaussian(1e300)) < 1e-300
