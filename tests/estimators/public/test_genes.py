"""Private tables whose columns are not quite those of the public data."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest

from skdpal import PublicEncoder
from skdpal.estimators.public.genes import column_names, match_genes

GENES = [f"G{place}" for place in range(12)]
RNG = np.random.default_rng(0)
PUBLIC = pd.DataFrame(RNG.normal(size=(20, 12)) + np.repeat(np.eye(2, 12) * 4, 10, axis=0), columns=GENES)
LABELS = np.repeat(["a", "b"], 10)
PATIENTS = pd.DataFrame(RNG.normal(size=(5, 12)), columns=GENES, index=[f"p{place}" for place in range(5)])


@pytest.fixture(params=[None, "standardize", "rank"])
def encoder(request):
    return PublicEncoder(n_components=3, sample_scaling=request.param).fit(PUBLIC, LABELS)


def test_order_does_not_matter_and_nobody_is_warned(encoder):
    expected = encoder.transform(PATIENTS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(encoder.transform(PATIENTS.iloc[:, ::-1]), expected, atol=1e-12)
        np.testing.assert_allclose(encoder.transform(pl.from_pandas(PATIENTS[GENES[::-1]])), expected, atol=1e-12)
    wrong = PATIENTS.iloc[:, ::-1].set_axis(GENES, axis=1)  # the same columns under each other's names
    assert abs(encoder.transform(wrong) - expected).max() > 0.01


def test_columns_that_the_encoder_does_not_know_are_not_used(encoder):
    more = PATIENTS.assign(age=np.arange(5) * 1e6, site=-3.0)
    np.testing.assert_allclose(encoder.transform(more), encoder.transform(PATIENTS), atol=1e-12)
    report = encoder.match_report(more)
    assert (report.n_matched, report.n_missing, report.n_extra, report.extra) == (12, 0, 2, ("age", "site"))


def test_a_missing_gene_is_as_a_cell_that_is_missing_for_everybody(encoder):
    fewer = PATIENTS.drop(columns=["G1", "G7"])
    holes = PATIENTS.assign(G1=np.nan, G7=np.nan)
    np.testing.assert_allclose(encoder.transform(fewer), encoder.transform(holes), atol=1e-12)
    report = encoder.match_report(fewer)
    assert (report.n_matched, report.n_missing, report.missing) == (10, 2, ("G1", "G7"))
    # it adds nothing, whatever the public mean of that gene
    seen = [place for place, gene in enumerate(GENES) if gene in fewer]
    alone = PublicEncoder(n_components=3, sample_scaling=encoder.sample_scaling)
    alone.mean_, alone.components_ = encoder.mean_[seen], encoder.components_[:, seen]
    alone.n_features_in_ = 10
    np.testing.assert_allclose(encoder.transform(fewer), alone.transform(fewer.to_numpy()), atol=1e-12)


def test_filling_with_zero_before_scaling_would_be_seen():
    encoder = PublicEncoder(n_components=3, sample_scaling="standardize").fit(PUBLIC + 5, LABELS)
    patients = PATIENTS + 5
    filled = patients.assign(G1=0.0)
    assert abs(encoder.transform(filled) - encoder.transform(patients.drop(columns="G1"))).max() > 0.05


def test_case_and_spaces_count_only_where_a_name_is_not_there_as_written(encoder):
    loose = PATIENTS.rename(columns={"G3": " g3", "G4": "g4"})
    np.testing.assert_allclose(encoder.transform(loose), encoder.transform(PATIENTS), atol=1e-12)
    both = PATIENTS.assign(g3=1e6)  # G3 is there as written
    np.testing.assert_allclose(encoder.transform(both), encoder.transform(PATIENTS), atol=1e-12)
    assert encoder.match_report(both).extra == ("g3",)


def test_a_gene_measured_several_times_is_averaged_where_it_was_measured(encoder):
    split = PATIENTS.drop(columns="G3")
    split.insert(0, "G3", PATIENTS["G3"] - 1)
    split.insert(5, "G3", PATIENTS["G3"] + 1, allow_duplicates=True)
    np.testing.assert_allclose(encoder.transform(split), encoder.transform(PATIENTS), atol=1e-12)
    assert encoder.match_report(split).n_matched == 12
    split.iloc[:, 0] = np.nan  # one probe failed
    np.testing.assert_allclose(
        encoder.transform(split), encoder.transform(PATIENTS.assign(G3=PATIENTS["G3"] + 1)), atol=1e-12
    )
    split.iloc[:, 5] = np.nan  # both did
    np.testing.assert_allclose(encoder.transform(split), encoder.transform(PATIENTS.assign(G3=np.nan)), atol=1e-12)


def test_public_names_that_occur_twice_are_matched_in_order():
    match = match_genes(["A", "B", "A"], ["B", "A", "A"])
    assert match.sources == ((1,), (0,), (2,))
    assert match_genes(["A", "B", "A"], ["A", "B"]).sources == ((0,), (1,), (0,))


def test_too_few_genes_are_refused_with_public_words_only(encoder):
    few = PATIENTS.rename(columns={gene: f"ENSG{gene}" for gene in GENES[:7]})
    with pytest.raises(ValueError, match=r"at least 50%.*min_matched=0\.5.*5 of 12 genes") as error:
        encoder.transform(few)
    assert "G0, G1, G2, G3, G4, …" in str(error.value)
    assert "G5" not in str(error.value).replace("ENSGG5", "")
    patient = PATIENTS.iloc[[0]].rename(columns={gene: f"ENSG{gene}" for gene in GENES[:7]})
    with pytest.raises(ValueError, match="at least 50%") as other:
        encoder.transform(patient)
    assert str(other.value) == str(error.value)  # no patient changes it
    lenient = PublicEncoder(n_components=3, min_matched=0.4).fit(PUBLIC, LABELS)
    assert lenient.transform(few).shape == (5, 3)
    none = PublicEncoder(n_components=3, min_matched=0).fit(PUBLIC, LABELS)
    with pytest.raises(ValueError, match="0 of 12 genes"):
        none.transform(PATIENTS.add_prefix("ENSG"))


def test_the_report_is_readable():
    report = match_genes(GENES, [*GENES[:10], "x", "y"])
    assert repr(report) == "10 of 12 genes matched by name (83.3%); missing: 2 (G10, G11); not used: 2 (x, y)"
    frame = report.to_frame()
    assert frame["status"].value_counts().to_dict() == {"matched": 10, "missing": 2, "extra": 2}
    assert match_genes(GENES, GENES).to_frame().shape == (12, 3)
    assert repr(match_genes(GENES, GENES)) == "12 of 12 genes matched by name (100.0%)"


def test_a_report_needs_names_on_both_sides(encoder):
    nameless = PublicEncoder(n_components=3).fit(PUBLIC.to_numpy(), LABELS)
    for one, table in ((encoder, PATIENTS.to_numpy()), (nameless, PATIENTS)):
        with pytest.raises(ValueError, match="Pass DataFrames"):
            one.match_report(table)


def test_tables_without_names_are_taken_in_order(encoder):
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        found = encoder.transform(PATIENTS.to_numpy())
    np.testing.assert_array_equal(found, encoder.transform(PATIENTS))
    assert column_names(PATIENTS.set_axis(range(12), axis=1)) is None
    assert column_names(PATIENTS.to_numpy()) is None


def test_frames_keep_their_patients(encoder):
    framed = encoder.set_output(transform="pandas").transform(PATIENTS[GENES[::-1][:9]])
    assert framed.index.tolist() == PATIENTS.index.tolist()
    assert framed.columns.tolist() == ["publicencoder0", "publicencoder1", "publicencoder2"]
    assert encoder.set_output(transform="polars").transform(PATIENTS).shape == (5, 3)


def test_words_in_a_matched_column_are_refused_discreetly(encoder):
    words = PATIENTS.drop(columns="G0").assign(G3="Smith")
    with pytest.raises(ValueError, match="numeric") as error:
        encoder.transform(words)
    assert "Smith" not in str(error.value)


def test_words_in_a_column_that_is_not_used_do_no_harm(encoder):
    np.testing.assert_allclose(
        encoder.transform(PATIENTS.assign(name="Smith")), encoder.transform(PATIENTS), atol=1e-12
    )
