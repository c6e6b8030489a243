"""Error rates from the cohort's own votes: one priced histogram, and expectation maximisation after it."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import softmax

from skdpal.cohort.experts import Panel, VoteHistogram, release_votes
from skdpal.cohort.experts.dawid_skene import estimate
from skdpal.cohort.experts.votes import _cells, _counts, _rows
from skdpal.privacy import BudgetExhausted, PrivacyBudget, PrivacyLedger, events
from skdpal.privacy.randomness import simulation

CLASSES = ["a", "b"]


def matrix(first, second):
    return pd.DataFrame([[first, 1 - first], [1 - second, second]], CLASSES, CLASSES)


@pytest.fixture
def panel():
    return Panel({"Ada": matrix(0.8, 0.8), "Ben": matrix(0.8, 0.8), "Eva": matrix(0.8, 0.8)})


TRUE = Panel({"Ada": matrix(0.95, 0.9), "Ben": matrix(0.6, 0.85), "Eva": matrix(0.8, 0.7)}, [0.6, 0.4])


def votes_of(n, seed=0, true=TRUE, unread=0.0):
    """PUBLIC, made-up votes of a panel, with the true classes."""
    rng = np.random.default_rng(seed)
    y = rng.choice(2, n, p=true.class_prior)
    votes = {
        name: np.where(rng.random(n) < reader.matrix[y, 0], *CLASSES).astype(object)
        for name, reader in true.readers.items()
    }
    frame = pd.DataFrame(votes, index=[f"p{at}" for at in range(n)])
    return frame.mask(rng.random(frame.shape) < unread), np.array(CLASSES)[y]


@pytest.fixture
def rich():
    return PrivacyLedger(PrivacyBudget(8.0, 1e-5))


# the release


def test_the_price_is_that_of_one_count_whatever_the_number_of_readers(rich, panel):
    votes, _ = votes_of(60)
    histogram = release_votes(votes, panel, noise_multiplier=1.0, ledger=rich)
    (receipt,) = rich.receipts()
    assert receipt.event == events.gaussian(1.0, replace_one=math.sqrt(2))
    assert (receipt.label, receipt.account) == ("votes", "cohort")
    assert histogram.counts.shape == (3**3 - 1,)
    assert histogram.expected_records == 60
    again = release_votes(votes[::-1], panel, noise_multiplier=1.0, ledger=rich)
    assert (again.counts == histogram.counts).all()
    assert len(rich.receipts()) == 1
    release_votes(votes[:50], panel, noise_multiplier=1.0, ledger=rich)
    assert len(rich.receipts()) == 2


@given(
    rows=st.lists(st.tuples(*[st.sampled_from([*CLASSES, None])] * 3), max_size=6),
    own=st.tuples(*[st.sampled_from([*CLASSES, None])] * 3),
    other=st.tuples(*[st.sampled_from([*CLASSES, None])] * 3),
)
def test_a_patient_moves_the_histogram_by_one_at_most(rows, own, other):
    panel = Panel({name: matrix(0.8, 0.8) for name in ("Ada", "Ben", "Eva")})

    def sums(patients):
        votes = pd.DataFrame(patients, columns=panel.names, index=[str(at) for at in range(len(patients))])
        return _rows(panel.codes(votes), panel).sum(axis=0)

    nobody = sums([*rows, (None, None, None)])
    assert (nobody == sums(rows)).all()
    assert np.linalg.norm(sums([*rows, own]) - nobody) == (own != (None, None, None))
    assert np.linalg.norm(sums([*rows, own]) - sums([*rows, other])) <= math.sqrt(2)


def test_every_pattern_has_its_cell(panel):
    votes, _ = votes_of(300, unread=0.3)
    codes = panel.codes(votes)
    counted = {tuple(row): number for row, number in zip(_cells(panel), _rows(codes, panel).sum(axis=0), strict=True)}
    expected = pd.Series(list(map(tuple, codes))).value_counts()
    for pattern, number in counted.items():
        assert number == expected.get(pattern, 0)
    assert (-1, -1, -1) not in counted
    exact = VoteHistogram(_rows(codes, panel).sum(axis=0), panel, 1e-6, 300.0)
    said = votes.eq("a").assign(Ben=votes["Ben"].eq("b"), Eva=votes["Eva"].isna()).all(axis=1).sum()
    assert exact.frame.loc[("a", "b", "")] == said


def test_nothing_is_read_if_it_cannot_be_paid(exhausted, panel):
    votes, _ = votes_of(60)
    before = len(exhausted.receipts())
    with pytest.raises(BudgetExhausted):
        release_votes(votes, panel, noise_multiplier=1.0, ledger=exhausted)
    assert len(exhausted.receipts()) == before


def test_every_account_whose_votes_enter_pays(rich, panel):
    votes, _ = votes_of(60)
    rich.split("cohort/pool", into="cohort/site-a", members=votes.index[:30])
    release_votes(votes, panel, noise_multiplier=1.0, ledger=rich)
    assert rich.spent("cohort/site-a") == rich.spent("cohort/pool") > 0
    with pytest.raises(ValueError, match="account|belong|member"):
        release_votes(votes, panel, noise_multiplier=1.0, ledger=rich, account="cohort/pool")
    release_votes(votes[:30], panel, noise_multiplier=1.0, ledger=rich.within("cohort/site-a"))
    assert rich.receipts()[-1].account == "cohort/site-a"


def test_exact_estimation_on_patients_is_refused(rich, panel):
    votes, _ = votes_of(60)
    for none in (None, 0, 0.0):
        with pytest.raises(ValueError, match="Exact Dawid-Skene lets one patient's votes move everybody's label"):
            release_votes(votes, panel, noise_multiplier=none, ledger=rich)
    with pytest.raises(ValueError, match="Expected ledger to be a PrivacyLedger"):
        release_votes(votes, panel, noise_multiplier=1.0, ledger=None)
    with pytest.raises(TypeError, match="Expected panel to be a Panel"):
        release_votes(votes, {"Ada": 1}, noise_multiplier=1.0, ledger=rich)
    assert rich.receipts() == []


def test_after_a_hidden_selection_the_number_must_be_public(rich, panel):
    votes, _ = votes_of(60)
    rich.begin_round("round 1", {}, hidden=True)
    with pytest.raises(ValueError, match="Expected expected_records"):
        release_votes(votes, panel, noise_multiplier=1.0, ledger=rich)
    assert release_votes(votes, panel, noise_multiplier=1.0, ledger=rich, expected_records=55).expected_records == 55


def test_a_histogram_that_tells_little_warns_and_one_that_tells_nothing_is_refused(rich, panel):
    votes, _ = votes_of(20)
    with pytest.warns(UserWarning, match=r"26 patterns of votes, 20 patients.*Use public error rates"):
        release_votes(votes, panel, noise_multiplier=1.0, ledger=rich)
    votes, _ = votes_of(60)
    with pytest.warns(UserWarning, match=r"noise_multiplier=2"):
        release_votes(votes, panel, noise_multiplier=2.0, ledger=rich)
    with pytest.raises(ValueError, match=r"fewer patterns of votes than patients \(2\).*Found 26"):
        release_votes(votes[:2], panel, noise_multiplier=1.0, ledger=rich)
    many = Panel({f"r{at}": matrix(0.8, 0.8) for at in range(12)})
    with pytest.raises(ValueError, match="at most 4096. Found"):
        release_votes(pd.DataFrame(index=votes.index), many, noise_multiplier=1.0, ledger=rich)
    assert len(rich.receipts()) == 2


def test_no_patients_are_a_cohort(rich, panel):
    with pytest.warns(UserWarning, match="patterns"):
        histogram = release_votes(
            votes_of(0)[0], panel, noise_multiplier=1.0, ledger=rich, expected_records=20, record_ids=[]
        )
    assert histogram.counts.shape == (26,)
    assert histogram.panel().classes.tolist() == CLASSES


# what is made of it


def likelihood(parameters, codes, weights):
    """Log-likelihood of the Dawid-Skene model, written from its definition, one pattern at a time."""
    prior = softmax([parameters[0], 0.0])
    rates = 1 / (1 + np.exp(-parameters[1:].reshape(-1, 2)))  # chance of "a", by reader and class
    total = 0.0
    for row, weight in zip(codes, weights, strict=True):
        chance = prior.copy()
        for code, rate in zip(row, rates, strict=True):
            if code >= 0:
                chance = chance * (rate if code == 0 else 1 - rate)
        total += weight * math.log(chance.sum())
    return total


@pytest.mark.parametrize("unread", [0.0, 0.2])
def test_estimation_finds_the_maximum_of_the_likelihood(panel, unread):
    """Against a search by another method, from the definition."""
    votes, _ = votes_of(2000, seed=1, unread=unread)
    codes = _cells(panel)
    weights = _rows(panel.codes(votes), panel).sum(axis=0)
    guess = [reader.matrix for reader in panel.readers.values()]
    nothing = [np.zeros(2)] * 3
    rates, prior = estimate(codes, weights, guess, np.full(2, 0.5), nothing, 0.0, n_iterations=20_000)
    start = np.array([0.0, *[1.4, -1.4] * 3])
    best = minimize(lambda x: -likelihood(x, codes, weights), start, method="BFGS", options={"gtol": 1e-4})
    expected = 1 / (1 + np.exp(-best.x[1:].reshape(-1, 2)))
    assert np.stack([rate[:, 0] for rate in rates]) == pytest.approx(expected, abs=2e-3)
    assert prior[0] == pytest.approx(softmax([best.x[0], 0.0])[0], abs=2e-3)


def test_a_strong_guess_is_kept_and_no_counts_are_no_error(panel):
    codes, guess = _cells(panel), [reader.matrix for reader in panel.readers.values()]
    for strength, weights in ((1e9, np.ones(26)), (10.0, np.zeros(26)), (0.0, np.zeros(26))):
        rates, prior = estimate(codes, weights, guess, np.array([0.7, 0.3]), [np.full(2, strength)] * 3, strength)
        for found, believed in zip(rates, guess, strict=True):
            assert found == pytest.approx(believed, abs=1e-6)
        assert prior == pytest.approx([0.7, 0.3], abs=1e-6)


def test_as_likely_as_the_estimates_of_crowd_kit(panel):
    """Dawid-Skene of another library, on exact counts of public votes; it stops a little earlier.

    Where it is installed: crowd-kit 1.4.2 without its dependencies, and attrs, nltk and tqdm.
    """
    aggregation = pytest.importorskip("crowdkit.aggregation")
    votes, _ = votes_of(1500, seed=2, unread=0.2)
    votes = votes[votes.notna().any(axis=1)]
    long = votes.stack().dropna().rename_axis(["task", "worker"]).rename("label").reset_index()
    peer = aggregation.DawidSkene(n_iter=5000, tol=0).fit(long)
    theirs = [peer.errors_.loc[name].loc[CLASSES, CLASSES].to_numpy().T for name in panel.names]  # labels down
    codes, guess = _cells(panel), [reader.matrix for reader in panel.readers.values()]
    weights = _rows(panel.codes(votes), panel).sum(axis=0)
    rates, prior = estimate(codes, weights, guess, np.full(2, 0.5), [np.zeros(2)] * 3, 0.0, n_iterations=20_000)

    def likely(tables, fractions):
        chances = [np.log(table[:, 0] / table[:, 1]) for table in tables]
        return likelihood(np.concatenate([[np.log(fractions[0] / fractions[1])], *chances]), codes, weights)

    gap = likely(rates, prior) - likely(theirs, peer.priors_[CLASSES].to_numpy())
    assert 0 <= gap < 0.2
    for found, expected in zip(rates, theirs, strict=True):
        assert found == pytest.approx(expected, abs=0.02)
    mine = Panel(dict(zip(panel.names, (pd.DataFrame(rate, CLASSES, CLASSES) for rate in rates), strict=True)), prior)
    assert (mine.labels(votes).loc[peer.labels_.index] == peer.labels_).mean() > 0.995


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=30), st.floats(1, 100))
def test_counts_are_the_nearest_that_may_be_counts(noisy, total):
    noisy = np.array(noisy)
    found = _counts(noisy, total)
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(total)
    slack = noisy - found  # optimality: the same for all that are above 0, and no larger for the others
    above = found > 1e-9
    assert np.ptp(slack[above]) < 1e-6
    assert (slack <= slack[above].max() + 1e-6).all()


def test_the_released_panel_is_better_than_a_poor_guess_and_names_its_readers():
    """Of 300 patients at μ = 1: the mean over 20 cohorts, a gap of 1.5 points is measured."""
    guess = Panel({name: matrix(0.8, 0.8) for name in TRUE.readers})
    found, before = [], []
    for seed in range(20):
        votes, y = votes_of(300, seed=seed)
        with simulation(seed):
            released = release_votes(votes, guess, noise_multiplier=1.0, ledger=None).panel()
        assert released.names == guess.names
        assert released.readers["Ada"].frame.index.tolist() == CLASSES
        found.append((released.labels(votes) == y).mean())
        before.append((guess.labels(votes) == y).mean())
    assert np.mean(found) > np.mean(before) + 0.01


def test_a_hundred_times_the_noise_leaves_the_guess(panel):
    votes, _ = votes_of(60)
    with simulation(0), pytest.warns(UserWarning, match="tell"):
        released = release_votes(votes, panel, noise_multiplier=100.0, ledger=None).panel()
    for name, reader in released.readers.items():
        assert reader.matrix == pytest.approx(panel.readers[name].matrix, abs=0.01)
