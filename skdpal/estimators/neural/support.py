"""Which modules have a gradient for each patient, and which of them the fast engine takes; decided without data."""

from __future__ import annotations

import math

import torch
from torch import nn

from skdpal.estimators.neural.clipping import Outer, Rows, taps

__all__ = ["check_trainable", "linear_obstacle"]

_ROWS = 3
_LAYERS = {nn.Linear: {"weight", "bias"}, nn.GroupNorm: {"weight", "bias"}, nn.LayerNorm: {"weight", "bias"}}


def check_trainable(module: nn.Module) -> None:
    """Raise unless clipping can bound what one patient adds.

    Raises
    ------
    ValueError
        For statistics over rows, wrappers over devices, reduced precision, or nothing to train.
    """
    for name, layer in module.named_modules():
        found = f"Found {type(layer).__name__} at {name or 'the top'!r}."
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise ValueError(
                f"Expected layers that read one row at a time. {found} Its statistics mix patients, so there is no "
                "per-patient gradient. Use torch.nn.GroupNorm(groups, width, affine=False)."
            )
        if isinstance(layer, nn.modules.instancenorm._InstanceNorm) and layer.track_running_stats:
            raise ValueError(
                f"Expected layers without statistics of patients. {found} Its running statistics would be released without "
                "noise. Set track_running_stats=False, or use torch.nn.GroupNorm(groups, width, affine=False)."
            )
        if isinstance(layer, nn.DataParallel | nn.parallel.DistributedDataParallel):
            raise ValueError(f"Expected a module on one device. {found} Pass what it wraps.")
    _check_parameters(module)


def _check_parameters(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise ValueError(f"Expected initialised parameters. Found {name!r} without a shape. Run the module once.")
        if parameter.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"Expected parameters of torch.float32 or torch.float64. Found {parameter.dtype} at {name!r}, in which "
                "norms are rounded too much to clip. Call module.float()."
            )
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not learning:
        raise ValueError("Expected a module with a parameter that requires gradients. Found none. Unfreeze a layer.")
    if len({(parameter.dtype, parameter.device) for parameter in learning}) > 1:
        raise ValueError("Expected trainable parameters of one dtype on one device. Call module.to(device, dtype).")


def linear_obstacle(module: nn.Module) -> str:
    """Why `LinearEngine` cannot train a module; empty if it can.

    Parameters
    ----------
    module : torch.nn.Module
        Of any kind. What its forward pass does is tried on made-up rows, in evaluation mode, and compared with autograd.
    """
    layers = list(module.named_modules(remove_duplicate=False))
    learning = [(name, layer) for name, layer in layers if _learns(layer)]
    if len({layer for _, layer in learning}) < len(learning):
        return "a layer that learns has two places"
    names = [(name, p) for name, p in module.named_parameters(remove_duplicate=False) if p.requires_grad]
    if len({parameter for _, parameter in names}) < len(names):
        return "two layers share a parameter"
    for name, layer in learning:
        if not set(layer._parameters) <= _LAYERS.get(type(layer), set()):
            return f"{type(layer).__name__} at {name or 'the top'!r} learns, and is no linear layer or norm"
    first = next((layer for _, layer in layers if type(layer) is nn.Linear), None)
    return _forward_obstacle(module, first.in_features) if first is not None else "it has no linear layer"


def _learns(layer: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in layer.parameters(recurse=False))


def _forward_obstacle(module: nn.Module, width: int) -> str:
    one = next(parameter for parameter in module.parameters() if parameter.requires_grad)
    rows = torch.arange(_ROWS * width, dtype=one.dtype, device=one.device).sin().reshape(_ROWS, width)
    training = {layer: layer.training for layer in module.modules()}
    try:
        module.eval()
        return _difference(module, rows)
    except Exception as error:  # noqa: BLE001  # forward passes of others can fail in any way
        return f"on rows of {width} numbers its forward pass fails: {str(error).splitlines()[0] if str(error) else error!r}"
    finally:
        for layer, mode in training.items():
            layer.training = mode


def _difference(module: nn.Module, rows: torch.Tensor) -> str:
    """Compare with autograd, one parameter at a time and along one direction, to hold one gradient at most."""

    def objective(outputs: torch.Tensor) -> torch.Tensor:
        return (outputs.flatten() * _direction(outputs.numel(), outputs)).sum()

    with torch.enable_grad():
        pieces = {piece.parameter: piece for piece in taps(module, rows, objective)}
        size = math.sqrt(sum(piece.squares().sum().item() for piece in pieces.values()))
        total = objective(module(rows))
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            (gradient,) = torch.autograd.grad(total, parameter, retain_graph=True, allow_unused=True)
            piece = pieces.get(parameter)
            if (gradient is None) != (piece is None):
                return f"{name!r} is used outside its layer"
            if gradient is not None and not _agree(piece, gradient, size):
                return f"{name!r} is used outside its layer, too"
    return ""


def _agree(piece: Outer | Rows, gradient: torch.Tensor, size: float) -> bool:
    if isinstance(piece, Outer):
        left, right = _direction(gradient.shape[0], gradient), _direction(gradient.shape[1], gradient)
        ours, theirs = (piece.outward @ left) @ (piece.inward @ right), left @ gradient @ right
        length = left.norm() * right.norm()
    else:
        direction = _direction(gradient.numel(), gradient)
        ours, theirs = piece.values.sum(0) @ direction, gradient.flatten() @ direction
        length = direction.norm()
    # where a gradient is nearly zero, what is left of it is rounding of larger ones
    return bool((ours - theirs).abs() <= (1e-3 * gradient.norm() + 1e-5 * size) * length)


def _direction(size: int, like: torch.Tensor) -> torch.Tensor:
    return (torch.arange(size, dtype=like.dtype, device=like.device) + 1).cos()
