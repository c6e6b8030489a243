"""Teaching: modAL's verbs, and who pays."""

import numpy as np
import pandas as pd
import pytest

from skdpal import BudgetExhausted, PrivateQuery

pytestmark = pytest.mark.filterwarnings("ignore:'force_all_finite' was renamed:FutureWarning")


# -- on modAL's own learner and on ours -----------------------------------------------------------


@pytest.mark.usefixtures("teaches")
def test_teach_adds_to_what_is_known(learner, pool, embedded):
    learner.query(pool.X, n_instances=4)
    assert learner.teach(pool.X[:3], pool.y[:3], only_new=True, expected_records=4) is None
    assert (learner.X_training == embedded.X[:9]).all()
    assert (learner.y_training == embedded.y[:9]).all()


@pytest.mark.usefixtures("teaches")
def test_frames_are_taught(make, embedded, pool, kind):
    X = pd.DataFrame(embedded.X, index=[f"patient-{number}" for number in range(37)])
    if kind == "modal":  # its data_vstack calls DataFrame.append, which pandas took away: the first frame only
        learner = make()
        learner.teach(X[:6], embedded.y[:6])
        pd.testing.assert_frame_equal(learner.X_training, X[:6])
        return
    learner = make(X[:6], embedded.y[:6])
    learner.teach(X[6:9], embedded.y[6:9])
    pd.testing.assert_frame_equal(learner.X_training, X[:9])


@pytest.mark.usefixtures("teaches")
def test_only_new_learns_from_the_new_rows_alone(learner, pool, ledger):
    before = learner.estimator.fingerprint()
    learner.query(pool.X, n_instances=4)
    learner.teach(pool.X[:3], pool.y[:3], only_new=True, expected_records=4)
    assert learner.estimator.fingerprint() != before
    assert learner.estimator.releases_[-1].expected_records == 4
    assert len(ledger.receipts()) == 2


@pytest.mark.usefixtures("teaches")
def test_fit_forgets_what_was_known(make, embedded):
    learner = make()
    assert learner.fit(embedded.X[:6], embedded.y[:6]) is learner
    assert len(learner.X_training) == len(learner.y_training) == 6
    assert len(learner.estimator.releases_) == 1


@pytest.mark.usefixtures("teaches")
def test_bad_rows_are_refused_without_a_charge(learner, pool, ledger):
    with pytest.raises(ValueError, match=r"[Ll]abel|length|inconsistent"):
        learner.teach(pool.X[:3], pool.y[:2], only_new=True)
    broken = pool.X[:3].copy()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN|finite"):
        learner.teach(broken, pool.y[:3], only_new=True)
    assert len(ledger.receipts()) == 1
    assert len(learner.X_training) == 6


@pytest.mark.usefixtures("teaches")
def test_a_teach_that_cannot_be_paid_is_refused(learner, pool, ledger):
    before = learner.estimator.fingerprint()
    learner.estimator.set_params(noise_multiplier=0.5)
    with pytest.raises(BudgetExhausted, match=r"costs ε="):
        learner.teach(pool.X[:3], pool.y[:3], only_new=True)
    assert learner.estimator.fingerprint() == before
    assert len(ledger.receipts()) == 1


@pytest.mark.usefixtures("teaches")
def test_modals_loop_keeps_the_budget(make, embedded, pool, kind, ledger):
    learner = make(embedded.X[:6], embedded.y[:6], PrivateQuery(n_pool=40))
    X, y, expected = pool.X, pool.y, 6
    for _ in range(3):
        indices, rows = learner.query(X, n_instances=10)
        expected += 10
        if kind == "private":
            learner.teach(rows, y[indices])
        elif len(indices):  # modAL's own cannot teach nobody
            learner.teach(rows, y[indices], expected_records=expected)
        X, y = np.delete(X, indices, axis=0), np.delete(y, indices)
    paid = [receipt.account for receipt in ledger.receipts()]
    if kind == "private":
        assert paid == ["cohort/start", "cohort/round-1", "cohort/round-2", "cohort/round-3"]
        assert ledger.spent() == pytest.approx(ledger.receipts()[0].epsilon)  # everybody pays once
    else:
        assert set(paid) == {"cohort"}
        assert ledger.spent() > ledger.receipts()[0].epsilon  # everybody pays each time
    assert ledger.spent() <= 2.0
    assert ledger.certificate()["status"] == "valid"


def test_fit_again_starts_again(own, embedded, pool, ledger):
    learner = own("private", embedded.X[:6], embedded.y[:6])
    for _ in range(2):
        learner.query(pool.X, n_instances=4)
        learner.teach(pool.X[:3], pool.y[:3])
        assert len(learner.X_training) == len(learner.y_training) == 9
        assert len(ledger.receipts()) == len(learner.estimator.releases_) == 2
        learner.fit(embedded.X[:6], embedded.y[:6])  # the same question: free, and the rest is forgotten
        assert (learner.X_training == embedded.X[:6]).all()
        assert len(learner.estimator.releases_) == 1


# -- nobody was accepted ----------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [False, True])
def test_nobody_is_taught_like_anybody(own, embedded, ledger, pool, frame):
    learner = own("private", embedded.X[:6], embedded.y[:6])
    for number in (1, 2):
        learner.query(pool.X, n_instances=4)
        learner.teach(pd.DataFrame(pool.X[:0]) if frame else [], [])
        assert len(ledger.receipts()) == len(learner.estimator.releases_) == 1 + number
        assert learner.estimator.releases_[-1].expected_records == 4
    assert len(learner.X_training) == len(learner.y_training) == 6
    assert isinstance(learner.X_training, np.ndarray)


@pytest.mark.parametrize("first", [np.asarray, pd.DataFrame])
@pytest.mark.parametrize("then", [np.asarray, pd.DataFrame, np.ndarray.tolist])
def test_kinds_may_mix(own, embedded, pool, first, then):
    learner = own("private", first(embedded.X[:6]), embedded.y[:6])
    learner.query(pool.X, n_instances=4)
    learner.teach(then(pool.X[:3]), list(pool.y[:3]))
    assert (np.asarray(learner.X_training) == embedded.X[:9]).all()
    assert list(learner.y_training) == embedded.y[:9].tolist()
    learner.query(pool.X, n_instances=4)


@pytest.mark.usefixtures("committees")
def test_modals_own_learner_cannot_teach_nobody(own, embedded, ledger, pool):
    learner = own("modal", embedded.X[:6], embedded.y[:6])
    learner.query(pool.X, n_instances=4)
    with pytest.raises(ValueError, match="0 sample"):
        learner.teach(pool.X[:0], pool.y[:0], expected_records=10)
    assert len(ledger.receipts()) == 1
    # so that whoever sees the releases does not see that nobody was accepted
    learner.estimator.fit(learner.X_training, learner.y_training, expected_records=10)
    assert len(ledger.receipts()) == 2


def test_an_untaught_learner_says_fit_first(own, pool, ledger):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        own("private").teach(pool.X[:3], pool.y[:3])
    assert ledger.receipts() == []
    assert ledger.accounts() == ["cohort/pool"]
