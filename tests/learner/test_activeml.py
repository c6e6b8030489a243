"""scikit-activeml's pool interface: who is asked, what is charged, what is refused."""

import inspect
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skdpal import BudgetExhausted, DPPrototypeClassifier, PrivateActiveLearner, PrivateQuery

pytest.importorskip("skactiveml", reason="the extra activeml is not installed")

from skactiveml.base import SingleAnnotatorPoolQueryStrategy
from skactiveml.classifier import SklearnClassifier
from skactiveml.pool import UncertaintySampling
from skactiveml.utils import MISSING_LABEL, call_func, is_labeled, unlabeled_indices

from skdpal.learner.activeml import PoolQuery

LABELLED, POOL = slice(0, 6), np.arange(6, 26)
IDS = np.array([f"patient-{number}" for number in range(26)])


@pytest.fixture
def codes(embedded):
    """Numbers for labels, as scikit-activeml likes them."""
    return np.unique(embedded.y, return_inverse=True)[1][:26].astype(float)


@pytest.fixture
def X(embedded):
    return embedded.X[:26]


@pytest.fixture
def y(codes):
    """Six of 26 have a label."""
    known = np.full(26, MISSING_LABEL)
    known[LABELLED] = codes[LABELLED]
    return known


@pytest.fixture
def prior(embedded, srbct):
    classes = np.unique(embedded.y)
    return DPPrototypeClassifier.prior_from_public(
        embedded.X_public, np.searchsorted(classes, srbct.labels_public).astype(float)
    )


@pytest.fixture
def clf(prior, X, codes, ledger):
    return DPPrototypeClassifier(6.0, prior=prior, ledger=ledger).fit(X[LABELLED], codes[LABELLED])


@pytest.fixture
def strategy():
    return PoolQuery(PrivateQuery(n_pool=20))


def published(**rest):
    return PoolQuery(PrivateQuery(release="published", noise_multiplier=8.0), **rest)


# -- its interface -----------------------------------------------------------------------------


def test_it_is_one_of_scikit_activemls(strategy):
    assert isinstance(strategy, SingleAnnotatorPoolQueryStrategy)
    assert strategy.get_params(deep=False).keys() == {"strategy", "missing_label"}
    copy = clone(strategy)
    assert copy.strategy is not None
    assert np.isnan(copy.missing_label)
    theirs = list(inspect.signature(UncertaintySampling.query).parameters)
    ours = list(inspect.signature(PoolQuery.query).parameters)
    assert [name for name in theirs if name in ours] == ours[:-1]  # in their order; record_ids is ours


def test_the_pool_is_who_has_no_label(strategy, X, y, clf, ledger):
    assert strategy.query(X, y, clf, batch_size=20).tolist() == POOL.tolist()
    assert len(ledger.receipts()) == 1
    assert ledger.hidden_rounds == 1
    y[10] = 0.0
    assert 10 not in strategy.query(X, y, clf, batch_size=20)


def test_answers_are_those_of_the_query_inside(X, y, clf):
    inside = PrivateQuery(n_pool=20)
    chosen = PoolQuery(inside).query(X, y, clf, batch_size=10)
    from modAL.models import ActiveLearner

    indices, _ = ActiveLearner(clf, inside).query(X[POOL], n_instances=10)
    assert chosen.tolist() == POOL[indices].tolist()
    assert chosen.dtype.kind == "i"


def test_published_choices_are_exact_and_charged_once(X, y, clf, ledger):
    strategy = published()
    chosen = strategy.query(X, y, clf, batch_size=5)
    assert strategy.query(X, y, clf, batch_size=5).tolist() == chosen.tolist()
    assert len(set(chosen)) == 5
    assert set(chosen) <= set(POOL)
    assert [receipt.account for receipt in ledger.receipts()] == ["cohort", "cohort/pool"]


def test_asking_again_is_the_same(strategy, X, y, clf, ledger):
    first = strategy.query(X, y, clf, batch_size=10)
    head = ledger.verify()
    assert strategy.query(X, y, clf, batch_size=10).tolist() == first.tolist()
    assert clone(strategy).query(X, y, clf, batch_size=10).tolist() == first.tolist()
    assert ledger.verify() == head


def test_the_classifier_is_left_as_it_was(strategy, X, y, clf):
    before = clf.fingerprint(), clf.get_params()
    strategy.query(X, y, clf, batch_size=10)
    assert (clf.fingerprint(), clf.get_params()) == before


def test_candidates_are_positions_or_rows(strategy, X, y, clf, embedded):
    chosen = strategy.query(X, y, clf, candidates=[8, 12, 20], batch_size=20)
    assert chosen.tolist() == [8, 12, 20]
    rows = strategy.query(X, y, clf, candidates=embedded.X[30:33], batch_size=20)
    assert rows.tolist() == [0, 1, 2]
    assert strategy.query(X, y, clf, candidates=unlabeled_indices(y), batch_size=20).tolist() == POOL.tolist()


def test_frames_and_names_reach_the_query(X, y, clf, ledger):
    by_index = PoolQuery(PrivateQuery(n_pool=20)).query(pd.DataFrame(X, index=IDS), y, clf, batch_size=10)
    by_names = PoolQuery(PrivateQuery(n_pool=20)).query(X, y, clf, batch_size=10, record_ids=IDS)
    back = PoolQuery(PrivateQuery(n_pool=20)).query(X[::-1], y[::-1], clf, batch_size=10, record_ids=IDS[::-1])
    assert by_index.tolist() == by_names.tolist() == sorted(25 - back)


@pytest.mark.parametrize(("missing", "kind"), [("", str), (None, object), ("?", str)])
def test_words_may_be_labels(embedded, clf, ledger, missing, kind):
    words = np.full(26, missing, dtype="<U9" if kind is str else object)
    words[LABELLED] = embedded.y[LABELLED]
    chosen = PoolQuery(PrivateQuery(n_pool=20), missing_label=missing).query(embedded.X[:26], words, clf, batch_size=20)
    assert chosen.tolist() == POOL.tolist()


def test_nobody_left_is_no_error_and_no_warning(strategy, X, codes, clf):
    assert strategy.query(X, codes, clf, batch_size=3).tolist() == []


def test_too_large_a_batch_warns_of_nothing(strategy, X, y, clf):
    """scikit-activeml's own warning tells how many are left, which is private."""
    with pytest.warns(UserWarning, match="batch_size=20' was set"):
        UncertaintySampling().query(X, y, SklearnClassifier(clf, classes=range(4)), fit_clf=False, batch_size=21)
    assert len(strategy.query(X, y, clf, batch_size=21)) == 20  # warnings are errors


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"fit_clf": True}, ValueError, "nobody sees being paid"),
        ({"fit_clf": "state"}, TypeError, "fit_clf"),
        ({"return_utilities": True}, ValueError, "no receipt pays"),
        ({"return_utilities": None}, TypeError, "return_utilities"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_size": 1.5}, (TypeError, ValueError), "batch_size"),
        ({"candidates": np.nan}, ValueError, "candidates"),
        ({"candidates": [7.0]}, ValueError, "candidates"),
        ({"candidates": [99]}, ValueError, "candidates"),
        ({"candidates": [-1]}, ValueError, "candidates"),
        ({"candidates": [0, 7]}, ValueError, "without a label"),
        ({"clf": np.nan}, TypeError, "DP estimator"),
        ({"clf": "state"}, TypeError, "DP estimator"),
        ({"y": np.zeros((26, 2))}, ValueError, "vector"),
        ({"y": np.zeros(5)}, ValueError, "vector"),
        ({"y": np.nan}, TypeError, "len"),
        ({"record_ids": ["a"]}, ValueError, "record_ids"),
        ({"X": np.zeros((5, 16))}, ValueError, "each row of X"),
    ],
)
def test_what_is_refused_is_refused_before_a_round_begins(strategy, X, y, clf, ledger, change, error, words):
    head = ledger.verify()
    with pytest.raises(error, match=words):
        strategy.query(**({"X": X, "y": y, "clf": clf} | change))
    assert ledger.verify() == head


def test_the_strategy_inside_must_be_ours(X, y, clf):
    with pytest.raises(TypeError, match="PrivateQuery"):
        PoolQuery(UncertaintySampling()).query(X, y, clf)


def test_the_classifier_must_be_private_and_fitted(strategy, X, y, prior, ledger, codes):
    from sklearn.naive_bayes import GaussianNB

    with pytest.raises(TypeError, match="GaussianNB"):
        strategy.query(X, y, GaussianNB().fit(X[LABELLED], codes[LABELLED]))
    with pytest.raises(NotFittedError):
        strategy.query(X, y, DPPrototypeClassifier(6.0, prior=prior, ledger=ledger))
    assert ledger.receipts() == []


def test_a_refusal_for_want_of_budget_comes_through(strategy, X, y, clf, ledger):
    clf.set_params(noise_multiplier=0.5)
    with pytest.raises(BudgetExhausted, match="query for about 3 labels"):
        strategy.query(X, y, clf, batch_size=3)
    assert ledger.rounds() == {}


def test_the_hidden_refit_of_theirs_is_a_spend(X, y, clf, ledger):
    """What `fit_clf=False` is for: their own strategies fit a clone, by default, in every query."""
    UncertaintySampling().query(X, y, SklearnClassifier(clf, classes=range(4)))
    assert len(ledger.receipts()) == 2


# -- their wrapper -------------------------------------------------------------------------------


def test_the_wrapper_is_looked_through(strategy, X, y, prior, ledger):
    wrapped = SklearnClassifier(DPPrototypeClassifier(6.0, prior=prior, ledger=ledger), classes=range(4)).fit(X, y)
    assert len(ledger.receipts()) == 1
    assert strategy.query(X, y, wrapped, batch_size=20).tolist() == POOL.tolist()
    assert PoolQuery(PrivateQuery(n_pool=20)).query(X, y, wrapped.estimator_, batch_size=20).tolist() == POOL.tolist()
    assert len(ledger.receipts()) == 1


def test_a_wrapper_around_a_fitted_estimator_will_do(strategy, X, y, clf):
    assert len(strategy.query(X, y, SklearnClassifier(clf, classes=range(4)), batch_size=20)) == 20


def test_a_wrapper_that_swallowed_a_refusal_is_refused(strategy, X, y, prior, exhausted):
    wrapped = SklearnClassifier(DPPrototypeClassifier(6.0, prior=prior, ledger=exhausted), classes=range(4))
    with pytest.warns(UserWarning, match="could not be fitted"):  # it would answer with exact label counts
        wrapped.fit(X, y)
    with pytest.raises(NotFittedError, match="swallowed the refusal"):
        strategy.query(X, y, wrapped)
    assert exhausted.rounds() == {}


# -- loops ---------------------------------------------------------------------------------------


def test_their_loop_runs_and_is_charged(X, y, codes, prior, ledger):
    """The loop of scikit-activeml's first example, through its `call_func`; everybody pays in every round."""
    clf, strategy = DPPrototypeClassifier(8.0, prior=prior, ledger=ledger), PoolQuery(PrivateQuery(n_pool=20))
    clf.fit(X[LABELLED], y[LABELLED])
    expected = 6
    for _ in range(3):
        offered = {"clf": clf, "ensemble": None, "fit_clf": False, "batch_size": 5, "utility_weight": None}
        chosen = call_func(strategy.query, only_mandatory=False, X=X, y=y, **offered)
        assert np.isnan(y[chosen]).all()
        y[chosen] = codes[chosen]
        expected += 5
        known = is_labeled(y)
        clf.fit(X[known], y[known], expected_records=expected)
    assert [receipt.account for receipt in ledger.receipts()] == ["cohort"] * 4
    assert ledger.hidden_rounds == 3
    assert ledger.spent() <= 2.0
    assert ledger.certificate()["status"] == "valid"


def test_with_our_learner_each_cohort_pays_once(X, y, codes, prior, ledger):
    strategy = PoolQuery(PrivateQuery(n_pool=20))
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(4.0, prior=prior), strategy.strategy, X[LABELLED], y[LABELLED], ledger=ledger
    )
    for _ in range(3):
        chosen = strategy.query(X, y, learner, batch_size=5)
        y[chosen] = codes[chosen]
        learner.teach(X[chosen], y[chosen])
    assert len(ledger.receipts()) == 4
    assert ledger.spent() == pytest.approx(ledger.receipts()[0].epsilon)
    assert len(learner.X_training) == is_labeled(y).sum()


# -- the extra -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import skdpal.learner; assert 'skactiveml' not in sys.modules", ""),
        ("sys.modules['skactiveml'] = None; import skdpal.learner.activeml", "pip install 'skdpal[activeml]'"),
    ],
    ids=["lazy", "missing"],
)
def test_it_is_an_extra(code, words):
    done = subprocess.run([sys.executable, "-c", f"import sys; {code}"], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (not words)
    assert words in done.stderr
