"""teach(only_new=False): on everybody again, with the price shown."""

import re

import pytest

from skdpal import BudgetExhausted, PrivacyLedger
from skdpal.privacy import PriceWarning


@pytest.fixture
def taught(own, embedded, pool):
    """Two cohorts have paid."""
    learner = own("private", embedded.X[:6], embedded.y[:6])
    learner.query(pool.X, n_instances=4)
    learner.teach(pool.X[:3], pool.y[:3])
    return learner


def everything(learner):
    """What a refusal must not change."""
    state = learner.estimator.fingerprint(), learner.ledger.verify(), len(learner.X_training), len(learner.y_training)
    return state, learner.ledger.accounts()


def test_the_warning_shows_the_price(taught, pool, ledger):
    before = ledger.spent()
    with pytest.warns(PriceWarning, match="only_new=False learns from everybody again") as caught:
        taught.teach(pool.X[3:6], pool.y[3:6], only_new=False, expected_records=3)
    alone, spent, ceiling = map(float, re.findall(r"(\d+\.\d\d)", str(caught[0].message)))
    receipt = ledger.receipts()[-1]
    assert alone == pytest.approx(receipt.epsilon, abs=0.005)
    assert spent == pytest.approx(before, abs=0.005)
    assert ceiling == 2.0
    assert caught[0].filename == __file__


def test_everybody_paid(taught, pool, ledger):
    with pytest.warns(PriceWarning):
        taught.teach(pool.X[3:6], pool.y[3:6], only_new=False, expected_records=3)
    assert ledger.receipts()[-1].account == "cohort"
    once = ledger.receipts()[0].epsilon
    for account in ("cohort/start", "cohort/round-1"):  # they paid before
        assert ledger.spent(account) > once
    for account in ("cohort/round-2", "cohort/pool"):
        assert ledger.spent(account) == pytest.approx(once)
    assert ledger.certificate()["status"] == "valid"


def test_it_learns_from_everybody(taught, pool, embedded):
    with pytest.warns(PriceWarning):
        taught.teach(pool.X[3:6], pool.y[3:6], only_new=False, expected_records=3)
    assert (taught.X_training == embedded.X[:12]).all()
    assert len(taught.estimator.releases_) == 1  # one release of all, in place of one of each
    assert taught.estimator.releases_[0].expected_records == 6 + 4 + 3


def test_the_default_is_to_pay_once(taught, pool, ledger):
    taught.query(pool.X, n_instances=4)
    taught.teach(pool.X[3:6], pool.y[3:6])  # warnings are errors
    assert ledger.receipts()[-1].account == "cohort/round-2"


def test_a_refusal_changes_nothing(taught, pool):
    before = everything(taught)
    taught.estimator.set_params(noise_multiplier=0.5)
    with pytest.raises(BudgetExhausted, match="on everybody"):
        taught.teach(pool.X[3:6], pool.y[3:6], only_new=False, expected_records=3)
    assert everything(taught) == before


def test_a_refusal_comes_before_the_rows_are_read(taught, untouchable):
    taught.estimator.set_params(noise_multiplier=0.5)
    with pytest.raises(BudgetExhausted, match="on everybody"):
        taught.teach(untouchable, untouchable, only_new=False)


@pytest.mark.filterwarnings("ignore::skdpal.privacy.errors.PriceWarning")
def test_a_bad_label_changes_nothing(taught, pool):
    before = everything(taught)
    with pytest.raises(ValueError, match="Expected"):
        taught.teach(pool.X[3:6], ["other", *pool.y[4:6]], only_new=False, expected_records=3)
    assert everything(taught) == before
    taught.teach(pool.X[3:6], pool.y[3:6], only_new=False, expected_records=3)
    assert len(taught.X_training) == 12


@pytest.mark.filterwarnings("ignore::skdpal.privacy.errors.PriceWarning")
def test_run_again_on_the_same_ledger_it_is_free(own, embedded, pool, ledger):
    seen = []
    for _ in range(2):
        learner = own("private", embedded.X[:6], embedded.y[:6])
        for only_new in (False, True):
            indices, rows = learner.query(pool.X, n_instances=10)
            learner.teach(rows, pool.y[indices], only_new=only_new)
            seen.append((indices.tolist(), learner.estimator.fingerprint()))
        assert len(ledger.receipts()) == 3
    assert seen[:2] == seen[2:]


@pytest.mark.filterwarnings("ignore::skdpal.privacy.errors.PriceWarning")
def test_an_untold_number_is_refused(taught, pool):
    before = everything(taught)
    with pytest.raises(ValueError, match="expected_records"):  # no query in this round: counting rows would tell
        taught.teach(pool.X[3:6], pool.y[3:6], only_new=False)
    assert everything(taught) == before


@pytest.mark.filterwarnings("ignore::skdpal.privacy.errors.PriceWarning")
def test_run_again_it_is_free_even_if_nothing_is_left(own, embedded, pool, budget, tmp_path):
    """σ is such that start and retraining fill the budget."""
    from skdpal.privacy import calibrate, events

    noise = calibrate(lambda sigma: events.gaussian(sigma, steps=2), budget)
    ledger = PrivacyLedger.create(tmp_path / "ledger.db", budget)
    for _ in range(2):
        learner = own("private", embedded.X[:6], embedded.y[:6], noise=noise, ledger=ledger)
        learner.query(pool.X, n_instances=4)
        learner.teach(pool.X[:3], pool.y[:3], only_new=False)
        ledger = PrivacyLedger.open(tmp_path / "ledger.db")
    assert len(ledger.receipts()) == 2


@pytest.mark.filterwarnings("ignore::skdpal.privacy.errors.PriceWarning")
def test_after_a_pickle_the_rows_are_gone(own, embedded, pool, budget, tmp_path):
    import pickle

    ledger = PrivacyLedger.create(tmp_path / "ledger.db", budget)
    learner = pickle.loads(pickle.dumps(own("private", embedded.X[:6], embedded.y[:6], ledger=ledger)))
    with pytest.raises(ValueError, match="pickle"):
        learner.teach(pool.X[:3], pool.y[:3], only_new=False)
    learner.teach(pool.X[:3], pool.y[:3])  # paying once needs no old rows
    with pytest.raises(ValueError, match="pickle"):
        learner.teach(pool.X[3:6], pool.y[3:6], only_new=False)
    assert len(ledger.receipts()) == 2
