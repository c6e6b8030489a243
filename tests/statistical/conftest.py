"""What the statistical tests share."""

import pytest


@pytest.fixture(scope="session")
def false_alarm():
    """How often a test of this folder may fail though nothing is wrong."""
    return 1e-6
