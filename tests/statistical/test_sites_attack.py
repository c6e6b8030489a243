"""Two worlds in a pooled study of hospitals: with the patient, and with their content gone.

Verdicts on faultless code are wrong with probability 1e-6 at most, and so are the others: `test_the_attacks_are_sharp` sums
it from the exact error rates. The noise is that of production.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import norm

from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
from skdpal.audit import attack, mu_lower_bound
from skdpal.cohort import Sites
from skdpal.privacy.accounting import ceiling_mu_squared
from skdpal.privacy.mechanisms import GaussianSum, release
from tests.statistical.sharpness import MISSED, missed

DELTA = 1e-5
SURE = 1 - 1e-6
CEILINGS = {"a": 4.0, "b": 12.0}
ALIKE = {"a": 8.0, "b": 10.0}


def mu_of(ceiling):
    return math.sqrt(ceiling_mu_squared(PrivacyBudget(ceiling, DELTA)))


MU = {site: mu_of(ceiling) for site, ceiling in CEILINGS.items()}


@dataclass(frozen=True)
class Case:
    """The patient's statistic has this μ; `promised` is what was promised to them."""

    world: callable
    mu: float
    promised: float
    runs: int

    def proves(self, errors):
        return mu_lower_bound(*errors, self.runs, SURE)

    def carry_out(self):
        found = attack(self.world, self.runs, confidence=SURE, threshold=0.0)
        return self.proves((found.false_positives, found.false_negatives))


def world(at, how, length=1.0, ceilings=CEILINGS):
    """Patients who have nothing to do with one another, a run each: every one has a coordinate, along which we look.

    `at` are the sites at which each is registered, under an id of its own there.
    """

    def run(present, runs):
        members = {site: [f"Canary-{at} {site}" for at in range(runs)] if site in at else [] for site in ceilings}
        sites = Sites(members, ceilings).open(PrivacyLedger(PrivacyBudget(max(ceilings.values()), DELTA)))
        rows, found, mus = present * length * np.eye(runs), np.zeros(runs), []
        for site in at:
            noises = sites.noise_multipliers()
            payer, noise = sites.shares() if how == "shares" else (sites.within(site), noises[site])
            if how == "strictest":
                payer, noise = sites.ledger, max(noises.values())
            mus.append(min(1.0, noise / noises[site]) / noise)
            values = release(lambda: rows, GaussianSum(noise), payer, "x", record_ids=members[site])
            found += mus[-1] * values / noise
        mu = math.hypot(*mus)
        return found / mu - mu / 2

    return run


def not_applied(monkeypatch):
    """Shares that are paid for and not applied: everybody counts 1."""
    run = GaussianSum.run
    monkeypatch.setattr(GaussianSum, "run", lambda self, rows, ids, shares=None: run(self, rows, ids))


def shared_before_clipping(monkeypatch):
    """Shared, then clipped: long rows of a poor site are as long as anybody's."""
    run = GaussianSum.run

    def planted(self, rows, ids, shares=None):
        weights = 1.0 if shares is None else np.array([shares[name] for name in ids])[:, None]
        return run(self, rows * weights, ids)

    monkeypatch.setattr(GaussianSum, "run", planted)


BOTH = math.hypot(MU["a"], MU["b"])
FAULTLESS = {
    "shares, at the strict site": lambda: Case(world("a", "shares"), MU["a"], MU["a"], 2_000),
    "shares, at the strict site, a large patient": lambda: Case(world("a", "shares", 9.0), MU["a"], MU["a"], 2_000),
    "shares, at the other": lambda: Case(world("b", "shares"), MU["b"], MU["b"], 800),
    "each, at the strict site": lambda: Case(world("a", "each"), MU["a"], MU["a"], 2_000),
    "each, at the other": lambda: Case(world("b", "each"), MU["b"], MU["b"], 800),
    "strictest, at the other": lambda: Case(world("b", "strictest"), MU["a"], MU["a"], 2_000),
    "a duplicate that nobody found, by what it pays": lambda: Case(world("ab", "each"), BOTH, BOTH, 800),
}
FAULTY = {
    "a duplicate that nobody found, by what the strict site promised": (
        lambda: Case(world("ab", "each"), BOTH, MU["a"], 600),
        lambda patch: None,
    ),
    "a duplicate that nobody found, by the larger of the promises": (
        lambda: Case(world("ab", "each", ceilings=ALIKE), math.hypot(mu_of(8.0), mu_of(10.0)), mu_of(10.0), 2_500),
        lambda patch: None,
    ),
    "a share that is not applied": (lambda: Case(world("a", "shares"), MU["b"], MU["a"], 600), not_applied),
    "a share before clipping": (
        lambda: Case(world("a", "shares", 9.0), MU["b"], MU["a"], 600),
        shared_before_clipping,
    ),
}


@pytest.mark.parametrize("name", FAULTLESS)
def test_no_hospital_tells_more_than_it_promised(name):
    case = FAULTLESS[name]()
    proven = case.carry_out()
    assert 0.25 * case.promised <= proven <= case.promised


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_tells_more(name, monkeypatch):
    make, plant = FAULTY[name]
    plant(monkeypatch)
    assert make().carry_out() > make().promised


@pytest.mark.parametrize("name", [*FAULTLESS, *FAULTY])
def test_the_attacks_are_sharp(name):
    case, share = (FAULTLESS[name](), 0.25) if name in FAULTLESS else (FAULTY[name][0](), 1.0)
    error = norm.sf(case.mu / 2)
    assert missed((error, error), case.runs, mu=share * case.promised) < MISSED


# -- the normaliser ------------------------------------------------------------------------------


def normalisers(realised):
    """What a mean is divided by when the patient is there, and when not."""
    found, share = [], MU["a"] / MU["b"]
    for names in (["a-0", "a-1", "a-2"], ["a-0", "a-1"]):
        sites = Sites({"a": ["a-0", "a-1", "a-2"], "b": ["b-0"]}, CEILINGS).open(
            PrivacyLedger(PrivacyBudget(12.0, DELTA))
        )
        sites.ledger.begin_round("hidden", hidden=True)  # how many were accepted is private
        ids = [*names, "b-0"]
        fitted = sites.fit(
            DPPrototypeClassifier(classes=["x", "y"]),
            np.zeros((len(ids), 2)),
            ["x"] * len(ids),
            record_ids=ids,
            expected_records={"a": 2.0, "b": 2.0},
        )
        public = fitted.releases_[0].expected_records
        found.append(len(names) * share + 1.0 if realised else public)
    return found


def test_the_normaliser_does_not_tell_who_was_accepted():
    with_, without = normalisers(realised=False)
    assert with_ == without == pytest.approx(2.0 * MU["a"] / MU["b"] + 2.0)


def test_a_realised_weight_would_tell():
    """Published exactly, it differs by the patient's share in every run: no noise covers it."""
    with_, without = normalisers(realised=True)
    assert with_ - without == pytest.approx(MU["a"] / MU["b"])
