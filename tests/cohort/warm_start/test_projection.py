"""Random directions by the names of genes: nothing is learnt, and a patient is embedded alike wherever and beside whomever."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from skdpal import BudgetGuard, DPPrototypeClassifier, PrivacyLedger
from skdpal.cohort import RandomProjection
from skdpal.privacy import epsilon_of, events


@parametrize_with_checks([RandomProjection(n_components=2)])
def test_it_keeps_scikit_learns_contract(estimator, check):
    check(estimator)


def test_every_row_has_length_one_and_pandas_names_survive(srbct):
    rows = RandomProjection(6).set_output(transform="pandas").fit(srbct.X).transform(srbct.X)
    assert list(rows.index) == list(srbct.X.index)
    assert list(rows.columns) == [f"randomprojection{place}" for place in range(6)]
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1)


@pytest.mark.parametrize("scaling", ["standardize", "rank"])
def test_a_patient_is_embedded_alike_in_any_company_and_order_of_columns(srbct, scaling):
    projection = RandomProjection(10, sample_scaling=scaling)
    together = projection.transform(srbct.X)
    np.testing.assert_allclose(projection.transform(srbct.X.iloc[[3]]), together[[3]])
    shuffled = srbct.X.sample(frac=1, axis=1, random_state=0)
    np.testing.assert_allclose(projection.transform(shuffled), together)
    lower = srbct.X.rename(columns=lambda name: f" {name.lower()}")
    np.testing.assert_allclose(projection.transform(lower), together)


def test_a_platforms_distortion_changes_no_rank(srbct):
    projection = RandomProjection(8, sample_scaling="rank")
    np.testing.assert_allclose(projection.transform(np.exp(srbct.X) * 7 + 1), projection.transform(srbct.X))


def test_nothing_is_learnt(srbct):
    fitted = RandomProjection(6).fit(srbct.X)
    np.testing.assert_array_equal(fitted.transform(srbct.X), RandomProjection(6).fit(-srbct.X).transform(srbct.X))
    np.testing.assert_array_equal(fitted.transform(srbct.X), clone(fitted).transform(srbct.X))
    assert {name for name in vars(fitted) if name.endswith("_")} == {"n_features_in_", "feature_names_in_"}


def test_the_seed_is_public_and_names_the_directions(srbct):
    first, second = (RandomProjection(6, seed=seed).transform(srbct.X) for seed in (0, 1))
    assert np.abs(first - second).max() > 0.1
    # pinned: a projection that changes between versions would make releases of two sites incomparable
    row = pd.DataFrame([[1.0, 2.0, 4.0, -3.0]], columns=["TP53", "MYCN", "MYOD1", "EGFR"])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(RandomProjection(4).transform(row)[0], [0, -half, 0, half], atol=1e-12)


def test_directions_are_balanced_and_independent():
    names = [f"gene {place}" for place in range(4000)]
    unit = pd.DataFrame(np.eye(4000), columns=names)
    signs = np.sign(RandomProjection(8).transform(unit - 1 / 4000))
    gram = signs.T @ signs / 4000
    assert np.abs(gram - np.eye(8)).max() < 5.5 / np.sqrt(4000)  # 36 pairs and means, 1e-6 in all
    assert np.abs(signs.mean(axis=0)).max() < 5.5 / np.sqrt(4000)


def test_missing_genes_and_cells_count_as_the_rows_own_mean(srbct):
    genes = list(srbct.X.columns[:500])
    projection = RandomProjection(6, genes=genes)
    holes = srbct.X.copy()
    holes[genes[:100]] = np.nan
    np.testing.assert_allclose(projection.transform(holes), projection.transform(srbct.X[genes[100:]]))
    report = projection.match_report(srbct.X[genes[100:]])
    assert (report.n_matched, report.n_missing, report.n_extra) == (400, 100, 0)


def test_a_gene_measured_twice_is_averaged():
    twice = pd.DataFrame([[1.0, 5.0, 2.0]], columns=["A", "A", "B"])
    once = pd.DataFrame([[3.0, 2.0]], columns=["A", "B"])
    np.testing.assert_allclose(RandomProjection(3).transform(twice), RandomProjection(3).transform(once))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n_components": 0}, "n_components"),
        ({"sample_scaling": None}, "Rows must be scaled"),
        ({"genes": []}, "genes"),
        ({"genes": "TP53"}, "genes"),
        ({"min_matched": 2}, "min_matched"),
    ],
)
def test_bad_parameters_are_named(srbct, options, words):
    with pytest.raises(ValueError, match=words):
        RandomProjection(**options).transform(srbct.X)


def test_bad_tables_are_refused_without_quoting_patients(srbct):
    genes = list(srbct.X.columns)
    with pytest.raises(ValueError, match=r"at least 50% .* 0 of 2,308 genes"):
        RandomProjection(genes=genes).transform(srbct.X.add_prefix("x"))
    with pytest.raises(ValueError, match="column names"):
        RandomProjection(genes=genes).transform(srbct.A)
    with pytest.raises(ValueError, match="Found none"):
        RandomProjection().match_report(srbct.A)
    with pytest.raises(ValueError, match="infinity"):
        RandomProjection().transform([[np.inf, 1.0]])
    with pytest.raises(ValueError, match="Reshape your data"):
        RandomProjection().transform(np.ones(3))


@pytest.mark.filterwarnings("ignore::skdpal.estimators.regime.WeakSignalWarning")
def test_a_budget_guard_knows_that_it_is_free(srbct, budget):
    ledger = PrivacyLedger(budget)
    model = make_pipeline(RandomProjection(4), DPPrototypeClassifier(2.0, classes=sorted(set(srbct.labels))))
    BudgetGuard(model, ledger=ledger).fit(srbct.A, srbct.labels)
    assert ledger.spent() == pytest.approx(epsilon_of([events.gaussian(2.0)], 1e-5))
