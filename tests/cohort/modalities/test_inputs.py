"""Tables, column groups, AnnData and MuData become one table of patients for each modality."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from skdpal.cohort.modalities.inputs import modality_tables, rows_of
from skdpal.datasets import load_miniacc

# a gene may be measured in two modalities; MuData would rather have it named twice
pytestmark = pytest.mark.filterwarnings("ignore:var_names are not unique:UserWarning")

RNA = pd.DataFrame([[1.0, 2.0], [3.0, 4.0]], index=["P1", "P2"], columns=["TP53", "EGFR"])
CNV = pd.DataFrame([[0, 2], [1, -1]], index=["P2", "P3"], columns=["TP53", "MYC"])
WIDE = RNA.add_prefix("rna:").join(CNV.add_prefix("cnv:"), how="outer")


@pytest.fixture
def omics(omics_packages):
    """The same as a MuData, with a clinical table."""
    anndata, mudata = omics_packages
    rna, cnv = anndata.AnnData(RNA.copy()), anndata.AnnData(CNV.astype(float))
    rna.layers["counts"] = sparse.csr_matrix(2 ** RNA.to_numpy())
    rna.obs["type"] = ["EWS", "RMS"]
    data = mudata.MuData({"rna": rna, "cnv": cnv})
    data.obs["age"] = [float(name[1:]) for name in data.obs_names]
    return data


def check_both(tables):
    assert list(tables) == ["rna", "cnv"]
    assert list(tables["rna"].index) == list(tables["cnv"].index) == ["P1", "P2", "P3"]
    assert list(tables["rna"].columns) == ["TP53", "EGFR"]
    assert list(tables["cnv"].columns) == ["TP53", "MYC"]
    np.testing.assert_array_equal(tables["rna"], [[1, 2], [3, 4], [np.nan, np.nan]])
    np.testing.assert_array_equal(tables["cnv"], [[np.nan, np.nan], [0, 2], [1, -1]])


def test_tables_with_other_patients_are_brought_together():
    check_both(modality_tables({"rna": RNA, "cnv": CNV}))


def test_a_prefix_is_taken_off():
    check_both(modality_tables(WIDE, {"rna": "rna:", "cnv": "cnv:"}))


def test_columns_are_taken_in_the_order_of_the_group():
    tables = modality_tables(WIDE, {"a": ["rna:EGFR", "rna:TP53"], "b": ["cnv:MYC"]})
    assert list(tables["a"].columns) == ["rna:EGFR", "rna:TP53"]
    np.testing.assert_array_equal(tables["a"].loc["P1"], [2, 1])
    assert list(tables["b"].columns) == ["cnv:MYC"]


def test_two_levels_of_columns():
    check_both(modality_tables(pd.concat({"rna": RNA, "cnv": CNV}, axis=1)))
    only = modality_tables(pd.concat({"rna": RNA, "cnv": CNV}, axis=1), {"cnv": ["MYC"]})
    assert list(only) == ["cnv"]
    assert list(only["cnv"].columns) == ["MYC"]


def test_a_mudata_keeps_its_names(omics):
    check_both(modality_tables(omics))


def test_a_mapping_of_anndata(omics):
    check_both(modality_tables(dict(omics.mod)))


def test_layers_and_clinical_columns(omics):
    tables = modality_tables(omics, layer={"rna": "counts"}, obs=["age"])
    np.testing.assert_array_equal(tables["rna"].loc["P2"], [8, 16])  # sparse, made dense
    assert list(tables) == ["rna", "cnv", "clinical"]
    assert tables["clinical"]["age"].to_dict() == {"P1": 1, "P2": 2, "P3": 3}


def test_one_anndata(omics):
    data = omics["rna"]
    assert list(modality_tables(data)) == ["X"]
    tables = modality_tables(data, {"rna": None}, layer="counts", obs={"notes": ["type"]})
    np.testing.assert_array_equal(tables["rna"], 2 ** RNA.to_numpy())
    assert tables["notes"]["type"].tolist() == ["EWS", "RMS"]
    assert list(modality_tables(data, {"a": ["EGFR"], "b": "TP"})["b"].columns) == ["53"]


def test_patients_may_be_given():
    tables = modality_tables({"rna": RNA, "cnv": CNV}, patients=pd.Index(["P3", "unknown", "P1"], name="patient"))
    assert list(tables["rna"].index) == ["P3", "unknown", "P1"]
    assert tables["rna"].index.name == "patient"
    np.testing.assert_array_equal(tables["cnv"], [[1, -1], [np.nan] * 2, [np.nan] * 2])


def test_words_and_categories_may_be_missing_too():
    clinical = pd.DataFrame({"note": ["seen"], "stage": pd.Categorical(["ii"])}, index=["P2"])
    table = modality_tables({"rna": RNA, "clinical": clinical})["clinical"]
    assert table.loc["P1"].isna().all()
    assert table.loc["P2"].tolist() == ["seen", "ii"]


def test_the_whole_cohort_of_miniacc():
    cancers = load_miniacc(as_frame=True)
    tables = modality_tables(cancers.modalities)
    assert set(tables["rna"].index) == set(cancers.obs.index)
    measured = {name: int(table.notna().all(axis=1).sum()) for name, table in tables.items()}
    assert measured == {"rna": 79, "cnv": 90, "rppa": 46, "mut": 90, "mirna": 80}
    wide = modality_tables(cancers.data, {name: f"{name}:" for name in tables})
    for name, table in tables.items():
        pd.testing.assert_frame_equal(wide[name], table.reindex(wide[name].index), check_names=False)


@given(st.data())
def test_one_patient_moves_one_row(data):
    """Whatever a patient brings or lacks, nobody else's rows change."""
    present = st.lists(st.sampled_from([f"P{number}" for number in range(6)]), unique=True, min_size=1)
    cells = st.floats(-5, 5)

    def table(patients):
        return pd.DataFrame({"a": [data.draw(cells) for _ in patients], "b": 1.0}, index=patients)

    before = {name: table(data.draw(present)) for name in ("rna", "cnv")}
    one = data.draw(st.sampled_from(sorted({*before["rna"].index, *before["cnv"].index})))
    after = {name: part.drop(index=one, errors="ignore") for name, part in before.items()}
    if data.draw(st.booleans()):
        after["cnv"] = pd.concat([after["cnv"], pd.DataFrame({"a": [9.0], "b": [9.0]}, index=[one])])
    left, right = (modality_tables(parts, allow_disjoint=True) for parts in (before, after))
    for name in before:
        others = left[name].index.drop(one)
        pd.testing.assert_frame_equal(left[name].loc[others], right[name].reindex(others))


# -- one AnnData as a table ------------------------------------------------------------------------


def test_rows_of_an_anndata_keep_genes_and_patients(omics):
    table = rows_of(omics["rna"])
    pd.testing.assert_frame_equal(table, RNA, check_names=False)
    np.testing.assert_array_equal(rows_of(omics["rna"], layer="counts"), 2 ** RNA.to_numpy())


def test_made_up_names_name_nobody(omics_packages):
    anndata, _ = omics_packages
    table = rows_of(anndata.AnnData(np.zeros((3, 2))))
    assert isinstance(table.index, pd.RangeIndex)


def test_encoder_classifier_and_ledger_take_anndata(omics_packages, srbct, ledger):
    """Genes are matched by name, and the ledger knows the patients by theirs."""
    from skdpal import DPPrototypeClassifier, PublicEncoder

    anndata, _ = omics_packages
    lines, tumours = anndata.AnnData(srbct.X_public), anndata.AnnData(srbct.X)
    lines.obs["type"], tumours.obs["type"] = srbct.y_public, srbct.y
    tumours = tumours[:, ::-1].copy()  # genes in another order
    encoder = PublicEncoder(n_components=8).fit(rows_of(lines), lines.obs["type"]).set_output(transform="pandas")
    rows = encoder.transform(rows_of(tumours))
    plain = PublicEncoder(n_components=8).fit(srbct.X_public, srbct.y_public).transform(srbct.X)
    np.testing.assert_allclose(rows, plain, atol=1e-9)
    prior = DPPrototypeClassifier.prior_from_public(encoder.transform(rows_of(lines)), lines.obs["type"])
    start = ledger.split("cohort/pool", "cohort/start", srbct.X.index[:20])
    model = DPPrototypeClassifier(20.0, prior, ledger=start)
    assert model.fit(rows[:20], tumours.obs["type"][:20]).predict(rows).shape == (37,)
    with pytest.raises(ValueError, match="cohort/start"):  # these are others
        model.fit(rows[20:], tumours.obs["type"][20:])


def test_a_file_that_stays_on_disk(omics_packages, tmp_path):
    anndata, _ = omics_packages
    anndata.AnnData(sparse.csr_matrix(RNA.to_numpy()), RNA.iloc[:, :0], RNA.T.iloc[:, :0]).write_h5ad(
        tmp_path / "x.h5ad"
    )
    backed = anndata.read_h5ad(tmp_path / "x.h5ad", backed="r")
    pd.testing.assert_frame_equal(rows_of(backed), RNA, check_names=False)
    backed.file.close()


# -- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "options", "expected"),
    [
        (WIDE, {}, "groups"),
        (WIDE, {"groups": {}}, "groups to name at least one"),
        (WIDE, {"groups": {"rna": "rna:", "both": ["rna:TP53"]}}, "overlap.*'rna:TP53' in 'rna' and in 'both'"),
        (WIDE, {"groups": {"rna": "RNA:"}}, "'rna' to have columns.*'RNA:'"),
        (WIDE, {"groups": {"rna": []}}, "'rna' to have columns. Found none"),
        (WIDE, {"groups": {"rna": ["TP53"]}}, "columns of modality 'rna' to be in data. Found 'TP53'"),
        (WIDE, {"groups": {"rna": ["rna:TP53"] * 2}}, "once"),
        (WIDE, {"groups": {"rna": "rna:"}, "layer": "counts"}, "layer only with AnnData"),
        ({"rna": RNA}, {"obs": ["age"]}, "obs only with AnnData"),
        ({"rna": RNA}, {"groups": {"dna": None}}, "'dna'; known are 'rna'"),
        ({}, {}, "non-empty mapping"),
        ([1.0], {}, "Found list"),
        ({"rna": RNA.to_numpy()}, {}, "'rna' to be a DataFrame"),
        ({"rna": RNA.iloc[:, :0], "cnv": CNV}, {}, "'rna' to have columns"),
        ({"rna": pd.concat([RNA, RNA]), "cnv": CNV}, {}, "one row a patient in modality 'rna'"),
        ({"rna": RNA.set_axis(["P1", None]), "cnv": CNV}, {}, "every row of modality 'rna' to name"),
        ({"rna": RNA.set_axis([1, "1"]), "cnv": CNV}, {}, "one row a patient"),
        ({"rna": RNA.reset_index(drop=True), "cnv": CNV}, {}, "rows of modality 'rna' to be named"),
        ({"rna": RNA, "cnv": CNV.add_suffix("-01A", axis=0)}, {}, "'rna' and 'cnv' to share patients.*suffixes"),
        ({"rna": RNA, "cnv": CNV}, {"patients": ["P1", "P1"]}, "without repetition"),
        ({"rna": RNA, "cnv": CNV}, {"patients": ["TCGA-1"]}, "Found nobody"),
    ],
)
def test_bad_input_is_refused_without_quoting_a_patient(data, options, expected):
    with pytest.raises(ValueError, match=expected) as error:
        modality_tables(data, **options)
    assert not any(patient in str(error.value) for patient in ("P1", "P2", "P3", "TCGA-1"))


def test_disjoint_patients_may_be_meant():
    tables = modality_tables({"rna": RNA, "cnv": CNV.add_suffix("b", axis=0)}, allow_disjoint=True)
    assert len(tables["rna"]) == 4


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"layer": "raw"}, "layer to be in 'rna'.*'raw'; known are 'counts'"),
        ({"layer": {"dna": "counts"}}, "layer to name modalities.*'dna'"),
        ({"obs": ["weight"]}, "columns of modality 'clinical'.*'weight'"),
        ({"obs": {"rna": ["age"]}}, "names of their own.*'rna' twice"),
        ({"obs": {"a": ["age"], "b": ["age"]}}, "overlap"),
    ],
)
def test_bad_names_in_mudata_are_refused(omics, options, expected):
    with pytest.raises(ValueError, match=expected):
        modality_tables(omics, **options)


def test_modalities_of_made_up_names_are_refused(omics_packages):
    anndata, mudata = omics_packages
    data = mudata.MuData({name: anndata.AnnData(np.ones((3, 2))) for name in ("rna", "cnv")})
    with pytest.raises(ValueError, match="made-up names"):
        modality_tables(data)


def test_an_anndata_without_x_asks_for_a_layer(omics_packages):
    anndata, _ = omics_packages
    data = anndata.AnnData(shape=(2, 2), layers={"counts": np.ones((2, 2))})
    with pytest.raises(ValueError, match=r"Pass layer=, one of \['counts'\]"):
        rows_of(data)
    assert rows_of(data, layer="counts").to_numpy().sum() == 4


def test_several_modalities_are_not_one(omics):
    with pytest.raises(ValueError, match=r"mdata\['rna'\]"):
        rows_of(omics)
