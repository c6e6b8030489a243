"""Both sources of noise have the laws that are priced: the operating system's, and the seeded one of simulations.

Every check fails with probability 1e-6 at most if nothing is wrong (see `chi_square` for how good that number is).
The same check then sees noise that is 10% too small, or has another fault, and must reject it; it misses that with
probability below 1e-9: `test_the_checks_are_sharp` computes it.
"""

import asyncio
import contextvars
import math
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import numpy as np
import pytest
from scipy.stats import binom, chi2, ks_2samp, kstest, laplace, ncx2, norm

from skdpal.privacy.randomness import current_simulation, sampler, simulation
from skdpal.privacy.samplers import SeededSampler, SystemSampler

SOURCES = {"production": SystemSampler(), "simulation": SeededSampler(11)}
sources = pytest.mark.parametrize("source", SOURCES)
LESS = 0.9  # noise that is 10% too small

LAWS = {"gaussian": norm, "laplace": laplace}
FAR = {"gaussian": (3.0, 4.0), "laplace": (4.0, 8.0)}  # scales, where tails begin
CALLS, LENGTH = 100, 1000
VALUES = np.linspace(-50, 50, LENGTH)

CLASSES, EPSILON = 4, 1.0
LABELS = 60_000
SCORES, GUMBEL, WINNERS = np.array([0.0, 0.25, 0.5, 0.75, 1.0]), 0.4, 3
CHOICES = 20_000
BYTES = 4_000_000
MANY = [(0.25, 1), (0.5, 2), (0.5, 5)]  # scale and number of winners, 100,000 choices
MORE = [(2, 1.0), (3, 2.0), (20, 1.0), (20, 4.0)]  # classes and ε, 200,000 labels


# the laws


def keep_of(epsilon, n_classes):
    """The chance of randomized response to keep a label."""
    return math.exp(epsilon) / (math.exp(epsilon) + n_classes - 1)


def shifts(keep, n_classes):
    """The chances that a label is moved on by 0, 1, ... places."""
    return np.array([keep, *[(1 - keep) / (n_classes - 1)] * (n_classes - 1)])


def plackett_luce(scale, scores=SCORES, k=WINNERS):
    """All ordered choices of the best `k` under Gumbel noise, and their chances."""
    weights, orders = np.exp(scores / scale), list(permutations(range(len(scores)), k))
    chances = []
    for order in orders:
        left, chance = weights.sum(), 1.0
        for position in order:
            chance *= weights[position] / left
            left -= weights[position]
        chances.append(chance)
    return orders, np.array(chances)


# the checks


def chi_square(counts, chances, false_alarm):
    """Pearson's test.

    Its law is approximate. Cells that expect fewer than 25 become one cell; then, in a million simulated statistics
    or more for each small table of this file, false alarms at 1e-4 and 1e-5 were at most 1.2 times too frequent.
    """
    expected = chances * counts.sum() / chances.sum()
    rare = expected < 25
    counts, expected = (np.append(cells[~rare], cells[rare].sum()) for cells in (counts, expected))
    counts, expected = counts[expected > 0], expected[expected > 0]
    return chi2.sf(((counts - expected) ** 2 / expected).sum(), len(counts) - 1) > false_alarm


def scale_is_1(noise, law, false_alarm):
    """Exact test: squares of Gaussian numbers, and absolute Laplace numbers, add up to a chi-square number."""
    statistic, degrees = ((noise**2).sum(), 1) if law == "gaussian" else (2 * abs(noise).sum(), 2)
    low, high = chi2.ppf(false_alarm / 2, degrees * noise.size), chi2.isf(false_alarm / 2, degrees * noise.size)
    return low <= statistic <= high


def shape_is(noise, law, false_alarm):
    """Kolmogorov and Smirnov's test."""
    return kstest(noise.ravel(), LAWS[law].cdf).pvalue > false_alarm


def limits(size, chance, false_alarm):
    """Exact limits for a number of events."""
    return binom.ppf(false_alarm / 2, size, chance), binom.isf(false_alarm / 2, size, chance)


def tails_are(noise, law, false_alarm):
    """Exact test of how many numbers lie far out, and further."""
    for far in FAR[law]:
        low, high = limits(noise.size, 2 * LAWS[law].sf(far), false_alarm)
        if not low <= (abs(noise) > far).sum() <= high:
            return False
    return True


def are_independent(first, second, law, false_alarm):
    """Whether 64 equally likely cells are equally full."""
    cells = [np.minimum((8 * LAWS[law].cdf(half.ravel())).astype(int), 7) for half in (first, second)]
    return chi_square(np.bincount(8 * cells[0] + cells[1], minlength=64), np.ones(64), false_alarm)


def repeating(first, second):
    """The second numbers, one in ten of them a copy of the first."""
    copied = np.arange(second.size).reshape(second.shape) % 10 == 0
    return np.where(copied, first, second)


# additive noise


@sources
@pytest.mark.parametrize("law", LAWS)
def test_additive_noise_has_its_law(source, law, false_alarm):
    """100 calls, 1,000 numbers each: size, shape, tails, and independence within and between calls."""
    draw, scale = getattr(SOURCES[source], law), 1.7
    noise = np.array([draw(VALUES, scale) - VALUES for _ in range(CALLS)]) / scale
    assert scale_is_1(noise, law, false_alarm)
    assert not scale_is_1(LESS * noise, law, false_alarm)
    assert shape_is(noise, law, false_alarm)
    assert not shape_is(LESS * noise, law, false_alarm)

    assert tails_are(noise, law, false_alarm)
    assert not tails_are(np.clip(noise, -FAR[law][0], FAR[law][0]), law, false_alarm)
    assert not tails_are(np.where(np.arange(LENGTH) % 200, noise, 8 * noise), law, false_alarm)

    for first, second in ((noise[:, ::2], noise[:, 1::2]), (noise[::2], noise[1::2])):
        assert are_independent(first, second, law, false_alarm)
        assert not are_independent(first, repeating(first, second), law, false_alarm)
    assert len(np.unique(abs(noise))) > noise.size - 5  # the values' grid can make two numbers meet

    other = getattr(SeededSampler(12), law)(np.zeros(noise.size), 1.0)
    assert ks_2samp(noise.ravel(), other).pvalue > false_alarm
    assert ks_2samp(noise.ravel(), LESS * other).pvalue < false_alarm


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_a_million_seeded_numbers_and_two_thousand_calls_of_the_system(law, false_alarm):
    """Small calls, as a study makes them."""
    seeded = getattr(SeededSampler(13), law)(np.zeros(1_000_000), 1.0)
    small = np.array([getattr(SOURCES["production"], law)(np.zeros(60), 0.01) for _ in range(2_000)]) / 0.01
    for noise in (seeded, small):
        for check in (scale_is_1, shape_is, tails_are):
            assert check(noise, law, false_alarm)
            assert not check(LESS * noise, law, false_alarm) or (check, law) == (tails_are, "gaussian")


# randomized response


def moved(source, epsilon, size, n_classes=CLASSES):
    """Labels 0, 1, ... in turn, and the places by which response moves them."""
    labels = np.arange(size) % n_classes
    noisy = SOURCES[source].response(labels, n_classes, keep_of(epsilon, n_classes))
    assert noisy.min() >= 0
    assert noisy.max() < n_classes
    return labels, (noisy - labels) % n_classes


def response_is(labels, places, epsilon, false_alarm, n_classes=CLASSES):
    """All classes together, each class by its own share, and pairs of neighbours."""
    chances = shifts(keep_of(epsilon, n_classes), n_classes)
    pairs = places[::2] * n_classes + places[1::2]
    each = np.bincount(labels * n_classes + places, minlength=n_classes**2)
    return (
        chi_square(np.bincount(places, minlength=n_classes), chances, false_alarm)
        and chi_square(each, np.tile(chances, n_classes), false_alarm)
        and chi_square(np.bincount(pairs, minlength=n_classes**2), np.outer(chances, chances).ravel(), false_alarm)
    )


@sources
def test_labels_are_exchanged_as_they_should(source, false_alarm):
    labels, places = moved(source, EPSILON, LABELS)
    assert response_is(labels, places, EPSILON, false_alarm)
    assert not response_is(labels, places, EPSILON * 1.1, false_alarm)
    assert not response_is(labels, np.repeat(places[::2], 2), EPSILON, false_alarm)
    labels, places = moved("simulation", EPSILON * 1.1, LABELS)
    assert not response_is(labels, places, EPSILON, false_alarm)


@sources
def test_a_label_for_an_empty_slot_is_uniform(source, false_alarm):
    noisy = SOURCES[source].response(np.zeros(20_000, dtype=np.int64), 3, 1 / 3)
    assert chi_square(np.bincount(noisy), np.ones(3), false_alarm)
    assert not chi_square(np.bincount(noisy), np.array([1.2, 1, 1]), false_alarm)


@pytest.mark.slow
@sources
@pytest.mark.parametrize(("n_classes", "epsilon"), MORE)
def test_labels_are_exchanged_as_they_should_whatever_their_number(source, n_classes, epsilon, false_alarm):
    labels, places = moved(source, epsilon, 200_000, n_classes)
    assert response_is(labels, places, epsilon, false_alarm, n_classes)
    assert not response_is(labels, places, epsilon * 1.1, false_alarm, n_classes)


# the best of noisy scores


def choices(source, scale, size):
    return np.array([SOURCES[source].top_k(SCORES, scale, WINNERS) for _ in range(size)])


def code(chosen):
    """One number for each ordered choice."""
    return chosen @ (len(SCORES) ** np.arange(WINNERS))


def choice_is(chosen, scale, false_alarm):
    """All ordered choices."""
    orders, chances = plackett_luce(scale)
    codes = code(np.array(orders))
    assert np.isin(code(chosen), codes).all()
    return chi_square(np.array([(code(chosen) == one).sum() for one in codes]), chances, false_alarm)


def winners_are_independent(chosen, scale, false_alarm):
    """The best of one call, and of the next."""
    chances = np.exp(SCORES / scale) / np.exp(SCORES / scale).sum()
    pairs = np.bincount(chosen[::2, 0] * len(SCORES) + chosen[1::2, 0], minlength=len(SCORES) ** 2)
    return chi_square(pairs, np.outer(chances, chances).ravel(), false_alarm)


@sources
def test_the_best_are_chosen_with_the_chances_of_gumbel_noise(source, false_alarm):
    """Plackett and Luce's: each next one with a chance that grows as exp(score / scale)."""
    chosen = choices(source, GUMBEL, CHOICES)
    assert choice_is(chosen, GUMBEL, false_alarm)
    assert not choice_is(chosen, GUMBEL / LESS, false_alarm)
    assert not choice_is(choices("simulation", LESS * GUMBEL, CHOICES), GUMBEL, false_alarm)
    assert not choice_is(chosen[:, ::-1], GUMBEL, false_alarm)  # best last
    assert winners_are_independent(chosen, GUMBEL, false_alarm)
    assert not winners_are_independent(np.repeat(chosen[::2], 2, axis=0), GUMBEL, false_alarm)


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "k"), MANY)
def test_100_000_choices_of_the_system(scale, k, false_alarm):
    orders, chances = plackett_luce(scale, k=k)
    for share in (1.0, LESS):
        counts = dict.fromkeys(orders, 0)
        for _ in range(100_000):
            counts[tuple(SOURCES["production"].top_k(SCORES, share * scale, k).tolist())] += 1
        assert chi_square(np.array(list(counts.values())), chances, false_alarm) == (share == 1.0)


# bytes


@sources
def test_bytes_are_uniform_and_independent(source, false_alarm):
    drawn = np.frombuffer(SOURCES[source].bytes(BYTES), dtype=np.uint8).astype(np.int64)

    def uniform(drawn):
        pairs = np.bincount(drawn[::2] * 256 + drawn[1::2], minlength=256**2)
        return chi_square(np.bincount(drawn, minlength=256), np.ones(256), false_alarm) and chi_square(
            pairs, np.ones(256**2), false_alarm
        )

    assert uniform(drawn)
    assert not uniform(drawn % 251)
    assert not uniform(np.where(np.arange(BYTES) % 10, drawn, drawn & 127))  # one bit in eighty is lost
    assert not uniform(np.where(np.arange(BYTES) % 10 == 1, np.roll(drawn, 1), drawn))  # one in ten is repeated
    assert [len(SOURCES[source].bytes(size)) for size in (0, 1, 7)] == [0, 1, 7]


# the checks themselves


def test_the_checks_are_sharp(false_alarm):
    """The powers stated above. Binomial and chi-square laws are exact, those of Pearson's test approximate."""
    size = CALLS * LENGTH
    for degrees, power in ((1, 2), (2, 1)):  # of the scale
        low = chi2.ppf(false_alarm / 2, degrees * size)
        assert chi2.cdf(low / LESS**power, degrees * size) > 1 - 1e-9
    for law in LAWS.values():  # of the shape, at one point alone: its p-value is small beyond this gap (Massart 1990)
        gap = math.sqrt(math.log(2 / false_alarm) / 2 / size)
        assert binom.sf(size * (law.cdf(1.0) + gap), size, law.cdf(1.0 / LESS)) > 1 - 1e-9
    assert limits(size, 2 * norm.sf(3.0), false_alarm)[0] > 0  # clipped tails have none
    assert limits(size, 2 * laplace.sf(4.0), false_alarm)[0] > 0
    for law in ("gaussian", "laplace"):  # one number in 200 is eight times too large: count those alone
        far = FAR[law][1]
        most = limits(size, 2 * LAWS[law].sf(far), false_alarm)[1]
        assert binom.sf(most, size // 200, 2 * LAWS[law].sf(far / 8)) > 1 - 1e-9

    def power(size, chances, faulty):
        shift = size * ((faulty - chances) ** 2 / chances).sum()
        return ncx2.sf(chi2.isf(false_alarm, len(chances) - 1), len(chances) - 1, shift)

    even = np.full((8, 8), 1 / 64)
    assert power(size // 2, even.ravel(), (0.9 * even + 0.1 * np.eye(8) / 8).ravel()) > 1 - 1e-9
    right, wrong = (shifts(keep_of(epsilon, CLASSES), CLASSES) for epsilon in (EPSILON, 1.1 * EPSILON))
    assert power(LABELS, right, wrong) > 1 - 1e-9
    assert power(20_000, np.array([1.2, 1, 1]) / 3.2, np.ones(3) / 3) > 1 - 1e-9
    for size, scale, k in ((CHOICES, GUMBEL, WINNERS), *((100_000, *one) for one in MANY)):
        (_, right), (_, wrong) = plackett_luce(scale, k=k), plackett_luce(LESS * scale, k=k)
        rare = right * size < 25
        right, wrong = (np.append(chances[~rare], chances[rare].sum()) for chances in (right, wrong))
        right, wrong = right[right > 0], wrong[right > 0]
        assert power(size, right, wrong) > 1 - 1e-9
    for n_classes, epsilon in MORE:
        right, wrong = (shifts(keep_of(share * epsilon, n_classes), n_classes) for share in (1.1, 1.0))
        assert power(200_000, right, wrong) > 1 - 1e-9
    lost = np.repeat([1.1, 0.9], 128) / 256
    assert power(BYTES // 10, np.full(256, 1 / 256), 0.5 * (lost + 1 / 256)) > 1 - 1e-9


# where noise comes from


def everything(source):
    """A draw of each law, as bytes; two that are independent agree in one of them with probability below 1e-12."""
    return [
        source.bytes(16),
        source.gaussian(np.zeros(4), 1.0).tobytes(),
        source.laplace(np.zeros(4), 1.0).tobytes(),
        source.top_k(np.zeros(30), 1.0, 30).tobytes(),
        source.response(np.zeros(60, dtype=np.int64), 20, 0.1).tobytes(),
    ]


def differ(*draws):
    return all(len(set(column)) == len(draws) for column in zip(*draws, strict=True))


def seed_the_world():
    import torch

    random.seed(3)
    np.random.seed(3)
    torch.manual_seed(3)


def test_no_seed_moves_any_law_of_production():
    draws = []
    for _ in range(3):
        seed_the_world()
        draws.append(everything(sampler()))
    assert differ(*draws)


@sources
def test_no_law_moves_a_generator_of_somebody_else(source):
    import torch

    seed_the_world()
    everything(SOURCES[source])
    after = random.random(), np.random.random(), torch.rand(1).item()
    seed_the_world()
    assert after == (random.random(), np.random.random(), torch.rand(1).item())


def test_a_seed_repeats_every_law_and_another_does_not():
    def once(seed):
        with simulation(seed):
            return everything(sampler()), everything(sampler())

    (first, second), (again, more), (other, _) = once(5), once(5), once(6)
    assert first == again
    assert second == more
    assert differ(first, second, other)


def test_noise_outside_the_block_is_productions():
    before = everything(sampler())
    with simulation(5):
        inside = everything(sampler())
    after = everything(sampler())
    with simulation(5):
        everything(sampler())
        stream = everything(sampler())  # what the block would have gone on with
    assert differ(before, inside, after, stream)
    assert type(sampler()) is SystemSampler


def test_other_threads_have_productions_noise_and_leave_the_stream():
    with simulation(5):
        first, second = everything(sampler()), everything(sampler())
    seen = []
    with simulation(5):
        assert everything(sampler()) == first
        thread = threading.Thread(target=lambda: seen.append((everything(sampler()), type(sampler()))))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            seen.append(pool.submit(lambda: (everything(sampler()), type(sampler()))).result())
        assert everything(sampler()) == second
    assert differ(first, second, *(drawn for drawn, _ in seen))
    assert [kind for _, kind in seen] == [SystemSampler] * 2


def test_two_threads_can_simulate_at_once():
    def once():
        with simulation(5):
            return everything(sampler()), everything(sampler())

    expected = once()
    with ThreadPoolExecutor(4) as pool, simulation(6):
        assert [future.result() for future in [pool.submit(once) for _ in range(8)]] == [expected] * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_has_productions_noise_and_leaves_the_stream():
    with simulation(5):
        first, second = everything(sampler()), everything(sampler())
    drawn = []
    with simulation(5):
        assert everything(sampler()) == first
        for _ in range(2):
            reading, writing = os.pipe()
            child = os.fork()
            if child == 0:
                try:
                    os.write(writing, b"".join(everything(sampler())))
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            os.close(writing)
            with os.fdopen(reading, "rb") as pipe:
                drawn.append(pipe.read())
        assert everything(sampler()) == second
    cuts = np.cumsum([0, *map(len, first)])
    parts = [[whole[start:end] for start, end in zip(cuts[:-1], cuts[1:], strict=True)] for whole in drawn]
    assert {len(whole) for whole in drawn} == {cuts[-1]}
    assert differ(first, second, *parts)


@pytest.mark.parametrize("where", ["other thread", "after the block", "task"])
def test_a_copied_context_does_not_carry_the_block_away(where):
    async def later():
        return current_simulation()

    async def started_inside():
        with simulation(0):
            task = asyncio.create_task(later())
        return await task

    with simulation(0):
        context = contextvars.copy_context()
        if where == "other thread":
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(context.run, current_simulation).result() is None
    if where == "after the block":
        assert context.run(current_simulation) is None
    if where == "task":
        assert asyncio.run(started_inside()) is None
