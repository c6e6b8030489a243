"""Noise on scores, and on the choice of the best: what is charged, what is read, and what one patient can do."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skdpal.privacy import BudgetExhausted, LedgerError, PrivacyBudget, PrivacyLedger, epsilon_of, events
from skdpal.privacy.mechanisms import CellScores, GumbelTopK, LaplaceScores, NoisyScores, release
from skdpal.privacy.randomness import perturb, simulation
from skdpal.privacy.samplers import SystemSampler

KINDS = [NoisyScores, LaplaceScores, GumbelTopK]
ADDITIVE = KINDS[:2]
NAMES = list("abcdefgh")
TINY = 1e-9  # noise that no comparison sees

kinds = pytest.mark.parametrize("kind", KINDS)
additive = pytest.mark.parametrize("kind", ADDITIVE)


@pytest.fixture
def ledger(budget):
    """Of the kind that has a price for each of these mechanisms."""
    return PrivacyLedger(budget, "renyi")


def simulated(scores, mechanism, seed=0):
    """What the door lets through, with noise of a seed."""
    with simulation(seed):
        return release(lambda: scores, mechanism, None, "x", record_ids=NAMES[: len(scores)])


# the charge


@kinds
def test_the_charge_is_on_disk_before_anything_is_read(tmp_path, budget, kind):
    path, seen = tmp_path / "study.ledger", []
    ledger = PrivacyLedger.create(path, budget, "renyi")

    def scores():
        seen.extend(PrivacyLedger.open(path).receipts())
        return np.array([0.1, 0.2])

    mechanism = kind(4.0)
    release(scores, mechanism, ledger, "round 1", record_ids=NAMES[:2])
    assert [(receipt.label, receipt.event) for receipt in seen] == [("round 1", mechanism.event)]
    assert ledger.receipts() == seen


@kinds
def test_nothing_is_read_if_it_is_refused(ledger, untouchable, kind):
    """`untouchable` cannot be called either."""
    poor = PrivacyLedger(PrivacyBudget(0.01, 1e-5), "renyi")
    with pytest.raises(BudgetExhausted):
        release(untouchable, kind(4.0), poor, "x", record_ids=NAMES)
    with pytest.raises(ValueError, match="Expected ledger"):
        release(untouchable, kind(4.0), None, "x", record_ids=NAMES)
    with simulation(0), pytest.raises(LedgerError, match="real ledger"):
        release(untouchable, kind(4.0), ledger, "x", record_ids=NAMES)
    assert poor.receipts() == ledger.receipts() == []


def test_a_gdp_ledger_refuses_gumbel_noise_and_reads_nothing(budget, untouchable):
    ledger = PrivacyLedger(budget)
    with pytest.raises(BudgetExhausted, match="noisy_scores"):
        release(untouchable, GumbelTopK(4.0), ledger, "x", record_ids=NAMES)
    assert ledger.receipts() == []


@kinds
@pytest.mark.parametrize("ids", [["a", "b", "a"], [1, 2, "1"], np.array(["x", "x"])])
def test_a_patient_with_two_rows_is_refused_before_the_charge(ledger, untouchable, kind, ids):
    with pytest.raises(ValueError, match=f"one row for each patient, as {kind.__name__} needs"):
        release(untouchable, kind(4.0), ledger, "x", record_ids=ids)
    assert ledger.receipts() == []


@kinds
@pytest.mark.parametrize("scores", [[0.5], [0.5, 0.5, 0.5], [[0.5], [0.5]], [[0.5, 0.5]], 0.5, []])
def test_scores_and_patients_must_correspond(ledger, kind, scores):
    """The charge stays: whoever saw the error has learned something."""
    with pytest.raises(ValueError, match="Expected one score for each of record_ids"):
        release(lambda: scores, kind(4.0), ledger, "x", record_ids=["a", "b"])
    assert len(ledger.receipts()) == 1


@kinds
def test_a_crash_after_the_charge_leaves_it_spent(ledger, kind):
    with pytest.raises(ZeroDivisionError):
        release(lambda: 1 / 0, kind(4.0), ledger, "x", record_ids=["a"])
    assert len(ledger.receipts()) == 1


@kinds
def test_no_patients_are_a_cohort_like_any_other(ledger, kind):
    released = release(lambda: np.zeros(0), kind(4.0), ledger, "x", record_ids=[])
    assert released.shape == (0,)
    assert [receipt.event for receipt in ledger.receipts()] == [kind(4.0).event]


@kinds
@pytest.mark.parametrize("bad", [0, -1.0, math.nan, math.inf, "1", None, True])
def test_bad_noise_is_refused_by_name(kind, bad):
    with pytest.raises(ValueError, match="noise_multiplier"):
        kind(bad)


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, None])
def test_a_bad_number_of_winners_is_refused_by_name(bad):
    with pytest.raises(ValueError, match="Expected k"):
        GumbelTopK(1.0, bad)


# the price


@pytest.fixture
def drawn(monkeypatch):
    """What production's sampler is asked for, and its answers."""
    calls = []

    def watch(law):
        original = getattr(SystemSampler, law)

        def spy(self, values, *parameters):
            answer = original(self, values, *parameters)
            calls.append((law, values.copy(), parameters, answer))
            return answer

        monkeypatch.setattr(SystemSampler, law, spy)

    for law in ("gaussian", "laplace", "top_k", "response"):
        watch(law)
    return calls


@pytest.mark.parametrize("noise", [0.3, 1.0, 7.0])
@pytest.mark.parametrize(
    ("make", "law", "event", "more"),
    [
        (NoisyScores, "gaussian", events.noisy_scores, ()),
        (LaplaceScores, "laplace", events.laplace, ()),
        (GumbelTopK, "top_k", events.gumbel_top_k, (1,)),
        (lambda noise: GumbelTopK(noise, 3), "top_k", lambda noise: events.gumbel_top_k(noise, 3), (3,)),
    ],
)
def test_the_law_that_is_drawn_is_the_law_that_is_priced(drawn, noise, make, law, event, more):
    """One draw for all, of the scale that the event names, in units of ½; what was drawn is what leaves."""
    mechanism = make(noise)
    released = mechanism.run([0.0, 0.2, 0.4, 1.0], NAMES[:4])
    ((name, values, parameters, answer),) = drawn
    assert mechanism.event == event(noise)
    assert (name, parameters) == (law, (mechanism.event.noise_multiplier / 2, *more))
    assert values.tolist() == [0.0, 0.2, 0.4, 1.0]
    assert np.array_equal(released, answer)


def test_known_prices():
    assert epsilon_of([NoisyScores(4.0).event], 1e-5) == pytest.approx(epsilon_of([events.gaussian(4.0)], 1e-5))
    assert epsilon_of([LaplaceScores(4.0).event], 1e-12) == pytest.approx(0.25, abs=1e-6)
    assert epsilon_of([GumbelTopK(4.0).event], 1e-12) == pytest.approx(0.25, abs=1e-4)
    assert epsilon_of([GumbelTopK(4.0, 2).event], 1e-12) > epsilon_of([GumbelTopK(4.0).event], 1e-12)


@kinds
def test_the_size_of_the_cohort_is_not_in_the_price(ledger, kind):
    for size in (0, 1, 8):
        release(lambda size=size: np.zeros(size), kind(9.0), ledger, "x", record_ids=NAMES[:size])
    assert len({receipt.event for receipt in ledger.receipts()}) == 1


# what one patient can do

CUT = [
    (-math.inf, 0.0),
    (-1e308, 0.0),
    (-1e-9, 0.0),
    (0.25, 0.25),
    (1.0, 1.0),
    (1 + 1e-9, 1.0),
    (10**300, 1.0),
    (math.inf, 1.0),
    (math.nan, 0.5),
    (None, 0.5),
    (True, 1.0),
]


@additive
@pytest.mark.parametrize(("sent", "counted"), CUT)
def test_scores_are_cut_and_missing_ones_count_half(kind, sent, counted):
    assert simulated([sent, 0.75], kind(TINY)) == pytest.approx([counted, 0.75], abs=1e-6)


@pytest.mark.parametrize(("sent", "counted"), CUT)
def test_the_choice_cuts_them_too(drawn, sent, counted):
    GumbelTopK(TINY).run([sent, 0.75], NAMES[:2])
    ((_, values, _, _),) = drawn
    assert values.tolist() == [counted, 0.75]


class Uncut(NoisyScores):
    """Scores as they come."""

    def run(self, values, ids):
        return perturb(np.nan_to_num(np.asarray(values, dtype=float), nan=0.5), self.noise_multiplier / 2)


class Ranked(NoisyScores):
    """Scores relative to the others'."""

    def run(self, values, ids):
        scores = pd.Series(values, dtype=float)
        return super().run(scores.rank() / len(scores), ids)


class NullIsZero(NoisyScores):
    """An empty slot counts 0."""

    def run(self, values, ids):
        return super().run(np.nan_to_num(np.asarray(values, dtype=float), nan=0.0), ids)


COHORTS = st.lists(st.floats() | st.floats(0, 1), min_size=1, max_size=len(NAMES))


def reach(mechanism, scores, at, sent):
    """By how much a patient's score, instead of none, moves the own and the others' outputs: same noise, two worlds."""
    scores, at = list(scores), at % len(scores)
    there, gone = scores[:at] + [sent] + scores[at + 1 :], scores[:at] + [math.nan] + scores[at + 1 :]
    moved = abs(simulated(there, mechanism, seed=3) - simulated(gone, mechanism, seed=3))
    own = moved[at]
    moved[at] = 0
    return own, moved.max()


@additive
@given(scores=COHORTS, at=st.integers(0, 7), sent=st.floats(), noise=st.sampled_from([TINY, 1.0, 50.0]))
def test_one_patient_moves_one_score_by_half_at_most_whatever_is_sent(kind, scores, at, sent, noise):
    own, others = reach(kind(noise), scores, at, sent)
    assert own <= 0.5 + 1e-15 * (1 + 100 * noise)  # of rounding
    assert others == 0


@pytest.mark.parametrize(("faulty", "sent"), [(Uncut, 3.0), (Ranked, 0.1), (NullIsZero, 1.0)])
def test_the_same_check_catches_faults(faulty, sent):
    own, others = reach(faulty(TINY), [0.3, 0.5, 0.9], 1, sent)
    assert own > 0.51 or others > 0


@given(scores=COHORTS, at=st.integers(0, 7), sent=st.floats(), seed=st.integers(0, 99))
def test_one_patient_leaves_the_order_of_the_others(scores, at, sent, seed):
    """With the same noise in both worlds."""
    at %= len(scores)
    orders = []
    for own in (sent, math.nan):
        order = simulated(scores[:at] + [own] + scores[at + 1 :], GumbelTopK(1.0, k=8), seed)
        orders.append([position for position in order if position != at])
    assert orders[0] == orders[1]


@given(scores=st.lists(st.floats(0, 0.9), min_size=1, max_size=8), k=st.integers(1, 9))
def test_without_noise_the_best_are_chosen_best_first(scores, k):
    scores = np.round(scores, 3) + np.arange(len(scores)) * 1e-5  # no ties
    chosen = simulated(scores, GumbelTopK(TINY, k))
    assert chosen.tolist() == np.argsort(-scores)[:k].tolist()


@pytest.mark.parametrize("k", [1, 2, 3, 4, 9])
def test_winners_are_different_positions(k):
    for _ in range(20):
        chosen = GumbelTopK(1.0, k).run([0.0, 0.5, 0.5, 1.0], NAMES[:4])
        assert chosen.dtype == np.int64
        assert len(set(chosen.tolist())) == len(chosen) == min(k, 4)
        assert set(chosen.tolist()) <= {0, 1, 2, 3}


def test_production_chooses_the_best_first_too():
    assert GumbelTopK(TINY, 3).run([0.1, 0.9, 0.5, 0.2], NAMES[:4]).tolist() == [1, 2, 3]


# what is accepted

FRAMES = [
    pd.Series([0.9, 0.1, 0.5], index=[2, 0, 1]),
    pd.Series([0.9, 0.1, None], index=list("zxy")),
    pd.Series([0.9, 0.1, None], dtype="Float64"),
    pd.Series(["0.9", "0.1", "0.5"]),
    pd.Series([0.1, 0.5, 0.9]).iloc[[2, 0, 1]],
    np.array([0.9, 0.1, 0.5], dtype=np.float16),
    np.array([0.9, 0.1, None], dtype=object),
    (0.9, 0.1, 0.5),
]


@additive
@pytest.mark.parametrize("scores", FRAMES)
def test_the_order_is_that_of_the_rows(kind, scores):
    """Not that of an index."""
    released = simulated(scores, kind(TINY))
    assert type(released) is np.ndarray
    assert released.dtype == np.float64
    assert released == pytest.approx([0.9, 0.1, 0.5], abs=1e-3)


def test_winners_are_positions_of_rows_not_names():
    scores = pd.Series([0.9, 0.1, 0.5], index=[2, 0, 1])
    assert simulated(scores, GumbelTopK(TINY, 3)).tolist() == [0, 2, 1]


@kinds
def test_what_came_in_stays_as_it_was(kind):
    scores = np.array([7.0, math.nan, -3.0])
    simulated(scores, kind(1.0))
    assert np.array_equal(scores, [7.0, math.nan, -3.0], equal_nan=True)


@kinds
@pytest.mark.parametrize("scores", [["HIV positive", 0.5], [{"HIV positive": 1}, 0.5], [[0.5, 0.5], 0.5], [1j, 0.5]])
def test_what_is_no_number_is_refused_without_quoting_it(ledger, kind, scores):
    with pytest.raises(ValueError, match="Expected one score for each of record_ids") as error:
        release(lambda: scores, kind(4.0), ledger, "x", record_ids=["a", "b"])
    assert "HIV" not in f"{error.value}{error.value.__cause__}"


# a table of cells


def table_of(pairs, mechanism=None, seed=0):
    """What the door lets through of scores and cells, with noise of a seed."""
    return simulated(np.array(pairs, dtype=float).reshape(-1, 2), mechanism or CellScores(TINY, 3), seed)


def test_a_table_is_charged_before_anything_is_read_and_paid_once(tmp_path, budget, untouchable):
    path, seen = tmp_path / "study.ledger", []
    ledger = PrivacyLedger.create(path, budget)

    def pairs():
        seen.extend(PrivacyLedger.open(path).receipts())
        return [[0.1, 0], [0.9, 1]]

    release(pairs, CellScores(4.0, 2), ledger, "round 1", record_ids=["a", "b"])
    assert [(receipt.label, receipt.event) for receipt in seen] == [("round 1", events.noisy_scores(4.0))]
    with pytest.raises(BudgetExhausted):
        release(untouchable, CellScores(0.1, 2), ledger, "x", record_ids=["a", "b"])
    with pytest.raises(ValueError, match="one row for each patient, as CellScores needs"):
        release(untouchable, CellScores(4.0, 2), ledger, "x", record_ids=["a", "a"])
    assert len(ledger.receipts()) == 1


@pytest.mark.parametrize("n_cells", [1, 2, 50])
def test_the_table_that_is_drawn_is_the_one_that_is_priced(drawn, n_cells):
    mechanism = CellScores(3.0, n_cells)
    released = mechanism.run([[1.0, 0], [0.25, n_cells - 1]], "ab")
    ((law, values, parameters, answer),) = drawn
    assert (law, parameters) == ("gaussian", (mechanism.event.noise_multiplier / 2,))
    assert mechanism.event == events.noisy_scores(3.0)
    assert released.shape == (2, n_cells)
    assert np.array_equal(released.ravel(), answer)
    assert sorted(values[values != 0]) == [-0.25, 0.5]


@pytest.mark.parametrize(("sent", "counted"), CUT)
def test_an_entry_is_the_cut_score_minus_half_in_the_own_cell(sent, counted):
    expected = [[0, 0, counted - 0.5], [0.25, 0, 0]]
    assert table_of([[sent, 2], [0.75, 0]]) == pytest.approx(np.array(expected), abs=1e-6)


@pytest.mark.parametrize("cell", [math.nan, None, -1, 3, 0.5, 1e300, math.inf, -math.inf])
def test_whoever_is_in_no_cell_is_as_a_null_patient(cell):
    for score in (1.0, 0.0, math.nan):
        assert np.array_equal(table_of([[score, cell], [1, 1]]), table_of([[math.nan, math.nan], [1, 1]]))


def test_nobody_makes_an_empty_table():
    assert table_of([]).shape == (0, 3)


@pytest.mark.parametrize(
    "pairs", [[0.5, 0.5], [[0.5], [0.5]], [[0.5, 0]], [[0.5, 0, 0]] * 2, [["HIV positive", 0], [0.5, 0]], 0.5, []]
)
def test_scores_cells_and_patients_must_correspond(pairs):
    with pytest.raises(ValueError, match="Expected one score and one cell for each of record_ids") as error:
        CellScores(1.0, 2).run(pairs, "ab")
    assert "HIV" not in f"{error.value}{error.value.__cause__}"


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, None])
def test_a_bad_number_of_cells_is_refused_by_name(bad):
    with pytest.raises(ValueError, match="n_cells"):
        CellScores(1.0, bad)
    with pytest.raises(ValueError, match="noise_multiplier"):
        CellScores(bad and float("nan"), 2)


class Uncentred(CellScores):
    """The score itself in the own cell, nothing elsewhere."""

    def run(self, values, ids):
        scores, cells = np.nan_to_num(np.asarray(values, dtype=float), nan=0.0).T
        table = (cells[:, None] == np.arange(self.n_cells)) * np.clip(scores, 0, 1)[:, None]
        return perturb(table, self.noise_multiplier / 2)


class HalfEverywhere(CellScores):
    """A null patient counts ½ in every cell, others in none but their own."""

    def run(self, values, ids):
        scores, cells = np.asarray(values, dtype=float).T
        table = (cells[:, None] == np.arange(self.n_cells)) * np.nan_to_num(scores, nan=0.5)[:, None]
        return perturb(np.where(np.isnan(scores)[:, None], 0.5, table), self.noise_multiplier / 2)


PAIRS = st.tuples(st.floats() | st.floats(0, 1), st.integers(-1, 3) | st.floats())


def table_reach(mechanism, pairs, at, sent):
    """By how much, in L2, a patient moves the own row and the others', against none; same noise."""
    pairs, at = [list(pair) for pair in pairs], at % len(pairs)
    there, gone = pairs[:at] + [list(sent)] + pairs[at + 1 :], pairs[:at] + [[math.nan] * 2] + pairs[at + 1 :]
    moved = table_of(there, mechanism, seed=3) - table_of(gone, mechanism, seed=3)
    own = float(np.linalg.norm(moved[at]))
    moved[at] = 0
    return own, float(abs(moved).max())


@given(pairs=st.lists(PAIRS, min_size=1, max_size=8), at=st.integers(0, 7), sent=PAIRS)
def test_one_patient_moves_one_row_of_the_table_by_half_at_most_whatever_is_sent(pairs, at, sent):
    for noise in (TINY, 1.0):
        own, others = table_reach(CellScores(noise, 3), pairs, at, sent)
        assert own <= 0.5 + 1e-15 * (1 + 100 * noise)  # of rounding
        assert others == 0


@pytest.mark.parametrize("faulty", [Uncentred, HalfEverywhere])
def test_the_same_check_catches_a_table_that_is_not_centred(faulty):
    own, _ = table_reach(faulty(TINY, 3), [(0.3, 0), (0.5, 1), (0.9, 2)], 1, (1.0, 2))
    assert own > 0.51
