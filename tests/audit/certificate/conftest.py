"""Certificates of ledgers of every kind."""

import copy
import json
import math

import numpy as np
import pytest

DELTA = 1e-5
MAKERS = {}


def kind(words):
    """Register what makes the ledger of a kind."""

    def register(make):
        MAKERS[words] = make
        return make

    return register


def fresh(epsilon=2.0, filter="gdp", **how):
    from skdpal.privacy import PrivacyBudget, PrivacyLedger

    return PrivacyLedger(PrivacyBudget(epsilon, DELTA), filter, **how)


def names():
    from skdpal.privacy import events
    from skdpal.privacy.accounts import POOL

    return events, POOL


def run_study(ledger):
    """A start, two hidden rounds, and a release of everybody."""
    events, POOL = names()
    ledger.split(POOL, "cohort/start", ["a", "b"])
    ledger.within("cohort/start").charge(events.gaussian(4.0, replace_one=math.sqrt(2)), "fit")
    for number in (1, 2):
        ledger.begin_round(f"round {number}", {"utility": "margin"}, hidden=True)
        branch = ledger.branch(POOL, f"cohort/round-{number}", [f"p{number}"])
        branch.charge(events.gaussian(4.5, replace_one=math.sqrt(2)), f"teach {number}")
    ledger.charge(events.gaussian(9.0, steps=2), "everybody once more")


@kind("empty")
def _():
    return fresh().certificate()


@kind("gdp")
def _():
    ledger = fresh()
    run_study(ledger)
    return ledger.certificate()


@kind("labels")
def _():
    events, _ = names()
    ledger = fresh()
    ledger.charge(events.randomized_response(0.5, 4), "labels")
    ledger.charge(events.laplace(8.0), "count")
    ledger.charge(events.one_of([events.gaussian(5.0), events.noisy_scores(6.0)]), "either")
    return ledger.certificate()


@kind("caps")
def _():
    events, POOL = names()
    ledger = fresh()
    ledger.cap("cohort", "rna", 1.0)
    ledger.charge(events.gaussian(9.0), "all of it")
    ledger.split(POOL, "cohort/site", ["a"])
    ledger.cap("cohort/site", "wes", 0.5)
    both = events.modalities({"rna": events.gaussian(8.0), "wes": events.gaussian(16.0)})
    ledger.charge(events.composed([both, events.gaussian(20.0)], count=2), "both")
    ledger.within("cohort", cap="rna").charge(events.gaussian(12.0), "rna")
    return ledger.certificate()


def of_sites(account):
    events, POOL = names()
    ledger = fresh()
    ledger.split(POOL, "cohort/berlin", ["a"], epsilon=1.0)
    ledger.split(POOL, "cohort/turin", ["b"], epsilon=1.5)
    ledger.charge(events.gaussian(8.0), "everybody")
    ledger.within("cohort/turin").charge(events.gaussian(9.0), "turin")
    return ledger.certificate(account)


@kind("site")
def _():
    return of_sites("cohort/berlin")


@kind("everybody with sites")
def _():
    return of_sites("cohort")


@kind("lowered later")
def _():
    events, POOL = names()
    ledger = fresh()
    ledger.charge(events.gaussian(8.0), "everybody")
    ledger.split(POOL, "cohort/late", ["a"], epsilon=1.0)
    return ledger.certificate("cohort/late")


@kind("published")
def _():
    events, POOL = names()
    ledger = fresh()
    ledger.begin_round("round 1", hidden=False)
    ledger.within(POOL).charge(events.noisy_scores(6.0), "scores")
    ledger.branch(POOL, "cohort/round-1", ["p"]).charge(events.gaussian(5.0), "teach")
    return ledger.certificate()


@kind("redrawn")
def _():
    from skdpal.privacy.mechanisms import GaussianSum, release

    _, POOL = names()
    ledger = fresh()
    run_study(ledger)
    asked = ledger.within(POOL, question="what")
    asked.charge_once(GaussianSum(20.0).event, "it", ["p"])  # and then a crash
    release(lambda: np.ones((1, 2)), GaussianSum(20.0), asked, "it", record_ids=["p"])
    return ledger.certificate()


@kind("shares")
def _():
    from skdpal.privacy.mechanisms import GaussianSum, release

    _, POOL = names()
    ledger = fresh()
    ledger.split(POOL, "cohort/berlin", ["a"], epsilon=1.0)
    shares = ledger.among({"cohort/berlin": 0.5, POOL: 1.0})
    release(lambda: np.ones((2, 2)), GaussianSum(5.0), shares, "sum", record_ids=["a", "b"])
    return ledger.certificate()


@kind("renyi")
def _():
    events, POOL = names()
    ledger = fresh(4.0, "renyi")
    run_study(ledger)
    ledger.charge(events.poisson_gaussian(6.0, 0.25, 20), "train")
    ledger.charge(events.gumbel_top_k(20.0, 3), "peel", POOL)
    ledger.charge(events.randomized_response(0.2, 3), "labels")
    ledger.charge(events.laplace(20.0), "count")
    return ledger.certificate()


@kind("curve")
def _():
    events, POOL = names()
    step = events.poisson_gaussian(6.0, 0.25, 20)
    ledger = fresh(4.0, "renyi", schedule=[step, events.gaussian(5.0)])
    ledger.cap(POOL, "rna", epsilon=0.9)
    ledger.cap(POOL, "wes", epsilon=3.9)  # more than the curve can cost: no limit
    ledger.within(POOL, cap="rna").charge(events.gaussian(9.0), "rna")
    ledger.split(POOL, "cohort/low", [], epsilon=1.0)
    ledger.split(POOL, "cohort/high", [], epsilon=3.9)
    ledger.charge(events.poisson_gaussian(6.0, 0.25, 5), "train")
    return ledger.certificate()


@kind("sample")
def _():
    from skdpal.privacy import Selection

    events, POOL = names()
    ledger = fresh(4.0, "renyi")
    members = [p for p, coin in zip("pqrs", ledger.coins("round 1", list("pqrs")), strict=True) if coin < 0.4]
    branch = ledger.branch(POOL, "cohort/round-1", members, selection=Selection("round 1", 0.4))
    branch.charge(events.gaussian(4.0), "teach")
    ledger.split(POOL, "cohort/rest", [])
    ledger.charge(events.gaussian(9.0), "all")
    return ledger.certificate()


@kind("search")
def _():
    events, _ = names()
    ledger = fresh(4.0, "renyi")
    ledger.charge(events.repeat_and_select(events.gaussian(20.0), mean=5), "search")
    ledger.charge(events.repeat_and_select(events.gaussian(20.0), mean=5, shape=math.inf), "search")
    return ledger.certificate()


@kind("planned")
def _():
    from skdpal.privacy import Charge, Split

    events, POOL = names()
    sampled = events.poisson_gaussian(3.0, 0.3, 1)
    steps = [Split(POOL, "cohort/start"), Charge(events.gaussian(4.0), "cohort/start")]
    steps += [Charge(events.noisy_scores(6.0), POOL), Charge(sampled, POOL), Split(POOL, "cohort/round-1")]
    steps += [Charge(events.gaussian(5.0), "cohort")]
    ledger = fresh(4.0, "planned", schedule=steps)
    ledger.split(POOL, "cohort/start", [])
    ledger.charge(events.gaussian(4.0), "fit", "cohort/start")
    ledger.charge(events.noisy_scores(6.0), "scores", POOL)
    ledger.charge(sampled, "train", POOL)
    return ledger.certificate()


KINDS = list(MAKERS)


@pytest.fixture(scope="session")
def certificates():
    """One of each kind, as read from a file, made when first asked for."""

    class Certificates(dict):
        def __missing__(self, kind):
            self[kind] = json.loads(json.dumps(MAKERS[kind]()))
            return self[kind]

    return Certificates()


@pytest.fixture(params=KINDS)
def certificate(request, certificates):
    return copy.deepcopy(certificates[request.param])
