"""Comparisons of methods on published data, in simulation mode only.

Nothing here is part of any guarantee: exact accuracies over many random splits are what a private study
may never look at. Therefore these functions take the *name* of a published data set, run in
seeded simulations, make their own ledgers in memory, and accept neither data nor a ledger.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from skdpal.datasets import load_srbct
from skdpal.estimators import DPPrototypeClassifier, PublicEncoder, PublicPrior, Release
from skdpal.learner.active_learner import PrivateActiveLearner
from skdpal.learner.plan import StudyPlan
from skdpal.privacy import PrivacyLeakWarning, PrivacyLedger
from skdpal.privacy.randomness import perturb, simulation
from skdpal.privacy.validation import check_count, check_one_of
from skdpal.query import PrivateQuery, score

__all__ = ["METHODS", "PUBLISHED", "compare_methods", "summarise"]

PUBLISHED = {"srbct": load_srbct}
_SILENT = 1e-6  # a noise multiplier that is no noise


@dataclass(frozen=True)
class _Setting:
    """What public data give, and the patients in the embedding."""

    plan: StudyPlan
    prior: PublicPrior
    reference: np.ndarray
    X: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class _Split:
    """Positions of the groups of one random split."""

    start: np.ndarray
    pool: np.ndarray
    evaluation: np.ndarray

    def first(self, n_labels: int) -> np.ndarray:
        """The start and, as the order is random, random others of the pool."""
        return np.concatenate([self.start, self.pool])[:n_labels]


Method = Callable[[_Setting, _Split], tuple[Any, int]]


def _study(setting: _Setting, split: _Split, *, utility: str, noise: float | None = None) -> tuple[Any, int]:
    """The hidden study: every cohort pays once."""
    plan = setting.plan
    model = DPPrototypeClassifier(plan.noise_multiplier if noise is None else noise, setting.prior)
    # without noise there is nothing to account for; such a ledger is never charged more than its ceiling
    ledger = PrivacyLedger(plan.budget if noise is None else type(plan.budget)(1e15, 1e-5))
    query = PrivateQuery(utility, reference=setting.reference, n_pool=plan.n_pool)
    names = [str(position) for position in range(len(setting.y))]
    start = [names[position] for position in split.start]
    learner = PrivateActiveLearner(
        model, query, setting.X[split.start], setting.y[split.start], ledger=ledger, record_ids=start
    )
    pool = [names[position] for position in split.pool]
    n_labels = len(split.start)
    for _ in range(plan.rounds):
        chosen, rows = learner.query(setting.X[split.pool], plan.labels_per_round, record_ids=pool)
        learner.teach(rows, setting.y[split.pool][chosen], record_ids=[pool[position] for position in chosen])
        n_labels += len(chosen)
    return learner.estimator, n_labels


def _one_shot(
    setting: _Setting, split: _Split, *, prior: bool = True, weight: Any = "fitted", noise: float | None = None
) -> tuple[Any, int]:
    """Random patients, all labelled at once, one release."""
    labelled = split.first(int(setting.plan.expected_labels))
    model = DPPrototypeClassifier(
        setting.plan.noise_multiplier if noise is None else noise,
        setting.prior if prior else None,
        setting.prior.classes,
        prior_weight=weight,
    )
    return model.fit(setting.X[labelled], setting.y[labelled]), len(labelled)


def _public(setting: _Setting, split: _Split) -> tuple[Any, int]:
    """The classifier before any patient: a release about nobody."""
    prior = setting.prior
    nothing = Release(np.zeros_like(prior.means), np.zeros(len(prior.means)), 1.0, 0.0)
    return DPPrototypeClassifier(1.0, prior).restore([nothing]), 0


def _usual(setting: _Setting, split: _Split, *, prior: bool = False) -> tuple[Any, int]:
    """The usual pipeline, made honest: retrain on everything each round, publish noisy choices, add it all up.

    Half of the budget (of μ²) for queries; everybody pays for everything.
    """
    plan = setting.plan
    training_noise = plan.noise_multiplier * np.sqrt(2 * (plan.rounds + 1))
    score_noise = 0.5 * plan.noise_multiplier * np.sqrt(2 * plan.rounds)  # scores move by 1/2
    model = DPPrototypeClassifier(training_noise, setting.prior if prior else None, setting.prior.classes)
    labelled, pool = split.start, split.pool
    model.fit(setting.X[labelled], setting.y[labelled])
    for _ in range(plan.rounds):
        scores = perturb(score("margin", model, setting.X[pool]), score_noise)
        chosen = np.argsort(-scores)[: plan.labels_per_round]
        labelled, pool = np.concatenate([labelled, pool[chosen]]), np.delete(pool, chosen)
        model.fit(setting.X[labelled], setting.y[labelled])
    return model, len(labelled)


METHODS: dict[str, Method] = {
    "usual pipeline, made honest": _usual,
    "one-shot random, no prior": lambda setting, split: _one_shot(setting, split, prior=False),
    "public model alone": _public,
    "usual pipeline, public prior": lambda setting, split: _usual(setting, split, prior=True),
    "one-shot random, fixed prior": lambda setting, split: _one_shot(setting, split, weight=3.0),
    "one-shot random, fitted prior": _one_shot,
    "hidden study, random": lambda setting, split: _study(setting, split, utility="random"),
    "hidden study, margin": lambda setting, split: _study(setting, split, utility="margin"),
    "hidden study, no privacy": lambda setting, split: _study(setting, split, utility="margin", noise=_SILENT),
    "one-shot random, no privacy": lambda setting, split: _one_shot(setting, split, noise=_SILENT),
}


def compare_methods(
    dataset: str,
    plan: StudyPlan,
    *,
    n_splits: int = 200,
    n_components: int = 16,
    sample_scaling: str | None = "standardize",
    seed: int = 0,
    n_jobs: int = 2,
    progress: Callable[[int], None] | None = None,
) -> pd.DataFrame:
    """Run every method on the same random splits of a published data set, at equal ε and equal labels.

    Parameters
    ----------
    dataset : {"srbct"}
        Its name; data cannot be passed.
    plan : StudyPlan
        Groups, labels and noise. Labels are equal on average: hidden studies accept a random number.
    n_splits : int, default=200
        Random splits into start, pool and evaluation.
    n_components, sample_scaling
        Of the `PublicEncoder`.
    seed : int, default=0
        Of the simulations.
    n_jobs : int, default=2
        Processes.
    progress : callable, optional
        Gets the number of splits that are done.

    Returns
    -------
    DataFrame
        One row for each split and method: "split", "method", "accuracy" on the evaluation patients, "labels" used.
    """
    check_one_of(
        "dataset", dataset, PUBLISHED, "Comparisons read exact accuracies, so only published data may be used."
    )
    check_count("n_splits", n_splits, least=1)
    setting = _setting(dataset, plan, n_components, sample_scaling)
    jobs = (delayed(_run)(setting, seed + number) for number in range(n_splits))
    rows: list[dict[str, Any]] = []
    for done, part in enumerate(_results(jobs, n_jobs), start=1):
        rows.extend(part)
        if progress is not None:
            progress(done)
    return pd.DataFrame(rows)


def summarise(results: pd.DataFrame) -> pd.DataFrame:
    """Mean accuracy with its standard error, and the labels each method really used.

    Returns
    -------
    DataFrame
        Indexed by method: "accuracy", "standard_error", "labels", "labels_5", "labels_95" (5th and
        95th percentile), "n_splits".
    """
    groups = results.groupby("method", sort=False)
    labels = groups["labels"]
    return pd.DataFrame(
        {
            "accuracy": groups["accuracy"].mean(),
            "standard_error": groups["accuracy"].std() / np.sqrt(groups.size()),
            "labels": labels.mean(),
            "labels_5": labels.quantile(0.05),
            "labels_95": labels.quantile(0.95),
            "n_splits": groups.size(),
        }
    )


def _setting(dataset: str, plan: StudyPlan, n_components: int, sample_scaling: str | None) -> _Setting:
    data = PUBLISHED[dataset]()
    public, X, y = data.is_cell_line, data.data, data.target
    encoder = PublicEncoder(n_components=n_components, sample_scaling=sample_scaling).fit(X[public], y[public])
    prior = DPPrototypeClassifier.prior_from_public(encoder.transform(X[public]), y[public])
    reference = encoder.out_of_sample(X[public], y[public])
    return _Setting(plan, prior, reference, encoder.transform(X[~public]), y[~public])


def _results(jobs: Iterator[Any], n_jobs: int) -> Iterator[list[dict[str, Any]]]:
    yield from Parallel(n_jobs=n_jobs, return_as="generator", batch_size=4)(jobs)


def _run(setting: _Setting, seed: int) -> list[dict[str, Any]]:
    """All methods on one split; each starts its own simulation, so that none moves another's noise."""
    sizes = np.cumsum([setting.plan.n_labelled, setting.plan.n_pool, setting.plan.n_evaluation])
    shuffled = np.random.default_rng(seed).permutation(len(setting.y))
    split = _Split(*np.split(shuffled, sizes)[:3])
    rows = []
    for name, method in METHODS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PrivacyLeakWarning)  # said on the page that shows the figures
            with simulation(seed):
                model, n_labels = method(setting, split)
        correct = np.asarray(model.predict(setting.X[split.evaluation])) == setting.y[split.evaluation]
        rows.append({"split": seed, "method": name, "accuracy": float(correct.mean()), "labels": n_labels})
    return rows
