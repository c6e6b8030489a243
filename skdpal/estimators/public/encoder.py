"""The feature extractor: fitted on public data, then frozen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils._set_output import _wrap_data_with_container
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from skdpal.estimators.public.genes import GeneMatch, column_names, match_genes
from skdpal.estimators.public.pretraining import NeuralEmbedding, Recipe, pretrain
from skdpal.estimators.public.reference import out_of_sample
from skdpal.estimators.public.scaling import SCALINGS, ScaledRows, scale
from skdpal.estimators.public.whitening import Whitening, coordinates, whiten
from skdpal.estimators.rows import validated
from skdpal.privacy.validation import check_count, check_one_of, check_real

__all__ = ["PublicEncoder"]

METHODS = ("whitened-pca", "neural")
_FOLDS = {"whitened-pca": 100, "neural": 5}  # out of sample; a network is slow to train


class PublicEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """An embedding into the unit sphere, learnt from PUBLIC data.

    "whitened-pca": principal components of the public rows, whitened by their pooled within-class covariance
    (total covariance without labels), so that noise of one size does equal harm in every direction.
    "neural": a network trained to predict the public labels, if any, and the leading principal components, with
    early stopping on a public hold-out; its latent vectors are whitened in the same way. Every row is then scaled
    to length 1, which bounds what a patient can contribute.

    Parameters
    ----------
    method : {"whitened-pca", "neural"}, default="whitened-pca"
        How to embed. docs/guide/encoders.md measures both.
    n_components : int, default=8
        Dimension of the embedding. Privacy noise grows with its root: see κ in `plan_study`.
    sample_scaling : {None, "standardize", "rank"}, default=None
        "standardize" first brings each row to mean 0 and variance 1 over its own columns; "rank" does so with
        the ranks of its columns. Both read nothing but the row itself, so they are free, and remove what a
        platform does to a sample: its scale, or any increasing distortion. For expression data; not for
        mixed clinical columns.
    min_matched : float, default=0.5
        Least part of the encoder's genes, in [0, 1], that a table with column names must have.
    widths : sequence of int, default=(256, 64)
        "neural" only: layers of the network; the last is at least `n_components`.
    max_epochs, patience : int, default=200 and 20
        "neural" only: most passes over the public rows; passes without progress before it stops.
    random_state : int, RandomState or None, default=None
        "neural" only: start of the network. Public: it protects nobody.
    verbose : bool or "auto", default="auto"
        "neural" only: progress bar; "auto" shows it in terminals and notebooks.

    Attributes
    ----------
    mean_ : ndarray of shape (n_features,)
        Public mean of each gene, after `sample_scaling`; what a missing gene is taken to be.
    components_ : ndarray of shape (n_components, n_features)
        Whitened directions; of "neural", in the latent space.
    shrinkage_ : float
        Weight of the identity in the within-class covariance (Chen et al. 2010, oracle approximating shrinkage).
    network_ : NeuralEmbedding
        Of "neural".
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If the public data had names.

    Notes
    -----
    After `fit` on public data the encoder is frozen: `clone` returns it fitted, `fit_transform`
    only transforms, refitting raises. So a `Pipeline` or a grid search cannot fit it on patients.

    When both tables have column names, genes are matched by name, in any order and case. Missing genes, and cells
    that are NaN, count as the public mean; they take no part in `sample_scaling`. Columns that the encoder does not know are
    not used; `match_report` says how many.

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
        self,
        method: str = "whitened-pca",
        n_components: int = 8,
        *,
        sample_scaling: str | None = None,
        min_matched: float = 0.5,
        widths: Any = (256, 64),
        max_epochs: int = 200,
        patience: int = 20,
        random_state: Any = None,
        verbose: Any = "auto",
    ) -> None:
        self.method = method
        self.n_components = n_components
        self.sample_scaling = sample_scaling
        self.min_matched = min_matched
        self.widths = widths
        self.max_epochs = max_epochs
        self.patience = patience
        self.random_state = random_state
        self.verbose = verbose

    @property
    def frozen_on_public(self) -> bool:
        """Whether it was fitted, and so reads private rows one by one without learning from them."""
        return hasattr(self, "components_")

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit on PUBLIC data, once.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            Public rows. float32 is kept as it is; NaN is a missing cell.
        y : array-like of shape (n_rows,), optional
            Public labels; classes that matter to the task, or any others.

        Raises
        ------
        ValueError
            If it was fitted before (it is frozen), or a column was never measured.
        """
        if self.frozen_on_public:
            raise ValueError(
                "This PublicEncoder is frozen: it was fitted on public data. To embed other public data, "
                "make a new PublicEncoder; in a Pipeline, it is used as it is."
            )
        self._check_parameters()
        labels = _labels(y)
        rows = self._public_rows(X, labels, reset=True)
        embedding = self._learn(rows, labels, self.n_components)
        if not np.isfinite(embedding.mean).all():
            raise ValueError("Expected every column of X to be measured in some row. Drop columns that are all NaN.")
        whitening = embedding
        if isinstance(embedding, NeuralEmbedding):
            self.network_, whitening = embedding, embedding.whitening
        self.mean_, self.components_, self.shrinkage_ = embedding.mean, whitening.components, whitening.shrinkage
        self._n_features_out, self._labelled = self.n_components, labels is not None
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embed rows; each result has length 1.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            Public or private rows with the columns of `fit`, or with names to find them by; zero rows are fine.

        Returns
        -------
        ndarray of shape (n_rows, n_components)

        Raises
        ------
        ValueError
            If the names of X match less than `min_matched` of the encoder's genes.
        """
        check_is_fitted(self)
        return self._embedding(self._scaled(self._rows_of(X)))

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> np.ndarray:
        """Transform; refuses to fit, because X may be private here.

        Raises
        ------
        NotFittedError
            If it was not fitted on public data first.
        """
        if not self.frozen_on_public:
            raise NotFittedError(
                "This PublicEncoder is not fitted. Call .fit on public data before putting it into a Pipeline: "
                "fitting it here would read private rows without a charge."
            )
        return self.transform(X)

    def match_report(self, X: Any) -> GeneMatch:
        """How the columns of a table fit the encoder's genes; only names are read.

        Parameters
        ----------
        X : DataFrame
            With column names, as the public data had.

        Returns
        -------
        GeneMatch
            `n_matched`, `n_missing`, `n_extra`, the names `missing` and `extra`, and `to_frame()`; prints as one line.

        Raises
        ------
        ValueError
            If either table has no column names.
        """
        check_is_fitted(self)
        names = column_names(X)
        if names is None or not hasattr(self, "feature_names_in_"):
            raise ValueError(
                "Expected column names in X and in the public data of fit. Found none on one side: columns are then "
                "taken in order. Pass DataFrames to match genes by name."
            )
        return match_genes(self.feature_names_in_.tolist(), names)

    def network_inputs(self, X: Any) -> NDArray[np.float32]:
        """Rows as the network of "neural" takes them; `DPEncoder` goes on from here.

        Returns
        -------
        ndarray of shape (n_rows, n_features)
        """
        check_is_fitted(self, "network_")
        return self.network_.inputs(self._scaled(self._rows_of(X)))

    def out_of_sample(self, X: Any, y: Any = None, *, max_fits: int | None = None) -> np.ndarray:
        """Embed the public rows of `fit` as if each had been new.

        Scores of the very rows that shaped the encoder are too confident to set a threshold. Here each
        row is embedded by an encoder fitted without it (leave one out; in `max_fits` folds, if there
        are more rows), rotated onto this encoder's axes, and moved so that it lies as far from its
        class mean as it would if the mean had been taken without it.

        Parameters
        ----------
        X, y : array-like
            The public data of `fit`; no y where it had none. Missing cells are filled once, from all rows.
        max_fits : int, optional
            Largest number of encoders to fit, 2 or more. Default: 100; of "neural", which trains a network each, 5.

        Returns
        -------
        ndarray of shape (n_rows, n_components)
            Or the table that `set_output` asks for.

        Raises
        ------
        ValueError
            If `fit` had labels and these are missing.
        """
        check_is_fitted(self)
        labels, most = _labels(y), check_count("max_fits", max_fits or _FOLDS[self.method], least=2)
        if labels is None and self._labelled:
            raise ValueError("Expected y, the public labels of X. Found None. Pass those of fit.")
        rows = self._public_rows(X, labels, reset=False)
        own = self._embedding(rows)
        table = rows.values if self.method == "neural" else coordinates(rows)

        def learn(train: NDArray[np.intp]) -> Callable[[NDArray[np.intp]], np.ndarray]:
            known = None if labels is None else labels[train]
            embedding = self._learn(at(train), known, min(self.n_components, len(train) - 1))
            return lambda places: embedding(at(places))

        def at(places: NDArray[np.intp]) -> ScaledRows:
            return self._scaled(table[places]) if self.method == "neural" else scale(table[places])

        groups = np.zeros(len(own)) if labels is None else labels  # without labels, all rows have one mean
        result = out_of_sample(own, groups, min(len(own), most), learn)
        return _wrap_data_with_container("transform", result, X, self)  # set_output holds here, too

    def set_params(self, **params: Any) -> Self:
        """As in scikit-learn, before `fit` only.

        Raises
        ------
        ValueError
            If it is fitted, hence frozen.
        """
        if params and self.frozen_on_public:
            raise ValueError("This PublicEncoder is frozen; its parameters cannot change. Make a new one.")
        return super().set_params(**params)

    # -- inside ------------------------------------------------------------------------------

    @property
    def _embedding(self) -> Whitening | NeuralEmbedding:
        if self.method == "neural":
            return self.network_
        return Whitening(self.mean_, self.components_, getattr(self, "shrinkage_", np.nan))

    def _learn(self, rows: ScaledRows, y: Any, n_components: int) -> Whitening | NeuralEmbedding:
        if self.method == "whitened-pca":
            return whiten(rows, y, n_components)
        recipe = Recipe(tuple(self.widths), self.max_epochs, self.patience, self.random_state, self.verbose)
        return pretrain(rows, y, n_components, recipe)

    def _scaled(self, rows: np.ndarray) -> ScaledRows:
        return scale(rows, self.sample_scaling)

    def _public_rows(self, X: Any, labels: np.ndarray | None, *, reset: bool) -> ScaledRows:
        """Rows of `fit`, scaled; where they are float, they are not copied."""
        kinds = [np.float64, np.float32]
        rows = validate_data(
            self, X, reset=reset, dtype=kinds, ensure_min_samples=2, ensure_all_finite="allow-nan", order="C"
        )
        if labels is not None and len(labels) != len(rows):
            raise ValueError("Expected y to have one label for each row of X. Pass the labels of the same rows.")
        most = min(len(rows) - 1, rows.shape[1])
        if reset and self.n_components > most:
            raise ValueError(
                f"Expected n_components to be at most {most}, the rank of X. Found {self.n_components}. Lower it."
            )
        return self._scaled(rows)

    def _rows_of(self, X: Any) -> np.ndarray:
        """Rows with the encoder's columns, checked without quoting them; what is missing is NaN."""
        names, known = column_names(X), getattr(self, "feature_names_in_", None)
        if names is None or known is None or names == tuple(known):
            rows = validated(self, X, reset=False, ensure_min_samples=0)
        else:
            match = match_genes(known.tolist(), names)
            match.require(self.min_matched)
            rows = match.take(validated(PublicEncoder(), match.select(X), ensure_min_samples=0))
        if np.isinf(rows).any():
            raise ValueError(
                "Expected X to be finite; it holds infinity. Fill or drop such entries; a missing gene may be NaN."
            )
        return rows

    def _check_parameters(self) -> None:
        check_one_of("method", self.method, METHODS)
        check_count("n_components", self.n_components, least=1)
        check_real("min_matched", self.min_matched, above=0.0, below=1.0, closed=True)
        if self.sample_scaling is not None:
            check_one_of("sample_scaling", self.sample_scaling, SCALINGS)
        if self.method == "neural":
            for name in ("max_epochs", "patience"):
                check_count(name, getattr(self, name), least=1)
            widths = [check_count("widths", width, least=1) for width in self.widths]
            if not widths or widths[-1] < self.n_components:
                raise ValueError(
                    f"Expected widths to end with at least n_components={self.n_components}. Found {self.widths!r}."
                )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []  # always float64
        return tags

    def __copy__(self) -> Self:
        return self if self.frozen_on_public else super().__sklearn_clone__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self if self.frozen_on_public else super().__sklearn_clone__()

    def __sklearn_clone__(self) -> Self:
        return self if self.frozen_on_public else super().__sklearn_clone__()


def _labels(y: Any) -> np.ndarray | None:
    """One column of public labels, or None."""
    if y is None:
        return None
    labels = column_or_1d(y, warn=True)
    check_classification_targets(labels)
    return labels
