"""Clipped sums of gradients of any module, by Opacus: it computes gradients or norms for each row, never noise."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from opacus.grad_sample.grad_sample_module import GradSampleHooks
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import GradSampleHooksFastGradientClipping
from opacus.validators import ModuleValidator
from torch import nn

from skdpal.estimators.neural.noisy_sum import NoisySum, PatientFactors, RowLoss, row_squares

__all__ = ["GhostEngine", "PerSampleEngine", "has_samplers", "opacus_obstacle"]

_ROWS = 2
_USED_ELSEWHERE = (
    "Expected every parameter that learns to be used by its own layer. Found one that is used elsewhere, where Opacus "
    "does not see it. Give the other place a layer of its own."
)


def opacus_obstacle(module: nn.Module) -> str:
    """Why Opacus cannot give a gradient for each row; empty if it can."""
    training = {layer: layer.training for layer in module.modules()}
    module.train()
    try:
        errors = [*ModuleValidator.validate(module, strict=False), *GradSampleHooks.validate(module, strict=False)]
    finally:
        for layer, mode in training.items():
            layer.training = mode
    return "; ".join(str(error).strip() for error in errors)


def has_samplers(module: nn.Module) -> bool:
    """Whether Opacus has its own rule for every layer that learns."""
    return all(
        type(layer) in GradSampleHooks.GRAD_SAMPLERS
        for layer in module.modules()
        if any(parameter.requires_grad for parameter in layer.parameters(recurse=False))
    )


class _OpacusEngine(NoisySum):
    verified = False

    @abstractmethod
    def _attach(self) -> Any:
        """Opacus' hooks, put on the module."""

    def _check(self, inputs: torch.Tensor, owners: torch.Tensor) -> None:
        super()._check(inputs, owners)
        for layer in self.module.modules():
            if not layer.training and any(p.requires_grad for p in layer.parameters(recurse=False)):
                raise ValueError(
                    f"Expected layers that learn to be in training mode for mode={self.mode!r}. "
                    f"Found {type(layer).__name__} in evaluation mode. Call module.train()."
                )

    def gradients(
        self, inputs: torch.Tensor, targets: torch.Tensor, *, owners: torch.Tensor, normaliser: float
    ) -> None:
        if not self.verified and len(inputs):
            self._check(inputs, owners)
            self._verify(inputs.shape[1:], inputs)
        super().gradients(inputs, targets, owners=owners, normaliser=normaliser)

    def _verify(self, shape: torch.Size, like: torch.Tensor) -> None:
        """Raise if, on made-up rows, Opacus misses a part of a gradient: it sees a layer's own parameters only."""
        numbers = torch.arange(_ROWS * math.prod(shape), device=like.device)
        rows = numbers.sin().reshape(_ROWS, *shape).to(like.dtype)
        chance = _Chance(like)

        def outputs() -> torch.Tensor:
            with chance:
                return self.module(rows).flatten(1).sin()

        with self._hooked() as hooks, torch.enable_grad():
            self._compare(outputs, hooks)
        self.verified = True

    def _compare(self, outputs: Callable[[], torch.Tensor], hooks: Any) -> None:
        outputs().sum().backward()
        whole = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        size = torch.stack([gradient.norm() for gradient in whole]).norm()
        for parameter, gradient in zip(self.parameters, whole, strict=True):
            own = 0.0 if parameter.grad_sample is None else parameter.grad_sample.sum(0)
            if not bool((gradient - own).norm() <= 1e-3 * gradient.norm() + 1e-5 * size):
                raise ValueError(_USED_ELSEWHERE)

    @contextmanager
    def _hooked(self) -> Iterator[Any]:
        """The module under Opacus' hooks, which go with all that they and the backward passes left, whatever happens.

        Had they stayed, passes of others would add their rows, and gradients without noise would lie about.
        """
        for parameter in self.parameters:
            parameter.grad = None
        hooks = self._attach()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)
                yield hooks
        finally:
            hooks.cleanup()
            for parameter in self.parameters:
                parameter.grad = None
            for layer in self.module.modules():
                for name in ("activations", "max_batch_len", "ft_compute_sample_grad"):
                    vars(layer).pop(name, None)


class PerSampleEngine(_OpacusEngine):
    """A gradient for each row, summed over each patient's rows, clipped, added onto the noise.

    Parameters
    ----------
    module, row_loss, noise_multiplier, max_grad_norm
        As in `NoisySum`; `opacus_obstacle` says which modules are supported.
    functorch : bool, default=False
        Whether torch's function transforms compute the gradients of all layers, not only of those that Opacus has no
        rule for.

    Notes
    -----
    Memory for n_rows copies of the parameters is needed.
    """

    def __init__(
        self,
        module: nn.Module,
        row_loss: RowLoss,
        *,
        noise_multiplier: float,
        max_grad_norm: float,
        functorch: bool = False,
    ) -> None:
        super().__init__(module, row_loss, noise_multiplier=noise_multiplier, max_grad_norm=max_grad_norm)
        self.mode = "functorch" if functorch else "hooks"

    def _attach(self) -> GradSampleHooks:
        return GradSampleHooks(self.module, loss_reduction="sum", force_functorch=self.mode == "functorch")

    def _add(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        owners: torch.Tensor,
        sums: list[torch.Tensor],
        share: float,
    ) -> None:
        with self._hooked():
            self._row_losses(self.module(inputs), targets, inputs).sum().backward()
            samples = [parameter.grad_sample for parameter in self.parameters]
        found = [(s.flatten(1), total) for s, total in zip(samples, sums, strict=True) if s is not None]
        if not found:
            return
        factors = PatientFactors(sum(row_squares(rows) for rows, _ in found), owners)
        if not bool(factors.finite.all()):
            found = [(rows.where(factors.finite[:, None], torch.zeros_like(rows)), total) for rows, total in found]
        products = None if factors.one_row_each else sum(_products(rows, factors) for rows, _ in found)
        weights = factors.rows(self.max_grad_norm, products) * share
        for rows, total in found:
            total.add_((weights.to(rows.dtype) @ rows).view_as(total))


class GhostEngine(_OpacusEngine):
    """Norms in a first backward pass, a weighted sum in a second (Li et al. 2022).

    Parameters
    ----------
    module, row_loss, noise_multiplier, max_grad_norm
        As in `NoisySum`.

    Notes
    -----
    Opacus gives no inner products between rows, so a patient's norm is bounded by the sum of the norms of the patient's
    rows: with several rows, more is clipped than need be. `engine_for` chooses this mode only when it is asked for.
    """

    mode = "ghost"

    def _attach(self) -> GradSampleHooksFastGradientClipping:
        return GradSampleHooksFastGradientClipping(
            self.module, loss_reduction="sum", max_grad_norm=self.max_grad_norm, use_ghost_clipping=True
        )

    def _add(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        owners: torch.Tensor,
        sums: list[torch.Tensor],
        share: float,
    ) -> None:
        with self._hooked() as hooks:
            chance = _Chance(inputs)
            losses = self._row_losses(self.module(inputs), targets, inputs)
            losses.sum().backward(retain_graph=True)
            norms = [p._norm_sample for p in self.parameters if hasattr(p, "_norm_sample")]
            if not norms:
                return
            # single-precision norms of 10^5 numbers err by 1e-5 at most
            factors = PatientFactors(sum(norm.double().square() for norm in norms) * (1 + 2e-5), owners)
            weights = (factors.rows(self.max_grad_norm) * share).to(losses.dtype)
            for parameter in self.parameters:
                parameter.grad = None
            hooks.disable_hooks()
            if not bool(factors.finite.all()):
                losses = self._finite_losses(chance, inputs, targets, factors.finite)
            (losses * weights).sum().backward()
            gradients = [parameter.grad for parameter in self.parameters]
        for gradient, total in zip(gradients, sums, strict=True):
            if gradient is not None:
                total.add_(gradient)

    def _compare(self, outputs: Callable[[], torch.Tensor], hooks: Any) -> None:
        """A row's gradient must not be longer than Opacus says: the second pass adds what the first did not measure."""
        outputs().sum().backward()
        found = torch.zeros(_ROWS, dtype=torch.float64, device=self.parameters[0].device)
        for parameter in self.parameters:
            if hasattr(parameter, "_norm_sample"):
                found += parameter._norm_sample.double().square()
        hooks.disable_hooks()
        for row, value in enumerate(outputs().sum(1)):
            parts = torch.autograd.grad(value, self.parameters, retain_graph=True, allow_unused=True)
            true = sum(part.double().square().sum() for part in parts if part is not None)
            if not bool(true <= found[row] * 1.001):
                raise ValueError(_USED_ELSEWHERE)

    def _finite_losses(
        self, chance: _Chance, inputs: torch.Tensor, targets: torch.Tensor, finite: torch.Tensor
    ) -> torch.Tensor:
        """The losses again, under the same dropout, from a graph in which the other rows are zeros and pass nothing on."""
        where = finite.view(-1, *[1] * (inputs.dim() - 1))
        with chance:
            outputs = self.module(inputs.where(where, torch.zeros_like(inputs)))
        where = finite.view(-1, *[1] * (outputs.dim() - 1))
        losses = self._row_losses(outputs.where(where, outputs.detach()), targets, inputs)
        return losses.where(finite, torch.zeros_like(losses))


class _Chance:
    """torch's generators as they were, for a while; they make dropout masks, never noise."""

    def __init__(self, like: torch.Tensor) -> None:
        self.device = like.device
        self.states = torch.get_rng_state(), torch.cuda.get_rng_state(like.device) if like.is_cuda else None

    def __enter__(self) -> None:
        self._fork = torch.random.fork_rng([self.device] if self.device.type == "cuda" else [])
        self._fork.__enter__()
        torch.set_rng_state(self.states[0])
        if self.states[1] is not None:
            torch.cuda.set_rng_state(self.states[1], self.device)

    def __exit__(self, *error: Any) -> None:
        self._fork.__exit__(*error)


def _products(rows: torch.Tensor, factors: PatientFactors) -> torch.Tensor:
    """Inner products of rows of one patient; columns in parts, since there can be millions."""
    total = rows.new_zeros(len(rows), len(rows), dtype=torch.float64)
    for part in rows.split(2**16, dim=1):
        double = part.double()
        total.addmm_(double, double.T)
    return total
