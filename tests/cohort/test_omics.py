"""Predictions go back into AnnData and MuData, with where they come from and whether they may leave."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdpal import DPPrototypeClassifier
from skdpal.cohort.modalities.inputs import rows_of
from skdpal.cohort.omics import read_provenance, write_predictions
from skdpal.learner.model_file import load_model, save_model

CAUSES = ["dp_noise", "sampling", "transfer", "overlap"]


@pytest.fixture
def model(embedded, ledger):
    """Released on 30 of 37 tumours."""
    model = DPPrototypeClassifier(noise_multiplier=2.0, prior=embedded.prior, ledger=ledger)
    return model.fit(embedded.X[:30], embedded.y[:30], record_ids=embedded.ids[:30])


@pytest.fixture
def tumours(omics_packages, srbct):
    anndata, _ = omics_packages
    return anndata.AnnData(srbct.X, obs=pd.DataFrame({"ward": 7}, index=srbct.X.index))


def pipeline(embedded, model):
    return make_pipeline(embedded.encoder, model)


def check_written(data, embedded, model):
    """What is there is what the model says."""
    assert data.obs["skdpal_label"].tolist() == model.predict(embedded.X).tolist()
    assert data.obs["skdpal_label"].cat.categories.tolist() == model.classes_.tolist()
    np.testing.assert_allclose(data.obsm["skdpal_proba"], model.predict_proba(embedded.X))
    assert list(data.obsm["skdpal_proba"].columns) == model.classes_.tolist()
    np.testing.assert_allclose(data.obs[[f"skdpal_{cause}" for cause in CAUSES]], model.uncertainty(embedded.X))


def test_predictions_and_where_they_come_from(tumours, embedded, model, ledger):
    write_predictions(tumours, pipeline(embedded, model), rows_of(tumours), about="patients")
    check_written(tumours, embedded, model)
    assert tumours.obs["ward"].eq(7).all()
    told, certificate = read_provenance(tumours), ledger.certificate()
    assert told["status"] == "valid"
    assert (told["epsilon"], told["delta"]) == (2.0, 1e-5)
    assert told["adjacency"] == "zero-out"
    assert told["journal_head"] == certificate["journal_head"]
    assert told["classes"] == ["BL", "EWS", "NB", "RMS"]
    assert told["model"] == "DPPrototypeClassifier"
    assert told["fingerprint"] == model.fingerprint()
    assert [receipt["label"] for receipt in told["certificate"]["receipts"]] == ["fit"]
    assert "numpy" in told["certificate"]["versions"]


def test_predictions_for_patients_stay_and_for_public_rows_may_leave(tumours, embedded, model):
    told = {}
    for about in ("patients", "public"):
        write_predictions(tumours, model, embedded.X, about=about)
        told[about] = read_provenance(tumours)
    assert told["patients"]["may_leave"] is False
    assert "a release of that patient" in told["patients"]["in_words"]
    assert told["public"]["may_leave"] is True


def test_whose_rows_they_are_has_to_be_said(tumours, embedded, model):
    with pytest.raises(TypeError, match="about"):
        write_predictions(tumours, model, embedded.X)
    with pytest.raises(ValueError, match="Expected about.*Say whose rows"):
        write_predictions(tumours, model, embedded.X, about="tumours")


def test_h5ad_keeps_everything(tumours, embedded, model, omics_packages, tmp_path):
    anndata, _ = omics_packages
    write_predictions(tumours, model, embedded.X, about="patients")
    tumours.write_h5ad(tmp_path / "tumours.h5ad")
    again = anndata.read_h5ad(tmp_path / "tumours.h5ad")
    check_written(again, embedded, model)
    assert read_provenance(again) == read_provenance(tumours)
    json.dumps(read_provenance(again))
    write_predictions(again, model, embedded.X, about="public")  # replaces it
    assert read_provenance(again)["may_leave"]


def test_h5mu_keeps_everything(tumours, embedded, model, omics_packages, tmp_path):
    anndata, mudata = omics_packages
    other = anndata.AnnData(np.ones((3, 2)), obs=pd.DataFrame(index=tumours.obs_names[:3]))
    other.var_names = ["a", "b"]
    data = mudata.MuData({"rna": tumours, "other": other})
    rows = pd.DataFrame(embedded.X, index=tumours.obs_names)
    write_predictions(data, model, rows, about="patients")
    data.write_h5mu(tmp_path / "tumours.h5mu")
    again = mudata.read_h5mu(tmp_path / "tumours.h5mu")
    check_written(again[embedded.ids], embedded, model)
    assert read_provenance(again) == read_provenance(data)
    again.update()
    check_written(again[embedded.ids], embedded, model)


def test_rows_are_matched_by_name_and_who_has_none_gets_none(tumours, embedded, model):
    rows = pd.DataFrame(embedded.X, index=embedded.ids).iloc[[5, 2]]
    write_predictions(tumours, model, rows, about="patients")
    known = tumours.obs["skdpal_label"].notna()
    assert known.to_numpy().nonzero()[0].tolist() == [2, 5]
    np.testing.assert_allclose(tumours.obsm["skdpal_proba"].to_numpy()[[5, 2]], model.predict_proba(embedded.X[[5, 2]]))
    assert tumours.obsm["skdpal_proba"][~known].isna().all(axis=None)


def test_two_tables_lie_side_by_side(tumours, embedded, model):
    write_predictions(tumours, model, embedded.X, about="patients")
    write_predictions(tumours, model.public_model(), embedded.X, about="public", key="before")
    assert read_provenance(tumours)["status"] == "valid"
    assert read_provenance(tumours, "before")["status"].startswith("no ledger")
    assert {"skdpal_label", "before_label"} <= set(tumours.obs)


# -- how sure it is --------------------------------------------------------------------------------


def test_a_void_certificate_is_told(tumours, embedded, model, ledger):
    ledger.mark_void("chosen by uncharged scores")
    write_predictions(tumours, model, embedded.X, about="public")
    told = read_provenance(tumours)
    assert told["status"] == "void: chosen by uncharged scores"
    assert not told["may_leave"]


def test_a_simulation_is_told(tumours, embedded, budget, simulated):
    from skdpal import PrivacyLedger

    model = DPPrototypeClassifier(prior=embedded.prior, ledger=PrivacyLedger(budget)).fit(embedded.X, embedded.y)
    write_predictions(tumours, model, embedded.X, about="public")
    assert read_provenance(tumours)["status"].startswith("simulation")
    assert not read_provenance(tumours)["may_leave"]


def test_a_model_without_a_ledger_is_told(tumours, embedded, simulated):
    model = DPPrototypeClassifier(prior=embedded.prior).fit(embedded.X, embedded.y)
    write_predictions(tumours, model, embedded.X, about="public")
    told = read_provenance(tumours)
    assert told["status"].startswith("no ledger")
    assert not told["may_leave"]
    assert "certificate" not in told
    assert "epsilon" not in told


def test_a_ledger_that_paid_for_nothing_is_told(tumours, embedded, model, budget):
    """A model that was moved to a fresh ledger."""
    from skdpal import PrivacyLedger

    model.set_params(ledger=PrivacyLedger(budget))
    write_predictions(tumours, model, embedded.X, about="public")
    assert read_provenance(tumours)["status"].startswith("void: no receipt")
    assert not read_provenance(tumours)["may_leave"]


def test_a_model_from_a_file_brings_its_certificate(tumours, embedded, model, ledger, tmp_path):
    save_model(tmp_path / "model.npz", embedded.encoder, model)
    loaded = load_model(tmp_path / "model.npz")
    write_predictions(tumours, loaded, rows_of(tumours), about="public", certificate=ledger.certificate())
    check_written(tumours, embedded, model)
    told = read_provenance(tumours)
    assert told["status"] == "valid"
    assert told["journal_head"] == ledger.certificate()["journal_head"]
    with pytest.raises(ValueError, match="without a ledger"):
        write_predictions(tumours, model, embedded.X, about="public", certificate=ledger.certificate())
    with pytest.raises(ValueError, match="one of a ledger"):
        write_predictions(tumours, loaded, rows_of(tumours), about="public", certificate={"epsilon": 0.1})


# -- two worlds ------------------------------------------------------------------------------------


def everything(tumours, embedded, model):
    """All that is written, but who is in the data."""
    data = tumours.copy()
    write_predictions(data, model, embedded.X, about="patients")
    told = read_provenance(data)
    return json.dumps({name: told[name] for name in told}, default=str), data


def test_nothing_written_depends_on_how_many_taught_the_model(tumours, embedded, budget):
    """The same release, as if of one patient more: provenance is the same to the letter, and so is its size."""
    from skdpal import PrivacyLedger
    from skdpal.privacy.randomness import simulation

    texts = []
    for number in (30, 29):
        with simulation(seed=3):
            ledger = PrivacyLedger(budget)
            model = DPPrototypeClassifier(noise_multiplier=2.0, prior=embedded.prior, ledger=ledger)
            ids = embedded.ids[:number]
            model.fit(embedded.X[:number], embedded.y[:number], record_ids=ids, expected_records=30)
        text, _ = everything(tumours, embedded, model)
        told = json.loads(text)
        for changing in ("fingerprint", "journal_head"):  # of the noisy numbers; of the day and the ledger's name
            told.pop(changing)
            told["certificate"].pop(changing, None)
        texts.append(told)
    for told in texts:
        told["certificate"].pop("created")
    assert texts[0] == texts[1]


def test_one_row_moves_one_prediction(tumours, embedded, model):
    """Another patient's row changes that patient's entries and no others."""
    write_predictions(tumours, model, embedded.X, about="patients")
    moved = embedded.X.copy()
    moved[4] = -moved[4]
    other = tumours.copy()
    write_predictions(other, model, moved, about="patients")
    same = np.arange(len(moved)) != 4
    pd.testing.assert_frame_equal(tumours.obs[same], other.obs[same])
    pd.testing.assert_frame_equal(tumours.obsm["skdpal_proba"][same], other.obsm["skdpal_proba"][same])
    assert not np.allclose(tumours.obsm["skdpal_proba"].iloc[4], other.obsm["skdpal_proba"].iloc[4])
    assert read_provenance(tumours) == read_provenance(other)


# -- refusals --------------------------------------------------------------------------------------


def test_only_a_released_model_may_write(tumours, embedded):
    exact = LogisticRegression().fit(embedded.X, embedded.y)
    with pytest.raises(ValueError, match="Found LogisticRegression"):
        write_predictions(tumours, exact, embedded.X, about="patients")
    with pytest.raises(ValueError, match="not fitted"):
        write_predictions(tumours, DPPrototypeClassifier(), embedded.X, about="patients")
    assert not tumours.uns
    assert list(tumours.obs) == ["ward"]


def test_a_scaler_fitted_on_patients_may_not_speak(tumours, embedded, model):
    leaky = make_pipeline(StandardScaler().fit(embedded.X), model)
    with pytest.raises(ValueError, match="StandardScaler learns from private rows"):
        write_predictions(tumours, leaky, embedded.X, about="patients")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (lambda X, ids: X[:5], "one for each of obs_names"),
        (lambda X, ids: pd.DataFrame(X), None),
        (lambda X, ids: pd.DataFrame(X[:2], index=["stranger", ids[0]]), "Found others"),
        (lambda X, ids: pd.DataFrame(X[:2], index=[ids[0], ids[0]]), "each patient once"),
    ],
)
def test_rows_have_to_be_those_of_the_data(tumours, embedded, model, rows, expected):
    given = rows(embedded.X, embedded.ids)
    if expected is None:
        write_predictions(tumours, model, given, about="patients")
        return
    with pytest.raises(ValueError, match=expected) as error:
        write_predictions(tumours, model, given, about="patients")
    assert "stranger" not in str(error.value)
    assert "skdpal" not in tumours.uns


def test_columns_of_others_are_not_overwritten(tumours, embedded, model):
    tumours.obs["skdpal_label"] = "mine"
    with pytest.raises(ValueError, match="'skdpal_label' in data. Pass another key"):
        write_predictions(tumours, model, embedded.X, about="patients")
    write_predictions(tumours, model, embedded.X, about="patients", key="dp")
    tumours.uns["other"] = {"mine": 1}
    with pytest.raises(ValueError, match=r"\.uns\['other'\] to be free"):
        write_predictions(tumours, model, embedded.X, about="patients", key="other")
    with pytest.raises(ValueError, match="Pass the key that was written"):
        read_provenance(tumours, "other")


def test_views_and_tables_are_refused(tumours, embedded, model):
    with pytest.raises(ValueError, match="no view"):
        write_predictions(tumours[:5], model, embedded.X[:5], about="patients")
    with pytest.raises(ValueError, match="Found DataFrame"):
        write_predictions(rows_of(tumours), model, embedded.X, about="patients")


# -- several modalities ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:var_names are not unique:UserWarning")
def test_from_mudata_to_predictions_and_back(omics_packages, ledger, tmp_path):
    """Adrenocortical carcinomas: expression, proteins and clinical columns in, labels and doubts out; names are kept."""
    from skdpal.cohort import ClinicalEncoder, DPModalityClassifier, Modality, ModalityBlocks
    from skdpal.datasets import load_miniacc

    anndata, mudata = omics_packages
    cancers = load_miniacc(as_frame=True)
    clinical = {"clinical": ["years_to_birth", "pathologic_stage", "histological_type"]}

    def mudata_of(patients):
        parts = {name: cancers.modalities[name] for name in ("rna", "rppa")}
        data = mudata.MuData({name: anndata.AnnData(part[part.index.isin(patients)]) for name, part in parts.items()})
        data.obs = data.obs.join(cancers.obs[[*clinical["clinical"], "C1A.C1B"]])
        return data

    names = cancers.target.index
    public, private = mudata_of(names[:26]), mudata_of(names[26:])
    notes = ClinicalEncoder(
        {"years_to_birth": (0, 100)},
        {"pathologic_stage": [f"stage {level}" for level in ("i", "ii", "iii", "iv")]},
        ["histological_type"],
        n_text_features=8,
    )
    blocks = ModalityBlocks({"rna": None, "rppa": None, "clinical": Modality(None, encoder=notes)}, obs=clinical)
    blocks.fit(public, public.obs["C1A.C1B"])
    prior = DPModalityClassifier.prior_from_public(blocks.transform(public), public.obs["C1A.C1B"].tolist(), blocks)
    model = DPModalityClassifier(noise_multiplier=2.0, blocks=blocks, prior=prior, ledger=ledger)
    rows = blocks.transform(private)
    model.fit(rows, private.obs["C1A.C1B"].tolist())
    write_predictions(private, model, rows, about="patients")
    private.write_h5mu(tmp_path / "private.h5mu")
    again = mudata.read_h5mu(tmp_path / "private.h5mu")
    assert again.obs["skdpal_label"].astype(str).tolist() == model.predict(rows).tolist()
    assert (again.obs["skdpal_label"].astype(str) == again.obs["C1A.C1B"].astype(str)).mean() > 0.6
    told = read_provenance(again)
    assert told["status"] == "valid"
    assert told["certificate"]["receipts"][0]["event"]
    assert not told["may_leave"]
