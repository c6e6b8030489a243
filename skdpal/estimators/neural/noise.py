"""Gaussian noise for gradients: millions of numbers a step, where the float-safe sampler is too slow.

Invariants
----------
* Nothing is kept: every call takes fresh 256-bit keys from `entropy`, one for each span of numbers, expands them by
  AES in counter mode, and drops them. No key is used twice, for two spans, or by two threads; none can be guessed,
  solved for, repeated by a fork or a pickle, or shared with torch's and numpy's global generators. (torch's own
  cannot serve: of a seed, `manual_seed` uses 32 bits on the CPU, and mt19937 is linear, so that whoever knows the
  gradient on some thousand coordinates can compute the noise on the others.)
* Keys are drawn by the calling thread, in order, and spans do not depend on the number of threads: what a
  simulation draws depends on its seed alone.
* The noise is ordinary floating-point noise, unlike that of `perturb`: its limits are listed in `gaussian_noise`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy.randomness import entropy
from skdpal.privacy.validation import check_count, check_real

if TYPE_CHECKING:
    import torch  # imported late: it takes seconds, and only neural models need it

__all__ = ["fill_with_gaussian_noise", "gaussian_noise"]

_KEY = 32  # bytes of a key
_BLOCK = 2**17  # numbers computed at a time: their arrays fit in a core's cache
_SPAN = 2 * _BLOCK  # numbers that share a key, and go to one thread
_ZEROS = memoryview(bytes(8 * _BLOCK))  # what is encrypted


def gaussian_noise(
    shape: Iterable[int], scale: float, *, dtype: torch.dtype | None = None, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Independent Gaussian numbers of standard deviation `scale`, in a new tensor.

    Parameters
    ----------
    shape : iterable of int
        Of the tensor.
    scale : float
        Standard deviation. So large or so small that `dtype` would overflow, or round to zero, is refused.
    dtype : {torch.float32, torch.float64}, default=torch.float32
        Of the tensor.
    device : torch.device or str, default="cpu"
        Of the tensor.

    Returns
    -------
    torch.Tensor
        Outside `simulation` no two calls are alike; inside, calls repeat with the block's seed.

    Notes
    -----
    Box and Muller (1958): the radius is sqrt(-2 log u), the angle uniform. Words come from AES-256 in counter mode
    (NIST SP 800-38A), as many threads at a time as torch may use. If AES is a pseudorandom permutation, nobody who
    knows some of the numbers can compute others, up to the rounding of the two that share a radius and an angle.

    u has 52 random bits and lies in the middle of its cell, between 2^-53 and 1 - 2^-53, in double precision: no
    number is further out than 8.57 `scale`, where a Gaussian number would be with probability 1e-17, and none is
    zero. Fewer bits would cost delta: a sampler that ends at t sigma lets the adversary see, with the probability
    that a Gaussian number is outside, an output that one of two neighbours cannot make. With 32 bits, t is 6.66, and
    21 million coordinates, whose gradient is far smaller than the noise, would cost about 4e-7 a step. The angle has
    32 bits (64 for float64), which do not reach the tail.

    It is not float-safe. The numbers lie on a finite grid (1e-7 `scale` near zero for float32), and the sum of
    gradient and noise is rounded; whoever sees all bits of the sum can learn more than the Gaussian mechanism says
    (Mironov 2012). Small releases do not need this function: `perturb` adds its noise through OpenDP in exact
    arithmetic, where these gaps do not exist, at a cost that millions of numbers a step forbid.

    Examples
    --------
    >>> from skdpal.estimators.neural.noise import gaussian_noise
    >>> noise = gaussian_noise((100, 1000), scale=2.0)
    >>> noise.shape, noise.dtype
    (torch.Size([100, 1000]), torch.float32)
    >>> bool(abs(noise.std() - 2.0) < 0.1)
    True
    """
    import torch

    dtype = torch.float32 if dtype is None else dtype
    _limits(dtype)
    sides = [check_count("shape", side) for side in shape]
    return fill_with_gaussian_noise(torch.empty(sides, dtype=dtype, device=torch.device(device)), scale)


def fill_with_gaussian_noise(tensor: torch.Tensor, scale: float) -> torch.Tensor:
    """Overwrite a tensor with independent Gaussian numbers of standard deviation `scale`.

    Parameters
    ----------
    tensor : torch.Tensor
        Contiguous, float32 or float64, not a part of an autograd graph. On a CUDA device only the keystream comes
        from the CPU; the numbers are computed there. For other devices they are computed on the CPU, then moved.
    scale : float
        As in `gaussian_noise`, which lists the properties of the numbers.

    Returns
    -------
    torch.Tensor
        The same tensor.

    Examples
    --------
    >>> import torch
    >>> from skdpal.estimators.neural.noise import fill_with_gaussian_noise
    >>> weights = torch.zeros(100, 1000)
    >>> bool(abs(fill_with_gaussian_noise(weights, scale=2.0).std() - 2.0) < 0.1)
    True
    """
    import torch

    limits = _limits(tensor.dtype)
    scale = check_real("scale", scale, above=limits.tiny / limits.eps, below=limits.max / 16)
    if not tensor.is_contiguous() or tensor.requires_grad:
        raise ValueError("Expected tensor to be contiguous and without requires_grad. Fill a new tensor, then copy it.")
    kind = tensor.device.type
    if kind not in ("cpu", "cuda"):
        return tensor.copy_(gaussian_noise(tensor.shape, scale, dtype=tensor.dtype))
    spans = tensor.detach().view(-1).split(_SPAN) if tensor.numel() else ()
    keys = entropy(_KEY * len(spans))
    jobs = [(keys[_KEY * i : _KEY * (i + 1)], span) for i, span in enumerate(spans)]
    workers = min(torch.get_num_threads(), len(jobs)) if kind == "cpu" else 1
    if workers < 2:
        _fill(jobs, scale)
    else:
        with ThreadPoolExecutor(workers) as pool:  # a pool that outlived the call would be dead after a fork
            list(pool.map(lambda worker: _fill(jobs[worker::workers], scale), range(workers)))
    return tensor


def _limits(dtype: torch.dtype) -> torch.finfo:
    import torch

    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"Expected dtype to be torch.float32 or torch.float64. Found {dtype!r}. "
            "Add the noise in single precision, then convert."
        )
    return torch.finfo(dtype)


def _fill(jobs: list[tuple[bytes, torch.Tensor]], scale: float) -> None:
    """Fill flat tensors, each from its key."""
    import torch

    words = np.empty(8 * _BLOCK + 16, dtype=np.uint8)  # the cipher asks for room for one more block of its own
    for key, span in jobs:
        stream = _stream(key)
        for block in span.split(_BLOCK):
            radii, angles = _words(stream, words, block)
            if block.device.type == "cpu":  # numpy's logarithms, sines and cosines take half the time of torch's
                _box_muller(np, radii, angles, block.numpy(), scale)
            else:
                there = [torch.from_numpy(part).to(block.device) for part in (radii, angles)]
                _box_muller(torch, *there, block, scale)


def _stream(key: bytes) -> Any:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()  # a key makes one stream: it starts at 0


def _words(stream: Any, room: NDArray[np.uint8], block: torch.Tensor) -> tuple[NDArray[Any], NDArray[Any]]:
    """The stream's next bytes, as a word for each radius and angle of a block; they lie in `room`."""
    pairs, width = (len(block) + 1) // 2, block.element_size()
    length = pairs * (8 + width)
    stream.update_into(_ZEROS[:length], room)
    return room[: 8 * pairs].view(np.int64), room[8 * pairs : length].view(np.dtype(f"i{width}"))


def _box_muller(xp: Any, radii: Any, angles: Any, out: Any, scale: float) -> None:
    """Fill `out` with numbers from words, which are overwritten; `xp` is numpy or torch, whose calls are the same."""
    pairs, size = len(radii), len(out)
    cosines, sines = out[:pairs], out[pairs:]
    cosines[:] = angles
    xp.add(cosines, 0.5, out=cosines)  # the middle of a cell: a sine is never zero
    xp.multiply(cosines, math.pi / 2 ** (8 * angles.itemsize - 1), out=cosines)
    xp.sin(cosines[: size - pairs], out=sines)
    xp.cos(cosines, out=cosines)
    # 52 bits under the exponent of 1 make a number in [1, 2); less this, it is an odd number of 2^-53, exactly
    xp.bitwise_and(radii, 2**52 - 1, out=radii)
    xp.bitwise_or(radii, 1023 << 52, out=radii)
    uniform, radius = radii.view(xp.float64), angles.view(out.dtype)
    xp.subtract(uniform, 1 - 2.0**-53, out=uniform)
    xp.log(uniform, out=uniform)
    radius[:] = uniform
    xp.multiply(radius, -2.0, out=radius)
    xp.sqrt(radius, out=radius)
    xp.multiply(radius, scale, out=radius)
    xp.multiply(cosines, radius, out=cosines)
    xp.multiply(sines, radius[: size - pairs], out=sines)
