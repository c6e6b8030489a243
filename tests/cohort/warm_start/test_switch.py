"""Who looks at the pool: decided from what was released and from public rows, and from nothing else."""

import numpy as np
import pandas as pd
import pytest

from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger, PrivateActiveLearner, PrivateQuery, WarmStart
from skdpal.cohort import SwitchRule
from skdpal.estimators import Release
from skdpal.estimators.regime import kappa
from skdpal.query.utilities import score

CLASSES = ["BL", "EWS", "NB", "RMS"]


def released(embedded, noise, n=16, prior=True):
    """A model of which everything is known: the noise added is none, the noise stated is `noise`."""
    sums, counts = np.zeros((4, 16)), np.zeros(4)
    for row, label in zip(embedded.X[:n], embedded.y[:n], strict=True):
        sums[CLASSES.index(label)] += row / np.sqrt(2)
        counts[CLASSES.index(label)] += 1 / np.sqrt(2)
    model = DPPrototypeClassifier(noise, embedded.prior if prior else None, CLASSES)
    return model.restore([Release(sums, counts, noise, float(n))])


def certainty(model, reference):
    """By hand."""
    probabilities, parts = np.sort(model.predict_proba(reference)), model.uncertainty(reference)
    gap = np.log(probabilities[:, -1] / probabilities[:, -2])
    return np.median(gap / np.sqrt(parts["dp_noise"] + parts["sampling"] + parts["transfer"]))


def test_the_measure_is_what_patients_add_to_the_public_model(embedded):
    rule, model = SwitchRule(reference=embedded.reference), released(embedded, 2.0)
    public = model.public_model()
    both, before = (certainty(one, embedded.reference) for one in (model, public))
    assert both > before > 0.5
    assert rule.measure(model) == pytest.approx(both)
    assert rule.measure(model, public) == pytest.approx(np.sqrt(both**2 - before**2))


@pytest.mark.parametrize("prior", [True, False])
def test_less_noise_earns_more_trust(embedded, prior):
    rule = SwitchRule(reference=embedded.reference)
    models = [released(embedded, noise, 37, prior) for noise in (0.2, 2.0, 10.0, 300.0)]
    measures = [rule.measure(model, model.public_model()) for model in models]
    assert measures == sorted(measures, reverse=True)
    assert measures[0] > 4 * measures[2]
    assert measures[3] < 0.05  # what drowned in noise added nothing, however sure the public model is


def test_without_a_prior_a_noisy_model_is_not_trusted_and_a_good_one_is(embedded):
    rule = SwitchRule(reference=embedded.reference)
    assert rule.choose(released(embedded, 2.0, prior=False), None) is None
    good = released(embedded, 0.1, n=37, prior=False)
    assert rule.choose(good, None) is good


def test_without_a_reference_kappa_decides(embedded):
    rule = SwitchRule()
    weak, strong = released(embedded, 2.5, prior=False), released(embedded, 2.0, prior=False)
    assert rule.measure(strong) == kappa(16.0, 2.0, 16) == 2.0
    assert rule.choose(strong, None) is strong
    assert rule.choose(weak, "public") == "public"
    strong.restore([*weak.releases_, *weak.releases_])  # two weak releases
    assert rule.measure(strong) == pytest.approx(1.6 * np.sqrt(2))


def test_before_any_patient_nothing_is_trusted(embedded):
    model = DPPrototypeClassifier(2.0, embedded.prior).public_model()
    for rule in (SwitchRule(), SwitchRule(0.0, embedded.reference)):
        assert rule.measure(model) == rule.measure(model, model) == 0
        assert rule.choose(model, "public") == "public"


def test_it_is_a_pure_function_of_releases_and_public_rows(embedded):
    rule, model = SwitchRule(reference=embedded.reference), released(embedded, 2.0)
    again = DPPrototypeClassifier(99.0, embedded.prior).restore(model.releases_)  # no patient was seen by this one
    assert rule.measure(again) == rule.measure(model)
    before = model.fingerprint()
    rule.choose(model, None)
    assert model.fingerprint() == before


def test_tables_and_arrays_are_alike(embedded):
    model = released(embedded, 2.0)
    frame = pd.DataFrame(embedded.reference)
    assert SwitchRule(reference=frame).measure(model) == SwitchRule(reference=embedded.reference).measure(model)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"confidence": -1}, "confidence"),
        ({"confidence": "high"}, "confidence"),
        ({"least_kappa": np.nan}, "least_kappa"),
        ({"reference": np.zeros((0, 3))}, "Expected reference to have rows"),
        ({"reference": [[np.inf]]}, "reference"),
    ],
)
def test_bad_rules_are_named(options, words):
    with pytest.raises(ValueError, match=words):
        SwitchRule(**options)


# -- in a query ------------------------------------------------------------------------------


class Fixed:
    """A rule that says what it is told."""

    def __init__(self, answer):
        self.answer = answer

    def choose(self, released, public):
        return {"released": released, "public": public, "coins": None, "stranger": object()}[self.answer]


def learner_with(embedded, rule, **options):
    query = PrivateQuery(reference=embedded.reference, n_pool=20, scorer=rule, **options)
    ledger = PrivacyLedger(PrivacyBudget(2.0))
    estimator = DPPrototypeClassifier(2.0, prior=embedded.prior)
    return PrivateActiveLearner(estimator, query, embedded.X[:6], embedded.y[:6], ledger, list(embedded.ids[:6]))


@pytest.mark.parametrize("who", ["released", "public", "coins"])
def test_the_ledger_says_who_looked_and_asking_again_gives_the_same(embedded, who):
    learner = learner_with(embedded, Fixed(who))
    ids = list(embedded.ids[6:26])
    first = learner.query(embedded.X[6:26], 5, record_ids=ids)[0]
    again = learner.query(embedded.X[6:26][::-1], 5, record_ids=ids[::-1])[0]
    assert {ids[at] for at in first} == {ids[::-1][at] for at in again}
    (row,) = learner.ledger.rounds().values()
    assert row["scorer"] == who
    model = {"released": learner, "public": learner.estimator.public_model(), "coins": None}[who]
    scores = None if model is None else score("margin", model, learner.query_strategy.reference)
    assert (np.ptp(row["left"]) > 0) == (scores is not None)  # coins leave every reference row alike
    assert len(learner.ledger.receipts()) == 1


def test_coins_alone_do_not_look_at_patients(embedded):
    learner, ids = learner_with(embedded, Fixed("coins")), list(embedded.ids[6:26])
    first = learner.query(embedded.X[6:26], 8, record_ids=ids)[0]
    elsewhere = np.roll(embedded.X[6:26], 3, axis=0)
    assert (learner.query(elsewhere, 8, record_ids=ids)[0] == first).all()


def test_a_rule_that_invents_a_model_is_refused(embedded):
    learner = learner_with(embedded, Fixed("stranger"))
    with pytest.raises(ValueError, match="one of the two, or None"):
        learner.query(embedded.X[6:26], 3)
    assert learner.ledger.hidden_rounds == 0
    with pytest.raises(TypeError, match=r"rule with choose\(released, public\)"):
        PrivateQuery(scorer=object())


def test_published_rounds_by_coins_cost_nothing(embedded):
    query = {"release": "published", "noise_multiplier": 20.0}
    ids = list(embedded.ids[6:26])
    paid, free = (learner_with(embedded, Fixed(who), **query) for who in ("released", "coins"))
    for learner in (paid, free):
        learner.estimator.set_params(noise_multiplier=4.0)
        chosen = learner.query(embedded.X[6:26], 3, record_ids=ids)[0]
        assert len(chosen) == 3
        assert (learner.query(embedded.X[6:26], 3, record_ids=ids)[0] == chosen).all()
    assert [len(learner.ledger.receipts()) for learner in (paid, free)] == [2, 1]
    assert [row["scorer"] for row in free.ledger.rounds().values()] == ["coins"]


def test_every_member_of_a_committee_must_be_trusted(embedded):
    class Committee:
        def __init__(self, models):
            self.learner_list = [type("Holder", (), {"estimator": model}) for model in models]

        def predict_proba(self, X):
            return self.learner_list[0].estimator.predict_proba(X)

    rule = SwitchRule(1.0, embedded.reference)
    good, bad = released(embedded, 0.1, 37, prior=False), released(embedded, 3.0, prior=False)
    query = PrivateQuery(reference=embedded.reference, n_pool=20, scorer=rule)
    for members, who in (([good, good], True), ([good, bad], False)):
        committee = Committee(members)
        this = query.round_of.__func__  # not used: `_model` needs no round for a rule
        assert (query._model(committee, this) is committee) is who


def test_a_study_switches_when_its_releases_say_so(srbct, sources, study):
    """With much budget the released model looks at once; with little, the public one does."""
    for epsilon, who in ((0.05, "public"), (20.0, "released")):
        warm = WarmStart(sources.same, PrivacyBudget(epsilon))
        learner, pool, labels = study(warm)
        for _ in range(2):
            chosen, rows = learner.query(pool, 3)
            learner.teach(rows, labels[chosen])
        assert {row["scorer"] for row in learner.ledger.rounds().values()} == {who}
        assert (warm.trusted(learner) is learner.estimator) is (who == "released")
        table = warm.schedule(10, 3, 3, ledger=learner.ledger)
        assert table["scorer"].tolist()[2:5] == [who, who, "public until trusted"]
