"""scikit-learn's own checks, with seeded noise, since they fit twice and compare."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdpal import DPPrototypeClassifier
from skdpal.privacy.randomness import simulation

FITS_DIFFER = "every release draws fresh noise: fitting twice, on purpose, does not give the same model"
EXPECTED = {
    "check_fit_idempotent": FITS_DIFFER,
    "check_supervised_y_2d": FITS_DIFFER,
    "check_classifier_data_not_an_array": FITS_DIFFER,
}


@parametrize_with_checks(
    [DPPrototypeClassifier(noise_multiplier=0.01)], expected_failed_checks=lambda estimator: EXPECTED
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_contract(estimator, check):
    with simulation(0):
        check(estimator)
