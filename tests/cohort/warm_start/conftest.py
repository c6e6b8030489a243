"""A warm start on cell lines, and a study of it."""

from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def sources(srbct):
    """One of each kind."""
    from skdpal.cohort import PublicSource

    return SimpleNamespace(
        same=PublicSource.same_classes(srbct.X_public, srbct.y_public, n_components=16),
        other=PublicSource.other_classes(srbct.X_public, srbct.labels_public == "BL"),
        unlabelled=PublicSource.unlabelled(srbct.X_public),
        nothing=PublicSource.nothing(),
    )


@pytest.fixture
def study(srbct):
    """Starts a study of 10 tumours with a pool of 20."""
    from skdpal import PrivacyLedger, PrivateActiveLearner

    def start(warm, ledger=None, **options):
        X, y = warm.transform(srbct.X), srbct.labels
        ledger = PrivacyLedger(warm.budget) if ledger is None else ledger
        query = warm.query(n_pool=20)
        return (
            PrivateActiveLearner(warm.estimator(), query, X.iloc[:10], y[:10], ledger, **options),
            X.iloc[10:30],
            y[10:30],
        )

    return start
