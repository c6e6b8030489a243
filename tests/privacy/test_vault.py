"""Coins and members."""

import hashlib

import numpy as np
import pytest
from scipy.stats import kstest

from skdpal.privacy import LedgerError, PrivacyLedger
from skdpal.privacy.accounts import POOL
from skdpal.privacy.storage.vault import Vault


def test_coins_are_uniform_fresh_for_each_label_and_the_same_when_asked_again():
    vault = Vault(None, ledger="a")
    patients = [str(number) for number in range(3000)]
    first, second = (np.array([vault.coin(label, patient) for patient in patients]) for label in ("r1", "r2"))
    for coins in (first, second):
        assert kstest(coins, "uniform").pvalue > 1e-6
        assert (coins < 1).all()
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(len(patients))
    assert vault.coin("r1", "0") == first[0]
    assert kstest(first**1.2, "uniform").pvalue < 1e-6  # what the test would say of biased coins


def test_two_vaults_have_two_secrets():
    assert Vault(None, ledger="a").coin("r", "p") != Vault(None, ledger="a").coin("r", "p")


def test_coins_survive_reopening(tmp_path):
    path = tmp_path / "x.vault"
    coin = Vault(path, ledger="a").coin("r", "p")
    assert Vault(path).coin("r", "p") == coin


def test_coins_come_from_nowhere_but_the_vault(tmp_path, budget):
    """Two hospitals with the same patients, or an outsider who knows the ledger, toss other coins."""
    first, second = (PrivacyLedger.create(tmp_path / name, budget) for name in ("a.ledger", "b.ledger"))
    assert first.coin("round", "p") != second.coin("round", "p")
    secret = first._book.vault._secret
    assert len(secret) == 32
    assert secret not in (tmp_path / "a.ledger").read_bytes()
    assert (tmp_path / "a.ledger.vault").stat().st_mode & 0o777 == 0o600


def test_members_are_kept_as_keyed_digests_and_in_the_vault_only(tmp_path, budget):
    ledger = PrivacyLedger.create(tmp_path / "a.ledger", budget)
    ledger.split(POOL, "cohort/a", ["ann", "bob", "bob"])
    ledger.split("cohort/a", "cohort/b", ["bob"])
    ledger.split(POOL, "cohort/c", [])
    assert ledger.accounts_of(["ann", "bob", "eve"]) == ["cohort/a", "cohort/b", POOL]
    digest = ledger._book.vault._digest("ann").hex().encode()
    assert digest in (tmp_path / "a.ledger.vault").read_bytes()
    assert b"ann" not in (tmp_path / "a.ledger.vault").read_bytes()
    for trace in (b"ann", digest, hashlib.sha256(b"ann").hexdigest().encode()):
        assert trace not in (tmp_path / "a.ledger").read_bytes()


def test_a_vault_that_disappears_is_noticed_and_not_made_anew(tmp_path, budget):
    ledger = PrivacyLedger.create(tmp_path / "a.ledger", budget)
    (tmp_path / "a.ledger.vault").unlink()
    for attempt in (
        lambda: ledger.accounts_of(["p"]),
        lambda: ledger.split(POOL, "cohort/a", ["p"]),
        lambda: PrivacyLedger.open(tmp_path / "a.ledger"),
    ):
        with pytest.raises(FileNotFoundError, match="restore the file"):
            attempt()
    assert not (tmp_path / "a.ledger.vault").exists()


def test_a_vault_that_is_no_vault_is_refused(tmp_path, budget):
    PrivacyLedger.create(tmp_path / "a.ledger", budget)
    (tmp_path / "a.ledger.vault").write_bytes(b"garbage " * 500)
    with pytest.raises(LedgerError, match="cannot be used"):
        PrivacyLedger.open(tmp_path / "a.ledger")
