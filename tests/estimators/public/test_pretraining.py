"""A network pre-trained on public data, then as frozen as the linear encoder."""

import copy
import io
import pickle
import subprocess
import sys

import numpy as np
import pytest
from rich.console import Console
from sklearn.base import clone

from skdpal import PublicEncoder
from skdpal.estimators.public import pretraining

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
CENTRES = RNG.normal(size=(3, 60))
LABELS = np.array(["x", "y", "z"])[np.arange(60) % 3]


def rows(n_rows, seed):
    return CENTRES[np.arange(n_rows) % 3] + np.random.default_rng(seed).normal(size=(n_rows, 60))


PUBLIC, NEW = rows(60, 1), rows(30, 2)


def neural(**options):
    return PublicEncoder("neural", 4, widths=(32, 8), **{"random_state": 0, "max_epochs": 30, **options})


@pytest.fixture(scope="module")
def encoder():
    return neural().fit(PUBLIC, LABELS)


def separation(embedded):
    """Accuracy of the nearest class mean."""
    means = np.array([embedded[LABELS[: len(embedded)] == label].mean(axis=0) for label in "xyz"])
    nearest = ((embedded[:, None] - means) ** 2).sum(axis=2).argmin(axis=1)
    return (np.array(list("xyz"))[nearest] == LABELS[: len(embedded)]).mean()


@pytest.mark.parametrize("labels", [LABELS, None], ids=["labels", "without"])
@pytest.mark.parametrize("how", [None, "standardize", "rank"])
def test_it_learns_what_separates_the_classes(labels, how):
    embedded = neural(sample_scaling=how).fit(PUBLIC, labels).transform(NEW)
    assert np.linalg.norm(embedded, axis=1) == pytest.approx(np.ones(30))
    assert separation(embedded) > 0.7  # chance: 1/3


def test_it_is_frozen(encoder):
    assert encoder.frozen_on_public
    assert clone(encoder) is copy.copy(encoder) is copy.deepcopy(encoder) is encoder
    with pytest.raises(ValueError, match="frozen"):
        encoder.fit(PUBLIC, LABELS)
    assert not any(weight.requires_grad for weight in encoder.network_.network.parameters())
    assert not encoder.network_.network.training
    with pytest.raises(ValueError, match="read-only"):
        encoder.components_[0, 0] = 0
    before = [weight.clone() for weight in encoder.network_.network.parameters()]
    assert (encoder.fit_transform(NEW) == encoder.transform(NEW)).all()
    assert all((old == new).all() for old, new in zip(before, encoder.network_.network.parameters(), strict=True))


def test_a_pickle_embeds_alike(encoder):
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.transform(NEW), encoder.transform(NEW))
    assert again.frozen_on_public


def test_the_same_seed_gives_the_same_network(encoder):
    np.testing.assert_array_equal(neural().fit(PUBLIC, LABELS).transform(NEW), encoder.transform(NEW))
    other = neural(random_state=1).fit(PUBLIC, LABELS).transform(NEW)
    assert abs(other - encoder.transform(NEW)).max() > 0.01


def test_nobody_elses_random_numbers_depend_on_the_seed():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    neural(max_epochs=2).fit(PUBLIC, LABELS)
    assert (torch.rand(3) == expected).all()


def test_it_stops_when_the_hold_out_gets_no_better():
    encoder = neural(max_epochs=2000, patience=5).fit(RNG.normal(size=(60, 60)), LABELS)  # nothing to learn
    assert 1 <= encoder.network_.n_epochs < 300


def test_a_row_is_embedded_the_same_whoever_else_is_there(encoder):
    alone = np.vstack([encoder.transform(NEW[[place]]) for place in range(30)])
    np.testing.assert_allclose(encoder.transform(NEW), alone, atol=1e-4)
    holes = NEW.copy()
    holes[:, :20] = np.nan
    assert separation(encoder.transform(holes)) > 0.8


def test_rows_out_of_sample_are_embedded_by_networks_that_did_not_see_them(encoder, monkeypatch):
    seen = []

    def recording(inputs, *rest, train=pretraining._train):
        seen.append(len(inputs))
        return train(inputs, *rest)

    monkeypatch.setattr(pretraining, "_train", recording)
    honest = encoder.out_of_sample(PUBLIC, LABELS)
    assert seen == [48] * 5
    assert np.linalg.norm(honest, axis=1) == pytest.approx(np.ones(60))
    assert separation(honest) > 0.8  # the axes were rotated back


@pytest.mark.parametrize("labels", [np.arange(12), np.array([0] * 11 + [1])], ids=["all alone", "one alone"])
def test_classes_of_one_are_learnt_from(labels):
    encoder = neural(max_epochs=2).fit(PUBLIC[:12], labels)
    assert np.isfinite(encoder.transform(NEW)).all()


@pytest.mark.parametrize(
    ("verbose", "terminal", "shown"),
    [("auto", False, False), ("auto", True, True), (True, True, True), (False, True, False)],
)
def test_progress_is_shown_where_somebody_sees_it(verbose, terminal, shown, monkeypatch):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal)
    monkeypatch.setattr("rich.get_console", lambda: console)
    neural(max_epochs=3, verbose=verbose).fit(PUBLIC, LABELS)
    assert ("pre-training on public data" in screen.getvalue()) == shown


def test_the_linear_encoder_needs_no_torch():
    code = (
        "import sys, numpy as np, skdpal; X = np.eye(6); "
        "skdpal.PublicEncoder(n_components=2).fit(X, [0, 0, 0, 1, 1, 1]).transform(X); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
