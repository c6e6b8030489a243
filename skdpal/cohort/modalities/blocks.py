"""Several modalities side by side, each embedded, bounded and budgeted by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator

from skdpal.cohort.modalities.inputs import modality_tables
from skdpal.cohort.modalities.layout import Layout
from skdpal.estimators.prior import unit_ball
from skdpal.estimators.public import PublicEncoder
from skdpal.privacy import PrivacyBudget, calibrate, events
from skdpal.privacy.validation import check_count, check_finite, check_real

__all__ = ["Modality", "ModalityBlocks"]


@dataclass(frozen=True)
class Modality:
    """One modality: what is measured, how it is embedded, and what it may cost.

    Parameters
    ----------
    columns : list of str, str or None, default=None
        Its columns; or their prefix, which a table of its own need not have; or None, all of its own table.
    encoder : PublicEncoder, ClinicalEncoder or FrozenEstimator, optional
        Fitted, or to be fitted on public rows by `ModalityBlocks.fit`. Default: ``PublicEncoder()``.
    clipping_norm : float, default=1.0
        Public share of the patient's length, relative to the others: twice as much costs four times the privacy loss.
    epsilon : float, optional
        Cap on what releases may tell about this modality, inside the patient's account.

    Examples
    --------
    >>> from skdpal.cohort import Modality
    >>> Modality("rna:", clipping_norm=2.0).clipping_norm
    2.0
    """

    columns: Any = None
    encoder: Any = None
    clipping_norm: float = 1.0
    epsilon: float | None = None

    def __post_init__(self) -> None:
        check_real("clipping_norm", self.clipping_norm, above=0.0)
        if self.epsilon is not None:
            check_real("epsilon", self.epsilon, above=0.0)


class ModalityBlocks(TransformerMixin, BaseEstimator):
    """One row a patient, with the modalities side by side; a frozen public transformer.

    The block of each modality is embedded by an encoder of its own, scaled into a ball whose radius, its clipping norm,
    is public, and depends on nothing outside the block. Clipping norms are scaled so that their squares sum to 1: the
    whole row has length 1 at most. A patient who lacks a modality has zeros there and is otherwise as with it.

    Parameters
    ----------
    modalities : mapping of str to (list of str, str, None or Modality)
        Of each modality its columns, or a `Modality` that also says how it is embedded, bounded and budgeted.
    layer, obs : optional
        Of AnnData and MuData: see `skdpal.cohort.modalities.modality_tables`.

    Attributes
    ----------
    encoders_ : dict of str to encoder
        Fitted.

    Notes
    -----
    Nothing is charged: `fit` reads public rows, `transform` each private row by itself. Once fitted it is frozen, as
    `PublicEncoder` is: `clone` returns it, `fit_transform` only transforms, refitting raises. There is no mean
    imputation, no column that tells in one block what another lacks, no scaling across blocks: each of these would
    carry one modality, or other patients, into a block that is not charged for it (docs/guide/modalities.md).

    Examples
    --------
    >>> from skdpal.cohort import ModalityBlocks
    >>> from skdpal.datasets import load_miniacc
    >>> cancers = load_miniacc(as_frame=True)
    >>> public, private = cancers.data.iloc[:26], cancers.data.iloc[26:]
    >>> blocks = ModalityBlocks({"rna": "rna:", "mirna": "mirna:", "rppa": "rppa:"}).fit(public, cancers.target.iloc[:26])
    >>> rows = blocks.transform(private)
    >>> rows.shape, list(rows.columns[:2]), list(rows.index[:2]) == list(private.index[:2])
    ((52, 24), ['rna__0', 'rna__1'], True)
    """

    def __init__(self, modalities: Any, *, layer: Any = None, obs: Any = None) -> None:
        self.modalities = modalities
        self.layer = layer
        self.obs = obs

    # -- what is public ----------------------------------------------------------------------

    @property
    def frozen_on_public(self) -> bool:
        """Whether all encoders are fitted, so that private rows are read one by one and nothing is learnt from them."""
        return hasattr(self, "encoders_") or all(_is_frozen(one.encoder) for one in self._modalities().values())

    @property
    def layout(self) -> Layout:
        """Names, widths and clipping norms of the blocks."""
        norms = np.array([one.clipping_norm for one in self._modalities().values()], dtype=np.float64)
        widths = {name: len(names) for name, names in self._names().items()}
        return Layout(widths, dict(zip(widths, (norms / np.linalg.norm(norms)).tolist(), strict=True)))

    @property
    def caps(self) -> dict[str, float]:
        """ε of each modality that has a budget of its own."""
        return {name: float(one.epsilon) for name, one in self._modalities().items() if one.epsilon is not None}

    def cap(self, ledger: Any, account: str = "cohort") -> dict[str, Any]:
        """Make the caps of all modalities that have a budget, inside an account.

        Parameters
        ----------
        ledger : PrivacyLedger
        account : str, default="cohort"

        Returns
        -------
        dict of str to Handle
            As `PrivacyLedger.cap` gives.
        """
        return {name: ledger.cap(account, name, epsilon) for name, epsilon in self.caps.items()}

    def noise_multipliers(self, delta: float, releases: int = 1) -> dict[str, float]:
        """Of each modality the noise with which some releases use up its budget.

        Parameters
        ----------
        delta : float
            Of the ledger.
        releases : int, default=1
            How many a patient is in; 1 in a study in which each pays once.

        Raises
        ------
        ValueError
            If a modality has no budget.

        Examples
        --------
        >>> from skdpal.cohort import Modality, ModalityBlocks
        >>> blocks = ModalityBlocks({"rna": Modality("rna:", epsilon=1.0), "rppa": Modality("rppa:", epsilon=0.5)})
        >>> {name: round(noise, 2) for name, noise in blocks.noise_multipliers(1e-5).items()}
        {'rna': 3.73, 'rppa': 7.03}
        """
        steps = check_count("releases", releases, least=1)
        missing = [name for name in self._modalities() if name not in self.caps]
        if missing:
            raise ValueError(
                f"Expected every modality to have a budget. Found none for {missing[0]!r}. Pass Modality(..., epsilon=...)."
            )
        return {
            name: calibrate(lambda sigma: events.gaussian(sigma, steps=steps), PrivacyBudget(epsilon, delta))
            for name, epsilon in self.caps.items()
        }

    # -- scikit-learn ------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the encoders that are not yet fitted on PUBLIC data, once.

        Parameters
        ----------
        X : DataFrame, dict of DataFrame, AnnData or MuData
            Public patients. Each encoder learns from those who have its modality.
        y : Series or array-like of length n_patients, optional
            Public labels; a Series, found by name, unless X is one DataFrame or AnnData.

        Raises
        ------
        ValueError
            If the blocks were fitted before: they are frozen.
        """
        if hasattr(self, "encoders_"):
            raise ValueError(
                "These ModalityBlocks are frozen: they were fitted on public data. To embed other public data, make new "
                "ModalityBlocks; in a Pipeline, they are used as they are."
            )
        tables, labels = self._public(X, y)
        fitted = {}
        for name, one in self._modalities().items():
            encoder = PublicEncoder() if one.encoder is None else one.encoder
            if not _is_frozen(encoder):
                encoder = self._fit_one(name, encoder, tables[name], labels)
            fitted[name] = encoder
        self.encoders_ = fitted
        return self

    def transform(self, X: Any, *, patients: Any = None) -> pd.DataFrame:
        """Embed patients, each by itself.

        Parameters
        ----------
        X : DataFrame, dict of DataFrame, AnnData or MuData
            Public or private patients; zero rows are fine. A dict or MuData may lack modalities.
        patients : sequence of str, optional
            Exactly these rows, in this order, such as ``y.index``.

        Returns
        -------
        DataFrame of shape (n_patients, n_columns)
            Named after the patients and "rna__0", "rna__1", .... Each block has the length of its clipping norm (at
            most); zeros where a patient lacks the modality.
        """
        encoders = self._fitted()
        tables = self._tables(X, patients)
        blocks = {name: _embed(encoder, tables.get(name)) for name, encoder in encoders.items()}
        return self._side_by_side(blocks, next(iter(tables.values())).index)

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> pd.DataFrame:
        """Transform; refuses to fit, because X may be private here."""
        self._fitted()
        return self.transform(X)

    def out_of_sample(self, X: Any, y: Any) -> pd.DataFrame:
        """Embed the public rows of `fit` as if each had been new; for the reference of a query, and for judging in public.

        Parameters
        ----------
        X, y : DataFrame and Series
            As in `fit`.

        Returns
        -------
        DataFrame
            As `transform` gives, of the rows that have a label. Encoders without `out_of_sample` learnt nothing from
            them, or embed them as they are.

        Raises
        ------
        ValueError
            If `fit` had labels and these are missing.
        """
        encoders = self._fitted()
        tables, labels = self._public(X, y)
        if labels is None:
            raise ValueError("Expected y, the public labels of X. Found None. Pass those of fit.")
        blocks = {}
        for name, encoder in encoders.items():
            table, there = tables[name], _present(tables[name])
            if hasattr(encoder, "out_of_sample"):
                rows = np.zeros((len(table), len(encoder.get_feature_names_out())))
                rows[there] = encoder.out_of_sample(table[there], labels[there])
                blocks[name] = rows
            else:
                blocks[name] = _embed(encoder, table)
        return self._side_by_side(blocks, labels.index)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns, such as "rna__0" and "clinical__age"."""
        return np.array([column for names in self._names().values() for column in names], dtype=object)

    def set_params(self, **params: Any) -> Self:
        """As in scikit-learn, before `fit` only; later a ValueError."""
        if params and hasattr(self, "encoders_"):
            raise ValueError("These ModalityBlocks are frozen; their parameters cannot change. Make new ones.")
        return super().set_params(**params)

    # -- inside ------------------------------------------------------------------------------

    def _modalities(self) -> dict[str, Modality]:
        if not isinstance(self.modalities, Mapping) or not self.modalities:
            raise ValueError(
                f'Expected modalities to name at least one, {{"rna": columns, ...}}. Found {self.modalities!r}.'
            )
        if not all(isinstance(name, str) and name for name in self.modalities):
            raise ValueError(f"Expected names of modalities to be words. Found {list(self.modalities)!r}. Rename them.")
        return {name: one if isinstance(one, Modality) else Modality(one) for name, one in self.modalities.items()}

    def _fitted(self) -> dict[str, Any]:
        if not self.frozen_on_public:
            raise NotFittedError(
                "These ModalityBlocks are not fitted. Call .fit on public data before putting them into a Pipeline: fitting "
                "them here would read private rows without a charge."
            )
        return getattr(self, "encoders_", None) or {name: one.encoder for name, one in self._modalities().items()}

    def _names(self) -> dict[str, list[str]]:
        """Output columns of each modality."""
        found = {}
        for name, encoder in self._fitted().items():
            own = [str(column) for column in encoder.get_feature_names_out()]
            numbered = isinstance(encoder, PublicEncoder | FrozenEstimator)
            found[name] = [f"{name}__{at if numbered else column}" for at, column in enumerate(own)]
        return found

    def _tables(self, X: Any, patients: Any = None) -> dict[str, pd.DataFrame]:
        """The tables that X has."""
        groups = {name: one.columns for name, one in self._modalities().items()}
        inner = getattr(X, "mod", X)
        if isinstance(inner, Mapping) and not isinstance(X, pd.DataFrame):
            kept = {name: _within(inner[name], columns) for name, columns in groups.items() if name in inner}
            groups = kept or groups  # what nobody brought is missing in everybody; nothing at all is an error
        elif self.obs is not None:
            groups = {name: columns for name, columns in groups.items() if name not in _obs_names(self.obs)}
        return modality_tables(
            X, groups, layer=self.layer, obs=self.obs, patients=patients, allow_disjoint=patients is not None
        )

    def _public(self, X: Any, y: Any) -> tuple[dict[str, pd.DataFrame], pd.Series | None]:
        """Tables and labels of public patients; with labels, of those who have one."""
        if y is None:
            return self._tables(X), None
        one_table = isinstance(X, pd.DataFrame) or hasattr(X, "var_names")
        if not one_table and not isinstance(y, pd.Series):
            raise ValueError(
                "Expected y to be a Series named after the patients, because each table of X may have other patients. "
                f"Found {type(y).__name__}. Pass pd.Series(labels, index=patients)."
            )
        tables = self._tables(X, None if one_table else y.index)
        index, labels = next(iter(tables.values())).index, np.asarray(y, dtype=object)
        if len(labels) != len(index) or (isinstance(y, pd.Series) and not _may_be(y.index, index)):
            raise ValueError("Expected y to have one label for each row of X, in the same order. Pass y.loc[X.index].")
        known = pd.notna(labels)
        return {name: table[known] for name, table in tables.items()}, pd.Series(labels[known].tolist(), index[known])

    def _fit_one(self, name: str, encoder: Any, table: pd.DataFrame | None, labels: pd.Series | None) -> Any:
        if table is None:
            raise ValueError(f"Expected public rows of modality {name!r}. Found none. Pass them, or a fitted encoder.")
        there = _present(table)
        if there.sum() < 2:
            raise ValueError(
                f"Expected at least two public patients with modality {name!r}. Found {there.sum()}. Pass a fitted encoder."
            )
        fitted = clone(encoder).fit(table[there], None if labels is None else labels[there].to_numpy())
        if not _is_frozen(fitted):
            raise TypeError(
                f"Expected the encoder of modality {name!r} to be a PublicEncoder, a ClinicalEncoder or a FrozenEstimator. "
                f"Found {type(encoder).__name__}, which may learn from rows that it only embeds. Fit it on public rows and wrap "
                "it: FrozenEstimator(encoder)."
            )
        return fitted

    def _side_by_side(self, blocks: dict[str, np.ndarray | None], index: pd.Index) -> pd.DataFrame:
        layout = self.layout
        parts = [
            np.zeros((len(index), width)) if blocks[name] is None else layout.norms[name] * blocks[name]
            for name, width in layout.widths.items()
        ]
        return pd.DataFrame(np.hstack(parts), index=index, columns=self.get_feature_names_out())

    def __copy__(self) -> Self:
        return self if hasattr(self, "encoders_") else super().__sklearn_clone__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self if hasattr(self, "encoders_") else super().__sklearn_clone__()

    def __sklearn_clone__(self) -> Self:
        return self if hasattr(self, "encoders_") else super().__sklearn_clone__()

    def __sklearn_is_fitted__(self) -> bool:
        return self.frozen_on_public


def _is_frozen(encoder: Any) -> bool:
    return isinstance(encoder, FrozenEstimator) or bool(getattr(encoder, "frozen_on_public", False))


def _present(table: pd.DataFrame) -> np.ndarray:
    """Who has any value of a modality."""
    return table.notna().any(axis=1).to_numpy()


def _embed(encoder: Any, table: pd.DataFrame | None) -> np.ndarray | None:
    """Rows in the unit ball, zeros for who lacks the modality; None if nobody brought it."""
    if table is None:
        return None
    there = _present(table)
    rows = np.zeros((len(table), len(encoder.get_feature_names_out())))
    if there.any():
        rows[there] = unit_ball(check_finite("embedding", encoder.transform(table[there])))
    return rows


def _within(table: Any, columns: Any) -> Any:
    """The columns of a modality in a table of its own: a prefix may be missing there."""
    if not isinstance(columns, str):
        return columns
    names = getattr(table, "columns", getattr(table, "var_names", ()))
    return columns if any(str(name).startswith(columns) for name in names) else None


def _may_be(own: pd.Index, index: pd.Index) -> bool:
    """Whether labels with one index may belong to rows with another: both are the same, or one only counts."""
    return own.equals(index) or isinstance(own, pd.RangeIndex) or isinstance(index, pd.RangeIndex)


def _obs_names(obs: Any) -> list[str]:
    return list(obs) if isinstance(obs, Mapping) else ["clinical"]
