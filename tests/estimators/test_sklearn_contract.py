"""scikit-learn's own checks, in a simulation.

They infer classes, need no ledger, and compare models that were fitted twice: each check has its own seeded block, with so
little noise that the fresh noise of the second fit stays below their tolerances. No check is excused.
"""

from unittest import SkipTest

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdpal import DPPrototypeClassifier
from skdpal.privacy.randomness import simulation


@parametrize_with_checks([DPPrototypeClassifier(noise_multiplier=1e-9)])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_contract(estimator, check):
    with simulation(seed=0):
        try:
            check(estimator)
        except SkipTest as reason:
            if "SCIPY_ARRAY_API" not in str(reason):  # arrays of other libraries, which we do not claim to take
                raise


def test_the_same_checks_see_a_model_that_fits_differently_each_time():
    from sklearn.utils.estimator_checks import check_fit_idempotent

    with simulation(seed=0), pytest.raises(AssertionError):
        check_fit_idempotent("DPPrototypeClassifier", DPPrototypeClassifier(noise_multiplier=2.0))
