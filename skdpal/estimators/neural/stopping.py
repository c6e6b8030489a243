"""Early stopping on public rows."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import torch

from skdpal.privacy.validation import check_count, check_finite

__all__ = ["PublicValidation"]


class PublicValidation:
    """Watches the loss of public rows, and remembers the best weights.

    It reads released weights and public rows, so it is free; stopping early gives nothing back.
    """

    def __init__(self, net: Any, rows: torch.Tensor, codes: torch.Tensor) -> None:
        self.net, self.module, self.rows, self.codes = net, net.module_, rows, codes
        self.patience = check_count("patience", net.patience, least=1)
        self.best, self.weights, self.waited = float("inf"), None, 0

    @classmethod
    def of(cls, net: Any) -> Self | None:
        """The watcher that a network asks for, if any."""
        if net.public_validation is None:
            return None
        X, y = net.public_validation
        rows = check_finite("public_validation", X)
        codes = np.searchsorted(net.classes_, y)
        if rows.ndim != 2 or rows.shape[1] != net.n_features_in_ or len(rows) != len(codes):
            raise ValueError(
                f"Expected public_validation to be (X, y) with {net.n_features_in_} columns and one label a row. "
                f"Found X of shape {rows.shape}. Pass public rows in the space of the patients."
            )
        if not np.array_equal(net.classes_[np.minimum(codes, len(net.classes_) - 1)], np.asarray(y)):
            raise ValueError(f"Expected the labels of public_validation to be among {net.classes_.tolist()}.")
        device = net.device
        return cls(
            net, torch.as_tensor(rows, dtype=torch.float32, device=device), torch.as_tensor(codes, device=device)
        )

    def go_on(self) -> bool:
        """Whether the loss has fallen lately; called once an epoch."""
        module = self.module
        module.eval()
        with torch.no_grad():
            loss = float(self.net._row_loss(module(self.rows), self.codes).mean())
        module.train()
        self.net.history.record("public_loss", loss)
        if loss < self.best:
            self.best, self.weights, self.waited = loss, copy.deepcopy(module.state_dict()), 0
        else:
            self.waited += 1
        return self.waited < self.patience

    def restore(self) -> None:
        """Put the best weights back."""
        if self.weights is not None:
            self.module.load_state_dict(self.weights)
