"""The benchmark of docs/active_learning.md runs the library's loop, at the ε it names, and pairs what it compares."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger, PrivateActiveLearner, PrivateQuery
from skdpal.privacy import epsilon_of, events
from skdpal.privacy.randomness import simulation
from tests.benchmarks.active import sgd
from tests.benchmarks.active.methods import BASELINE, SILENT, Study, one_shot, study
from tests.benchmarks.active.protocol import DELTA, PROTOCOLS, RATE, Case, amplified_noise, case_of, noise_of
from tests.benchmarks.active.tables import intervals, means, summarise


@pytest.fixture(scope="module")
def case() -> Case:
    return case_of("srbct", 5)


def _library(case: Case, how: Study) -> tuple[PrivateActiveLearner, set[str]]:
    """The same loop by the learner and the query; threshold only, so that no coin matters."""
    ids, n_start = case.ids, case.protocol.start
    query = PrivateQuery(
        "margin", "hidden", case.reference, case.protocol.pool, acceptance="threshold", scorer=how.scorer
    )
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(SILENT, case.prior),
        query,
        case.X[:n_start],
        case.y[:n_start],
        ledger=PrivacyLedger(PrivacyBudget(1e15, DELTA)),
        record_ids=ids[:n_start],
        hold_start=how.hold_start,
    )
    X, y, names = case.X[n_start : len(ids)], case.y[n_start : len(ids)], np.array(ids[n_start:])
    asked: set[str] = set()
    for _ in range(how.rounds):
        chosen, rows = learner.query(X, case.protocol.labels // how.rounds, record_ids=list(names))
        learner.teach(rows, y[chosen], record_ids=list(names[chosen]))
        asked |= set(names[chosen])
    return learner, asked


@pytest.mark.parametrize("rounds", [1, 3])
@pytest.mark.parametrize(
    ("hold_start", "scorer"), [(True, "public-first"), (False, "public-first"), (False, "released")]
)
def test_the_loop_is_that_of_the_library(case: Case, hold_start: bool, rounds: int, scorer: str) -> None:
    """Without noise and coins: the same number of labels, the same releases, the same probabilities."""
    how = Study(hold_start=hold_start, rounds=rounds, scorer=scorer, private=False)
    with simulation(0):
        fast, n_labels = study(case, 2.0, how)
    with simulation(0):
        slow, asked = _library(case, how)
    assert n_labels == case.protocol.start + len(asked)
    assert [one.expected_records for one in fast.releases_] == [
        one.expected_records for one in slow.estimator.releases_
    ]
    for one, other in zip(fast.releases_, slow.estimator.releases_, strict=True):
        np.testing.assert_allclose(one.counts, other.counts, atol=10 * SILENT)
    rows = case.X[case.judges]
    np.testing.assert_allclose(fast.predict_proba(rows), slow.estimator.predict_proba(rows), atol=0.01)


def test_methods_of_a_split_share_the_noise_of_their_first_release(case: Case) -> None:
    """What is left after the patients' own numbers is the same noise: differences are paired."""
    noises = []
    for how in (None, Study(), Study(utility="rarity", acceptance="probability", tilt=1.0)):
        with simulation(7):
            noisy, _ = one_shot(case, 2.0) if how is None else study(case, 2.0, how)
        with simulation(7):
            quiet, _ = (
                one_shot(case, 2.0, private=False)
                if how is None
                else study(case, 2.0, Study(how.utility, how.acceptance, how.tilt, private=False))
            )
        noises.append(noisy.releases_[0].sums - quiet.releases_[0].sums)
    np.testing.assert_allclose(noises[1], noises[0], atol=20 * SILENT)
    np.testing.assert_allclose(noises[2], noises[0], atol=20 * SILENT)
    assert np.std(noises[0]) == pytest.approx(noise_of(2.0), rel=0.5)


def test_cohorts_ask_for_the_same_share_of_their_pools() -> None:
    """One search for the noise of amplified rounds then serves all."""
    for protocol in PROTOCOLS.values():
        assert protocol.labels / protocol.pool == pytest.approx(RATE)
        assert protocol.labels % 3 == 0


@pytest.mark.slow
@pytest.mark.parametrize(("rounds", "tilt"), [(1, 0.0), (3, 0.5)])
def test_amplified_rounds_cost_what_they_should(rounds: int, tilt: float) -> None:
    """Within the budget, and not far below it; a little less noise is too little."""
    sigma = amplified_noise(2.0, rounds, tilt)
    rates = amplified_noise.rates(rounds, tilt)

    def price(noise: float) -> float:
        return epsilon_of([events.poisson_gaussian(noise, rate, 1) for rate in rates], DELTA)

    assert price(sigma) <= 2.0 < price(0.98 * sigma)
    assert sigma < noise_of(2.0)


def _rows(gaps: dict[str, list[float]]) -> pd.DataFrame:
    """Splits in which a method is ahead by these gaps, and in which the level wanders far more than that."""
    random, rows = np.random.default_rng(0), []
    for cohort, own in gaps.items():
        for split, gap in enumerate(own):
            level = random.uniform(0.3, 0.9)
            for method, accuracy in ((BASELINE, level), ("other", level + gap)):
                row = {"cohort": cohort, "split": split, "epsilon": 2.0, "method": method, "accuracy": accuracy}
                rows.append({**row, "log_loss": 1.0, "labels": 10})
    return pd.DataFrame(rows).sample(frac=1.0, random_state=0)


def test_differences_are_paired_by_split() -> None:
    """Levels that wander by 0.6 leave no trace in an interval of gaps that wander by 0.02."""
    gaps = np.random.default_rng(1).normal(0.01, 0.02, 400)
    found = summarise(_rows({"a": list(gaps)})).set_index("method").loc["other"]
    assert found["difference"] == pytest.approx(gaps.mean())
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * gaps.std(ddof=1) / 20)


def test_cohorts_have_equal_weight_and_the_worst_is_named() -> None:
    """Whatever the number of splits."""
    found = means(_rows({"a": [0.04] * 50, "b": [-0.02] * 10})).set_index("method").loc["other"]
    assert found["difference"] == pytest.approx(0.01)
    assert found["worst"] == pytest.approx(-0.02)


def test_intervals_cover_and_widen_with_cohorts() -> None:
    """95% of 200 intervals hold the truth (99.9999% range of a binomial: 174 to 200); cohorts that differ widen the second one."""
    random = np.random.default_rng(2)
    covered = 0
    for seed in range(200):
        found = intervals([random.normal(0.01, 0.05, 60) for _ in range(4)], seed)
        covered += found["low"] <= 0.01 <= found["high"]
    assert covered >= 174
    found = intervals([random.normal(shift, 0.01, 60) for shift in (-0.05, 0.0, 0.05)])
    assert found["high_cohorts"] - found["low_cohorts"] > 5 * (found["high"] - found["low"])


def test_clipped_gradients_of_the_usual_loop_are_those_of_single_rows() -> None:
    """Against one backward pass a row; clipping the batch's sum instead would differ."""
    torch.manual_seed(0)
    model = sgd.network(20, 3)
    X, y = torch.randn(6, 20) * 5, torch.tensor([0, 1, 2, 0, 1, 2])
    expected = [torch.zeros_like(parameter) for parameter in model.parameters()]
    for row in range(6):
        loss = torch.nn.functional.cross_entropy(model(X[[row]]), y[[row]])
        single = torch.autograd.grad(loss, list(model.parameters()))
        norm = torch.sqrt(sum(part.pow(2).sum() for part in single))
        expected = [total + part * min(1.0, sgd.CLIP / norm) for total, part in zip(expected, single, strict=True)]
    recorder = sgd.Training(model)
    torch.nn.functional.cross_entropy(model(X), y, reduction="sum").backward()
    unclipped = [parameter.grad.clone() for parameter in model.parameters()]
    recorder.clipped()
    for parameter, wanted, raw in zip(model.parameters(), expected, unclipped, strict=True):
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(parameter.grad, raw, rtol=1e-2)


def test_the_articles_query_prefers_rows_without_a_score() -> None:
    """At its own ε nearly a quarter of two-class rows are cut to nothing, and those come first."""
    random = np.random.default_rng(0)
    probabilities = np.full((4000, 2), 0.5)
    order = sgd.noisy_query(probabilities, 0.2, DELTA, 4000, np.random.default_rng(0))
    scale = np.sqrt(2 * np.log(1.25 / DELTA)) / 0.2
    noisy = np.clip(probabilities + random.laplace(0, scale, probabilities.shape), 0, 1)
    empty = np.flatnonzero(noisy.sum(axis=1) == 0)
    assert 0.2 < len(empty) / 4000 < 0.3
    assert set(order[: len(empty)]) == set(empty)
