"""What one release of several modalities costs, and which of them a payer can still afford.

Nothing here looks at a row: who has which modality, and how many, decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

from skdpal.cohort.modalities.layout import WHOLE, layout_of
from skdpal.privacy import events
from skdpal.privacy.validation import check_real

__all__ = ["ROOT2", "affordable", "each", "noises_of"]

ROOT2 = math.sqrt(2.0)  # how far a patient's row moves when it is exchanged; and what keeps [x, 1] in the unit ball


def noises_of(noise_multiplier: Any, blocks: Any) -> dict[str, float]:
    """The noise of each modality: given, or that of the patient shared out by clipping norms."""
    norms = {WHOLE: 1.0} if blocks is None else layout_of(blocks).norms
    if isinstance(noise_multiplier, Mapping):
        return each("noise_multiplier", noise_multiplier, norms)
    noise = check_real("noise_multiplier", noise_multiplier, above=0.0)
    return {name: noise / norm for name, norm in norms.items()}


def affordable(payer: Any, noises: Mapping[str, float], modalities: Sequence[str] | None) -> events.Modalities:
    """The release that a payer is asked for.

    Parameters
    ----------
    payer : PrivacyLedger, Handle or None
    noises : mapping of str to float
        Of all modalities.
    modalities : sequence of str or None
        Exactly these. None: those whose caps are not used up; or what the payer released when it was asked the same
        question before, whatever became of its caps since. If all are used up, all, so that the ledger refuses.
    """
    if modalities is not None:
        if not modalities or not set(modalities) <= set(noises):
            raise ValueError(
                f"Expected modalities to be some of {list(noises)}. Found {list(modalities)}. Correct the names."
            )
        return _event_of(noises, [name for name in noises if name in modalities])
    full = _event_of(noises, noises)
    if payer is None:
        return full
    for number in range(len(noises), 0, -1) if getattr(payer, "question", None) is not None else ():
        for names in combinations(noises, number):
            before = _event_of(noises, names)
            if payer.paid(before):
                return before
    used_up = payer.used_up(full)
    return _event_of(noises, [name for name in noises if name not in used_up] or noises)


def each(argument: str, given: Any, names: Iterable[str], *, below: float = math.inf) -> dict[str, float]:
    """A positive number for each modality, in order."""
    names = list(names)
    numbers = given if isinstance(given, Mapping) else dict.fromkeys(names, given)
    if set(numbers) != set(names):
        raise ValueError(
            f"Expected {argument} to have a number for each modality, {names}. Found {list(numbers)}. Name the same."
        )
    return {name: check_real(f"{argument}[{name!r}]", numbers[name], above=0.0, below=below) for name in names}


def _event_of(noises: Mapping[str, float], names: Iterable[str]) -> events.Modalities:
    return events.modalities({name: events.gaussian(noises[name], replace_one=ROOT2) for name in names})
