"""The encoder that public data begin and patients finish."""

from unittest import SkipTest

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdpal import (
    BudgetExhausted,
    BudgetGuard,
    DPEncoder,
    DPPrototypeClassifier,
    PrivacyBudget,
    PrivacyLedger,
    PublicEncoder,
)
from skdpal.privacy import calibrate, events
from skdpal.privacy.randomness import simulation


@pytest.fixture(scope="module")
def public(srbct):
    encoder = PublicEncoder("neural", 8, sample_scaling="standardize", widths=(32, 16), max_epochs=60, random_state=0)
    return encoder.fit(srbct.X_public, srbct.y_public)


@pytest.fixture(scope="module")
def prior(public, srbct):
    return DPPrototypeClassifier.prior_from_public(public.transform(srbct.X_public), srbct.labels_public)


def test_a_fit_is_charged_before_a_row_is_read(exhausted, untouchable, public):
    with pytest.raises(BudgetExhausted, match="fit of the encoder costs"):
        DPEncoder(public, 10.0, classes=["a", "b"], ledger=exhausted).fit(untouchable, untouchable)


def test_it_is_charged_once_and_transform_is_free(ledger, public, srbct):
    encoder = DPEncoder(public, 10.0, classes=np.unique(srbct.labels), ledger=ledger, max_epochs=4)
    assert encoder.privacy_event() == events.gaussian(10.0, steps=4)
    rows = encoder.fit(srbct.X, srbct.labels).transform(srbct.X)
    assert [receipt.event for receipt in ledger.receipts()] == [encoder.privacy_event()]
    assert rows.shape == (37, 8)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    assert list(encoder.get_feature_names_out()[:1]) == ["dpencoder0"]
    assert list(encoder.feature_names_in_) == list(srbct.X.columns)


def test_without_steps_it_is_the_public_encoder(simulated, public, prior, srbct):
    encoder = DPEncoder(public, 1e-4, prior=prior, lr=1e-9, max_epochs=1).fit(srbct.X, srbct.labels)
    assert np.allclose(encoder.transform(srbct.X), public.transform(srbct.X), atol=1e-4)
    # and its head is the public model: nearest class mean
    nearest = ((public.transform(srbct.X)[:, None] - prior.means) ** 2).sum(axis=2).argmin(axis=1)
    rows = public.network_inputs(srbct.X)
    assert np.array_equal(encoder.classifier_.predict(rows), prior.classes[nearest])


def test_patients_move_it(simulated, public, prior, srbct):
    encoder = DPEncoder(public, 1e-4, prior=prior, max_epochs=20).fit(srbct.X, srbct.labels)
    assert (encoder.classifier_.predict(public.network_inputs(srbct.X)) == srbct.labels).mean() > 0.95
    assert np.abs(encoder.transform(srbct.X) - public.transform(srbct.X)).max() > 0.01
    # the public encoder itself is left alone
    assert not any(parameter.requires_grad for parameter in public.network_.network.parameters())


def test_a_pipeline_pays_for_both_and_the_guard_knows(public, srbct):
    budget = PrivacyBudget(2.0, 1e-5)
    ledger = PrivacyLedger(budget)
    noise = calibrate(lambda sigma: events.composed([events.gaussian(sigma, steps=4), events.gaussian(sigma)]), budget)
    classes = np.unique(srbct.labels)
    model = make_pipeline(
        DPEncoder(public, noise, classes=classes, ledger=ledger, max_epochs=4),
        DPPrototypeClassifier(noise, classes=classes, ledger=ledger),
    )
    guard = BudgetGuard(model, ledger=ledger).fit(srbct.X, srbct.labels)
    assert guard.predict(srbct.X).shape == (37,)
    assert ledger.spent() == pytest.approx(2.0, abs=1e-3)
    with pytest.raises(BudgetExhausted):
        BudgetGuard(model, ledger=ledger).fit(srbct.X, srbct.labels)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda public, srbct: PublicEncoder(n_components=4).fit(srbct.X_public, srbct.labels_public), "neural"),
        (lambda public, srbct: PublicEncoder("neural"), "fitted on public data"),
        (lambda public, srbct: object(), "PublicEncoder"),
    ],
)
def test_there_must_be_something_to_fine_tune(ledger, public, srbct, make, message):
    encoder = DPEncoder(make(public, srbct), 10.0, classes=np.unique(srbct.labels), ledger=ledger)
    with pytest.raises(ValueError, match=message):
        encoder.fit(srbct.X, srbct.labels)
    assert ledger.spent() == 0


def test_a_prior_of_another_space_is_refused(ledger, public, srbct):
    prior = DPPrototypeClassifier.prior_from_public(np.eye(3), np.unique(srbct.labels))
    with pytest.raises(ValueError, match="8 dimensions"):
        DPEncoder(public, 10.0, prior=prior, ledger=ledger).fit(srbct.X, srbct.labels)
    assert ledger.spent() == 0


def test_clones_keep_the_public_part(public):
    assert clone(DPEncoder(public)).public is public


@parametrize_with_checks([DPEncoder(noise_multiplier=1e-12, widths=(16,), random_state=0, max_epochs=20)])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_contract(estimator, check):
    with simulation(seed=0):
        try:
            check(estimator)
        except SkipTest as reason:
            if "SCIPY_ARRAY_API" not in str(reason):  # arrays of other libraries, which we do not claim to take
                raise
