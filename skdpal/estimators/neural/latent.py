"""What a trained network says beside its labels: latent features, and answers under dropout."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

__all__ = ["dropout_layers", "last_linear", "masked", "watched"]


def last_linear(module: nn.Module) -> nn.Linear:
    """The head: the last linear layer, in the order of the module's definition."""
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise ValueError("Expected the module to end in a torch.nn.Linear layer, whose inputs are the latent features.")
    return layers[-1]


def dropout_layers(module: nn.Module) -> list[nn.Module]:
    """Its dropout layers."""
    kinds = (nn.Dropout, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
    return [layer for layer in module.modules() if isinstance(layer, kinds)]


@contextmanager
def watched(layer: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Collects what enters a layer."""
    seen: list[torch.Tensor] = []
    hook = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().flatten(1)))
    try:
        yield seen
    finally:
        hook.remove()


@contextmanager
def masked(module: nn.Module, generator: torch.Generator) -> Iterator[None]:
    """Dropout with one public mask for all rows, while the module is in evaluation mode.

    So a row's answer depends on that row and the mask alone, and a query that scores it stays a function of one patient.
    """

    def hook(layer: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        keep = 1.0 - layer.p
        mask = torch.bernoulli(torch.full(output.shape[1:], keep), generator=generator).to(output)
        return output * mask / max(keep, 1e-12)

    hooks = [layer.register_forward_hook(hook) for layer in dropout_layers(module)]
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()
