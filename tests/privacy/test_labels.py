"""Labels that may be published: what is charged, what is read, what a missing one becomes."""

import math
from collections import Counter
from decimal import Decimal, localcontext

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from skdpal.privacy import BudgetExhausted, LedgerError, PrivacyBudget, PrivacyLedger, epsilon_of, events
from skdpal.privacy.mechanisms import LaplaceLabels, RandomizedResponse, release
from skdpal.privacy.randomness import simulation
from skdpal.privacy.samplers import SystemSampler

ALARM = 1e-6
NAMES = list("abcdefgh")
CERTAIN = 50.0  # so large an ε that no label is ever exchanged
COLOURS = ("red", "green", "blue")


def simulated(labels, mechanism, seed=0):
    """What the door lets through, with noise of a seed."""
    with simulation(seed):
        return release(lambda: labels, mechanism, None, "x", record_ids=[str(at) for at in range(len(labels))])


# the charge


def test_the_charge_is_on_disk_before_anything_is_read(tmp_path, budget):
    path, seen = tmp_path / "study.ledger", []
    ledger = PrivacyLedger.create(path, budget)

    def labels():
        seen.extend(PrivacyLedger.open(path).receipts())
        return ["red", "blue"]

    released = release(labels, RandomizedResponse(0.3, COLOURS), ledger, "labels", record_ids=["a", "b"])
    assert [(receipt.label, receipt.event) for receipt in seen] == [("labels", events.randomized_response(0.3, 3))]
    assert set(released.tolist()) <= set(COLOURS)


def test_nothing_is_read_if_it_is_refused(ledger, exhausted, untouchable):
    """`untouchable` cannot be called either."""
    mechanism, before = RandomizedResponse(0.3, COLOURS), len(exhausted.receipts())
    with pytest.raises(BudgetExhausted):
        release(untouchable, mechanism, exhausted, "x", record_ids=NAMES)
    with pytest.raises(ValueError, match="Expected ledger"):
        release(untouchable, mechanism, None, "x", record_ids=NAMES)
    with simulation(0), pytest.raises(LedgerError, match="real ledger"):
        release(untouchable, mechanism, ledger, "x", record_ids=NAMES)
    with pytest.raises(ValueError, match="one row for each patient, as RandomizedResponse needs"):
        release(untouchable, mechanism, ledger, "x", record_ids=["a", "b", "a"])
    assert len(exhausted.receipts()) == before
    assert ledger.receipts() == []


@pytest.mark.parametrize("labels", [["red"], ["red"] * 3, [], "red"])
def test_labels_and_patients_must_correspond(ledger, labels):
    """The charge stays: whoever saw the error has learned something."""
    with pytest.raises((ValueError, TypeError)):
        release(lambda: labels, RandomizedResponse(0.3, COLOURS), ledger, "x", record_ids=["a", "b"])
    assert len(ledger.receipts()) == 1


def test_no_patients_are_a_cohort_like_any_other(ledger):
    assert release(lambda: [], RandomizedResponse(0.3, COLOURS), ledger, "x", record_ids=[]).shape == (0,)
    assert len(ledger.receipts()) == 1
    assert simulated([], RandomizedResponse(0.3, COLOURS)).shape == (0,)


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, "1", None])
def test_a_bad_epsilon_is_refused_by_name(bad):
    with pytest.raises(ValueError, match="Expected epsilon"):
        RandomizedResponse(bad, COLOURS)


@pytest.mark.parametrize("classes", [[], ["red"], ["red", "red"], [1, 1.0], [True, 1, 2]])
def test_classes_are_two_or_more_and_differ(classes):
    with pytest.raises(ValueError, match="Expected (n_classes|classes)"):
        RandomizedResponse(1.0, classes)


# the price


@pytest.mark.parametrize("n_classes", range(2, 21))
@pytest.mark.parametrize("epsilon", [1e-6, 0.3, 1.0, 4.0])
def test_the_law_that_is_drawn_is_the_law_that_is_priced(monkeypatch, n_classes, epsilon):
    calls = []
    original = SystemSampler.response
    monkeypatch.setattr(SystemSampler, "response", lambda *call: calls.append(call[1:]) or original(*call))
    mechanism = RandomizedResponse(epsilon, range(n_classes))
    labels = np.arange(n_classes)
    labels[0] = 1
    mechanism.run(labels, list(range(n_classes)))
    assert mechanism.event == events.randomized_response(epsilon, n_classes)
    (codes, classes, keep), (_, same, uniform) = calls
    assert codes.tolist() == labels.tolist()
    assert classes == same == n_classes
    assert uniform == pytest.approx(1 / n_classes, rel=1e-12)
    assert math.log(keep * (n_classes - 1) / (1 - keep)) == pytest.approx(epsilon, abs=1e-12)


def exact_keep(epsilon, n_classes):
    """In 60 digits."""
    with localcontext() as context:
        context.prec = 60
        return 1 / (1 + (n_classes - 1) * (-Decimal(epsilon)).exp())


@given(epsilon=st.floats(1e-6, 30), n_classes=st.integers(2, 20))
def test_the_chance_to_keep_a_label_is_that_of_the_price(epsilon, n_classes):
    keep = RandomizedResponse(epsilon, range(n_classes)).keep
    assert 0 < keep < 1
    assert keep == pytest.approx(float(exact_keep(epsilon, n_classes)), rel=1e-14)


@given(epsilon=st.floats(1e-6, 40), n_classes=st.integers(2, 20))
@example(epsilon=0.6111026635540169, n_classes=14)
@example(epsilon=20.39207694120627, n_classes=11)  # here ε itself is 2e-9 too large
def test_the_chance_to_keep_a_label_is_rounded_down(epsilon, n_classes):
    assert Decimal(RandomizedResponse(epsilon, range(n_classes)).keep) <= exact_keep(epsilon, n_classes)


@pytest.mark.parametrize("epsilon", [36.0, 40.0, 700.0, 1e300])
def test_no_epsilon_is_so_large_that_labels_are_certain(epsilon):
    mechanism = RandomizedResponse(epsilon, COLOURS)
    assert mechanism.keep < 1
    assert mechanism.run(["red"], ["a"]).tolist() == ["red"]


@pytest.mark.parametrize("epsilon", [1e-300, 1e-18])
@pytest.mark.parametrize("n_classes", [2, 3, 20])
def test_no_epsilon_is_so_small_that_there_is_no_answer(epsilon, n_classes):
    mechanism = RandomizedResponse(epsilon, range(n_classes))
    assert mechanism.run([1], ["a"]).shape == (1,)


def test_the_price_is_epsilon_whatever_the_number_of_patients():
    ledger = PrivacyLedger(PrivacyBudget(9.0, 1e-5))
    for size in (0, 1, 8):
        mechanism = RandomizedResponse(0.3, COLOURS)
        release(lambda size=size: ["red"] * size, mechanism, ledger, "x", record_ids=NAMES[:size])
    assert {receipt.event for receipt in ledger.receipts()} == {events.randomized_response(0.3, 3)}
    assert epsilon_of([RandomizedResponse(0.3, COLOURS).event], 1e-12) == pytest.approx(0.3, abs=2e-4)  # of the grid


# missing labels


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA, pd.NaT, float("nan")])
@pytest.mark.parametrize("classes", [COLOURS, (10, 20, 30)])
def test_a_missing_label_becomes_any_with_equal_chance(missing, classes):
    """Though a true one would be kept for certain. One class that is half as likely is missed with chance < 1e-9."""
    labels = pd.Series([missing] * 3000 + [classes[2]], dtype=object)
    released = simulated(labels, RandomizedResponse(CERTAIN, classes)).tolist()
    assert released.pop() == classes[2]
    assert chisquare([Counter(released)[name] for name in classes]).pvalue > ALARM


def test_in_production_too():
    mechanism = RandomizedResponse(CERTAIN, COLOURS)
    released = Counter(mechanism.run([None] * 1500, list(range(1500))).tolist())
    assert chisquare([released[name] for name in COLOURS]).pvalue > ALARM


@given(
    labels=st.lists(st.sampled_from([*COLOURS, None]), min_size=1, max_size=8),
    at=st.integers(0, 7),
    other=st.sampled_from([*COLOURS, None]),
)
def test_one_patient_moves_one_label_only(labels, at, other):
    """With the same noise in both worlds."""
    at %= len(labels)
    changed = labels[:at] + [other] + labels[at + 1 :]
    first, second = (simulated(world, RandomizedResponse(1.0, COLOURS), seed=5) for world in (labels, changed))
    assert np.delete(first, at).tolist() == np.delete(second, at).tolist()


# classes


@pytest.mark.parametrize(
    "classes",
    [
        ("red", "green", "blue"),
        ["z", "a", "m"],
        (3, 1, 2),
        range(3),
        (-7, 0, 10**12),
        (0.5, 2.5, -1.0),
        (b"x", b"y", b"z"),
        ("a", "a longer name", ""),
        np.array(["red", "green", "blue"]),
        np.array([5, 3, 4], dtype=np.int8),
        pd.Index(["red", "green", "blue"]),
        pd.Categorical(["red", "green", "blue"]),
        tuple(pd.to_datetime(["2020-01-01", "2019-01-01", "2021-01-01"])),
    ],
)
def test_classes_come_out_as_they_went_in(classes):
    """Type and spelling; and in the order of the rows."""
    rows = [classes[at] for at in (2, 0, 1, 1, 2)]
    released = simulated(rows, RandomizedResponse(CERTAIN, classes)).tolist()
    assert released == rows
    kinds = {type(np.asarray(entry).tolist()) for entry in rows}
    assert {type(np.asarray(entry).tolist()) for entry in released} == kinds


def test_truth_values_are_classes():
    assert simulated([False, True, True], RandomizedResponse(CERTAIN, [True, False])).tolist() == [False, True, True]


@pytest.mark.parametrize(
    "labels",
    [
        pd.Series(["red", "blue", "green"], index=[2, 0, 1]),
        pd.Series(["red", "blue", "green"], dtype="category"),
        pd.Series(["red", "blue", "green"], dtype="string"),
        pd.Series(["red", "blue", "green"], dtype=object),
        pd.Index(["red", "blue", "green"]),
        np.array(["red", "blue", "green"]),
        ("red", "blue", "green"),
    ],
)
def test_the_order_is_that_of_the_rows(labels):
    released = simulated(labels, RandomizedResponse(CERTAIN, COLOURS))
    assert type(released) is np.ndarray
    assert released.tolist() == ["red", "blue", "green"]


@pytest.mark.parametrize(
    "labels",
    [
        pd.Series([3, 1, 2], dtype="Int64"),
        pd.Series([3.0, 1.0, 2.0]),
        np.array([3, 1, 2], dtype=np.uint8),
        np.array([3, 1, 2], dtype=object),
        [3, 1, 2],
    ],
)
def test_whole_numbers_are_numbers_however_they_are_stored(labels):
    released = simulated(labels, RandomizedResponse(CERTAIN, (1, 2, 3)))
    assert released.tolist() == [3, 1, 2]
    assert released.dtype.kind == "i"


@pytest.mark.parametrize(
    ("classes", "label"),
    [
        (COLOURS, "HIV positive"),
        (COLOURS, "Red"),
        (COLOURS, "red "),
        (COLOURS, b"red"),
        (COLOURS, ""),
        (COLOURS, "nan"),
        (COLOURS, 0),
        (COLOURS, math.inf),
        ((1, 2, 3), "1"),
        ((1, 2, 3), 1.5),
        ((1, 2, 3), 4),
        ((1, 2, 3), -1),
        (("1", "2"), 1),
    ],
)
def test_an_unknown_class_is_refused_without_quoting_it(ledger, classes, label):
    """Position -1 must not be read as the last class."""
    mechanism = RandomizedResponse(0.3, classes)
    with pytest.raises(ValueError, match="Expected one label, of the given classes or missing") as error:
        release(lambda: [label, None], mechanism, ledger, "x", record_ids=["a", "b"])
    assert str(error.value).count(".") == 1  # nothing but the sentence
    assert error.value.__cause__ is None
    assert error.value.__context__ is None


@pytest.mark.parametrize("label", [{"HIV positive": 1}, ["HIV positive"], ("HIV positive", "red")])
def test_what_is_no_label_is_refused_without_quoting_it(ledger, label):
    with pytest.raises(ValueError, match="Expected one label, of the given classes or missing") as error:
        release(lambda: [label, label], RandomizedResponse(0.3, COLOURS), ledger, "x", record_ids=["a", "b"])
    assert "HIV" not in str(error.value)


@pytest.mark.parametrize(
    "classes",
    [
        (1, "a"),  # come out as strings
        (2**63 + 1, 1),  # come out as floats
        ("a", None),  # a class that is never kept
        (0.0, math.nan),
        {"a", "b"},  # without an order
        "ab",
        (("a", "b"), ("c", "d")),
    ],
)
def test_classes_that_cannot_come_out_as_they_went_in_are_refused_at_once(classes):
    with pytest.raises(ValueError, match="Expected classes"):
        RandomizedResponse(1.0, classes)


def test_a_mechanism_does_not_change_with_the_list_it_was_made_of():
    classes = ["a", "b"]
    mechanism = RandomizedResponse(1.0, classes)
    classes.append("c")
    assert mechanism.event.n_classes == 2
    assert mechanism == RandomizedResponse(1.0, ("a", "b"))
    assert hash(mechanism) == hash(RandomizedResponse(1.0, ("a", "b")))


@pytest.mark.parametrize("mechanism", [RandomizedResponse, LaplaceLabels])
def test_the_same_mechanism_is_the_same_however_it_is_written(mechanism):
    """What was drawn is kept under what this prints."""
    for twin in (mechanism(1, np.array([3, 1, 2], dtype=np.int8)), mechanism(np.float32(1), pd.Index([3, 1, 2]))):
        assert repr(twin) == repr(mechanism(1.0, (3, 1, 2)))
        assert twin == mechanism(1.0, (3, 1, 2))


# tables: one-hot labels with Laplace noise


def test_a_table_has_the_noise_of_its_price():
    """Exchanging a label moves two entries, so ε needs the scale 2/ε."""
    mechanism = LaplaceLabels(0.5, COLOURS)
    assert mechanism.event == events.laplace(2.0)
    noise = mechanism.run(["red"] * 4000, range(4000)) - [1.0, 0.0, 0.0]
    assert abs(noise).mean() == pytest.approx(4.0, rel=0.06)  # 6.6 standard errors
    assert noise.mean() == pytest.approx(0.0, abs=0.35)


def test_a_row_is_its_label_and_a_missing_one_is_empty():
    labels = ["blue", None, "red", np.nan, pd.NA]
    table = simulated(labels, LaplaceLabels(1e9, COLOURS))
    assert table.shape == (5, 3)
    assert table.round(3).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0]]


@given(
    labels=st.lists(st.sampled_from([*COLOURS, None]), min_size=1, max_size=8),
    at=st.integers(0, 7),
    other=st.sampled_from([*COLOURS, None]),
)
def test_one_patient_moves_one_row_by_two_at_most(labels, at, other):
    """In L1, with the same noise in both worlds; by one if they are not there at all."""
    at %= len(labels)
    changed = labels[:at] + [other] + labels[at + 1 :]
    first, second = (simulated(world, LaplaceLabels(1.0, COLOURS), seed=5) for world in (labels, changed))
    moved = abs(first - second)
    assert np.delete(moved, at, axis=0).sum() == 0
    assert moved[at].sum() <= (1 if None in (labels[at], other) else 2) + 1e-9


@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, "1", None])
def test_a_bad_epsilon_of_a_table_is_refused_by_name(bad):
    with pytest.raises(ValueError, match="Expected epsilon"):
        LaplaceLabels(bad, COLOURS)


@pytest.mark.parametrize("classes", [[], ["red"], ["red", "red"], [1, "a"], {"a", "b"}, "ab"])
def test_classes_of_a_table_are_two_or_more_and_differ(classes):
    with pytest.raises(ValueError, match="Expected (n_classes|classes)"):
        LaplaceLabels(1.0, classes)


def test_an_unknown_class_of_a_table_is_refused_without_quoting_it(ledger):
    with pytest.raises(ValueError, match="Expected one label, of the given classes or missing") as error:
        release(lambda: ["HIV positive"], LaplaceLabels(0.2, COLOURS), ledger, "x", record_ids=["a"])
    assert "HIV" not in str(error.value)


def test_no_patients_make_an_empty_table(ledger):
    assert release(lambda: [], LaplaceLabels(0.2, COLOURS), ledger, "x", record_ids=[]).shape == (0, 3)
