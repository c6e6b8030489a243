"""The bundled cohort is what its README says."""

from collections import Counter
from importlib.resources import files

import numpy as np

from skdpal.datasets import load_srbct


def test_public_lines_and_private_tumours():
    data = load_srbct()
    lines = Counter(data.target[data.is_cell_line].tolist())
    tumours = Counter(data.target[~data.is_cell_line].tolist())
    assert lines == {"BL": 11, "EWS": 11, "NB": 14, "RMS": 10}
    assert tumours == {"EWS": 18, "RMS": 15, "NB": 4}
    assert data.data.shape == (83, 2308)
    assert data.data.dtype == float
    assert np.isfinite(data.data).all()
    assert data.target_names == ["BL", "EWS", "NB", "RMS"]


def test_what_is_inferred_is_said_to_be():
    data = load_srbct()
    assert (~data.source_stated).sum() == 20
    assert "inferred" in data.DESCR


def test_names_are_kept_and_right():
    data = load_srbct(as_frame=True)
    assert data.data.columns.is_unique
    assert data.data.index.is_unique
    assert (data.data.index == data.target.index).all()
    assert list(data.data.columns) == data.feature_names
    means = data.data.groupby(data.target).mean()
    assert means["CD99"].idxmax() == "EWS"  # the marker of Ewing sarcoma
    assert means["SGCA"].idxmax() == "RMS"  # a muscle protein


def test_it_is_small_and_cited():
    folder = files("skdpal.datasets") / "data"
    assert sum(len(path.read_bytes()) for path in folder.iterdir()) < 4_000_000
    assert "10.1038/89044" in load_srbct().DESCR
    assert "BSD" in load_srbct().DESCR
