"""What noisy sums say about class means: against brute force, and against simulated truth."""

import time

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import binomtest, multivariate_normal, norm

from skdpal.estimators.posterior import SHIFT_ODDS, SHIFTS, SPREAD_ODDS, SPREADS, Release, infer

ROOT2 = np.sqrt(2.0)
K, D = 3, 4
WITHIN = 0.05
TILTED = WITHIN * (np.diag([0.4, 0.8, 1.2, 1.6]) + 0.3)  # a covariance with axes of its own
SETTINGS = [
    (shift, spread, odds_of_shift * odds_of_spread)
    for shift, odds_of_shift in zip(SHIFTS, SHIFT_ODDS, strict=True)
    for spread, odds_of_spread in zip(SPREADS, SPREAD_ODDS, strict=True)
]
COUNTS = np.array([9.0, 14.0, 2.0])


def a_release(rng, expected=20.0, noise=2.0, n_classes=K, n_features=D):
    sums = expected / n_classes * rng.normal(0, 0.3, (n_classes, n_features)) + rng.normal(0, noise, (n_classes, 1))
    counts = np.full(n_classes, expected / n_classes / ROOT2) + rng.normal(0, noise, n_classes)
    return Release(sums, counts, noise, expected)


def brute_force(releases, fractions, centre, belief, scale, within):
    """Posterior mean, covariance and log evidence of all means at once, by conditioning one big Gaussian.

    Observations are √2 times the noisy sums, of every class and feature, cohort by cohort.
    """
    n_features = centre.shape[1]
    design = np.vstack([np.kron(np.diag(one.expected_records * fractions), np.eye(n_features)) for one in releases])
    noise = np.zeros((len(design), len(design)))
    for place in range(len(design) // n_features):
        one, fraction = releases[place // len(fractions)], fractions[place % len(fractions)]
        block = slice(place * n_features, (place + 1) * n_features)
        noise[block, block] = one.expected_records * fraction * within + 2 * one.noise_multiplier**2 * np.eye(
            n_features
        )
    before = np.kron(belief, scale)
    covariance, cross = design @ before @ design.T + noise, before @ design.T
    seen = ROOT2 * np.concatenate([one.sums.ravel() for one in releases])
    residual = seen - design @ centre.ravel()
    mean = centre.ravel() + cross @ np.linalg.solve(covariance, residual)
    evidence = multivariate_normal(np.zeros(len(seen)), covariance).logpdf(residual)
    return mean.reshape(centre.shape), before - cross @ np.linalg.solve(covariance, cross.T), evidence


def total_covariance(found, setting):
    """Of all means at once, features in their own coordinates."""
    total = sum(part[setting] for part in found.covariances.values())
    whole = np.einsum("dj,jkl,ej->kdle", found.axes, total, found.axes)
    return whole.reshape(found.means[0].size, -1)


@pytest.mark.parametrize("within", [WITHIN, TILTED], ids=["isotropic", "tilted"])
@pytest.mark.parametrize("n_cohorts", [1, 2, 4])
def test_a_fixed_weight_agrees_with_brute_force(n_cohorts, within):
    rng = np.random.default_rng(n_cohorts)
    releases = [a_release(rng, expected=6.0 + 9 * cohort, noise=1.0 + cohort) for cohort in range(n_cohorts)]
    prior, matrix = rng.normal(0, 0.3, (K, D)), within * np.eye(D) if np.isscalar(within) else within
    found = infer(releases, prior, within, prior_weight=3.0)
    mean, covariance, _ = brute_force(releases, found.fractions, prior, np.eye(K) / 3, matrix, matrix)
    np.testing.assert_allclose(found.class_means, mean, rtol=1e-8, atol=1e-11)
    np.testing.assert_allclose(total_covariance(found, 0), covariance, rtol=1e-7, atol=1e-13)


@pytest.mark.parametrize("n_cohorts", [1, 3])
def test_fitted_weights_are_odds_times_the_evidence_of_each_setting(n_cohorts):
    rng = np.random.default_rng(10 + n_cohorts)
    releases = [a_release(rng, expected=30.0, noise=1.0) for _ in range(n_cohorts)]
    prior = rng.normal(0, 0.3, (K, D))
    found = infer(releases, prior, TILTED, public_counts=COUNTS)
    evidence = []
    for number, (shift, spread, odds) in enumerate(SETTINGS):
        belief = np.diag(spread + 1 / COUNTS) + shift
        mean, covariance, logpdf = brute_force(releases, found.fractions, prior, belief, TILTED, TILTED)
        np.testing.assert_allclose(found.means[number] @ found.axes.T, mean, rtol=1e-7, atol=1e-10)
        np.testing.assert_allclose(total_covariance(found, number), covariance, rtol=1e-6, atol=1e-12)
        evidence.append(np.log(odds) + logpdf)
    np.testing.assert_allclose(found.weights, np.exp(evidence - logsumexp(evidence)), rtol=1e-6, atol=1e-12)


def test_without_a_prior_the_belief_is_vague_around_the_origin():
    releases = [a_release(np.random.default_rng(5))]
    found = infer(releases, None, None)
    unit = np.eye(D) / D
    mean, covariance, _ = brute_force(releases, found.fractions, np.zeros((K, D)), np.eye(K), unit, unit)
    np.testing.assert_allclose(found.class_means, mean, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.within, 1 / D)
    np.testing.assert_allclose(total_covariance(found, 0), covariance, rtol=1e-8, atol=1e-14)


def test_the_parts_of_the_uncertainty_add_up_exactly_for_every_setting():
    rng = np.random.default_rng(6)
    releases = [a_release(rng, expected=9.0), a_release(rng, expected=0.5, noise=4.0)]
    found = infer(releases, rng.normal(0, 0.3, (K, D)), TILTED, public_counts=COUNTS)
    for number, (shift, spread, _) in enumerate(SETTINGS):
        for direction, width in enumerate(found.within):
            precision = sum(
                np.diag(records**2 / (records * width + 2 * release.noise_multiplier**2))
                for release in releases
                for records in [release.expected_records * found.fractions]
            )
            belief = width * (np.diag(spread + 1 / COUNTS) + shift)
            exact = np.linalg.inv(np.linalg.inv(belief) + precision)
            parts = [part[number, direction] for part in found.covariances.values()]
            np.testing.assert_allclose(sum(parts), exact, rtol=1e-6, atol=1e-12)
            for part in parts:  # each is a covariance by itself
                assert np.linalg.eigvalsh(part).min() > -1e-12


def test_the_causes_of_a_patients_uncertainty_are_exact():
    """Moments of the log-odds under draws of the class means from the posterior, and of a patient from a class."""
    rng = np.random.default_rng(7)
    found = infer([a_release(rng, expected=12.0)], rng.normal(0, 0.3, (K, D)), TILTED, public_counts=COUNTS)
    row = rng.normal(0, 0.3, (1, D))
    first, second = np.argsort(-found.predict_proba(row)[0])[:2]
    setting = rng.choice(len(found.weights), size=200_000, p=found.weights)
    draws = np.empty((len(setting), D, K))
    for number in np.unique(setting):
        mine = setting == number
        for direction in range(D):
            covariance = sum(part[number, direction] for part in found.covariances.values())
            draws[mine, direction] = rng.multivariate_normal(found.means[number, :, direction], covariance, mine.sum())
    means, at = found.class_means @ found.axes, (row @ found.axes)[0]
    slopes = (at - means) / found.within  # of the log-density, in the class mean
    odds = (slopes[first] * draws[:, :, first] - slopes[second] * draws[:, :, second]).sum(axis=1)
    parts = found.log_odds_variance(row)
    named = sum(parts[name][0] for name in ("transfer", "sampling", "dp_noise"))
    assert odds.var() == pytest.approx(named, rel=0.02)
    patients = rng.multivariate_normal(found.class_means[first], TILTED, 200_000)
    gap = np.linalg.solve(TILTED, found.class_means[first] - found.class_means[second])
    assert (patients @ gap).var() == pytest.approx(parts["overlap"][0], rel=0.02)


def test_more_noise_is_more_uncertainty_in_total():
    quiet = a_release(np.random.default_rng(8), noise=0.1)
    loud = Release(quiet.sums, quiet.counts, 8.0, quiet.expected_records)
    totals = []
    for release in (quiet, loud):
        found = infer([release], np.zeros((K, D)), WITHIN, 1.0)
        totals.append(np.trace(total_covariance(found, 0)))
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
        variance = np.diag(total_covariance(found, 0)).reshape(K, D)
        reach = norm.ppf(0.975) * np.sqrt(variance)
        inside += int((np.abs(found.class_means - truth) < reach).sum())
        total += truth.size
    return inside, total


def test_intervals_for_class_means_cover_what_they_say():
    assert binomtest(*covered(1, 800), 0.95).pvalue > 1e-6


def test_a_noise_variance_without_its_factor_two_is_caught():
    assert binomtest(*covered(1, 800, believed_noise=2.0 / ROOT2), 0.95).pvalue < 1e-6


def tail(found, truth):
    """Posterior probability below the true value of one class mean."""
    variance = sum(part[:, 0, 0, 0] for part in found.covariances.values())  # isotropic: the axes are the features
    return float(found.weights @ norm.cdf((truth[0, 0] - found.means[:, 0, 0]) / np.sqrt(variance)))


def mixture_coverage(seed, n_cohorts, stretch=1.0):
    """The same for the fitted prior weight, with truths drawn from the grid of settings."""
    rng, inside = np.random.default_rng(seed), 0
    for _ in range(n_cohorts):
        odds = (SHIFT_ODDS, SPREAD_ODDS) if stretch == 1 else (np.ones(len(SHIFTS)), np.ones(len(SPREADS)))
        shift, spread = (
            stretch * WITHIN * rng.choice(grid, p=np.divide(chances, sum(chances)))
            for grid, chances in zip((SHIFTS, SPREADS), odds, strict=True)
        )
        prior, truth, release = simulate(rng, shift, spread + WITHIN / 10, noise=1.0)
        inside += 0.025 < tail(infer([release], prior, WITHIN, public_counts=np.full(K, 10.0)), truth) < 0.975
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


def test_a_public_guess_of_the_fractions_is_corrected_by_the_counts():
    guess = np.array([0.6, 0.3, 0.1])
    nobody = infer([Release(np.zeros((K, D)), np.zeros(K), 2.0, 0.0)], None, None, class_prior=guess)
    np.testing.assert_allclose(nobody.fractions, guess)
    quiet = Release(np.zeros((K, D)), np.array([10.0, 40.0, 50.0]) / ROOT2, 0.1, 100.0)
    found = infer([quiet], None, None, class_prior=guess)
    np.testing.assert_allclose(found.fractions, [0.1 / 0.6 * 0.9, 0.4, 0.5], atol=0.06)


def test_a_class_that_nobody_has_keeps_its_public_mean():
    rng = np.random.default_rng(11)
    prior = rng.normal(0, 0.3, (K, D))
    counts = np.array([20.0, 20.0, 0.0])
    release = Release(counts[:, None] * prior / ROOT2, counts / ROOT2, 0.5, 40.0)
    found = infer([release], prior, TILTED, public_counts=COUNTS)
    assert np.linalg.norm(found.class_means[2] - prior[2]) < 0.25
    assert found.fractions[2] < 0.1


def test_twenty_classes_are_fast_and_sensible():
    rng = np.random.default_rng(12)
    centres = rng.normal(size=(20, 32)) / np.sqrt(32)
    codes = rng.integers(0, 20, 200)
    rows = centres[codes] + rng.normal(0, 0.1, (200, 32))
    sums = np.array([rows[codes == code].sum(axis=0) for code in range(20)]) / ROOT2
    release = Release(
        sums + rng.normal(0, 2.0, sums.shape), np.bincount(codes) / ROOT2 + rng.normal(0, 2.0, 20), 2.0, 200.0
    )
    start = time.process_time()
    found = infer([release], centres + rng.normal(0, 0.05, centres.shape), 0.01 * np.eye(32))
    probabilities = found.predict_proba(rows)
    assert time.process_time() - start < 3.0
    assert (probabilities.argmax(axis=1) == codes).mean() > 0.9


# -- are the probabilities calibrated? -------------------------------------------------------


def calibration(seed, n_cohorts, believed=1.0, expected=24.0, noise=2.0):
    """Stated and true chances of being right over many cohorts drawn from the model, with one new patient each.

    `believed` scales the variance that the posterior is told about, not the truth.
    """
    rng = np.random.default_rng(seed)
    stated, right = [], []
    for _ in range(n_cohorts):
        prior = rng.normal(0, 0.25, (2, D))
        spread = rng.choice(SPREADS, p=np.divide(SPREAD_ODDS, sum(SPREAD_ODDS)))
        shift = rng.choice(SHIFTS, p=np.divide(SHIFT_ODDS, sum(SHIFT_ODDS)))
        truth = prior + rng.normal(0, np.sqrt(shift * WITHIN), (1, D)) + rng.normal(0, np.sqrt(spread * WITHIN), (2, D))
        size = expected / 2
        patients = size * truth + rng.normal(0, np.sqrt(size * WITHIN), (2, D))
        release = Release(
            patients / ROOT2 + rng.normal(0, noise, (2, D)),
            np.full(2, size / ROOT2),
            noise * np.sqrt(believed),
            expected,
        )
        code = rng.integers(2)
        row = truth[code] + rng.normal(0, np.sqrt(WITHIN), (1, D))
        probabilities = infer([release], prior, WITHIN * believed).predict_proba(row)[0]
        stated.append(probabilities.max())
        right.append(probabilities.argmax() == code)
    return np.array(stated), np.array(right)


def calibration_error(stated, right):
    """How far stated and true chances are apart, in standard deviations of their sum if the statements are true."""
    return abs((right - stated).sum()) / np.sqrt((stated * (1 - stated)).sum())


def test_probabilities_are_calibrated():
    stated, right = calibration(3, 2500)
    assert calibration_error(stated, right) < norm.isf(0.5e-6)
    bins = np.digitize(stated, [0.6, 0.7, 0.8, 0.9])
    error = sum(abs((right - stated)[bins == one].sum()) for one in range(5)) / len(stated)
    assert error < 0.03


def test_overconfidence_is_caught():
    assert calibration_error(*calibration(3, 2500, believed=0.5)) > norm.isf(0.5e-6)
