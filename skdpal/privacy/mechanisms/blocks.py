"""Noisy sums of separate parts of the patients' data, such as modalities.

Invariants
----------
* Each part is summed, clipped and given noise by itself. What a part sends moves no other part, so that a patient's
  part alone is worth its own noise, and the patient as a whole all of them together.
* A part that a patient lacks is a row of zeros in that part, in its count as well. (The caller's promise: no number
  of one part tells whether another is there.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy import events
from skdpal.privacy.mechanisms.sums import GaussianSum
from skdpal.privacy.validation import check_count, check_finite

__all__ = ["GaussianBlocks"]


@dataclass(frozen=True)
class GaussianBlocks:
    """The Gaussian mechanism on sums over patients, part by part.

    Parameters
    ----------
    blocks : mapping of str to tuple of (float, int)
        Of each part its noise multiplier, and its number of columns; parts lie side by side in this order.
        A patient's row of each part is clipped to length 1.
    replace_one : float, default=2.0
        As in `GaussianSum`, of each part.
    """

    blocks: Mapping[str, tuple[float, int]]
    replace_one: float = 2.0
    one_row_each: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not self.blocks:
            raise ValueError("Expected blocks to have at least one part. Found none.")
        try:
            pairs = {name: (noise, width) for name, (noise, width) in self.blocks.items()}
        except (TypeError, ValueError):
            raise ValueError(
                "Expected blocks to have for each part its noise multiplier and its number of columns: {'rna': (4.0, 64)}."
            ) from None
        plain = {name: (noise, check_count("columns", width, least=1)) for name, (noise, width) in pairs.items()}
        object.__setattr__(self, "blocks", MappingProxyType(plain))
        assert isinstance(self.event, events.Modalities)  # its parts are checked there

    @property
    def event(self) -> events.Modalities:
        """The price: μ² = Σ 1 / noise_multiplier² for the patient, 1 / noise_multiplier² for each part."""
        parts = {
            name: GaussianSum(noise, replace_one=self.replace_one).event for name, (noise, _) in self.blocks.items()
        }
        return events.modalities(parts)

    def run(self, contributions: NDArray[np.float64], ids: Sequence[str]) -> NDArray[np.float64]:
        """The noisy sums, side by side. Only `release` calls this, after the charge."""
        widths = [width for _, width in self.blocks.values()]
        contributions = check_finite("contributions", contributions)
        if contributions.ndim != 2 or contributions.shape[1] != sum(widths):
            raise ValueError(f"Expected contributions with the {sum(widths)} columns of all blocks.")
        cuts = np.split(contributions, np.cumsum(widths)[:-1], axis=1)
        noises = [GaussianSum(noise) for noise, _ in self.blocks.values()]
        return np.concatenate([noise.run(cut, ids) for noise, cut in zip(noises, cuts, strict=True)])
