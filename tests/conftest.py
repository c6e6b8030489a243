"""What many tests share."""

import os
from types import SimpleNamespace

import pytest

collect_ignore = ["benchmarks/cohorts/peers.py"]  # it runs in an environment of its own

# one thread each: two workers with two threads on two cores wait for each other (before numpy is imported)
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from hypothesis import settings  # noqa: E402

# a busy machine is no counterexample; what lands must not depend on the day's luck, so CI repeats its examples
settings.register_profile("skdpal", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("skdpal")

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
    """Fresh, in memory, ε = 2."""
    from skdpal.privacy import PrivacyLedger

    return PrivacyLedger(budget)


@pytest.fixture
def exhausted(budget):
    """A ledger that has nothing left for anybody."""
    from skdpal.privacy import PrivacyLedger, calibrate, events

    ledger = PrivacyLedger(budget)
    ledger.charge(events.gaussian(calibrate(events.gaussian, budget)), label="everything")
    return ledger


@pytest.fixture
def simulated():
    """A block of seeded noise around the test."""
    from skdpal.privacy.randomness import simulation

    with simulation(seed=7) as block:
        yield block


class Untouchable:
    """Stands for patients whose rows nobody may read yet."""

    def _touched(self, *arguments):
        raise AssertionError("the patients' rows were read")

    __len__ = __iter__ = __getitem__ = __array__ = __getattr__ = _touched


@pytest.fixture
def untouchable():
    return Untouchable()


@pytest.fixture
def journal():
    """The rows of a ledger's journal, to see that nothing was added."""

    def rows(ledger):
        return ledger.root._book.journal.read(lambda transaction: transaction.rows()[0])

    return rows


@pytest.fixture(scope="session")
def srbct():
    """Cell lines and tumours, with names."""
    from skdpal.datasets import load_srbct

    data = load_srbct(as_frame=True)
    public = data.is_cell_line
    return SimpleNamespace(
        data=data,
        X_public=data.data[public],
        y_public=data.target[public],
        X=data.data[~public],
        y=data.target[~public],
        # the same without names
        A_public=data.data[public].to_numpy(),
        A=data.data[~public].to_numpy(),
        labels_public=data.target[public].to_numpy(dtype=str),
        labels=data.target[~public].to_numpy(dtype=str),
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
        ids=srbct.X.index.to_numpy(dtype=str),
    )
