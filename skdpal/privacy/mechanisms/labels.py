"""Labels that may be published.

Invariants
----------
* The set of classes is public and fixed, the same for every patient: a list of likely classes that follows a
  patient's features would break the patient's guarantee at any ε.
* A patient without a label, as a null patient, emits a uniform one.
* Noise is drawn once and kept: drawing again is another release.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skdpal.privacy import events
from skdpal.privacy.randomness import sampler

__all__ = ["RandomizedResponse"]


@dataclass(frozen=True)
class RandomizedResponse:
    """Each label is kept with probability e^ε / (e^ε + K − 1), else one of the others.

    Parameters
    ----------
    epsilon : float
        ε when one label is exchanged for another.
    classes : sequence
        All K classes, public.
    """

    epsilon: float
    classes: Sequence[Any]
    one_row_each: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"Expected classes to differ. Found {list(self.classes)!r}.")
        events.randomized_response(self.epsilon, len(self.classes))

    @property
    def event(self) -> events.RandomizedResponse:
        """The price."""
        return events.randomized_response(self.epsilon, len(self.classes))

    @property
    def keep(self) -> float:
        """The probability with which a label is true, rounded down."""
        return math.nextafter(1 / (1 + (len(self.classes) - 1) * math.exp(-self.epsilon)), 0.0)

    def run(self, values: Any, ids: Sequence[str]) -> NDArray[Any]:
        """The noisy labels. Only `release` calls this, after the charge."""
        codes = pd.Index(self.classes).get_indexer(pd.Index(values)).astype(np.int64)
        missing = np.asarray(pd.isna(pd.Index(values)))
        if codes.shape != (len(ids),) or (codes[~missing] < 0).any():
            raise ValueError("Expected one label, of the given classes or missing, for each of record_ids.")
        n_classes = len(self.classes)
        noisy = sampler().response(np.where(missing, 0, codes), n_classes, self.keep)
        null = sampler().response(np.zeros(len(ids), dtype=np.int64), n_classes, 1 / n_classes)
        return np.asarray(self.classes)[np.where(missing, null, noisy)]
