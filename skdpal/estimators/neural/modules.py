"""Networks whose rows never meet: no batch statistics, so one patient moves only their own gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["GenomicClassifier", "GenomicEncoder"]


class GenomicEncoder(nn.Module):
    """Gene vector to latent vector: linear layers, group norms without weights, SELU, dropout.

    Parameters
    ----------
    n_features : int
        Number of genes.
    widths : sequence of int, default=(1024, 512, 256)
        Of the layers; the last is the dimension of the latent vector.
    dropout : float, default=0.0
        Chance that a unit is left out while training, in [0, 1).
    group_size : int, default=16
        Units that are normalised together; a width that it does not divide is one group.

    Notes
    -----
    Group norm (Wu and He 2018) reads one row; batch norm reads all patients of a batch and has no per-patient gradient.
    Its weights are left out: they would add parameters to clip and noise, and the next layer can do their work.

    Examples
    --------
    >>> import torch
    >>> from skdpal.estimators.neural.modules import GenomicEncoder
    >>> GenomicEncoder(2308, widths=(64, 16))(torch.zeros(3, 2308)).shape
    torch.Size([3, 16])
    """

    def __init__(
        self,
        n_features: int,
        widths: Sequence[int] = (1024, 512, 256),
        dropout: float = 0.0,
        group_size: int = 16,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in widths:
            groups = width // group_size if width % group_size == 0 else 1
            layers += [nn.Linear(n_features, width), nn.GroupNorm(groups, width, affine=False), nn.SELU()]
            if dropout:
                layers.append(nn.Dropout(dropout))
            n_features = width
        self.layers = nn.Sequential(*layers)
        self.n_components = n_features

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Latent vectors of shape (n_rows, widths[-1])."""
        return self.layers(X)


class GenomicClassifier(nn.Module):
    """An encoder and a linear head.

    Parameters
    ----------
    n_features, n_classes : int
        Number of genes and of labels.
    widths, dropout, group_size
        As in `GenomicEncoder`.

    Examples
    --------
    >>> import torch
    >>> from skdpal.estimators.neural.modules import GenomicClassifier
    >>> GenomicClassifier(2308, 4, widths=(64, 16))(torch.zeros(3, 2308)).shape
    torch.Size([3, 4])
    """

    def __init__(
        self,
        n_features: int,
        n_classes: int,
        widths: Sequence[int] = (1024, 512, 256),
        dropout: float = 0.0,
        group_size: int = 16,
    ) -> None:
        super().__init__()
        self.encoder = GenomicEncoder(n_features, widths, dropout, group_size)
        self.head = nn.Linear(self.encoder.n_components, n_classes)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Logits of shape (n_rows, n_classes)."""
        return self.head(self.encoder(X))
