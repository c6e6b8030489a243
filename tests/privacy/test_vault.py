"""Coins and members."""

import numpy as np
from scipy.stats import kstest

from skdpal.privacy.accounts import POOL
from skdpal.privacy.vault import Vault


def test_coins_are_uniform_fresh_for_each_label_and_the_same_when_asked_again():
    vault = Vault(None, create=True)
    patients = [str(number) for number in range(3000)]
    first, second = (np.array([vault.coin(label, patient) for patient in patients]) for label in ("r1", "r2"))
    for coins in (first, second):
        assert kstest(coins, "uniform").pvalue > 1e-6
        assert (coins < 1).all()
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(len(patients))
    assert vault.coin("r1", "0") == first[0]
    assert kstest(first**1.2, "uniform").pvalue < 1e-6  # what the test would say of biased coins


def test_two_vaults_have_two_secrets():
    assert Vault(None, create=True).coin("r", "p") != Vault(None, create=True).coin("r", "p")


def test_coins_survive_reopening(tmp_path):
    path = tmp_path / "x.vault"
    coin = Vault(path, create=True).coin("r", "p")
    assert Vault(path).coin("r", "p") == coin


def test_members_are_stored_as_keyed_digests(tmp_path):
    vault = Vault(tmp_path / "x.vault", create=True)
    vault.move(["ann", "bob"], "cohort/a")
    vault.move(["bob"], "cohort/b")
    vault.move([], "cohort/c")
    assert vault.accounts_of(["ann", "bob", "eve"]) == ["cohort/a", "cohort/b", POOL]
    assert not any(b"ann" in path.read_bytes() for path in tmp_path.iterdir())
