"""`accept_all` says of each patient of a large pool what `accept` says, whoever else is there."""

import numpy as np
import pytest

from skdpal.query import AcceptanceRule, accept
from skdpal.query.selections.acceptance import accept_all

N, WIDTH, CLASSES = 5_000, 259, 7
REFERENCE = np.random.default_rng(5).random(200) ** 3


class Linear:
    """Sums in BLAS's order, which follows the number of rows."""

    def __init__(self, dtype):
        self.weights = np.random.default_rng(1).normal(size=(WIDTH, CLASSES)).astype(dtype)

    def logits(self, X):
        return np.asarray(X, dtype=self.weights.dtype) @ self.weights

    def predict_proba(self, X):
        logits = self.logits(X)
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        return scores / scores.sum(axis=1, keepdims=True)


class Mixing(Linear):
    """Subtracts a hundredth of the mean of the batch."""

    def predict_proba(self, X):
        chances = super().predict_proba(X)
        return chances - 1e-2 * chances.mean(axis=0)


RULES = {
    "probability": AcceptanceRule.from_reference(0.3, "probability", 1.0, REFERENCE, np.ones(200)),
    "own score": AcceptanceRule(0.3, "probability", 1.0),
    "threshold": AcceptanceRule.from_reference(0.3, "threshold", 0.5, REFERENCE, np.ones(200)),
}


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(N, WIDTH)) / 8
    return rows, np.array([f"p{number}" for number in range(N)]), rng.random(N)


def at_the_edge(model, rule, pool):
    """Coins of a third of the patients are their chances, as the row alone has them: the last digit decides."""
    rows, ids, coins = pool
    coins = coins.copy()
    for at in range(0, N, 3):
        chances = model.predict_proba(rows[[at]])[0]
        first, second = np.sort(chances.astype(np.float64))[[-1, -2]]
        coins[at] = np.clip(rule.probability(np.array([1 - (first - second)]))[0], 0, 1 - 1e-9)
    return rows, ids, coins


def worlds(seed=3, several=6):
    """Others are dropped, permuted, doubled and exchanged: positions in the pool, and from where the content is."""
    rng = np.random.default_rng(seed)
    for size in (N, N - 1, 4_096, 1_000, 17, 2)[:several]:
        order = rng.permutation(N)[:size]
        content = np.where(rng.random(size) < 0.3, rng.integers(0, N, size), order)
        twice = rng.permutation(size)[: size // 5]  # never thrice: a mean of three equal numbers is rounded
        yield np.concatenate([order, order[twice]]), np.concatenate([content, content[twice]])


def disagreements(model, rule, pool, utility="margin"):
    """How many whose content is their own are answered otherwise than alone."""
    rows, ids, coins = pool
    alone = np.array([accept(rows[[at]], model, utility, rule, coins[at]) for at in range(N)])
    wrong = 0
    for order, content in worlds():
        answers = accept_all(rows[content], ids[order], model, utility, rule, coins[order])
        own = order == content
        wrong += int((answers[own] != alone[order][own]).sum())
    return wrong


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nobody_else_changes_an_answer(dtype, rule, pool):
    model = Linear(dtype)
    assert disagreements(model, RULES[rule], at_the_edge(model, RULES[rule], pool)) == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_block_differs_from_its_rows(dtype, pool):
    """Else the test above would show nothing."""
    model, rows = Linear(dtype), pool[0]
    alone = np.concatenate([model.predict_proba(rows[[at]]) for at in range(1_000)])
    together = model.predict_proba(rows)[:1_000]
    assert (alone != together).any()
    assert np.abs(alone - together).max() < 1e-4


@pytest.mark.parametrize("rule", ["probability", "own score"])
def test_a_model_that_mixes_rows_is_seen(rule, pool):
    """More than rounding: what the class says is a promise, which this model breaks."""
    assert disagreements(Mixing(np.float64), RULES[rule], pool) > 0


def test_the_last_digit_would_decide_without_scoring_again(monkeypatch, pool):
    """Planted: whoever is near the edge is not scored again, alone."""
    monkeypatch.setattr("skdpal.query.selections.acceptance._ROUNDING", 0.0)
    rule, model = RULES["own score"], Linear(np.float32)
    assert disagreements(model, rule, at_the_edge(model, rule, pool)) > 0
