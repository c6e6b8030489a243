"""Clinical columns and notes as numbers, without learning anything from anybody.

Ranges and levels are public parameters, words are hashed: there is no mean, no vocabulary and no list of what was seen,
so a patient's row depends on that patient alone and nothing has to be charged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import HashingVectorizer

from skdpal.privacy.validation import check_count, check_one_of, check_real

__all__ = ["ClinicalEncoder"]

Array = NDArray[np.float64]

_QUARTER = np.pi / 4


class ClinicalEncoder(TransformerMixin, BaseEstimator):
    """Clinical columns and notes inside the unit ball; nothing is fitted.

    A number becomes a point on a quarter of the unit circle, so that the lowest and the highest of its range are as far
    apart as two levels of a category, and none of them is zero. A level becomes one of several ones. A text becomes
    signed counts of its words in a few buckets (feature hashing, Weinberger et al. 2009), brought to length 1. What is
    missing is zero.

    Parameters
    ----------
    numeric : mapping of str to (float, float), optional
        Columns of numbers with their PUBLIC ranges, from the protocol or the literature, never from the patients; what
        lies outside is moved to the end.
    categorical : mapping of str to sequence, optional
        Columns of words with their PUBLIC levels; any other value is zero, like a missing one.
    text : sequence of str, optional
        Columns of free text.
    n_text_features : int, default=32
        Buckets for each column of text. Words that share one are confused; privacy noise grows with the root of their
        number.
    ngrams : int, default=1
        Longest run of neighbouring words that is counted; 2 tells "no metastases" from "metastases".
    stop_words : {None, "english"}, default=None
        "english": leave out scikit-learn's list of common words (the list is public).
    weights : mapping of str to float, optional
        PUBLIC positive weights of columns; default 1 each. A column of weight w takes part with length w/√(Σw²) at
        most.

    Attributes
    ----------
    feature_names_in_ : ndarray of str
        The columns that are read, in the order of the parameters; others in X are not used.
    n_features_in_ : int

    Notes
    -----
    Nothing is charged: each row is a fixed function of one patient. `fit` looks at the names of columns only, and the
    encoder holds its parameters and nothing else, so that pickles and model files tell no word of a note. The rows
    themselves are the patients' own data and stay in the hospital, like the notes: short notes can be guessed from
    their hashes.

    With many buckets it also prepares PUBLIC notes for a `PublicEncoder`, which then learns the directions that matter
    (second example).

    References
    ----------
    Weinberger K. et al., "Feature hashing for large scale multitask learning", ICML 2009.

    Examples
    --------
    >>> import pandas as pd
    >>> from skdpal.cohort.modalities.clinical import ClinicalEncoder
    >>> patients = pd.DataFrame(
    ...     {"age": [58, None], "stage": ["ii", None], "note": ["No metastases seen.", None]}, index=["P1", "P2"]
    ... )
    >>> encoder = ClinicalEncoder({"age": (0, 100)}, {"stage": ["i", "ii", "iii", "iv"]}, ["note"], n_text_features=4)
    >>> encoder.set_output(transform="pandas").transform(patients).iloc[:, :6].round(2)
         age  age:known  stage=i  stage=ii  stage=iii  stage=iv
    P1  0.07       0.57      0.0      0.58        0.0       0.0
    P2  0.00       0.00      0.0      0.00        0.0       0.0

    Directions from public notes:

    >>> from sklearn.pipeline import make_pipeline
    >>> from skdpal import PublicEncoder
    >>> public = pd.DataFrame({"note": ["benign cyst", "clear cell carcinoma", "papillary carcinoma", "simple cyst"]})
    >>> words = ClinicalEncoder(text=["note"], n_text_features=256)
    >>> directions = PublicEncoder(n_components=2).fit(words.transform(public), ["no", "yes", "yes", "no"])
    >>> make_pipeline(words, directions).transform(patients).shape
    (2, 2)
    """

    def __init__(
        self,
        numeric: Any = None,
        categorical: Any = None,
        text: Any = None,
        *,
        n_text_features: int = 32,
        ngrams: int = 1,
        stop_words: str | None = None,
        weights: Any = None,
    ) -> None:
        self.numeric = numeric
        self.categorical = categorical
        self.text = text
        self.n_text_features = n_text_features
        self.ngrams = ngrams
        self.stop_words = stop_words
        self.weights = weights

    @property
    def frozen_on_public(self) -> bool:
        """Always true: there is nothing to fit."""
        return True

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """The columns that are read."""
        return np.array([*(self.numeric or ()), *(self.categorical or ()), *_listed(self.text)], dtype=object)

    @property
    def n_features_in_(self) -> int:
        """How many columns are read."""
        return len(self.feature_names_in_)

    def fit(self, X: Any, y: Any = None) -> Self:
        """Check the parameters and the names of columns; no row is read.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_columns)
            Public or private.
        y : ignored
        """
        self._check_parameters()
        self._check_columns(X)
        return self

    def transform(self, X: Any) -> Array:
        """Encode each row by itself.

        Parameters
        ----------
        X : DataFrame of shape (n_rows, n_columns)
            With the columns of the parameters, in any order.

        Returns
        -------
        ndarray of shape (n_rows, n_features_out)
            Rows of length 1 at most; a row without any known value is zero.

        Raises
        ------
        ValueError
            If a column is missing, or a numeric one holds words. No value is quoted.
        """
        weights = self._check_parameters()
        self._check_columns(X)
        parts = [_on_the_arc(_numbers(X, name), *map(float, self.numeric[name])) for name in self.numeric or ()]
        parts += [_one_hot(X[name], list(levels)) for name, levels in (self.categorical or {}).items()]
        parts += [self._hashed(X[name]) for name in _listed(self.text)]
        return np.hstack([weight * part for weight, part in zip(weights, parts, strict=True)])

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:
        """Names of the columns that come out.

        Returns
        -------
        ndarray of str
            "age" and "age:known" of a number, "stage=ii" of a level, "note#0" of a bucket; no word of any note.
        """
        names = [f"{name}{suffix}" for name in self.numeric or () for suffix in ("", ":known")]
        names += [f"{name}={level}" for name, levels in (self.categorical or {}).items() for level in levels]
        names += [f"{name}#{bucket}" for name in _listed(self.text) for bucket in range(self.n_text_features)]
        return np.array(names, dtype=object)

    # -- inside ------------------------------------------------------------------------------

    def _hashed(self, column: pd.Series) -> Array:
        if not len(column):
            return np.zeros((0, self.n_text_features))
        hashing = HashingVectorizer(
            n_features=self.n_text_features,
            ngram_range=(1, self.ngrams),
            stop_words=self.stop_words,
            strip_accents="unicode",
            norm="l2",
            alternate_sign=True,
        )
        absent = column.isna().to_numpy()
        notes = ["" if missing else str(note) for note, missing in zip(column, absent, strict=True)]
        return hashing.transform(notes).toarray()

    def _check_columns(self, X: Any) -> None:
        if not isinstance(X, pd.DataFrame):
            raise ValueError(
                f"Expected X to be a pandas DataFrame with named columns. Found {type(X).__name__}. "
                "Numbers, levels and notes are found by their columns' names."
            )
        for name in self.feature_names_in_:
            if (X.columns == name).sum() != 1:
                found = "it twice" if name in X.columns else "no such column"
                raise ValueError(f"Expected X to have one column {name!r}. Found {found}. Name the columns of X.")

    def _check_parameters(self) -> Array:
        """Refuse what cannot be meant; the weight of each column, of total square 1."""
        for argument in ("numeric", "categorical"):
            given = getattr(self, argument)
            if given is not None and not isinstance(given, Mapping):
                raise ValueError(
                    f"Expected {argument} to be a mapping of columns to their public "
                    f"{'ranges' if argument == 'numeric' else 'levels'}. Found {given!r}. They are never taken from patients."
                )
        for name, limits in (self.numeric or {}).items():
            _check_range(name, limits)
        for name, levels in (self.categorical or {}).items():
            _check_levels(name, levels)
        check_count("n_text_features", self.n_text_features, least=1)
        check_count("ngrams", self.ngrams, least=1)
        if self.stop_words is not None:
            check_one_of("stop_words", self.stop_words, ["english"])
        names = list(self.feature_names_in_)
        if not names or len(set(names)) < len(names):
            found = "none" if not names else "one twice"
            raise ValueError(f"Expected numeric, categorical and text to name each column once. Found {found}.")
        return self._weights(names)

    def _weights(self, names: list[str]) -> Array:
        given = self.weights or {}
        unknown = sorted(set(given) - set(names))
        if unknown:
            raise ValueError(f"Expected weights of columns that are read. Found {unknown[0]!r}. Known are {names}.")
        weights = np.array([check_real("weights", given.get(name, 1.0), above=0.0) for name in names])
        # a hair less than 1 in all: the sum of squares is rounded
        return weights / np.sqrt((weights**2).sum()) * (1 - 1e-12)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.allow_nan = tags.input_tags.string = tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = []  # always float64
        return tags


def _listed(text: Any) -> list[str]:
    return [text] if isinstance(text, str) else list(text or ())


def _numbers(X: pd.DataFrame, name: str) -> Array:
    try:
        return pd.to_numeric(X[name]).to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError):  # its message quotes a patient's value
        raise ValueError(
            f"Expected column {name!r} to be numeric. Convert it to numbers, with NaN for what is missing, or list it "
            "under categorical."
        ) from None


def _on_the_arc(values: Array, low: float, high: float) -> Array:
    """A point of length 1 for each number, from -45 to +45 degrees; zero for a missing one."""
    angle = _QUARTER * (2 * (np.clip(values, low, high) - low) / (high - low) - 1)
    return np.nan_to_num(np.column_stack([np.sin(angle), np.cos(angle)]), nan=0.0)


def _one_hot(column: pd.Series, levels: list[Any]) -> Array:
    codes = pd.Index(levels, dtype=object).get_indexer(pd.Index(column.astype(object), dtype=object))
    return (codes[:, None] == np.arange(len(levels))).astype(np.float64)


def _check_range(name: str, limits: Any) -> None:
    if not isinstance(limits, Sequence | np.ndarray) or isinstance(limits, str) or len(limits) != 2:
        raise ValueError(f"Expected numeric[{name!r}] to be a public range (low, high). Found {limits!r}.")
    low = check_real(f"numeric[{name!r}][0]", limits[0])
    check_real(f"numeric[{name!r}][1]", limits[1], above=low)


def _check_levels(name: str, levels: Any) -> None:
    listed = None if isinstance(levels, str) else list(levels)
    if not listed or len(set(listed)) < len(listed):
        raise ValueError(
            f"Expected categorical[{name!r}] to be a list of different public levels. Found {levels!r}. "
            "List all that the protocol allows."
        )
