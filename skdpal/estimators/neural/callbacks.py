"""Who may watch training: whoever reads the network, the learning rate and the clock of steps, never the patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from skorch import callbacks as skorch_callbacks

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # before scikit-learn 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""

    def with_callbacks(method: Any) -> Any:  # type: ignore[misc]
        """The method as it is."""
        return method


__all__ = ["CallbackSupportMixin", "Progress", "check_callbacks", "with_callbacks"]

# they score, print or stop by what they read from private rows
_REFUSED = tuple(
    getattr(skorch_callbacks, name)
    for name in ("EpochScoring", "BatchScoring", "PassthroughScoring", "EarlyStopping", "PrintLog", "EpochTimer")
) + (skorch_callbacks.Checkpoint, skorch_callbacks.ProgressBar)


def check_callbacks(given: Any) -> None:
    """Refuse skorch callbacks that read private rows, or the time a batch takes."""
    for entry in given if isinstance(given, Sequence) and not isinstance(given, str) else []:
        callback = entry[1] if isinstance(entry, tuple) else entry
        kind = callback if isinstance(callback, type) else type(callback)
        if issubclass(kind, _REFUSED):
            raise ValueError(
                f"Expected callbacks that read no patients. Found {kind.__name__}, whose figures would leave without a receipt. "
                "Use public_validation=(X, y) to stop early, verbose=1 for progress, LRScheduler for schedules."
            )


class Progress:
    """Shows which of the planned steps is done: a bar of rich, and scikit-learn's callbacks where it has them."""

    def __init__(self, net: Any, steps: int) -> None:
        self.net, self.steps, self.bar = net, steps, None
        self.context = self._context()
        if net.verbose:
            from rich.progress import Progress as Bar

            self.bar = Bar(transient=True)
            self.bar.start()
            self.task = self.bar.add_task("private training", total=steps)

    def advance(self, done: int) -> None:
        """So many steps are done."""
        if self.bar is not None:
            self.bar.update(self.task, completed=done)
        if self.context is not None:
            # no rows go along, so that a callback has nothing private to score
            self.context.subcontext(task_name="epoch").call_on_fit_task_begin(estimator=self.net).call_on_fit_task_end(
                estimator=self.net
            )

    def close(self) -> None:
        """Training has ended."""
        if self.bar is not None:
            self.bar.stop()
        if self.context is not None:
            self.context.call_on_fit_task_end(estimator=self.net)

    def _context(self) -> Any:
        if not hasattr(self.net, "_init_callback_context"):
            return None
        context = self.net._init_callback_context(max_subtasks=self.net.max_epochs)
        return context.call_on_fit_task_begin(estimator=self.net)
