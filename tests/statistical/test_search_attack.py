"""Attacks on private searches in two worlds: with a patient, and with the patient zeroed out.

Everything but the noise's source is that of production: a seeded one is quicker. (Laws of noise:
tests/statistical/test_samplers.py; of the number of runs: tests/model_selection/test_repeats.py.) Verdicts on faultless
code are wrong with probability 1e-6 at most; so are the others, which `test_the_attacks_are_sharp` sums exactly.
"""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.base import BaseEstimator, ClassifierMixin

from skdpal.audit import attack, repeated
from skdpal.model_selection import PrivateSearchCV, repeats, runs
from skdpal.privacy import epsilon_of, events
from skdpal.privacy.mechanisms import GaussianSum, release
from skdpal.privacy.mechanisms import sums as mechanism_of_sums
from skdpal.privacy.randomness import perturb, simulation
from tests.statistical.sharpness import MISSED, missed

DELTA, SURE = 1e-5, 1 - 1e-6
SIGMA, MEAN, RUNS = 8.0, 20.0, 250  # of repeated searches
K, MU, ALL_RUNS, LEAST = 4, 1.0, 560, 0.05  # of searches that release everything
IDS = [
    "canary",
    "other",
    "other",
    "one",
    "two",
]  # the first two score; the other has a sample of "b", and one of neither


class Constant(ClassifierMixin, BaseEstimator):
    """Releases a noisy sum, and says the same of everybody."""

    def __init__(self, says="a", sigma=SIGMA, ledger=None):
        self.says = says
        self.sigma = sigma
        self.ledger = ledger

    def privacy_event(self, n_records=None):
        return GaussianSum(self.sigma).event

    def fit(self, X, y, record_ids=None):
        (self.sum_,) = release(lambda: X, GaussianSum(self.sigma), self.ledger, "fit", record_ids=record_ids)
        return self

    def predict(self, X):
        return np.full(len(X), self.says)


def search(method, says, there, *, sigma=SIGMA, fitted=False):
    """One search. The canary is right for "a"; without the canary, "b" is half a patient better. Or the canary is fitted."""
    found = PrivateSearchCV(
        Constant(sigma=sigma), {"says": says}, method=method, validation=["canary", "other"], mean_repeats=MEAN
    )
    rows = np.array([[0.0], [0.0], [0.0], [0.0], [float(there and fitted)]])
    return found.fit(rows, np.array(["a" if there or fitted else "none", "b", "none", "b", "b"]), record_ids=IDS)


def best_is_a(there):
    return float(search("repeat", ["a", "b"], there).best_params_["says"] == "a")


def best_score(there):
    return search("repeat", ["a", "b"], there).best_score_


def all_scores(there):
    """K scores of candidates that are right about the canary, in units in which the canary moves the mean by 1."""
    return 2 * search("release-all", ["a"] * K, there, sigma=2.0).cv_results_["mean_test_score"].mean()


def all_models(there):
    """K models fitted to the canary."""
    return np.mean(
        [model.sum_ for model in search("release-all", ["a"] * K, there, sigma=2.0, fitted=True).estimators_]
    )


PRICE = epsilon_of(
    [PrivateSearchCV(Constant(), {"says": ["a", "b"]}, method="repeat", mean_repeats=MEAN).privacy_event(3)], DELTA
)


@pytest.fixture(autouse=True)
def quick():
    with simulation(11):
        yield


def carry_out(world, number, threshold):
    return attack(repeated(world), number, threshold=threshold, confidence=SURE)


@pytest.mark.parametrize(("world", "threshold"), [(best_is_a, 0.5), (best_score, 1.2 * SIGMA / 2)])
def test_the_best_of_many_tells_no_more_than_its_price(world, threshold):
    found = carry_out(world, RUNS, threshold)
    assert not found.beats(epsilon=PRICE, delta=DELTA), str(found)


def test_an_exact_score_inside_is_found(monkeypatch):
    """The winner is then the canary's whenever both candidates were drawn."""

    def exact(metric, model, X, y, *, record_ids, **arguments):
        owners, samples = np.unique(record_ids, return_inverse=True, return_counts=True)[1:]
        return np.array([((model.predict(X) == y) / samples[owners]).sum()]), len(samples)

    monkeypatch.setattr(runs, "noisy_counts", exact)
    found = carry_out(best_is_a, RUNS, 0.5)
    assert found.beats(epsilon=PRICE, delta=DELTA), str(found)


def test_a_number_of_runs_that_depends_on_patients_is_found(monkeypatch):
    """One run for nobody, 61 for the canary: the best of 61 is larger."""

    def world(there):
        monkeypatch.setattr(repeats, "draw", lambda mean, law: 1 + 60 * there)
        return best_score(there)

    found = carry_out(world, RUNS, 1.2 * SIGMA / 2)
    assert found.beats(epsilon=PRICE, delta=DELTA), str(found)


@pytest.mark.parametrize("world", [all_models, all_scores])
def test_everything_together_tells_its_price_and_no_more(world):
    """At least a twentieth of μ = 1, or the attack would not work: with probability > 1 - 1e-6."""
    found = carry_out(world, ALL_RUNS, 0.5)
    assert not found.beats(mu=MU), str(found)
    assert found.beats(mu=LEAST * MU), str(found)


@pytest.mark.parametrize("world", [all_models, all_scores])
def test_half_the_noise_is_found(world, monkeypatch):
    """μ = 2 at the price of 1."""
    monkeypatch.setattr(mechanism_of_sums, "perturb", lambda values, scale: perturb(values, scale / 2))
    found = carry_out(world, ALL_RUNS, 0.5)
    assert found.beats(mu=MU), str(found)


def test_scores_that_are_drawn_again_and_averaged_are_found(monkeypatch):
    """Four draws for the price of one: μ = 2 at the price of 1."""
    once = runs.noisy_counts

    def four_times(metric, *arguments, **more):
        many = [once(metric, *arguments, **more) for _ in range(4)]
        return np.mean([sums for sums, _ in many], axis=0), many[0][1]

    monkeypatch.setattr(runs, "noisy_counts", four_times)
    found = carry_out(all_scores, ALL_RUNS, 0.5)
    assert found.beats(mu=MU), str(found)


def test_the_attacks_are_sharp():
    assert missed((norm.sf(1.0), norm.sf(1.0)), ALL_RUNS, mu=MU) < MISSED  # μ = 2
    assert missed((norm.sf(MU / 2), norm.sf(MU / 2)), ALL_RUNS, mu=LEAST * MU) < MISSED
    gamma = 1 / MEAN
    never = gamma / 2 / (1 - (1 - gamma) / 2)  # only one of the two candidates was drawn
    for wrong in ((never, never), (norm.sf(1.2), norm.cdf(1.2) ** 61)):
        assert missed(wrong, RUNS, epsilon=PRICE, delta=DELTA) < MISSED


# the number of runs, seen from outside

SEEN_MU, SEEN_MEAN, SEEN_DELTA, SEEN_RUNS, SEEN_AT = 0.5, 30.0, 1e-3, 150_000, -3.75
SEEN_PRICE = epsilon_of([events.repeat_and_select(events.gaussian(1 / SEEN_MU), SEEN_MEAN)], SEEN_DELTA)


def of_best_and_number(best, number):
    """Log-likelihood ratio of the best of so many scores of N(μ, 1), and of N(0, 1)."""
    moved, still = best - SEEN_MU, best
    return (still**2 - moved**2) / 2 + (number - 1) * (norm.logcdf(moved) - norm.logcdf(still))


class Score:
    """All of a run that `best_of` looks at."""

    __slots__ = ("score",)

    def __init__(self, score):
        self.score = score


def best_and_number(there, number):
    """The real selection of so many searches, and how often each ran."""
    times = np.array([repeats.draw(SEEN_MEAN, "geometric") for _ in range(number)])
    noise = iter(perturb(np.full(int(times.sum()), SEEN_MU * there), 1.0).tolist())
    return np.array([runs.best_of(lambda: Score(next(noise)), count).score for count in times]), times


@pytest.mark.slow
def test_a_number_of_runs_that_is_seen_tells_more_than_the_price():
    """Whoever sees the best score and the number of runs learns more than whoever sees the best alone."""
    seen = attack(
        lambda there, number: of_best_and_number(*best_and_number(there, number)),
        SEEN_RUNS,
        threshold=SEEN_AT,
        confidence=SURE,
    )
    assert seen.beats(epsilon=SEEN_PRICE, delta=SEEN_DELTA), str(seen)


@pytest.mark.slow
def test_the_best_score_alone_tells_no_more_than_the_price():
    for threshold in (0.0, 2.0, 4.5):
        alone = attack(
            lambda there, number: best_and_number(there, number)[0], 50_000, threshold=threshold, confidence=SURE
        )
        assert not alone.beats(epsilon=SEEN_PRICE, delta=SEEN_DELTA), str(alone)


def test_seeing_the_number_is_found():
    gamma, number = 1 / SEEN_MEAN, np.arange(1, 1200)[:, None]
    best, step = np.linspace(-8, 9, 3001, retstep=True)
    chance = gamma * (1 - gamma) ** (number - 1) * number * step
    ratio = of_best_and_number(best, number)
    without = (chance * np.exp(norm.logpdf(best) + (number - 1) * norm.logcdf(best)))[ratio > SEEN_AT].sum()
    moved = best - SEEN_MU
    with_ = (chance * np.exp(norm.logpdf(moved) + (number - 1) * norm.logcdf(moved)))[ratio <= SEEN_AT].sum()
    rates = [min(rate, 1.0) for rate in (without, with_)]
    assert missed(rates, SEEN_RUNS, epsilon=SEEN_PRICE, delta=SEEN_DELTA) < MISSED
