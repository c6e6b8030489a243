"""Gaussian noise for gradients: millions of numbers a step, where the float-safe sampler is too slow.

Invariants
----------
* There is no generator: every number is computed from fresh `entropy`. So no seed or key can be guessed, no state
  solved for, repeated by a fork or a pickle, or shared with torch's and numpy's global generators. (torch's own
  cannot serve: of a seed, `manual_seed` uses 32 bits on the CPU, and mt19937 is linear, so that whoever knows the
  gradient on some thousand coordinates can compute the noise on the others.)
* The noise is ordinary floating-point noise, unlike that of `perturb`: its limits are listed in `gaussian_noise`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

from skdpal.privacy.randomness import entropy
from skdpal.privacy.validation import check_count, check_real

if TYPE_CHECKING:
    import torch  # imported late: it takes seconds, and only neural models need it

__all__ = ["gaussian_noise"]

_BLOCK = 2**16  # numbers held in double precision at a time


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
        Of the tensor. The numbers are drawn in double precision, then rounded.
    device : torch.device or str, default="cpu"
        Of the tensor. The numbers are drawn on the CPU, then moved.

    Returns
    -------
    torch.Tensor
        Outside `simulation` no two calls are alike; inside, calls repeat with the block's seed.

    Notes
    -----
    Box-Muller with 53-bit uniforms from the operating system, about 30 ns a number. The numbers are independent, up
    to the rounding of those that share a radius and an angle: whoever knows some cannot compute the others.

    It is not float-safe. The numbers lie on a finite grid, and the sum of gradient and noise is rounded; whoever
    sees all bits of the sum can learn more than the Gaussian mechanism says (Mironov 2012). Double precision makes
    the gaps small, it does not close them. No number is further out than 8.6 `scale`, where a Gaussian number would
    be with probability 1e-17. Small releases do not need this function: `perturb` adds its noise through OpenDP in
    exact arithmetic, where these gaps do not exist, at a cost that millions of numbers a step forbid.

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
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"Expected dtype to be torch.float32 or torch.float64. Found {dtype!r}. "
            "Add the noise in single precision, then convert."
        )
    limits = torch.finfo(dtype)
    scale = check_real("scale", scale, above=limits.tiny / limits.eps, below=limits.max / 16)
    place = torch.device(device)
    noise = torch.empty([check_count("shape", side) for side in shape], dtype=dtype, device="cpu")
    if noise.numel():
        for part in torch.split(noise.view(-1), _BLOCK):
            part.copy_(_standard(part.numel()).mul_(scale))
    return noise.to(place)


def _standard(size: int) -> torch.Tensor:
    """`size` standard Gaussian numbers in double precision: each pair from a radius and an angle."""
    import torch

    pairs = (size + 1) // 2
    words = torch.frombuffer(bytearray(entropy(16 * pairs)), dtype=torch.int64)
    uniform = ((words >> 11) & (2**53 - 1)).to(torch.float64).add_(1).mul_(2.0**-53)  # in (0, 1]
    radius, angle = uniform[:pairs].log_().mul_(-2).sqrt_(), uniform[pairs:].mul_(2 * math.pi)
    return torch.cat([radius * angle.cos(), radius * angle.sin()])[:size]
