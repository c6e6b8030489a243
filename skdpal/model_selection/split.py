"""Who fits and who scores: settled before anything is looked at."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from skdpal.privacy.validation import check_real

__all__ = ["scoring_patients"]


def scoring_patients(ids: Sequence[str], validation: Any) -> np.ndarray:
    """Which rows belong to patients who score: by their ids, or positions, alone.

    Parameters
    ----------
    ids : sequence of str
        The patient of each row.
    validation : float or sequence
        Fraction, or ids.

    Returns
    -------
    ndarray of bool
    """
    slots = list(dict.fromkeys(ids))
    if isinstance(validation, float | int):
        fraction = check_real("validation", validation, above=0.0, below=1.0)
        # an id made of a row's values would let one patient move others: their place is public instead
        names = [str(place) if name.startswith("row-sha256:") else f"id {name}" for place, name in enumerate(slots)]
        order = sorted(range(len(slots)), key=lambda place: hashlib.sha256(names[place].encode()).digest())
        chosen = {slots[place] for place in order[: round(fraction * len(slots))]}
    else:
        chosen = {str(name) for name in validation} & set(slots)
    if not 0 < len(chosen) < len(slots):
        raise ValueError(
            "Expected validation to leave patients who fit and patients who score. Pass a fraction such as 0.3 with "
            "at least four patients, or ids that are among record_ids."
        )
    return np.array([name in chosen for name in ids])
