"""One run of a private search, and how the best of several is kept.

Invariants
----------
* A run is independent of the others, given the data. It fits on some patients and scores on the rest, with noise.
* `best_of` keeps the best and forgets everything else: how many runs there were, their scores and models.
  Nothing of it is printed, warned about or raised.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing

from skdpal.model_selection.metrics import Metric, noisy_counts
from skdpal.model_selection.payers import Prepaid, Rehearsal, Stopped, with_payer
from skdpal.privacy import events
from skdpal.privacy.events import Event
from skdpal.privacy.randomness import current_simulation

__all__ = ["Cohort", "Run", "Runner", "best_of", "discreetly"]


@dataclass(frozen=True, eq=False)
class Run:
    """What a run would release."""

    score: float
    parameters: dict[str, Any]
    model: Any


@dataclass(frozen=True, eq=False)
class Cohort:
    """Rows, labels and the patient of each row."""

    X: Any
    y: Any
    ids: Sequence[str]

    def take(self, mask: np.ndarray) -> Cohort:
        """Those rows."""
        rows = np.flatnonzero(mask)
        return Cohort(_safe_indexing(self.X, rows), _safe_indexing(self.y, rows), [self.ids[row] for row in rows])


@dataclass(frozen=True, eq=False)
class Runner:
    """Fits a candidate on the training patients and scores it on the others.

    Attributes
    ----------
    payer : PrivacyLedger or Handle or None
        Who paid for all runs; None in a simulation.
    receipt : Receipt or None
        For what.
    """

    estimator: Any
    train: Cohort
    validation: Cohort
    metric: Metric
    noise_multiplier: float
    payer: Any = None
    receipt: Any = None

    def __call__(self, parameters: dict[str, Any], event: Event) -> Run:
        """One run; `event` is what its fit was priced at."""
        once = events.composed([event, self.metric.mechanism(self.noise_multiplier).event])
        payer = None if self.payer is None else Prepaid(self.payer, once, self.receipt)
        model = _fit(self.estimator, parameters, self.train, payer)
        sums, n_patients = noisy_counts(
            self.metric,
            model,
            self.validation.X,
            self.validation.y,
            ledger=payer,
            noise_multiplier=self.noise_multiplier,
            record_ids=self.validation.ids,
        )
        score = self.metric.value(sums, n_patients, self.noise_multiplier)
        # later charges go to the ledger itself; and a run that lost leaves nothing behind
        return Run(float(score), parameters, with_payer(model, self.payer))


def rehearse(estimator: Any, parameters: dict[str, Any], event: Event, everybody: Cohort, payer: Any) -> None:
    """Let a fit check its input up to where it would pay."""
    with contextlib.suppress(Stopped):
        _fit(estimator, parameters, everybody, Rehearsal(payer, event))


def best_of(run: Callable[[], Run], repeats: int, pad_to: int = 0) -> Run:
    """The best of so many runs; of equals the first. More runs, up to `pad_to`, take their time and lose."""
    best = run()
    for _ in range(repeats - 1):
        other = run()
        if other.score > best.score:
            best = other
    for _ in range(pad_to - repeats):
        run()
    return best


def discreetly(work: Callable[[], Run]) -> Run | None:
    """Do something without a word; None if it fails, whatever the reason."""
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            with contextlib.redirect_stderr(io.StringIO()):
                return work()
    except Exception:  # noqa: BLE001 - which run failed, and why, would be a release
        if current_simulation() is not None:
            raise
        return None


def _fit(estimator: Any, parameters: dict[str, Any], cohort: Cohort, payer: Any) -> Any:
    model = with_payer(clone(estimator).set_params(**parameters), payer)
    return model.fit(cohort.X, cohort.y, **_owners(model, cohort.ids))


def _owners(model: Any, ids: Sequence[str]) -> dict[str, Any]:
    """The patients of the rows, for every step that asks: arrays between steps have no index."""
    steps = model.steps if isinstance(model, Pipeline) else [("", model)]
    asking = [name for name, step in steps if "record_ids" in _parameters_of(step)]
    if not asking and len(set(ids)) < len(ids):
        raise ValueError(
            "Expected one row a patient: no step of the estimator takes record_ids, so that several rows of one "
            "patient would count as several patients. Merge them, or use an estimator that takes record_ids."
        )
    return {f"{name}__record_ids" if name else "record_ids": list(ids) for name in asking}


def _parameters_of(step: Any) -> Any:
    return inspect.signature(step.fit).parameters if hasattr(step, "fit") else ()
