"""Whom another reader is asked for: by the own votes and an own coin, at a price that is named."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import entr

from skdpal import DPPrototypeClassifier, PrivateActiveLearner, PrivateQuery
from skdpal.cohort.experts import Panel, SecondOpinion
from skdpal.cohort.experts.benefit import SecondRead
from skdpal.cohort.experts.cutoff import Cutoff
from skdpal.privacy import BudgetExhausted, PrivacyBudget, PrivacyLedger, epsilon_of, events
from skdpal.privacy.randomness import simulation

CLASSES = ["fav", "unf"]
PRIOR = np.array([0.89, 0.11])


def matrix(first, second):
    return pd.DataFrame([[first, 1 - first], [1 - second, second]], CLASSES, CLASSES)


@pytest.fixture
def panel():
    return Panel({"local": matrix(0.98, 0.72), "central": matrix(0.995, 0.98)}, PRIOR)


THREE = Panel(
    {
        "Ada": pd.DataFrame([[0.7, 0.2, 0.1], [0.1, 0.7, 0.2]], CLASSES, [*CLASSES, "defer"]),
        "Ben": matrix(0.8, 0.6),
        "Eva": matrix(0.9, 0.85),
    },
    [0.6, 0.4],
)


def votes_of(n, seed=0):
    """PUBLIC, made-up first reads with the true classes."""
    rng = np.random.default_rng(seed)
    y = rng.choice(2, n, p=PRIOR)
    local = np.where(rng.random(n) < np.array([0.98, 0.28])[y], "fav", "unf")
    return pd.DataFrame({"local": local}, index=[f"p{at}" for at in range(n)]), y


# what a read is worth


def worth(panel, reader, codes, belief, benefit):
    """From the definition, one answer at a time."""
    answers = panel.readers[reader].matrix
    at = panel.names.index(reader)
    q = belief * np.prod(
        [table.matrix[:, code] for code, table in zip(codes, panel.readers.values(), strict=True) if code >= 0], axis=0
    )
    q = q / q.sum()
    if codes[at] >= 0:
        return 0.0
    if benefit == "information":
        after = 0.0
        for answer in range(answers.shape[1]):
            joint = q * answers[:, answer]
            after += joint.sum() * entr(joint / joint.sum()).sum()
        return (entr(q).sum() - after) / math.log(2)
    label = panel.decide(np.array([codes]))[0]
    right = 0.0
    for answer in range(answers.shape[1]):
        told = list(codes)
        told[at] = answer
        right += q[panel.decide(np.array([told]))[0]] * answers[panel.decide(np.array([told]))[0], answer]
    return max(0.0, right - q[label])


@pytest.mark.parametrize("benefit", ["error", "information"])
@pytest.mark.parametrize("reader", ["Ada", "Eva"])
@pytest.mark.parametrize("belief", [[0.6, 0.4], [0.95, 0.05], [0.3, 0.7]])
def test_the_benefit_is_that_of_its_definition(benefit, reader, belief):
    utility = SecondRead(THREE, reader, benefit)
    codes = THREE.patterns(dict.fromkeys(THREE.readers, 0.5)).codes
    found = utility.of_codes(codes, np.tile(belief, (len(codes), 1)))
    expected = [worth(THREE, reader, row, np.array(belief), benefit) for row in codes]
    assert found == pytest.approx(expected, abs=1e-12)
    assert ((found >= 0) & (found <= 1)).all()
    assert found.max() > 0.01


def test_without_a_model_the_error_falls_by_what_the_likeliest_class_gains():
    """Then it is max q before, and Σ max q T after: the value of information of the best label."""
    codes = THREE.patterns({"Ada": 0.5, "Ben": 0.5, "Eva": 0.0}).codes
    before = THREE.of_codes(codes)
    table = THREE.readers["Eva"].matrix
    after = sum((before * table[:, answer]).max(axis=1) for answer in range(2))
    expected = after - before.max(axis=1)
    assert SecondRead(THREE, "Eva", "error").of_codes(codes) == pytest.approx(np.maximum(expected, 0), abs=1e-12)


def test_disagreement_is_of_labels_not_of_positions():
    utility = SecondRead(THREE, "Eva", "disagreement")
    votes = pd.DataFrame(
        {"Ada": ["fav", "unf", "defer", None, "fav"], "Ben": ["fav", "fav", "fav", "unf", None]}, index=list("abcde")
    )
    assert utility.of_codes(THREE.codes(votes)).tolist() == [0.0, 1.0, 1.0, 0.0, 0.0]


@given(
    rows=st.lists(st.tuples(st.sampled_from([-1, 0, 1, 2]), st.sampled_from([-1, 0, 1])), min_size=1, max_size=6),
    at=st.integers(0, 5),
    other=st.tuples(st.sampled_from([-1, 0, 1, 2]), st.sampled_from([-1, 0, 1])),
    benefit=st.sampled_from(["error", "information", "disagreement"]),
)
def test_nobody_elses_votes_matter(rows, at, other, benefit):
    at %= len(rows)
    ledger = PrivacyLedger(PrivacyBudget(2.0))
    second = SecondOpinion(THREE, "Eva", 3, 10, benefit=benefit, ledger=ledger)

    def chosen(patients):
        words = [
            [
                None if code < 0 else reader.observed[code]
                for code, reader in zip(row, THREE.readers.values(), strict=False)
            ]
            for row in patients
        ]
        votes = pd.DataFrame(words, columns=["Ada", "Ben"], index=[f"p{i}" for i in range(len(patients))], dtype=object)
        return set(second.choose(votes).tolist())

    assert chosen(rows) - {at} == chosen([*rows[:at], other, *rows[at + 1 :]]) - {at}


# hidden


def test_a_hidden_choice_is_free_stays_the_same_and_leaves_no_trace(ledger, panel):
    votes, _ = votes_of(60)
    second = SecondOpinion(panel, "central", 12, 60, ledger=ledger)
    found = second.choose(votes)
    assert found.tolist() == second.choose(votes).tolist() == sorted(found)
    turned = second.choose(votes[::-1])
    assert set(votes.index[found]) == set(votes[::-1].index[turned])
    assert ledger.receipts() == []
    assert ledger.rounds() == {}
    assert second.event is None
    assert second.price().to_dict() == {"choice": 0.0}
    unfavourable = np.flatnonzero(votes["local"] == "unf")
    assert set(unfavourable) <= set(found)


def test_the_number_asked_is_what_was_wanted_on_average(ledger, panel):
    """Of 4,000; within 6 standard errors, and others for other coins."""
    votes, _ = votes_of(4000)
    found = [
        tuple(SecondOpinion(panel, "central", 800, 4000, ledger=ledger, name=name).choose(votes))
        for name in ("a", "b", "c")
    ]
    assert all(abs(len(chosen) - 800) < 6 * math.sqrt(4000 * 0.2 * 0.8) for chosen in found)
    assert len(set(found)) == 3


def test_whoever_has_been_read_is_not_asked_again(ledger, panel):
    votes, _ = votes_of(40)
    votes["central"] = "fav"
    assert SecondOpinion(panel, "central", 40, 40, ledger=ledger).choose(votes).size == 0
    votes.loc["p3", "central"] = None
    assert SecondOpinion(panel, "central", 40, 40, ledger=ledger).choose(votes).tolist() == [3]


def test_a_cost_asks_where_it_is_worth_it(ledger, panel):
    votes, _ = votes_of(200)
    cheap = SecondOpinion(panel, "central", cost=0.1, ledger=ledger).choose(votes)
    assert set(cheap) == set(np.flatnonzero(votes["local"] == "unf"))
    assert SecondOpinion(panel, "central", cost=0.9, ledger=ledger).choose(votes).size == 0


def test_a_read_that_changes_no_label_is_not_ordered(ledger):
    weak = Panel({"local": matrix(0.98, 0.95), "student": matrix(0.6, 0.6)}, PRIOR)
    votes, _ = votes_of(100)
    assert SecondOpinion(weak, "student", 100, 100, ledger=ledger).choose(votes).size == 0
    assert SecondOpinion(weak, "student", 100, 100, ledger=ledger).forecast()["asked"] == 0
    curious = SecondOpinion(weak, "student", 100, 100, benefit="information", ledger=ledger)
    assert curious.choose(votes).size == 100


# with a model


class Model:
    """Released, says: the first column is the chance of "unf"."""

    classes_ = np.array(CLASSES)

    def predict_proba(self, X):
        first = np.asarray(X, dtype=float)[:, 0]
        return np.column_stack([1 - first, first])

    def fingerprint(self):
        return "model"


@pytest.mark.parametrize("frame", [True, False])
def test_the_model_points_at_whom_it_thinks_mislabelled(ledger, panel, frame):
    votes = pd.DataFrame({"local": ["fav", "fav", "unf", "unf", "fav"]}, index=list("abcde"))
    X = pd.DataFrame({"g": [0.02, 0.9, 0.02, 0.9, np.nan], "h": np.zeros(5)}, index=votes.index)
    second = SecondOpinion(panel, "central", cost=0.15, ledger=ledger)
    found = second.choose(votes, X if frame else X.to_numpy(), Model())
    assert found.tolist() == [1, 2]  # the fifth's features are missing: as without a model
    reference = np.column_stack([np.linspace(0, 1, 30) ** 4, np.zeros(30)])
    some = SecondOpinion(panel, "central", 2, 5, reference=reference, ledger=ledger)
    assert {1, 2} >= set(some.choose(votes, X, Model()).tolist()) - {0, 3, 4}
    with pytest.raises(ValueError, match="Expected reference with a model"):
        SecondOpinion(panel, "central", 2, 5, ledger=ledger).choose(votes, X, Model())


def test_a_model_and_its_rows_come_together(ledger, panel):
    votes, _ = votes_of(5)
    second = SecondOpinion(panel, "central", cost=0.15, ledger=ledger)
    for X, model in ((np.zeros((5, 2)), None), (None, Model())):
        with pytest.raises(ValueError, match="Expected X and model together"):
            second.choose(votes, X, model)
    with pytest.raises(ValueError, match="one row for each row of votes"):
        second.choose(votes, np.zeros((4, 2)), Model())
    stranger = Model()
    stranger.classes_ = np.array(["x", "y"])
    with pytest.raises(ValueError, match="Expected a model of the panel's classes"):
        second.choose(votes, np.zeros((5, 2)), stranger)


# published


def test_a_published_choice_is_of_noisy_scores_that_all_pay(ledger, panel):
    votes, _ = votes_of(60)
    second = SecondOpinion(panel, "central", 12, release="published", noise_multiplier=4.0, ledger=ledger)
    found = second.choose(votes)
    assert len(found) == 12
    (receipt,) = ledger.receipts()
    assert receipt.event == events.noisy_scores(4.0)
    assert receipt.account == "cohort/pool"
    turned = second.choose(votes[::-1])
    assert list(votes.index[found]) == list(votes[::-1].index[turned])
    assert len(ledger.receipts()) == 1
    prices = second.price(DPPrototypeClassifier(3.0, classes=CLASSES))
    assert prices["choice"] == pytest.approx(epsilon_of([events.noisy_scores(4.0)], 1e-5))
    assert prices["together"] == pytest.approx(
        epsilon_of([events.gaussian(1 / math.hypot(1 / 4, 1 / 3))], 1e-5), rel=1e-6
    )


def test_a_workload_that_follows_the_votes_is_refused_outside(ledger, panel, exhausted):
    with pytest.raises(ValueError, match=r'such as "only on disagreement", sees the votes'):
        SecondOpinion(panel, "central", 12, benefit="disagreement", release="published", ledger=ledger)
    votes, _ = votes_of(60)
    poor = SecondOpinion(panel, "central", 12, release="published", noise_multiplier=4.0, ledger=exhausted)
    with pytest.raises((BudgetExhausted, ValueError)):
        poor.choose(votes)
    ledger.begin_round("round 1", {}, hidden=True)
    late = SecondOpinion(panel, "central", 12, release="published", noise_multiplier=4.0, ledger=ledger)
    with pytest.raises(ValueError, match='Expected release="hidden"'):
        late.choose(votes)
    assert ledger.receipts() == []


# before and after the release


def test_after_the_release_somebody_must_pay_for_the_corrected_labels(embedded):
    classes = embedded.prior.classes.tolist()
    uniform = np.full((4, 4), 0.1) + 0.6 * np.eye(4)
    panel = Panel({name: pd.DataFrame(uniform, classes, classes) for name in ("local", "central")})
    ledger = PrivacyLedger(PrivacyBudget(2.0, 1e-5))
    model = DPPrototypeClassifier(3.0, prior=embedded.prior, ledger=ledger)
    votes = pd.DataFrame({"local": embedded.y}, index=embedded.ids)
    second = SecondOpinion(panel, "central", 10, 20, benefit="information", ledger=ledger)
    assert second.choose(votes[:20]).size > 0  # in the pool, nothing released
    learner = PrivateActiveLearner(
        model, PrivateQuery(), X_training=embedded.X[:20], y_training=embedded.y[:20], record_ids=embedded.ids[:20]
    )
    with pytest.raises(ValueError, match="Ask for second opinions before the release"):
        second.choose(votes[:20])
    assert second.choose(votes[20:]).size > 0  # the others are still in the pool
    seed = ledger.accounts_of(embedded.ids[:1])[0]
    with pytest.raises(ValueError, match="labels were not released yet"):
        second.choose(votes[:20], account=seed)
    assert second.choose(votes[:20], account=seed, relabel=learner.estimator).size > 0
    dear = DPPrototypeClassifier(0.1, prior=embedded.prior)
    with pytest.raises(BudgetExhausted, match="release of corrected labels"):
        second.choose(votes[:20], account=seed, relabel=dear)
    assert len(ledger.receipts()) == 1


# what comes of it


@pytest.mark.parametrize("benefit", ["error", "information", "disagreement"])
@pytest.mark.parametrize("threshold", [None, 0.75])
def test_the_law_of_the_labels_after_second_opinions(benefit, threshold):
    """Against the whole procedure, run on 2,500 made-up patients of each class; false alarms 1e-6 a comparison."""
    n, read = 2500, {"Ben": 0.5}
    with simulation(5):
        second = SecondOpinion(
            THREE, "Eva", 3, 10, benefit=benefit, read=read, ledger=PrivacyLedger(PrivacyBudget(2.0))
        )
        law = second.transition(threshold=threshold)
        share = second._asked(None)
        for at, true in enumerate(CLASSES):
            rng = np.random.default_rng(at)
            said = {
                name: rng.choice(reader.observed, n, p=reader.matrix[at]).astype(object)
                for name, reader in THREE.readers.items()
            }
            votes = pd.DataFrame(said, index=[f"{true}{i}" for i in range(n)])
            votes.loc[rng.random(n) >= 0.5, "Ben"] = None
            chosen = second.choose(votes[["Ada", "Ben"]])
            assert abs(len(chosen) / n - share[:, at] @ second.patterns.chances[:, at]) < 4.9 * 0.5 / math.sqrt(n)
            eva = votes["Eva"].copy()
            votes["Eva"] = None
            votes.iloc[chosen, votes.columns.get_loc("Eva")] = eva.iloc[chosen]
            labels = THREE.labels(votes, threshold=threshold)
            for label in law.observed:
                assert abs((labels == label).mean() - law.frame.loc[true, label]) < 4.9 * 0.5 / math.sqrt(n)


def test_the_forecast_of_the_wilms_study():
    """Local against central pathology, with the central reading as the truth: 5.1% wrong, and what 20% second reads mend."""
    sure = pd.DataFrame(np.eye(2), CLASSES, CLASSES)
    local = pd.DataFrame([[3493 / 3569, 76 / 3569], [129 / 459, 330 / 459]], CLASSES, CLASSES)
    panel = Panel({"local": local, "central": sure}, [3569 / 4028, 459 / 4028])
    forecast = SecondOpinion(panel, "central", 20, 100).forecast()
    assert forecast["asked"] == pytest.approx(20)
    assert forecast["error before"] == pytest.approx(205 / 4028)
    assert forecast["error at random"] == pytest.approx(0.8 * 205 / 4028)
    asked = (0.2 - 406 / 4028) / (3622 / 4028)  # of those who look favourable
    assert forecast["error after"] == pytest.approx((1 - asked) * 129 / 4028)


def test_a_forecast_with_a_model_reads_public_rows_only(panel):
    reference = np.column_stack([np.linspace(0, 1, 50) ** 6, np.zeros(50)])
    second = SecondOpinion(panel, "central", 20, 100, reference=reference)
    with_model, without = second.forecast(Model()), second.forecast()
    assert with_model["asked"] <= 20 * (1 + 1e-9)
    assert with_model["error after"] < with_model["error at random"]
    assert without["error after"] < without["error at random"]
    assert second.transition(Model()).matrix.sum(axis=1) == pytest.approx(1.0)


@given(
    levels=st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]), min_size=1, max_size=8),
    rate=st.floats(0.01, 1.0),
)
def test_the_cutoff_asks_for_the_share_that_is_wanted(levels, rate):
    levels = np.array(levels)
    masses = np.arange(1.0, len(levels) + 1)
    rule = Cutoff.of(rate, levels, masses)
    chances = rule.probability(levels)
    asked = chances @ masses / masses.sum()
    assert asked <= rate + 1e-9
    if (levels > 0).all():
        assert asked == pytest.approx(rate)
    assert (np.diff(rule.probability(np.sort(levels))) >= 0).all()
    assert (chances[levels == 0] == 0).all()


# arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reader": "Eva"}, r"Expected reader to be one of the panel, \['local', 'central'\]"),
        ({"n_patients": None}, "Expected n_patients"),
        ({"n_instances": None}, "Expected n_instances, or, hidden, cost"),
        ({"cost": 0.1}, "Expected n_instances, or, hidden, cost"),
        ({"n_instances": 0}, "Expected n_instances"),
        ({"benefit": "entropy"}, "Expected benefit to be one of"),
        ({"release": "open"}, "Expected release to be one of"),
        ({"noise_multiplier": 2.0}, "Expected noise_multiplier=None"),
        ({"read": {"Eva": 0.5}}, "Expected read to name readers"),
        ({"n_instances": None, "cost": 1.5}, "Expected cost"),
        ({"reference": [[np.nan]]}, "Expected reference to be finite"),
    ],
)
def test_bad_arguments_are_named(panel, arguments, message):
    with pytest.raises(ValueError, match=message):
        SecondOpinion(panel, **{"reader": "central", "n_instances": 5, "n_patients": 20, **arguments})


def test_a_ledger_is_needed_to_toss_coins(panel):
    with pytest.raises(ValueError, match="Expected a ledger"):
        SecondOpinion(panel, "central", 5, 20).choose(votes_of(20)[0])
