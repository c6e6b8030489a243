"""skorch's classifier on public terms: what it would read, keep, print or ship of private rows is taken away."""

from __future__ import annotations

import copy
import inspect
from contextlib import nullcontext
from typing import Any, Self

import cloudpickle
import numpy as np
import torch
from skorch import NeuralNetClassifier

from skdpal.estimators.neural.adapters import adapt, freeze
from skdpal.estimators.neural.callbacks import check_callbacks
from skdpal.estimators.neural.trainer import Seeded
from skdpal.privacy.errors import LedgerError
from skdpal.privacy.validation import check_count, check_finite

__all__ = ["PublicTermsNet"]


class PublicTermsNet(NeuralNetClassifier):
    """A skorch classifier that has no loop of its own, no record of losses, and no way to look at patients.

    Subclasses train; they set `schema_`, the numbers of columns and classes, and `classes_inferred_` first.
    """

    @property
    def classes_(self) -> np.ndarray:
        """Labels, sorted; known after the first `fit`.

        Raises
        ------
        AttributeError
            Before `fit`, unless classes were given.
        """
        try:
            return self.classes_inferred_
        except AttributeError:
            raise AttributeError(f"{type(self).__name__} has no classes_ before fit.") from None

    @property
    def _default_callbacks(self) -> list[Any]:
        return []  # skorch's own record and print losses of private rows

    def _set_params_callback(self, **params: Any) -> None:
        if self.callbacks_:  # skorch's own does not expect that there are none
            super()._set_params_callback(**params)

    def initialize_module(self) -> Self:
        """The module, made or copied, with what shall not learn frozen."""
        given = self.get_params_for("module")
        with self._public_randomness():
            if isinstance(self.module, torch.nn.Module) and not given:
                module = copy.deepcopy(self.module)
            else:
                maker = type(self.module) if isinstance(self.module, torch.nn.Module) else self.module
                takes = inspect.signature(maker).parameters
                facts = zip(("n_features", "n_classes"), self.schema_, strict=True)
                module = maker(**{name: fact for name, fact in facts if name in takes} | given)
            if self.adapter_rank is not None:
                adapt(module, self.adapter_rank)
        if self.trainable is not None:
            freeze(module, self.trainable)
        self.module_ = module
        return self

    def initialize_criterion(self) -> Self:
        """The criterion, one loss a row."""
        if isinstance(self.criterion, torch.nn.Module):
            self.criterion_ = copy.deepcopy(self.criterion)
            self.criterion_.reduction = "none"
        else:
            self.criterion_ = self.criterion(**{**self.get_params_for("criterion"), "reduction": "none"})
        return self

    def check_training_readiness(self) -> None:
        """As skorch, and nothing that would read private rows without paying.

        Raises
        ------
        ValueError
            If `train_split` or `compile` is set.
        """
        super().check_training_readiness()
        if self.train_split is not None:
            raise ValueError(
                "Expected train_split=None: validation on patients is an uncharged release. Pass public_validation=(X, y)."
            )
        if self.compile:
            raise ValueError("Expected compile=False: a compiled module hides the layers whose gradients are clipped.")
        check_callbacks(self.callbacks)

    def fit_loop(self, X: Any, y: Any = None, epochs: Any = None, **fit_params: Any) -> Self:
        """Refused: `fit` and `partial_fit` charge, skorch's own loop does not.

        Raises
        ------
        LedgerError
            If it is called by anybody but `fit` and `partial_fit`, which charge.
        """
        raise LedgerError(
            f"{type(self).__name__} trains by fit and partial_fit only, which charge the ledger. Call one of these instead."
        )

    train_step = train_step_single = run_single_epoch = validation_step = fit_loop

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "module_")

    def __getstate__(self) -> dict[str, Any]:
        # skorch pickles its torch parts by reference to their module, which workers do not have for __main__ and notebooks
        state = {name: value for name, value in self.__dict__.items() if name != "_callback_fit_ctx"}
        parts = tuple(self.cuda_dependent_attributes_)
        torch_parts = {name: state.pop(name) for name in list(state) if name.startswith(parts)}
        state["__cuda_dependent_attributes__"] = cloudpickle.dumps(torch_parts)
        return state

    # -- inside --------------------------------------------------------------------------------

    def _row_loss(self, outputs: Any, targets: torch.Tensor) -> torch.Tensor:
        loss = self.get_loss(outputs[0] if isinstance(outputs, tuple) else outputs, targets)
        return loss if self.class_weight is None else loss * self._weights().to(loss)[targets]

    def _weights(self) -> torch.Tensor:
        weight = self.class_weight
        if isinstance(weight, str):
            raise ValueError(
                f"Expected class_weight to be a public weight for each class. Found {weight!r}. "
                "Weights computed from private labels would leak their counts; pass {label: weight}."
            )
        if isinstance(weight, dict):
            weight = [weight.get(label, 1.0) for label in self.classes_.tolist()]
        values = check_finite("class_weight", weight)
        if values.shape != self.classes_.shape or (values < 0).any():
            raise ValueError(
                f"Expected class_weight to be {len(self.classes_)} numbers of 0 or more. Found {weight!r}."
            )
        return torch.from_numpy(values)

    def _public_randomness(self) -> Any:
        return nullcontext() if self.random_state is None else Seeded(check_count("random_state", self.random_state))
