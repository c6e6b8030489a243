"""Which weights learn from patients: all, some by name, or low-rank adapters beside frozen ones."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import torch
from torch import nn

from skdpal.privacy.validation import check_count

__all__ = ["Adapted", "adapt", "freeze"]


class Adapted(nn.Module):
    """A frozen linear layer and a low-rank correction that learns (Hu et al. 2022).

    Parameters
    ----------
    layer : torch.nn.Linear
        Its weights are kept.
    rank : int
        Of the correction.
    """

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down = nn.Linear(layer.in_features, rank, bias=False, dtype=layer.weight.dtype)
        self.up = nn.Linear(rank, layer.out_features, bias=False, dtype=layer.weight.dtype)
        nn.init.zeros_(self.up.weight)  # the correction starts at zero: the public network is the first model

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """The layer's output, corrected."""
        return self.layer(X) + self.up(self.down(X))


def freeze(module: nn.Module, trainable: Sequence[str] | str) -> None:
    """Let only those parameters learn whose names match.

    Parameters
    ----------
    module : torch.nn.Module
        Changed in place.
    trainable : str or sequence of str
        Shell patterns of parameter names, as in ``"head.*"``.
    """
    patterns = [trainable] if isinstance(trainable, str) else list(trainable)
    names = [name for name, _ in module.named_parameters()]
    chosen = {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}
    if not chosen:
        raise ValueError(
            f"Expected trainable to match a parameter of the module. Found {trainable!r}. "
            f"Choose among {', '.join(names[:8])}{', ...' if len(names) > 8 else ''}."
        )
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name in chosen)


def adapt(module: nn.Module, rank: int) -> None:
    """Freeze all weights and give every linear layer but the last an adapter; the last learns freely.

    Parameters
    ----------
    module : torch.nn.Module
        Changed in place.
    rank : int
        At least 1.
    """
    rank = check_count("adapter_rank", rank, least=1)
    linear = [(name, layer) for name, layer in module.named_modules() if isinstance(layer, nn.Linear)]
    if not linear:
        raise ValueError("Expected the module to have a torch.nn.Linear layer to adapt. Leave adapter_rank out.")
    module.requires_grad_(False)
    linear[-1][1].requires_grad_(True)
    for name, layer in linear[:-1]:
        owner, _, leaf = name.rpartition(".")
        setattr(module.get_submodule(owner), leaf, Adapted(layer, min(rank, layer.in_features, layer.out_features)))
