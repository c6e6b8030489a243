"""What modAL promises about learners: on its own, and on ours."""

import warnings

import numpy as np
import pandas as pd
import pytest
from modAL.models import ActiveLearner
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skdpal import BudgetExhausted, DPPrototypeClassifier, PrivateActiveLearner, PrivateQuery
from skdpal.query.utilities import PerPatient

pytestmark = pytest.mark.filterwarnings("ignore:'force_all_finite' was renamed:FutureWarning")


def blind(model, X):
    raise AssertionError("a patient was looked at")


class Broken(PrivateQuery):
    """It counts its calls, and raises."""

    calls = 0
    error = RuntimeError("broken strategy")

    def __call__(self, *arguments, **rest):
        self.calls += 1
        raise self.error


# -- the constructor ---------------------------------------------------------------------------


def test_without_training_data_nothing_is_fitted(make, ledger, pool):
    learner = make()
    assert learner.X_training is None
    assert learner.y_training is None
    assert not hasattr(learner.estimator, "classes_")
    assert ledger.receipts() == []
    for verb in (learner.predict, learner.predict_proba, learner.query):
        with pytest.raises(NotFittedError):
            verb(pool.X)
    assert ledger.rounds() == {}


def test_with_training_data_it_is_fitted_once(make, embedded, ledger):
    learner = make(embedded.X[:6], embedded.y[:6])
    assert (learner.X_training == embedded.X[:6]).all()
    assert (learner.y_training == embedded.y[:6]).all()
    assert len(ledger.receipts()) == len(learner.estimator.releases_) == 1


def test_the_constructor_passes_on_what_fit_takes(make, embedded):
    learner = make(embedded.X[:6], embedded.y[:6], expected_records=7)
    assert learner.estimator.releases_[0].expected_records == 7


def test_a_strategy_must_be_callable(make):
    with pytest.raises((AssertionError, TypeError), match="strategy"):
        make(strategy="margin")


def test_ours_is_one_of_modals(own):
    assert isinstance(own("private"), ActiveLearner)
    assert issubclass(PrivateActiveLearner, ActiveLearner)


# -- query -------------------------------------------------------------------------------------


def test_query_returns_positions_and_their_rows(learner, pool):
    indices, rows = learner.query(pool.X, n_instances=10)
    assert isinstance(indices, np.ndarray)
    assert indices.dtype.kind == "i"
    assert len(set(indices)) == len(indices)
    assert (rows == pool.X[indices]).all()
    assert np.shape(rows) == (len(indices), 16)


def test_frames_come_back_as_frames(make, embedded, pool):
    X = pd.DataFrame(embedded.X, index=[f"patient-{number}" for number in range(37)])
    learner = make(X[:6], embedded.y[:6])
    indices, rows = learner.query(X[6:26], n_instances=10)
    pd.testing.assert_frame_equal(rows, X[6:26].iloc[indices])
    assert isinstance(learner.X_training, pd.DataFrame)


def test_lists_come_back_as_lists(learner, pool):
    indices, rows = learner.query(pool.X.tolist(), n_instances=20)
    assert isinstance(rows, list)
    assert rows == pool.X[indices].tolist()


def test_everybody_comes_if_everybody_is_wanted(learner, pool):
    assert learner.query(pool.X, n_instances=20)[0].tolist() == list(range(20))


@pytest.mark.parametrize("positional", [True, False])
def test_n_instances_is_exact_when_published(make, embedded, pool, positional, ledger):
    learner = make(embedded.X[:6], embedded.y[:6], PrivateQuery(release="published", noise_multiplier=6.0))
    indices, _ = learner.query(pool.X, 4) if positional else learner.query(pool.X, n_instances=4)
    assert len(indices) == 4
    assert [receipt.label for receipt in ledger.receipts()][1:] == ["scores (round 1)"]


@pytest.mark.parametrize("n_instances", [0, -1, 1.5, "three", None])
def test_a_bad_number_is_refused_and_no_round_begins(learner, pool, ledger, n_instances):
    with pytest.raises((TypeError, ValueError), match="n_instances"):
        learner.query(pool.X, n_instances=n_instances)
    assert ledger.rounds() == {}


def test_the_strategy_is_called_once_with_learner_and_pool(make, embedded, pool):
    calls = []

    class Watched(PrivateQuery):
        def __call__(self, *arguments, **rest):
            calls.append((arguments, rest))
            return super().__call__(*arguments, **rest)

    learner = make(embedded.X[:6], embedded.y[:6], Watched(n_pool=20))
    learner.query(pool.X, n_instances=3, record_ids=pool.ids)
    ((who, what), rest) = calls[0]
    assert len(calls) == 1
    assert who is learner
    assert what is pool.X
    assert rest == {"n_instances": 3, "record_ids": pool.ids}


def test_whatever_a_strategy_raises_comes_through(make, embedded, pool):
    strategy = Broken(n_pool=20)
    learner = make(embedded.X[:6], embedded.y[:6], strategy)
    with pytest.raises(RuntimeError) as raised:
        learner.query(pool.X)
    assert raised.value is strategy.error
    assert strategy.calls == 1


def test_unknown_arguments_are_refused(learner, pool):
    with pytest.raises(TypeError, match="return_metrics"):
        learner.query(pool.X, n_instances=3, return_metrics=True)


def test_record_ids_reach_the_ledger(learner, pool):
    whole, _ = learner.query(pool.X, n_instances=10, record_ids=pool.ids)
    back, _ = learner.query(pool.X[::-1], n_instances=10, record_ids=pool.ids[::-1])
    assert sorted(19 - back) == whole.tolist()  # the coins follow the names
    with pytest.raises(ValueError, match="record_ids"):
        learner.query(pool.X, n_instances=10, record_ids=pool.ids[:-1])


def test_nobody_in_the_pool_is_no_error(learner, pool):
    indices, rows = learner.query(pool.X[:0], n_instances=3)
    assert len(indices) == len(rows) == 0


def test_query_warns_of_nothing(learner, pool):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # modAL warns of strategies that return tuples
        learner.query(pool.X, n_instances=3)


# -- the budget --------------------------------------------------------------------------------


def test_a_refusal_comes_through_modal(learner, pool, ledger):
    learner.estimator.set_params(noise_multiplier=0.5)
    with pytest.raises(BudgetExhausted, match=r"query for about 3 labels, whose teach.*costs ε=.*of 2\.00") as raised:
        learner.query(pool.X, n_instances=3)
    assert raised.value.price > 2 > raised.value.spent
    assert ledger.rounds() == {}


def test_what_cannot_be_taught_is_chosen_by_coins_if_wanted(make, embedded, pool):
    strategy = PrivateQuery(PerPatient(blind, "blind"), n_pool=20, on_exhausted="random")
    learner = make(embedded.X[:6], embedded.y[:6], strategy)
    with pytest.raises(AssertionError, match="looked at"):  # affordable: the utility is asked
        learner.query(pool.X, n_instances=10)
    learner.estimator.set_params(noise_multiplier=0.5)
    indices, rows = learner.query(pool.X, n_instances=10)
    assert (rows == pool.X[indices]).all()


# -- asking again ------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["hidden", "published"])
def test_asking_again_in_the_same_round_is_free_and_the_same(make, embedded, pool, ledger, release):
    noise = 6.0 if release == "published" else None
    learner = make(embedded.X[:6], embedded.y[:6], PrivateQuery(release=release, n_pool=20, noise_multiplier=noise))
    first, _ = learner.query(pool.X, n_instances=10)
    spent, head = ledger.spent("cohort/pool"), ledger.verify()
    for _ in range(3):
        again, _ = learner.query(pool.X, n_instances=10)
        assert again.tolist() == first.tolist()
    assert ledger.spent("cohort/pool") == spent
    assert ledger.verify() == head


def test_after_a_release_the_coins_are_new(make, embedded, pool):
    learner = make(embedded.X[:6], embedded.y[:6], PrivateQuery("random", n_pool=90))
    before, _ = learner.query(embedded.X, n_instances=30)
    learner.estimator.partial_fit(embedded.X[:1], embedded.y[:1], expected_records=1)
    after, _ = learner.query(embedded.X, n_instances=30)
    assert before.tolist() != after.tolist()  # of 37 patients each is decided alike with probability 1/2


# -- predictions -------------------------------------------------------------------------------


def test_predictions_are_those_of_the_estimator(learner, embedded, pool):
    assert (learner.predict(pool.X) == learner.estimator.predict(pool.X)).all()
    assert (learner.predict_proba(pool.X) == learner.estimator.predict_proba(pool.X)).all()
    labels = learner.estimator.predict(embedded.X_public)
    assert learner.score(embedded.X_public, labels, public=True) == 1.0


def test_an_undeclared_score_voids_the_certificate(learner, pool, ledger):
    with pytest.warns(UserWarning, match="public=True"):
        learner.score(pool.X, pool.y)
    assert ledger.certificate()["status"] != "valid"


# -- ours alone: modAL's own repr and clone fail, or fit again ------------------------------------


def test_clone_is_unfitted_and_free(own, embedded, ledger):
    learner = own("private", embedded.X[:6], embedded.y[:6])
    copy = clone(learner)
    assert isinstance(copy.estimator, DPPrototypeClassifier)
    assert not hasattr(copy.estimator, "classes_")
    assert copy.X_training is None
    assert copy.ledger is learner.ledger
    assert copy.get_params().keys() == learner.get_params().keys()
    assert len(ledger.receipts()) == 1


def test_repr_tells_budget_and_strategy_only(own, embedded):
    learner = own("private", embedded.X[:6], embedded.y[:6])
    text = repr(learner)
    assert text.startswith("PrivateActiveLearner(DPPrototypeClassifier, PrivateQuery(")
    assert "ε=2" in text
    assert not any(f"{number:.3f}"[:-1] in text for number in embedded.X[0])
