"""Where each modality lies in a row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skdpal.estimators.prior import unit_ball
from skdpal.privacy.validation import check_count

__all__ = ["WHOLE", "Layout", "layout_of"]

Array = NDArray[np.float64]

WHOLE = "all"  # the one modality of rows that are not divided


@dataclass(frozen=True)
class Layout:
    """Blocks side by side.

    Attributes
    ----------
    widths : dict of str to int
        Columns of each modality, in order.
    norms : dict of str to float
        Clipping norm of each; their squares sum to 1.
    """

    widths: dict[str, int]
    norms: dict[str, float]

    @property
    def n_columns(self) -> int:
        """Columns of all blocks."""
        return sum(self.widths.values())

    def places(self, name: str) -> slice:
        """The columns of one block."""
        names = list(self.widths)
        first = sum(self.widths[other] for other in names[: names.index(name)])
        return slice(first, first + self.widths[name])

    def cut(self, rows: Array, names: Sequence[str] | None = None) -> dict[str, Array]:
        """Each modality's rows in the unit ball; nothing else of a row is looked at. Who lacks it has zeros."""
        return {name: unit_ball(rows[:, self.places(name)] / self.norms[name]) for name in names or self.widths}

    def alone(self, rows: Array, names: Sequence[str]) -> Array:
        """Rows that have these modalities only."""
        kept = np.zeros_like(rows)
        for name in names:
            kept[:, self.places(name)] = rows[:, self.places(name)]
        return kept


def layout_of(blocks: Any, n_columns: int | None = None) -> Layout:
    """The layout that is meant by `blocks=` of a classifier, for rows with so many columns if they are known."""
    found = getattr(blocks, "layout", None)
    if found is None:
        widths = {WHOLE: n_columns or 0} if blocks is None else _widths(blocks)
        found = Layout(widths, dict.fromkeys(widths, len(widths) ** -0.5))
    if n_columns is not None and found.n_columns != n_columns:
        raise ValueError(
            f"Expected X to have the {found.n_columns} columns of blocks. Found {n_columns}. Pass rows of blocks.transform."
        )
    return found


def _widths(blocks: Any) -> dict[str, int]:
    if not isinstance(blocks, Mapping) or not blocks:
        raise ValueError(
            f"Expected blocks to be ModalityBlocks, or the number of columns of each modality. Found {blocks!r}. "
            'Pass blocks={"rna": 16, "rppa": 8}.'
        )
    return {str(name): check_count(f"blocks[{name!r}]", width, least=1) for name, width in blocks.items()}
