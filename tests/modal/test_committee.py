"""modAL's Committee of released models."""

import numpy as np
import pytest
from modAL.models import Committee

from skdpal import BudgetExhausted, PrivacyBudget, PrivacyLedger, PrivateQuery
from skdpal.privacy import calibrate, epsilon_of, events

pytestmark = pytest.mark.filterwarnings("ignore:'force_all_finite' was renamed:FutureWarning")


@pytest.fixture
def seat(own, embedded, ledger):
    """Makes a committee; each member has learnt from six patients, and paid."""

    def seat(kind="modal", sigmas=(8.0, 12.0), ledger=ledger, **rest):
        members = [own(kind, embedded.X[:6], embedded.y[:6], noise=sigma, ledger=ledger) for sigma in sigmas]
        query = PrivateQuery("disagreement", n_pool=20, ledger=ledger, **rest)
        return Committee(learner_list=members, query_strategy=query)

    return seat


def both(first, second):
    return events.composed([events.gaussian(first), events.gaussian(second)])


@pytest.mark.parametrize("release", ["hidden", "published"])
def test_a_committee_queries(seat, pool, ledger, release):
    noise = 8.0 if release == "published" else None
    committee = seat(release=release, noise_multiplier=noise)
    indices, rows = committee.query(pool.X, n_instances=10)
    assert (rows == pool.X[indices]).all()
    again, _ = committee.query(pool.X, n_instances=10)
    assert again.tolist() == indices.tolist()
    assert len(ledger.receipts()) == 2 + (release == "published")
    assert ledger.hidden_rounds == (release == "hidden")
    if release == "published":
        assert len(indices) == 10


def test_its_members_disagree_and_that_is_the_score(seat, pool):
    from skdpal.query.utilities import score, utility_of

    committee = seat()
    votes = np.stack([member.predict(pool.X) for member in committee.learner_list])
    scores = score(utility_of("disagreement"), committee, pool.X)
    assert ((scores > 0) == (votes[0] != votes[1])).all()
    assert committee.predict_proba(pool.X).sum(axis=1) == pytest.approx(1.0)


def test_a_query_requires_the_composed_price_of_all_members(seat, pool, ledger):
    committee = seat()
    before = ledger.verify()
    price = epsilon_of([both(1.9, 2.1)], ledger.budget.delta)
    committee.learner_list[0].estimator.set_params(noise_multiplier=1.9)
    committee.learner_list[1].estimator.set_params(noise_multiplier=2.1)
    with pytest.raises(BudgetExhausted, match=f"query for about 3 labels, whose teach.* costs ε={price:.2f}") as raised:
        committee.query(pool.X, n_instances=3)
    assert raised.value.price == pytest.approx(price)
    assert ledger.verify() == before


def test_what_one_member_affords_two_may_not(seat, pool):
    """σ is such that four releases fill the budget: two of the start, two of the teach; a little less noise does not fit."""
    budget = PrivacyBudget(2.0, 1e-5)
    sigma = calibrate(lambda sigma: events.gaussian(sigma, steps=4), budget)
    committee = seat(sigmas=(sigma, sigma), ledger=PrivacyLedger(budget))
    committee.query(pool.X, n_instances=3)  # exactly enough
    committee.learner_list[0].estimator.set_params(noise_multiplier=0.98 * sigma)
    ledger = committee.query_strategy.ledger
    assert ledger.affords(events.gaussian(0.98 * sigma))  # for one alone there is enough
    with pytest.raises(BudgetExhausted):
        committee.query(pool.X, n_instances=3)


def test_the_round_is_that_of_all_members(seat, pool, embedded, ledger):
    committee = seat()
    committee.query(pool.X, n_instances=6)
    committee.learner_list[1].estimator.partial_fit(embedded.X[:1], embedded.y[:1], expected_records=1)
    committee.query(pool.X, n_instances=6)
    assert ledger.hidden_rounds == 2  # one member knows more: another round


def test_members_may_have_cohorts_of_their_own(own, embedded, pool, ledger):
    """Nobody pays twice."""
    members = []
    for number, cohort in enumerate((slice(0, 3), slice(3, 6))):
        account = ledger.split("cohort/pool", into=f"cohort/member-{number}", members=list("abcdef")[cohort])
        names = list("abcdef")[cohort]
        members.append(
            own("modal", embedded.X[cohort], embedded.y[cohort], noise=4.0, ledger=account, record_ids=names)
        )
    committee = Committee(members, PrivateQuery("disagreement", n_pool=20, ledger=ledger))
    indices, _ = committee.query(pool.X, n_instances=20)
    assert len(indices) == 20
    assert ledger.spent() == pytest.approx(ledger.receipts()[0].epsilon)


def test_a_member_that_is_no_dp_estimator_is_refused(seat, embedded, pool):
    from modAL.models import ActiveLearner
    from sklearn.naive_bayes import GaussianNB

    committee = seat()
    committee.learner_list[1] = ActiveLearner(GaussianNB().fit(embedded.X[:6], embedded.y[:6]), PrivateQuery())
    with pytest.raises(TypeError, match="GaussianNB"):
        committee.query(pool.X, n_instances=3)


@pytest.mark.usefixtures("committees")
@pytest.mark.parametrize("only_new", [False, True])
def test_teaching_charges_the_release_of_each_member(seat, pool, ledger, only_new):
    committee = seat()
    committee.query(pool.X, n_instances=4)
    committee.teach(pool.X[:3], pool.y[:3], only_new=only_new, expected_records=4 if only_new else 10)
    assert [len(member.X_training) for member in committee] == [9, 9]
    paid = [receipt.event.noise_multiplier for receipt in ledger.receipts()]
    assert paid == [8.0, 12.0, 8.0, 12.0]
    assert ledger.spent() == pytest.approx(epsilon_of([both(8.0, 12.0)] * 2, ledger.budget.delta))


@pytest.mark.usefixtures("committees")
def test_a_refused_member_stops_the_committee(seat, pool, ledger):
    committee = seat()
    committee.learner_list[1].estimator.set_params(noise_multiplier=0.5)
    with pytest.raises(BudgetExhausted):
        committee.teach(pool.X[:3], pool.y[:3], only_new=True, expected_records=3)
    assert [receipt.event.noise_multiplier for receipt in ledger.receipts()] == [8.0, 12.0, 8.0]  # the first had paid


@pytest.mark.usefixtures("committees")
def test_bagging_pays_like_any_release(seat, ledger):
    committee = seat()
    committee.rebag(expected_records=6)  # a patient who is drawn twice is one patient: summed, then clipped
    assert len(ledger.receipts()) == 4
