"""Hidden acceptance looks at one patient, and says nothing about others."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skdpal import (
    BudgetExhausted,
    DPPrototypeClassifier,
    PrivacyBudget,
    PrivacyLedger,
    PrivateActiveLearner,
    PrivateQuery,
)
from skdpal.query import AcceptanceRule, score


def learner_with(embedded, query, sigma=2.0, ledger=None):
    ledger = PrivacyLedger(PrivacyBudget(2.0)) if ledger is None else ledger
    model = DPPrototypeClassifier(sigma, prior=embedded.prior)
    ids = [f"s{number}" for number in range(6)]
    return PrivateActiveLearner(model, query, embedded.X[:6], embedded.y[:6], ledger=ledger, record_ids=ids)


@pytest.fixture(params=["probability", "threshold"])
def learner(request, embedded):
    return learner_with(embedded, PrivateQuery(reference=embedded.reference, n_pool=20, acceptance=request.param))


IDS = [f"p{number}" for number in range(20)]


def looks_at_one_patient_only(choose, X):
    """Whether changing, dropping, doubling or permuting others never changes an answer."""
    rng = np.random.default_rng(0)
    base = {IDS[at] for at in choose(X, IDS)}
    for _ in range(25):
        keep = rng.permutation(20)[: rng.integers(1, 21)]
        rows, names = X[keep].copy(), [IDS[at] for at in keep]
        changed = rng.random(len(keep)) < 0.5
        changed[0] = False
        rows[changed] = X[rng.integers(0, 20, changed.sum())]
        answers = {names[at] for at in choose(rows, names)}
        same = {name for name, other in zip(names, changed, strict=True) if not other}
        if answers & same != base & same:
            return False
    return True


def test_nobody_else_matters(learner, embedded):
    X = embedded.X[6:26]
    assert looks_at_one_patient_only(lambda rows, ids: learner.query(rows, 6, record_ids=ids)[0], X)


def test_planted_faults_are_seen(learner, embedded):
    X = embedded.X[6:26]

    def scores(rows):
        return score("margin", learner, rows)

    def quantile(rows, ids):
        return np.flatnonzero(scores(rows) >= np.quantile(scores(rows), 0.7))

    def top(rows, ids):
        return np.argsort(-scores(rows))[:6]

    def capped(rows, ids):
        return learner.query(rows, 10, record_ids=ids)[0][:3]

    assert not looks_at_one_patient_only(quantile, X)
    assert not looks_at_one_patient_only(top, X)
    assert not looks_at_one_patient_only(capped, X)


@given(
    scores=st.lists(st.floats(0, 1), min_size=1, max_size=40),
    reference=st.lists(st.floats(0, 1), max_size=40),
    rate=st.floats(0.01, 0.6),
    tilt=st.floats(0, 1),
)
def test_the_expected_number_is_bounded_for_any_patients(scores, reference, rate, tilt):
    levels = np.array(reference)
    rule = AcceptanceRule.from_reference(rate, "probability", tilt, levels, np.ones(len(levels)))
    chances = rule.probability(np.array(scores))
    assert (chances <= min(1, rate * (1 + tilt)) + 1e-12).all()
    assert (chances >= rate * (1 - tilt) - 1e-12).all()


@given(scores=st.lists(st.floats(0, 1), min_size=2, max_size=60, unique=True), rate=st.floats(0.05, 1))
def test_the_threshold_accepts_its_share_of_the_reference(scores, rate):
    levels = np.array(scores)
    rule = AcceptanceRule.from_reference(rate, "threshold", 0.5, levels, np.ones(len(levels)))
    assert abs(rule.probability(levels).sum() - rate * len(levels)) <= 1 + 1e-9


def test_asking_again_is_free_and_the_same_and_the_next_round_is_fresh(learner, embedded):
    pool = embedded.X[6:26]
    first = learner.query(pool, 6, record_ids=IDS)[0]
    assert (learner.query(pool, 6, record_ids=IDS)[0] == first).all()
    assert learner.ledger.hidden_rounds == 1
    assert len(learner.ledger.receipts()) == 1
    learner.teach(pool[first], embedded.y[6:26][first], record_ids=[IDS[at] for at in first])
    second = learner.query(pool, 6, record_ids=IDS)[0]
    assert not set(first) & set(second)  # whoever was accepted is passed over
    assert learner.ledger.hidden_rounds == 2
    coins = [learner.ledger.coins(label, ["p0"])[0] for label in learner.ledger.rounds()]
    assert len(set(coins)) == 2


def test_coins_do_not_follow_numpy_seeds(embedded):
    answers = []
    for _ in range(8):
        np.random.seed(0)
        query = PrivateQuery("random", n_pool=20)
        answers.append(tuple(learner_with(embedded, query).query(embedded.X[6:26], 10, record_ids=IDS)[0]))
    assert len(set(answers)) > 1


class Unreadable:
    def __array__(self, *args, **kwargs):
        raise AssertionError("read")

    __len__ = __iter__ = __getitem__ = __array__


def test_an_exhausted_budget_is_noticed_before_the_pool_is_read(embedded):
    ledger = PrivacyLedger(PrivacyBudget(2.0))
    learner = learner_with(embedded, PrivateQuery(n_pool=20), ledger=ledger)
    learner.estimator.set_params(noise_multiplier=1.0)
    with pytest.raises(BudgetExhausted, match=r"costs ε=.*of 2\.00"):
        learner.query(Unreadable(), 3)
    assert ledger.hidden_rounds == 0


def test_on_exhausted_random_does_not_look(embedded):
    query = PrivateQuery(reference=embedded.reference, n_pool=20, on_exhausted="random")
    learner = learner_with(embedded, query)
    learner.estimator.set_params(noise_multiplier=1.0)
    chosen = learner.query(embedded.X[6:26], 10, record_ids=IDS)[0]
    assert (learner.query(np.roll(embedded.X[6:26], 3, axis=0), 10, record_ids=IDS)[0] == chosen).all()


def test_more_than_the_pool_and_nobody_are_no_errors(learner, embedded):
    assert len(learner.query(embedded.X[6:26], 500, record_ids=IDS)[0]) == 20
    assert len(learner.query(embedded.X[:0], 3)[0]) == 0


def test_the_reference_is_thinned_as_the_pool_is(learner, embedded):
    query, pool = learner.query_strategy, embedded.X[6:26]
    for _ in range(2):
        chosen = learner.query(pool, 5, record_ids=IDS)[0]
        learner.teach(pool[chosen], embedded.y[6:26][chosen], record_ids=[IDS[at] for at in chosen])
    first, second = learner.ledger.rounds().values()
    assert (first["rate"], second["rate"]) == (5 / 20, 5 / 15)
    scores = score("margin", learner.estimator.public_model(), query.reference)  # which chose in the first round
    rule = AcceptanceRule.from_reference(5 / 20, query.acceptance, query.tilt, scores, np.ones(len(scores)))
    assert first["left"] == pytest.approx(np.maximum(1 - rule.probability(scores), 1e-12))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"utility": "coreset"}, "score each patient alone"),
        ({"release": "open"}, "release"),
        ({"acceptance": "top-k"}, "acceptance"),
        ({"acceptance": "threshold"}, "reference"),
        ({"tilt": 2}, "tilt"),
        ({"n_pool": 0}, "n_pool"),
        ({"reference": [[np.nan]]}, "reference"),
        ({"on_exhausted": "ignore"}, "on_exhausted"),
    ],
)
def test_bad_arguments_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        PrivateQuery(**arguments)


def test_only_released_models_choose(embedded, ledger):
    from sklearn.linear_model import LogisticRegression

    class Holder:
        estimator = LogisticRegression()

    with pytest.raises(TypeError, match="DP estimator"):
        PrivateQuery(ledger=ledger)(Holder(), embedded.X)


@settings(max_examples=30)
@given(st.integers(2, 6), st.integers(0, 10**6))
def test_utilities_are_between_zero_and_one(n_classes, seed):
    class Released:
        def predict_proba(self, rows):
            return rows

    probabilities = np.random.default_rng(seed).dirichlet(np.full(n_classes, 0.3), 10)
    uniform, certain = np.full((1, n_classes), 1 / n_classes), np.eye(n_classes)[:1]
    for name in ("margin", "entropy", "least_confidence", "random"):
        values = score(name, Released(), probabilities)
        assert ((values >= 0) & (values <= 1)).all()
        if name != "random":
            assert score(name, Released(), uniform)[0] == pytest.approx(1)
            assert score(name, Released(), certain)[0] == pytest.approx(0)
