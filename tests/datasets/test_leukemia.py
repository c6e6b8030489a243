"""The leukaemias, as the papers describe them."""

import numpy as np
import pytest

from skdpal.datasets import load_leukemia


def counts(target):
    return dict(zip(*np.unique(load_leukemia(target).target, return_counts=True), strict=True))


def test_the_patients_are_those_of_the_papers():
    assert counts("lineage") == {"B": 95, "T": 33}
    assert counts("molecular_biology") == {"ALL1/AF4": 10, "BCR/ABL": 37, "E2A/PBX1": 5, "NEG": 74}


def test_expression_is_on_a_log_scale():
    data = load_leukemia("lineage").data
    assert data.shape == (128, 12625)
    assert np.isfinite(data).all()
    assert 1.9 < data.min() < data.max() < 14.2


def test_frames_keep_names():
    frame, plain = load_leukemia(as_frame=True), load_leukemia()
    assert list(frame.data.index) == plain.sample_names == list(frame.target.index)
    assert list(frame.data.columns) == plain.feature_names
    assert "01005" in frame.data.index  # text, with its zero
    np.testing.assert_array_equal(frame.data.to_numpy(), plain.data)
    np.testing.assert_array_equal(frame.target.to_numpy(), plain.target)


def test_lineage_is_seen_in_a_gene_of_t_cells():
    """CD3D, probe set 38319_at, is high in T cells."""
    data = load_leukemia("lineage", as_frame=True)
    level = data.data["38319_at"]
    assert level[data.target == "T"].min() > level[data.target == "B"].median() + 2


def test_an_unknown_target_is_named():
    with pytest.raises(ValueError, match="target"):
        load_leukemia("relapse")


def test_the_licence_and_the_papers_are_told():
    assert "Artistic" in load_leukemia().DESCR
    assert "Chiaretti" in load_leukemia().DESCR
