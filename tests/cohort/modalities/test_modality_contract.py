"""scikit-learn's own checks of the late fusion, as in tests/estimators/test_sklearn_contract.py: without `blocks`, there is one modality.

(`ModalityBlocks` needs the names of columns, which these checks do not give.)
"""

from unittest import SkipTest

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdpal.cohort import DPModalityClassifier
from skdpal.privacy.randomness import simulation


@parametrize_with_checks([DPModalityClassifier(noise_multiplier=1e-9)])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_contract(estimator, check):
    with simulation(seed=0):
        try:
            check(estimator)
        except SkipTest as reason:
            if "SCIPY_ARRAY_API" not in str(reason):  # arrays of other libraries, which we do not claim to take
                raise
