"""The usual formulas of the field that promise less ε than they cost: each is written down here, and attacked.

One test a formula (docs/planted_faults.md lists them, and which of the usual errors are no promises at all). Where the answer's law is known, the
ε that it really costs is computed from the law, without chance. What skdpal does instead is attacked the same way, beside it.
"""

import math
from functools import lru_cache

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import logsumexp
from scipy.stats import binom

from skdpal import BudgetExhausted, DPPrototypeClassifier, PrivacyBudget, PrivacyLeakWarning, PrivacyLedger
from skdpal.audit import attack
from skdpal.model_selection import private_accuracy
from skdpal.privacy import calibrate, epsilon_of, events
from skdpal.privacy.accounting.gaussian import delta_of_mu, epsilon_of_mu
from skdpal.privacy.mechanisms import LaplaceLabels, LaplaceScores, RandomizedResponse
from skdpal.privacy.randomness import perturb, simulation
from tests.audit.faults.studies import CLASSES, DELTA, IDS, LABELS, ROWS
from tests.audit.faults.tape import along

SURE = 1 - 1e-6
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


# ---- rows 3 and 4: the entropy under dropout, with noise for one pass of fifty ------------------------------------------


def dropout_noise(epsilon, passes=50):
    """The usual scale: as if one patient were one of the passes."""
    return 1 / passes / epsilon


@pytest.mark.parametrize("n_classes", [2, 4])
def test_row_3_a_pass_is_not_a_patient(n_classes):
    """ε = 1 is claimed; ln K / scale is true if a patient is exchanged, half of it under zero-out."""
    scale = dropout_noise(1.0)
    assert math.log(n_classes) / scale == pytest.approx({2: 34.7, 4: 69.3}[n_classes], abs=0.05)

    def world(present, runs):
        return perturb(np.full(runs, math.log(n_classes) if present else 0.0), scale, law="laplace")

    found = attack(world, 100, threshold=math.log(n_classes) / 2, confidence=SURE)
    assert found.beats(epsilon=1.0, delta=DELTA), str(found)
    honest = along(lambda present: LaplaceScores(1.0).run([1.0 if present else None], ["canary"]))
    assert abs(honest.loss) <= 1.0 + 1e-12


def test_row_4_a_part_without_noise_is_visible():
    """The spread of the passes is added to the answer after the mechanism, or shown beside it."""

    def doubt(present):
        spread, mean = (0.21, 0.3) if present else (0.05, 0.3)
        return [spread + perturb(mean, 1.0, law="laplace"), spread]

    assert along(doubt).visible
    honest = along(lambda present: LaplaceScores(1.0).run([0.51 if present else 0.35], ["canary"]))
    assert not honest.visible


# ---- rows 7 to 9: the accountant --------------------------------------------------------------------------------------

STEP = events.poisson_gaussian(1.0, 1 / 8, 80)  # ten epochs of eight batches


@lru_cache
def price(rounds):
    return epsilon_of([STEP] * rounds, DELTA)


def test_row_7_rounds_add_up_in_delta_too():
    """Five rounds of (ε, δ) are (5ε, 5δ): the δ that was said is a fifth of that. (The ε that was said is far too large.)"""
    once, together = price(1), price(5)
    assert once == pytest.approx(7.95, abs=0.02)
    assert together == pytest.approx(18.9, abs=0.1)
    assert together < 5 * once
    assert -math.expm1(5 * math.log1p(-DELTA)) > 4.99 * DELTA  # if each round tells everything with probability δ


def test_row_8_a_wish_is_not_a_price():
    """An ε per round that nothing reads: 0.2 is asked for, and 7.9 spent."""
    assert price(1) > 39 * 0.2
    noise = calibrate(
        lambda sigma: events.poisson_gaussian(sigma, 1 / 8, 80), PrivacyBudget(0.2, DELTA), filter="renyi"
    )
    assert epsilon_of([events.poisson_gaussian(noise, 1 / 8, 80)], DELTA) <= 0.2
    assert noise > 17


class CheckedAfterwards:
    """The usual accountant: it adds first, and looks at the sum when the model is trained."""

    def __init__(self, total):
        self.total, self.spent = total, 0.0

    def charge(self, epsilon, train):
        model = train()
        self.spent += epsilon
        if self.spent > self.total:
            raise RuntimeError("exceeded")
        return model


def test_row_9_a_check_after_spending_comes_too_late():
    models = []
    usual = CheckedAfterwards(total=0.1)
    with pytest.raises(RuntimeError):
        usual.charge(price(1), lambda: models.append("trained"))
    assert models == ["trained"]
    ledger = PrivacyLedger(PrivacyBudget(0.1, DELTA))
    with pytest.raises(BudgetExhausted):
        DPPrototypeClassifier(1.0, classes=range(CLASSES), ledger=ledger).fit(ROWS, LABELS, record_ids=IDS)
    assert ledger.receipts() == []


# ---- row 11: a shuffled loader under a Poisson price -----------------------------------------------------------------


def shuffled_losses(sigma, batches, epochs, present, runs=20_000):
    """Exact privacy losses of shuffled epochs, in which the others' gradients all point the other way (Chua et al. 2024).

    The patient's batch stands out by 1 where the slot is empty, and by 2 where it is not; which batch it is, is random.
    """
    generator, total = np.random.default_rng([7, present]), np.zeros(runs)
    for _ in range(epochs):
        sums = generator.normal(0, sigma, (runs, batches))
        sums[:, 0] += 2.0 if present else 1.0
        there, gone = (2 * sums - 2) / sigma**2, (sums - 0.5) / sigma**2
        total += logsumexp(there, axis=1) - logsumexp(gone, axis=1)
    return total


def test_row_11_a_shuffled_loader_is_no_poisson_sample():
    """ε = 7.95 at δ = 1e-5 is promised for Poisson samples; a loader that shuffles has δ > 1000 times that at this ε."""
    promised = price(1)
    losses = shuffled_losses(1.0, 8, 10, present=1)
    over = np.maximum(-np.expm1(promised - losses), 0).mean()
    assert over > 1000 * DELTA
    assert over - math.sqrt(math.log(1e6) / (2 * len(losses))) > 100 * DELTA  # Hoeffding, but for a chance of 1e-6
    whole = shuffled_losses(1.0, 1, 10, present=1)  # with one batch, it is the Gaussian mechanism
    assert np.maximum(-np.expm1(epsilon_of_mu(math.sqrt(10), 0.01) - whole), 0).mean() == pytest.approx(0.01, rel=0.3)


# ---- row 13: published indices ----------------------------------------------------------------------------------------


def test_row_13_a_published_index_cannot_hide_that_somebody_is_there():
    """Add or remove: δ is the chance of being chosen, at every ε. Zero-out, which the certificate says, holds."""

    def chosen(slot, runs):
        """Whether the patient is among the three best of twelve; None: there is no such slot."""
        if slot is None:
            return np.zeros(runs)
        scores = np.column_stack([np.full(runs, slot), np.full((runs, 11), 0.5)])
        with simulation(seed=int(slot * 10)):
            noisy = perturb(scores, 0.5 * 1.0)
        return (np.argsort(-noisy, axis=1)[:, :3] == 0).any(axis=1).astype(float)

    removed = attack(
        lambda present, runs: chosen(0.9 if present else None, runs), 2_000, threshold=0.5, confidence=SURE
    )
    emptied = attack(lambda present, runs: chosen(0.9 if present else 0.5, runs), 2_000, threshold=0.5, confidence=SURE)
    assert removed.false_positives == 0
    assert removed.false_negatives < 0.8 * removed.runs
    assert removed.epsilon(0.05) > epsilon_of([events.noisy_scores(1.0)], 0.05)
    assert emptied.mu <= 1.0


# ---- row 14: exact accuracy ------------------------------------------------------------------------------------------


def evaluated(present, exact):
    model = DPPrototypeClassifier(
        prior=DPPrototypeClassifier.prior_from_public(ROWS[:6] / 2, LABELS[:6])
    ).public_model()
    labels = np.array(model.predict(ROWS))
    labels[0] = labels[0] if present else 99
    ledger = PrivacyLedger(PrivacyBudget(60.0, DELTA))
    if exact:
        return float((model.predict(ROWS) == labels).mean())
    return vars(private_accuracy(model, ROWS, labels, ledger=ledger, noise_multiplier=1.0, record_ids=IDS))


def test_row_14_an_exact_accuracy_is_visible():
    assert along(lambda present: evaluated(present, exact=True)).visible
    honest = along(lambda present: evaluated(present, exact=False))
    assert not honest.tells_more_than(1.0)
    model = DPPrototypeClassifier(1.0, classes=range(CLASSES), ledger=PrivacyLedger(PrivacyBudget(60.0, DELTA)))
    with pytest.warns(PrivacyLeakWarning, match="without a receipt"):
        model.fit(ROWS, LABELS, record_ids=IDS).score(ROWS, LABELS)
    assert model.ledger.certificate()["status"].startswith("void")


# ---- rows 17 and 19: labels -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(1))
def test_row_17_a_label_moves_two_entries(seed):
    """Noise of scale 1/ε on a one-hot row: where both entries lie outside, the loss is 2ε."""

    def planted(present):
        return perturb(np.eye(2)[0 if present else 1], 1.0, law="laplace")

    losses = [abs(along(planted, 20 * seed + number).loss) for number in range(20)]
    honest = [
        abs(
            along(
                lambda present: LaplaceLabels(1.0, ["a", "b"]).run(["a" if present else "b"], ["p"]), 20 * seed + number
            ).loss
        )
        for number in range(20)
    ]
    assert max(losses) > 1.0
    assert max(losses) <= 2.0 + 1e-9
    assert max(honest) <= 1.0 + 1e-9


@pytest.mark.parametrize("times", [10, 100])
def test_row_19_label_noise_at_every_epoch_costs_the_sum(times):
    """A label drawn anew in each of E epochs: E ε, and the majority is the truth."""
    keep = RandomizedResponse(1.0, (0, 1)).keep
    number = np.arange(times + 1)
    there, gone = binom.pmf(number, times, keep), binom.pmf(number, times, 1 - keep)
    assert np.maximum(there - math.e * gone, 0).sum() > 0.8  # δ at the ε that is claimed
    assert np.log(keep / (1 - keep)) * times == pytest.approx(times, rel=1e-9)
    drawn = along(lambda present: [RandomizedResponse(1.0, (0, 1)).run([1 - present], ["p"]) for _ in range(times)])
    assert abs(drawn.loss) > 1.0


# ---- row 20: a dictionary of budgets -----------------------------------------------------------------------------------


def test_row_20_budgets_of_modalities_add_up():
    """ε of 1, ½ and ½, each alone within its own: the patient pays 1.28, which no entry says."""
    budgets = (1.0, 0.5, 0.5)
    mus = [brentq(lambda mu, budget=budget: delta_of_mu(mu, budget) - DELTA, 1e-3, 5) for budget in budgets]
    patient = epsilon_of_mu(math.hypot(*mus), DELTA)
    assert patient == pytest.approx(1.28, abs=0.01)
    assert max(budgets) < patient < sum(budgets)
    path = along(lambda present: [perturb(float(present), 1 / mu) for mu in mus])
    assert epsilon_of_mu(path.mu, DELTA) == pytest.approx(patient, rel=1e-6)


# ---- row 26: shots of a quantum kernel ----------------------------------------------------------------------------------


def fidelity(angle, other):
    """Exact, of two qubits: what a simulator returns."""
    states = [np.array([math.cos(one / 2), math.sin(one / 2)]) for one in (angle, other)]
    return float(np.dot(*states) ** 2)


def shot_delta(p, q, shots, epsilon):
    number = np.arange(shots + 1)
    there, gone = binom.pmf(number, shots, p), binom.pmf(number, shots, q)
    return max(np.maximum(a - math.exp(epsilon) * b, 0).sum() for a, b in ((there, gone), (gone, there)))


def test_row_26_measuring_does_not_make_a_kernel_private():
    assert along(lambda present: fidelity(0.4 if present else 1.1, 0.9)).visible  # a simulator is exact
    noise = 0.1  # depolarising: ε of one shot, and of many
    one = math.log(1 + (1 - noise) * 2 / noise)
    assert one == pytest.approx(2.94, abs=0.01)
    p, q = ((1 - noise) * fidelity(angle, 0.0) + noise / 2 for angle in (0.0, math.pi))
    assert math.log(p / q) == pytest.approx(one, rel=1e-9)  # reached
    assert shot_delta(p, q, 1000, one) > 0.999
    assert shot_delta(0.5, 0.6, 100, 1.0) == pytest.approx(0.52, abs=0.01)  # without depolarising
    assert shot_delta(0.0, 0.1, 10, 20.0) > 0.6  # an outcome that cannot be in one world


# ---- row 27: floats ---------------------------------------------------------------------------------------------------------


def naive_laplace(value, runs, seed):
    """The textbook's inverse transform in double precision, with a uniform number of 53 bits."""
    generator = np.random.default_rng(seed)
    uniform = np.maximum(generator.integers(0, 2**53, runs), 1) * 2.0**-53
    sign = np.where(generator.integers(0, 2, runs) == 1, 1.0, -1.0)
    return value - sign * np.log(uniform)


def reachable(answers, value):
    """Whether a uniform number exists that makes the answer of this value (Mironov 2012)."""
    found = np.zeros(len(answers), dtype=bool)
    with np.errstate(over="ignore"):
        guess = np.round(np.exp(-np.abs(answers - value)) * 2.0**53)
    for near in range(-6, 7):
        uniform = np.clip(guess + near, 1, 2**53 - 1) * 2.0**-53
        for sign in (1.0, -1.0):
            found |= value - sign * np.log(uniform) == answers
    return found


def test_row_27_the_last_digits_tell_the_value():
    """ε = 1 is claimed. Many answers can be made by one of the two values only; OpenDP's noise has no such digits."""
    answers = naive_laplace(0.0, 4_000, seed=1), naive_laplace(1.0, 4_000, seed=2)
    assert reachable(answers[0], 0.0).all()
    assert reachable(answers[1], 1.0).all()
    assert reachable(answers[1], 0.0).mean() < 0.9
    assert reachable(answers[0], 1.0).mean() < 0.9

    def world(present, runs):
        return reachable(naive_laplace(float(present), runs, seed=3 + present), 0.0) == 0

    found = attack(world, 2_000, threshold=0.5, confidence=SURE)
    assert found.false_positives == 0
    assert found.beats(epsilon=1.0, delta=DELTA), str(found)

    def ours(present, runs):
        return reachable(perturb(np.full(runs, float(present)), 1.0, law="laplace"), 0.0) == 0

    assert not attack(ours, 2_000, threshold=0.5, confidence=SURE).beats(epsilon=1.0, delta=DELTA)


def test_row_27_a_seed_repeats_the_noise():
    def planted(present):
        return ROWS[0] * present + np.random.RandomState(42).laplace(size=4)

    assert along(planted).visible
