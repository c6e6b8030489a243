"""Labels that are wrong at a known rate: the matrix, and a learner that is told of it."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import confusion_matrix

from skdpal import DPPrototypeClassifier, PrivateActiveLearner, PrivateQuery
from skdpal.estimators import PublicPrior, Transition
from skdpal.learner import load_model, save_model
from skdpal.privacy import PrivacyBudget, PrivacyLedger, epsilon_of, events
from skdpal.privacy.mechanisms import RandomizedResponse
from skdpal.privacy.randomness import simulation

CLASSES, LABELS = ["b", "a"], ["b", "a", "defer"]
MATRIX = [[0.7, 0.2, 0.1], [0.05, 0.9, 0.05]]
READER = Transition(MATRIX, CLASSES, LABELS)
NOISE = 2.0


# -- the matrix ------------------------------------------------------------------------------


def test_rows_and_columns_are_sorted_with_their_names():
    assert READER.classes.tolist() == ["a", "b"]
    assert READER.observed.tolist() == ["a", "b", "defer"]
    np.testing.assert_allclose(READER.matrix, [[0.9, 0.05, 0.05], [0.2, 0.7, 0.1]])
    assert READER.frame.loc["b", "defer"] == pytest.approx(0.1)
    framed = Transition(pd.DataFrame(MATRIX, CLASSES, LABELS))
    pd.testing.assert_frame_equal(framed.frame, READER.frame)


def test_it_cannot_be_changed_and_clones_are_the_same():
    with pytest.raises(ValueError, match="read-only"):
        READER.matrix[0, 0] = 1
    for same in (clone(READER), copy.copy(READER), copy.deepcopy(READER)):
        assert same is READER
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(READER)).matrix, READER.matrix)
    assert repr(READER) == "<Transition: 2 classes, 3 labels>"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([[0.9, 0.2], [0.5, 0.5]], CLASSES), r"sum 1.*\[1\.1, 1\.0\].*from_counts"),
        (([[1.2, -0.2], [0.5, 0.5]], CLASSES), r"least entry of -0\.2"),
        (([[8, 2], [1, 9]], CLASSES), r"Divide rows of counts"),
        ((MATRIX, CLASSES), r"column for each of 2 labels.*\(2, 3\)"),
        ((np.ones((5, 2, 2)) / 2, CLASSES), r"one table for all patients.*private"),
        (([0.5, 0.5], CLASSES), r"Found shape \(2,\)"),
        ((np.eye(2),), r"Expected classes"),
        ((np.eye(2), ["a", "a"]), r"classes to be different"),
        ((MATRIX, CLASSES, ["a", "b", "b"]), r"observed to be different"),
        ((np.eye(2), "ab"), r"list of words, or of numbers"),
        ((np.eye(2), ["a", None]), r"none missing"),
        ((np.eye(2), [1, "a"]), r"list of words, or of numbers"),
        ((np.eye(2), [0, 1], ["a", "b"]), r"of the type of classes.*words"),
        (([[np.nan, 1], [0, 1]], CLASSES), r"finite"),
    ],
)
def test_a_bad_matrix_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Transition(*arguments)


def test_first_one_then_the_other():
    noise = Transition.randomized_response(1.0, READER.observed)
    both = READER @ noise
    np.testing.assert_allclose(both.matrix, READER.matrix @ noise.matrix)
    assert both.classes.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="start from the labels of the first.*classes=first.observed"):
        READER @ Transition.randomized_response(1.0, CLASSES)
    with pytest.raises(TypeError):
        READER @ np.eye(3)


@pytest.mark.parametrize("labels", [("x", "y"), ("x", "y", "z", "w")])
def test_randomized_response_has_the_chances_of_its_mechanism(labels):
    found = Transition.randomized_response(1.5, labels)
    keep = RandomizedResponse(1.5, labels).keep
    np.testing.assert_allclose(np.diag(found.matrix), keep, rtol=1e-12)
    np.testing.assert_allclose(found.matrix.sum(axis=1), 1, rtol=1e-15)
    assert found.matrix.max() / found.matrix.min() == pytest.approx(np.exp(1.5))


def test_a_table_of_counts_becomes_chances():
    truth, read = ["a"] * 5 + ["b"] * 3, ["a", "a", "a", "a", "b", "b", "b", "b"]
    table = confusion_matrix(truth, read)  # scikit-learn has the truth down, too
    np.testing.assert_allclose(Transition.from_counts(table, ["a", "b"]).matrix, [[0.8, 0.2], [0, 1]])
    np.testing.assert_allclose(Transition.from_counts(table, ["a", "b"], pseudo_count=1).matrix[1], [0.2, 0.8])
    named = pd.DataFrame(table, ["b", "a"], ["b", "a"])
    assert Transition.from_counts(named).frame.loc["b", "a"] == pytest.approx(0.2)
    for wrong in ([[0, 0], [1, 2]], [[-1, 2], [1, 2]], [1, 2]):
        with pytest.raises(ValueError, match="Expected counts"):
            Transition.from_counts(wrong, ["a", "b"])


def test_whether_labels_tell_the_classes_apart():
    assert READER.tells_apart
    assert not Transition([[0.5, 0.5], [0.5, 0.5]], CLASSES).tells_apart
    assert not Transition([[0.5, 0.5], [0.2, 0.8], [0.3, 0.7]], ["a", "b", "c"], ["a", "b"]).tells_apart


# -- the learner -----------------------------------------------------------------------------

RNG = np.random.default_rng(0)
ROWS = np.vstack([RNG.normal([0.5, 0, 0], 0.2, (30, 3)), RNG.normal([-0.5, 0, 0], 0.2, (30, 3))])
TRUTH = np.repeat(["a", "b"], 30)
PRIOR = PublicPrior.from_public(ROWS[::6], TRUTH[::6])
IDS = np.arange(60).astype(str)


def read(seed=1, transition=READER):
    """Labels as the reader gives them."""
    chances = transition.frame.loc[TRUTH].to_numpy().cumsum(axis=1)
    places = (np.random.default_rng(seed).random((60, 1)) > chances).sum(axis=1)
    return transition.observed[np.minimum(places, len(transition.observed) - 1)]


def learner(ledger=None, prior=PRIOR, transition=READER, **parameters):
    return DPPrototypeClassifier(NOISE, prior, ledger=ledger, transition=transition, **parameters)


def test_labels_go_in_and_classes_come_out(ledger):
    model = learner(ledger).fit(ROWS, read(), record_ids=IDS)
    assert model.classes_.tolist() == ["a", "b"]
    assert model.release_[0].shape == (3, 3)
    assert model.release_[1].shape == (3,)
    assert model.predict_proba(ROWS).shape == (60, 2)
    assert (model.predict(ROWS) == TRUTH).mean() > 0.9
    assert model.uncertainty(pd.DataFrame(ROWS)).shape == (60, 4)
    assert model.posterior_.means.shape[1:] == (2, 3)


def test_the_price_is_that_of_labels_that_are_right(ledger):
    learner(ledger).fit(ROWS, read(), record_ids=IDS)
    assert ledger.spent() == pytest.approx(epsilon_of([events.gaussian(NOISE)], 1e-5), rel=1e-3)
    assert learner().privacy_event() == DPPrototypeClassifier(NOISE, PRIOR).privacy_event()


def test_a_transition_that_is_the_identity_changes_nothing(simulated):
    plain = learner(transition=None).fit(ROWS, TRUTH).partial_fit(ROWS[:9], TRUTH[:9])
    told = learner(transition=Transition(np.eye(2), ["a", "b"])).restore(plain.releases_)
    np.testing.assert_allclose(told.predict_proba(ROWS), plain.predict_proba(ROWS), atol=1e-9)
    np.testing.assert_allclose(told.posterior_.means, plain.posterior_.means, atol=1e-9)
    np.testing.assert_allclose(told.uncertainty(ROWS), plain.uncertainty(ROWS), rtol=1e-7)


def test_a_label_that_the_reader_cannot_give_is_refused_before_the_charge(ledger):
    for labels in (np.repeat("carcinoma", 60), TRUTH.astype(object)):
        if labels[0] == "a":
            labels[3] = "nobody"
        with pytest.raises(ValueError, match=r"labels of the transition=\['a', 'b', 'defer'\]"):
            learner(ledger).fit(ROWS, labels, record_ids=IDS)
    assert ledger.spent() == 0


def test_later_cohorts_hold_labels_too(simulated):
    model = learner().fit(ROWS[::2], read()[::2], record_ids=IDS[::2])
    model.partial_fit(ROWS[1::2], read()[1::2], record_ids=IDS[1::2], classes=["a", "b"])
    assert [one.sums.shape for one in model.releases_] == [(3, 3)] * 2
    with pytest.raises(ValueError, match="labels of the transition"):
        model.partial_fit(ROWS[:1], ["z"], record_ids=["new"])


def test_classes_prior_and_transition_must_agree(untouchable, ledger):
    other = Transition(np.eye(2), ["a", "z"])
    with pytest.raises(ValueError, match=r"those of the transition, \['a', 'z'\]. Found \['a', 'b'\]"):
        learner(ledger, transition=other).fit(untouchable, untouchable)
    with pytest.raises(ValueError, match=r"those of the transition.*Found \['a', 'c'\]"):
        learner(ledger, prior=None, classes=["a", "c"]).fit(untouchable, untouchable)
    with pytest.raises(TypeError, match=r"transition to be a Transition.*Found list"):
        learner(ledger, transition=MATRIX).fit(untouchable, untouchable)


def test_classes_come_from_the_transition(simulated):
    assert learner(prior=None).fit(ROWS, read()).classes_.tolist() == ["a", "b"]


def test_labels_that_tell_nothing_need_a_prior(ledger, untouchable, simulated):
    blind = Transition([[0.5, 0.5], [0.5, 0.5]], ["a", "b"])
    with pytest.raises(ValueError, match="Expected a prior with this transition"):
        learner(ledger, prior=None, transition=blind).fit(untouchable, untouchable)
    model = learner(transition=blind).fit(ROWS, read(transition=blind))
    away = model.posterior_.class_means - PRIOR.means  # both move together, however large the cohort
    np.testing.assert_allclose(away[0], away[1], atol=0.05)
    np.testing.assert_allclose(model.posterior_.fractions, 0.5, atol=1e-9)


def test_the_public_model_is_the_prior_alone():
    plain, told = learner(transition=None).public_model(), learner().public_model()
    np.testing.assert_allclose(told.predict_proba(ROWS), plain.predict_proba(ROWS), atol=1e-9)
    assert told.releases_[0].sums.shape == (3, 3)


def test_releases_of_other_labels_are_refused(simulated):
    model = learner(transition=None).fit(ROWS, TRUTH)
    with pytest.raises(ValueError, match=r"row for each of the labels.*transition"):
        learner().restore(model.releases_)


def test_a_model_file_keeps_the_transition(simulated, tmp_path):
    from skdpal import PublicEncoder

    encoder = PublicEncoder(n_components=2).fit(ROWS[::6], TRUTH[::6])
    rows = encoder.transform(ROWS)
    model = DPPrototypeClassifier(1.0, PublicPrior.from_public(rows[::6], TRUTH[::6]), transition=READER).fit(
        rows, read()
    )
    save_model(tmp_path / "model.npz", encoder, model)
    loaded = load_model(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict_proba(ROWS), model.predict_proba(rows))
    np.testing.assert_array_equal(loaded[-1].transition.frame, READER.frame)
    with np.load(tmp_path / "model.npz", allow_pickle=False) as archive:
        assert archive["schema"] == 3  # versions that do not know of transitions refuse it


def test_a_private_loop_takes_a_readers_labels():
    given, ledger = read(), PrivacyLedger(PrivacyBudget(2.0, 1e-5))
    active = PrivateActiveLearner(
        estimator=learner(None),
        query_strategy=PrivateQuery(),
        X_training=pd.DataFrame(ROWS[:10], index=IDS[:10]),
        y_training=given[:10],
        ledger=ledger,
    )
    pool = pd.DataFrame(ROWS[10:], index=IDS[10:])
    positions, rows = active.query(pool, n_instances=10)
    active.teach(rows, given[10:][positions])
    assert len(active.estimator.releases_) == 2
    assert active.estimator.releases_[1].sums.shape == (3, 3)
    assert (active.predict(ROWS) == TRUTH).mean() > 0.8
    assert ledger.certificate()["status"] == "valid"


def test_errors_that_favour_a_class_are_undone():
    """Half of class b is read as a: the fractions and the means are put right."""
    biased = Transition([[1.0, 0.0], [0.5, 0.5]], ["a", "b"])
    releases = []
    with simulation(0):
        for seed in range(10):
            fitted = DPPrototypeClassifier(0.2, classes=["a", "b"]).fit(ROWS, read(seed, biased))
            releases += fitted.releases_
    told = DPPrototypeClassifier(0.2, classes=["a", "b"], transition=biased).restore(releases)
    as_if_right = DPPrototypeClassifier(0.2, classes=["a", "b"]).restore(releases)
    assert abs(told.posterior_.fractions[1] - 0.5) < 0.06 < 0.2 < abs(as_if_right.posterior_.fractions[1] - 0.5)
    truth = np.array([ROWS[:30].mean(axis=0), ROWS[30:].mean(axis=0)])
    errors = [np.linalg.norm(one.posterior_.class_means - truth) for one in (told, as_if_right)]
    assert errors[0] < errors[1] / 4
