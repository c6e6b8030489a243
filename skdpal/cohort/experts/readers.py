"""Somebody who gives labels, and errs at a rate that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd

from skdpal.estimators import Transition

__all__ = ["Reader"]


@dataclass(frozen=True, eq=False)
class Reader:
    """A reader with a PUBLIC confusion matrix, the same for all patients.

    Parameters
    ----------
    name : str
        Public name, such as "local pathologist".
    confusion : DataFrame, array-like or Transition of shape (n_classes, n_classes) or (n_classes, n_classes + 1)
        The chance of each label that the reader may give (across), for each true class (down); rows sum to 1. From a
        table of counts: `Reader.from_counts`. From published agreement, a validation study, or another cohort; never
        from patients of the study, unless noise was paid for (`release_votes`).
    classes : sequence, optional
        The true classes. Default: the index of a DataFrame.
    defer : label, optional
        What the reader gives who would not decide: a column of a DataFrame, the last column of an array. It is no
        class.

    Attributes
    ----------
    transition : Transition
        For ``DPPrototypeClassifier(transition=...)``.

    Raises
    ------
    ValueError
        If a row does not sum to 1, a column is neither a class nor `defer`, or there is a matrix for each patient.

    Notes
    -----
    Nothing is read here and nothing charged. A label of this reader enters a release as it stands, at the price of a
    label that is right. The guarantee is that of patients: how often a reader errs is public, and protected by nothing.

    Examples
    --------
    >>> from skdpal.cohort.experts import Reader
    >>> reader = Reader("night shift", [[0.85, 0.05, 0.10], [0.15, 0.75, 0.10]], ["benign", "malignant"], defer="unsure")
    >>> reader.transition.frame
               benign  malignant  unsure
    benign       0.85       0.05     0.1
    malignant    0.15       0.75     0.1
    """

    name: str
    confusion: Any = field(repr=False)
    classes: Any = field(default=None, repr=False)
    defer: Any = None
    transition: Transition = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ValueError(f"Expected name to be a word. Found {self.name!r}. Name the reader, or their role.")
        transition = _transition(self.name, self.confusion, self.classes, self.defer)
        for name, value in (
            ("transition", transition),
            ("confusion", transition.matrix),
            ("classes", transition.classes),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def from_counts(
        cls, name: str, counts: Any, classes: Any = None, defer: Any = None, *, pseudo_count: float = 0.0
    ) -> Self:
        """From a PUBLIC table of how often each label was given to each class.

        Parameters
        ----------
        name : str
            As for `Reader`.
        counts : array-like or DataFrame
            As `confusion`, in numbers of patients.
        classes, defer : optional
            As for `Reader`.
        pseudo_count : float, default=0.0
            Added to every entry of a small table.

        Examples
        --------
        >>> from skdpal.datasets import load_wilms_readers
        >>> local = Reader.from_counts("local pathologist", load_wilms_readers())
        >>> local.transition.frame.round(3)
                      favorable  unfavorable
        favorable         0.979        0.021
        unfavorable       0.281        0.719
        """
        columns = _columns(counts, classes, defer)
        return cls(name, Transition.from_counts(counts, classes, columns, pseudo_count=pseudo_count), defer=defer)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _transition(name: str, confusion: Any, classes: Any, defer: Any) -> Transition:
    if isinstance(confusion, Mapping) or np.ndim(confusion) > 2:
        raise ValueError(
            f"Expected confusion of reader {name!r} to be one table for all patients. Found several. A matrix for each patient "
            "would make what is summed over the cohort private, and nothing would pay for it: pass the public average."
        )
    if isinstance(confusion, Transition):
        transition = confusion
    else:
        transition = Transition(confusion, classes, _columns(confusion, classes, defer))
    classes, observed = transition.classes.tolist(), transition.observed.tolist()
    if defer is not None and (defer in classes or defer not in observed):
        raise ValueError(
            f"Expected defer={defer!r} of reader {name!r} to be a label that may be given and is no class. Found the classes "
            f"{classes} and the labels {observed}. Give it a column of its own."
        )
    strange = [label for label in observed if label not in classes and label != defer]
    if strange:
        raise ValueError(
            f"Expected reader {name!r} to give labels among the classes {classes}, or defer={defer!r}. "
            f"Found a column for {strange}. Correct its name, or pass defer={strange[0]!r} if it stands for no decision."
        )
    return transition


def _columns(confusion: Any, classes: Any, defer: Any) -> Any:
    """The labels across, for a table without names."""
    if isinstance(confusion, pd.DataFrame) or classes is None:
        return None
    return [*classes, defer] if defer is not None else list(classes)
