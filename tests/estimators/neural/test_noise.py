"""Gradient noise: from the operating system alone, and Gaussian.

False-alarm rate 1e-6 everywhere. At 200,000 draws a scale 10% too small lifts the Kolmogorov-Smirnov statistic to
11 / sqrt(n), where its p-value is below 1e-90.
"""

import math
import os
import pickle
import random
from contextlib import nullcontext

import numpy as np
import pytest
from scipy.stats import chisquare, ks_2samp, kstest, norm

from skdpal.estimators.neural import noise as home
from skdpal.estimators.neural.noise import gaussian_noise
from skdpal.privacy import PrivacyLeakWarning
from skdpal.privacy.randomness import simulation

torch = pytest.importorskip("torch")

ALARM = 1e-6
SCALE = 3.0
DRAWS = (400, 500)
WORDS = np.random.default_rng(5).integers(2**64, size=2000, dtype=np.uint64)  # 1000 radii, 1000 angles


def simulated():
    return simulation(seed=0)


paths = pytest.mark.parametrize("path", [nullcontext, simulated], ids=["production", "simulation"])


@pytest.fixture
def planted(monkeypatch):
    """Noise from known entropy."""

    def draw(words):
        monkeypatch.setattr(home, "entropy", lambda size: words.tobytes()[:size])
        return gaussian_noise((words.size,), 1.0, dtype=torch.float64)

    return draw


# the entropy


@pytest.mark.parametrize("bit", [32, 40, 63])
def test_why_no_generator_of_torch_is_seeded(bit):
    def seeded(seed):
        return torch.empty(2000).normal_(generator=torch.Generator().manual_seed(seed))

    assert torch.equal(seeded(5), seeded(5 + 2**bit))  # torch drops the upper half of the seed
    assert not torch.equal(seeded(5), seeded(5 + 2**31))


@pytest.mark.parametrize("bit", [20, 32, 40, 63])
@pytest.mark.parametrize("word", [0, 1, 700, 999, 1000, 1001, 1700, 1999])
def test_entropy_of_every_place_makes_other_noise_and_only_in_its_pair(planted, word, bit):
    other = WORDS.copy()
    other[word] ^= np.uint64(2**bit)
    assert torch.equal(planted(WORDS), planted(WORDS))
    changed = (planted(WORDS) != planted(other)).nonzero().ravel().tolist()
    assert changed == [word % 1000, word % 1000 + 1000]


def test_the_noise_is_box_muller_of_53_bits(planted):
    uniform = [((int(word) >> 11) + 1) / 2**53 for word in WORDS]
    pairs = [
        (math.sqrt(-2 * math.log(u)), 2 * math.pi * v) for u, v in zip(uniform[:1000], uniform[1000:], strict=True)
    ]
    expected = [r * math.cos(t) for r, t in pairs] + [r * math.sin(t) for r, t in pairs]
    np.testing.assert_allclose(planted(WORDS).numpy(), expected, rtol=1e-9, atol=1e-12)


def test_the_tail_is_that_of_double_precision(planted):
    zeros, ones = np.zeros(2, dtype=np.uint64), np.full(2, 2**64 - 1)
    assert planted(zeros)[0] == pytest.approx(math.sqrt(106 * math.log(2)))  # 8.57; in single precision it ends at 5.77
    assert planted(ones).tolist() == [0, 0]  # finite at the other end


@pytest.mark.parametrize(
    ("size", "taken"), [(0, []), (1, [16]), (9, [80]), (10, [80]), (11, [80, 16]), (25, [80, 80, 48])]
)
def test_entropy_is_taken_once_a_block_and_never_kept(monkeypatch, size, taken):
    sizes = []
    monkeypatch.setattr(home, "_BLOCK", 10)
    monkeypatch.setattr(home, "entropy", lambda size: sizes.append(size) or os.urandom(size))
    gaussian_noise((size,), 1.0)
    gaussian_noise((size,), 1.0)
    assert sizes == 2 * taken


# the distribution


def fits(noise, scale=SCALE):
    return kstest(noise.double().numpy().ravel(), "norm", args=(0, scale)).pvalue > ALARM


@paths
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_noise_is_gaussian(path, dtype):
    with path():
        noise = gaussian_noise(DRAWS, SCALE, dtype=dtype)
        less = gaussian_noise(DRAWS, 0.9 * SCALE, dtype=dtype)
    assert fits(noise)
    assert not fits(less)


@paths
def test_small_tensors_are_gaussian(path):
    with path():
        noise = torch.cat([gaussian_noise((21,), SCALE) for _ in range(5_000)])
    assert fits(noise)
    assert not fits(0.9 * noise)


def test_production_and_simulation_agree():
    production = gaussian_noise(DRAWS, SCALE).numpy().ravel()
    with simulated():
        simulation_ = gaussian_noise(DRAWS, SCALE).numpy().ravel()
        less = gaussian_noise(DRAWS, 0.9 * SCALE).numpy().ravel()
    assert ks_2samp(production, simulation_).pvalue > ALARM
    assert ks_2samp(production, less).pvalue < ALARM


def independent(first, second):
    """Whether 64 equally likely cells are equally full."""
    cells = [(8 * norm.cdf(half)).astype(int) for half in (first, second)]
    return chisquare(np.bincount(8 * cells[0] + cells[1], minlength=64)).pvalue > ALARM


@paths
def test_cosines_and_sines_are_independent(path):
    with path():
        noise = gaussian_noise((4, 2, home._BLOCK // 2), 1.0, dtype=torch.float64)
    first, second = noise.numpy().transpose(1, 0, 2).reshape(2, -1)
    assert independent(first, second)
    assert not independent(first, 0.1 * first + math.sqrt(0.99) * second)
    assert not independent(first, np.sign(second) * np.abs(first))  # uncorrelated


def test_drawn_in_double_precision_then_rounded():
    with simulated():
        double = gaussian_noise(DRAWS, SCALE, dtype=torch.float64)
    with simulated():
        single = gaussian_noise(DRAWS, SCALE)
    assert single.dtype == torch.float32
    assert torch.equal(single, double.float())
    assert not torch.equal(double, double.float().double())


# blocks


@pytest.mark.parametrize("size", [home._BLOCK + more for more in (-1, 0, 1, 2)] + [2 * home._BLOCK + 1])
def test_blocks_fill_the_tensor_and_do_not_repeat(size):
    with simulated():
        noise = gaussian_noise((size,), SCALE, dtype=torch.float64)
    with simulated():
        whole, rest = divmod(size, home._BLOCK)
        blocks = [gaussian_noise((n,), SCALE, dtype=torch.float64) for n in [home._BLOCK] * whole + [rest]]
    assert torch.equal(noise, torch.cat(blocks))
    assert len(noise.abs().unique()) == size


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (7,), (2, 3, 4), torch.Size([5])])
def test_shapes(shape):
    noise = gaussian_noise(shape, 1.0)
    assert noise.shape == tuple(shape)
    assert not noise.requires_grad
    assert len(noise.abs().unique()) == noise.numel()


# independence


def state_of_the_world():
    return pickle.dumps((torch.get_rng_state().numpy(), np.random.get_state(), random.getstate()))


def seed_the_world():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def test_global_seeds_do_nothing_and_stay():
    draws = []
    for _ in range(2):
        seed_the_world()
        before = state_of_the_world()
        draws.append(gaussian_noise(DRAWS, 1.0))
        assert state_of_the_world() == before
    assert independent(*(noise.double().numpy().ravel() for noise in draws))


def test_no_call_repeats_outside_a_simulation():
    draws = torch.stack([gaussian_noise((20,), SCALE, dtype=torch.float64) for _ in range(500)])
    assert len(draws.unique()) == draws.numel()


def test_a_simulation_repeats_with_its_seed():
    def draw(seed):
        with pytest.warns(PrivacyLeakWarning), simulation(seed=seed):
            return torch.stack([gaussian_noise((20,), SCALE), gaussian_noise((20,), SCALE)])

    first = draw(0)
    seed_the_world()
    assert torch.equal(first, draw(0))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, draw(1))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@paths
def test_forks_do_not_share_noise(path):
    def draw():
        return gaussian_noise((16,), 1.0).numpy().tobytes()

    def in_fork():
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writing, draw())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            return pipe.read()

    with path():
        draw()  # whatever state there is, is there before the fork
        drawn = [in_fork() for _ in range(3)] + [draw()]
    assert {len(noise) for noise in drawn} == {64}
    assert len(set(drawn)) == 4


# arguments


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf"), "1", None, True, 1e-40, 1e38])
def test_a_scale_that_is_none_is_refused(scale):
    with pytest.raises(ValueError, match="Expected scale"):
        gaussian_noise((3,), scale)


def test_double_precision_reaches_further():
    for scale in (1e-40, 1e38):
        assert fits(gaussian_noise(DRAWS, scale, dtype=torch.float64), scale)


def test_other_dtypes_and_shapes_are_refused():
    with pytest.raises(ValueError, match=r"Expected dtype .* Found torch.float16. Add"):
        gaussian_noise((3,), 1.0, dtype=torch.float16)
    with pytest.raises(ValueError, match="Expected shape"):
        gaussian_noise((3, -1), 1.0)


def test_noise_is_moved_to_its_device():
    assert gaussian_noise((3,), 1.0).device.type == "cpu"
    moved = gaussian_noise((3, 4), 1.0, device=torch.device("meta"))
    assert (moved.device.type, moved.shape) == ("meta", (3, 4))


def test_defaults_of_torch_do_not_matter():
    try:
        torch.set_default_dtype(torch.float64)
        torch.set_default_device("meta")
        noise = gaussian_noise((3,), 1.0)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    assert noise.dtype == torch.float32
    assert noise.device.type == "cpu"
    assert len(noise.unique()) == 3


def test_torch_is_imported_late():
    assert "torch" not in vars(home)
