"""Published selections, public partitions and public chunks, without a ledger around them."""

import copy
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from skdpal.privacy import BudgetExhausted, PrivacyBudget, PrivacyLedger, events
from skdpal.privacy.mechanisms import CellScores, GumbelTopK, LaplaceScores, NoisyScores, release
from skdpal.privacy.randomness import simulation
from skdpal.query.selections.chunks import PublicChunks
from skdpal.query.selections.partition import NO_CELL, PublicPartition
from skdpal.query.selections.published import NOISES, PublishedSelection

TINY = 1e-9  # noise that no comparison sees
CORNERS = PublicPartition.from_prototypes([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
SITES = PublicPartition.from_strata({"a": "Lyon", "b": "Bern", "c": "Bern", "d": "Lyon", "e": "Oslo"})


def chosen(selection, scores, k, X=None, ids=None, seed=0):
    """Through the mechanism, with noise of a seed."""
    ids = [str(number) for number in range(len(scores))] if ids is None else ids
    with simulation(seed):
        released = release(lambda: selection.values(scores, X), selection.mechanism(k), None, "x", record_ids=ids)
    return selection.choose(released, k, record_ids=ids)


# ---- published ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selection", "mechanism", "event"),
    [
        (PublishedSelection("gaussian", 3.0), NoisyScores(3.0), events.noisy_scores(3.0)),
        (PublishedSelection("laplace", 3.0), LaplaceScores(3.0), events.laplace(3.0)),
        (PublishedSelection("gumbel", 3.0), GumbelTopK(3.0, 2), events.gumbel_top_k(3.0, 2)),
        (PublishedSelection("gaussian", 3.0, CORNERS), CellScores(3.0, 3), events.noisy_scores(3.0)),
        (PublishedSelection("gaussian", 3.0, SITES), NoisyScores(3.0), events.noisy_scores(3.0)),
        (PublishedSelection("laplace", 3.0, SITES), LaplaceScores(3.0), events.laplace(3.0)),
    ],
)
def test_a_selection_names_its_mechanism_and_its_price(selection, mechanism, event):
    assert selection.mechanism(2) == mechanism
    assert selection.event(2) == event == mechanism.event


@pytest.mark.parametrize(
    ("filter", "noise", "taken"),
    [
        ("gdp", "gaussian", True),
        ("gdp", "laplace", True),
        ("gdp", "gumbel", False),
        ("renyi", "gaussian", True),
        ("renyi", "laplace", True),
        ("renyi", "gumbel", True),
    ],
)
def test_which_law_works_under_which_filter(filter, noise, taken, untouchable):
    ledger, selection = PrivacyLedger(PrivacyBudget(2.0), filter), PublishedSelection(noise, 9.0)
    if taken:
        release(lambda: np.zeros(2), selection.mechanism(1), ledger, "x", record_ids="ab")
    else:
        with pytest.raises(BudgetExhausted, match="noisy_scores"):
            release(untouchable, selection.mechanism(1), ledger, "x", record_ids="ab")
    assert len(ledger.receipts()) == taken


@pytest.mark.parametrize("noise", NOISES)
def test_without_noise_the_best_are_chosen_best_first(noise):
    scores = [0.2, 0.9, math.nan, 7.0, 0.4, -math.inf]  # cut to 1, missing ½
    assert chosen(PublishedSelection(noise, TINY), scores, 4).tolist() == [3, 1, 2, 4]


@given(
    scores=st.lists(st.floats() | st.none(), max_size=9),
    k=st.integers(1, 12),
    noise=st.sampled_from(["gaussian", "laplace", "gumbel", "cells", "sites"]),
    seed=st.integers(0, 99),
)
def test_exactly_k_different_patients_or_the_whole_pool(scores, k, noise, seed):
    n, X, ids = len(scores), None, None
    if noise == "cells":
        selection, X = PublishedSelection("gaussian", 1.0, CORNERS), np.random.default_rng(seed).normal(size=(n, 2))
    elif noise == "sites":
        ids = [f"p{number}" for number in range(n)]
        partition = PublicPartition.from_strata({f"p{number}": number % 4 for number in range(9)})
        selection = PublishedSelection("gaussian", 1.0, partition)
    else:
        selection = PublishedSelection(noise, 1.0)
    picked = chosen(selection, np.array(scores, dtype=float), k, X, ids, seed)
    assert picked.dtype == np.intp
    assert len(set(picked.tolist())) == len(picked) == min(k, n)
    assert set(picked.tolist()) <= set(range(n))


def test_what_was_released_says_who_is_chosen_each_time_the_same():
    released = np.array([0.3, 0.8, -2.0, 0.8])
    selection = PublishedSelection("laplace", 1.0)
    assert selection.choose(released, 3).tolist() == selection.choose(released, 3).tolist() == [1, 3, 0]
    assert PublishedSelection("gumbel", 1.0).choose(np.array([4, 2, 0]), 3).tolist() == [4, 2, 0]


def test_cells_take_turns_and_the_best_cell_begins():
    rows = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 1], [-1, -1]], dtype=float)
    scores = [0.9, 0.8, 0.7, 0.95, 0.6, 0.55]
    selection = PublishedSelection("gaussian", TINY, CORNERS)
    assert chosen(selection, scores, 6, rows).tolist() == [3, 0, 5, 4, 1, 2]
    assert chosen(PublishedSelection("gaussian", TINY), scores, 3).tolist() == [3, 0, 1]  # without diversity


def test_strata_take_turns_and_a_small_one_runs_out():
    selection = PublishedSelection("gaussian", TINY, SITES)
    assert chosen(selection, [0.1, 0.2, 0.9, 0.4, 0.8], 5, ids="abcde").tolist() == [2, 4, 3, 1, 0]


def test_a_score_in_no_cell_competes_as_one_half():
    rows = np.array([[np.nan, 0], [0, 1]])
    selection = PublishedSelection("gaussian", TINY, CORNERS)
    assert chosen(selection, [1.0, 0.51], 1, rows).tolist() == [1]
    assert chosen(selection, [0.0, 0.49], 1, rows).tolist() == [0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("exact", 1.0), "noise"),
        (("gaussian", 0.0), "noise_multiplier"),
        (("gumbel", None), "noise_multiplier"),
        (("gumbel", 1.0, SITES), "gumbel"),
        (("gumbel", 1.0, CORNERS), "gumbel"),
        (("laplace", 1.0, CORNERS), "prototypes"),
    ],
)
def test_bad_selections_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        PublishedSelection(*arguments)


@pytest.mark.parametrize("k", [0, -1, 1.5, None])
def test_a_bad_number_wanted_is_named(k):
    for noise in NOISES:
        with pytest.raises(ValueError, match="Expected k"):
            PublishedSelection(noise, 1.0).event(k)
    with pytest.raises(ValueError, match="Expected k"):
        PublishedSelection("gaussian", 1.0).choose(np.zeros(3), k)


@pytest.mark.parametrize("partition", [None, CORNERS, SITES])
def test_a_release_of_another_selection_is_refused(partition):
    """As when a round that is remembered is asked again with another partition."""
    selection = PublishedSelection("gaussian", 1.0, partition)
    for released in (np.zeros(5), np.zeros((5, 2)), np.zeros((5, 3))):
        if released.shape == ((5, 3) if partition is CORNERS else (5,)):
            assert len(selection.choose(released, 2, record_ids="abcde")) == 2
        else:
            with pytest.raises(ValueError, match="same partition"):
                selection.choose(released, 2, record_ids="abcde")


def test_strata_need_the_patients():
    with pytest.raises(ValueError, match="record_ids"):
        PublishedSelection("gaussian", 1.0, SITES).choose(np.zeros(3), 1)


# ---- partitions ---------------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10**6),
    n_rows=st.integers(1, 40),
    n_features=st.integers(1, 33),
    n_cells=st.integers(1, 9),
    column_major=st.booleans(),
)
def test_the_cell_of_a_row_is_that_of_the_row_alone(seed, n_rows, n_features, n_cells, column_major):
    """To the last bit: many rows lie half-way between two prototypes."""
    rng = np.random.default_rng(seed)
    prototypes = rng.normal(size=(n_cells, n_features))
    rows = prototypes[rng.integers(0, n_cells, (2, n_rows))].mean(axis=0) * rng.choice([1.0, 1 / 3], (n_rows, 1))
    partition = PublicPartition.from_prototypes(prototypes)
    together = partition.cells(np.asfortranarray(rows) if column_major else rows)
    alone = [partition.cells(rows[[at]])[0] for at in range(n_rows)]
    assert together.tolist() == alone


def test_many_rows_are_cut_into_blocks(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(50, 2))
    whole = CORNERS.cells(rows)
    monkeypatch.setattr("skdpal.query.selections.partition._BLOCK", 7)
    assert np.array_equal(CORNERS.cells(rows), whole)
    assert CORNERS.cells(rows[:0]).shape == (0,)


def test_a_cell_is_that_of_the_nearest_prototype():
    rows = [[0.9, 0.1], [0.1, 0.9], [-3, 0], [math.nan, 1], [math.inf, 0], [0.5, 0.5]]
    assert CORNERS.cells(rows).tolist() == [0, 1, 2, NO_CELL, NO_CELL, 0]


def test_frames_know_their_columns():
    partition = PublicPartition.from_prototypes(pd.DataFrame(np.eye(2), columns=["x", "y"]), names=["low", "high"])
    assert (partition.names, partition.feature_names, partition.n_cells) == (("low", "high"), ("x", "y"), 2)
    assert partition.cells(pd.DataFrame([[0.0, 1.0]], columns=["x", "y"])).tolist() == [1]
    assert partition.cells([[0.0, 1.0]]).tolist() == [1]
    with pytest.raises(ValueError, match="columns of X"):
        partition.cells(pd.DataFrame([[0.0, 1.0]], columns=["y", "x"]))


@pytest.mark.parametrize("rows", [[0.4321, 1.0], [[0.4321]], [["Smith", "Jones"]], 0.4321])
def test_bad_rows_are_refused_discreetly(rows):
    with pytest.raises(ValueError, match="Expected X") as error:
        CORNERS.cells(rows)
    assert "0.43" not in str(error.value)
    assert "Smith" not in str(error.value)


@pytest.mark.parametrize(
    ("prototypes", "names", "words"),
    [
        ([1.0, 2.0], None, "n_cells, n_features"),
        ([[]], None, "n_cells, n_features"),
        ([[np.nan, 1.0]], None, "prototypes"),
        (np.eye(2), ["one"], "names"),
        (np.eye(2), ["one", "one"], "names"),
    ],
)
def test_bad_prototypes_are_named(prototypes, names, words):
    with pytest.raises(ValueError, match=words):
        PublicPartition.from_prototypes(prototypes, names)


@pytest.mark.parametrize(
    "partition",
    [
        PublicPartition.from_strata({"p1": "Bern", "p2": "Lyon", "3": "Bern"}),
        PublicPartition.from_strata(pd.Series(["Bern", "Lyon", "Bern"], index=["p1", "p2", 3])),
        PublicPartition.from_strata(["Bern", "Lyon", "Bern"], ["p1", "p2", 3]),
    ],
)
def test_strata_are_known_by_patient(partition):
    assert partition.names == ("Bern", "Lyon")
    assert partition.cells_of(["p2", 3, "p1"]).tolist() == [1, 0, 0]
    assert partition.cells_of([]).shape == (0,)
    with pytest.raises(ValueError, match="whole pool") as error:
        partition.cells_of(["Smith"])
    assert "Smith" not in str(error.value)
    with pytest.raises(ValueError, match="cells_of"):
        partition.cells(np.eye(2))
    with pytest.raises(ValueError, match=r"cells\(X\)"):
        CORNERS.cells_of(["p1"])


@pytest.mark.parametrize(
    ("labels", "ids", "words"),
    [
        (["Bern", "Lyon"], None, "record_ids"),
        (["Bern", "Lyon"], ["a"], "one stratum for each"),
        ({}, None, "at least one"),
        (["Bern", None], ["a", "b"], "a stratum for every"),
        (["Bern", "Lyon"], ["a", "a"], "one stratum a patient"),
        (["Bern", "Lyon"], [1, "1"], "one stratum a patient"),
    ],
)
def test_bad_strata_are_named(labels, ids, words):
    with pytest.raises(ValueError, match=words):
        PublicPartition.from_strata(labels, ids)


@pytest.mark.parametrize("partition", [CORNERS, SITES])
def test_a_partition_is_frozen_and_shared(partition):
    assert copy.copy(partition) is copy.deepcopy(partition) is clone(partition) is partition
    assert str(partition.n_cells) in repr(partition)
    assert "Bern" not in repr(partition)


def test_prototypes_cannot_be_changed_afterwards():
    own = np.eye(2)
    partition = PublicPartition.from_prototypes(own)
    own[:] = 7
    assert partition.prototypes.tolist() == np.eye(2).tolist()
    with pytest.raises(ValueError, match="read-only"):
        partition.prototypes[0] = 1


# ---- chunks -------------------------------------------------------------------------------------------------------

NAMES = [f"patient {number}" for number in range(23)]
LISTS = st.lists(st.text(max_size=5), min_size=1, max_size=30, unique=True)


@given(ids=LISTS, capacity=st.integers(1, 12), seed=st.integers(0, 99))
def test_no_chunk_is_larger_than_the_capacity_and_each_patient_is_in_one(ids, capacity, seed):
    chunks = PublicChunks(capacity=capacity, seed=seed).cut(ids)
    members = [chunks.members(number) for number in range(chunks.n_chunks)]
    sizes = [len(part) for part in members]
    assert sorted(sum(members, ())) == sorted(ids)
    assert max(sizes) <= capacity
    assert max(sizes) - min(sizes) <= 1
    assert chunks.n_chunks == math.ceil(len(ids) / capacity)
    assert all(chunks.chunk_of(patient) == number for number, part in enumerate(members) for patient in part)


@given(ids=LISTS, data=st.data())
def test_chunks_follow_the_list_and_the_seed_and_never_who_is_left(ids, data):
    spec = PublicChunks(n_chunks=data.draw(st.integers(1, len(ids))), seed=3)
    chunks = spec.cut(ids)
    assert spec.cut(data.draw(st.permutations(ids))) == chunks
    left = data.draw(st.lists(st.sampled_from(ids), unique=True))
    for number in range(chunks.n_chunks):
        here = {left[at] for at in chunks.positions(left, number)}
        assert here == {patient for patient in chunks.members(number) if patient in left}


def test_the_pair_of_two_patients_order_is_nobody_elses_business():
    """Ranks come from a hash of each id, so that two patients are in the same order in every list."""
    whole = PublicChunks(n_chunks=23).cut(NAMES)
    part = PublicChunks(n_chunks=9).cut(NAMES[5:14])
    order = sorted(NAMES[5:14], key=whole.chunk_of)
    assert order == sorted(NAMES[5:14], key=part.chunk_of)


def test_seeds_make_different_chunks():
    assert len({PublicChunks(n_chunks=4, seed=seed).cut(NAMES).members(0) for seed in range(5)}) == 5


def test_chunks_do_not_change_between_versions():
    """A study that is resumed must find its chunks again."""
    assert PublicChunks(n_chunks=5).cut(["a", "b", "c", "d", "e"]).numbers == {"d": 0, "a": 1, "c": 2, "b": 3, "e": 4}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "one of n_chunks and capacity"),
        ({"n_chunks": 2, "capacity": 3}, "one of n_chunks and capacity"),
        ({"n_chunks": 0}, "n_chunks"),
        ({"capacity": 1.5}, "capacity"),
        ({"capacity": 3, "seed": -1}, "seed"),
    ],
)
def test_bad_chunks_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        PublicChunks(**arguments)


@pytest.mark.parametrize(
    ("arguments", "labels", "words"),
    [
        ({"capacity": 3}, 4, r"capacity to be at least labels_per_round=4\. Found 3.*Ask for fewer"),
        ({"capacity": 22}, 12, r"at least labels_per_round=12 patients\. Found 11 of n_pool=23.*fewer chunks"),
        ({"n_chunks": 5}, 5, r"at least labels_per_round=5 patients\. Found 4"),
        ({"n_chunks": 24}, 1, "Found 0"),
        ({"n_chunks": 2}, 0, "labels_per_round"),
    ],
)
def test_chunks_must_hold_the_labels_wanted(arguments, labels, words):
    with pytest.raises(ValueError, match=words):
        PublicChunks(**arguments).cut(NAMES, labels)


def test_lists_that_are_no_protocol_are_refused():
    spec = PublicChunks(n_chunks=1)
    with pytest.raises(ValueError, match="once"):
        spec.cut(["a", "a"])
    with pytest.raises(ValueError, match="once"):
        spec.cut([1, "1"])
    with pytest.raises(ValueError, match="n_pool"):
        spec.cut([])


def test_ids_made_of_rows_would_let_content_move_others():
    from skdpal.privacy.identities import identify

    with pytest.raises(ValueError, match="record_ids"):
        PublicChunks(n_chunks=1).cut(identify(np.eye(3)))


def test_strangers_and_rounds_without_a_chunk_are_refused():
    chunks = PublicChunks(n_chunks=3).cut(NAMES)
    with pytest.raises(ValueError, match="whole pool") as error:
        chunks.positions(["Smith"], 0)
    assert "Smith" not in f"{error.value}{error.value.__cause__}"
    for number in (-1, 3):
        with pytest.raises(ValueError, match="from 0 to 2"):
            chunks.members(number)
        with pytest.raises(ValueError, match="no more rounds than chunks"):
            chunks.positions(NAMES, number)
    assert repr(chunks) == "<Chunks: 3 of 23 patients>"
