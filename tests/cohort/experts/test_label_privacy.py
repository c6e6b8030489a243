"""Noisy labels: drawn once, free inside, charged when they leave, and what they then tell."""

import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import chisquare, norm

from skdpal import DPPrototypeClassifier
from skdpal.cohort.experts import LabelPrivacy, label_epsilon
from skdpal.cohort.experts.laplace import likeliest, likeliest_matrix, posterior
from skdpal.privacy import BudgetExhausted, PrivacyBudget, PrivacyLedger, events
from skdpal.privacy.accounting.gaussian import epsilon_of_mu
from skdpal.privacy.randomness import perturb, simulation

ALARM = 1e-6
CLASSES = ["favourable", "unfavourable"]
MECHANISMS = ["randomized-response", "laplace"]


@pytest.fixture
def wide():
    """A ledger with enough for a label, of the kind that prices one well."""
    return PrivacyLedger(PrivacyBudget(8.0, 1e-5), "renyi")


def patients(n=40):
    names = [f"p{at}" for at in range(n)]
    return pd.Series([CLASSES[at % 2] for at in range(n)], index=names, name="histology")


# inside, and outside


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_inside_costs_nothing_and_is_drawn_once(wide, mechanism):
    y, privacy = patients(), LabelPrivacy(1.0, CLASSES, wide, mechanism)
    first = privacy.inside(y)
    assert first.index.equals(y.index)
    assert first.name == "histology"
    assert set(first) <= set(CLASSES)
    assert all(privacy.inside(y).equals(first) for _ in range(5))
    assert (
        LabelPrivacy(1.0, CLASSES[::-1], wide, mechanism).inside(y).equals(first)
    )  # the order of classes is no secret
    assert wide.receipts() == []
    assert (first != y).any()  # with chance 1 - 0.73^40
    other = LabelPrivacy(1.0, CLASSES, wide, mechanism, name="second reader").inside(y)
    assert not other.equals(first)  # with chance 1 - (0.73² + 0.27²)^40


def test_a_draw_stays_though_the_label_is_corrected(wide):
    y, privacy = patients(), LabelPrivacy(1.0, CLASSES, wide)
    assert privacy.inside(y).equals(privacy.inside(y.iloc[::-1]).iloc[::-1])
    first = privacy.inside(y)
    corrected = y.map(dict(zip(CLASSES, CLASSES[::-1], strict=True)))
    assert privacy.inside(corrected).equals(first)
    assert privacy.inside(y[5:9]).equals(first[5:9])


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_draw_survives_a_restart(tmp_path, mechanism):
    path, y = tmp_path / "study.ledger", patients()
    first = LabelPrivacy(1.0, CLASSES, PrivacyLedger.create(path, PrivacyBudget(8.0), "renyi"), mechanism).inside(y)
    again = LabelPrivacy(1.0, CLASSES, PrivacyLedger.open(path), mechanism)
    assert again.inside(y).equals(first)
    left = again.publish(y)
    assert left.equals(first)
    last = LabelPrivacy(1.0, CLASSES, PrivacyLedger.open(path), mechanism)
    assert last.publish(y).equals(first)
    assert len(PrivacyLedger.open(path).receipts()) == 1


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_what_leaves_is_charged_once_and_is_what_was_drawn(wide, mechanism):
    y, privacy = patients(), LabelPrivacy(1.0, CLASSES, wide, mechanism)
    first = privacy.inside(y)
    assert privacy.publish(y).equals(first)
    shuffled = y.sample(frac=1, random_state=0)
    assert privacy.publish(shuffled).equals(first[shuffled.index])  # the same patients are the same question
    (receipt,) = wide.receipts()
    assert receipt.label == "published labels"
    assert receipt.account == "cohort"
    expected = events.randomized_response(1.0, 2) if mechanism == "randomized-response" else events.laplace(1.0)
    assert receipt.event == expected == privacy.event
    privacy.publish(y[:10])  # another list is another question
    assert len(wide.receipts()) == 2
    assert not any("p0" in str(receipt.question) for receipt in wide.receipts())


class Unread:
    """Labels that nobody may look at yet; their number is no secret."""

    def __len__(self):
        return 2

    def __iter__(self):
        raise AssertionError("the labels were read")

    __array__ = __getitem__ = __iter__


def test_nothing_is_read_if_it_cannot_be_paid(exhausted, wide):
    with pytest.raises(BudgetExhausted):
        LabelPrivacy(1.0, CLASSES, exhausted).publish(Unread(), ["a", "b"])
    with pytest.raises(AssertionError, match="were read"):  # the charge comes first, and stays
        LabelPrivacy(1.0, CLASSES, wide).publish(Unread(), ["a", "b"])
    assert len(wide.receipts()) == 1


def test_an_account_pays_for_its_own(wide):
    y = patients()
    site = wide.split("cohort/pool", into="cohort/site-a", members=y.index[:10])
    LabelPrivacy(1.0, CLASSES, site).publish(y[:10])
    assert [receipt.account for receipt in wide.receipts()] == ["cohort/site-a"]
    with pytest.raises(ValueError, match="account|belong|member"):
        LabelPrivacy(1.0, CLASSES, site).publish(y[5:15])
    assert wide.spent("cohort/pool") == 0.0


def test_a_list_of_hidden_patients_does_not_leave(wide):
    y, privacy = patients(), LabelPrivacy(1.0, CLASSES, wide)
    wide.begin_round("round 1", {}, hidden=True)
    with pytest.raises(ValueError, match="Expected roster=True"):
        privacy.publish(y[:7])
    with pytest.raises(ValueError, match="Expected account='cohort' with roster=True"):
        privacy.publish(y, roster=True, account="cohort/pool")
    assert wide.receipts() == []
    everybody = y.where(np.arange(len(y)) < 7)
    assert privacy.publish(everybody, roster=True).notna().all()  # whoever has no label emits one, too
    assert [receipt.account for receipt in wide.receipts()] == ["cohort"]


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_missing_label_emits_a_uniform_one(mechanism):
    ids = [str(at) for at in range(3000)]
    classes = ["a", "b", "c"]
    with simulation(3):
        ledger = PrivacyLedger(PrivacyBudget(8.0), "renyi")
        drawn = LabelPrivacy(20.0, classes, ledger, mechanism).inside([None] * 3000, ids)
    assert chisquare([Counter(drawn.tolist())[name] for name in classes]).pvalue > ALARM


def test_an_abstention_is_a_label_of_its_own(wide):
    classes = [*CLASSES, "defer"]
    privacy = LabelPrivacy(50.0, classes, wide)
    y = pd.Series(["defer", *CLASSES], index=["a", "b", "c"])
    assert privacy.inside(y).equals(y)
    assert privacy.transition.matrix.shape == (3, 3)
    with pytest.raises(ValueError, match="Expected one label, of the given classes or missing"):
        LabelPrivacy(50.0, CLASSES, wide).inside(y)


# arguments


def test_likely_classes_of_each_patient_are_refused_with_the_reason(wide):
    with pytest.raises(TypeError, match="takes no prior.*class_prior"):
        LabelPrivacy(1.0, CLASSES, wide, prior=[[0.9, 0.1]] * 40)
    with pytest.raises(TypeError, match="unexpected keyword argument 'priors'"):
        LabelPrivacy(1.0, CLASSES, wide, priors=None)
    for each in ([[0.9, 0.1]] * 40, [0.9, 0.2], [1.0, 0.0], {"favourable": 1.0}, "even"):
        with pytest.raises(ValueError, match="Expected class_prior"):
            LabelPrivacy(1.0, CLASSES, wide, class_prior=each)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0}, "Expected epsilon"),
        ({"mechanism": "softmax"}, "Expected mechanism to be one of 'randomized-response', 'laplace'"),
        ({"name": " "}, "Expected name"),
        ({"classes": ["a", "a"]}, "Expected classes"),
        ({"ledger": "study"}, "Expected ledger"),
    ],
)
def test_bad_arguments_are_named(wide, options, message):
    with pytest.raises(ValueError, match=message):
        LabelPrivacy(**{"epsilon": 1.0, "classes": CLASSES, "ledger": wide, **options})


def test_labels_alone_name_nobody(wide):
    privacy = LabelPrivacy(1.0, CLASSES, wide)
    for y in (["favourable"], np.array(["favourable"]), pd.Series(["favourable"])):
        with pytest.raises(ValueError, match="Expected record_ids"):
            privacy.inside(y)
    for call in (privacy.inside, privacy.publish):
        with pytest.raises(ValueError, match="Expected each patient once"):
            call(["favourable"] * 2, ["a", "a"])
    assert wide.receipts() == []


# the matrices


@pytest.mark.parametrize("n_classes", [2, 3, 6])
def test_the_matrix_of_randomized_response(wide, n_classes):
    matrix = LabelPrivacy(1.3, range(n_classes), wide).transition.matrix
    keep = math.exp(1.3) / (math.exp(1.3) + n_classes - 1)
    assert np.diag(matrix) == pytest.approx(keep)
    assert matrix.sum(axis=1) == pytest.approx(1.0)


def test_laplace_noise_keeps_fewer_labels():
    """THEORY: 0.621 against 0.731 for two classes at ε = 1."""
    assert likeliest_matrix(1.0, np.full(2, 0.5))[0, 0] == pytest.approx(0.6209, abs=5e-5)


@pytest.mark.parametrize("prior", [[0.5, 0.5], [0.9, 0.1], [0.6, 0.3, 0.1], [0.4, 0.4, 0.2], [0.25] * 4])
@pytest.mark.parametrize("epsilon", [0.3, 1.0, 4.0])
def test_the_matrix_of_the_likeliest_label_is_exact(prior, epsilon):
    """By simulation; a difference of 0.006 is found with chance 0.999."""
    prior, n = np.array(prior), 200_000
    matrix = likeliest_matrix(epsilon, prior)
    assert matrix.sum(axis=1) == pytest.approx(1.0, abs=1e-12)
    with simulation(1):
        for given_label, row in enumerate(matrix):
            one_hot = np.tile(np.eye(len(prior))[given_label], (n, 1))
            drawn = np.bincount(
                likeliest(perturb(one_hot, 2 / epsilon, law="laplace"), epsilon, prior), minlength=len(prior)
            )
            assert (drawn[row == 0] == 0).all()
            possible = row > 0
            if possible.sum() > 1:
                assert chisquare(drawn[possible], n * row[possible]).pvalue > ALARM


@pytest.mark.parametrize("prior", [[0.5, 0.5], [0.6, 0.3, 0.1]])
def test_what_is_likeliest_by_the_posterior_of_the_density(prior):
    prior, epsilon = np.array(prior), 1.7
    noisy = np.random.default_rng(0).laplace(0, 2 / epsilon, (500, len(prior)))
    away = np.abs(noisy[:, None, :] - np.eye(len(prior))).sum(axis=2)
    expected = prior * np.exp(-away * epsilon / 2)
    expected /= expected.sum(axis=1, keepdims=True)
    found = posterior(noisy, epsilon, prior)
    assert found == pytest.approx(expected)
    best = np.take_along_axis(expected, likeliest(noisy, epsilon, prior)[:, None], axis=1)[:, 0]
    assert best == pytest.approx(expected.max(axis=1))


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_the_law_that_is_drawn_is_that_of_the_matrix(mechanism):
    n, classes, prior = 4_000, ["a", "b", "c"], [0.5, 0.3, 0.2]
    with simulation(11):
        ledger = PrivacyLedger(PrivacyBudget(8.0), "renyi")
        privacy = LabelPrivacy(1.5, classes, ledger, mechanism, class_prior=prior)
        for at, label in enumerate(classes):
            drawn = privacy.inside([label] * n, [f"{label}{patient}" for patient in range(n)])
            counts = [Counter(drawn.tolist())[name] for name in classes]
            assert chisquare(counts, n * privacy.transition.matrix[at]).pvalue > ALARM


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_probabilities_are_those_of_bayes(mechanism):
    """Averaged over what is drawn, the posterior is the prior (the tower rule)."""
    n, prior = 6000, np.array([0.7, 0.3])
    labels = np.array(CLASSES)[np.random.default_rng(0).choice(2, n, p=prior)]
    with simulation(2):
        ledger = PrivacyLedger(PrivacyBudget(8.0), "renyi")
        privacy = LabelPrivacy(2.0, CLASSES, ledger, mechanism, class_prior=dict(zip(CLASSES, prior, strict=True)))
        soft = privacy.inside(labels, [str(at) for at in range(n)], soft=True)
        hard = privacy.inside(labels, [str(at) for at in range(n)])
    assert list(soft.columns) == CLASSES
    assert soft.sum(axis=1).to_numpy() == pytest.approx(1.0)
    assert abs(soft.mean().to_numpy() - prior).max() < 5 * 0.5 / math.sqrt(n)
    sure = soft.max(axis=1).to_numpy()
    likely = soft.idxmax(axis=1).to_numpy()
    assert abs((likely == labels).mean() - sure.mean()) < 5 * 0.5 / math.sqrt(n)  # calibrated
    if mechanism == "laplace":
        assert (hard == likely).mean() > 0.99  # but for equal probabilities


def test_the_matrix_composes_with_a_readers_and_goes_into_the_estimator(simulated):
    from skdpal.cohort.experts import Panel

    confusion = pd.DataFrame([[0.9, 0.1], [0.2, 0.8]], CLASSES, CLASSES)
    panel = Panel({"local": confusion})
    privacy = LabelPrivacy(1.0, CLASSES, PrivacyLedger(PrivacyBudget(8.0), "renyi"))
    both = panel.transition() @ privacy.transition
    keep = math.e / (1 + math.e)
    assert both.matrix == pytest.approx(confusion.to_numpy() @ [[keep, 1 - keep], [1 - keep, keep]])
    rng = np.random.default_rng(0)
    y = pd.Series(np.array(CLASSES)[rng.choice(2, 60)], index=[f"p{at}" for at in range(60)])
    X = np.where(y.to_numpy()[:, None] == CLASSES[0], 0.5, -0.5) * np.ones((60, 3)) / 2
    noisy = privacy.inside(y)
    model = DPPrototypeClassifier(0.5, classes=CLASSES, transition=both).fit(X, noisy, record_ids=list(y.index))
    assert model.predict_proba(X).shape == (60, 2)


# what re-use tells


def test_the_numbers_of_the_review():
    """ε = 1 inside, μ = 0.5: 0.836 after one release, 0.998 after ten, 1.000 after fifty."""
    found = [label_epsilon(1.0, 2.0, n) for n in (1, 10, 50)]
    assert np.round(found, 3).tolist() == [0.836, 0.998, 1.0]


def by_integration(x, epsilon, distance, n_classes):
    """δ(x) of the two mixtures, by quadrature of the positive part, in one dimension (two classes) of the others' weight."""
    p = math.exp(epsilon) / (math.exp(epsilon) + n_classes - 1)
    q = (1 - p) / (n_classes - 1)

    def excess(z):
        own, other = norm.pdf(z), norm.pdf(z - distance)
        return max(p * own + q * other - math.exp(x) * (q * own + p * other), 0.0)

    return sum(quad(excess, low, low + 1, epsabs=1e-14, limit=200)[0] for low in np.arange(-12, 12 + distance))


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("noise", [0.7, 2.0])
@pytest.mark.parametrize("n", [1, 4])
def test_the_closed_form_is_the_integral(epsilon, noise, n):
    found = label_epsilon(epsilon, noise, n)
    distance = math.sqrt(2 * n) / noise
    if found == 0:
        assert by_integration(0.0, epsilon, distance, 2) <= 1e-5
    else:
        assert by_integration(found, epsilon, distance, 2) == pytest.approx(1e-5, rel=1e-3)


@given(
    epsilon=st.floats(0.01, 8),
    noise=st.floats(0.2, 20),
    n=st.integers(1, 100),
    n_classes=st.integers(2, 12),
    mechanism=st.sampled_from(MECHANISMS),
)
def test_it_is_below_both_bounds_and_grows(epsilon, noise, n, n_classes, mechanism):
    more = {"n_classes": n_classes, "mechanism": mechanism}
    found = label_epsilon(epsilon, noise, n, **more)
    assert 0 <= found <= epsilon
    assert found <= epsilon_of_mu(math.sqrt(2 * n) / noise, 1e-5) * (1 + 1e-6) + 1e-9
    assert found <= label_epsilon(epsilon, noise, n + 1, **more) * (1 + 1e-7) + 1e-9
    assert found <= label_epsilon(epsilon * 1.1, noise, n, **more) * (1 + 1e-7) + 1e-9


def test_more_classes_only_help():
    """Three labels, exact by quadrature in the plane of the three means: below the bound that leaves the third out."""
    epsilon, distance = 1.0, math.sqrt(2) / 1.0
    bound = label_epsilon(epsilon, 1.0, n_classes=3)
    p = math.e / (math.e + 2)
    q = (1 - p) / 2
    means = distance * np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(3) / 2]])
    axis = np.arange(-8, 8 + distance, 0.02)
    first, second = np.meshgrid(axis, axis)
    density = [np.exp(-((first - a) ** 2 + (second - b) ** 2) / 2) / (2 * math.pi) for a, b in means]
    one = p * density[0] + q * density[1] + q * density[2]
    two = q * density[0] + p * density[1] + q * density[2]
    delta = np.maximum(one - math.exp(bound) * two, 0).sum() * 0.02**2
    assert 0 < delta <= 1e-5 * 1.001


def test_without_releases_nothing_is_told():
    assert label_epsilon(1.0, 2.0, 0) == 0.0
    assert label_epsilon(700.0, 1e-3, 100) == pytest.approx(700.0, rel=0.02)
    assert label_epsilon(1e-3, 50.0) == 0.0  # below δ


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0), "Expected epsilon"),
        ((1.0, 0.0), "Expected noise_multiplier"),
        ((1.0, 1.0, -1), "Expected n_releases"),
    ],
)
def test_bad_numbers_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        label_epsilon(*arguments)


def test_a_model_without_noise_on_noisy_labels_is_refused_by_every_ledger(wide):
    with pytest.raises(BudgetExhausted):
        wide.charge(events.nonprivate(), "logistic regression on noisy labels")
