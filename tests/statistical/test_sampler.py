"""The sampler, alone and inside fits: size, shape and tails of the noise, and that no seed reaches it.

Every check fails with probability at most 1e-6 if nothing is wrong. The same check is then run on code with
a planted fault, which it misses with probability below 1e-9: `test_the_checks_are_sharp` computes that.
"""

import random

import numpy as np
import pytest
from scipy.stats import binom, chi2, kstest, norm, pearsonr

from skdpal import DPPrototypeClassifier
from skdpal.privacy import PrivacyBudget, PrivacyLedger, randomness
from skdpal.privacy.mechanisms import sums
from skdpal.privacy.randomness import perturb

FITS, CLASSES, WIDTH = 200, 4, 8
PER_FIT = CLASSES * (WIDTH + 1)
DRAWS = 40_000
FAR = 3.0  # standard deviations; where tails begin

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(20, WIDTH))
ROWS /= 1.5 * np.linalg.norm(ROWS, axis=1, keepdims=True)
LABELS = np.arange(20) % CLASSES
EXACT = np.array([[*ROWS[LABELS == label].sum(axis=0), (LABELS == label).sum()] for label in range(CLASSES)]) / np.sqrt(
    2
)


def noise_of_fits(n_fits):
    """Noise of real fits on the same rows, in units of what the receipt says; every seed is set before each."""
    import torch

    noise = []
    for _ in range(n_fits):
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        ledger = PrivacyLedger(PrivacyBudget(2.0))
        model = DPPrototypeClassifier(2.5, classes=range(CLASSES), ledger=ledger, prior_weight=1.0).fit(ROWS, LABELS)
        (receipt,) = ledger.receipts()
        noise.append((np.column_stack(model.release_) - EXACT) / receipt.event.noise_multiplier)
    return np.array(noise).reshape(n_fits, PER_FIT)


def variance_is_1(noise, false_alarm):
    """Chi-square test of standard normal numbers against any other variance."""
    low, high = chi2.ppf([false_alarm / 2, 1 - false_alarm / 2], noise.size)
    return low <= (noise**2).sum() <= high


def fits_are_independent(noise, false_alarm):
    """Exact test of the correlation of each fit with the next."""
    return pearsonr(noise[0::2].ravel(), noise[1::2].ravel()).pvalue > false_alarm


def shape_is_gaussian(noise, false_alarm):
    """Kolmogorov and Smirnov's test."""
    return kstest(noise, norm.cdf).pvalue > false_alarm


def tails_are_gaussian(noise, false_alarm):
    """Exact test of how many numbers lie far out."""
    low, high = binom.ppf([false_alarm / 2, 1 - false_alarm / 2], noise.size, 2 * norm.sf(FAR))
    return low <= (abs(noise) > FAR).sum() <= high


@pytest.fixture(scope="module")
def noise():
    return noise_of_fits(FITS)


@pytest.fixture
def plant(monkeypatch):
    """Put a fault in place of the noise source of the mechanisms."""
    return lambda faulty: monkeypatch.setattr(sums, "perturb", faulty)


def test_fits_have_the_noise_that_was_charged(noise, false_alarm):
    """7,200 numbers: 10% too much or too little noise is missed with probability below 1e-9."""
    assert variance_is_1(noise, false_alarm)
    assert not variance_is_1(0.9 * noise, false_alarm)
    assert not variance_is_1(1.1 * noise, false_alarm)


@pytest.mark.parametrize(("share", "n_fits"), [(0.5, 20), (0.9, FITS)])
def test_fits_with_too_little_noise_are_found(plant, share, n_fits, false_alarm):
    plant(lambda values, scale: perturb(values, share * scale))
    assert not variance_is_1(noise_of_fits(n_fits), false_alarm)


def test_fits_are_independent_whatever_was_seeded(noise, false_alarm):
    """3,600 pairs: a correlation of 0.2 is missed with probability below 1e-9."""
    assert fits_are_independent(noise, false_alarm)
    assert len(np.unique(noise)) == noise.size


@pytest.mark.parametrize("shared", [1.0, 0.2])
def test_noise_that_listens_to_a_seed_is_found(plant, shared, false_alarm):
    """A fifth of the variance from numpy's global generator is enough."""

    def faulty(values, scale):
        seeded = np.random.normal(0, scale * np.sqrt(shared), np.shape(values))
        return perturb(values, scale * np.sqrt(1 - shared)) + seeded if shared < 1 else values + seeded

    plant(faulty)
    assert not fits_are_independent(noise_of_fits(FITS), false_alarm)


def draw(n_draws, scale=1.0):
    """Noise on numbers of many sizes, in units of its scale."""
    values = np.linspace(-50, 50, n_draws)
    return (perturb(values, 1.7 * scale) - values) / 1.7


@pytest.fixture(scope="module")
def draws():
    return draw(DRAWS)


def test_noise_is_gaussian_in_shape_and_tails(draws, false_alarm):
    assert shape_is_gaussian(draws, false_alarm)
    assert tails_are_gaussian(draws, false_alarm)
    assert variance_is_1(draws, false_alarm)


def test_noise_of_another_shape_is_found(draws, false_alarm):
    assert not shape_is_gaussian(draw(DRAWS, scale=0.9), false_alarm)
    assert not shape_is_gaussian(np.random.default_rng(1).laplace(0, np.sqrt(0.5), DRAWS), false_alarm)
    assert not tails_are_gaussian(np.clip(draws, -FAR, FAR), false_alarm)  # δ would be large at every ε


@pytest.mark.slow
def test_noise_is_gaussian_in_many_draws(false_alarm):
    """200,000 numbers: the shape alone shows noise that is 5% too small."""
    noise = draw(200_000)
    assert shape_is_gaussian(noise, false_alarm)
    assert tails_are_gaussian(noise, false_alarm)
    assert variance_is_1(noise, false_alarm)
    assert not shape_is_gaussian(draw(200_000, scale=0.95), false_alarm)


@pytest.mark.slow
def test_simulated_noise_is_gaussian_too(simulated, false_alarm):
    noise = draw(1_000_000)
    assert shape_is_gaussian(noise, false_alarm)
    assert randomness.current_simulation() is simulated


def test_the_checks_are_sharp(false_alarm):
    """Power, from exact distributions or, for the shape, from the numbers at one standard deviation alone."""
    for share, n_fits in ((0.5, 20), (0.9, FITS)):
        low = chi2.ppf(false_alarm / 2, n_fits * PER_FIT)
        assert chi2.sf(low / share**2, n_fits * PER_FIT) < 1e-9
    seeded = 0.2 * np.random.RandomState(1).normal(size=PER_FIT).var()  # what that seed gives is not quite 1
    pairs = FITS // 2 * PER_FIT
    assert norm.cdf(norm.isf(false_alarm / 2) - np.arctanh(seeded / (seeded + 0.8)) * np.sqrt(pairs - 3)) < 1e-9
    for n_draws, scale in ((DRAWS, 0.9), (200_000, 0.95)):
        critical = np.sqrt(np.log(2 / false_alarm) / 2 / n_draws)
        below = norm.cdf(1 / scale)
        gap = below - norm.cdf(1)
        assert norm.cdf((critical - gap) / np.sqrt(below * (1 - below) / n_draws)) < 1e-9
    assert binom.ppf(false_alarm / 2, DRAWS, 2 * norm.sf(FAR)) > 0  # clipped tails have none
