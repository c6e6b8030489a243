"""The table of docs/guide/cold_start.md: how many studies fail to start, with and without `WarmStart`.

SKDPAL_DATA=FOLDER python -m tests.benchmarks.cold_start             # writes docs/benchmarks/cold_start.csv and the figure
SKDPAL_DATA=FOLDER python -m tests.benchmarks.cold_start --quick     # 5 splits of three cohorts, writes nothing

Every study is one of `PrivateActiveLearner` with what `WarmStart` hands out, in simulation: 10 labelled patients, then two rounds of about 3
labels, so three releases, at ε = 2 end to end.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from skdpal import PrivacyBudget, PrivacyLedger, PrivateActiveLearner, WarmStart
from skdpal.cohort import PublicSource, cold_start_failures
from skdpal.privacy import PrivacyLeakWarning
from skdpal.privacy.randomness import simulation
from tests.benchmarks.active.protocol import PROTOCOLS
from tests.benchmarks.cohorts.cohorts import Cohort, Split, load_cohort

DOCS = Path(__file__).parents[2] / "docs" / "benchmarks"
COMMAND = "SKDPAL_DATA=FOLDER python -m tests.benchmarks.cold_start"
BUDGET = PrivacyBudget(2.0, 1e-5)
START, EACH, ROUNDS = 10, 3, 2
SHIFT_NOISE = 5.0
FIRST = 2000  # confidence 1 and 6 dimensions were chosen on splits 0 to 14
N_SPLITS, N_SIDE = 200, 60  # of the main arms, and of the others
N_RESAMPLES = 4000
# the questions of tests/benchmarks/cohorts on expression data: clinical columns cannot be scaled without public data
POOLS = {name: 8 if name == "golub" else protocol.pool for name, protocol in PROTOCOLS.items() if name != "metabric"}
OTHER = {"fusion": "stage", "remission": "lineage", "relapse": "lineage"}  # other labels of the same public patients

ARTICLE = "no public data: uncertainty from 10 labels"
PUBLIC, ONE_SHOT = "public model alone", "one-shot random"
FULL = "WarmStart"
TRUSTED = "WarmStart, who is trusted predicts"
NO_SWITCH = "WarmStart without the switch"


@dataclass(frozen=True)
class Arm:
    """A way to start.

    Attributes
    ----------
    source : {"nothing", "unlabelled", "no prior", "other", "same"}
        "no prior": the embedding of "same", without class means.
    scorer : str or None
        Of `PrivateQuery`; None: the switch.
    shift : bool
        Whether everybody pays for a shift first.
    """

    source: str
    scorer: str | None = None
    shift: bool = False


ARMS = {
    ARTICLE: Arm("nothing", "released"),  # the switch would change nothing: six dimensions have κ >= 2 from the start
    "no public data: WarmStart with shift": Arm("nothing", shift=True),
    "unlabelled public data: uncertainty from 10 labels": Arm("unlabelled", "released"),
    "unlabelled public data: WarmStart": Arm("unlabelled"),
    "other public labels: WarmStart": Arm("other"),
    "public embedding, no prior: uncertainty from 10 labels": Arm("no prior", "released"),
    FULL: Arm("same"),
    NO_SWITCH: Arm("same", "released"),
    "WarmStart with shift": Arm("same", shift=True),
}
MAIN = (ARTICLE, FULL, NO_SWITCH)
COLOURS = {
    ARTICLE: "#b3261e",
    FULL: "#0b5d8a",
    TRUSTED: "#2e7d4f",
    PUBLIC: "#777777",
}  # of what the figure shows by question


def run(name: str, seed: int) -> list[dict[str, Any]]:
    """All arms on one split: accuracy after each of three releases, on those who are neither in the start nor in the pool."""
    cohort = load_cohort(name)
    split, pool = cohort.split(seed), POOLS[name]
    truth = split.y[START + pool :]
    arms = ARMS if seed < FIRST + N_SIDE else {method: ARMS[method] for method in MAIN}
    sources = {
        kind: make()
        for kind, make in _sources(name, cohort, split).items()
        if kind in {arm.source for arm in arms.values()}
    }
    embedded = {kind: source.encoder.transform(split.X) for kind, source in sources.items()}
    public = WarmStart(sources["same"], BUDGET)
    alone = _right(public.estimator().public_model(), embedded["same"][START + pool :], truth)
    majority = max((truth == label).mean() for label in split.classes)
    rows = []

    def add(method: str, after: list[float], labels: int = 0, released: float = np.nan) -> None:
        row = {"cohort": name, "split": seed, "method": method, "labels": labels, "released": released}
        rows.append(
            {
                **row,
                **{f"after {number}": value for number, value in enumerate(after)},
                "majority": majority,
                "public": alone,
            }
        )

    for method, arm in arms.items():
        if arm.source not in sources:
            continue
        with simulation(seed):
            after, trusted, labels, released = _study(arm, sources[arm.source], split, pool, embedded[arm.source])
        add(method, after, labels, released)
        if method == FULL:
            add(TRUSTED, trusted, labels, released)
    with simulation(seed):
        once = public.estimator()
        n = START + EACH * ROUNDS
        once.fit(embedded["same"][:n], split.y[:n])
        add(ONE_SHOT, [_right(once, embedded["same"][START + pool :], truth)] * (ROUNDS + 1), n)
    add(PUBLIC, [alone] * (ROUNDS + 1))
    return rows


def _sources(name: str, cohort: Cohort, split: Split) -> dict[str, Callable[[], PublicSource]]:
    scaling, X, y = {"sample_scaling": cohort.sample_scaling}, split.X_public, split.y_public
    sources = {
        "nothing": lambda: PublicSource.nothing(**scaling),
        "unlabelled": lambda: PublicSource.unlabelled(X, **scaling),
        "no prior": lambda: PublicSource.other_classes(X, y, **scaling),
        "same": lambda: PublicSource.same_classes(X, y, **scaling),
    }
    if name in OTHER:
        sources["other"] = lambda: PublicSource.other_classes(X, _other_labels(OTHER[name], X), **scaling)
    return sources


def _study(
    arm: Arm, source: PublicSource, split: Split, pool: int, X: np.ndarray
) -> tuple[list[float], list[float], int, float]:
    """Accuracy of the released and of the trusted model after each release, labels, rounds in which the released model looked."""
    ids = np.array([f"p{place}" for place in range(len(split.y))])
    ledger = PrivacyLedger(BUDGET)
    warm = WarmStart(source, BUDGET, split.classes, shift_noise=SHIFT_NOISE if arm.shift else None)
    if arm.shift:
        warm.correct_shift(split.X, ledger=ledger, expected_records=len(ids), record_ids=ids)
        X = warm.transform(split.X)
    judges, waiting = slice(START + pool, None), slice(START, START + pool)
    query = warm.query(n_pool=pool, tilt=1.0, **({} if arm.scorer is None else {"scorer": arm.scorer}))
    learner = PrivateActiveLearner(warm.estimator(), query, X[:START], split.y[:START], ledger, ids[:START])
    after, trusted = [], []

    def judge() -> None:
        after.append(_right(learner, X[judges], split.y[judges]))
        trusted.append(_right(warm.trusted(learner), X[judges], split.y[judges]))

    judge()
    for _ in range(ROUNDS):
        chosen, rows = learner.query(X[waiting], EACH, record_ids=ids[waiting])
        learner.teach(rows, split.y[waiting][chosen], record_ids=ids[waiting][chosen])
        judge()
    looked = [row["scorer"] == "released" for row in ledger.rounds().values()]
    return after, trusted, len(learner.y_training), float(np.mean(looked))


def _right(model: Any, X: np.ndarray, y: np.ndarray) -> float:
    return float((np.asarray(model.predict(X)) == y).mean())


@cache
def _leukaemias() -> dict[bytes, tuple[str, str]]:
    """Stage and lineage of each patient of Chiaretti et al., by what was measured."""
    stages = pd.read_csv(Path(os.environ["SKDPAL_DATA"]) / "all_leukemia" / "meta.csv.gz", index_col=0)["BT"]
    with np.load(Path(os.environ["SKDPAL_DATA"]) / "all_leukemia" / "X.npz") as archive:
        rows = np.asarray(archive["X"], dtype=np.float64)
    return {row[:50].tobytes(): (stage, stage[0]) for row, stage in zip(rows, stages, strict=True)}


def _other_labels(kind: str, X: np.ndarray) -> np.ndarray:
    """Labels of another question for public patients."""
    return np.array([_leukaemias()[row[:50].tobytes()][kind == "lineage"] for row in X])


def judge(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows with the columns of `cold_start_failures`."""
    releases = [f"after {number}" for number in range(ROUNDS + 1)]
    found = cold_start_failures(rows[releases], rows["majority"], rows["public"], releases=ROUNDS + 1)
    return pd.concat([rows.reset_index(drop=True), found], axis=1)


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """By cohort and method, and the mean over cohorts: rates of failure, accuracy, and the reduction against the article's start.

    Returns
    -------
    DataFrame
        "fails" with "low" and "high" (95%), "below_majority", "below_public", "any", "every": fractions of splits; "accuracy" of the first three
        releases with "standard_error"; "reduction" of "fails" against `ARTICLE`, as a fraction of it, with "reduction_low" and
        "reduction_high": bootstrap of splits, paired, and of "mean" within cohorts; "cohorts_low", "cohorts_high": cohorts are drawn again, too.
    """
    result = []
    names = list(dict.fromkeys(rows["cohort"]))
    for method in dict.fromkeys(rows["method"]):
        own = rows[rows["method"] == method]
        has = [name for name in names if name in set(own["cohort"])]
        parts = [own[own["cohort"] == name].set_index("split") for name in has]
        rivals = [
            rows[(rows["cohort"] == name) & (rows["method"] == ARTICLE)].set_index("split").loc[part.index]
            for name, part in zip(has, parts, strict=True)
        ]
        groups = [(name, [part], [rival]) for name, part, rival in zip(has, parts, rivals, strict=True)]
        groups += [("mean", parts, rivals)] if len(names) > 1 and len(has) == len(names) else []
        result += [{"cohort": name, "method": method, **_rates(some, others)} for name, some, others in groups]
    return pd.DataFrame(result)


def _rates(parts: list[pd.DataFrame], rivals: list[pd.DataFrame]) -> dict[str, float]:
    random = np.random.default_rng(0)
    mean = {
        name: float(np.mean([part[name].mean() for part in parts]))
        for name in (
            "fails",
            "below_majority",
            "below_public",
            "any",
            "every",
            "accuracy",
            f"after {ROUNDS}",
            "labels",
            "released",
        )
    }
    drawn, rival = [], []
    for part, other in zip(parts, rivals, strict=True):
        places = random.integers(len(part), size=(N_RESAMPLES, len(part)))
        drawn.append(part["fails"].to_numpy()[places].mean(axis=1))
        rival.append(other["fails"].to_numpy()[places].mean(axis=1))
    again = random.integers(len(parts), size=(N_RESAMPLES, len(parts)))
    base = float(np.mean([other["fails"].mean() for other in rivals]))
    own, others = np.array(drawn), np.array(rival)
    low, high = np.quantile(own.mean(axis=0), [0.025, 0.975])
    found = {**mean, "low": low, "high": high}
    found["standard_error"] = float(np.sqrt(np.sum([part["accuracy"].sem() ** 2 for part in parts])) / len(parts))
    if base > 0:
        found["reduction"] = 1 - mean["fails"] / base
        spread = 1 - own.mean(axis=0) / np.maximum(others.mean(axis=0), 1e-9)
        found["reduction_low"], found["reduction_high"] = np.quantile(spread, [0.025, 0.975])
        pick = np.arange(N_RESAMPLES)
        crossed = 1 - own[again.T, pick].mean(axis=0) / np.maximum(others[again.T, pick].mean(axis=0), 1e-9)
        if len(parts) > 1:
            found["cohorts_low"], found["cohorts_high"] = np.quantile(crossed, [0.025, 0.975])
    found["n_splits"] = min(len(part) for part in parts)
    return found


def draw(table: pd.DataFrame, path: Path) -> None:
    """How many studies fail to start: left the mean over the questions, right question by question."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained", width_ratios=(1, 0.85))
    part = table[table["cohort"] == "mean"].iloc[::-1]
    colours = [COLOURS.get(name, "#5aa9c7" if name.startswith(FULL) else "#999999") for name in part["method"]]
    left.barh(part["method"], 100 * part["fails"], color=colours)
    spread = 100 * np.array([part["fails"] - part["low"], part["high"] - part["fails"]])
    left.errorbar(100 * part["fails"], np.arange(len(part)), xerr=spread, fmt="none", ecolor="#333333", lw=1)
    left.set_title(f"Mean over {len(POOLS)} questions")
    left.tick_params(axis="y", labelsize=8)
    names = list(POOLS)[::-1]
    for offset, (method, colour) in zip((0.27, 0.09, -0.09, -0.27), COLOURS.items(), strict=True):
        own = table[table["method"] == method].set_index("cohort").loc[names]
        places = np.arange(len(names)) + offset
        right.hlines(places, 100 * own["low"], 100 * own["high"], colors=colour, lw=1.5)
        right.scatter(100 * own["fails"], places, color=colour, s=24, label=method, zorder=3)
    right.set_yticks(np.arange(len(names)), [load_cohort(name).name for name in names], fontsize=8)
    right.set_title("By question")
    right.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.45, -0.12), ncols=2)
    for axis in (left, right):
        axis.set(xlabel="studies that fail to start, % (95%)", xlim=(-1, 101))
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(
        f"Cold start at ε = 2: 10 labels, then two rounds of 3; {N_SPLITS} splits of each question ({N_SIDE} for side arms)"
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Run cohort by cohort, print, write."""
    warnings.simplefilter("ignore", PrivacyLeakWarning)
    quick = "--quick" in sys.argv
    names, n_splits = (("srbct", "acc", "fusion"), 5) if quick else (tuple(POOLS), N_SPLITS)
    parts = []
    for name in names:
        jobs = int(os.environ.get("SKDPAL_JOBS", "1"))
        found = Parallel(n_jobs=jobs)(delayed(run)(name, FIRST + number) for number in range(n_splits))
        parts.append(judge(pd.DataFrame([row for part in found for row in part])))
        if "SKDPAL_ROWS" in os.environ:  # every split, for whoever wants to look closer
            pd.concat(parts).to_csv(os.environ["SKDPAL_ROWS"], index=False)
        print(summarise(parts[-1]).round(3).to_string(index=False), flush=True)
    rows = pd.concat(parts, ignore_index=True)
    table = summarise(rows)
    print(table[table["cohort"] == "mean"].round(3).to_string(index=False))
    if not quick:
        (DOCS / "cold_start.csv").write_text(f"# {COMMAND}\n{table.round(4).to_csv(index=False)}", encoding="utf-8")
        draw(table, DOCS / "cold_start.png")


if __name__ == "__main__":
    main()
