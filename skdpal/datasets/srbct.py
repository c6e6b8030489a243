"""Small round blue cell tumours of childhood: public cell lines and tumours of patients."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

__all__ = ["load_srbct"]

_FOLDER = files("skdpal.datasets") / "data"


def load_srbct(*, as_frame: bool = False) -> Bunch:
    """Load the small round blue cell tumours of Khan et al. (2001).

    83 samples, 2308 genes (cDNA clones, natural logarithm of the red/green ratio): 46 cell lines
    (Burkitt lymphoma BL 11, Ewing sarcoma EWS 11, neuroblastoma NB 14, rhabdomyosarcoma RMS 10),
    which play the public data, and 37 tumours (EWS 18, RMS 15, NB 4), which play the patients.

    Parameters
    ----------
    as_frame : bool, default=False
        Return pandas objects that keep the names of samples and genes.

    Returns
    -------
    Bunch
        data : ndarray or DataFrame of shape (83, 2308)
        target : ndarray or Series of shape (83,), labels "BL", "EWS", "NB", "RMS"
        target_names : list of str
        feature_names : list of str, gene symbols where known, else column numbers
        is_cell_line : bool ndarray of shape (83,)
        source_stated : bool ndarray; False for the 20 test samples of the paper, whose
        ``is_cell_line`` is inferred (see DESCR)
        sample_names : list of str
        DESCR : str, with the citation and the licence

    Examples
    --------
    >>> from skdpal.datasets import load_srbct
    >>> data = load_srbct()
    >>> data.data.shape, int(data.is_cell_line.sum())
    ((83, 2308), 46)
    """
    with as_file(_FOLDER / "srbct.npz") as path, np.load(path) as archive:
        matrix = archive["log_ratio"].astype(np.float64)
    with as_file(_FOLDER / "srbct_samples.csv") as path:
        samples = pd.read_csv(path)
    with as_file(_FOLDER / "srbct_genes.csv") as path:
        genes = pd.read_csv(path, keep_default_na=False)
    data, target = matrix, samples["diagnosis"].to_numpy(dtype=str)
    if as_frame:
        index = pd.Index(samples["sample"], name="sample")
        data = pd.DataFrame(matrix, index=index, columns=genes["name"].to_list())
        target = pd.Series(target, index=index, name="diagnosis")
    return Bunch(
        data=data,
        target=target,
        target_names=sorted(samples["diagnosis"].unique()),
        feature_names=genes["name"].to_list(),
        is_cell_line=(samples["source"] == "cell_line").to_numpy(),
        source_stated=samples["source_stated"].to_numpy(),
        sample_names=samples["sample"].to_list(),
        DESCR=(_FOLDER / "README.md").read_text(encoding="utf-8"),
    )
