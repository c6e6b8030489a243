"""How much a cohort can teach, from public numbers; the warning that says so."""

import math
import re
import warnings

import numpy as np
import pytest

from skdpal import DPLinearClassifier, DPPrototypeClassifier, PrivacyBudget, PrivacyLedger, plan_study
from skdpal.estimators import PublicPrior
from skdpal.estimators.regime import WeakSignalWarning, kappa, recommended_components, recommended_steps
from skdpal.privacy.randomness import simulation

LEARNERS = [DPPrototypeClassifier, DPLinearClassifier]


def test_kappa_is_signal_to_noise():
    assert kappa(32, 2.0, 16) == pytest.approx(32 * 0.5 / 4)
    assert kappa(0, 2.0, 16) == 0.0
    assert kappa([10, 20], [1.0, 4.0], 9) == pytest.approx(math.sqrt(10**2 + 5**2) / 3)


def test_kappa_of_a_plan_is_that_of_its_releases():
    plan = plan_study(PrivacyBudget(2.0), 8, 40, 8, 4, n_components=12)
    assert plan.kappa == pytest.approx(kappa([8] * 5, plan.noise_multiplier, 12))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((-1, 2.0, 4), "expected_records"),
        ((8, 0.0, 4), "noise_multiplier"),
        ((8, 2.0, 0), "n_components"),
        (([8, 8], [2.0], 4), "noise_multiplier"),
        ((float("nan"), 2.0, 4), "expected_records"),
    ],
)
def test_bad_numbers_are_refused_by_name(arguments, name):
    with pytest.raises(ValueError, match=f"Expected {name}"):
        kappa(*arguments)


@pytest.mark.parametrize("records", [6, 10, 25, 60])
@pytest.mark.parametrize("noise", [0.7, 2.0, 7.0])
def test_without_a_prior_the_largest_dimension_with_signal_is_recommended(records, noise):
    found = recommended_components(records, noise, most=10**6)
    assert found == 2 or kappa(records, noise, found) >= 2
    assert kappa(records, noise, found + 1) < 2


def test_a_prior_lifts_the_limit_and_small_public_data_lower_it():
    assert recommended_components(8, 7.0) == 2
    assert recommended_components(8, 7.0, n_public=46) == 24
    assert recommended_components(8, 7.0, n_public=13) == 12
    assert recommended_components(8, 7.0, n_public=46, most=9) == 9


def test_more_signal_never_means_fewer_steps():
    steps = [recommended_steps(strength) for strength in np.linspace(0, 40, 200)]
    assert steps == sorted(steps)
    assert set(steps) == {1, 4, 16}


# -- the warning -----------------------------------------------------------------------------


def a_cohort(n, d=4):
    rows = np.random.default_rng(0).normal(size=(n, d)) / 4
    return rows, np.where(rows[:, 0] > 0, "b", "a")


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_hopeless_fit_warns_before_it_pays(learner, journal):
    ledger = PrivacyLedger(PrivacyBudget(2.0))
    X, y = a_cohort(13)
    model = learner(4.0, classes=["a", "b"], ledger=ledger)
    with warnings.catch_warnings():
        warnings.simplefilter("error", WeakSignalWarning)
        with pytest.raises(WeakSignalWarning) as caught:
            model.fit(X, y, expected_records=9)
    assert len(journal(ledger)) == 1
    message = str(caught.value)
    for word in ("κ", "1.12", "n=9", "μ=0.25", "d=4", "fewer dimensions", "public prior", "more patients", "epsilon"):
        assert word in message
    assert not re.search(r"\b13\b", message)  # the realised number


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("reason", ["signal", "prior", "simulation", "later cohort"])
def test_otherwise_there_is_none(learner, reason):
    X, y = a_cohort(12)
    prior = PublicPrior.from_public(X, y) if reason == "prior" else None
    with warnings.catch_warnings():
        if reason == "simulation":
            with simulation(seed=0):
                warnings.simplefilter("error")
                learner(4.0, classes=["a", "b"]).fit(X, y)
            return
        warnings.simplefilter("error")
        model = learner(4.0, prior, ["a", "b"], PrivacyLedger(PrivacyBudget(8.0)))
        if reason == "later cohort":
            model.partial_fit(X, y, expected_records=16)
            model.partial_fit(X[:1], y[:1], expected_records=1)
        else:
            model.fit(X, y, expected_records=16 if reason == "signal" else 9)
