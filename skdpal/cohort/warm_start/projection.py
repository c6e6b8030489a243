"""An embedding that learns from nobody, for cohorts without public data."""

from __future__ import annotations

import hashlib
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from skdpal.estimators.public.genes import GeneMatch, column_names, match_genes
from skdpal.estimators.public.scaling import SCALINGS, scale
from skdpal.estimators.public.whitening import to_sphere
from skdpal.estimators.rows import validated
from skdpal.privacy.validation import check_count, check_one_of, check_real

__all__ = ["RandomProjection"]


class RandomProjection(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Random directions, one for each gene, drawn from its name and a public seed.

    Each row is scaled by itself, projected, and brought to length 1. Nothing is learnt, so nothing is charged, and
    nothing has to be fitted. A gene has the same direction in every table, in any order of columns and on any platform.

    Parameters
    ----------
    n_components : int, default=6
        Dimension. Without a public prior patients alone must carry the model, so keep κ = n μ/√d at 2 or more:
        `skdpal.estimators.regime.recommended_components` turns that into d (6 for 10 labels at ε = 2).
    sample_scaling : {"standardize", "rank"}, default="standardize"
        As of `PublicEncoder`: a function of one patient.
    seed : int or str, default=0
        Public; it protects nobody.
    genes : sequence of str, optional
        The only columns to use, found by name. Default: all columns of each table.
    min_matched : float, default=0.5
        Least part of `genes`, in [0, 1], that a table must have.

    Notes
    -----
    Directions are signs (Achlioptas, *J. Comput. Syst. Sci.* 66, 2003), bits of SHAKE-256 of the seed and the name. A
    missing gene, or a cell that is NaN, counts as the mean of its own row. Columns without names are told apart by
    their position.

    Distances between patients are roughly kept; but what all patients have in common is kept as well, and usually is
    most of a row. `DPShift` can take it away, at a price.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.cohort.warm_start.projection import RandomProjection
    >>> data = skdpal.datasets.load_srbct(as_frame=True)
    >>> RandomProjection(n_components=6).transform(data.data).shape
    (83, 6)
    """

    frozen_on_public = True  # for `BudgetGuard`: there is nothing to fit

    def __init__(
        self,
        n_components: int = 6,
        *,
        sample_scaling: str = "standardize",
        seed: int | str = 0,
        genes: Any = None,
        min_matched: float = 0.5,
    ) -> None:
        self.n_components = n_components
        self.sample_scaling = sample_scaling
        self.seed = seed
        self.genes = genes
        self.min_matched = min_matched

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check X, and remember the names or the number of its columns; nothing is learnt.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
        y : None
            Not used.
        """
        self.check_parameters()
        _checked(self, X, reset=True)
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Embed rows; each result has length 1, or 0 if nothing is known of the row.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            Zero rows are fine; NaN is a missing cell.

        Returns
        -------
        ndarray of shape (n_rows, n_components)

        Raises
        ------
        ValueError
            If the names of X match less than `min_matched` of `genes`.
        """
        self.check_parameters()
        names = column_names(X)
        if names is None:
            rows = self._unnamed(X)
            names = tuple(map(str, range(rows.shape[1])))
        else:
            match = self._match(names)
            if self.genes is not None:
                match.require(self.min_matched)
            names = match.known
            rows = match.take(_checked(RandomProjection(), match.select(X), ensure_min_samples=0))
        return to_sphere(scale(rows, self.sample_scaling).project(np.zeros(len(names)), self._directions(names)))

    def match_report(self, X: Any) -> GeneMatch:
        """How the columns of a table fit `genes`; only names are read.

        Raises
        ------
        ValueError
            If X has no column names.
        """
        names = column_names(X)
        if names is None:
            raise ValueError("Expected column names in X. Found none. Pass a DataFrame to match genes by name.")
        return self._match(names)

    def check_parameters(self) -> None:
        """Raise `ValueError` if one is bad."""
        check_count("n_components", self.n_components, least=1)
        check_one_of("sample_scaling", self.sample_scaling, SCALINGS, "Rows must be scaled, each by itself.")
        check_real("min_matched", self.min_matched, above=0.0, below=1.0, closed=True)
        if self.genes is not None and (isinstance(self.genes, str) or not len(self.genes)):
            raise ValueError(f"Expected genes to be a list of names. Found {self.genes!r}. Leave it out to use all.")

    # -- inside ------------------------------------------------------------------------------

    def _unnamed(self, X: Any) -> NDArray[np.float64]:
        if self.genes is not None:
            raise ValueError("Expected column names in X, to find `genes` by. Found none. Pass a DataFrame.")
        fitted = hasattr(self, "n_features_in_")  # if not, nothing is remembered of this table either
        return _checked(self if fitted else RandomProjection(), X, reset=not fitted, ensure_min_samples=0)

    def _match(self, names: tuple[str, ...]) -> GeneMatch:
        known = names if self.genes is None else self.genes
        return match_genes(list(dict.fromkeys(map(str, known))), names)

    def _directions(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        """Signs, of shape (n_components, n_genes)."""
        length = -(-self.n_components // 8)
        digests = b"".join(self._digest(name, length) for name in names)
        bits = np.unpackbits(np.frombuffer(digests, dtype=np.uint8).reshape(len(names), length), axis=1)
        return (2.0 * bits[:, : self.n_components] - 1).T

    def _digest(self, name: str, length: int) -> bytes:
        return hashlib.shake_256(f"{self.seed}\n{name.strip().casefold()}".encode()).digest(length)

    @property
    def _n_features_out(self) -> int:
        return self.n_components

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _checked(estimator: Any, X: Any, **options: Any) -> NDArray[np.float64]:
    """Rows; NaN is a missing cell."""
    rows = validated(estimator, X, **options)
    if np.isinf(rows).any():
        raise ValueError("Expected X to be finite; it holds infinity. Fill or drop such entries; NaN is allowed.")
    return rows
