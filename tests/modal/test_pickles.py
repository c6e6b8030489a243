"""Restarts: what a pickle carries, and what a durable ledger remembers."""

import pickle

import numpy as np
import pandas as pd
import pytest

from skdpal import PrivacyLedger, PrivateQuery

pytestmark = pytest.mark.filterwarnings("ignore:'force_all_finite' was renamed:FutureWarning")


@pytest.fixture
def durable(budget, tmp_path):
    return PrivacyLedger.create(tmp_path / "ledger.db", budget)


def eights(rows):
    """Pieces of 8 bytes that a table would leave: each number, or two neighbours if numbers are short."""
    for kind in ("<f8", ">f8"):
        yield from (number.tobytes() for number in np.split(rows.ravel().astype(kind), rows.size))
    for table in (rows, rows.T):  # by rows, or by columns
        for kind in ("<f4", ">f4"):
            short = np.ascontiguousarray(table, dtype=kind)
            yield from (short[row, at : at + 2].tobytes() for row, at in np.ndindex(len(short), short.shape[1] - 1))


def traces(data, rows, names=()):
    """How many numbers of patients, in any common binary form, and how many names are in some bytes.

    Of some 5000 pieces of 8 bytes, in 10^6 places, one is met by chance with probability 3e-10.
    """
    texts = {repr(number).encode() for number in rows.ravel().tolist()} | {name.encode() for name in names}
    return sum(form in data for form in {*eights(rows), *texts})


@pytest.mark.parametrize("protocol", range(3, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("release", ["hidden", "published"])
def test_our_pickles_carry_no_patients(own, embedded, pool, durable, release, protocol):
    noise = 6.0 if release == "published" else None
    strategy = PrivateQuery(release=release, reference=embedded.reference, n_pool=20, noise_multiplier=noise)
    X = pd.DataFrame(embedded.X, index=[f"patient-{number}" for number in range(37)])
    learner = own("private", X[:6], embedded.y[:6], strategy, ledger=durable)
    indices, rows = learner.query(X[6:26], n_instances=10)
    assert traces(pickle.dumps(learner, protocol), embedded.X, X.index) == 0  # between query and teach, too
    learner.teach(rows, pool.y[indices])
    assert len(learner.X_training) == 6 + len(indices)
    data = pickle.dumps(learner, protocol)
    assert traces(data, embedded.X, X.index) == 0
    copy = pickle.loads(data)
    assert copy.X_training is None
    assert copy.y_training is None
    assert (copy.predict_proba(embedded.X) == learner.predict_proba(embedded.X)).all()


def test_the_same_search_finds_the_patients_in_modals_own_pickle(own, embedded, durable):
    learner = own("modal", embedded.X[:6], embedded.y[:6], ledger=durable)
    assert traces(pickle.dumps(learner), embedded.X[:6]) >= 6 * 16


@pytest.mark.parametrize(
    "form", [np.ndarray.tolist, np.float32, pd.DataFrame, lambda X: X[0, 0], lambda X: str(X[0, 0])]
)
def test_planted_rows_are_found_in_every_form(own, embedded, durable, form):
    learner = own("private", embedded.X[:6], embedded.y[:6], ledger=durable)
    learner.estimator.debugging_ = form(embedded.X[:6])
    assert traces(pickle.dumps(learner), embedded.X[:6]) > 0


def test_planted_names_are_found(own, embedded, durable):
    learner = own("private", embedded.X[:6], embedded.y[:6], ledger=durable)
    learner.query_strategy.last_ = ["patient-7"]
    assert traces(pickle.dumps(learner), embedded.X, ["patient-7"]) == 1


@pytest.mark.parametrize("release", ["hidden", "published"])
def test_after_a_restart_the_same_question_has_the_same_answer(make, embedded, pool, durable, release):
    noise = 6.0 if release == "published" else None
    strategy = PrivateQuery(release=release, n_pool=20, noise_multiplier=noise)
    learner = make(embedded.X[:6], embedded.y[:6], strategy, ledger=durable)
    first, _ = learner.query(pool.X, n_instances=10)
    head = durable.verify()
    again, _ = pickle.loads(pickle.dumps(learner)).query(pool.X, n_instances=10)
    assert again.tolist() == first.tolist()
    assert durable.verify() == head


def test_a_cell_that_is_run_again_pays_nothing(own, embedded, pool, durable, tmp_path):
    """The whole script, twice, from nothing but the ledger's file."""
    seen = []
    for _ in range(2):
        ledger = PrivacyLedger.open(tmp_path / "ledger.db")
        learner = own("private", embedded.X[:6], embedded.y[:6], ledger=ledger)
        for _ in range(2):
            indices, rows = learner.query(pool.X, n_instances=6)
            learner.teach(rows, pool.y[indices])
            seen.append(indices.tolist())
        seen.append(learner.estimator.fingerprint())
        assert len(ledger.receipts()) == 3
    assert seen[:3] == seen[3:]


def test_a_learner_goes_on_from_its_pickle(own, embedded, pool, durable):
    learner = own("private", embedded.X[:6], embedded.y[:6], ledger=durable)
    indices, rows = learner.query(pool.X, n_instances=6)
    learner = pickle.loads(pickle.dumps(learner))
    learner.teach(rows, pool.y[indices])
    assert durable.receipts()[-1].account == "cohort/round-1"
    learner = pickle.loads(pickle.dumps(learner))
    indices, rows = learner.query(pool.X, n_instances=6)
    learner.teach(rows, pool.y[indices])
    assert [receipt.account for receipt in durable.receipts()] == ["cohort/start", "cohort/round-1", "cohort/round-2"]
    assert set(durable.accounts_of([])) == set()
