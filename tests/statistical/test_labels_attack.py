"""Attacks on labels and their readers, with the noise of production, and faults that the same attacks find.

Worlds: a patient with one label or vote, against the patient with another, or none. Verdicts on faultless code are wrong with
probability 1e-6 at most, and so are the others: `test_the_attacks_are_sharp` sums it from the error rates of each attack.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, laplace, norm

from skdpal.audit import attack, epsilon_lower_bound, likelihood_ratio, mu_lower_bound, repeated
from skdpal.cohort.experts import LabelPrivacy, Panel, SecondOpinion, label_epsilon, release_votes
from skdpal.cohort.experts import label_privacy as label_module
from skdpal.cohort.experts.dawid_skene import estimate
from skdpal.cohort.experts.votes import _cells, _rows
from skdpal.privacy import PrivacyBudget, PrivacyLedger, epsilon_of
from skdpal.privacy.mechanisms import GaussianSum, LaplaceLabels, RandomizedResponse
from skdpal.privacy.randomness import perturb
from tests.statistical.sharpness import MISSED, missed

DELTA = 1e-5
SURE = 1 - 1e-6
CLASSES = ["a", "b", "c", "d"]
EPSILON = 1.0


@dataclass(frozen=True)
class Case:
    """An attack, what is claimed, and the attacker's error rates without and with the patient."""

    world: Callable
    rates: tuple
    mu: float | None = None
    epsilon: float | None = None
    threshold: float = 0.5
    runs: int = 1_500

    @property
    def price(self):
        return self.epsilon if self.mu is None else self.mu

    def proves(self, errors):
        if self.mu is not None:
            return mu_lower_bound(*errors, self.runs, SURE)
        return epsilon_lower_bound(*errors, self.runs, DELTA, SURE)

    def carry_out(self):
        found = attack(self.world, self.runs, threshold=self.threshold, confidence=SURE)
        return found, self.proves((found.false_positives, found.false_negatives))


def wide():
    return PrivacyLedger(PrivacyBudget(60.0, DELTA), "renyi")


def names(n):
    return [str(at) for at in range(n)]


# labels that leave: each run is a patient


def published(make, there, gone, statistic, asked=1):
    """Labels of as many patients as there are runs, asked for `asked` times."""

    def world(present, runs):
        privacy, y = make(wide()), [there if present else gone] * runs
        return statistic([privacy.publish(y, names(runs), **privacy.options) for _ in range(asked)])

    return world


class Labels(LabelPrivacy):
    """What is attacked."""

    options: dict = {}


class Soft(Labels):
    options = {"soft": True}


class Redrawn(Labels):
    """New noise at every look."""

    def publish(self, y, record_ids=None, **options):
        return self._kept.mechanism.run(list(y), record_ids)


class LikelyClasses(Labels):
    """Noise among the two classes that the patient's features allow."""

    def publish(self, y, record_ids=None, **options):
        pairs = [CLASSES[:2] if label in CLASSES[:2] else CLASSES[2:] for label in y]
        drawn = RandomizedResponse(self.epsilon, (0, 1)).run(
            [pair.index(label) for pair, label in zip(pairs, y, strict=True)], record_ids
        )
        return np.array([pair[code] for pair, code in zip(pairs, drawn, strict=True)])


class Silent(Labels):
    """Whoever has no label emits none."""

    def publish(self, y, record_ids=None, **options):
        drawn = super().publish(y, record_ids, **options).astype(object)
        return np.where([label is None for label in y], None, drawn)


class ScaleOfTheArticle(LaplaceLabels):
    """1/ε instead of 2/ε."""

    def run(self, values, ids):
        return LaplaceLabels(2 * self.epsilon, self.classes).run(values, ids)


def first_is(label):
    return lambda asked: (np.asarray(asked[0]) == label).astype(float)


def majority(label):
    return lambda asked: (np.stack(asked) == label).mean(axis=0)


def kept(epsilon, n_classes=4):
    total = math.exp(epsilon) + n_classes - 1
    return math.exp(epsilon) / total, 1 / total


def response(make=None, gone="b", asked=1, statistic=None, rates=None, **more):
    own, other = kept(EPSILON)
    make = make or (lambda ledger: Labels(EPSILON, CLASSES, ledger))
    rates = rates or ((other if gone else 0.25), 1 - own)
    return Case(published(make, "a", gone, statistic or first_is("a"), asked), rates, epsilon=EPSILON, **more)


def laplace_labels(scale, runs=2_500):
    """Both entries beyond 0 and 1: the soft label of "a" is as large as it gets."""
    epsilon = 2.0
    top = 1 / (1 + math.exp(-epsilon)) - 1e-9

    def statistic(asked):
        return asked[0]["a"].to_numpy()

    def make(ledger):
        return Soft(epsilon, ["a", "b"], ledger, "laplace")

    absent = laplace(0, scale).sf(1) ** 2
    return Case(published(make, "a", "b", statistic), (absent, 1 - 0.25), epsilon=epsilon, threshold=top, runs=runs)


def drawn_nine_times():
    own, other = kept(EPSILON)
    rates = binom.sf(4, 9, other), binom.cdf(4, 9, own)
    return response(
        lambda ledger: Redrawn(EPSILON, CLASSES, ledger), asked=9, statistic=majority("a"), rates=rates, runs=500
    )


# several readers


def confusions(n_readers, accuracy=0.9):
    table = pd.DataFrame([[accuracy, 1 - accuracy], [1 - accuracy, accuracy]], ["a", "b"], ["a", "b"])
    return Panel({f"reader {at}": table for at in range(n_readers)})


def five_votes(per_vote, runs=1_500):
    """Five readers say "a", or "b"; noise once a patient, or once a vote."""
    panel, (own, other) = confusions(5), kept(EPSILON, 2)

    def once(present, runs):
        votes = pd.DataFrame({name: ["a" if present else "b"] * runs for name in panel.names}, index=names(runs))
        return (LabelPrivacy(EPSILON, ["a", "b"], wide()).publish(panel.labels(votes)) == "a").to_numpy(float)

    def each(present, runs):
        ledger = wide()
        noisy = [
            LabelPrivacy(EPSILON, ["a", "b"], ledger, name=name).publish(["a" if present else "b"] * runs, names(runs))
            for name in panel.names
        ]
        return (np.stack(noisy) == "a").mean(axis=0)

    if not per_vote:
        return Case(once, (other, 1 - own), epsilon=EPSILON, runs=runs)
    return Case(each, (binom.sf(3, 5, other), binom.cdf(3, 5, own)), epsilon=EPSILON, threshold=0.7, runs=runs)


READERS = confusions(3, 0.7)
VOTES = np.random.default_rng(14).integers(0, 2, (20, 3))  # one patient's votes switch 14 labels of exact estimates
NOBODY = np.vstack([np.full(3, -1), VOTES[1:]])


def exact_labels(codes):
    """Dawid and Skene's, on the patients themselves."""
    guess = [reader.matrix for reader in READERS.readers.values()]
    weights = _rows(codes, READERS).sum(axis=0)
    rates, prior = estimate(
        _cells(READERS), weights, guess, READERS.class_prior, [np.zeros(2)] * 3, 0.0, n_iterations=500
    )
    tables = {
        name: pd.DataFrame(rate / rate.sum(axis=1, keepdims=True), ["a", "b"], ["a", "b"])
        for name, rate in zip(READERS.names, rates, strict=True)
    }
    return Panel(tables, prior / prior.sum()).decide(codes)


def sums_of(labels, seen):
    """One-hot rows, zeros for an unread patient."""
    return np.eye(2)[labels] * seen[:, None]


def half_way(mu):
    return norm.sf(mu / 2), norm.sf(mu / 2)


def released(present, absent, runs=1_000):
    """Sums over patients at μ = 1, seen along the line on which they differ."""
    there, gone = (rows.sum(axis=0) for rows in (present, absent))
    moved = float(np.linalg.norm(there - gone))

    def world(is_there, runs):
        return perturb(np.full(runs, moved if is_there else 0.0), 1.0) - moved / 2

    return Case(world, half_way(moved), mu=1.0, threshold=0.0, runs=runs)


def labelled(label_of):
    """A sum over 20 patients' labels, the canary's votes there or not."""
    return released(*(sums_of(label_of(codes), (codes >= 0).any(axis=1)) for codes in (VOTES, NOBODY)))


def two_histograms():
    """The canary's pattern among nineteen others', there and not; with the panel and the votes."""
    panel = confusions(2)
    others = pd.DataFrame(np.array(["a", "b"])[VOTES[1:, :2]], columns=panel.names, index=names(19))
    worlds = [
        pd.concat([others, pd.DataFrame([row], columns=panel.names, index=["canary"])])
        for row in (["a"] * 2, [None] * 2)
    ]
    return panel, worlds, [_rows(panel.codes(votes), panel) for votes in worlds]


def whole_histogram(runs=300):
    """The same through the front door, run by run."""
    panel, worlds, rows = two_histograms()
    statistic = likelihood_ratio(*(table.sum(axis=0) for table in rows), 1.0)

    def run(present):
        ledger = PrivacyLedger(PrivacyBudget(60.0, DELTA))
        return release_votes(
            worlds[0 if present else 1], panel, noise_multiplier=1.0, ledger=ledger, expected_records=40
        ).counts

    return Case(repeated(run, statistic), half_way(1.0), mu=1.0, threshold=0.0, runs=runs)


def counts_by_reader(runs=150):
    """The usual table of the M-step, a row for each read, and each reader read the canary twice."""
    n_readers = 4
    rows = np.zeros((2 * n_readers, 2 * n_readers))
    rows[np.arange(2 * n_readers), np.repeat(2 * np.arange(n_readers), 2)] = 1.0  # everybody said "a"
    statistic = likelihood_ratio(rows.sum(axis=0), np.zeros(2 * n_readers), 1.0)
    reads = [f"slide {at}" for at in range(2 * n_readers)]  # the fault: the unit is a read, not the patient

    def run(present):
        return GaussianSum(1.0).run(rows * present, reads)

    return Case(repeated(run, statistic), half_way(2 * math.sqrt(n_readers)), mu=1.0, threshold=0.0, runs=runs)


# a noisy label inside, in many releases


def reused(redrawn, n_releases=9, noise=0.5, runs=500):
    """One patient's one-hot noisy label in several sums, seen along the line on which labels differ; √2 lies between them."""
    epsilon = 1.0
    claim = label_epsilon(epsilon, noise, n_releases)
    own, other = kept(epsilon, 2)

    def world(present, runs):
        privacy = LabelPrivacy(epsilon, ["a", "b"], wide())
        y, total = ["a" if present else "b"] * runs, np.zeros(runs)
        for _ in range(n_releases):
            inside = privacy._kept.mechanism.run(y, names(runs)) if redrawn else privacy.inside(y, names(runs))
            total += perturb(np.where(np.asarray(inside) == "a", 1, -1) / math.sqrt(2), noise)
        return total / n_releases

    mean = norm(0, noise / math.sqrt(n_releases))
    if not redrawn:
        wrong = own * mean.cdf(-1 / math.sqrt(2)) + other * mean.cdf(1 / math.sqrt(2))
    else:
        right = binom(n_releases, own)
        wrong = sum(right.pmf(k) * mean.cdf(-(2 * k / n_releases - 1) / math.sqrt(2)) for k in range(n_releases + 1))
    return Case(world, (wrong, wrong), epsilon=claim, threshold=0.0, runs=runs)


# second opinions

LOCAL = pd.DataFrame([[0.95, 0.05], [0.3, 0.7]], ["a", "b"], ["a", "b"])
CENTRAL = pd.DataFrame([[0.99, 0.01], [0.01, 0.99]], ["a", "b"], ["a", "b"])
BOTH = Panel({"local": LOCAL, "central": CENTRAL}, [0.9, 0.1])


def second_reads(choose):
    """The canary says "b", and so does a neighbour whom the central reader would correct."""
    patients = ["canary", "neighbour", "other"]
    rows = []
    for said in ("b", None):
        votes = pd.DataFrame({"local": [said, "b", "a"], "central": None}, index=patients)
        chosen = choose(votes[["local"]], PrivacyLedger(PrivacyBudget(60.0, DELTA)))
        votes.iloc[chosen, 1] = np.array([said, "a", "a"], dtype=object)[chosen]
        rows.append(sums_of(BOTH.decide(BOTH.codes(votes)), votes["local"].notna().to_numpy()))
    return released(*rows)


def by_own_votes(votes, ledger):
    """As it is: the neighbour's read does not depend on the canary."""
    return SecondOpinion(BOTH, "central", cost=0.05, ledger=ledger).choose(votes)


def top_of_the_pool(votes, ledger):
    """The fault: exactly one read, for the most doubtful; the canary displaces the neighbour."""
    worth = SecondOpinion(BOTH, "central", cost=0.0, ledger=ledger)._utility.of_codes(BOTH.codes(votes))
    return np.array([np.argmax(np.where(votes["local"].isna(), -1.0, worth))])


FAULTLESS = {
    "a label": lambda: response(),
    "a label, or none": lambda: response(gone=None),
    "a label asked for nine times": lambda: response(asked=9, statistic=majority("a")),
    "a label under Laplace noise": lambda: laplace_labels(scale=2 / 2.0),
    "noise once a patient": lambda: five_votes(per_vote=False),
    "labels by public error rates": lambda: labelled(READERS.decide),
    "a histogram of votes": lambda: released(*two_histograms()[2]),
    "a label inside": lambda: reused(redrawn=False),
    "second opinions by own votes": lambda: second_reads(by_own_votes),
}
FAULTY = {
    "likely classes of each patient": lambda: response(
        lambda ledger: LikelyClasses(EPSILON, CLASSES, ledger), gone="c", rates=(0.0, 1 - kept(EPSILON, 2)[0])
    ),
    "noise drawn at every look": drawn_nine_times,
    "no label, no answer": lambda: response(
        lambda ledger: Silent(EPSILON, CLASSES, ledger), gone=None, rates=(0.0, 1 - kept(EPSILON)[0])
    ),
    "noise on every vote": lambda: five_votes(per_vote=True, runs=600),
    "exact Dawid-Skene": lambda: labelled(exact_labels),
    "every read counts as a patient": lambda: counts_by_reader(),
    "noise drawn for every release": lambda: reused(redrawn=True),
    "the top of the pool": lambda: second_reads(top_of_the_pool),
}


@pytest.mark.parametrize("name", FAULTLESS)
def test_nothing_tells_more_than_is_claimed(name):
    case = FAULTLESS[name]()
    found, proven = case.carry_out()
    assert proven <= case.price, str(found)


@pytest.mark.slow
def test_nor_does_the_histogram_through_the_front_door():
    case = whole_histogram()
    found, proven = case.carry_out()
    assert proven <= case.price, str(found)


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_tells_more_than_is_claimed(name):
    case = FAULTY[name]()
    found, proven = case.carry_out()
    assert proven > case.price, str(found)


def test_the_articles_scale_of_laplace_noise_tells_twice_as_much(monkeypatch):
    monkeypatch.setitem(label_module.MECHANISMS, "laplace", ScaleOfTheArticle)
    case = laplace_labels(scale=1 / 2.0)
    found, proven = case.carry_out()
    assert proven > case.price, str(found)


@pytest.mark.parametrize("name", [*FAULTLESS, *FAULTY, "the article's scale"])
def test_the_attacks_are_sharp(name):
    """They prove more than the claim, but for a chance of 1e-6; faultless code proves something, too."""
    cases = FAULTLESS | FAULTY | {"the article's scale": lambda: laplace_labels(scale=1 / 2.0)}
    case = cases[name]()
    if name in FAULTLESS:
        assert case.proves(binom.ppf(0.5, case.runs, case.rates).astype(int)) > 0.25 * case.price
    else:
        claims = {"epsilon": case.epsilon, "delta": DELTA} if case.mu is None else {"mu": case.mu}
        assert missed(case.rates, case.runs, **claims) < MISSED


@pytest.mark.parametrize("name", FAULTLESS)
def test_the_rates_are_allowed_by_the_price(name):
    """Without chance: error rates of faultless code obey the claim."""
    case = FAULTLESS[name]()
    positive, negative = case.rates
    if case.mu is not None:
        assert norm.isf(positive) + norm.isf(negative) <= case.mu * (1 + 1e-9)
    else:
        limit = math.exp(case.epsilon) * (1 + 1e-12)
        assert 1 - negative <= limit * positive + DELTA
        assert 1 - positive <= limit * negative + DELTA


def test_the_price_of_noise_on_every_vote_is_the_sum():
    """R labels of one patient, R times ε; one label after the panel, ε."""
    panel = confusions(5)
    once, each = wide(), wide()
    votes = pd.DataFrame({name: ["a"] for name in panel.names}, index=["p0"])
    LabelPrivacy(EPSILON, ["a", "b"], once).publish(panel.labels(votes))
    for name in panel.names:
        LabelPrivacy(EPSILON, ["a", "b"], each, name=name).publish(votes[name])
    prices = [epsilon_of([receipt.event for receipt in ledger.receipts()], 1e-12) for ledger in (once, each)]
    assert prices == pytest.approx([1.0, 5.0], rel=2e-3)


def test_exact_estimates_switch_everybodys_label():
    """Fourteen of nineteen, by the votes of one; public error rates leave them as they are."""
    others = slice(1, None)
    assert (exact_labels(VOTES)[others] != exact_labels(NOBODY)[others]).sum() == 14
    assert (READERS.decide(VOTES)[others] == READERS.decide(NOBODY)[others]).all()
