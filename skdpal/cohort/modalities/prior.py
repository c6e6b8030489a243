"""What public data say about the classes, modality by modality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skdpal.cohort.modalities.layout import Layout, layout_of
from skdpal.estimators.prior import PublicPrior
from skdpal.privacy.validation import check_finite

__all__ = ["ModalityPrior"]


class ModalityPrior(Mapping[str, PublicPrior]):
    """A `PublicPrior` for each modality; frozen, and the same object in every clone.

    Parameters
    ----------
    priors : mapping of str to PublicPrior
        In the space of unit rows of each modality, of the same classes. A modality without a prior is left out.
    fractions : sequence of float, optional
        Public class fractions. Default: those of the prior with most rows.
    classes : sequence, optional
        All labels that may occur. Default: those of the priors.

    Raises
    ------
    ValueError
        If there is no modality, or modalities differ in their classes.

    Examples
    --------
    >>> import numpy as np
    >>> from skdpal.cohort.modalities import ModalityPrior
    >>> prior = ModalityPrior.from_public(np.eye(4), ["a", "a", "b", "b"], blocks={"rna": 2, "rppa": 2})
    >>> list(prior), prior.classes.tolist()  # the first two have "rna" only: no class b
    ([], ['a', 'b'])
    """

    def __init__(self, priors: Mapping[str, PublicPrior], fractions: Any = None, *, classes: Any = None) -> None:
        self._priors = dict(priors)
        known = [prior.classes for prior in self._priors.values()]
        if classes is None and not known:
            raise ValueError('Expected priors of at least one modality. Found none. Pass {"rna": PublicPrior(...)}.')
        self.classes = known[0] if classes is None else np.unique(np.asarray(classes))
        for name, other in zip(self._priors, known, strict=True):
            if not np.array_equal(other, self.classes):
                raise ValueError(
                    f"Expected all modalities to have the classes {self.classes.tolist()}. Found {other.tolist()} in {name!r}. "
                    "Make every prior from public rows of all classes, or leave that modality out."
                )
        given = self._of_most_rows() if fractions is None else check_finite("fractions", fractions)
        self.fractions: NDArray[np.float64] | None = given

    @classmethod
    def from_public(cls, X: Any, y: Any, blocks: Any) -> Self:
        """Compute the priors from public rows and labels; nothing is charged.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            Public rows, from ``blocks.transform``.
        y : array-like of shape (n_rows,)
            Public labels.
        blocks : ModalityBlocks or mapping of str to int
            As in `DPModalityClassifier`.

        Returns
        -------
        ModalityPrior
            A modality that no public row of some class has gets no prior: patients alone tell about it.

        Raises
        ------
        ValueError
            If X and y do not belong together.
        """
        rows, labels = check_finite("X", X), np.asarray(y)
        if rows.ndim != 2 or len(rows) != len(labels) or not len(rows):
            raise ValueError("Expected X of shape (n_rows, n_columns) and y with one label a row. Pass public data.")
        layout: Layout = layout_of(blocks, rows.shape[1])
        classes, counts = np.unique(labels, return_counts=True)
        priors = {}
        for name, block in layout.cut(rows).items():
            there = block.any(axis=1)
            if len(np.unique(labels[there])) == len(classes):
                priors[name] = PublicPrior.from_public(block[there], labels[there])
        return cls(priors, (counts + 1) / (counts + 1).sum(), classes=classes)

    @property
    def means(self) -> NDArray[np.float64]:
        """Class means of all modalities side by side."""
        parts = [prior.means for prior in self._priors.values()]
        return np.hstack(parts) if parts else np.zeros((len(self.classes), 0))

    def __getitem__(self, name: str) -> PublicPrior:
        return self._priors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._priors)

    def __len__(self) -> int:
        return len(self._priors)

    def _of_most_rows(self) -> NDArray[np.float64] | None:
        counted = [prior for prior in self._priors.values() if prior.counts is not None]
        return max(counted, key=lambda prior: prior.counts.sum()).fractions if counted else None

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __sklearn_clone__(self) -> Self:
        return self

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        return f"<ModalityPrior: {len(self.classes)} classes, {', '.join(self._priors) or 'no modality'}>"
