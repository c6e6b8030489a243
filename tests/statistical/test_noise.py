"""The noise that is drawn is the noise that is charged.

False-alarm rate 1e-6 everywhere. 400 fits give 400 x 3 x 5 = 6000 numbers; noise of half the size, and noise 10% too
small, are rejected with a probability above 1 - 1e-9 (the chi-square statistic then lies 47 and 10 standard deviations low).
"""

import random

import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm

from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
from skdpal.privacy.randomness import perturb, simulation

ALARM = 1e-6
X, Y = np.eye(4), ["a", "a", "b", "c"]
SIGMA = 3.0


def variance_is(noise, sigma):
    """Whether the noise could have the variance it was charged for."""
    statistic = (noise**2).sum() / sigma**2
    return chi2.ppf(ALARM / 2, noise.size) < statistic < chi2.ppf(1 - ALARM / 2, noise.size)


def releases(n_fits, seeds=False):
    """The noise on `release_` of real fits, one row a fit."""
    ledger = PrivacyLedger(PrivacyBudget(1e6))
    with simulation(0):
        exact = np.column_stack(DPPrototypeClassifier(1e-9, classes=["a", "b", "c"]).fit(X, Y).release_)
    rows = []
    for _ in range(n_fits):
        if seeds:
            import torch

            random.seed(0)
            np.random.seed(0)
            torch.manual_seed(0)
        model = DPPrototypeClassifier(SIGMA, classes=["a", "b", "c"], ledger=ledger).fit(X, Y)
        rows.append((np.column_stack(model.release_) - exact).ravel())
    return np.array(rows)


@pytest.fixture(scope="module")
def noise():
    return releases(400)


def test_400_fits_have_the_charged_variance(noise):
    assert variance_is(noise, SIGMA)
    assert kstest(noise.ravel(), "norm", args=(0, SIGMA)).pvalue > ALARM


@pytest.mark.parametrize("fault", [0.5, 0.9])
def test_the_same_check_catches_too_little_noise(noise, fault):
    assert not variance_is(noise * fault, SIGMA)


def independent(noise):
    """Whether products of successive fits average to zero."""
    products = (noise[:-1] * noise[1:]).mean(axis=1) / SIGMA**2
    z = products.mean() * np.sqrt((noise.shape[0] - 1) * noise.shape[1])
    return abs(z) < norm.ppf(1 - ALARM / 2)


def test_equal_seeds_do_not_give_equal_noise():
    noise = releases(60, seeds=True)
    assert len(np.unique(noise)) == noise.size
    assert independent(noise)
    assert not independent(np.tile(noise[:1], (60, 1)))  # what a seed would do


@pytest.mark.slow
def test_the_production_sampler_is_gaussian():
    draws = np.concatenate([perturb(np.zeros(1000), 2.0) for _ in range(100)])
    assert kstest(draws, "norm", args=(0, 2.0)).pvalue > ALARM
    assert kstest(draws * 0.9, "norm", args=(0, 2.0)).pvalue < ALARM
