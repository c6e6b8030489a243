"""A network pre-trained on PUBLIC rows, then frozen.

Everything here is public, its randomness too: a seed makes the network reproducible and protects nobody. The random
numbers are torch's own, in a state of their own: noise that a guarantee rests on never comes from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from skdpal.estimators.public.scaling import Array, ScaledRows, scale
from skdpal.estimators.public.whitening import Whitening, whiten

if TYPE_CHECKING:
    import torch

__all__ = ["NeuralEmbedding", "Recipe", "pretrain"]

_BATCH = 32
_HELD_OUT = 0.2  # of the rows, to stop early
_LOST = 0.2  # of the genes of a row, in every step: other platforms lack some
_DROPOUT = 0.1
_LEARNING_RATE = 3e-4
_DECAY = 1e-2
_SCORES = 16  # principal components to predict: labels alone let the latent space collapse onto the classes


@dataclass(frozen=True)
class Recipe:
    """How to pre-train; all of it public.

    Attributes
    ----------
    widths : tuple of int
        Of the layers of `GenomicEncoder`.
    max_epochs, patience : int
        Most passes over the rows; passes without a better hold-out loss before it stops.
    random_state : int, RandomState or None
        As in scikit-learn.
    verbose : bool or "auto"
        Progress; "auto" shows it in a terminal or notebook only.
    """

    widths: tuple[int, ...]
    max_epochs: int
    patience: int
    random_state: Any
    verbose: Any


@dataclass(frozen=True, eq=False)
class NeuralEmbedding:
    """A frozen network, and the whitening of its latent space.

    Attributes
    ----------
    mean, spread : ndarray of shape (n_columns,)
        Of the public rows, after scaling of each row.
    network : GenomicEncoder
    whitening : Whitening
        Of the latent vectors of the public rows.
    n_epochs : int
        Passes over the rows that the network has seen.
    """

    mean: Array
    spread: Array
    network: torch.nn.Module
    whitening: Whitening
    n_epochs: int

    def __call__(self, rows: ScaledRows) -> Array:
        """Embed rows; each result has length 1."""
        return self.whitening(scale(_latent(self.network, self.inputs(rows))))

    def inputs(self, rows: ScaledRows) -> NDArray[np.float32]:
        """What enters the network: each column in units of its public spread."""
        return _inputs(rows, self.mean, self.spread)


def pretrain(rows: ScaledRows, y: Any, n_components: int, recipe: Recipe) -> NeuralEmbedding:
    """Train on the leading principal components and, if there are any, the labels; stop early; freeze.

    A fifth of the rows is held out; the weights that do best there are kept. In every step a fifth of the genes of
    each row is taken away, as other platforms will (denoising: Vincent et al. 2010).
    """
    mean = rows.means()
    spread = _spread(rows, mean)
    inputs = _inputs(rows, mean, spread)
    network, n_epochs = _train(inputs, _codes(y), _scores(rows, y), recipe)
    whitening = whiten(scale(_latent(network, inputs)), y, n_components)
    return NeuralEmbedding(mean, spread, network, whitening, n_epochs)


def _codes(y: Any) -> NDArray[np.int64] | None:
    """Positions of the labels among the classes."""
    return None if y is None else np.unique(np.asarray(y), return_inverse=True)[1].astype(np.int64)


def _scores(rows: ScaledRows, y: Any) -> NDArray[np.float32]:
    """Whitened principal components, scaled to unit variance."""
    map_ = whiten(rows, y, min(_SCORES, rows.shape[0] - 1, rows.shape[1]))
    scores = rows.project(map_.mean, map_.components)
    return (scores / np.maximum(scores.std(axis=0), 1e-12)).astype(np.float32)


def _train(
    inputs: NDArray[np.float32], codes: NDArray[np.int64] | None, scores: NDArray[np.float32], recipe: Recipe
) -> tuple[Any, int]:
    import torch

    from skdpal.estimators.neural.modules import GenomicClassifier

    with _own_randomness(recipe.random_state) as generator:
        X = torch.from_numpy(inputs)
        train, test = _split(np.zeros(len(X), dtype=int) if codes is None else codes, generator)
        n_classes = 0 if codes is None else int(codes.max()) + 1
        model = GenomicClassifier(inputs.shape[1], n_classes + scores.shape[1], recipe.widths, dropout=_DROPOUT)
        loss = _loss(codes, scores, n_classes)
        optimizer = torch.optim.AdamW(model.parameters(), lr=_LEARNING_RATE, weight_decay=_DECAY)
        best, kept, n_epochs = float("inf"), {}, 0
        for epoch in _epochs(recipe):
            model.train()
            for batch in train[torch.randperm(len(train))].split(_BATCH):
                present = torch.rand(len(batch), X.shape[1]) >= _LOST
                optimizer.zero_grad()
                loss(model(X[batch] * present), batch).backward()
                optimizer.step()
            model.eval()
            with torch.inference_mode():
                now = float(loss(model(X[test]), test))
            if epoch == 0 or now < best:
                best, n_epochs = now, epoch + 1
                kept = {name: value.clone() for name, value in model.encoder.state_dict().items()}
            elif epoch + 1 - n_epochs >= recipe.patience:
                break
    model.encoder.load_state_dict(kept)
    return model.encoder.requires_grad_(False).eval(), n_epochs


def _loss(codes: NDArray[np.int64] | None, scores: NDArray[np.float32], n_classes: int) -> Callable[[Any, Any], Any]:
    """Loss of outputs for the rows at some places: squared error of the scores, and cross-entropy of the labels."""
    import torch
    from torch.nn.functional import cross_entropy, mse_loss

    wanted = torch.from_numpy(scores)
    labels = None if codes is None else torch.from_numpy(codes)

    def loss(outputs: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        total = mse_loss(outputs[:, n_classes:], wanted[places])
        return total if labels is None else total + cross_entropy(outputs[:, :n_classes], labels[places])

    return loss


def _split(codes: NDArray[np.int64], generator: np.random.RandomState) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows to learn from and rows held out, of each class; a class of one is learnt from."""
    import torch

    held_out = np.zeros(len(codes), dtype=bool)
    for code in np.unique(codes):
        places = generator.permutation(np.flatnonzero(codes == code))
        held_out[places[: max(round(_HELD_OUT * len(places)), len(places) > 1)]] = True
    if not held_out.any():  # every row is a class of its own
        held_out[:] = True
        return torch.arange(len(codes)), torch.arange(len(codes))
    return torch.from_numpy(np.flatnonzero(~held_out)), torch.from_numpy(np.flatnonzero(held_out))


def _latent(network: torch.nn.Module, inputs: NDArray[np.float32]) -> Array:
    import torch

    with torch.inference_mode():
        return network(torch.from_numpy(inputs)).numpy().astype(np.float64)


def _inputs(rows: ScaledRows, mean: Array, spread: Array) -> NDArray[np.float32]:
    inputs = np.empty(rows.shape, dtype=np.float32)
    for columns in rows.column_blocks():
        inputs[:, columns] = rows.centred(mean, columns=columns) / spread[columns]
    return inputs


def _spread(rows: ScaledRows, mean: Array) -> Array:
    """Standard deviation of each column; genes that hardly vary are not blown up."""
    spread = np.empty(rows.shape[1])
    for columns in rows.column_blocks():
        spread[columns] = np.sqrt((rows.centred(mean, columns=columns) ** 2).mean(axis=0))
    return np.maximum(spread, max(0.1 * float(np.median(spread)), 1e-12))


@contextmanager
def _own_randomness(random_state: Any) -> Iterator[np.random.RandomState]:
    """Torch's generator is set for this block and then put back, so that no one else's draws depend on it."""
    import torch

    generator = check_random_state(random_state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.randint(2**31 - 1)))
        yield generator


def _epochs(recipe: Recipe) -> Iterator[int]:
    """The passes, with a progress bar where somebody can see it."""
    from rich import get_console
    from rich.progress import Progress

    console = get_console()
    seen = console.is_terminal or console.is_jupyter
    show = seen if recipe.verbose == "auto" else bool(recipe.verbose)
    with Progress(console=console, disable=not show, transient=True) as progress:
        yield from progress.track(range(recipe.max_epochs), description="pre-training on public data")
