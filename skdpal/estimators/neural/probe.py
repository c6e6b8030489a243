"""Checks of a module on made-up rows, before anybody pays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

__all__ = ["check_module"]

_ROWS = 4


def check_module(
    module: nn.Module, row_loss: Callable[[Any, Any], torch.Tensor], n_features: int, n_classes: int
) -> None:
    """Raise unless the module takes such rows, keeps them apart, and gives each a loss.

    A module that mixes rows (``X - X.mean(0)``) has no per-patient gradient: clipping would not bound what one patient moves.
    """
    rows = torch.sin(torch.arange(_ROWS * n_features, dtype=torch.float32)).reshape(_ROWS, n_features)
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    rows, targets = rows.to(device), (torch.arange(_ROWS) % n_classes).to(device)
    training = module.training
    try:
        with torch.no_grad():
            module.eval()
            together = _first(module(rows))
            apart = torch.cat([_first(module(row[None])) for row in rows])
            module.train(training)
            losses = row_loss(together, targets)
    except (RuntimeError, TypeError, IndexError) as error:
        raise ValueError(
            f"Expected the module to take rows of shape (n_rows, {n_features}) and to return logits of shape "
            f"(n_rows, {n_classes}). Found, on made-up rows: {str(error).splitlines()[0]}."
        ) from None
    finally:
        module.train(training)
    if together.shape != (_ROWS, n_classes):
        raise ValueError(
            f"Expected the module to return logits of shape (n_rows, {n_classes}). Found {tuple(together.shape)} for "
            f"{_ROWS} rows. Give its last layer {n_classes} outputs."
        )
    if not torch.allclose(together, apart, rtol=1e-3, atol=1e-4):
        raise ValueError(
            "Expected a module whose output for one row does not depend on the other rows. Found one that mixes rows of a batch, "
            "so that clipping cannot bound what one patient moves. Normalise within a row, as torch.nn.GroupNorm does."
        )
    if losses.shape != (_ROWS,):
        raise ValueError(
            f"Expected a criterion that gives one loss a row (reduction='none'). Found losses of shape {tuple(losses.shape)} "
            f"for {_ROWS} rows. Use torch.nn.CrossEntropyLoss."
        )


def _first(output: Any) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output
