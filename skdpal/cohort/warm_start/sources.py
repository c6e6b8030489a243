"""What public data there are before the first patient, and what can be learnt from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from skdpal.cohort.warm_start.projection import RandomProjection
from skdpal.estimators.prior import PublicPrior
from skdpal.estimators.public import DPShift, PublicEncoder
from skdpal.estimators.regime import recommended_components

__all__ = ["PublicSource"]

_FEW = 6  # dimensions without a prior: κ = 2 for 10 labels at ε = 2
_FOLDS = 20  # of the out-of-sample reference


@dataclass(frozen=True, eq=False)
class PublicSource:
    """An embedding, and whatever else public data offer; make one with a class method.

    * `same_classes`: rows labelled with the classes of the question. Supervised embedding, class means as prior, and the
      public model scores the pool at first.
    * `other_classes`: rows labelled with something else. Supervised embedding, no prior; coins choose at first.
    * `unlabelled`: embedding from their total covariance, no prior; coins choose at first.
    * `nothing`: random directions, no prior; coins choose at first.

    Attributes
    ----------
    kind : {"same classes", "other classes", "unlabelled", "none"}
    encoder : transformer
        Frozen; reads patients one by one.
    prior : PublicPrior or None
    reference : ndarray of shape (n_public, n_components) or None
        The public rows, each embedded as if it had been new.
    centre : ndarray of shape (n_components,)
        Mean of the embedded public rows, from which a shift is measured; 0 without public data.

    Notes
    -----
    Nothing is charged: patients must not be among the public rows. Look for those of your own hospital in public
    collections and leave them out.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.cohort import PublicSource
    >>> data = skdpal.datasets.load_srbct(as_frame=True)
    >>> lines = data.is_cell_line
    >>> PublicSource.same_classes(data.data[lines], data.target[lines], n_components=16)
    <PublicSource of the same classes: 46 public rows, PublicEncoder to 16 columns, a prior of 4 classes>
    """

    kind: str
    encoder: Any
    prior: PublicPrior | None
    reference: NDArray[np.float64] | None
    centre: NDArray[np.float64]

    @classmethod
    def same_classes(
        cls,
        X: Any,
        y: Any,
        *,
        n_components: int | None = None,
        fractions: Mapping[Any, float] | None = None,
        **encoder: Any,
    ) -> Self:
        """Public rows that are labelled as the patients will be: cell lines, another hospital, a public collection.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_genes)
            PUBLIC. With column names, patients' genes are found by name.
        y : array-like of shape (n_rows,)
            At least two classes: those of the question.
        n_components : int, optional
            Default: 24, or as many as the public rows allow (`recommended_components`).
        fractions : mapping of label to float, optional
            PUBLIC expectation of how common each class is among the patients, for `centre`. Default: as in y.
        **encoder
            Of `PublicEncoder`, such as ``sample_scaling="rank"`` for another platform (default "standardize") or
            ``method="neural"``.

        Raises
        ------
        ValueError
            If y has one class only.
        """
        labels = np.asarray(y)
        if len(np.unique(labels)) < 2:
            raise ValueError(
                "Expected y to hold at least two classes, those of the question. Found one. Use PublicSource.unlabelled."
            )
        most = int(np.shape(X)[1])
        width = (
            recommended_components(1.0, 1.0, n_public=len(labels), most=most) if n_components is None else n_components
        )
        fitted = _encoder(width, encoder).fit(X, y)
        rows = fitted.transform(X)
        prior = PublicPrior.from_public(rows, labels)
        centre = DPShift.mean_of_public(rows, labels, fractions)
        return cls("same classes", fitted, prior, _reference(fitted, X, y), centre)

    @classmethod
    def other_classes(cls, X: Any, y: Any, *, n_components: int = _FEW, **encoder: Any) -> Self:
        """Public rows with labels of another question: they shape the embedding, and say nothing of the classes.

        Parameters
        ----------
        X, y : array-like
            PUBLIC, as for `same_classes`.
        n_components : int, default=6
            Without a prior κ binds: `recommended_components` tells how many the patients can carry.
        **encoder
            Of `PublicEncoder`.
        """
        fitted = _encoder(n_components, encoder).fit(X, y)
        return cls("other classes", fitted, None, _reference(fitted, X, y), fitted.transform(X).mean(axis=0))

    @classmethod
    def unlabelled(cls, X: Any, *, n_components: int = _FEW, **encoder: Any) -> Self:
        """Public rows without labels: their total covariance shapes the embedding.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_genes)
            PUBLIC.
        n_components : int, default=6
            As for `other_classes`.
        **encoder
            Of `PublicEncoder`.
        """
        fitted = _encoder(n_components, encoder).fit(X)
        return cls("unlabelled", fitted, None, _reference(fitted, X, None), fitted.transform(X).mean(axis=0))

    @classmethod
    def nothing(
        cls, *, n_components: int = _FEW, sample_scaling: str = "standardize", seed: int | str = 0, genes: Any = None
    ) -> Self:
        """No public data: random directions, named after the genes.

        Parameters
        ----------
        n_components, sample_scaling, seed, genes : optional
            As of `RandomProjection`.
        """
        projection = RandomProjection(n_components, sample_scaling=sample_scaling, seed=seed, genes=genes)
        projection.check_parameters()
        return cls("none", projection, None, None, np.zeros(n_components))

    @property
    def n_components(self) -> int:
        """Columns of an embedded row."""
        return len(self.centre)

    def __repr__(self) -> str:
        kind = {"none": "without public data", "unlabelled": "without labels"}.get(self.kind, f"of the {self.kind}")
        rows = [] if self.reference is None else [f"{len(self.reference)} public rows"]
        prior = "no prior" if self.prior is None else f"a prior of {len(self.prior.classes)} classes"
        parts = [*rows, f"{type(self.encoder).__name__} to {self.n_components} columns", prior]
        return f"<PublicSource {kind}: {', '.join(parts)}>"


def _encoder(n_components: int, options: dict[str, Any]) -> PublicEncoder:
    return PublicEncoder(n_components=n_components, **{"sample_scaling": "standardize", **options})


def _reference(encoder: PublicEncoder, X: Any, y: Any) -> NDArray[np.float64]:
    folds = _FOLDS if encoder.method == "whitened-pca" else None
    return encoder.out_of_sample(X, y, max_fits=folds)
