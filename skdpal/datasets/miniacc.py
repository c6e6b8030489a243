"""Adrenocortical carcinoma, a rare tumour measured in five ways; half of the patients lack some of them."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from skdpal.privacy.validation import check_one_of

__all__ = ["load_miniacc"]

_FOLDER = files("skdpal.datasets") / "data"
_MODALITIES = ("rna", "cnv", "rppa", "mut", "mirna")
_TARGETS = ("C1A.C1B", "vital_status", "MethyLevel", "pathologic_stage", "COC", "OncoSign", "SCNA.cluster")


def load_miniacc(target: str = "C1A.C1B", *, as_frame: bool = False) -> Bunch:
    """Load the adrenocortical carcinomas of Zheng et al. (2016), as selected by Ramos et al. (2017).

    92 patients: gene expression ("rna": 198 genes of 79 patients), copy numbers ("cnv": 198 of 90), proteins ("rppa": 33 of
    46), mutations ("mut": 97 of 90) and microRNAs ("mirna": 471 of 80). 43 patients have all five.

    Parameters
    ----------
    target : str, default="C1A.C1B"
        Column of `obs` to predict. "C1A.C1B": class of expression, C1A (43) or C1B (35). "vital_status": 0 alive (58) or 1 (34).
        "MethyLevel": class of methylation, CIMP-low (32), -intermediate (27), -high (20). "pathologic_stage": "stage i" (9) to
        "stage iv" (18). "COC", "OncoSign", "SCNA.cluster": classes of the paper.
    as_frame : bool, default=False
        Return pandas objects that keep the names of patients and features.

    Returns
    -------
    Bunch
        With the fields

        * ``data``: ndarray or DataFrame of shape (n_patients, 997). All modalities side by side, of the patients whose
          target is known; NaN where a patient lacks one. Columns are named "rna:EGFR", "mirna:hsa-let-7b" and so on.
        * ``target``: ndarray or Series of shape (n_patients,); ``target_names``: list of str.
        * ``feature_names``, ``sample_names``: list of str.
        * ``modalities``: dict of DataFrame. For each modality, patients by features: those of all 92 patients who have it.
        * ``obs``: DataFrame of shape (92, 29). Clinical and molecular columns of all patients.
        * ``DESCR``: str, with the citation and the licence.

    Examples
    --------
    >>> from skdpal.datasets import load_miniacc
    >>> data = load_miniacc()
    >>> data.data.shape, data.target_names
    ((78, 997), ['C1A', 'C1B'])
    >>> {name: table.shape for name, table in data.modalities.items()}
    {'rna': (79, 198), 'cnv': (90, 198), 'rppa': (46, 33), 'mut': (90, 97), 'mirna': (80, 471)}
    """
    check_one_of("target", target, _TARGETS)
    with as_file(_FOLDER / "miniacc_patients.csv") as path:
        obs = pd.read_csv(path, index_col="patient")
    with as_file(_FOLDER / "miniacc.npz") as path, np.load(path, allow_pickle=False) as archive:
        modalities = {
            name: pd.DataFrame(
                archive[name].astype(np.float64),
                index=obs.index[archive[f"{name}_patients"]],
                columns=archive[f"{name}_features"].tolist(),
            )
            for name in _MODALITIES
        }
    labels = obs[target].dropna().astype(str).rename(target)
    table = pd.concat([part.add_prefix(f"{name}:") for name, part in modalities.items()], axis=1).reindex(labels.index)
    return Bunch(
        data=table if as_frame else table.to_numpy(),
        target=labels if as_frame else labels.to_numpy(dtype=str),
        target_names=sorted(set(labels)),
        feature_names=table.columns.to_list(),
        sample_names=labels.index.to_list(),
        modalities=modalities,
        obs=obs,
        DESCR=(_FOLDER / "miniacc.md").read_text(encoding="utf-8"),
    )
