"""Modalities side by side: what is in a row, what is not, and what is refused before anything is read."""

import pickle
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline

from skdpal import BudgetExhausted, DPPrototypeClassifier, PublicEncoder
from skdpal.cohort import ClinicalEncoder, Modality, ModalityBlocks
from skdpal.datasets import load_miniacc
from skdpal.privacy import PrivacyBudget, PrivacyLedger, epsilon_of, events

GROUPS = {"rna": "rna:", "mirna": "mirna:", "rppa": "rppa:"}
DELTA = 1e-5


@pytest.fixture(scope="module")
def acc():
    return load_miniacc(as_frame=True)


@pytest.fixture(scope="module")
def blocks(acc):
    return ModalityBlocks(GROUPS).fit(acc.data.iloc[:26], acc.target.iloc[:26])


def lacking(acc, name):
    """Who lacks a modality."""
    return acc.data.filter(regex=f"^{name}:").isna().all(axis=1).to_numpy()


# ---- rows --------------------------------------------------------------------------------------------------------


def test_each_block_is_its_encoders_row_times_its_clipping_norm(acc, blocks):
    rows = blocks.transform(acc.data)
    for name, encoder in blocks.encoders_.items():
        there = ~lacking(acc, name)
        own = acc.data.filter(regex=f"^{name}:")
        own.columns = own.columns.str.removeprefix(f"{name}:")
        found = rows.filter(regex=f"^{name}__").to_numpy()
        np.testing.assert_allclose(found[there], encoder.transform(own[there]) / np.sqrt(3))
        assert (found[~there] == 0.0).all()
    assert lacking(acc, "rppa").sum() > 20
    lengths = np.linalg.norm(rows, axis=1)
    assert lengths.max() <= 1.0 + 1e-12
    np.testing.assert_allclose(lengths[lacking(acc, "rppa")], np.sqrt(2 / 3))  # nobody gets what another block leaves


def test_names_and_patients_are_kept(acc, blocks):
    rows = blocks.transform(acc.data)
    assert rows.index.equals(acc.data.index)
    assert list(rows.columns) == list(blocks.get_feature_names_out())
    assert rows.columns[0] == "rna__0"
    assert rows.columns[-1] == "rppa__7"


@pytest.mark.parametrize("order", [["rna", "rppa", "mirna"], ["rppa", "mirna", "rna"]])
def test_a_patients_block_depends_on_nothing_else(acc, blocks, order):
    """Neither other patients, nor what else the patient has, nor the order of tables."""
    alone = acc.data.iloc[[40]]
    everybody = blocks.transform(acc.data).iloc[[40]]
    pd.testing.assert_frame_equal(blocks.transform(alone), everybody)
    for name in GROUPS:
        without = alone.copy()
        without.loc[:, without.columns.str.startswith(f"{name}:")] = np.nan
        found = blocks.transform(without)
        assert (found.filter(regex=f"^{name}__") == 0.0).all(axis=None)
        others = [column for column in found.columns if not column.startswith(f"{name}__")]
        pd.testing.assert_frame_equal(found[others], everybody[others])
    tables = {name: acc.modalities[name].loc[lambda table: table.index.isin(alone.index)] for name in order}
    np.testing.assert_allclose(blocks.transform(tables, patients=alone.index), everybody)


def test_a_dict_of_tables_gives_the_same_rows_as_one_table(acc, blocks):
    tables = {name: acc.modalities[name] for name in GROUPS}
    np.testing.assert_allclose(blocks.transform(tables, patients=acc.data.index), blocks.transform(acc.data))
    only = blocks.transform({"rna": acc.modalities["rna"]})
    assert (only.filter(regex="^(mirna|rppa)__") == 0.0).all(axis=None)
    assert len(only) == 79


def test_zero_patients_are_fine(acc, blocks):
    assert blocks.transform(acc.data.iloc[:0]).shape == (0, 24)


def test_clipping_norms_are_shares(acc):
    unequal = {"rna": Modality("rna:", clipping_norm=2.0), "rppa": Modality("rppa:", clipping_norm=1.0)}
    blocks = ModalityBlocks(unequal).fit(acc.data.iloc[:26], acc.target.iloc[:26])
    assert blocks.layout.norms == pytest.approx({"rna": 2 / np.sqrt(5), "rppa": 1 / np.sqrt(5)})
    rows = blocks.transform(acc.data[~lacking(acc, "rppa")])
    np.testing.assert_allclose(np.linalg.norm(rows.filter(regex="^rna__"), axis=1), 2 / np.sqrt(5))
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0)


def test_encoders_learn_from_who_has_the_modality(acc):
    public, labels = acc.data.iloc[:26], acc.target.iloc[:26]
    blocks = ModalityBlocks({"rppa": "rppa:"}).fit(public, labels)
    own = public.filter(regex="^rppa:").dropna(how="all")
    own.columns = own.columns.str.removeprefix("rppa:")
    np.testing.assert_allclose(
        blocks.encoders_["rppa"].components_, PublicEncoder().fit(own, labels.loc[own.index]).components_
    )


def test_out_of_sample_rows_did_not_shape_their_encoder(acc, blocks):
    public, labels = acc.data.iloc[:26], acc.target.iloc[:26]
    honest, seen = blocks.out_of_sample(public, labels), blocks.transform(public)
    assert list(honest.columns) == list(seen.columns)
    for name, encoder in blocks.encoders_.items():
        there = ~lacking(acc, name)[:26]
        own = public.filter(regex=f"^{name}:")[there].rename(columns=lambda column: column.split(":")[1])
        found = honest.filter(regex=f"^{name}__").to_numpy()
        np.testing.assert_allclose(found[there], encoder.out_of_sample(own, labels[there]) / np.sqrt(3))
        assert (found[~there] == 0.0).all()
        assert not np.allclose(found, seen.filter(regex=f"^{name}__"))


def test_a_clinical_block_keeps_its_own_names(acc):
    encoder = ClinicalEncoder(numeric={"years_to_birth": (0, 100)}, categorical={"gender": ["female", "male"]})
    clinical = acc.obs[["years_to_birth", "gender"]]
    blocks = ModalityBlocks({"rna": None, "clinical": Modality(encoder=encoder)})
    tables = {"rna": acc.modalities["rna"], "clinical": clinical}
    rows = blocks.fit(tables, acc.target).transform(tables)
    assert [name for name in rows.columns if name.startswith("clinical__")] == [
        f"clinical__{name}" for name in encoder.get_feature_names_out()
    ]
    assert len(rows) == 92


# ---- frozen ------------------------------------------------------------------------------------------------------


def test_it_is_frozen_once_fitted(acc, blocks):
    assert clone(blocks) is blocks
    assert blocks.frozen_on_public
    with pytest.raises(ValueError, match="frozen"):
        blocks.fit(acc.data, acc.target)
    with pytest.raises(ValueError, match="frozen"):
        blocks.set_params(modalities={})
    np.testing.assert_array_equal(blocks.fit_transform(acc.data, acc.target), blocks.transform(acc.data))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(blocks)).transform(acc.data), blocks.transform(acc.data))


def test_it_never_fits_on_what_a_pipeline_gives_it(acc):
    fresh = ModalityBlocks(GROUPS)
    assert not fresh.frozen_on_public
    with pytest.raises(NotFittedError, match="public"):
        fresh.fit_transform(acc.data, acc.target)
    with pytest.raises(NotFittedError, match="public"):
        fresh.transform(acc.data)


def test_fitted_encoders_are_taken_as_they_are(acc):
    own = acc.modalities["rna"]
    encoder = PublicEncoder(n_components=4).fit(own.iloc[:30])
    blocks = ModalityBlocks({"rna": Modality("rna:", encoder)})
    assert blocks.frozen_on_public
    fitted = clone(blocks).fit(acc.data.iloc[:26], acc.target.iloc[:26])
    assert fitted.encoders_["rna"] is encoder
    np.testing.assert_array_equal(blocks.transform(acc.data), fitted.transform(acc.data))


def test_an_encoder_that_may_learn_later_is_refused(acc):
    public, labels = acc.data.iloc[:26], acc.target.iloc[:26]
    with pytest.raises(TypeError, match=re.escape("FrozenEstimator(encoder)")):
        ModalityBlocks({"rna": Modality("rna:", PCA(3))}).fit(public, labels)
    own = public.filter(regex="^rna:")
    pca = FrozenEstimator(PCA(3).fit(own))
    rows = ModalityBlocks({"rna": Modality(list(own.columns), pca)}).transform(acc.data)
    assert np.linalg.norm(rows, axis=1).max() <= 1 + 1e-12


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modalities", "words"),
    [
        ({}, "at least one"),
        ({"": "rna:"}, "words"),
        ({"rna": []}, "to have columns"),
        ({"rna": "proteome:"}, "begins with 'proteome:'"),
        ({"rna": ["rna:G6PD", "rna:nothing"]}, "rna:nothing"),
        ({"rna": ["rna:G6PD", "rna:EGFR"], "again": ["rna:EGFR"]}, "overlap.*'rna:EGFR'"),
    ],
)
def test_bad_groups_are_refused_before_anything_is_charged(acc, ledger, modalities, words):
    def pipeline():
        return make_pipeline(ModalityBlocks(modalities), DPPrototypeClassifier(ledger=ledger, classes=["C1A", "C1B"]))

    with pytest.raises(ValueError, match=f"Expected .*{words}"):
        ModalityBlocks(modalities).fit(acc.data, acc.target)
    with pytest.raises((ValueError, NotFittedError)):
        pipeline().fit(acc.data, acc.target)
    assert ledger.spent() == 0


def test_a_table_without_the_columns_of_a_modality_is_refused(acc, blocks):
    with pytest.raises(ValueError, match="'rppa'"):
        blocks.transform(acc.data.filter(regex="^rna:|^mirna:"))


def test_labels_of_other_patients_are_refused(acc):
    with pytest.raises(ValueError, match="same order"):
        ModalityBlocks(GROUPS).fit(acc.data.iloc[:26], acc.target.iloc[1:27])
    with pytest.raises(ValueError, match="Series"):
        ModalityBlocks({"rna": None, "rppa": None}).fit(acc.modalities, acc.target.to_numpy())


@pytest.mark.parametrize("arguments", [{"clipping_norm": 0.0}, {"epsilon": -1.0}])
def test_bad_shares_and_budgets_are_refused(arguments):
    with pytest.raises(ValueError, match="Expected"):
        Modality("rna:", **arguments)


# ---- early fusion, budgets -----------------------------------------------------------------------------------------


def test_early_fusion_is_a_pipeline_that_charges_the_patient(acc, blocks, ledger):
    prior = DPPrototypeClassifier.prior_from_public(blocks.transform(acc.data.iloc[:26]), acc.target.iloc[:26])
    model = make_pipeline(blocks, DPPrototypeClassifier(2.0, prior, ledger=ledger)).fit(
        acc.data.iloc[26:], acc.target.iloc[26:]
    )
    assert ledger.spent() == pytest.approx(epsilon_of([events.gaussian(2.0)], DELTA), rel=1e-6)
    assert model.predict(acc.data.iloc[26:]).shape == (52,)
    with pytest.raises(BudgetExhausted):
        model.fit(acc.data.iloc[26:], acc.target.iloc[26:])


def test_budgets_become_caps_and_noise():
    budgets = {"rna": 1.0, "methylation": 0.5, "clinical": 0.5}
    blocks = ModalityBlocks({name: Modality(f"{name}:", epsilon=epsilon) for name, epsilon in budgets.items()})
    ledger = PrivacyLedger(PrivacyBudget(2.0, DELTA))
    caps = blocks.cap(ledger)
    assert blocks.caps == budgets
    for releases in (1, 3):
        for name, noise in blocks.noise_multipliers(DELTA, releases=releases).items():
            assert epsilon_of([events.gaussian(noise, steps=releases)], DELTA) == pytest.approx(budgets[name], rel=1e-6)
    assert all(
        cap.affords(events.gaussian(noise))
        for cap, noise in zip(caps.values(), blocks.noise_multipliers(DELTA).values(), strict=True)
    )
    with pytest.raises(ValueError, match="no|none"):
        ModalityBlocks({"rna": "rna:"}).noise_multipliers(DELTA)


@pytest.mark.parametrize("how", ["pandas", "default"])
def test_set_output_keeps_names_and_patients(acc, blocks, how):
    rows = ModalityBlocks(GROUPS).set_output(transform=how).fit(acc.data.iloc[:26], acc.target.iloc[:26])
    pd.testing.assert_frame_equal(rows.transform(acc.data), blocks.transform(acc.data))
    pd.testing.assert_frame_equal(rows.fit_transform(acc.data), blocks.transform(acc.data))
