"""What many tests share."""

from types import SimpleNamespace

import pytest

# skdpal is imported inside the fixtures: coverage starts after this file


def pytest_configure(config):
    # here, not in pyproject.toml: naming the class there would import the package
    config.addinivalue_line("filterwarnings", "ignore:simulation:skdpal.privacy.errors.PrivacyLeakWarning")


@pytest.fixture
def budget():
    from skdpal.privacy import PrivacyBudget

    return PrivacyBudget(2.0, 1e-5)


@pytest.fixture
def ledger(budget):
    from skdpal.privacy import PrivacyLedger

    return PrivacyLedger(budget)


@pytest.fixture
def simulated():
    """A block of seeded noise around the test."""
    from skdpal.privacy.randomness import simulation

    with simulation(seed=7) as block:
        yield block


@pytest.fixture(scope="session")
def srbct():
    """Cell lines and tumours, with names."""
    from skdpal.datasets import load_srbct

    data = load_srbct(as_frame=True)
    public = data.is_cell_line
    return SimpleNamespace(
        X_public=data.data[public], y_public=data.target[public], X=data.data[~public], y=data.target[~public]
    )


@pytest.fixture(scope="session")
def embedded(srbct):
    """The same in 16 dimensions, with prior and reference."""
    from skdpal import DPPrototypeClassifier, PublicEncoder

    encoder = PublicEncoder(n_components=16, sample_scaling="standardize").fit(srbct.X_public, srbct.y_public)
    rows = encoder.transform(srbct.X_public)
    return SimpleNamespace(
        encoder=encoder,
        prior=DPPrototypeClassifier.prior_from_public(rows, srbct.y_public),
        reference=encoder.out_of_sample(srbct.X_public, srbct.y_public),
        X_public=rows,
        X=encoder.transform(srbct.X),
        y=srbct.y.to_numpy(dtype=str),
    )
