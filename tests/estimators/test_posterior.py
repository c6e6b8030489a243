"""What noisy sums say about class means: against brute force, and against simulated truth."""

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import binomtest, multivariate_normal, norm

from skdpal.estimators.posterior import SHIFTS, SPREADS, Release, infer

ROOT2 = np.sqrt(2.0)
K, D = 3, 4
WITHIN = 0.05


def a_release(rng, expected=20.0, noise=2.0, n_classes=K, n_features=D):
    sums = expected / n_classes * rng.normal(0, 0.3, (n_classes, n_features)) + rng.normal(0, noise, (n_classes, 1))
    counts = np.full(n_classes, expected / n_classes / ROOT2) + rng.normal(0, noise, n_classes)
    return Release(sums, counts, noise, expected)


def joint_gaussian(releases, fractions, centre, shift, spread, within):
    """Prior over (means, observations) of one feature, written out as one big Gaussian.

    Observations are √2 times the noisy sums; row r K + k is class k of cohort r.
    """
    belief = spread * np.eye(len(fractions)) + shift
    design = np.vstack([np.diag(release.expected_records * fractions) for release in releases])
    noise = np.concatenate(
        [release.expected_records * fractions * within + 2 * release.noise_multiplier**2 for release in releases]
    )
    return design @ centre, belief, design @ belief, design @ belief @ design.T + np.diag(noise)


def brute_force(releases, fractions, prior_means, shift, spread, within):
    """Posterior mean, covariance and log evidence by conditioning the joint Gaussian, feature by feature."""
    means, evidence = [], 0.0
    for feature in range(prior_means.shape[1]):
        seen = ROOT2 * np.concatenate([release.sums[:, feature] for release in releases])
        centre, belief, cross, covariance = joint_gaussian(
            releases, fractions, prior_means[:, feature], shift, spread, within
        )
        means.append(prior_means[:, feature] + cross.T @ np.linalg.inv(covariance) @ (seen - centre))
        evidence += multivariate_normal(centre, covariance, allow_singular=True).logpdf(seen)
    return np.array(means).T, belief - cross.T @ np.linalg.inv(covariance) @ cross, evidence


@pytest.mark.parametrize("n_cohorts", [1, 2, 4])
def test_a_fixed_weight_agrees_with_brute_force(n_cohorts):
    rng = np.random.default_rng(n_cohorts)
    releases = [a_release(rng, expected=6.0 + 9 * cohort, noise=1.0 + cohort) for cohort in range(n_cohorts)]
    prior = rng.normal(0, 0.3, (K, D))
    found = infer(releases, prior, WITHIN, prior_weight=3.0)
    mean, covariance, _ = brute_force(releases, found.fractions, prior, 0.0, WITHIN / 3, WITHIN)
    np.testing.assert_allclose(found.class_means, mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(sum(part[0] for part in found.covariances.values()), covariance, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("n_cohorts", [1, 3])
def test_fitted_weights_are_the_evidence_of_each_setting(n_cohorts):
    rng = np.random.default_rng(10 + n_cohorts)
    releases = [a_release(rng, expected=30.0, noise=1.0) for _ in range(n_cohorts)]
    prior = rng.normal(0, 0.3, (K, D))
    found = infer(releases, prior, WITHIN)
    settings = [(WITHIN * shift, WITHIN * spread) for shift in SHIFTS for spread in SPREADS]
    evidence = []
    for number, (shift, spread) in enumerate(settings):
        mean, covariance, logpdf = brute_force(releases, found.fractions, prior, shift, spread, WITHIN)
        np.testing.assert_allclose(found.means[number], mean, rtol=1e-8, atol=1e-11)
        total = sum(part[number] for part in found.covariances.values())
        np.testing.assert_allclose(total, covariance, rtol=1e-7, atol=1e-13)
        evidence.append(logpdf)
    np.testing.assert_allclose(found.weights, np.exp(evidence - logsumexp(evidence)), rtol=1e-6, atol=1e-12)


def test_without_a_prior_the_belief_is_vague_around_the_origin():
    releases = [a_release(np.random.default_rng(5))]
    found = infer(releases, None, None)
    mean, covariance, _ = brute_force(releases, found.fractions, np.zeros((K, D)), 0.0, 1 / D, 1 / D)
    np.testing.assert_allclose(found.class_means, mean, rtol=1e-9, atol=1e-12)
    assert found.within_variance == 1 / D
    np.testing.assert_allclose(sum(part[0] for part in found.covariances.values()), covariance, rtol=1e-8, atol=1e-14)


def test_the_parts_of_the_uncertainty_add_up_exactly_for_every_setting():
    rng = np.random.default_rng(6)
    releases = [a_release(rng, expected=9.0), a_release(rng, expected=0.5, noise=4.0)]
    found = infer(releases, rng.normal(0, 0.3, (K, D)), WITHIN)
    expected = [release.expected_records * found.fractions for release in releases]
    precision = sum(
        np.diag(records**2 / (records * WITHIN + 2 * release.noise_multiplier**2))
        for records, release in zip(expected, releases, strict=True)
    )
    settings = [(WITHIN * shift, WITHIN * spread) for shift in SHIFTS for spread in SPREADS]
    for number, (shift, spread) in enumerate(settings):
        exact = np.linalg.inv(np.linalg.inv(spread * np.eye(K) + shift) + precision)
        parts = [part[number] for part in found.covariances.values()]
        np.testing.assert_allclose(sum(parts), exact, rtol=1e-6, atol=1e-12)
        for part in parts:  # each is a covariance by itself
            assert np.linalg.eigvalsh(part).min() > -1e-12


def test_more_noise_is_more_uncertainty_in_total():
    quiet = a_release(np.random.default_rng(8), noise=0.1)
    loud = Release(quiet.sums, quiet.counts, 8.0, quiet.expected_records)
    totals = []
    for release in (quiet, loud):
        found = infer([release], np.zeros((K, D)), WITHIN, 1.0)
        totals.append(sum(np.trace(part[0]) for part in found.covariances.values()))
    assert totals[0] < totals[1]


# -- does it tell the truth? -----------------------------------------------------------------


def simulate(rng, shift, spread, *, noise, per_class=10, believed_noise=None):
    """One cohort from the model, with the class means that it came from."""
    prior = rng.normal(0, 0.3, (K, D))
    truth = prior + rng.normal(0, np.sqrt(shift), (1, D)) + rng.normal(0, np.sqrt(spread), (K, D))
    patients = per_class * truth + rng.normal(0, np.sqrt(per_class * WITHIN), (K, D))
    sums = patients / ROOT2 + rng.normal(0, noise, (K, D))
    counts = np.full(K, per_class / ROOT2)
    return prior, truth, Release(sums, counts, noise if believed_noise is None else believed_noise, K * per_class)


def covered(seed, n_cohorts, believed_noise=None):
    """How many of 95% intervals for class means hold the truth, of how many."""
    rng, inside, total = np.random.default_rng(seed), 0, 0
    for _ in range(n_cohorts):
        prior, truth, release = simulate(rng, 0.0, WITHIN / 0.2, noise=2.0, believed_noise=believed_noise)
        found = infer([release], prior, WITHIN, prior_weight=0.2)
        variance = sum(np.diag(part[0]) for part in found.covariances.values())
        reach = norm.ppf(0.975) * np.sqrt(variance)[:, None]
        inside += int((np.abs(found.class_means - truth) < reach).sum())
        total += truth.size
    return inside, total


def test_intervals_for_class_means_cover_what_they_say():
    assert binomtest(*covered(1, 800), 0.95).pvalue > 1e-6


def test_a_noise_variance_without_its_factor_two_is_caught():
    assert binomtest(*covered(1, 800, believed_noise=2.0 / ROOT2), 0.95).pvalue < 1e-6


def tail(found, truth):
    """Posterior probability below the true value of one class mean."""
    variance = sum(np.einsum("jkk->jk", part) for part in found.covariances.values())
    return float(found.weights @ norm.cdf((truth[0, 0] - found.means[:, 0, 0]) / np.sqrt(variance[:, 0])))


def mixture_coverage(seed, n_cohorts, stretch=1.0):
    """The same for the fitted prior weight, with truths drawn from the grid of settings."""
    rng, inside = np.random.default_rng(seed), 0
    for _ in range(n_cohorts):
        shift, spread = stretch * WITHIN * rng.choice(SHIFTS), stretch * WITHIN * rng.choice(SPREADS)
        prior, truth, release = simulate(rng, shift, spread, noise=1.0)
        inside += 0.025 < tail(infer([release], prior, WITHIN), truth) < 0.975
    return inside, n_cohorts


def test_the_fitted_weight_covers_what_it_says():
    assert binomtest(*mixture_coverage(2, 1200), 0.95).pvalue > 1e-6


def test_truths_far_outside_the_grid_of_settings_are_caught():
    assert binomtest(*mixture_coverage(2, 1200, stretch=30.0), 0.95).pvalue < 1e-6


def test_a_prior_that_transfers_badly_is_let_go():
    rng = np.random.default_rng(3)
    truth = rng.normal(0, 0.3, (K, D))
    release = Release(100 * truth / ROOT2, np.full(K, 100 / ROOT2), 1.0, 300.0)
    wrong = truth + 1.5
    stubborn = infer([release], wrong, WITHIN, prior_weight=1e4)
    fitted = infer([release], wrong, WITHIN)
    assert np.abs(stubborn.class_means - wrong).max() < 0.1
    assert np.abs(fitted.class_means - truth).max() < 0.1


def test_a_prior_that_transfers_well_is_kept_against_noise():
    rng = np.random.default_rng(4)
    truth = rng.normal(0, 0.3, (K, D))
    noisy = Release(3 * truth / ROOT2 + rng.normal(0, 2.0, (K, D)), np.full(K, 3 / ROOT2), 2.0, 9.0)
    with_prior, without = infer([noisy], truth, WITHIN), infer([noisy], None, WITHIN)
    assert np.abs(with_prior.class_means - truth).max() < np.abs(without.class_means - truth).max()


def test_a_release_of_nobody_leaves_the_prior_as_it_was():
    prior = np.random.default_rng(0).normal(0, 0.3, (K, D))
    found = infer([Release(np.ones((K, D)), np.ones(K), 2.0, 0.0)], prior, WITHIN)
    np.testing.assert_allclose(found.class_means, prior, atol=1e-9)
    np.testing.assert_allclose(found.fractions, 1 / K)


def test_probabilities_are_probabilities_and_finite_far_away():
    rng = np.random.default_rng(9)
    found = infer([a_release(rng, noise=1e-3)], rng.normal(0, 0.3, (K, D)), WITHIN)
    rows = np.concatenate([rng.normal(0, 0.3, (5, D)), 1e3 * np.ones((1, D))])
    probabilities = found.predict_proba(rows)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    assert (probabilities >= 0).all()


def test_no_class_is_written_off_by_noise_in_the_counts():
    found = infer([Release(np.zeros((K, D)), np.array([-6.0, 9.0, 9.0]), 2.0, 20.0)], None, None)
    assert found.fractions.min() > 0.05
    assert found.fractions.sum() == pytest.approx(1.0)
