"""Coins and members."""

import base64
import hashlib
import hmac

import numpy as np
import pytest
from scipy.stats import kstest

from skdpal.privacy import LedgerError, PrivacyLedger
from skdpal.privacy.accounts import POOL
from skdpal.privacy.storage.vault import Vault


def test_coins_are_uniform_fresh_for_each_label_and_the_same_when_asked_again():
    vault = Vault(None, ledger="a")
    patients = [str(number) for number in range(3000)]
    first, second = (vault.coins(label, patients) for label in ("r1", "r2"))
    for coins in (first, second):
        assert kstest(coins, "uniform").pvalue > 1e-6
        assert (coins < 1).all()
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(len(patients))
    assert vault.coins("r1", ["0"]) == first[0]
    assert kstest(first**1.2, "uniform").pvalue < 1e-6  # what the test would say of biased coins


def test_two_vaults_have_two_secrets():
    assert Vault(None, ledger="a").coins("r", ["p"]) != Vault(None, ledger="a").coins("r", ["p"])


def test_coins_survive_reopening(tmp_path):
    path = tmp_path / "x.vault"
    coin = Vault(path, ledger="a").coins("r", ["p"])
    assert Vault(path).coins("r", ["p"]) == coin


def test_coins_come_from_nowhere_but_the_vault(tmp_path, budget):
    """Two hospitals with the same patients, or an outsider who knows the ledger, toss other coins."""
    first, second = (PrivacyLedger.create(tmp_path / name, budget) for name in ("a.ledger", "b.ledger"))
    assert first.coins("round", ["p"]) != second.coins("round", ["p"])
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


def siphash(key, text, compress=2, finish=4):
    """SipHash-c-d, written down from the paper (Aumasson and Bernstein 2012)."""
    mask = 2**64 - 1

    def turn(value, by):
        return ((value << by) | (value >> (64 - by))) & mask

    def rounds(v, times):
        for _ in range(times):
            v[0] = (v[0] + v[1]) & mask
            v[1] = turn(v[1], 13) ^ v[0]
            v[0] = turn(v[0], 32)
            v[2] = (v[2] + v[3]) & mask
            v[3] = turn(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & mask
            v[3] = turn(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & mask
            v[1] = turn(v[1], 17) ^ v[2]
            v[2] = turn(v[2], 32)

    low, high = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
    v = [low ^ 0x736F6D6570736575, high ^ 0x646F72616E646F6D, low ^ 0x6C7967656E657261, high ^ 0x7465646279746573]
    padded = text + bytes(-(len(text) + 1) % 8) + bytes([len(text) % 256])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        rounds(v, compress)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(v, finish)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def test_coins_are_the_published_keyed_hash():
    """So no version of pandas can move a coin in the middle of a study; a bijection of 64 bits follows the hash."""
    assert siphash(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5  # of the paper's appendix
    vault, mask = Vault(None, ledger="a"), 2**64 - 1
    names = ["", "p", "p0000001", "exactly8", "Zoë", "with space", "x" * 300, "nan", "p\0q", "p"]
    message = hmac.new(vault._secret, b"coins\nround 1", hashlib.sha256).digest()
    key = base64.b85encode(message)[:16]
    for name, coin in zip(names, vault.coins("round 1", names), strict=True):
        value = siphash(key, name.encode())
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
            value = ((value ^ (value >> shift)) * factor) & mask
        assert coin == (value >> 11) / 2**53


def test_coins_of_nobody_are_none():
    assert Vault(None, ledger="a").coins("round 1", []).shape == (0,)
