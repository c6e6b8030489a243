"""Acute lymphoblastic leukaemia of adults: one hospital's patients, without public counterparts of their own."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from skdpal.privacy.validation import check_one_of

__all__ = ["load_leukemia"]

_FOLDER = files("skdpal.datasets") / "data"
_SUBTYPES = ("ALL1/AF4", "BCR/ABL", "E2A/PBX1", "NEG")


def load_leukemia(target: str = "molecular_biology", *, as_frame: bool = False) -> Bunch:
    """Load the leukaemias of Chiaretti et al. (2004, 2005).

    12,625 probe sets (log2 expression, rounded to hundredths) of 128 patients.

    Parameters
    ----------
    target : {"molecular_biology", "lineage"}, default="molecular_biology"
        "molecular_biology": the fusion gene, ALL1/AF4 (10), BCR/ABL (37), E2A/PBX1 (5), or none of these, NEG (74): 126
        patients. "lineage": B (95) or T (33).
    as_frame : bool, default=False
        Return pandas objects that keep the names of patients and probe sets.

    Returns
    -------
    Bunch
        data : ndarray or DataFrame of shape (n_patients, 12625)
        target : ndarray or Series of shape (n_patients,)
        target_names : list of str
        feature_names : list of str, probe sets of the array HG-U95Av2
        sample_names : list of str
        DESCR : str, with the citation and the licence

    Examples
    --------
    >>> from skdpal.datasets import load_leukemia
    >>> data = load_leukemia()
    >>> data.data.shape, data.target_names
    ((126, 12625), ['ALL1/AF4', 'BCR/ABL', 'E2A/PBX1', 'NEG'])
    """
    check_one_of("target", target, ["molecular_biology", "lineage"])
    with as_file(_FOLDER / "leukemia.npz") as path, np.load(path, allow_pickle=False) as archive:
        matrix, probe_sets = archive["hundredths"] / 100.0, archive["probe_sets"].tolist()
    with as_file(_FOLDER / "leukemia_patients.csv") as path:
        patients = pd.read_csv(path, dtype={"patient": str})
    labels = patients["stage"].str[0] if target == "lineage" else patients["molecular_biology"]
    asked = np.ones(len(labels), dtype=bool) if target == "lineage" else labels.isin(_SUBTYPES).to_numpy()
    names, known = patients["patient"][asked], labels[asked].to_numpy(dtype=str)
    data, answer = matrix[asked], known
    if as_frame:
        index = pd.Index(names, name="patient")
        data = pd.DataFrame(data, index=index, columns=probe_sets)
        answer = pd.Series(known, index=index, name=target)
    return Bunch(
        data=data,
        target=answer,
        target_names=sorted(set(known.tolist())),
        feature_names=probe_sets,
        sample_names=names.to_list(),
        DESCR=(_FOLDER / "leukemia.md").read_text(encoding="utf-8"),
    )
