"""What goes back: predictions of a released model, and where they come from, in an AnnData or MuData.

Invariants
----------
* Written are predictions, probabilities and doubts of a model that was released with differential privacy, and public
  parameters; of the patients who taught it nothing else, not even their number.
* Every table says whether it may leave. The certificate covers the model; a prediction about a patient is computed from
  that patient's own row as well, and is not covered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skdpal.model_selection import price_of
from skdpal.privacy.validation import check_one_of

__all__ = ["read_provenance", "write_predictions"]

SCHEMA = 1
_ABOUT = {
    "patients": "Predicted for patients, from their own rows. The certificate covers the model, not these predictions: "
    "publishing one is a release of that patient. They stay where the rows are.",
    "public": "Predicted for rows that were declared public: as private as the model is.",
}
_PLAIN = ("epsilon", "delta", "statement", "account", "adjacency", "unit", "filter", "release_mode", "journal_head")
_NO_LEDGER = "no ledger: nothing is certified"
_NO_RECEIPT = "void: no receipt of the ledger pays for the model"


def write_predictions(
    data: Any, model: Any, rows: Any, *, about: str, key: str = "skdpal", certificate: Mapping[str, Any] | None = None
) -> None:
    """Write what a released model predicts into an AnnData or MuData, in place.

    Parameters
    ----------
    data : AnnData or MuData
        Written to, as scanpy does; nothing is written if anything is refused. Not a view.
    model : DP classifier or Pipeline
        Fitted: released with differential privacy. Of a `Pipeline` the steps before must be frozen or stateless.
    rows : DataFrame or ndarray of shape (n_rows, n_features)
        What `model` predicts from, such as ``encoder.transform(rows_of(data))``. A DataFrame is matched to `obs_names`
        by its index, and who is not in it gets no prediction; an array has one row for each of `obs_names`, in order.
    about : {"patients", "public"}
        Whose rows these are. "patients": of the cohort, the pool, or new ones. The guarantee covers the *model*. It
        does not cover the *table of predictions*, since each of them is computed from a patient's own row: publishing
        it is a release of that patient that no receipt pays for. The table is marked so and stays in the hospital.
        "public": declared public; then it is as private as the model.
    key : str, default="skdpal"
        Name of the entries; begin another table with another key. Entries of the same key are replaced.
    certificate : mapping, optional
        Of a model without a ledger, such as one from `load_model`: what its study published (``certificate.json``). The
        caller vouches that it is the model's.

    Raises
    ------
    ValueError
        If the model is not a released DP model, if rows and `data` do not match, or if columns of somebody else would
        be overwritten.

    Notes
    -----
    Nothing is charged: everything written is computed from the release and the rows.

    ============================  ==============================================================================
    ``.obs["skdpal_label"]``      predicted label, a categorical with all classes
    ``.obs["skdpal_<cause>"]``    `uncertainty` of the model by cause, if it has it: "dp_noise", "sampling", ...
    ``.obsm["skdpal_proba"]``     probabilities, a DataFrame with one column a class
    ``.uns["skdpal"]``            ε, δ, status, journal head, classes, ..., and the whole certificate with its receipts
                                  and versions as JSON; read it with `read_provenance`
    ============================  ==============================================================================

    `status` in `.uns` is that of the certificate: "valid", "void: ...", "simulation: not private", or "no ledger: ...".
    `may_leave` is true only of a valid certificate and public rows, and speaks of these entries, not of the rest of the
    file.

    Embeddings are not written: they are the patients' own data in fewer numbers, and no release. Whoever needs them,
    inside, for a plot writes ``data.obsm["X_public"] = encoder.transform(rows_of(data))``.

    Examples
    --------
    ::

        write_predictions(tumours, model, encoder.transform(rows_of(tumours)), about="patients")
        tumours.obs[["skdpal_label", "skdpal_dp_noise"]]
        read_provenance(tumours)["status"]
        tumours.write_h5ad("hospital-only/tumours.h5ad")
    """
    check_one_of(
        "about", about, list(_ABOUT), "Say whose rows these are: predictions for patients stay in the hospital."
    )
    released = _released(model, rows)
    _check_data(data)
    places = _places(rows, data.obs_names)
    entry = _provenance(released, about, certificate)
    table, chances = _results(model, released, rows)
    columns = {f"{key}_{name}": _spread(values, places, data.obs_names) for name, values in table.items()}
    _check_free(data, key, columns)
    label = f"{key}_label"
    columns[label] = columns[label].astype(pd.CategoricalDtype(released.classes_.tolist()))
    whole = np.full((data.n_obs, chances.shape[1]), np.nan)
    whole[places] = chances
    for name in [name for name in data.obs.columns if key in data.uns and name.startswith(f"{key}_")]:
        del data.obs[name]
    for name, values in columns.items():
        data.obs[name] = values
    data.obsm[f"{key}_proba"] = pd.DataFrame(whole, index=data.obs_names, columns=entry["classes"].tolist())
    data.uns[key] = entry


def read_provenance(data: Any, key: str = "skdpal") -> dict[str, Any]:
    """Where the predictions in an AnnData or MuData come from.

    Parameters
    ----------
    data : AnnData or MuData
        That `write_predictions` wrote to, also after a round trip through a file.
    key : str, default="skdpal"
        As in `write_predictions`.

    Returns
    -------
    dict
        "status", "may_leave", "about", "in_words", "model", "fingerprint", "classes"; and if there is a certificate
        "epsilon", "delta", "adjacency", "journal_head", ..., and "certificate", the whole of it, with "receipts" and
        "versions".

    Raises
    ------
    ValueError
        If nothing was written under `key`.

    Examples
    --------
    `write_predictions` has one.
    """
    entry = data.uns.get(key)
    if not isinstance(entry, Mapping) or "may_leave" not in entry:
        raise ValueError(f"Expected .uns[{key!r}] of write_predictions. Found none. Pass the key that was written.")
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in entry.items()}
    whole = {"certificate": json.loads(plain["certificate"])} if "certificate" in plain else {}
    return {**plain, "classes": [str(name) for name in plain["classes"]], **whole}


# -- the model -------------------------------------------------------------------------------------


def _released(model: Any, rows: Any) -> Any:
    """The DP classifier itself, if it and all steps before it may speak."""
    last = model[-1] if isinstance(model, Pipeline) else model
    if not hasattr(last, "privacy_event") or not hasattr(last, "predict_proba"):
        raise ValueError(
            f"Expected model to be a DP classifier. Found {type(last).__name__}, which tells of its patients without noise. "
            "Write what a released model predicts: DPPrototypeClassifier, DPModalityClassifier, DPNeuralClassifier, ..."
        )
    if isinstance(model, Pipeline):
        culprit = price_of(model, rows).culprit
        if culprit:
            raise ValueError(f"Expected steps that are frozen or stateless. Found: {culprit}. Fit them on public data.")
    check_is_fitted(last, "classes_")
    return last


def _results(model: Any, released: Any, rows: Any) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Label and doubts of each row, and its probabilities."""
    if isinstance(model, Pipeline):
        rows = model[:-1].transform(rows) if len(model) > 1 else rows
    elif isinstance(rows, pd.DataFrame) and not hasattr(released, "feature_names_in_"):
        rows = rows.to_numpy()
    chances = np.asarray(released.predict_proba(rows), dtype=np.float64)
    table = {"label": np.asarray(released.classes_, dtype=object)[chances.argmax(axis=1)]}
    if hasattr(released, "uncertainty"):
        doubts = released.uncertainty(rows)
        table |= {str(name): doubts[name].to_numpy(dtype=np.float64) for name in doubts.columns}
    return table, chances


def _provenance(released: Any, about: str, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """All that is said in `.uns`: public parameters and what the certificate says."""
    ledger = getattr(released, "ledger", None)
    if given is not None and ledger is not None:
        raise ValueError("Expected certificate only for a model without a ledger. Found both. Leave certificate out.")
    certificate = given if ledger is None else ledger.certificate()
    if certificate is not None and not {"status", "epsilon", "receipts"} <= set(certificate):
        raise ValueError(
            "Expected certificate to be one of a ledger. Found another mapping. Pass the content of certificate.json."
        )
    status = _NO_LEDGER if certificate is None else certificate["status"]
    if certificate is not None and status == "valid" and not certificate["receipts"]:
        status = _NO_RECEIPT
    entry = {
        "schema": SCHEMA,
        "about": about,
        "may_leave": about == "public" and status == "valid",
        "in_words": _ABOUT[about],
        "status": status,
        "model": type(released).__name__,
        "classes": np.array([str(name) for name in released.classes_], dtype=object),
    }
    if hasattr(released, "fingerprint"):
        entry["fingerprint"] = released.fingerprint()
    if certificate is not None:
        entry |= {name: certificate[name] for name in _PLAIN if certificate.get(name) is not None}
        entry["certificate"] = json.dumps(dict(certificate))
    return entry


# -- the data --------------------------------------------------------------------------------------


def _check_data(data: Any) -> None:
    if not all(hasattr(data, name) for name in ("obs", "obsm", "uns", "obs_names")):
        raise ValueError(
            f"Expected data to be an AnnData or MuData. Found {type(data).__name__}. A DataFrame takes model.predict(rows) "
            "as a column; for the others, pip install skdpal[omics]."
        )
    if getattr(data, "is_view", False):
        raise ValueError("Expected data that is no view, which would not keep what is written. Pass data.copy().")


def _places(rows: Any, names: pd.Index) -> NDArray[np.intp]:
    """Where in `obs_names` each row belongs."""
    if isinstance(rows, pd.DataFrame) and not isinstance(rows.index, pd.RangeIndex):
        if not rows.index.is_unique or not names.is_unique:
            raise ValueError("Expected each patient once in rows and in data. Found one twice. Keep one row of each.")
        places = names.get_indexer(rows.index)
        if (places < 0).any():
            raise ValueError(
                "Expected the index of rows to be names of data. Found others. Index rows by obs_names: rows_of and "
                "modality_tables do."
            )
        return places
    if len(rows) != len(names):
        raise ValueError(
            "Expected rows without names to be one for each of obs_names, in order. Found another number. Pass a DataFrame "
            "indexed by obs_names."
        )
    return np.arange(len(names))


def _spread(values: Any, places: NDArray[np.intp], names: pd.Index) -> pd.Series:
    column = pd.Series(np.nan, index=names, dtype=np.asarray(values).dtype)
    column.iloc[places] = values
    return column


def _check_free(data: Any, key: str, columns: Mapping[str, Any]) -> None:
    if key in data.uns:
        if not isinstance(data.uns[key], Mapping) or "may_leave" not in data.uns[key]:
            raise ValueError(f"Expected .uns[{key!r}] to be free. Found something else there. Pass another key.")
        return
    taken = [name for name in columns if name in data.obs.columns] + [key] * (f"{key}_proba" in data.obsm)
    if taken:
        raise ValueError(f"Expected columns of a new name. Found {taken[0]!r} in data. Pass another key.")
