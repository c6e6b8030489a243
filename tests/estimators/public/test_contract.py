"""scikit-learn's own checks. What is excused is excused because an encoder that was fitted is frozen."""

from unittest import SkipTest

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdpal import PublicEncoder
from skdpal.estimators.public import DPShift
from skdpal.privacy.randomness import simulation

EXCUSED = {
    "check_fit_idempotent": "fits twice; the second fit of a frozen encoder is refused",
    "check_pipeline_consistency": "a Pipeline uses a fitted encoder as it is, and fits none: X may be patients",
    "check_dtype_object": "fits twice; the second fit of a frozen encoder is refused",
}
ENCODERS = [
    PublicEncoder(n_components=1),
    PublicEncoder(n_components=1, sample_scaling="rank"),
    PublicEncoder("neural", 1, widths=(16, 4), max_epochs=2, random_state=0),
]


def unless_skipped(check, estimator):
    try:
        check(estimator)
    except SkipTest as reason:
        if "SCIPY_ARRAY_API" not in str(reason):  # arrays of other libraries, which we do not claim to take
            raise


@parametrize_with_checks(ENCODERS, expected_failed_checks=lambda estimator: EXCUSED)
@pytest.mark.filterwarnings("ignore")
def test_the_encoder_keeps_scikit_learns_contract(estimator, check):
    unless_skipped(check, estimator)


@parametrize_with_checks([DPShift(noise_multiplier=1e-9)])
@pytest.mark.filterwarnings("ignore")
def test_the_shift_keeps_scikit_learns_contract(estimator, check):
    with simulation(seed=0):
        unless_skipped(check, estimator)
