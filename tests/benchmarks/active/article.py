"""The article's own case: 32 labelled, 8 held out, a pool of 50, 3 labels a round, 5 rounds, "ε = 2".

python -m tests.benchmarks.active.article    # 20 splits; writes docs/benchmarks/article.csv and article.png
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed

from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger, PrivateActiveLearner, PrivateQuery
from skdpal.datasets import load_leukemia
from skdpal.learner.planning import classic_mistake
from skdpal.privacy import PrivacyLeakWarning
from skdpal.privacy.randomness import simulation
from tests.benchmarks.active import sgd
from tests.benchmarks.active.methods import one_shot, public_model
from tests.benchmarks.active.protocol import DELTA, Case, Protocol, embed, noise_of
from tests.benchmarks.cohorts.cohorts import Cohort, Split

DOCS = Path(__file__).parents[3] / "docs" / "benchmarks"
COMMAND = "python -m tests.benchmarks.active.article"
EPSILON, ROUNDS, EACH = 2.0, 5, 3
PROTOCOL = Protocol(start=32, pool=50, labels=ROUNDS * EACH)
N_PUBLIC = 35  # a little more after rounding class by class: 36
N_SPLITS = 20
GENES = 1000  # most variable in public rows, for the network

OURS = "skdpal: start held, 5 rounds of 3"
OURS_AT_ONCE = "skdpal: start held, all 15 at once"
RANDOM = "one-shot random"
PUBLIC = "public model alone"
LOOP = "the article's loop, σ = 1"
LOOP_PUBLIC = "the article's loop after public pre-training, σ = 1"
LOOP_HONEST = "the same with the noise that ε = 2 takes, σ = 4.7"


def cohort() -> Cohort:
    """Which fusion gene, if any, a leukaemia has: 90 patients, the other 36 public by declaration."""
    data = load_leukemia("molecular_biology")
    words = f"{N_PUBLIC} of the {len(data.target)} patients, by declaration"
    return Cohort("ALL, fusion gene", words, data.data, np.asarray(data.target, dtype=str), n_public=N_PUBLIC)


def run(seed: int, honest_noise: float) -> list[dict[str, Any]]:
    """All methods on one split: accuracy on the 8 who were held out, after each round."""
    torch.set_num_threads(1)
    data = cohort()
    split = data.split(seed)
    case, rows = embed(split, PROTOCOL, data.sample_scaling, seed), []
    for method, after in _methods(case, split, seed, honest_noise).items():
        for number, (right, labels) in enumerate(after):
            rows.append({"split": seed, "method": method, "round": number, "accuracy": right, "labels": labels})
    return rows


def _methods(case: Case, split: Split, seed: int, honest_noise: float) -> dict[str, list[tuple[float, int]]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyLeakWarning)
        with simulation(seed):
            ours = list(_study(case, ROUNDS))
        with simulation(seed):
            at_once = list(_study(case, 1))
        with simulation(seed):
            once, n = one_shot(case, EPSILON)
    public = _right(public_model(case, EPSILON)[0], case)
    return {
        OURS: ours,
        OURS_AT_ONCE: [ours[0], *[at_once[-1]] * ROUNDS],
        RANDOM: [(public, 0)] + [(_right(once, case), n)] * ROUNDS,
        PUBLIC: [(public, 0)] * (ROUNDS + 1),
        LOOP: list(_loop(split, seed, 1.0, informed=False)),
        LOOP_PUBLIC: list(_loop(split, seed, 1.0, informed=True)),
        LOOP_HONEST: list(_loop(split, seed, honest_noise, informed=True)),
    }


def _right(model: Any, case: Case) -> float:
    return float((np.asarray(model.predict(case.X[case.judges])) == case.y[case.judges]).mean())


def _study(case: Case, rounds: int) -> Iterator[tuple[float, int]]:
    """The hidden study at ε = 2, whatever the number of rounds: each patient is in one release."""
    ids, start = case.ids, case.protocol.start
    query = PrivateQuery("margin", "hidden", case.reference, case.protocol.pool, acceptance="probability", tilt=1.0)
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(noise_of(EPSILON), case.prior),
        query,
        case.X[:start],
        case.y[:start],
        ledger=PrivacyLedger(PrivacyBudget(EPSILON, DELTA)),
        record_ids=ids[:start],
        hold_start=True,
    )
    X, y, names, n = case.X[start : len(ids)], case.y[start : len(ids)], np.array(ids[start:]), start
    yield _right(learner, case), 0
    for _ in range(rounds):
        chosen, rows = learner.query(X, case.protocol.labels // rounds, record_ids=list(names))
        learner.teach(rows, y[chosen], record_ids=list(names[chosen]))
        n += len(chosen)
        yield _right(learner, case), n


def _loop(split: Split, seed: int, noise: float, *, informed: bool) -> Iterator[tuple[float, int]]:
    """Train on everybody, ask for three, five times; a fresh network each time, as the budget is spent anew each time."""
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    keep = np.argsort(-split.X_public.var(axis=0), kind="stable")[:GENES]
    mean, spread = split.X_public[:, keep].mean(axis=0), np.maximum(split.X_public[:, keep].std(axis=0), 1e-9)
    public, rows = (split.X_public[:, keep] - mean) / spread, (split.X[:, keep] - mean) / spread
    codes, public_codes = (np.searchsorted(split.classes, labels) for labels in (split.y, split.y_public))
    n_start, n_all = PROTOCOL.start, PROTOCOL.start + PROTOCOL.pool
    labelled, pool = list(range(n_start)), list(range(n_start, n_all))

    def begin() -> torch.nn.Module:
        model = sgd.network(GENES, len(split.classes))
        return sgd.pretrain(model, public, public_codes) if informed else model

    def accuracy(model: torch.nn.Module) -> float:
        return float((sgd.predict(model, rows[n_all:]).argmax(axis=1) == codes[n_all:]).mean())

    model = begin()
    yield accuracy(model), 0
    for _ in range(ROUNDS):
        model = sgd.train(begin(), rows[labelled], codes[labelled], noise)
        yield accuracy(model), len(labelled)
        asked = sgd.noisy_query(sgd.predict(model, rows[pool]), EPSILON / (2 * ROUNDS), DELTA, EACH, random)
        labelled += [pool[place] for place in asked]
        pool = [patient for place, patient in enumerate(pool) if place not in set(asked)]


def table(rows: pd.DataFrame, spent: tuple[float, ...]) -> pd.DataFrame:
    """By method and round: accuracy with its standard error, labels, ε that was said and ε that was spent."""
    found = rows.groupby(["method", "round"], sort=False).agg(
        accuracy=("accuracy", "mean"),
        standard_error=("accuracy", "sem"),
        labels=("labels", "mean"),
        n_splits=("split", "size"),
    )
    found = found.reset_index()
    honest = {LOOP: spent, LOOP_PUBLIC: spent}
    found["epsilon_said"] = np.where(found["method"] == PUBLIC, 0.0, EPSILON)
    found["epsilon_spent"] = [
        0.0 if method == PUBLIC or number == 0 else honest.get(method, (EPSILON,) * ROUNDS)[number - 1]
        for method, number in zip(found["method"], found["round"], strict=True)
    ]
    return found


_STYLES = {
    OURS: ("#0b5d8a", "-", "o"),
    OURS_AT_ONCE: ("#5aa9c7", "--", ""),
    RANDOM: ("#7a4fa3", "--", ""),
    PUBLIC: ("#888888", ":", ""),
    LOOP: ("#b3261e", "-", "o"),
    LOOP_PUBLIC: ("#c77b1e", "-", "o"),
    LOOP_HONEST: ("#c77b1e", ":", "o"),
}


def draw(found: pd.DataFrame, path: Path) -> None:
    """Left what is reached, right what it really cost."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.6), layout="constrained")
    for method, (colour, line, marker) in _STYLES.items():
        part = found[(found["method"] == method) & (found["round"] > 0)]
        style = {"color": colour, "linestyle": line, "marker": marker, "ms": 4}
        bars = part["standard_error"] if marker else None
        left.errorbar(part["round"], part["accuracy"], bars, label=method, capsize=2, **style)
    for method in (OURS, LOOP):
        part = found[(found["method"] == method) & (found["round"] > 0)]
        colour, line, marker = _STYLES[method]
        right.plot(part["round"], part["epsilon_spent"], color=colour, linestyle=line, marker=marker, ms=4)
        last = part.iloc[-1]
        right.annotate(
            f"{last['epsilon_spent']:.1f}",
            (last["round"], last["epsilon_spent"]),
            (6, -3),
            textcoords="offset points",
            color=colour,
        )
    right.axhline(EPSILON, color="#888888", lw=1, ls=":")
    right.text(1, EPSILON + 0.3, "what both are said to cost", color="#666666", fontsize=9)
    left.set(
        xlabel="round",
        ylabel="accuracy on the 8 held out",
        title="What is reached",
    )
    right.set(
        xlabel="round",
        ylabel="ε spent so far (δ = 1e-5)",
        ylim=(0, None),
        xlim=(0.8, 5.6),
        title="What it cost, training alone",
    )
    for axis in (left, right):
        axis.set_xticks(range(1, ROUNDS + 1))
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    figure.suptitle(
        f"The article's case on 126 leukaemias: 32 labelled, pool of 50, 3 labels a round, {found['n_splits'].max()} splits"
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Run, print, write."""
    quick = "--quick" in sys.argv
    mistake = classic_mistake(PrivacyBudget(EPSILON, DELTA))
    jobs = int(os.environ.get("SKDPAL_JOBS", "2"))
    parts = Parallel(n_jobs=jobs)(delayed(run)(seed, mistake.needed) for seed in range(2 if quick else N_SPLITS))
    found = table(pd.DataFrame([row for part in parts for row in part]), mistake.epsilons)
    print(found.round(3).to_string(index=False))
    if not quick:
        (DOCS / "article.csv").write_text(f"# {COMMAND}\n{found.round(4).to_csv(index=False)}", encoding="utf-8")
        draw(found, DOCS / "article.png")


if __name__ == "__main__":
    main()
