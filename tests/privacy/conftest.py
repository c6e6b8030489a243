"""What the tests of the kernel share."""

import sqlite3

import pytest

from skdpal.privacy import PrivacyLedger, calibrate, events


@pytest.fixture
def path(tmp_path):
    """Where `durable` lives."""
    return tmp_path / "study.ledger"


@pytest.fixture
def durable(path, budget):
    """A fresh ledger in a file, ε = 2."""
    return PrivacyLedger.create(path, budget)


@pytest.fixture
def whole(budget):
    """One release that takes the whole budget."""
    return events.gaussian(calibrate(events.gaussian, budget))


@pytest.fixture
def execute():
    """Another hand, which writes into a ledger's file."""

    def run(path, *statements):
        connection = sqlite3.connect(path)
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    return run
