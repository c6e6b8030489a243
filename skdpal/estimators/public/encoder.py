"""The feature extractor: fitted on public data, then frozen."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.covariance import oas
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import KFold
from sklearn.utils.validation import check_is_fitted

from skdpal.estimators.rows import validated
from skdpal.privacy.validation import check_count, check_finite, check_one_of

__all__ = ["PublicEncoder"]


class PublicEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A linear embedding of PUBLIC data into the unit sphere.

    Principal components of the public rows, whitened by their pooled within-class covariance
    (total covariance without labels), so that noise of one size does equal harm in every direction;
    every row is then scaled to length 1, which bounds what a patient can contribute.

    Parameters
    ----------
    method : {"whitened-pca"}, default="whitened-pca"
        How to embed.
    n_components : int, default=8
        Dimension of the embedding. Privacy noise grows with its root: see κ in `plan_study`.
    sample_scaling : {None, "standardize"}, default=None
        "standardize" first brings each row to mean 0 and variance 1 over its own columns. That
        reads nothing but the row itself, so it is free, and it removes differences of
        scale between platforms. Use it for expression data; not for mixed clinical columns.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features_in_,)
    components_ : ndarray of shape (n_components, n_features_in_)
        Whitened directions.
    shrinkage_ : float
        Weight of the identity in the within-class covariance (Chen et al. 2010, oracle
        approximating shrinkage).

    Notes
    -----
    After `fit` on public data the encoder is frozen: `clone` returns it fitted, `fit_transform`
    only transforms, refitting raises. So a `Pipeline` or a grid search cannot fit it on patients.

    Examples
    --------
    >>> import skdpal
    >>> data = skdpal.datasets.load_srbct()
    >>> lines = data.is_cell_line
    >>> encoder = skdpal.PublicEncoder(n_components=16).fit(data.data[lines], data.target[lines])
    >>> encoder.transform(data.data[~lines]).shape
    (37, 16)
    """

    def __init__(
        self, method: str = "whitened-pca", n_components: int = 8, *, sample_scaling: str | None = None
    ) -> None:
        self.method = method
        self.n_components = n_components
        self.sample_scaling = sample_scaling

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit on PUBLIC data, once.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            Public rows.
        y : array-like of shape (n_rows,), optional
            Public labels; classes that matter to the task, or any others.
        """
        if self._frozen:
            raise ValueError(
                "This PublicEncoder is frozen: it was fitted on public data. To embed other public data, "
                "make a new PublicEncoder; in a Pipeline, it is used as it is."
            )
        self._check_parameters()
        rows = self._scale(validated(self, X, ensure_min_samples=2))
        most = min(len(rows) - 1, rows.shape[1])
        if self.n_components > most:
            raise ValueError(
                f"Expected n_components to be at most {most}, the rank of X. Found {self.n_components}. Lower it."
            )
        mean = rows.mean(axis=0)
        _, _, directions = np.linalg.svd(rows - mean, full_matrices=False)
        directions = directions[: self.n_components]
        projected = (rows - mean) @ directions.T
        covariance, shrinkage = oas(projected - _centres(projected, y), assume_centered=True)
        values, vectors = np.linalg.eigh(covariance)
        whitening = (vectors / np.sqrt(np.maximum(values, 1e-12 * max(values.max(), 1e-300)))) @ vectors.T
        self.mean_, self.components_, self.shrinkage_ = mean, whitening @ directions, float(shrinkage)
        self._n_features_out = self.n_components
        for array in (self.mean_, self.components_):
            array.setflags(write=False)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embed rows; each result has length 1.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            Public or private rows with the columns of `fit`; zero rows are fine.

        Returns
        -------
        ndarray of shape (n_rows, n_components)
        """
        check_is_fitted(self)
        rows = validated(self, X, reset=False, ensure_min_samples=0)
        embedded = (self._scale(rows) - self.mean_) @ self.components_.T
        return embedded / np.maximum(np.linalg.norm(embedded, axis=1, keepdims=True), 1e-300)

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """Transform; refuses to fit, because X may be private here."""
        if not self._frozen:
            raise NotFittedError(
                "This PublicEncoder is not fitted. Call .fit on public data before putting it into a Pipeline: "
                "fitting it here would read private rows without a charge."
            )
        return self.transform(X)

    def out_of_sample(self, X: Any, y: Any, *, max_fits: int = 100) -> np.ndarray:
        """Embed the public rows of `fit` as if each had been new.

        Scores of the very rows that shaped the encoder are too confident to set a threshold. Here each
        row is embedded by an encoder fitted without it (leave one out; in `max_fits` folds, if there
        are more rows), rotated onto this encoder's axes, and moved so that it lies as far from its
        class mean as it would if the mean had been taken without it.

        Parameters
        ----------
        X, y : array-like
            The public data of `fit`.
        max_fits : int, default=100
            Largest number of encoders to fit.

        Returns
        -------
        ndarray of shape (n_rows, n_components)
        """
        check_is_fitted(self)
        rows, labels = np.asarray(X, dtype=np.float64), np.asarray(y)
        own = np.asarray(self.transform(X))
        own_centres = _centres(own, labels)
        result = np.empty_like(own)
        for train, test in KFold(min(len(rows), max_fits)).split(rows):
            width = min(self.n_components, len(train) - 1)
            encoder = PublicEncoder(self.method, width, sample_scaling=self.sample_scaling)
            encoder.fit(rows[train], labels[train])
            seen = encoder.transform(rows[train])
            left, _, right = np.linalg.svd(seen.T @ own[train], full_matrices=False)
            rotation = left @ right
            for row in test:
                moved = encoder.transform(rows[[row]])[0] @ rotation
                peers = train[labels[train] == labels[row]]
                if len(peers):
                    moved += own_centres[row] - (seen[np.isin(train, peers)] @ rotation).mean(axis=0)
                result[row] = moved / np.linalg.norm(moved)
        return result

    def set_params(self, **params: Any) -> Self:
        """As in scikit-learn, before `fit` only."""
        if params and self._frozen:
            raise ValueError("This PublicEncoder is frozen; its parameters cannot change. Make a new one.")
        return super().set_params(**params)

    @property
    def _frozen(self) -> bool:
        return hasattr(self, "components_")

    def _check_parameters(self) -> None:
        check_one_of("method", self.method, ["whitened-pca"])
        check_count("n_components", self.n_components, least=1)
        if self.sample_scaling is not None:
            check_one_of("sample_scaling", self.sample_scaling, ["standardize"])

    def _scale(self, rows: np.ndarray) -> np.ndarray:
        rows = check_finite("X", rows)
        if self.sample_scaling is None:
            return rows
        centred = rows - rows.mean(axis=1, keepdims=True)
        return centred / np.maximum(centred.std(axis=1, keepdims=True), 1e-300)

    def __copy__(self) -> Self:
        return self if self._frozen else super().__sklearn_clone__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self if self._frozen else super().__sklearn_clone__()

    def __sklearn_clone__(self) -> Self:
        return self if self._frozen else super().__sklearn_clone__()


def _centres(rows: np.ndarray, y: Any) -> np.ndarray:
    """The class mean of each row; the overall mean without labels."""
    if y is None:
        return np.broadcast_to(rows.mean(axis=0), rows.shape)
    classes, codes = np.unique(np.asarray(y), return_inverse=True)
    if len(codes) != len(rows):
        raise ValueError("Expected y to have one label for each row of X. Pass the labels of the same rows.")
    means = np.array([rows[codes == code].mean(axis=0) for code in range(len(classes))])
    return means[codes]
