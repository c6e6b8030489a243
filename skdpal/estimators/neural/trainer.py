"""One training of a network: engine, optimizer, callbacks and public stopping, in the order of skorch's loop."""

from __future__ import annotations

from typing import Any

import torch

from skdpal.estimators.neural.callbacks import Progress
from skdpal.estimators.neural.engines import engine_for
from skdpal.estimators.neural.probe import check_module
from skdpal.estimators.neural.stopping import PublicValidation
from skdpal.estimators.neural.training import Recipe
from skdpal.privacy.validation import check_real

__all__ = ["Seeded", "Trainer"]


class Seeded:
    """torch's own generator, seeded for a while; it has weights and masks to draw, never noise."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __enter__(self) -> None:
        self._fork = torch.random.fork_rng()
        self._fork.__enter__()
        torch.manual_seed(self.seed)

    def __exit__(self, *error: Any) -> None:
        self._fork.__exit__(*error)


class Trainer:
    """What `NoisyGradientDescent` steers: engine, optimizer, callbacks, public stopping."""

    def __init__(self, net: Any, recipe: Recipe) -> None:
        self.net, self.module, self.recipe = net, net.module_, recipe
        check_module(net.module_, net._row_loss, *net.schema_)
        net.module_.train()
        self.engine = engine_for(
            net.module_,
            net._row_loss,
            noise_multiplier=recipe.noise_multiplier,
            max_grad_norm=check_real("max_grad_norm", net.max_grad_norm, above=0.0),
            mode=net.engine,
        )
        net.engine_ = self.engine.mode
        self.validation = PublicValidation.of(net)
        self.done = 0
        self.progress = Progress(net, recipe.steps)
        # callbacks see the network, never the patients
        net.notify("on_train_begin", X=None, y=None)

    def noisy_gradients(self, rows: Any, codes: Any, owners: Any, normaliser: float) -> float:
        """By the engine; returns the noise multiplier that the engine holds."""
        net = self.net
        if self.done % self.recipe.steps_per_epoch == 0:
            net.notify("on_epoch_begin", dataset_train=None, dataset_valid=None)
            net.history.record("train_batch_count", self.recipe.steps_per_epoch)
        net.notify("on_batch_begin", batch=None, training=True)
        net.module_.train()
        self.engine.gradients(rows, codes, owners=owners, normaliser=normaliser)
        net.notify("on_grad_computed", named_parameters=list(net.module_.named_parameters()), batch=None, training=True)
        return self.engine.noise_multiplier

    def step(self) -> bool:
        """One step of the optimizer."""
        net = self.net
        net.optimizer_.step()
        self.done += 1
        net.notify("on_batch_end", batch=None, training=True)
        if self.done % self.recipe.steps_per_epoch:
            return True
        net.notify("on_epoch_end", dataset_train=None, dataset_valid=None)
        self.progress.advance(self.done)
        return self.validation is None or self.validation.go_on()

    def end(self) -> None:
        """Leave the network as it is released."""
        self.engine.release()
        self.progress.close()
        if self.validation is not None:
            self.validation.restore()
        for parameter in self.module.parameters():
            parameter.grad = None
        self.module.eval()
        self.net.notify("on_train_end", X=None, y=None)
