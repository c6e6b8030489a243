"""The frozen public encoder."""

import copy
import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline

from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger, PublicEncoder
from skdpal.model_selection import public_scorer


@pytest.fixture
def fresh(srbct):
    return PublicEncoder(n_components=6).fit(srbct.X_public, srbct.y_public)


def test_rows_have_length_one(embedded, srbct):
    assert np.linalg.norm(embedded.X, axis=1) == pytest.approx(np.ones(37))
    assert embedded.encoder.transform(srbct.X[:0]).shape == (0, 16)


def test_within_class_covariance_is_white_up_to_shrinkage(srbct):
    encoder = PublicEncoder(n_components=10).fit(srbct.X_public, srbct.y_public)
    X, y = srbct.X_public.to_numpy() - encoder.mean_, srbct.y_public
    residual = X - np.array([X[y == label].mean(axis=0) for label in y])

    def spread(directions):
        values = np.linalg.eigvalsh((residual @ directions.T).T @ (residual @ directions.T) / len(X))
        return values.max() / values.min()

    principal = np.linalg.svd(X, full_matrices=False)[2][:10]
    assert spread(encoder.components_) < spread(principal) / 3
    # undoing the declared shrinkage, it is white exactly
    within = (residual @ principal.T).T @ (residual @ principal.T) / len(X)
    target = (1 - encoder.shrinkage_) * within + encoder.shrinkage_ * np.trace(within) / 10 * np.eye(10)
    whitening = encoder.components_ @ principal.T
    assert whitening @ target @ whitening.T == pytest.approx(np.eye(10), abs=1e-6)


def test_total_covariance_is_used_without_labels(srbct):
    encoder = PublicEncoder(n_components=5).fit(srbct.X_public)
    assert encoder.transform(srbct.X).shape == (37, 5)


def test_a_frozen_encoder_does_not_learn(fresh, srbct):
    for attempt in (
        lambda: fresh.fit(srbct.X_public, srbct.y_public),
        lambda: fresh.set_params(n_components=3),
    ):
        with pytest.raises(ValueError, match="frozen"):
            attempt()
    assert clone(fresh) is copy.copy(fresh) is copy.deepcopy(fresh) is fresh
    with pytest.raises(ValueError, match="read-only"):
        fresh.components_[0, 0] = 0
    before = pickle.dumps(fresh)
    assert (fresh.fit_transform(srbct.X) == fresh.transform(srbct.X)).all()
    assert pickle.dumps(fresh) == before


def test_an_unfitted_encoder_does_not_learn_by_accident(srbct):
    encoder = PublicEncoder(n_components=4)
    with pytest.raises(NotFittedError, match="would read private rows"):
        encoder.fit_transform(srbct.X)
    with pytest.raises(NotFittedError):
        encoder.transform(srbct.X)
    assert clone(encoder) is not encoder
    assert clone(encoder).n_components == copy.copy(encoder).n_components == copy.deepcopy(encoder).n_components == 4
    assert encoder.set_params(n_components=3).n_components == 3


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_pipelines_and_searches_leave_encoder_and_prior_as_they_were(srbct, embedded, tmp_path, n_jobs):
    ledger = PrivacyLedger.create(tmp_path / "a.ledger", PrivacyBudget(50.0))
    model = DPPrototypeClassifier(4.0, prior=embedded.prior, ledger=ledger)
    pipeline = make_pipeline(embedded.encoder, model)
    before = [embedded.encoder.components_.copy(), embedded.encoder.mean_.copy(), embedded.prior.means.copy()]
    pipeline.fit(srbct.X, srbct.y)
    grid = {"dpprototypeclassifier__noise_multiplier": [3.0, 6.0]}
    search = GridSearchCV(
        pipeline, grid, cv=KFold(3), scoring=public_scorer("accuracy"), n_jobs=n_jobs, error_score="raise"
    )
    search.fit(srbct.X, srbct.y)
    assert search.best_estimator_[0].transform(srbct.X) == pytest.approx(embedded.X)
    assert pipeline[0] is embedded.encoder
    assert pipeline[1].prior is embedded.prior
    after = [embedded.encoder.components_, embedded.encoder.mean_, embedded.prior.means]
    assert all((old == new).all() for old, new in zip(before, after, strict=True))
    assert len(ledger.receipts()) == 1 + 2 * 3 + 1


def test_out_of_sample_rows_did_not_shape_their_encoder(srbct):
    X, y = srbct.X_public.to_numpy()[:12], srbct.y_public.to_numpy()[:12]
    # a huge outlier would pull an encoder that saw it towards itself: in sample it dominates, out of sample it does not
    rng = np.random.default_rng(0)
    X = np.vstack([X, rng.normal(size=X.shape[1]) * 100])
    y = np.append(y, y[0])
    encoder = PublicEncoder(n_components=3).fit(X, y)
    honest = encoder.out_of_sample(X, y)
    assert honest.shape == (13, 3)
    assert np.linalg.norm(honest, axis=1) == pytest.approx(np.ones(13))
    assert not np.allclose(honest[-1], encoder.transform(X)[-1], atol=0.05)


def test_out_of_sample_rows_lie_farther_from_their_class(embedded, srbct):
    codes = np.searchsorted(embedded.prior.classes, srbct.y_public.to_numpy(dtype=str))

    def distance(rows):
        return np.linalg.norm(rows - embedded.prior.means[codes], axis=1).mean()

    assert distance(embedded.reference) != pytest.approx(distance(embedded.X_public))
    nearest = ((embedded.reference[:, None] - embedded.prior.means) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == codes).mean() > 0.95  # the axes were rotated back


def test_folds_when_there_are_many_rows(srbct, embedded):
    few = embedded.encoder.out_of_sample(srbct.X_public, srbct.y_public, max_fits=5)
    assert few.shape == (46, 16)


def test_full_rank_has_a_reference_too(srbct):
    X, y = srbct.X_public.to_numpy(), srbct.y_public.to_numpy()
    assert PublicEncoder(n_components=45).fit(X, y).out_of_sample(X, y, max_fits=3).shape == (46, 45)


def test_standardising_forgets_scale_and_offset_of_each_sample(srbct, embedded):
    moved = srbct.X.mul(np.linspace(1, 3, 37), axis=0).add(np.linspace(-2, 2, 37), axis=0)
    assert embedded.encoder.transform(moved) == pytest.approx(embedded.X)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"method": "ica"}, "method"),
        ({"n_components": 0}, "n_components"),
        ({"n_components": 46}, "at most 45"),
        ({"sample_scaling": "quantile"}, "sample_scaling"),
        ({"min_matched": 1.5}, "min_matched"),
        ({"method": "neural", "widths": (64, 4)}, "at least n_components=8"),
        ({"method": "neural", "widths": ()}, "at least n_components=8"),
        ({"method": "neural", "widths": (0, 16)}, "widths"),
        ({"method": "neural", "patience": 0}, "patience"),
    ],
)
def test_bad_parameters_are_named(parameters, words, srbct):
    with pytest.raises(ValueError, match=words):
        PublicEncoder().set_params(**parameters).fit(srbct.X_public, srbct.y_public)


def test_bad_rows_are_refused(fresh, srbct):
    broken = srbct.X.copy()
    broken.iloc[0, 0] = np.inf
    with pytest.raises(ValueError, match="X to be finite"):
        fresh.transform(broken)
    with pytest.raises(ValueError, match="one label for each row"):
        PublicEncoder().fit(srbct.X_public, srbct.y_public[:5])
    unmeasured = srbct.A_public.copy()
    unmeasured[:, 3] = np.nan
    with pytest.raises(ValueError, match="all NaN"):
        PublicEncoder().fit(unmeasured)
    with pytest.raises(ValueError, match="Expected y"):
        fresh.out_of_sample(srbct.X_public, None)
    with pytest.raises(ValueError, match="max_fits"):
        fresh.out_of_sample(srbct.X_public, srbct.y_public, max_fits=1)


def test_it_says_whether_it_is_frozen(fresh):
    assert fresh.frozen_on_public
    assert not PublicEncoder().frozen_on_public


def test_names_and_frames_come_out(fresh, srbct):
    assert fresh.get_feature_names_out().tolist()[0] == "publicencoder0"
    framed = PublicEncoder(n_components=3).set_output(transform="pandas").fit(srbct.X_public, srbct.y_public)
    assert framed.transform(srbct.X).index.tolist() == srbct.X.index.tolist()
