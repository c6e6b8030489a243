"""Gradient noise: from fresh keys alone, and Gaussian.

False-alarm rate 1e-6 everywhere. At 200,000 draws a scale 10% too small lifts the Kolmogorov-Smirnov statistic to
11 / sqrt(n), where its p-value is below 1e-90.
"""

import math
import os
import pickle
import random
import threading
from contextlib import nullcontext

import numpy as np
import pytest
from scipy.stats import binomtest, chisquare, ks_2samp, kstest, norm

from skdpal.estimators.neural import noise as home
from skdpal.estimators.neural.noise import fill_with_gaussian_noise, gaussian_noise
from skdpal.privacy import PrivacyLeakWarning
from skdpal.privacy.randomness import entropy, simulation

torch = pytest.importorskip("torch")

ALARM = 1e-6
SCALE = 3.0
DRAWS = (400, 500)
RADII = np.random.default_rng(5).integers(2**64, size=1000, dtype=np.uint64).view(np.int64)
ANGLES = np.random.default_rng(6).integers(2**32, size=1000, dtype=np.uint32).view(np.int32)
WIDE = np.random.default_rng(7).integers(2**64, size=1000, dtype=np.uint64).view(np.int64)


def simulated():
    return simulation(seed=0)


paths = pytest.mark.parametrize("path", [nullcontext, simulated], ids=["production", "simulation"])


def from_words(radii, angles, size=None, xp=np):
    """Noise from known words: in double precision if the angles' words are long."""
    out = np.empty(2 * len(radii) if size is None else size, dtype=f"f{angles.itemsize}")
    arrays = [radii.copy(), angles.copy(), out]
    home._box_muller(xp, *(arrays if xp is np else map(torch.from_numpy, arrays)), 1.0)
    return out


@pytest.fixture
def one_thread_or_two():
    threads = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(threads)


# the entropy


@pytest.mark.parametrize("bit", [32, 40, 63])
def test_why_no_generator_of_torch_is_seeded(bit):
    def seeded(seed):
        return torch.empty(2000).normal_(generator=torch.Generator().manual_seed(seed))

    assert torch.equal(seeded(5), seeded(5 + 2**bit))  # torch drops the upper half of the seed
    assert not torch.equal(seeded(5), seeded(5 + 2**31))


@pytest.mark.parametrize("bit", [0, 20, 32, 40, 51])
@pytest.mark.parametrize("place", [0, 1, 500, 999])
def test_every_bit_of_a_radius_makes_other_noise_and_only_in_its_pair(place, bit):
    other = RADII.copy()
    other[place] ^= 2**bit
    changed = (from_words(RADII, WIDE) != from_words(other, WIDE)).nonzero()[0].tolist()
    assert changed == [place, place + 1000]


@pytest.mark.parametrize(("angles", "bit"), [(ANGLES, 12), (ANGLES, 31), (WIDE, 20), (WIDE, 63)])
@pytest.mark.parametrize("place", [0, 1, 500, 999])
def test_bits_of_an_angle_make_other_noise_and_only_in_its_pair(place, angles, bit):
    other = angles.copy()
    other[place] ^= angles.dtype.type(-(2**bit) if bit in (31, 63) else 2**bit)
    changed = (from_words(RADII, angles) != from_words(RADII, other)).nonzero()[0].tolist()
    assert set(changed) <= {place, place + 1000}
    assert changed  # half a turn changes the cosine's sign


@pytest.mark.parametrize(("angles", "rtol", "atol"), [(ANGLES, 1e-5, 2e-6), (WIDE, 1e-9, 1e-12)])
@pytest.mark.parametrize("backend", ["numpy", "torch"])
@pytest.mark.parametrize("size", [2000, 1999])
def test_the_noise_is_box_muller(angles, rtol, atol, backend, size):
    """52 bits for the radius; the angle is rounded once, in single precision."""
    expected = np.empty(2000)
    for i, (word, angle) in enumerate(zip(RADII.tolist(), angles.tolist(), strict=True)):
        uniform = ((word % 2**52) + 0.5) / 2**52
        radius, turn = math.sqrt(-2 * math.log(uniform)), 2 * math.pi * (angle + 0.5) / 2 ** (8 * angles.itemsize)
        expected[i], expected[i + 1000] = radius * math.cos(turn), radius * math.sin(turn)
    found = from_words(RADII, angles, size, np if backend == "numpy" else torch)
    np.testing.assert_allclose(found, expected[:size], rtol=rtol, atol=atol)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_the_tail_is_that_of_double_precision_and_nothing_is_zero(dtype):
    narrow = dtype == np.int32
    far, near = np.zeros(1, dtype=np.int64), np.full(1, 2**52 - 1)
    furthest = math.sqrt(106 * math.log(2))  # 8.57; with 32 bits it would end at 6.66
    assert from_words(far, np.zeros(1, dtype=dtype))[0] == pytest.approx(furthest, rel=1e-6)
    angles = np.array([0, -1, 1, 2**30, -(2**30), 2**31 - 1, -(2**31)]) * (1 if narrow else 2**32)
    for radius in (far, near):
        noise = from_words(radius.repeat(len(angles)), angles.astype(dtype))
        assert (noise != 0).all()
        assert np.isfinite(noise).all()
    assert np.abs(from_words(near, np.zeros(1, dtype=dtype))).max() < 2e-8


@pytest.mark.parametrize(("size", "spans"), [(0, 0), (1, 1), (home._SPAN, 1), (home._SPAN + 1, 2), (3 * home._SPAN, 3)])
def test_every_span_of_every_call_has_a_fresh_key(monkeypatch, size, spans, one_thread_or_two):
    keys = []

    def recorded(key):
        keys.append(key)
        return stream(key)

    stream = home._stream
    monkeypatch.setattr(home, "_stream", recorded)
    for threads in (1, 2):
        one_thread_or_two(threads)
        gaussian_noise((size,), 1.0)
    assert len(keys) == len(set(keys)) == 2 * spans
    assert {len(key) for key in keys} <= {32}


def test_keys_are_the_entropy_and_drawn_by_the_caller(monkeypatch, one_thread_or_two):
    """A simulation does not reach other threads: drawn there, keys would not be the simulation's."""
    one_thread_or_two(2)
    drawn, used, stream = [], [], home._stream
    monkeypatch.setattr(
        home, "entropy", lambda size: drawn.append((entropy(size), threading.get_ident())) or drawn[-1][0]
    )
    monkeypatch.setattr(home, "_stream", lambda key: used.append(key) or stream(key))
    gaussian_noise((3 * home._SPAN,), 1.0)
    ((keys, thread),) = drawn
    assert thread == threading.get_ident()
    assert sorted(used) == sorted(keys[i : i + 32] for i in (0, 32, 64))


def test_the_stream_is_aes_256_in_counter_mode():
    """Against NIST SP 800-38A's block cipher, by encrypting the counters one by one."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    key = bytes(range(32))
    block = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()
    expected = b"".join(block.update(counter.to_bytes(16, "big")) for counter in range(9))
    room = np.zeros(400, dtype=np.uint8)
    stream = home._stream(key)
    first = [part.tobytes() for part in home._words(stream, room, torch.empty(11))]  # 6 radii, 6 angles
    second = [part.tobytes() for part in home._words(stream, room, torch.empty(11))]
    assert b"".join(first + second) == expected


def test_threads_do_not_change_what_a_simulation_draws(one_thread_or_two):
    draws = []
    for threads in (1, 2, 3):
        one_thread_or_two(threads)
        with simulated():
            draws.append([gaussian_noise((4 * home._SPAN + 7,), 1.0), gaussian_noise((5,), 1.0)])
    for draw in draws[1:]:
        assert all(torch.equal(*pair) for pair in zip(draws[0], draw, strict=True))


def test_spans_and_blocks_do_not_share_numbers(one_thread_or_two):
    one_thread_or_two(2)
    noise = gaussian_noise((3 * home._SPAN,), 1.0, dtype=torch.float64)
    assert len(noise.abs().unique()) == noise.numel()
    blocks = noise.view(-1, home._BLOCK).numpy()
    assert all(independent(blocks[0], block) for block in blocks[1:])


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
        noise = torch.cat([gaussian_noise((21,), SCALE) for _ in range(5_000)])  # odd: a sine is left out
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
        noise = gaussian_noise((4, 2, home._BLOCK // 2), 1.0, dtype=torch.float64)  # blocks, halves
    first, second = noise.numpy().transpose(1, 0, 2).reshape(2, -1)
    assert independent(first, second)
    assert not independent(first, 0.1 * first + math.sqrt(0.99) * second)
    assert not independent(first, np.sign(second) * np.abs(first))  # uncorrelated


def test_single_precision_rounds_to_single_precision_only():
    """Its numbers are spaced as single precision's are, down to the small ones."""
    noise = gaussian_noise((2**20,), 1.0)
    assert noise.dtype == torch.float32
    assert len(noise.unique()) > 0.9 * noise.numel()  # birthdays among 2^24 mantissas: a coarse grid repeats more
    assert len((noise.abs() * 2**16).round().unique()) < 0.5 * noise.numel()
    assert (noise != 0).all()


@paths
def test_small_numbers_and_tails_are_as_likely_as_they_should_be(path):
    n = 4_000_000
    with path():
        noise = gaussian_noise((n,), 1.0)
    for near, far in [(0, 1e-4), (0, 1e-2), (3.5, 4.0), (4.0, 9.0)]:
        chance = 2 * (norm.cdf(far) - norm.cdf(near))
        found = int(((noise.abs() >= near) & (noise.abs() < far)).sum())
        assert binomtest(found, n, chance).pvalue > ALARM
        assert binomtest(int(1.5 * found), n, chance).pvalue < ALARM  # planted


# blocks


@pytest.mark.parametrize("size", [home._BLOCK + more for more in (-1, 0, 1, 2)] + [home._SPAN + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_blocks_fill_the_tensor(size, dtype):
    noise = fill_with_gaussian_noise(torch.full((size,), torch.nan, dtype=dtype), SCALE)
    assert noise.isfinite().all()
    assert len(noise.double().abs().unique()) > 0.9 * size
    assert fits(noise[-home._BLOCK :])


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


# in place


def test_a_tensor_is_filled_in_place_and_its_old_content_is_gone():
    tensor = torch.full(DRAWS, 100.0)
    place = tensor.data_ptr()
    assert fill_with_gaussian_noise(tensor, SCALE) is tensor
    assert tensor.data_ptr() == place
    assert fits(tensor)
    assert not fits(tensor + 0.1)


def test_filling_draws_what_a_new_tensor_holds():
    with simulated():
        new = gaussian_noise(DRAWS, SCALE)
    with simulated():
        assert torch.equal(fill_with_gaussian_noise(torch.empty(DRAWS), SCALE), new)


def test_parts_of_a_tensor_are_filled_alone():
    tensor = torch.zeros(5, 1000)
    fill_with_gaussian_noise(tensor[1:3], 1.0)
    assert [bool(row.any()) for row in tensor] == [False, True, True, False, False]


@pytest.mark.parametrize(
    "tensor", [torch.zeros(3, 4).T, torch.zeros(3, 4)[:, :2], torch.nn.Parameter(torch.zeros(3)).requires_grad_()]
)
def test_what_cannot_be_filled_in_place_is_refused(tensor):
    with pytest.raises(ValueError, match="contiguous and without requires_grad"):
        fill_with_gaussian_noise(tensor, 1.0)


@pytest.mark.parametrize("scale", [0.0, 1e-40])
def test_filling_checks_its_arguments(scale):
    with pytest.raises(ValueError, match="Expected scale"):
        fill_with_gaussian_noise(torch.zeros(3), scale)
    with pytest.raises(ValueError, match="Expected dtype"):
        fill_with_gaussian_noise(torch.zeros(3, dtype=torch.float16), 1.0)
