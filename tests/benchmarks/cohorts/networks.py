"""Opacus as its tutorial has it: Poisson batches, DP-SGD on a small network, ε from its own accountant."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import torch
from opacus import PrivacyEngine
from opacus.accountants.utils import get_noise_multiplier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.benchmarks.cohorts.methods import DELTA, ROUNDS, Bench, Predict

__all__ = ["NETWORKS"]

EPOCHS = 10
RATE = 0.25  # public, so that the price is right; Opacus would take it from the number of patients


def _train(rows: np.ndarray, codes: np.ndarray, n_classes: int, epsilon: float, fits: int, seed: int) -> nn.Module:
    """One of `fits` trainings that together cost ε."""
    torch.manual_seed(seed)
    steps = round(EPOCHS / RATE)
    noise = get_noise_multiplier(
        target_epsilon=epsilon, target_delta=DELTA, sample_rate=RATE, steps=steps * fits, accountant="rdp"
    )
    network = nn.Sequential(nn.Linear(rows.shape[1], 32), nn.ReLU(), nn.Linear(32, n_classes))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    data = TensorDataset(torch.tensor(rows, dtype=torch.float32), torch.tensor(codes))
    loader = DataLoader(data, batch_size=max(round(RATE * len(rows)), 1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network, optimizer, loader = PrivacyEngine().make_private(
            module=network, optimizer=optimizer, data_loader=loader, noise_multiplier=noise, max_grad_norm=1.0
        )
        for _ in range(EPOCHS):
            for batch, labels in loader:
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(batch), labels).backward()
                optimizer.step()
    return network.eval()


def _network(fits: int) -> Callable[[Bench, int, float, int], Predict]:
    def fit(bench: Bench, n: int, epsilon: float, seed: int) -> Predict:
        split = bench.split
        codes = np.searchsorted(split.classes, split.y[:n])
        rows = bench.genes * np.sqrt(bench.genes.shape[1])  # back to unit variance, as networks like it
        network = _train(rows[:n], codes, len(split.classes), epsilon, fits, seed)

        def predict(places: slice) -> np.ndarray:
            with torch.no_grad():
                scores = network(torch.tensor(rows[places], dtype=torch.float32))
            return split.classes[scores.argmax(dim=1).numpy()]

        return predict

    return fit


NETWORKS = {"Opacus network, once": _network(1), "Opacus network, retrained each round": _network(ROUNDS)}
