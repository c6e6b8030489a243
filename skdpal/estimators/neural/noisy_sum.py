"""What all engines share: noise first, then what each patient may add, at most `max_grad_norm`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from skdpal.estimators.neural.noise import fill_with_gaussian_noise
from skdpal.privacy.randomness import current_simulation
from skdpal.privacy.validation import check_real

__all__ = ["NoisySum", "PatientFactors", "RowLoss", "row_squares"]

RowLoss = Callable[[Any, torch.Tensor], torch.Tensor]
# What rounding may add to a patient's norm, as a share of the sum of the norms of the patient's rows: float64 norms of
# 10^5 numbers (1e-11, under a root), float32 products (1e-7), and the noise's own float32 scale (1e-7).
_ROUNDING = 2e-6
# Of a row's norm. Beyond, factors times gradients leave the normal range of float32, where rounding has no bound.
_LONGEST = 1e15


class NoisySum(ABC):
    """A noisy sum of clipped gradients in every ``.grad``; subclasses add the gradients.

    Parameters
    ----------
    module : torch.nn.Module
        With float32 or float64 parameters, all alike, of which some require gradients.
    row_loss : callable
        ``(outputs, targets)`` to a loss for each row, each from its own row.
    noise_multiplier : float
        Standard deviation of the noise, in units of `max_grad_norm`; zero only inside `simulation`.
    max_grad_norm : float
        What one patient may add to the sum, in L2 norm over all parameters.
    """

    mode = ""

    def __init__(self, module: nn.Module, row_loss: RowLoss, *, noise_multiplier: float, max_grad_norm: float) -> None:
        self.noise_multiplier = check_real("noise_multiplier", noise_multiplier, above=0.0, closed=True)
        self._check_noise()
        self.max_grad_norm = check_real("max_grad_norm", max_grad_norm, above=0.0)
        self.module, self.row_loss = module, row_loss
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._buffers: dict[torch.Tensor, torch.Tensor] = {}

    def gradients(
        self, inputs: torch.Tensor, targets: torch.Tensor, *, owners: torch.Tensor, normaliser: float
    ) -> None:
        """Overwrite every trainable parameter's ``.grad`` with the noisy sum of clipped gradients over `normaliser`.

        Parameters
        ----------
        inputs : torch.Tensor of shape (n_rows, ...)
            Zero rows are fine: the result is noise.
        targets : torch.Tensor of shape (n_rows, ...)
            As `row_loss` takes them.
        owners : torch.Tensor of shape (n_rows,), int64
            The patient of each row. A patient's rows are summed, then clipped.
        normaliser : float
            Public: never the number of rows at hand.

        Notes
        -----
        The tensors in ``.grad`` belong to the engine, which fills them again at the next call: clone what must stay.
        A row whose loss or gradient is not finite, or longer than 1e15, adds nothing, and nothing tells that there was one.
        """
        normaliser = check_real("normaliser", normaliser, above=0.0)
        self._check(inputs, owners)
        for parameter in self.parameters:
            parameter.grad = None  # whatever lies there belongs to somebody else
        sums = [self._noise(parameter, normaliser) for parameter in self.parameters]
        if len(inputs):
            with torch.enable_grad():
                self._add(inputs.detach(), targets, owners.to(inputs.device), sums, 1 / normaliser)
        for parameter, total in zip(self.parameters, sums, strict=True):
            parameter.grad = total

    def release(self) -> None:
        """Remove hooks: the module is as it was, but for its ``.grad``, which stay."""
        self._buffers = {}

    @abstractmethod
    def _add(
        self,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        owners: torch.Tensor,
        sums: list[torch.Tensor],
        share: float,
    ) -> None:
        """Add the sum over patients of `share` times the clipped gradient."""

    def _noise(self, parameter: torch.Tensor, normaliser: float) -> torch.Tensor:
        total = self._buffers.get(parameter)
        if total is None or total.shape != parameter.shape or total.device != parameter.device:
            total = self._buffers[parameter] = torch.empty_like(
                parameter, requires_grad=False, memory_format=torch.contiguous_format
            )
        if self.noise_multiplier:
            return fill_with_gaussian_noise(total, self.noise_multiplier * self.max_grad_norm / normaliser)
        return total.zero_()

    def _check_noise(self) -> None:
        if not self.noise_multiplier and current_simulation() is None:
            raise ValueError(
                "Expected noise_multiplier above 0 outside simulation(). Found 0.0, with which nothing is private."
            )

    def _check(self, inputs: torch.Tensor, owners: torch.Tensor) -> None:
        self._check_noise()
        device = self.parameters[0].device.type
        if torch.is_autocast_enabled(device):
            raise ValueError(
                "Expected full precision. Found torch.autocast, in which norms overflow and are rounded, so that clipping "
                "does not bound what one patient adds. Leave the autocast block."
            )
        if torch.get_float32_matmul_precision() != "highest":
            raise ValueError(
                "Expected products of float32 in full precision. Found "
                f"torch.get_float32_matmul_precision() == {torch.get_float32_matmul_precision()!r}, which rounds what one "
                'patient adds. Call torch.set_float32_matmul_precision("highest").'
            )
        if owners.dtype != torch.int64 or owners.shape != inputs.shape[:1]:
            raise ValueError("Expected owners to be an int64 tensor with the patient of each row of inputs.")

    def _row_losses(self, outputs: Any, targets: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        losses = self.row_loss(outputs, targets)
        if losses.shape != inputs.shape[:1]:
            raise ValueError("Expected row_loss to give one loss a row. Use a criterion with reduction='none'.")
        return losses


class PatientFactors:
    """How much of each row's gradient is added, so that no patient adds more than `max_grad_norm`.

    Parameters
    ----------
    squares : torch.Tensor of shape (n_rows,), float64
        Squared norm of each row's gradient; rows where it is not finite, or above 1e30, add nothing.
    owners : torch.Tensor of shape (n_rows,), int64
        The patient of each row.
    """

    def __init__(self, squares: torch.Tensor, owners: torch.Tensor) -> None:
        self.finite = squares <= _LONGEST**2  # also not where it is NaN
        self.squares = squares.where(self.finite, torch.zeros_like(squares))
        self.patients, self.place = owners.unique(return_inverse=True)

    @property
    def one_row_each(self) -> bool:
        """Whether no patient has two rows."""
        return len(self.patients) == len(self.place)

    def by_patient(self, values: torch.Tensor) -> torch.Tensor:
        """Sums of the rows' values over each patient's rows."""
        return values.new_zeros(len(self.patients), *values.shape[1:]).index_add_(0, self.place, values)

    def rows(self, max_grad_norm: float, products: torch.Tensor | None = None) -> torch.Tensor:
        """A factor for each row, in float64.

        Parameters
        ----------
        max_grad_norm : float
            What one patient may add.
        products : torch.Tensor of shape (n_rows, n_rows), optional
            Inner products of the rows' gradients; without, a patient's norm is bounded by the sum of the rows' norms.
        """
        longest = self.by_patient(self.squares.sqrt())  # the rows' norms, added
        norms = longest
        if products is not None:
            same = self.place[:, None] == self.place[None]
            norms = self.by_patient(products.where(same, torch.zeros_like(products)).sum(1)).clamp(min=0).sqrt()
        bound = norms + _ROUNDING * longest
        factors = max_grad_norm / bound.clamp(min=max_grad_norm)
        return factors[self.place] * self.finite


def row_squares(values: torch.Tensor) -> torch.Tensor:
    """Squared norms of rows in float64; infinite for a row that is longer than 1e15, so that it adds nothing."""
    parts = values.split(2**16, dim=1)  # there can be millions of columns, too many to copy in double precision
    squares = sum(torch.linalg.vector_norm(part, dim=1, dtype=torch.float64).square() for part in parts)
    return squares.where(squares <= _LONGEST**2, torch.full_like(squares, torch.inf))
