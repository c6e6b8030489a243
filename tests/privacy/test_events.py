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
        st.dictionaries(st.text(min_size=1, max_size=5) | st.just("inf"), GAUSSIANS, max_size=3).map(events.modalities),
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


MODALITIES = {"rna": events.gaussian(4.0), "wes": events.laplace(9.0)}


def test_the_parts_of_a_release_cost_what_they_cost_together():
    both = events.modalities(MODALITIES)
    assert epsilon_of([both], 1e-5) == epsilon_of([events.composed(list(MODALITIES.values()))], 1e-5)
    assert mu_squared(both) == mu_squared(events.composed(list(MODALITIES.values())))
    assert both != events.composed(list(MODALITIES.values()))
    assert events.by_modality(both) == MODALITIES


def test_parts_are_found_wherever_they_are():
    rna, wes = (events.modalities({name: event}) for name, event in MODALITIES.items())
    whole = events.composed([rna, events.gaussian(1.0), events.one_of([rna, wes])], count=3)
    found = events.by_modality(whole)
    assert mu_squared(found["rna"]) == pytest.approx(3 * 2 / 16)
    assert mu_squared(found["wes"]) == pytest.approx(3 * mu_squared(MODALITIES["wes"]))
    assert events.by_modality(events.gaussian(1.0)) == {}
    search = events.repeat_and_select(events.modalities(MODALITIES), 3.0)
    assert events.by_modality(search) == {"rna": search, "wes": search}


@pytest.mark.parametrize("name", ["inf", "nan", "-inf", "rna\n", "läuft", " "])
def test_any_word_names_a_part_and_comes_back(name, ledger):
    """A ledger that cannot read its own row is lost."""
    event = events.modalities({name: events.gaussian(9.0)})
    assert events.from_json(json.loads(json.dumps(events.to_json(event)))) == event
    ledger.charge(event, "it")
    assert ledger.receipts()[0].event == event


@pytest.mark.parametrize("names", [("rna",), ("rna", "rna"), ("rna", ""), ("rna", 1), ("rna", "wes", "more")])
def test_every_part_has_one_name(names):
    with pytest.raises(ValueError, match="Expected"):
        events.Modalities(tuple(MODALITIES.values()), 1, names)


def test_the_parts_of_a_release_are_released_once():
    with pytest.raises(ValueError, match="Expected"):
        events.Modalities(tuple(MODALITIES.values()), 2, tuple(MODALITIES))
    record = events.to_json(events.modalities(MODALITIES))
    with pytest.raises(ValueError, match="Expected"):
        events.from_json({**record, "count": 2})
