"""The usual loop: DP-SGD on a network, retrained on everybody in every round, patients asked by noisy probabilities.

An own small DP-SGD, fast enough for repeated runs: the norm of one row's gradient is taken from the inputs and output
gradients of the linear layers, so that no row's gradient is ever stored. Batches are Poisson samples.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

__all__ = ["Training", "network", "noisy_query", "predict", "pretrain", "train"]

WIDTHS = (1024, 512, 256)
BATCH, EPOCHS, CLIP, RATE = 4, 10, 1.0, 1e-3


def network(n_genes: int, n_classes: int) -> nn.Sequential:
    """Three hidden layers, each with a group norm that has nothing to learn, as rows must not be mixed."""
    layers: list[nn.Module] = []
    for before, after in zip((n_genes, *WIDTHS[:-1]), WIDTHS, strict=True):
        layers += [nn.Linear(before, after), nn.GroupNorm(32, after, affine=False), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(WIDTHS[-1], n_classes))


def pretrain(model: nn.Module, rows: np.ndarray, codes: np.ndarray, epochs: int = 60) -> nn.Module:
    """Ordinary training on public rows."""
    X, y = _tensors(rows, codes)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(epochs):
        optimizer.zero_grad()
        functional.cross_entropy(model(X), y).backward()
        optimizer.step()
    return model


class Training:
    """Remembers inputs and output gradients of the linear layers of one batch."""

    def __init__(self, model: nn.Module) -> None:
        self.layers = [layer for layer in model if isinstance(layer, nn.Linear)]
        self.inputs: dict[nn.Module, torch.Tensor] = {}
        self.gradients: dict[nn.Module, torch.Tensor] = {}
        for layer in self.layers:
            layer.register_forward_hook(self._remember)

    def norms(self) -> torch.Tensor:
        """Of each row's gradient of its own loss."""
        squares = [
            self.gradients[layer].pow(2).sum(1) * (self.inputs[layer].pow(2).sum(1) + 1) for layer in self.layers
        ]
        return torch.stack(squares).sum(0).sqrt()

    def clipped(self) -> None:
        """Put the sum of clipped gradients into the parameters."""
        weights = (CLIP / self.norms().clamp(min=1e-12)).clamp(max=1.0)
        for layer in self.layers:
            scaled = self.gradients[layer] * weights[:, None]
            layer.weight.grad, layer.bias.grad = scaled.T @ self.inputs[layer], scaled.sum(0)

    def _remember(self, layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        self.inputs[layer] = inputs[0].detach()
        if output.requires_grad:
            output.register_hook(lambda gradient: self.gradients.__setitem__(layer, gradient))


def train(model: nn.Module, rows: np.ndarray, codes: np.ndarray, noise_multiplier: float) -> nn.Module:
    """DP-SGD: `EPOCHS` passes of Poisson batches of `BATCH` patients on average."""
    X, y = _tensors(rows, codes)
    recorder, optimizer = Training(model), torch.optim.Adam(model.parameters(), lr=RATE)
    for _ in range(round(EPOCHS * len(y) / BATCH)):
        batch = torch.rand(len(y)) < BATCH / len(y)
        if batch.any():
            functional.cross_entropy(model(X[batch]), y[batch], reduction="sum").backward()
            recorder.clipped()
        for parameter in model.parameters():
            sums = parameter.grad if batch.any() else torch.zeros_like(parameter)
            parameter.grad = (sums + noise_multiplier * CLIP * torch.randn_like(parameter)) / BATCH
        optimizer.step()
    return model


def predict(model: nn.Module, rows: np.ndarray) -> np.ndarray:
    """Class probabilities."""
    with torch.no_grad():
        return functional.softmax(model(torch.tensor(rows, dtype=torch.float32)), dim=1).numpy()


def noisy_query(
    probabilities: np.ndarray, epsilon: float, delta: float, k: int, random: np.random.Generator
) -> np.ndarray:
    """As the article asks: Laplace noise of the Gaussian constant on probabilities, cut at 0 and 1, rescaled, entropy times 1 - margin.

    Rows whose numbers are all cut to 0 have no score, and numpy's order reversed puts them first.
    """
    scale = np.sqrt(2 * np.log(1.25 / delta)) / epsilon
    noisy = np.clip(probabilities + random.laplace(0, scale, probabilities.shape), 0, 1)
    with np.errstate(invalid="ignore"):
        noisy = noisy / noisy.sum(axis=1, keepdims=True)
    entropy = -(noisy * np.log(noisy + 1e-8)).sum(axis=1)
    return np.argsort(entropy * (1 - np.abs(noisy[:, 0] - noisy[:, 1])))[::-1][:k]


def _tensors(rows: np.ndarray, codes: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(rows, dtype=torch.float32), torch.tensor(codes)
