"""A round of hidden selection as the ledger sees it: a marker, whoever is or is not chosen."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skdpal import (
    BudgetExhausted,
    DPPrototypeClassifier,
    PrivacyBudget,
    PrivacyLedger,
    PrivateActiveLearner,
    PrivateQuery,
)
from skdpal.query import AcceptanceRule, accept, score

IDS = [f"p{number}" for number in range(20)]


def make(embedded, query=None, ledger=None):
    return PrivateActiveLearner(
        DPPrototypeClassifier(2.0, prior=embedded.prior),
        PrivateQuery(reference=embedded.reference, n_pool=20) if query is None else query,
        embedded.X[:6],
        embedded.y[:6],
        ledger=PrivacyLedger(PrivacyBudget(2.0)) if ledger is None else ledger,
        record_ids=[f"s{number}" for number in range(6)],
    )


@pytest.fixture(scope="module")
def learners(embedded):
    """One for each rule and utility; they are asked, never taught."""
    return [
        make(embedded, PrivateQuery(utility, reference=embedded.reference, n_pool=20, acceptance=rule))
        for utility in ("margin", "entropy", "least_confidence", "random")
        for rule in ("probability", "threshold")
    ]


def kinds(journal, ledger):
    return [row["kind"] for row in journal(ledger)]


@st.composite
def pools(draw):
    """A patient who stays, and others who are permuted, dropped, doubled or exchanged."""
    order = draw(st.lists(st.integers(0, 19), min_size=1, max_size=30))
    content = draw(st.lists(st.integers(0, 36), min_size=len(order), max_size=len(order)))
    return draw(st.sampled_from(order)), order, content


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pool=pools())
def test_nobody_else_decides_whether_a_patient_is_accepted(pool, learners, embedded):
    own, order, content = pool
    rows = np.array(
        [embedded.X[6 + at] if at == own else embedded.X[other] for at, other in zip(order, content, strict=True)]
    )
    names = [IDS[at] for at in order]
    for learner in learners:
        alone = len(learner.query(embedded.X[[6 + own]], 6, record_ids=[IDS[own]])[0]) == 1
        among = {names[at] for at in learner.query(rows, 6, record_ids=names)[0]}
        assert (IDS[own] in among) is alone


def test_rows_of_one_patient_share_a_coin(embedded):
    learner = make(embedded, PrivateQuery("random", n_pool=20))
    for name in IDS:
        assert len(learner.query(np.tile(embedded.X[6], (4, 1)), 10, record_ids=[name] * 4)[0]) in (0, 4)


def test_a_query_writes_a_marker_and_nothing_else(embedded, journal):
    learner = make(embedded)
    before = journal(learner.ledger)
    learner.query(embedded.X[6:26], 3, record_ids=IDS)
    learner.query(embedded.X[6:26], 3, record_ids=IDS)
    (marker,) = journal(learner.ledger)[len(before) :]
    assert (marker["kind"], marker["hidden"]) == ("round", True)
    assert set(marker) == {"kind", "label", "parameters", "hidden", "date", "number"}
    assert marker["label"] == f"round {learner.estimator.fingerprint()}"
    known = {
        "wanted": 3,
        "pool": "cohort/pool",
        "n_pool": 20,
        "rate": 3 / 20,
        "largest": 3 / 20 * 1.5,
        "acceptance": "probability",
    }
    known["scorer"] = "public"  # of the estimator's prior, in the first round
    assert known.items() <= marker["parameters"].items()
    assert set(marker["parameters"]) == {*known, "utility", "tilt", "reference", "left"}
    assert len(learner.ledger.receipts()) == 1
    assert learner.ledger.spent("cohort/pool") == 0.0


def test_an_emptied_pool_looks_like_any_other_from_outside(embedded, journal):
    full, emptied = make(embedded), make(embedded)
    full.query(embedded.X[6:26], 3, record_ids=IDS)
    emptied.query(embedded.X[:0], 3, record_ids=[])
    assert kinds(journal, full.ledger) == kinds(journal, emptied.ledger)
    assert [row["parameters"] for row in journal(full.ledger) if row["kind"] == "round"] == [
        {**row["parameters"], "left": full.ledger.rounds()[f"round {full.estimator.fingerprint()}"]["left"]}
        for row in journal(emptied.ledger)
        if row["kind"] == "round"
    ]
    assert full.ledger.certificate()["release_mode"] == emptied.ledger.certificate()["release_mode"]


@pytest.mark.parametrize(
    ("rows", "argument"),
    [
        (np.full((4, 16), np.nan), "X_pool"),
        (np.full(16, 0.4321), "X"),
        (np.array([["Smith"] * 16]), "X_pool"),
        (np.full((4, 15), 0.4321), "X"),
    ],
    ids=["NaN", "flat", "words", "columns"],
)
def test_bad_pools_are_refused_discreetly_and_write_nothing(rows, argument, embedded, journal):
    learner = make(embedded)
    before = journal(learner.ledger)
    with pytest.raises(ValueError, match=rf"\b{argument}\b") as error:
        learner.query(rows, 3)
    assert not re.search(r"0\.43|Smith", str(error.value))
    assert journal(learner.ledger) == before


@pytest.mark.parametrize("n_instances", [0, -1, 2.5, "3"])
def test_the_number_wanted_is_a_whole_number(n_instances, embedded, untouchable):
    with pytest.raises(ValueError, match="n_instances"):
        make(embedded).query(untouchable, n_instances)


def test_random_for_want_of_budget_goes_by_coins_alone(embedded):
    query = PrivateQuery(reference=embedded.reference, n_pool=20, on_exhausted="random")
    learner = make(embedded, query)
    learner.estimator.set_params(noise_multiplier=0.5)
    chosen = set(learner.query(embedded.X[6:26], 10, record_ids=IDS)[0])
    coins = learner.ledger.coins(f"round {learner.estimator.fingerprint()}", IDS)
    assert chosen == set(np.flatnonzero(coins < 10 / 20))


def test_a_query_asks_the_patients_who_will_pay(embedded, untouchable):
    learner = make(embedded)
    learner.query(embedded.X[6:26], 3, record_ids=IDS)  # the start has spent all, the pool nothing
    event = learner.estimator.privacy_event()
    assert not learner.ledger.affords(event, "cohort/start")
    learner.ledger.charge(event, "something else", "cohort/pool")
    with pytest.raises(BudgetExhausted, match=r"spent 1\.9\d of 2\.00|spent 2\.00 of 2\.00"):
        learner.query(untouchable, 3)


def test_without_a_reference_the_score_itself_is_the_rank():
    rule = AcceptanceRule(0.2, "probability", 0.5)
    np.testing.assert_allclose(rule.probability(np.array([0.0, 0.5, 1.0])), [0.1, 0.2, 0.3])


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 36))
def test_accept_compares_one_coin_with_one_probability(embedded, coin, at):
    class Released:
        def predict_proba(self, rows):
            assert len(rows) == 1
            return np.array([[0.7, 0.3]])

    rule = AcceptanceRule(0.5, "probability", 1.0)
    (chance,) = rule.probability(score("margin", Released(), embedded.X[[at]]))
    assert accept(embedded.X[[at]], Released(), "margin", rule, coin) is bool(coin < chance)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=20, max_size=20), st.integers(1, 12), st.floats(0, 1))
def test_the_expected_number_is_near_the_number_wanted_for_any_scores(scores, wanted, tilt):
    reference = np.linspace(0, 1, 13)
    rule = AcceptanceRule.from_reference(wanted / 20, "probability", tilt, reference, np.ones(13))
    expected = rule.probability(np.array(scores)).sum()
    assert (1 - tilt) * wanted - 1e-9 <= expected <= (1 + tilt) * wanted + 1e-9


def test_rates_follow_the_protocol_not_the_pool(embedded):
    learner = make(embedded, PrivateQuery(n_pool=20))
    for asked_before in (0, 5, 10):
        pool = embedded.X[6 : 8 + asked_before]  # of any size
        chosen, rows = learner.query(pool, 5, record_ids=IDS[: len(pool)])
        assert list(learner.ledger.rounds().values())[-1]["rate"] == 5 / (20 - asked_before)
        learner.teach(rows, embedded.y[6:26][chosen], record_ids=[IDS[at] for at in chosen])


@pytest.mark.parametrize("kind", ["probability", "threshold"])
def test_when_everybody_left_is_wanted_everybody_is_accepted(kind):
    rule = AcceptanceRule.from_reference(1.0, kind, 0.5, np.linspace(0, 1, 5), np.ones(5))
    np.testing.assert_array_equal(rule.probability(np.array([0.0, 0.5, 1.0])), 1.0)


def test_nothing_is_published_about_those_whom_a_hidden_round_left(embedded, journal):
    """Whom a published choice cannot choose was accepted before, which no receipt of theirs pays for."""
    learner = make(embedded, PrivateQuery("random", n_pool=20))
    learner.query(embedded.X[6:26], 3, record_ids=IDS)
    before = journal(learner.ledger)
    for utility in ("margin", "random"):
        published = PrivateQuery(utility, release="published", noise_multiplier=50.0)
        with pytest.raises(ValueError, match=r"was hidden.*would tell"):
            published(learner, embedded.X[6:26], 3, record_ids=IDS)
    assert journal(learner.ledger) == before


def test_a_published_random_choice_gives_no_coin_of_a_hidden_one_away(embedded):
    learner = make(embedded, PrivateQuery("random", release="published", noise_multiplier=5.0))
    order = learner.query(embedded.X[6:26], 20, record_ids=IDS)[0]
    (label,) = learner.ledger.rounds()
    assert (order != np.argsort(learner.ledger.coins(label, IDS))).any()
    assert sorted(order) == list(range(20))
