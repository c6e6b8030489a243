"""Clipped sums of gradients of linear networks, without a gradient for each row."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from skdpal.estimators.neural.noisy_sum import NoisySum, PatientFactors, row_squares

__all__ = ["LinearEngine", "taps"]


@dataclass
class Outer:
    """A linear layer's weight: row i's gradient is the outer product of ``outward[i]`` and ``inward[i]``."""

    parameter: torch.Tensor
    outward: torch.Tensor
    inward: torch.Tensor

    def squares(self) -> torch.Tensor:
        """Squared norm of each row's gradient."""
        return row_squares(self.outward) * row_squares(self.inward)

    def products(self) -> torch.Tensor:
        """Inner products of the rows' gradients."""
        return _products(self.outward) * _products(self.inward)

    def keep(self, rows: torch.Tensor) -> Outer:
        """The same, with zeros in the other rows."""
        return replace(self, outward=_keep(self.outward, rows), inward=_keep(self.inward, rows))

    def add_to(self, total: torch.Tensor, weights: torch.Tensor) -> None:
        """Add the weighted sum of the rows' gradients."""
        total.addmm_(_weigh(self.outward, weights).T, self.inward)


@dataclass
class Rows:
    """Any other parameter: the gradient of each row, as it is."""

    parameter: torch.Tensor
    values: torch.Tensor

    def squares(self) -> torch.Tensor:
        """Squared norm of each row's gradient."""
        return row_squares(self.values)

    def products(self) -> torch.Tensor:
        """Inner products of the rows' gradients."""
        return _products(self.values)

    def keep(self, rows: torch.Tensor) -> Rows:
        """The same, with zeros in the other rows."""
        return replace(self, values=_keep(self.values, rows))

    def add_to(self, total: torch.Tensor, weights: torch.Tensor) -> None:
        """Add the weighted sum of the rows' gradients."""
        total.add_(_weigh(self.values, weights).sum(0).view_as(total))


class LinearEngine(NoisySum):
    """One forward pass, one backward pass, one weighted product for each layer.

    A row's gradient by a weight matrix is the outer product of the output's gradient g and the input a. So inner
    products of two rows' gradients are <a_i, a_j> <g_i, g_j> (Goodfellow 2015; Rochette et al. 2019), a patient's
    squared norm is their sum over the patient's pairs of rows, and the clipped sum over patients is one matrix product,
    which is added onto the noise. The backward pass stops at the lowest layer that learns, and computes no gradient by
    any weight.

    Parameters
    ----------
    module, row_loss, noise_multiplier, max_grad_norm
        As in `NoisySum`; `linear_obstacle` says which modules are supported.
    """

    mode = "linear"

    def _add(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        owners: torch.Tensor,
        sums: list[torch.Tensor],
        share: float,
    ) -> None:
        pieces = taps(self.module, inputs, lambda outputs: self._row_losses(outputs, targets, inputs).sum())
        if not pieces:
            return
        factors = PatientFactors(sum(piece.squares() for piece in pieces), owners)
        if not bool(factors.finite.all()):
            pieces = [piece.keep(factors.finite) for piece in pieces]
        products = None if factors.one_row_each else sum(piece.products() for piece in pieces)
        weights = factors.rows(self.max_grad_norm, products) * share
        places = dict(zip(self.parameters, sums, strict=True))
        for piece in pieces:
            piece.add_to(places[piece.parameter], weights)


def taps(module: nn.Module, inputs: torch.Tensor, objective: Any) -> list[Outer | Rows]:
    """The gradients of a sum of row losses, row by row, in the form in which they are cheap.

    Parameters
    ----------
    module : torch.nn.Module
        Left as it was.
    inputs : torch.Tensor of shape (n_rows, ...)
        For the module.
    objective : callable
        Outputs to the sum of row losses.

    Raises
    ------
    ValueError
        If a layer that learns is used twice, or not by rows.
    """
    tape: dict[nn.Module, tuple[torch.Tensor, int, torch.Tensor]] = {}

    def tap(layer: nn.Module, arguments: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        (inward,) = arguments
        if layer in tape or len(inward) != len(inputs) or (isinstance(layer, nn.Linear) and inward.dim() != 2):
            raise ValueError(
                "Expected each layer that learns to be used once, and each linear one on inputs of shape (n_rows, n). "
                "Choose mode='auto'."
            )
        outward = output if output.requires_grad else output.requires_grad_()  # no gradient is needed further down
        tape[layer] = (inward.detach(), inward._version, outward)
        return outward.clone()  # an activation may work in place

    learning = [layer for layer in module.modules() if any(p.requires_grad for p in layer.parameters(recurse=False))]
    handles = [layer.register_forward_hook(tap) for layer in learning]
    # without gradients by weights, the backward pass computes only those by outputs
    constants = {name: parameter.detach() for name, parameter in module.named_parameters()}
    try:
        total = objective(torch.func.functional_call(module, constants, (inputs,)))
    finally:
        for handle in handles:
            handle.remove()
    if any(inward._version != version for inward, version, _ in tape.values()):
        raise ValueError("Expected the inputs of layers to stay. Found one that is changed in place; use mode='auto'.")
    outwards = [outward for *_, outward in tape.values()]
    gradients = torch.autograd.grad(total, outwards, allow_unused=True) if outwards and total.requires_grad else []
    pieces: list[Outer | Rows] = []
    for (layer, (inward, *_)), gradient in zip(tape.items(), gradients, strict=False):
        if gradient is not None:
            pieces += _pieces(layer, inward, gradient)
    return pieces


def _pieces(layer: nn.Module, inward: torch.Tensor, outward: torch.Tensor) -> list[Outer | Rows]:
    """What a layer's parameters get, from its inputs and the gradient by its outputs."""
    found: list[Outer | Rows] = []
    if isinstance(layer, nn.Linear):
        if layer.weight.requires_grad:
            found.append(Outer(layer.weight, outward, inward))
        if layer.bias is not None and layer.bias.requires_grad:
            found.append(Rows(layer.bias, outward))
        return found
    if isinstance(layer, nn.GroupNorm):
        normal = nn.functional.group_norm(inward, layer.num_groups, eps=layer.eps)
        shape = (len(inward), layer.num_channels, -1)
    else:
        normal = nn.functional.layer_norm(inward, layer.normalized_shape, eps=layer.eps)
        shape = (len(inward), -1, layer.weight.numel())
    over = 2 if isinstance(layer, nn.GroupNorm) else 1  # places that share a weight
    if layer.weight.requires_grad:
        found.append(Rows(layer.weight, (outward * normal).reshape(shape).sum(over)))
    if layer.bias is not None and layer.bias.requires_grad:
        found.append(Rows(layer.bias, outward.reshape(shape).sum(over)))
    return found


def _products(values: torch.Tensor) -> torch.Tensor:
    double = values.double()
    return double @ double.T


def _keep(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return values.where(rows[:, None], torch.zeros_like(values))


def _weigh(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    return (values.double() * weights[:, None]).to(values.dtype)
