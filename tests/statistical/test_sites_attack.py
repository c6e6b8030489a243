"""Two worlds in a pooled study of hospitals: with the patient, and with their content gone.

Verdicts on faultless code are wrong with probability 1e-6 at most. Faults are found with probability 0.999 at least:
`test_the_attacks_are_sharp` computes it from the exact error rates. The noise is that of production.
"""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import binom, norm

from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
from skdpal.audit import attack, mu_lower_bound
from skdpal.cohort import Sites
from skdpal.privacy.accounting import ceiling_mu_squared
from skdpal.privacy.mechanisms import GaussianSum

DELTA = 1e-5
SURE = 1 - 1e-6
MISS = 4e-4
CEILINGS = {"a": 2.0, "b": 8.0}
MU = {site: math.sqrt(ceiling_mu_squared(PrivacyBudget(ceiling, DELTA))) for site, ceiling in CEILINGS.items()}
OTHERS = {"a": ["a-0", "a-1"], "b": ["b-0"]}
ROW = [0.6, 0.8]


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


def released(present, at, how, model=None):
    """All noisy numbers of one fit; the patient is registered at the sites `at`, each under an id of its own."""
    members = {site: [*names, *([f"Canary {site}"] if site in at else [])] for site, names in OTHERS.items()}
    sites = Sites(members, CEILINGS).open(PrivacyLedger(PrivacyBudget(8.0, DELTA)))
    ids = [name for names in members.values() for name in names]
    rows = [ROW if name.startswith("Canary") and present else [0.0, 0.0] for name in ids]
    y = ["x" if name.startswith("Canary") and present else "y" for name in ids]
    fitted = sites.fit(
        DPPrototypeClassifier(classes=["x", "y"]),
        np.array(rows),
        y,
        record_ids=ids,
        how=how,
        expected_records={site: 3.0 for site in members},
    )
    return fitted.releases_


def along(one):
    """What the patient adds to a release, in units of sensitivity 1: [x, 1]/√2 of their class."""
    return (float(one.sums[0] @ ROW) + float(one.counts[0])) / math.sqrt(2) / one.noise_multiplier


def world(at, how, weights, mu):
    """Along the patient's own direction; `y` of a patient who is gone stays in the other row, which nobody looks at."""

    def run(present, runs):
        found = []
        for _ in range(runs):
            values = [along(one) for one in released(present, at, how)]
            found.append(float(np.dot(weights, values)) / math.sqrt(np.dot(weights, weights)) - mu / 2)
        return np.array(found)

    return run


def unclipped(monkeypatch):
    """Shares that are paid for and not applied: everybody counts 1."""
    run = GaussianSum.run
    monkeypatch.setattr(GaussianSum, "run", lambda self, rows, ids, shares=None: run(self, rows, ids))


def shared_before_clipping(monkeypatch):
    """Shared, then clipped: long rows of a poor site are as long as anybody's."""
    run = GaussianSum.run

    def planted(self, rows, ids, shares=None):
        if shares is None:
            return run(self, rows, ids)
        return run(self, rows * np.array([shares[name] for name in ids])[:, None] * 9, ids)

    monkeypatch.setattr(GaussianSum, "run", planted)


BOTH = math.hypot(MU["a"], MU["b"])
FAULTLESS = {
    "shares, at the strict site": lambda: Case(world("a", "shares", [1], MU["a"]), MU["a"], MU["a"], 800),
    "shares, at the other": lambda: Case(world("b", "shares", [1], MU["b"]), MU["b"], MU["b"], 400),
    "each, at the strict site": lambda: Case(world("a", "each", [1, 0], MU["a"]), MU["a"], MU["a"], 400),
    "each, at the other": lambda: Case(world("b", "each", [0, 1], MU["b"]), MU["b"], MU["b"], 400),
    "strictest, at the other": lambda: Case(world("b", "strictest", [1], MU["a"]), MU["a"], MU["a"], 400),
    "a duplicate that nobody found, by what it pays": lambda: Case(
        world("ab", "each", [MU["a"], MU["b"]], BOTH), BOTH, BOTH, 400
    ),
}
FAULTY = {
    "a duplicate that nobody found, by what site a promised": (
        lambda: Case(world("ab", "each", [MU["a"], MU["b"]], BOTH), BOTH, MU["a"], 400),
        lambda patch: None,
    ),
    "a share that is not applied": (
        lambda: Case(world("a", "shares", [1], MU["b"]), MU["b"], MU["a"], 300),
        unclipped,
    ),
    "a share before clipping": (
        lambda: Case(world("a", "shares", [1], MU["b"]), MU["b"], MU["a"], 300),
        shared_before_clipping,
    ),
}


@pytest.mark.parametrize("name", FAULTLESS)
def test_no_hospital_tells_more_than_it_promised(name):
    case = FAULTLESS[name]()
    proven = case.carry_out()
    assert 0.5 * case.promised <= proven <= case.promised


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_tells_more(name, monkeypatch):
    make, plant = FAULTY[name]
    plant(monkeypatch)
    assert make().carry_out() > make().promised


@pytest.mark.parametrize("name", [*FAULTLESS, *FAULTY])
def test_the_attacks_are_sharp(name):
    case, miss = (FAULTLESS[name](), 5e-7) if name in FAULTLESS else (FAULTY[name][0](), MISS)
    proven = case.proves([int(binom.ppf(1 - miss, case.runs, norm.sf(case.mu / 2)))] * 2)
    assert proven >= 0.5 * case.promised if name in FAULTLESS else proven > case.promised


def test_a_duplicate_that_nobody_found_pays_for_two():
    """√(μa² + μb²), not the larger: the audit above cannot prove less than what it pays, nor more."""
    assert BOTH == pytest.approx(math.sqrt(MU["a"] ** 2 + MU["b"] ** 2))
    assert BOTH > MU["b"] > MU["a"]


# -- the normaliser ------------------------------------------------------------------------------


def normalisers(own_weight):
    """What a mean is divided by when the patient is there, and when not: it must not differ."""
    found = []
    for present in (True, False):
        with_, shares = released(present, "a", "shares"), {"a": MU["a"] / MU["b"], "b": 1.0}
        realised = 2 * shares["a"] + shares["b"] + (shares["a"] if present else 0.0)
        found.append(realised if own_weight else with_[0].expected_records)
    return found


def test_the_normaliser_does_not_tell_who_is_there():
    with_, without = normalisers(own_weight=False)
    assert with_ == without == 3.0 * MU["a"] / MU["b"] + 3.0


def test_a_realised_weight_would_tell():
    """A mean by the realised weight Σ C, published exactly: the two worlds differ in every run, whatever the noise."""
    with_, without = normalisers(own_weight=True)
    assert with_ - without == pytest.approx(MU["a"] / MU["b"])
