"""What comes in: column groups, tables, AnnData and MuData, as one table of patients for each modality.

Nothing is learnt, filled or scaled here, and no message quotes a patient. AnnData and MuData are known by their
attributes, so that neither has to be installed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["modality_tables", "rows_of"]

Tables = dict[str, pd.DataFrame]

_CLINICAL = "clinical"
_GROUPS = (
    'Pass groups={"rna": [columns], ...}, or prefixes, groups={"rna": "rna:"}, or give the columns a first level '
    "(MultiIndex)."
)


def modality_tables(
    data: Any,
    groups: Mapping[str, Any] | None = None,
    *,
    layer: str | Mapping[str, str] | None = None,
    obs: Sequence[str] | Mapping[str, Any] | None = None,
    patients: Any = None,
    allow_disjoint: bool = False,
) -> Tables:
    """One table for each modality, all with the same patients in the same order.

    Patients are found by their names: the index of a DataFrame, `obs_names` of AnnData and MuData. Who lacks a modality
    gets a row of NaN in it, as who was measured there but without any value. Columns keep their names and types.

    Parameters
    ----------
    data : DataFrame, mapping of str to DataFrame or AnnData, AnnData, or MuData
        A DataFrame has all modalities side by side, or one. A mapping may have other patients in each modality.
    groups : mapping of str to (list of str, str or None), optional
        Of each modality its columns (genes, variables): a list; or a prefix, which is taken off ("rna:" finds
        "rna:TP53" and calls it "TP53"); or None, which means all. Columns that no group names are left out, and so are
        modalities. Default: of a DataFrame the first of two levels of its columns; of an AnnData one modality, "X";
        else all modalities.
    layer : str or mapping of str to str, optional
        Layer of AnnData to read in place of `X`, for all modalities or for some by name.
    obs : list of str or mapping of str to list of str, optional
        Columns of `obs` of an AnnData or MuData that make up a further block; a list makes "clinical".
    patients : sequence of str, optional
        Exactly these rows, in this order, such as ``y.index``. Default: the union of all modalities in the order in
        which patients first appear; of MuData that of `obs_names`.
    allow_disjoint : bool, default=False
        Two modalities without a common patient are refused, because it mostly means that barcodes differ by a suffix.
        True: it is meant.

    Returns
    -------
    dict of str to DataFrame
        Of each modality a table of shape (n_patients, n_columns); sparse matrices are made dense.

    Raises
    ------
    ValueError
        If a patient has several rows in a modality, groups overlap, a modality has no columns, or a column, layer or
        modality is unknown.

    Notes
    -----
    Nothing is charged, and nothing may leave: what comes out are the patients' own data.

    Examples
    --------
    >>> from skdpal.cohort.modalities.inputs import modality_tables
    >>> from skdpal.datasets import load_miniacc
    >>> cancers = load_miniacc(as_frame=True)
    >>> tables = modality_tables(cancers.modalities)  # five tables, each with other patients
    >>> tables["rppa"].shape, int(tables["rppa"].notna().any(axis=1).sum())
    ((92, 33), 46)
    >>> wide = modality_tables(cancers.data, {"expression": "rna:", "protein": "rppa:"})
    >>> wide["expression"].shape, wide["protein"].columns[0]
    ((78, 198), 'G6PD')
    """
    order = getattr(data, "obs_names", None)
    if _is_mudata(data):
        tables = _of_mudata(data, groups, layer, obs)
    elif _is_anndata(data):
        tables = _of_anndata(data, {"X": None} if groups is None else groups, layer, obs)
    else:
        _refuse("layer", layer)
        _refuse("obs", obs)
        tables = _of_frame(data, groups) if isinstance(data, pd.DataFrame) else _of_mapping(data, groups)
    for name, table in tables.items():
        _check_rows(name, table.index)
    if not allow_disjoint:
        _check_common(tables)
    rows = _union(order, tables) if patients is None else _asked_for(patients, tables)
    return {name: table if table.index.equals(rows) else table.reindex(rows) for name, table in tables.items()}


def rows_of(adata: Any, *, layer: str | None = None) -> pd.DataFrame:
    """An AnnData as the table that encoders and classifiers take: patients by genes, both with their names.

    Parameters
    ----------
    adata : AnnData
        One modality.
    layer : str, optional
        To be read in place of `X`.

    Returns
    -------
    DataFrame of shape (n_obs, n_vars)
        Dense. Its index is `obs_names`, so that a ledger knows the patients by them; the numbers "0", "1", ... that
        AnnData makes up name nobody and become a plain 0, 1, ....

    Raises
    ------
    ValueError
        If `adata` is not one AnnData.

    Examples
    --------
    Genes are matched by name, and the ledger knows the patients by theirs::

        encoder = PublicEncoder().fit(rows_of(cell_lines), cell_lines.obs["type"]).set_output(transform="pandas")
        prior = DPPrototypeClassifier.prior_from_public(encoder.transform(rows_of(cell_lines)), cell_lines.obs["type"])
        model = DPPrototypeClassifier(prior=prior, ledger=ledger)
        model.fit(encoder.transform(rows_of(tumours)), tumours.obs["type"])
    """
    if not _is_anndata(adata):
        raise ValueError(
            f"Expected adata to be one AnnData. Found {type(adata).__name__}. Pass one modality of a MuData, mdata['rna'], or use "
            "modality_tables for several."
        )
    table = _all_of(adata, layer, "adata")
    return table.reset_index(drop=True) if _made_up(table.index) else table


# -- the four kinds of data ------------------------------------------------------------------------


def _of_frame(data: pd.DataFrame, groups: Mapping[str, Any] | None) -> Tables:
    if data.columns.nlevels == 2:
        first = data.columns.get_level_values(0)
        parts = {str(name): data.loc[:, first == name].droplevel(0, axis=1) for name in first.unique()}
        return {name: _cut(part, spec, name) for name, (part, spec) in _matched(parts, groups).items()}
    if data.columns.nlevels > 2:
        raise ValueError(f"Expected columns of one level, or two. Found {data.columns.nlevels}. {_GROUPS}")
    if groups is None:
        raise ValueError(f"Expected groups, to tell the columns of the modalities. Found None. {_GROUPS}")
    return _cuts(data, groups, "groups")


def _of_mapping(data: Any, groups: Mapping[str, Any] | None) -> Tables:
    if not isinstance(data, Mapping) or not data:
        raise ValueError(
            "Expected data to be a DataFrame, a non-empty mapping of names to DataFrames, an AnnData or a MuData. "
            f"Found {type(data).__name__}. Put the table of each modality into a dict."
        )
    parts = {}
    for name, table in data.items():
        if not isinstance(table, pd.DataFrame) and not _is_anndata(table):
            raise ValueError(
                f"Expected modality {name!r} to be a DataFrame or an AnnData. Found {type(table).__name__}. "
                "Give its rows the patients' names: pd.DataFrame(rows, index=patients, columns=genes)."
            )
        parts[str(name)] = table if isinstance(table, pd.DataFrame) else _all_of(table, None, name)
    _check_named(parts)
    return {name: _cut(part, spec, name) for name, (part, spec) in _matched(parts, groups).items()}


def _of_anndata(data: Any, groups: Mapping[str, Any], layer: Any, obs: Any) -> Tables:
    if isinstance(layer, Mapping):
        raise ValueError('Expected layer to be one name, as for every AnnData. Found a mapping. Pass layer="counts".')
    return _with_obs(_cuts(_all_of(data, layer, "data"), groups, "groups"), data, obs)


def _of_mudata(data: Any, groups: Mapping[str, Any] | None, layer: Any, obs: Any) -> Tables:
    if getattr(data, "axis", 0) != 0:
        raise ValueError(
            f"Expected a MuData whose modalities share patients (axis=0). Found axis={data.axis}. Make one with axis=0."
        )
    layers = dict(layer) if isinstance(layer, Mapping) else dict.fromkeys(data.mod, layer)
    unknown = set(layers) - set(data.mod)
    if unknown:
        raise ValueError(_unknown("layer to name modalities", sorted(unknown), data.mod))
    wanted = _matched(dict(data.mod), groups)
    parts = {name: _all_of(part, layers.get(name), name) for name, (part, _) in wanted.items()}
    _check_named(parts)
    return _with_obs({name: _cut(part, wanted[name][1], name) for name, part in parts.items()}, data, obs)


def _is_mudata(data: Any) -> bool:
    return hasattr(data, "mod") and hasattr(data, "obs_names")


def _is_anndata(data: Any) -> bool:
    return hasattr(data, "layers") and hasattr(data, "var_names") and not _is_mudata(data)


def _all_of(adata: Any, layer: str | None, name: str) -> pd.DataFrame:
    if layer is not None and layer not in adata.layers:
        raise ValueError(f"{_unknown('layer to be in ' + repr(name), [layer], adata.layers)} None reads X.")
    if layer is None and adata.X is None:
        raise ValueError(f"Expected {name!r} to have X. Found None. Pass layer=, one of {list(adata.layers)}.")
    return (adata.to_memory() if adata.isbacked else adata).to_df(layer=layer)


def _with_obs(tables: Tables, data: Any, obs: Any) -> Tables:
    """The tables, and blocks of clinical columns."""
    if obs is None:
        return tables
    blocks = _cuts(data.obs, obs if isinstance(obs, Mapping) else {_CLINICAL: obs}, "obs")
    both = sorted(set(tables) & set(blocks))
    if both:
        raise ValueError(
            f"Expected blocks of obs with names of their own. Found {both[0]!r} twice. Pass obs={{name: columns}}."
        )
    return {**tables, **blocks}


# -- columns ---------------------------------------------------------------------------------------


def _matched(parts: Mapping[str, Any], groups: Mapping[str, Any] | None) -> dict[str, tuple[Any, Any]]:
    """The modalities that are asked for, each with the columns that are."""
    groups = dict.fromkeys(parts) if groups is None else groups
    unknown = [name for name in groups if name not in parts]
    if unknown or not groups:
        raise ValueError(_unknown("groups to name modalities of data", unknown, parts))
    return {name: (parts[name], spec) for name, spec in groups.items()}


def _cuts(table: pd.DataFrame, groups: Mapping[str, Any], argument: str) -> Tables:
    """Column groups of one table, which may not overlap."""
    if not isinstance(groups, Mapping) or not groups:
        raise ValueError(f"Expected {argument} to name at least one modality. Found {groups!r}. {_GROUPS}")
    places = {str(name): _places(table, spec, name) for name, spec in groups.items()}
    for one, other in combinations(places, 2):
        both = [str(table.columns[place]) for place in places[one] if place in set(places[other])]
        if both:
            raise ValueError(
                f"Expected {argument} that do not overlap. Found {both[0]!r} in {one!r} and in {other!r} "
                f"({len(both)} such columns). A column belongs to one modality: take it out of the other."
            )
    return {str(name): _cut(table, spec, name) for name, spec in groups.items()}


def _cut(table: pd.DataFrame, spec: Any, name: str) -> pd.DataFrame:
    """The columns of one modality; a prefix is taken off."""
    part = table.iloc[:, _places(table, spec, name)]
    return part.set_axis(part.columns.str.removeprefix(spec), axis=1) if isinstance(spec, str) else part


def _places(table: pd.DataFrame, spec: Any, name: str) -> list[int]:
    """Positions of the columns that a group names, in its order."""
    columns = table.columns
    if spec is None:
        places = list(range(len(columns)))
    elif isinstance(spec, str):
        places = [place for place, column in enumerate(columns) if isinstance(column, str) and column.startswith(spec)]
    else:
        wanted = list(spec)
        unknown = [column for column in wanted if column not in columns]
        if unknown:
            raise ValueError(_unknown(f"the columns of modality {name!r} to be in data", unknown, columns))
        if len(set(wanted)) < len(wanted):
            raise ValueError(f"Expected each column of modality {name!r} once. Found one twice. List it once.")
        places = [int(place) for column in wanted for place in np.flatnonzero(columns == column)]
    if not places:
        found = f"no column that begins with {spec!r}" if isinstance(spec, str) else "none"
        raise ValueError(
            f"Expected modality {name!r} to have columns. Found {found}. Leave it out, or name its columns."
        )
    return places


def _unknown(expected: str, unknown: Sequence[Any], known: Any) -> str:
    names = [str(name) for name in known]
    shown = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
    found = ", ".join(map(repr, map(str, unknown[:3]))) or "none"
    return f"Expected {expected}. Found {found}; known are {shown or 'none'}. Correct the name."


def _refuse(argument: str, value: Any) -> None:
    if value is not None:
        raise ValueError(
            f"Expected {argument} only with AnnData or MuData. Found {value!r}. With tables, give the block a table or "
            "a group of columns of its own."
        )


# -- patients --------------------------------------------------------------------------------------


def _check_rows(name: str, index: pd.Index) -> None:
    if index.nlevels > 1:
        raise ValueError(
            f"Expected one name a patient in modality {name!r}. Found an index of several levels. Join them."
        )
    if index.hasnans:
        raise ValueError(f"Expected every row of modality {name!r} to name its patient. Fill the index.")
    if not index.map(str).is_unique:
        raise ValueError(
            f"Expected one row a patient in modality {name!r}. Found a patient twice. Keep one sample of each patient, "
            "or average a patient's samples first."
        )


def _check_named(tables: Tables) -> None:
    """Rows of several tables are matched by name, so they need one."""
    for name, table in tables.items():
        if len(tables) > 1 and len(table) and _made_up(table.index):
            raise ValueError(
                f"Expected the rows of modality {name!r} to be named after their patients, to find them in the others. "
                "Found the made-up names 0, 1, 2, .... Set the index (obs_names of AnnData) to the patients' ids."
            )


def _check_common(tables: Tables) -> None:
    for one, other in combinations(tables, 2):
        left, right = tables[one].index, tables[other].index
        if len(left) and len(right) and left.intersection(right).empty:
            raise ValueError(
                f"Expected modalities {one!r} and {other!r} to share patients. Found none: mostly barcodes with suffixes, or "
                "numbers here and words there. Cut both to the patient's own id (index.str[:12] of TCGA barcodes), or pass "
                "allow_disjoint=True if it is meant."
            )


def _union(order: pd.Index | None, tables: Tables) -> pd.Index:
    """All patients, as they first appear."""
    indexes = [table.index for table in tables.values()]
    first = indexes[0] if order is None else order
    if all(index.equals(first) for index in indexes):
        return indexes[0]
    union = first.append(indexes).unique()
    if not union.map(str).is_unique:
        raise ValueError(
            "Expected patients named alike in all modalities. Found numbers here and words there. Use words."
        )
    return union


def _asked_for(patients: Any, tables: Tables) -> pd.Index:
    index = patients if isinstance(patients, pd.Index) else pd.Index(list(patients))
    if not index.is_unique:
        raise ValueError("Expected patients without repetition. Found one twice. Pass each once.")
    if len(index) and not any(table.index.isin(index).any() for table in tables.values()):
        raise ValueError(
            "Expected patients whom data knows. Found nobody. Pass names from the index (obs_names) of data."
        )
    return index


def _made_up(index: pd.Index) -> bool:
    """Whether rows are only counted, as pandas (0, 1, ...) and AnnData ("0", "1", ...) do by default."""
    if isinstance(index, pd.RangeIndex):
        return index.name is None
    return len(index) > 0 and index.equals(pd.RangeIndex(len(index)).map(str))
