"""What sums over wrong labels say about class means: against brute force, and against simulated truth."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest, multivariate_normal, norm

from skdpal.estimators import noisy_labels, posterior
from skdpal.estimators.evidence import Release, class_fractions
from skdpal.estimators.noisy_labels import Misread
from skdpal.estimators.posterior import infer

ROOT2 = np.sqrt(2.0)
K, L, D = 3, 4, 3
WITHIN = 0.05
RATES = np.array([[0.7, 0.1, 0.1, 0.1], [0.05, 0.85, 0.0, 0.1], [0.3, 0.1, 0.5, 0.1]])
BELIEVED = np.array([0.5, 0.3, 0.2])


def a_release(rng, expected=20.0, noise=2.0):
    sums = expected / L * rng.normal(0, 0.3, (L, D)) + rng.normal(0, noise, (L, D))
    counts = expected * (BELIEVED @ RATES) / ROOT2 + rng.normal(0, noise, L)
    return Release(sums, counts, noise, expected)


# -- against brute force ---------------------------------------------------------------------


def spread_and_doubt(labels, second):
    """Both covariances of the means by label, entry by entry from their definitions; `second` are moments in one direction."""
    spread, unknown = np.zeros(L), np.zeros((L, L))
    slopes = np.zeros((L, K, K))  # how P_l moves with the fraction of class k
    for label, k in product(range(L), range(K)):
        moved = labels.fractions.copy()
        step = 1e-6
        moved[k] += step
        given = moved * labels.rates[:, label]
        slopes[label, k] = (given / given.sum() - labels.classes[label]) / step
    for label in range(L):
        chances = labels.classes[label]
        spread[label] = chances @ np.diag(second) - chances @ second @ chances
        for other, k, m in product(range(L), range(K), range(K)):
            unknown[label, other] += labels.doubt[k, m] * (slopes[label, k] @ second @ slopes[other, m])
    return spread, unknown


@pytest.mark.parametrize("n_cohorts", [1, 3])
def test_a_fixed_weight_agrees_with_brute_force(n_cohorts):
    """Conditioning one big Gaussian of all labels of all cohorts, in each direction, twice as the model says."""
    rng = np.random.default_rng(n_cohorts)
    releases = [a_release(rng, 10.0 + 15 * cohort, 1.0 + cohort) for cohort in range(n_cohorts)]
    prior, weight = rng.normal(0, 0.3, (K, D)), 2.0
    found = infer(releases, prior, WITHIN, weight, class_prior=BELIEVED, transition=RATES)
    labels = Misread.of(releases, BELIEVED, None, RATES)
    np.testing.assert_array_equal(found.fractions, labels.fractions)
    for direction in range(D):
        mean, covariance = prior[:, direction], np.eye(K) * WITHIN / weight
        belief = covariance
        for _ in range(2):
            spread, unknown = spread_and_doubt(labels, np.outer(mean, mean) + covariance)
            numbers = [labels.expected(one) for one in releases]
            design = np.vstack([number[:, None] * labels.classes for number in numbers])
            sizes = np.concatenate(numbers)
            noise = np.concatenate([np.full(L, 2 * one.noise_multiplier**2) for one in releases])
            # cohorts are first averaged with the weights that they would have if nothing were unknown about the fractions
            variance = sizes * (WITHIN + np.tile(spread, n_cohorts)) + noise
            collect = np.tile(np.eye(L), n_cohorts) * (sizes / variance)
            scale = np.linalg.inv(
                np.tile(np.eye(L), n_cohorts) @ np.diag(sizes**2 / variance) @ np.tile(np.eye(L), n_cohorts).T
            )
            seen = ROOT2 * np.concatenate([one.sums[:, direction] for one in releases])
            estimate, design = scale @ collect @ seen, scale @ collect @ design
            marginal = design @ belief @ design.T + scale + unknown
            gain = belief @ design.T @ np.linalg.inv(marginal)
            mean = prior[:, direction] + gain @ (estimate - design @ prior[:, direction])
            covariance = belief - gain @ design @ belief
        np.testing.assert_allclose(found.means[0, :, direction], mean, rtol=1e-5, atol=1e-8)
        total = sum(part[0, direction] for part in found.covariances.values())
        np.testing.assert_allclose(total, covariance, rtol=1e-5, atol=1e-9)


def test_parts_are_covariances_and_settings_are_weighted_by_evidence():
    rng = np.random.default_rng(5)
    releases = [a_release(rng), a_release(rng, 40.0, 1.0)]
    found = infer(releases, rng.normal(0, 0.3, (K, D)), WITHIN, class_prior=BELIEVED, transition=RATES)
    assert found.weights.sum() == pytest.approx(1)
    for part in found.covariances.values():
        assert np.linalg.eigvalsh(part).min() > -1e-12
    assert found.means.shape == (25, K, D)


def test_labels_that_are_right_leave_everything_as_it_was():
    rng = np.random.default_rng(6)
    releases = [
        Release(rng.normal(0, 3, (K, D)), rng.normal(5, 2, K), noise, n)
        for noise, n in ((2.0, 20.0), (1.0, 8.0), (2.0, 0.0))
    ]
    prior = rng.normal(0, 0.3, (K, D))
    for options in ({}, {"prior_weight": 3.0}, {"public_counts": np.array([9.0, 2.0, 5.0]), "class_prior": BELIEVED}):
        plain, told = (infer(releases, prior, WITHIN, transition=rates, **options) for rates in (None, np.eye(K)))
        for name in ("weights", "means", "within", "axes", "fractions"):
            np.testing.assert_allclose(getattr(told, name), getattr(plain, name), atol=1e-9)
        for name, part in plain.covariances.items():
            np.testing.assert_allclose(told.covariances[name], part, atol=1e-9)


def test_the_order_of_labels_does_not_matter():
    rng = np.random.default_rng(7)
    release, order = a_release(rng), np.array([2, 0, 3, 1])
    turned = replace(release, sums=release.sums[order], counts=release.counts[order])
    one = infer([release], None, None, transition=RATES)
    other = infer([turned], None, None, transition=RATES[:, order])
    np.testing.assert_allclose(one.means, other.means, atol=1e-10)


def test_a_label_that_nobody_gives_tells_nothing():
    rng = np.random.default_rng(8)
    release = a_release(rng)
    more = Release(np.vstack([release.sums, [[9.0] * D]]), np.append(release.counts, 3.0), 2.0, 20.0)
    one = infer([release], None, None, transition=RATES)
    other = infer([more], None, None, transition=np.column_stack([RATES, np.zeros(K)]))
    np.testing.assert_allclose(one.means, other.means, atol=1e-9)


def test_fractions_are_those_of_one_gaussian():
    rng = np.random.default_rng(9)
    releases = [a_release(rng, 200.0, 0.5), a_release(rng, 100.0, 1.0)]
    found = class_fractions(releases, BELIEVED, RATES)
    before = np.diag(BELIEVED * (1 - BELIEVED) / 11)
    errors = np.diag(BELIEVED @ RATES) - RATES.T @ np.diag(BELIEVED) @ RATES
    design = np.vstack([one.expected_records * RATES.T for one in releases])
    noise = np.zeros((2 * L, 2 * L))
    for place, one in enumerate(releases):
        block = slice(place * L, (place + 1) * L)
        noise[block, block] = one.expected_records * errors + 2 * one.noise_multiplier**2 * np.eye(L)
    seen = ROOT2 * np.concatenate([one.counts for one in releases])
    gain = before @ design.T @ np.linalg.inv(design @ before @ design.T + noise)
    exact = BELIEVED + gain @ (seen - design @ BELIEVED)
    np.testing.assert_allclose(found, exact / exact.sum(), rtol=1e-8)
    assert exact.min() > BELIEVED.min() / 4  # so that nothing was held


def test_numbers_of_a_label_are_counted_where_noise_allows():
    rates = np.array([[0.8, 0.2], [0.2, 0.8]])
    quiet = Release(np.zeros((2, 1)), np.array([30.0, 70.0]) / ROOT2, 1e-4, 100.0)
    labels = Misread.of([quiet], np.array([0.5, 0.5]), None, rates)
    np.testing.assert_allclose(labels.expected(quiet), [30, 70], rtol=1e-3)
    loud = replace(quiet, noise_multiplier=1e4)
    np.testing.assert_allclose(labels.expected(loud), 100 * labels.shares, rtol=1e-3)


# -- does it tell the truth? -----------------------------------------------------------------

BIASED = np.array([[0.95, 0.05], [0.45, 0.55]])
EVEN = np.array([[0.731, 0.269], [0.269, 0.731]])  # randomized response of ε = 1
PER_DIRECTION = 6
LEAST = 0.92  # of intervals that say 95%: who is misread is no Gaussian


def cohort(rng, rates, n, noise, apart, within):
    """One cohort of patients whose class means come from the belief; labels are misread, sums are noisy."""
    means = rng.normal(0, apart, (2, PER_DIRECTION))
    codes = rng.integers(0, 2, n)
    rows = means[codes] + rng.normal(0, np.sqrt(within), (n, PER_DIRECTION))
    labels = (rng.random(n) > rates[codes, 0]).astype(int)
    sums = np.array([rows[labels == label].sum(axis=0) for label in (0, 1)]) / ROOT2
    counts = np.bincount(labels, minlength=2) / ROOT2
    release = Release(sums + rng.normal(0, noise, sums.shape), counts + rng.normal(0, noise, 2), noise, float(n))
    return means, release


def covered(rates, told, n_cohorts=1000, n=60, mu=1.0, apart=0.5, within=0.1, seed=0, code=1):
    """How many cohorts have the truth of one class mean inside its 95% interval."""
    rng, inside = np.random.default_rng(seed), 0
    for _ in range(n_cohorts):
        means, release = cohort(rng, rates, n, 1 / mu, apart, within)
        found = infer([release], np.zeros_like(means), within, within / apart**2, transition=told)
        spread = np.sqrt(sum(part[0, 0, code, code] for part in found.covariances.values()))
        inside += abs(means[code, 0] - found.means[0, code, 0]) < norm.ppf(0.975) * spread
    return int(inside), n_cohorts


def too_low(inside, total, least):
    """Whether the true coverage is below `least`, wrongly said once in a million."""
    return binomtest(inside, total, least, alternative="less").pvalue < 1e-6


@pytest.mark.parametrize("mu", [0.5, 8.0])
@pytest.mark.parametrize("rates", [EVEN, BIASED], ids=["even", "biased"])
def test_intervals_cover_what_they_say(rates, mu):
    """A coverage of .84 would be found with probability above .998."""
    inside, total = covered(rates, rates, mu=mu)
    assert not too_low(inside, total, LEAST)
    assert inside / total < 0.99  # nor are they idle


@pytest.mark.parametrize(("rates", "mu"), [(EVEN, 0.5), (EVEN, 8.0), (BIASED, 8.0)], ids=["even", "quiet", "biased"])
def test_not_to_tell_that_labels_are_wrong_is_caught(rates, mu):
    assert too_low(*covered(rates, None, mu=mu), LEAST)


def test_a_transposed_matrix_is_caught():
    transposed = BIASED.T / BIASED.T.sum(axis=1, keepdims=True)
    assert too_low(*covered(BIASED, transposed, mu=2.0, code=0), LEAST)
    assert not too_low(*covered(BIASED, BIASED, mu=2.0, code=0), LEAST)


def test_to_forget_that_the_classes_of_a_label_differ_is_caught(monkeypatch):
    monkeypatch.setattr(noisy_labels.Misread, "spread", lambda self, means: np.zeros((2, means.shape[0])))
    monkeypatch.setattr(noisy_labels.Misread, "unknown", lambda self, means: np.zeros((len(means), 2, 2)))
    assert too_low(*covered(EVEN, EVEN, mu=8.0, apart=0.7, within=0.02), LEAST)


def test_the_inverse_in_the_sums_covers_too_little():
    """Sums put right by T^-1 afterwards, as if they were those of right labels: the noise is larger than is believed."""
    rng, inside, total = np.random.default_rng(0), 0, 1000
    back = np.linalg.inv(EVEN)
    for _ in range(total):
        means, release = cohort(rng, EVEN, 60, 1.0, 0.5, 0.1)
        put_right = Release(back.T @ release.sums, back.T @ release.counts, 1.0, 60.0)
        found = infer([put_right], np.zeros_like(means), 0.1, 0.1 / 0.5**2)
        spread = np.sqrt(sum(part[0, 0, 1, 1] for part in found.covariances.values()))
        inside += abs(means[1, 0] - found.means[0, 1, 0]) < norm.ppf(0.975) * spread
    assert too_low(int(inside), total, LEAST)


@pytest.mark.parametrize(("mu", "naive"), [(0.5, 0.829), (2.0, 0.614)])
def test_coverage_without_the_matrix_falls_as_predicted(mu, naive):
    """Class means of a fixed length, without a prior: about .83 and .61 where the matrix gives .94 or more."""
    rng, inside = np.random.default_rng(1), {False: 0, True: 0}
    total, n, within = 300, 60, 0.5 / 8
    for _ in range(total):
        means = rng.normal(size=(2, 8))
        means *= 0.77 / np.linalg.norm(means, axis=1, keepdims=True)
        codes = rng.integers(0, 2, n)
        rows = means[codes] + rng.normal(0, np.sqrt(within), (n, 8))
        labels = np.where(rng.random(n) < EVEN[0, 0], codes, 1 - codes)
        sums = np.array([rows[labels == label].sum(axis=0) for label in (0, 1)]) / ROOT2
        counts = np.bincount(labels, minlength=2) / ROOT2
        release = Release(sums + rng.normal(0, 1 / mu, sums.shape), counts + rng.normal(0, 1 / mu, 2), 1 / mu, float(n))
        for told in inside:
            found = infer([release], None, within, transition=EVEN if told else None)
            spread = np.sqrt(np.einsum("dkk->kd", sum(part[0] for part in found.covariances.values())))
            inside[told] += (abs(means - found.means[0]) < norm.ppf(0.975) * spread).mean() / total
    assert inside[False] == pytest.approx(naive, abs=0.06)
    assert inside[True] > 0.92


def stated_and_right(rates, told, n_cohorts=1500, seed=3):
    """Stated chance that a new patient is of class 1, and whether it is, one of each cohort; the model's own world."""
    rng, stated, right = np.random.default_rng(seed), [], []
    for _ in range(n_cohorts):
        means, release = cohort(rng, rates, 60, 0.5, 0.4, 0.15)
        code = int(rng.integers(2))
        row = means[code] + rng.normal(0, np.sqrt(0.15), (1, PER_DIRECTION))
        found = infer([release], np.zeros_like(means), 0.15, 0.15 / 0.4**2, transition=told)
        stated.append(found.predict_proba(row)[0, 1])
        right.append(code)
    return np.array(stated), np.array(right)


def off(stated, right):
    """Deviation of the log score from its expectation if what is stated is true, in standard deviations."""
    log_odds = np.log(stated / (1 - stated))
    return ((right - stated) * log_odds).sum() / np.sqrt((stated * (1 - stated) * log_odds**2).sum())


def test_stated_chances_are_true():
    """Power: the faults below are found on these very cohorts."""
    assert abs(off(*stated_and_right(EVEN, EVEN))) < norm.isf(0.5e-6)


def test_chances_as_if_labels_were_right_are_not_true():
    """Classes seem closer to each other than they are: the answers are too careful."""
    assert off(*stated_and_right(EVEN, None)) > norm.isf(0.5e-6)


def test_the_likelihood_is_that_of_the_stated_covariance():
    """Weights of the settings, recomputed from the densities of the means by label."""
    rng = np.random.default_rng(11)
    release, prior = a_release(rng), rng.normal(0, 0.3, (K, D))
    found = infer([release], prior, WITHIN, class_prior=BELIEVED, transition=RATES)
    labels = Misread.of([release], BELIEVED, None, RATES)
    number = labels.expected(release)
    # the moments that the last pass used are those that the first had found
    moments = posterior._second_moments
    odds = np.outer(posterior.SHIFT_ODDS, posterior.SPREAD_ODDS).ravel()
    beliefs = np.array([WITHIN * (a + b * np.eye(K)) for a, b in product(posterior.SHIFTS, posterior.SPREADS)])
    second = moments(odds / odds.sum(), np.repeat(prior[None], 25, axis=0), np.repeat(beliefs[:, None], D, axis=1))
    for last in (False, True):
        scores, means, covariances = np.log(odds), [], []
        for place, belief in enumerate(beliefs):
            mean, covariance = np.zeros((K, D)), np.zeros((D, K, K))
            for direction in range(D):
                spread, unknown = spread_and_doubt(labels, second[direction])
                variance = np.diag((number * (WITHIN + spread) + 2 * release.noise_multiplier**2) / number**2)
                marginal = labels.classes @ belief @ labels.classes.T + variance + unknown
                estimate = ROOT2 * release.sums[:, direction] / number
                expected = labels.classes @ prior[:, direction]
                scores[place] += multivariate_normal(expected, marginal).logpdf(estimate)
                gain = belief @ labels.classes.T @ np.linalg.inv(marginal)
                mean[:, direction] = prior[:, direction] + gain @ (estimate - expected)
                covariance[direction] = belief - gain @ labels.classes @ belief
            means.append(mean)
            covariances.append(covariance)
        weights = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
        second = second if last else moments(weights, np.array(means), np.array(covariances))
    np.testing.assert_allclose(found.weights, weights, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found.means, means, rtol=1e-4, atol=1e-6)
