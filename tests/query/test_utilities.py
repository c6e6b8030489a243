"""A utility scores one patient and knows nobody else."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from modAL.models import ActiveLearner, Committee
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from skdpal import DPNeuralClassifier, DPPrototypeClassifier
from skdpal.estimators import Posterior, Release
from skdpal.privacy.randomness import simulation
from skdpal.query.utilities import (
    REFUSED,
    UTILITIES,
    Aleatoric,
    Bald,
    Coherence,
    Disagreement,
    InformationGain,
    Margin,
    PerPatient,
    Random,
    Rarity,
    Typicality,
    Utility,
    score,
    utility_of,
)

rng = np.random.default_rng(0)
PUBLIC = rng.normal(size=(9, 5)) / 2
POOL = rng.normal(size=(24, 5)) / 2


@pytest.fixture(scope="module")
def prototype():
    """Two noisy rounds of three classes."""
    with simulation(seed=1):
        labels = np.array(["a", "b", "c"])
        model = DPPrototypeClassifier(1.0, classes=labels)
        rows = np.random.default_rng(1).normal(size=(40, 5)) / 3 + np.repeat(np.eye(3, 5), [24, 12, 4], axis=0)
        truth = np.repeat(labels, [24, 12, 4])
        return model.fit(rows[::2], truth[::2]).partial_fit(rows[1::2], truth[1::2])


@pytest.fixture(scope="module")
def past(prototype):
    return clone(prototype).restore(prototype.releases_[:1])


@pytest.fixture(scope="module")
def network():
    from torch import nn

    torch_module = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.4), nn.Linear(16, 3))
    with simulation(seed=2):
        labels = np.array(["a", "b", "c"])[np.abs(POOL[:, :3]).argmax(axis=1)]
        model = DPNeuralClassifier(torch_module, noise_multiplier=0.01, classes=["a", "b", "c"], max_epochs=3)
        return model.fit(POOL, labels)


def cases(prototype, past, network):
    """Every utility, with a model for it."""
    learner = SimpleNamespace(estimator=prototype, predict_proba=prototype.predict_proba)
    return [
        *((UTILITIES[name], prototype) for name in ("margin", "entropy", "least_confidence", "random", "rarity")),
        (InformationGain(), learner),
        (InformationGain(0.5, expected_records=4.0, scale="absolute"), prototype),
        (Bald(5), network),
        (Aleatoric(5, seed=3), SimpleNamespace(estimator=network)),
        (Disagreement([past]), prototype),
        (Disagreement([past], measure="consensus"), learner),
        (Rarity({"c": 0.1, "a": 0.6, "b": 0.3}), prototype),
        (Typicality(PUBLIC), None),
        (Coherence(), learner),
        (Coherence(np.eye(3, 5)), prototype),
        (PerPatient(lambda model, X: np.tanh(np.abs(np.asarray(X)).sum()), "length"), None),
    ]


@pytest.fixture(params=range(16))
def case(request, prototype, past, network):
    return cases(prototype, past, network)[request.param]


def test_every_utility_is_among_the_cases(prototype, past, network):
    found = {utility.name for utility, _ in cases(prototype, past, network)}
    assert found >= set(UTILITIES) | {"typicality"}
    assert len(cases(prototype, past, network)) == 16


# -- nobody else matters ---------------------------------------------------------------------------


def depends_on_others(utility, model, X=POOL, trials=12):
    """Whether changing, dropping, doubling, voiding or permuting others ever moves a score by more than 1e-12."""
    draw, base = np.random.default_rng(5), score(utility, model, X)
    for _ in range(trials):
        keep = draw.integers(0, len(X), draw.integers(1, len(X) + 1))
        rows, changed = X[keep].copy(), draw.random(len(keep)) < 0.5
        changed[0] = False
        rows[changed] = draw.normal(size=(changed.sum(), X.shape[1])) * draw.choice([0.1, 1.0, 30.0])
        rows[changed & (draw.random(len(keep)) < 0.3)] = np.nan
        if np.abs(score(utility, model, rows) - base[keep])[~changed].max() > 1e-12:
            return True
    return False


def test_nobody_else_matters(case):
    assert not depends_on_others(*case)


class OfPool(Utility):
    """A planted fault: margins, transformed by what the pool looks like."""

    name = "of_pool"

    def __init__(self, transform):
        self.transform = transform

    def of_rows(self, model, X):
        return self.transform(Margin().of_rows(model, X))


@pytest.mark.parametrize(
    "transform",
    [
        lambda scores: 0.5 + (scores - scores.mean()) / 10,
        lambda scores: scores / max(scores.max(), 1e-9),
        lambda scores: np.argsort(np.argsort(scores)) / len(scores),
        lambda scores: scores + 1e-9 * len(scores),
        lambda scores: scores + 1e-9 * np.arange(len(scores)),
        np.maximum.accumulate,
    ],
    ids=["z-score", "maximum", "rank", "number", "place", "greedy"],
)
def test_a_planted_dependence_is_seen(transform, prototype):
    assert depends_on_others(OfPool(transform), prototype)


def test_a_planted_stream_of_masks_is_seen(prototype):
    """Masks drawn row after row, skipping null rows: REVIEW 9's fault."""

    class Stream:
        def predict_proba_samples(self, X, n_samples, seed=0):
            self.generator = getattr(self, "generator", np.random.default_rng(seed))
            return np.stack([prototype.predict_proba(X * self.generator.integers(0, 2, X.shape))] * n_samples)

    assert depends_on_others(Aleatoric(3), Stream())


def test_a_function_sees_one_patient_at_a_time():
    seen = []
    utility = PerPatient(lambda model, X: seen.append(X) or 0.3, "spy")
    frame = pd.DataFrame(POOL, columns=list("vwxyz"), index=[f"p{number}" for number in range(24)])
    assert (score(utility, None, frame) == 0.3).all()
    assert [list(row.index) for row in seen] == [[name] for name in frame.index]
    assert all(list(row.columns) == list("vwxyz") for row in seen)


# -- from 0 to 1, for whatever comes --------------------------------------------------------------------


def test_scores_of_anything_are_in_range(case):
    rows = np.concatenate([POOL, 1e3 * POOL, np.zeros((1, 5)), 1e-200 * POOL[:1], 1e150 * POOL[:1], 1e300 * POOL[:1]])
    found = score(*case, rows)  # a warning would fail here
    assert found.shape == (len(rows),)
    assert ((found >= 0) & (found <= 1)).all()


def test_scores_tell_patients_apart(case):
    assert (np.ptp(score(*case, POOL)) > 1e-3) == (case[0].name != "random")


def test_zero_rows(case):
    assert score(*case, np.zeros((0, 5))).shape == case[0].scores(case[1], np.zeros((0, 5))).shape == (0,)


@pytest.mark.filterwarnings("ignore:X has feature names")
def test_tables_and_lists_score_as_arrays_do(case):
    frame = pd.DataFrame(POOL, columns=list("vwxyz"))
    expected = score(*case, POOL)
    assert np.allclose(score(*case, frame), expected)
    assert np.allclose(score(*case, POOL.tolist()), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_nobody(case, bad):
    rows = POOL.copy()
    rows[3, 1], rows[7] = bad, bad
    found = score(*case, rows)
    assert found[3] == found[7] == 0.5
    others = np.delete(np.arange(24), [3, 7])
    assert np.allclose(found[others], score(*case, POOL[others]), atol=1e-12)
    assert (score(*case, rows[[3, 7]]) == 0.5).all()


def test_the_model_never_sees_nobody():
    class Strict:
        def predict_proba(self, X):
            assert not pd.DataFrame(X).isna().any(axis=None)
            return np.full((len(X), 2), 0.5)

    words = pd.DataFrame({"site": ["liver", None, "lung"], "age": [30, 40, 50]})
    assert list(score("least_confidence", Strict(), words)) == [1.0, 0.5, 1.0]
    assert list(score("margin", Strict(), [[1.0], [np.nan]])) == [1.0, 0.5]


@pytest.mark.parametrize("name", ["margin", "entropy", "least_confidence", "rarity", "coherence", "information_gain"])
def test_answers_that_are_no_numbers_become_a_half(name, prototype):
    def lost(X):
        return np.where(np.arange(len(X))[:, None] == 1, np.nan, prototype.predict_proba(X))

    model = SimpleNamespace(predict_proba=lost, estimator=prototype)
    found = score(name, model, POOL)
    assert found[1] == 0.5
    assert np.array_equal(np.delete(found, 1), np.delete(score(name, prototype, POOL), 1))


@pytest.mark.parametrize("measure", ["votes", "consensus"])
def test_a_member_without_an_answer_makes_a_half(measure, prototype):
    lost = SimpleNamespace(predict_proba=lambda X: np.full((len(X), 3), np.nan))
    assert (score(Disagreement([lost], measure=measure), prototype, POOL) == 0.5).all()


@given(
    raw=hnp.arrays(np.float64, st.integers(0, 9), elements=st.floats(allow_nan=True, allow_infinity=True)),
)
def test_whatever_a_utility_says_is_clipped_last(raw):
    fixed = OfPool(lambda _: raw)
    model = SimpleNamespace(predict_proba=lambda X: np.full((len(X), 2), 0.5))
    found = score(fixed, model, np.zeros((len(raw), 2)))
    assert ((found >= 0) & (found <= 1)).all()
    assert (found[np.isnan(raw)] == 0.5).all()


def test_a_score_for_each_row_is_insisted_on(prototype):
    with pytest.raises(ValueError, match=r"'of_pool' to give one number for each row, shape \(24,\). Found \(23,\)"):
        score(OfPool(lambda scores: scores[1:]), prototype, POOL)
    with pytest.raises(ValueError, match="one number for one row"):
        score(PerPatient(lambda model, X: X[0], "vector"), None, POOL)
    with pytest.raises(ValueError, match=r"shape \(n_rows, n_features\)"):
        score("margin", prototype, POOL[0])


# -- probabilities ---------------------------------------------------------------------------------


@given(weights=hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.floats(1e-6, 1e3)))
@settings(max_examples=50)
def test_probability_scores_by_their_definition(weights):
    rows = weights / weights.sum(axis=1, keepdims=True)
    n_classes = rows.shape[1]
    model = SimpleNamespace(predict_proba=lambda X: X)
    ordered = np.sort(np.column_stack([rows, np.zeros(len(rows))]), axis=1)
    assert np.allclose(score("margin", model, rows), 1 - ordered[:, -1] + ordered[:, -2])
    if n_classes > 1:
        entropies = -(rows * np.log(rows)).sum(axis=1) / np.log(n_classes)
        assert np.allclose(score("entropy", model, rows), entropies)
        least = (1 - rows.max(axis=1)) / (1 - 1 / n_classes)
        assert np.allclose(score("least_confidence", model, rows), least)


def test_random_looks_at_nothing(untouchable):
    class Sized:
        def __len__(self):
            return 3

        __getitem__ = __iter__ = __array__ = untouchable._touched

    assert (Random().scores(untouchable, Sized()) == 0.5).all()


# -- information gain --------------------------------------------------------------------------------


def small_posterior(settings=2, features=3, classes=2):
    draw = np.random.default_rng(8)
    roots = draw.normal(size=(settings, features, classes, classes))
    parts = 0.15 * roots @ np.swapaxes(roots, 2, 3)
    return Posterior(
        weights=np.array([0.7, 0.3]),
        means=draw.normal(size=(settings, classes, features)) / 2,
        covariances={"transfer": 0.6 * parts, "sampling": 0.3 * parts, "dp_noise": 0.1 * parts},
        within=np.array([0.05, 0.2, 0.4]),
        axes=np.linalg.qr(draw.normal(size=(features, features)))[0],
        fractions=np.array([0.5, 0.5]),
    )


def holding(posterior, noise_multiplier=0.4):
    return SimpleNamespace(
        posterior_=posterior, predict_proba=posterior.predict_proba, noise_multiplier=noise_multiplier
    )


DRAWS = 600_000


def simulated_gain(posterior, X, sigma, others, n=DRAWS):
    """Mutual information with ⟨mean, x⟩ that one more patient brings, by drawing means, patients and noise."""
    draw = np.random.default_rng(9)
    chances, total = posterior.predict_proba(X), np.zeros(len(X))
    variances = np.einsum("sdkk->skd", sum(posterior.covariances.values()))
    for weight, centres, spreads in zip(posterior.weights, posterior.means, variances, strict=True):
        for k in range(len(centres)):
            left = []
            for patients in (others, others + 1):
                means = centres[k] + np.sqrt(spreads[k]) * draw.normal(size=(n, 3))
                seen = sigma * draw.normal(size=means.shape)
                for _ in range(patients):
                    seen += (means + np.sqrt(posterior.within) * draw.normal(size=means.shape)) / np.sqrt(2)
                along = means @ (X @ posterior.axes).T
                known = np.column_stack([np.ones(n), seen])
                left.append((along - known @ np.linalg.lstsq(known, along, rcond=None)[0]).var(axis=0))
            total += weight * chances[:, k] * 0.5 * np.log(left[0] / left[1])
    return total


@pytest.mark.parametrize("others", [0, 2])
def test_information_gain_is_what_simulation_finds(others):
    """Error of a half log ratio of two variances of n draws is at most 1/√n; 5.5 of them: 1e-6 for all 10."""
    posterior, X = small_posterior(), np.random.default_rng(10).normal(size=(5, 3)) / 2
    records = 1.0 + 2 * others  # half of the others are of each class
    found = simulated_gain(posterior, X, 0.4, others)
    tolerance = 5.5 / np.sqrt(DRAWS)
    model = holding(posterior)
    assert np.abs(InformationGain(expected_records=records).gain(model, X) - found).max() < tolerance
    faults = [InformationGain(0.4 / np.sqrt(2), expected_records=records)]  # σ² in place of 2σ²
    faults.append(InformationGain(expected_records=records + 2))  # a wrong number of others
    for fault in faults:
        assert np.abs(fault.gain(model, X) - found).max() > 2 * tolerance


def test_information_vanishes_in_noise(prototype):
    sigmas = np.array([0.1, 1.0, 10.0, 100.0, 1000.0])
    gains = np.array([InformationGain(sigma).gain(prototype, POOL) for sigma in sigmas])
    assert (np.diff(gains, axis=0) < 0).all()
    assert np.allclose(gains[-1] / gains[-2], 0.01, rtol=1e-3)  # as 1/σ²
    assert score(InformationGain(1000.0, scale="absolute"), prototype, POOL).max() < 1e-6
    assert np.allclose(InformationGain().gain(prototype, POOL), gains[1])  # the model's own σ


def test_sure_means_have_little_to_learn():
    posterior, X = small_posterior(), np.random.default_rng(10).normal(size=(5, 3))
    sure = {name: part * np.array([1.0, 1.0, 0.01])[:, None, None] for name, part in posterior.covariances.items()}
    known = Posterior(posterior.weights, posterior.means, sure, posterior.within, posterior.axes, posterior.fractions)
    along = posterior.axes.T  # one row along each axis
    before, after = (
        InformationGain(0.4).gain(SimpleNamespace(posterior_=at, predict_proba=posterior.predict_proba), along)
        for at in (posterior, known)
    )
    assert np.allclose(before[:2], after[:2])
    assert after[2] < 0.1 * before[2]
    nothing = {name: 0 * part for name, part in posterior.covariances.items()}
    certain = Posterior(
        posterior.weights, posterior.means, nothing, posterior.within, posterior.axes, posterior.fractions
    )
    assert (score(InformationGain(), holding(certain), X) == 0).all()


def test_more_releases_leave_less_to_learn(prototype, past):
    assert (InformationGain().gain(prototype, POOL) < InformationGain().gain(past, POOL)).mean() > 0.7


def test_the_bound_of_the_gain_is_reached_and_never_passed():
    posterior = small_posterior()
    for k in (0, 1):

        def certain(X, k=k):
            return np.eye(2)[np.full(len(X), k)]

        model = SimpleNamespace(posterior_=posterior, predict_proba=certain, noise_multiplier=0.4)
        rows = np.concatenate([posterior.axes.T, np.random.default_rng(3).normal(size=(500, 3))])
        unclipped = InformationGain().of_rows(model, rows)
        assert unclipped.max() <= 1 + 1e-12
        if k == 0:
            first = unclipped.max()
    assert max(first, unclipped.max()) == pytest.approx(1.0, abs=0.05)  # settings may peak along different axes


def test_the_length_of_a_row_tells_nothing_about_its_information(prototype):
    fixed = SimpleNamespace(posterior_=prototype.posterior_, predict_proba=lambda X: np.full((len(X), 3), 1 / 3))
    gain = InformationGain(1.0)
    assert np.allclose(gain.gain(fixed, 0.1 * POOL), gain.gain(fixed, POOL))


def test_information_gain_needs_a_posterior(network, prototype):
    with pytest.raises(TypeError, match=r"Found DPNeuralClassifier\. Use Bald"):
        score("information_gain", network, POOL)
    public = SimpleNamespace(posterior_=prototype.posterior_, predict_proba=prototype.predict_proba)
    with pytest.raises(ValueError, match="Expected noise_multiplier"):
        score("information_gain", public, POOL)
    with pytest.raises(ValueError, match="expected_records"):
        InformationGain(expected_records=0.5)
    with pytest.raises(ValueError, match="noise_multiplier"):
        InformationGain(0.0)
    with pytest.raises(ValueError, match="scale"):
        InformationGain(scale="big")


# -- dropout -----------------------------------------------------------------------------------------


def test_doubts_add_up_to_the_entropy_of_the_mean(network):
    mean = network.predict_proba_samples(POOL, 7).mean(axis=0)
    total = score("entropy", SimpleNamespace(predict_proba=lambda X: mean), POOL)
    both = score(Bald(7), network, POOL) + score(Aleatoric(7), network, POOL)
    assert np.allclose(both, total, atol=1e-5)


def test_doubts_of_known_answers():
    class Torn:
        def predict_proba_samples(self, X, n_samples, seed=0):
            return np.tile(np.eye(2)[np.arange(n_samples) % 2][:, None], (1, len(X), 1))

    class Even:
        def predict_proba_samples(self, X, n_samples, seed=0):
            return np.full((n_samples, len(X), 4), 0.25)

    assert (score(Bald(4), Torn(), POOL) == 1).all()
    assert (score(Aleatoric(4), Torn(), POOL) == 0).all()
    assert (score(Bald(4), Even(), POOL) == 0).all()
    assert (score(Aleatoric(4), Even(), POOL) == 1).all()


def test_masks_are_public_and_repeatable(network):
    assert np.array_equal(score(Bald(5), network, POOL), score(Bald(5), network, POOL))
    assert not np.allclose(score(Bald(5), network, POOL), score(Bald(5, seed=1), network, POOL))


def test_dropout_needs_a_network(prototype):
    with pytest.raises(TypeError, match=r"predict_proba_samples.*Found DPPrototypeClassifier\. Use InformationGain"):
        score("bald", prototype, POOL)


# -- committees ----------------------------------------------------------------------------------------


def member(rows):
    return SimpleNamespace(predict_proba=lambda X: np.asarray(rows, dtype=float)[: len(X)])


def test_disagreement_of_known_answers():
    sure = [member([[1, 0, 0], [1, 0, 0]]), member([[1, 0, 0], [0, 1, 0]])]
    for measure in ("votes", "consensus"):
        assert np.allclose(score(Disagreement(sure[:1], measure=measure), sure[1], np.zeros((2, 1))), [0, 1])
    lukewarm = [member([[0.6, 0.4]]), member([[0.4, 0.6]])]
    votes, consensus = (
        score(Disagreement(lukewarm[:1], measure=measure), lukewarm[1], [[0.0]])[0]
        for measure in ("votes", "consensus")
    )
    assert votes == 1
    assert consensus < 0.05
    five = [member([np.eye(3)[number % 3]]) for number in range(6)]
    assert score(Disagreement(five[:5]), five[5], [[0.0]])[0] == pytest.approx(1)  # ln 3, not ln 6


def test_a_committee_of_modal_brings_its_own_members(prototype, past):
    committee = Committee(learner_list=[ActiveLearner(prototype), ActiveLearner(past)])
    found = score(Disagreement(measure="consensus"), committee, POOL)
    assert np.allclose(found, score(Disagreement([past], measure="consensus"), prototype, POOL))
    again = score(Disagreement([past], measure="consensus"), committee, POOL)  # nobody votes twice
    assert np.allclose(found, again)
    assert score("margin", committee, POOL).shape == (24,)


def test_a_committee_of_one_is_refused(prototype):
    for utility in (Disagreement(), Disagreement([prototype])):
        with pytest.raises(ValueError, match=r"two or more different models\. Found 1"):
            score(utility, ActiveLearner(prototype), POOL)


def test_members_know_the_same_classes(prototype):
    other = DPPrototypeClassifier(classes=["a", "b", "z"]).restore([Release(np.zeros((3, 5)), np.zeros(3), 1.0, 9.0)])
    with pytest.raises(ValueError, match="same classes"):
        score(Disagreement([other]), prototype, POOL)


# -- rarity, typicality, coherence ------------------------------------------------------------------------


def test_rarity_reads_released_fractions(prototype):
    fractions = prototype.posterior_.fractions
    expected = (fractions.max() - prototype.predict_proba(POOL) @ fractions) / np.ptp(fractions)
    assert np.allclose(score("rarity", prototype, POOL), expected)
    by_name = dict(zip("cab", fractions[[2, 0, 1]], strict=True))
    for public in (fractions, by_name):
        assert np.allclose(score(Rarity(public), prototype, POOL), expected)
    assert (score(Rarity([1, 1, 1]), prototype, POOL) == 0.5).all()


def test_rarity_reads_a_public_prior():
    prior = SimpleNamespace(fractions=np.array([0.9, 0.1]))
    model = SimpleNamespace(prior=prior, predict_proba=lambda X: np.eye(2))
    assert list(score("rarity", model, np.zeros((2, 1)))) == [0, 1]


def test_rarity_is_not_guessed(prototype):
    public = LogisticRegression().fit(POOL, np.arange(24) % 3)
    with pytest.raises(TypeError, match=r"class fractions.*Found LogisticRegression\. Pass public ones"):
        score("rarity", public, POOL)
    with pytest.raises(ValueError, match=r"one number for each of 3 classes\. Found 2"):
        score(Rarity([0.5, 0.5]), prototype, POOL)
    with pytest.raises(ValueError, match="name the model's classes"):
        score(Rarity({"a": 0.5, "b": 0.5}), prototype, POOL)
    for wrong in ([], [-1, 2], [0, 0], [[0.5, 0.5]]):
        with pytest.raises(ValueError, match="Expected fractions"):
            Rarity(wrong)


def test_typicality_is_the_nearest_cosine():
    cosines = (POOL / np.linalg.norm(POOL, axis=1)[:, None]) @ (PUBLIC / np.linalg.norm(PUBLIC, axis=1)[:, None]).T
    assert np.allclose(score(Typicality(PUBLIC), None, POOL), (1 + cosines.max(axis=1)) / 2)
    assert score(Typicality(PUBLIC), None, np.zeros((1, 5)))[0] == 0.5


def test_typicality_wants_rows_like_the_pool():
    for wrong in (PUBLIC[0], np.zeros((2, 5)), np.zeros((0, 5))):
        with pytest.raises(ValueError, match="Expected prototypes"):
            Typicality(wrong)
    with pytest.raises(ValueError, match=r"the 5 columns of prototypes\. Found 4"):
        score(Typicality(PUBLIC), None, POOL[:, :4])
    named = Typicality(pd.DataFrame(PUBLIC, columns=list("vwxyz")))
    with pytest.raises(ValueError, match="columns of prototypes, in their order"):
        score(named, None, pd.DataFrame(POOL, columns=list("zyxwv")))


def test_boundary_patients_cancel_and_typical_ones_add_up():
    means = np.array([[0.7, 0.0], [-0.3, 0.0]])  # not centred on the origin

    def chances(X):
        odds = np.exp(-20 * (np.asarray(X)[:, :1] - 0.2))
        return np.column_stack([1 / (1 + odds), odds / (1 + odds)])

    model = SimpleNamespace(predict_proba=chances)
    boundary, typical, opposite, far = score(
        Coherence(means), model, np.array([[0.2, 0.5], [0.7, 0.1], [-0.3, 0.1], [1.0, 0.0]])
    )
    assert boundary == pytest.approx(0.5)
    assert typical == pytest.approx(opposite, abs=1e-3)
    assert boundary < typical < far
    margins = score("margin", model, np.array([[0.2, 0.5], [0.7, 0.1]]))
    assert margins[0] > margins[1]  # the opposite choice


def test_coherence_reads_released_means(prototype, network):
    expected = score(Coherence(prototype.posterior_.class_means), prototype, POOL)
    assert np.allclose(score("coherence", prototype, POOL), expected)
    with pytest.raises(TypeError, match=r"released class means.*Found DPNeuralClassifier"):
        score("coherence", network, POOL)
    with pytest.raises(ValueError, match="one row for each of 3 classes"):
        score(Coherence(np.eye(2, 5)), prototype, POOL)
    with pytest.raises(ValueError, match="Expected means"):
        Coherence([1.0, 2.0])


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*REFUSED, "K-Center", "ranked batch"])
def test_scores_that_compare_patients_are_refused(name):
    with pytest.raises(ValueError, match=r"each patient alone.*one patient would move everybody's score.*Use "):
        utility_of(name)


def test_names_and_objects():
    assert utility_of("margin") is UTILITIES["margin"]
    mine = Typicality(PUBLIC)
    assert utility_of(mine) is mine
    assert all(utility.name == name for name, utility in UTILITIES.items())
    with pytest.raises(ValueError, match=r"one of 'margin', .*Found 'margins'"):
        utility_of("margins")
    with pytest.raises(ValueError, match=r"Pass Typicality\(prototypes\)"):
        utility_of("typicality")
    with pytest.raises(TypeError, match="PerPatient"):
        utility_of(lambda model, X: np.zeros(len(X)))
    with pytest.raises(TypeError, match="Found int"):
        utility_of(3)
    with pytest.raises(TypeError, match="predict_proba"):
        score("margin", object(), POOL)
    with pytest.raises(TypeError, match="callable"):
        PerPatient("margin", "mine")
    with pytest.raises(ValueError, match="name"):
        PerPatient(len, " ")


def test_a_representation_tells_questions_apart(prototype, past):
    different = [
        *UTILITIES.values(),
        InformationGain(2.0),
        Bald(5),
        Bald(5, seed=1),
        Disagreement([past]),
        Disagreement([prototype]),
        Disagreement([past], measure="consensus"),
        Rarity([0.5, 0.5]),
        Rarity({"a": 0.5, "b": 0.5}),
        Typicality(PUBLIC),
        Typicality(PUBLIC[:3]),
        Coherence(PUBLIC),
        PerPatient(len, "mine"),
    ]
    names = [repr(utility) for utility in different]
    assert len(set(names)) == len(names)
    assert names == [repr(utility) for utility in different]
