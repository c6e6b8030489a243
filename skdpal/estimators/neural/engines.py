"""How private gradients are computed: the fast way where the module allows it, else by Opacus."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from skdpal.estimators.neural.clipping import LinearEngine
from skdpal.estimators.neural.noisy_sum import RowLoss
from skdpal.estimators.neural.support import check_trainable, linear_obstacle
from skdpal.privacy.validation import check_one_of

__all__ = ["Engine", "engine_for"]

MODES = ("auto", "linear", "ghost", "hooks", "functorch")


class Engine(Protocol):
    """Clips, sums, adds noise."""

    mode: str
    noise_multiplier: float
    max_grad_norm: float

    def gradients(
        self, inputs: torch.Tensor, targets: torch.Tensor, *, owners: torch.Tensor, normaliser: float
    ) -> None:
        """Overwrite every trainable parameter's ``.grad``."""

    def release(self) -> None:
        """Leave the module as it was."""


def engine_for(
    module: nn.Module, row_loss: RowLoss, *, noise_multiplier: float, max_grad_norm: float, mode: str = "auto"
) -> Engine:
    """An engine that fills ``.grad`` with a noisy sum of per-patient clipped gradients.

    One call of ``gradients`` is one Gaussian release of sensitivity `max_grad_norm` under zero-out: the price is
    ``events.gaussian(noise_multiplier)``, or ``events.poisson_gaussian`` if the rows were sampled. The caller charges.

    Parameters
    ----------
    module : torch.nn.Module
        Keeps rows apart; float32 or float64.
    row_loss : callable
        ``(outputs, targets)`` to losses of shape (n_rows,), each from its own row.
    noise_multiplier : float
        Standard deviation of the noise over `max_grad_norm`; above 0, or 0 inside `simulation`.
    max_grad_norm : float
        What one patient may add, in L2 norm over all trainable parameters.
    mode : {"auto", "linear", "ghost", "hooks", "functorch"}, default="auto"
        ``"linear"``: `LinearEngine`, the fast one, for linear layers on rows, norms, activations, dropout. The others
        are Opacus': ``"hooks"`` and ``"functorch"`` hold a gradient for each row, ``"ghost"`` only norms, and clips
        patients with several rows harder. ``"auto"`` takes the first that the module allows of linear, hooks, functorch;
        it looks at the module alone, never at data.

    Returns
    -------
    Engine
        ``engine.mode`` says which was chosen.

    Raises
    ------
    ValueError
        If the module mixes rows (batch norm), keeps running statistics, is in reduced precision, or does not suit `mode`.

    Examples
    --------
    >>> import torch
    >>> from skdpal.estimators.neural.engines import engine_for
    >>> module = torch.nn.Linear(5, 2)
    >>> row_loss = torch.nn.CrossEntropyLoss(reduction="none")
    >>> engine = engine_for(module, row_loss, noise_multiplier=1.0, max_grad_norm=1.0)
    >>> engine.mode
    'linear'
    >>> rows, labels = torch.ones(3, 5), torch.tensor([0, 1, 1])
    >>> engine.gradients(rows, labels, owners=torch.arange(3), normaliser=3.0)
    >>> module.weight.grad.shape
    torch.Size([2, 5])
    """
    mode = check_one_of("mode", mode, MODES)
    check_trainable(module)
    privacy = {"noise_multiplier": noise_multiplier, "max_grad_norm": max_grad_norm}
    if mode in ("auto", "linear"):
        obstacle = linear_obstacle(module)
        if not obstacle:
            return LinearEngine(module, row_loss, **privacy)
        if mode == "linear":
            raise ValueError(f"Expected a module that mode='linear' can train. Found that {obstacle}. Use mode='auto'.")
    return _by_opacus(module, row_loss, mode, privacy)


def _by_opacus(module: nn.Module, row_loss: RowLoss, mode: str, privacy: dict[str, float]) -> Engine:
    # imported late: it takes a second
    from skdpal.estimators.neural.persample import GhostEngine, PerSampleEngine, has_samplers, opacus_obstacle

    obstacle = opacus_obstacle(module)
    if obstacle:
        raise ValueError(
            f"Expected a module for which Opacus has per-sample gradients. Found: {obstacle}. "
            "Freeze that layer or replace it."
        )
    if mode == "ghost":
        return GhostEngine(module, row_loss, **privacy)
    functorch = mode == "functorch" or (mode == "auto" and not has_samplers(module))
    return PerSampleEngine(module, row_loss, functorch=functorch, **privacy)
