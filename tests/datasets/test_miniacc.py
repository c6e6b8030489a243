"""Adrenocortical carcinoma, as its source describes it."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from skdpal.datasets import load_miniacc

SHAPES = {"rna": (79, 198), "cnv": (90, 198), "rppa": (46, 33), "mut": (90, 97), "mirna": (80, 471)}


@pytest.fixture(scope="module")
def bunch():
    return load_miniacc(as_frame=True)


@pytest.mark.parametrize(
    ("target", "counts"),
    [
        ("C1A.C1B", {"C1A": 43, "C1B": 35}),
        ("vital_status", {"0": 58, "1": 34}),
        ("MethyLevel", {"CIMP-low": 32, "CIMP-intermediate": 27, "CIMP-high": 20}),
        ("pathologic_stage", {"stage i": 9, "stage ii": 44, "stage iii": 19, "stage iv": 18}),
    ],
)
def test_labels_are_those_of_the_source(target, counts):
    found = load_miniacc(target)
    assert Counter(found.target.tolist()) == counts
    assert len(found.data) == len(found.target) == len(found.sample_names)
    assert found.target_names == sorted(counts)


def test_modalities_and_who_lacks_them(bunch):
    assert {name: table.shape for name, table in bunch.modalities.items()} == SHAPES
    assert bunch.obs.shape == (92, 29)
    number = sum(bunch.obs.index.isin(table.index).astype(int) for table in bunch.modalities.values())
    assert Counter(number.tolist()) == {5: 43, 4: 35, 2: 12, 3: 2}


def test_scales_are_those_of_the_source(bunch):
    assert set(np.unique(bunch.modalities["mut"])) == {0, 1}
    assert set(np.unique(bunch.modalities["cnv"])) == {-2, -1, 0, 1, 2}
    for name in ("rna", "mirna"):
        assert 0 <= bunch.modalities[name].min().min() < bunch.modalities[name].max().max() < 23
    assert abs(bunch.modalities["rppa"].to_numpy().mean()) < 0.1


def test_the_wide_table_holds_every_modality_and_nan_for_the_missing(bunch):
    assert bunch.data.shape == (78, sum(columns for _, columns in SHAPES.values()))
    assert list(bunch.data.columns) == bunch.feature_names
    for name, table in bunch.modalities.items():
        wide = bunch.data.loc[:, bunch.data.columns.str.startswith(f"{name}:")]
        pd.testing.assert_frame_equal(
            wide.set_axis(table.columns, axis=1), table.reindex(bunch.target.index), check_names=False
        )
    assert bunch.data.isna().any().any()


def test_names_are_kept(bunch):
    assert {"EGFR", "TP53"} <= set(bunch.modalities["rna"].columns)
    assert all(name.startswith("TCGA-") for name in bunch.obs.index)
    assert (bunch.data.index == bunch.target.index).all()
    np.testing.assert_array_equal(load_miniacc().data, bunch.data.to_numpy())
    assert load_miniacc().target.tolist() == bunch.target.tolist()


def test_expression_tells_its_own_classes(bunch):
    """C1A and C1B were found by clustering expression: proliferation (here, cyclin B1) is higher in C1A."""
    level = bunch.modalities["rna"]["CCNB1"].reindex(bunch.target.index)
    assert level[bunch.target == "C1A"].median() > level[bunch.target == "C1B"].median() + 1


def test_an_unknown_target_is_named():
    with pytest.raises(ValueError, match="target"):
        load_miniacc("relapse")


def test_the_licence_and_the_papers_are_told(bunch):
    assert "Artistic" in bunch.DESCR
    assert "10.1016/j.ccell.2016.04.002" in bunch.DESCR
