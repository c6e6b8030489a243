"""Bounds on ε that share no code with the prices: discretised privacy losses, composed by FFT.

A mechanism is a pair of losses. The first is L = log(dP/dQ) under P, where the patient is there; the second is
log(dQ/dP) under Q, where they are not. A loss is a pair of functions: P(L <= x) and P(L > x), so that both tails
are exact. Then δ(ε) = E[(1 - exp(ε - L))+] for the sum L of the losses of all releases; ε is the worse of two orders.

Why these are bounds. The axis is cut into cells (a, b] of one width, and the mass of each is put at b. That rounds
every loss up, by less than a cell. To put it at a instead only moves the sum of n losses by n cells, to the left:
so one convolution gives both bounds, n cells apart. Everything that is cut off is counted in `slack`:
the upper bound treats it as if it were at infinity, the lower bound as if it were not there.
The one thing that is estimated and not proven is the floating-point noise of the FFT (`FFT_NOISE`).
"""

import math

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import lfilter
from scipy.special import logsumexp, ndtr

FFT_NOISE = 1e-11  # in δ; what is seen, as masses below zero or a sum that is not one, is below 2e-12
CUT = 1e-4  # of δ: what each of four cuts may remove
FARTHEST = 600.0  # no loss of a single release is beyond, but for what may be cut
MOST_CELLS = 2**22
TILTS = np.geomspace(1e-2, 1e5, 120)  # exponents of Chernoff's bound


# ---- mechanisms -----------------------------------------------------------------------------------------------


def gaussian(sigma):
    """N(1/σ, 1) against N(0, 1): the loss is N(μ²/2, μ²) in both orders."""
    mu = 1 / sigma

    def z(loss):
        return loss / mu - mu / 2

    return ((lambda loss: ndtr(z(loss)), lambda loss: ndtr(-z(loss))),) * 2


def poisson_gaussian(sigma, rate):
    """(1 - q) N(0, σ²) + q N(1, σ²) against N(0, σ²): the loss grows with the output x."""

    def x(loss):
        with np.errstate(divide="ignore", invalid="ignore"):  # no output has a loss below log(1 - q)
            ratio = np.maximum(np.expm1(loss) / rate, -1)
            return sigma**2 * np.log1p(ratio) + 0.5

    def mixture(x, sign):
        return (1 - rate) * ndtr(sign * x / sigma) + rate * ndtr(sign * (x - 1) / sigma)

    present = (lambda loss: mixture(x(loss), 1), lambda loss: mixture(x(loss), -1))
    absent = (lambda loss: ndtr(-x(-loss) / sigma), lambda loss: ndtr(x(-loss) / sigma))
    return present, absent


def laplace(scale):
    """Lap(0, b) against Lap(1, b): the loss is (1 - 2x) / b between the centres, with an atom at either end."""

    def outside(loss, below):
        x = (1 - scale * loss) / 2
        tail = np.exp(-np.clip(x, 0, 1) / scale) / 2
        return np.where(x <= 0, float(below), np.where(x > 1, float(not below), tail if below else 1 - tail))

    return ((lambda loss: outside(loss, True), lambda loss: outside(loss, False)),) * 2


def discrete(losses, masses):
    """Finitely many outputs, by loss and probability under P."""

    def law(losses, masses):
        order = np.argsort(losses)
        sums = np.concatenate([[0.0], np.cumsum(masses[order])])
        rest = np.concatenate([np.cumsum(masses[order][::-1])[::-1], [0.0]])
        places = losses[order]
        return (
            lambda loss: sums[np.searchsorted(places, loss, side="right")],
            lambda loss: rest[np.searchsorted(places, loss, side="right")],
        )

    losses, masses = np.asarray(losses, float), np.asarray(masses, float)
    return law(losses, masses), law(-losses, masses * np.exp(-losses))


def randomized_response(epsilon, n_classes):
    """The true label against another one: reported with odds exp(ε) : 1 against each other label."""
    total = math.exp(epsilon) + n_classes - 1
    return discrete([epsilon, 0, -epsilon], [math.exp(epsilon) / total, (n_classes - 2) / total, 1 / total])


def bounded_range(eta):
    """What dominates every η-bounded-range mechanism, an exponential mechanism among them.

    Its profile is the largest that a binary choice can have, δ(x) = (1 - exp(-(η - x)/2))² / (1 - exp(-η)).
    As P(L > x) = δ(x) - δ'(x) for every loss, here P(L > x) = (1 - exp(-(η - x)/2)) / (1 - exp(-η)).
    """

    def part(loss, sign):  # both tails grow from zero, so that small ones keep their digits
        return np.expm1((eta + sign * np.clip(loss, -eta, eta)) / 2) / math.expm1(eta)

    def above(loss):
        return np.exp((eta + np.clip(loss, -eta, eta)) / 2) * part(loss, -1)

    return ((lambda loss: part(loss, 1), above),) * 2


def binary_choice(eta, t):
    """An exponential mechanism between two options: what one can really do with the range η."""
    q = (math.exp(-t) - math.exp(-eta)) / -math.expm1(-eta)
    p = math.exp(t) * q
    return discrete([t, t - eta], [p, 1 - p])


# ---- bounds ---------------------------------------------------------------------------------------------------


def bounds(releases, delta, precision=0.004):
    """(lower, upper) on ε of releases [(mechanism, how often), ...] at δ.

    The cells are made narrower until the bounds are within `precision` of each other, or too many.
    """
    count = sum(times for _, times in releases)
    lower, upper, step = 0.0, math.inf, 0.2 / count
    while lower < (1 - precision) * upper - 1e-6:
        pairs = [_bounds([(pair[order], times) for pair, times in releases], delta, step) for order in (0, 1)]
        if None in pairs:
            break
        lowers, uppers = zip(*pairs, strict=True)
        lower, upper = max(lower, *lowers), min(upper, max(uppers))
        guess = max(lower, upper / 4)  # with wide cells the upper bound is far too high
        step = min(max(step / 4, precision / 2 * guess / count), step / 2)
    return lower, upper


def _bounds(losses, delta, step):
    """Both bounds for one order of the worlds; None if they would take too many cells."""
    count = sum(times for _, times in losses)
    parts = [(*_cells(loss, step, CUT * delta / count), times) for loss, times in losses]
    first, last = _window(parts, step, CUT * delta)
    size = next_fast_len(last - first + 1, real=True)
    if size > MOST_CELLS:
        return None
    spectrum = np.ones(size // 2 + 1, complex)
    for start, mass, times in parts:
        spectrum *= rfft(_fold(start, mass, size)) ** times
    # what lies outside the window comes in at its other end; `slack` pays for that
    mass = np.roll(irfft(spectrum, size), -first % size)
    if -mass[mass < 0].sum() > FFT_NOISE:
        raise ArithmeticError("the noise of the FFT is larger than it is taken to be")
    slack = 4 * CUT * delta + FFT_NOISE
    if slack > delta / 2:
        raise ValueError(f"delta={delta} is too small for these floats")
    upper = _epsilon(mass, first, step, delta - slack)
    lower = _epsilon(mass, first, step, delta + slack) - count * step
    return max(lower, 0.0), max(upper, 0.0)


def _cells(loss, step, cut):
    """Where the masses of a loss begin on the grid, and the masses, each at the upper end of its cell."""
    below, above = loss
    low = _crossing(lambda x: below(x) > cut)[0]
    high = _crossing(lambda x: above(x) <= cut)[1]
    start, stop = math.floor(low / step), math.ceil(high / step)
    edges = step * np.arange(start, stop + 1)
    under, over = below(edges), above(edges)
    mass = np.where(under[1:] < 0.5, np.diff(under), -np.diff(over))  # the difference of the smaller numbers
    return start, np.maximum(np.concatenate([under[:1], mass]), 0)


def _crossing(true_above):
    """Neighbours (low, high) around the place where a condition becomes true."""
    low, high = -FARTHEST, FARTHEST
    if true_above(low) or not true_above(high):
        raise ValueError("a loss is too large for this grid")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if true_above(middle) else (middle, high)
    return low, high


def _window(parts, step, cut):
    """Grid points between which the sum lies, up to `cut` on either side (Chernoff)."""
    least = sum(times * start for start, _, times in parts)
    most = sum(times * (start + len(mass) - 1) for start, mass, times in parts)
    reach = []
    for sign in (1, -1):
        total = np.zeros(len(TILTS))
        for start, mass, times in parts:
            # blocks at their outer end: faster, and still a bound
            block = -(-len(mass) // 2048)
            heads = np.arange(0, len(mass), block)
            ends = np.minimum(heads + block, len(mass)) - 1 if sign > 0 else heads
            weight = np.add.reduceat(mass, heads)
            exponent = np.outer(TILTS, sign * step * (start + ends))
            total += times * logsumexp(exponent, b=weight, axis=1)
        reach.append(sign * ((total - math.log(cut)) / TILTS).min() / step)
    return max(least, math.floor(reach[1])), min(most, math.ceil(reach[0]))


def _fold(start, mass, size):
    """Masses on a circle of `size` grid points, point i of the axis at i modulo size."""
    lead = start % size
    padded = np.zeros(-(-(lead + len(mass)) // size) * size)
    padded[lead : lead + len(mass)] = mass
    return padded.reshape(-1, size).sum(axis=0)


def _epsilon(mass, first, step, delta):
    """Solve δ(ε) = delta. Between two grid points δ is A - exp(ε - l) K, with l the upper of them."""
    tail = np.cumsum(mass[::-1])[::-1]  # A: the mass from l on
    damped = lfilter([1.0], [1.0, -math.exp(-step)], mass[::-1])[::-1]  # K: the same, times exp(l - loss)
    place = int(np.argmax(tail - damped <= delta))
    if tail[place] <= delta:
        return -math.inf
    return step * (first + place) + math.log((tail[place] - delta) / damped[place])
