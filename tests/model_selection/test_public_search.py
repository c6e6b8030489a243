"""Tuning on public data: free, repeatable, and out of reach of any ledger."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skdpal import DPPrototypeClassifier, PrivacyLedger
from skdpal.model_selection import PublicSearchCV
from skdpal.privacy import LedgerError, epsilon_of
from skdpal.privacy.randomness import current_simulation, simulation

RNG = np.random.default_rng(0)
Y = np.array(["a", "b"] * 60)
X = RNG.normal(size=(120, 3)) / 4 + 0.7 * (Y == "a")[:, None]
MODEL = DPPrototypeClassifier(classes=["a", "b"])
GRID = {"noise_multiplier": [1.0, 4.0, 1e4]}


def search(model=MODEL, grid=GRID, **more):
    return PublicSearchCV(model, grid, **({"n_records": 30, "n_repeats": 20} | more))


def test_less_noise_scores_better_and_costs_more():
    table = search().fit(X, Y).to_frame()
    assert table.noise_multiplier[2] == 1e4
    assert table.mean_test_score[2] < 0.75 < table.mean_test_score[0]
    by_noise = table.sort_values("noise_multiplier")
    assert by_noise.epsilon.is_monotonic_decreasing
    assert by_noise.epsilon.iloc[1] == pytest.approx(
        epsilon_of([clone(MODEL).set_params(noise_multiplier=4.0).privacy_event()], 1e-5)
    )
    assert (table.std_error > 0).all()


def test_it_gives_parameters():
    found = search().fit(X, Y)
    assert found.best_params_ == found.cv_results_["params"][found.best_index_]
    assert found.best_score_ == found.to_frame().mean_test_score[0]
    assert clone(MODEL).set_params(**found.best_params_).noise_multiplier == found.best_params_["noise_multiplier"]
    assert not hasattr(found, "best_estimator_")


def test_it_repeats():
    first, again, other = (search(random_state=seed).fit(X, Y).cv_results_["mean_test_score"] for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("nested", [False, True])
def test_it_touches_no_ledger(ledger, journal, nested):
    before = journal(ledger)
    model = clone(MODEL).set_params(ledger=ledger)
    if nested:
        model = make_pipeline(model)
        grid = {"dpprototypeclassifier__noise_multiplier": [2.0, 4.0]}
    else:
        grid = GRID
    search(model, grid).fit(X, Y)
    assert journal(ledger) == before
    assert current_simulation() is None
    assert (model[-1] if nested else model).ledger is ledger
    with pytest.raises(ValueError, match="without a ledger"):
        search(grid={"ledger": [ledger]}).fit(X, Y)


def test_a_real_ledger_smuggled_in_cannot_be_charged(ledger, journal):
    before = journal(ledger)

    class Smuggler(DPPrototypeClassifier):
        def fit(self, X, y, **parameters):
            self.ledger = PrivacyLedger.__copy__(ledger)
            return super().fit(X, y, **parameters)

    with pytest.raises(LedgerError, match="simulation"):
        search(Smuggler(classes=["a", "b"]), {"noise_multiplier": [8.0]}).fit(X, Y)
    assert journal(ledger) == before


def test_it_runs_inside_a_simulation():
    with simulation(3) as block:
        search(n_repeats=2).fit(X, Y)
        assert current_simulation() is block


def test_any_scoring_and_size(srbct):
    found = search(scoring="neg_log_loss", n_records=None, n_repeats=3).fit(X, Y)
    assert (found.cv_results_["mean_test_score"] < 0).all()
    assert search(scoring=lambda model, X, y: len(X), n_repeats=2).fit(X, Y).best_score_ == 90


@pytest.mark.parametrize(
    ("parameters", "word"),
    [
        ({"n_records": 120}, "n_records"),
        ({"n_repeats": 1}, "n_repeats"),
        ({"candidates": {"noise_multiplier": []}}, "n_candidates"),
        ({"candidates": "grid"}, "candidates"),
        ({"delta": 1.0}, "delta"),
    ],
)
def test_bad_arguments_are_named(parameters, word):
    with pytest.raises(ValueError, match=word):
        search().set_params(**parameters).fit(X, Y)
