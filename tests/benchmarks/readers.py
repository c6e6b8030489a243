"""Labels that are wrong at a known rate: with and without the transition matrix in the posterior (docs/guide/experts.md).

SKDPAL_DATA=FOLDER python -m tests.benchmarks.readers             # 100 splits; writes docs/benchmarks/readers*.csv and the figure
SKDPAL_DATA=FOLDER python -m tests.benchmarks.readers --quick     # 5 splits of two cohorts, writes nothing

Both methods look at the very same releases; what is judged are true labels of other patients. For the coverage of intervals
the labelled patients are drawn with replacement, so that the class means of the cohort are the truth.
"""

from __future__ import annotations

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import sys  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from joblib import Parallel, delayed  # noqa: E402
from scipy.stats import norm  # noqa: E402

from skdpal import DPPrototypeClassifier  # noqa: E402
from skdpal.cohort.experts import Reader  # noqa: E402
from skdpal.datasets import load_wilms_readers  # noqa: E402
from skdpal.estimators import Transition  # noqa: E402
from skdpal.privacy import PrivacyLeakWarning  # noqa: E402
from skdpal.privacy.randomness import simulation  # noqa: E402
from tests.benchmarks.cohorts.cohorts import LEAST_TEST, Cohort, load_cohort  # noqa: E402
from tests.benchmarks.cohorts.methods import Bench, noise_of  # noqa: E402

ROOT = Path(__file__).parents[2]
COMMAND = "SKDPAL_DATA=FOLDER python -m tests.benchmarks.readers"
EPSILONS = (0.5, 1.0, 2.0, 4.0)
COHORTS = ("srbct", "golub", "lineage", "fusion", "bladder", "metabric", "wilms")
FEW, MANY = (32, 16), 256  # labelled: the first of the few that leaves somebody to judge, and many where there are
ERROR = 0.2
BINS = np.linspace(0, 1, 11)
LEAST = 1e-6  # probability that a log loss is taken of


def wilms() -> Cohort:
    """A simulated cohort with the fractions of the study: 11.4% are of unfavorable histology, 2.4 standard deviations away."""
    table, random = load_wilms_readers(), np.random.default_rng(0)
    share = table.loc["unfavorable"].sum() / table.to_numpy().sum()
    y = np.where(random.random(2000) < share, "unfavorable", "favorable")
    X = random.normal(size=(2000, 16))
    X[:, :4] += 1.2 * (y == "unfavorable")[:, None]
    return Cohort("Wilms tumours, simulated", "100 by declaration", X, y, n_public=100, sample_scaling=None)


def readings(classes: np.ndarray, y_public: np.ndarray) -> dict[str, Transition]:
    """The ways in which labels may be wrong; of two classes the rarer public one stands for unfavorable histology."""
    n_classes = len(classes)
    wrong = np.full((n_classes, n_classes), ERROR / (n_classes - 1))
    np.fill_diagonal(wrong, 1 - ERROR)
    reader = Reader("20% wrong", wrong, classes.tolist()).transition
    found = {"right": Transition(np.eye(n_classes), classes), "reader 20%": reader}
    for epsilon in (1.0, 2.0):
        found[f"reader 20%, RR({epsilon:g})"] = reader @ Transition.randomized_response(epsilon, classes)
    if n_classes == 2:
        labels, counts = np.unique(y_public, return_counts=True)
        rare = labels[counts.argmin()]
        table = load_wilms_readers().to_numpy()
        names = [next(label for label in classes if label != rare), rare]
        found["Wilms reader"] = Reader.from_counts("hospital", table, names).transition
    return found


def given(transition: Transition, y: np.ndarray, seed: int) -> np.ndarray:
    """Labels as the reader gives them."""
    chances = transition.matrix[np.searchsorted(transition.classes, y)].cumsum(axis=1)
    coins = np.random.default_rng(seed).random((len(y), 1))
    return transition.observed[np.minimum((coins > chances).sum(axis=1), len(transition.observed) - 1)]


def covered(model: DPPrototypeClassifier, truth: np.ndarray) -> float:
    """Share of the 95% intervals for class means, along the axes, that hold the truth."""
    found = model.posterior_
    spread = np.sqrt(np.einsum("sdkk->skd", sum(found.covariances.values())))
    below = np.einsum("s,skd->kd", found.weights, norm.cdf((truth @ found.axes - found.means) / spread))
    inside = (below > 0.025) & (below < 0.975)
    return float(inside[~np.isnan(below)].mean())


def mean_of(rows: np.ndarray) -> np.ndarray:
    """NaN for a class without patients, which public rows may know of."""
    return rows.mean(axis=0) if len(rows) else np.full(rows.shape[1], np.nan)


def judged(model: DPPrototypeClassifier, rows: np.ndarray, codes: np.ndarray) -> tuple[dict[str, float], np.ndarray]:
    """How right, and how sure, on patients without a label; and the bins of a reliability plot: number, stated, right."""
    chances = model.predict_proba(rows)
    stated, right = chances.max(axis=1), chances.argmax(axis=1) == codes
    place = np.minimum(np.digitize(stated, BINS) - 1, len(BINS) - 2)
    bins = np.array([np.bincount(place, weights, len(BINS) - 1) for weights in (np.ones(len(rows)), stated, right)])
    own = np.maximum(chances[np.arange(len(rows)), codes], LEAST)
    parts = [right[codes == code].mean() for code in np.unique(codes)]
    values = {
        "accuracy": right.mean(),
        "balanced": np.mean(parts),
        "log_loss": -np.log(own).mean(),
        "overconfidence": (stated - right).mean(),
    }
    return values, bins


def sizes_of(cohort: Cohort) -> list[int]:
    """Numbers of labelled patients."""
    possible = [n for n in (MANY, *FEW) if n <= cohort.n_private - LEAST_TEST]
    return [n for n in possible if n == MANY] + [n for n in possible if n != MANY][:1]


def run(name: str, seed: int) -> list[dict[str, Any]]:
    """All readings and budgets on one split."""
    cohort = wilms() if name == "wilms" else load_cohort(name)
    bench, found = Bench(cohort, cohort.split(seed)), []
    y, classes = bench.split.y, bench.split.classes
    codes = np.searchsorted(classes, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyLeakWarning)
        for n in sizes_of(cohort):
            for epsilon in EPSILONS:
                rows, _, prior = bench.informed(n, noise_of(epsilon))
                truth = np.array([mean_of(rows[codes == code]) for code in range(len(classes))])
                again = np.random.default_rng(seed).integers(0, len(rows), n)
                for label, transition in readings(classes, bench.split.y_public).items():
                    labels, relabelled = given(transition, y[:n], seed), given(transition, y[again], seed)
                    for known in (prior, None):
                        blank = DPPrototypeClassifier(noise_of(epsilon), known, classes)
                        with simulation(seed):
                            fitted = blank.fit(rows[:n], labels)
                            releases = fitted.releases_
                            drawn = blank.fit(rows[again], relabelled).releases_
                        for method, used in (("as if right", None), ("transition", transition)):
                            model = blank.set_params(transition=used)
                            values, bins = judged(model.restore(releases), rows[n:], codes[n:])
                            values["coverage"] = covered(model.restore(drawn), truth)
                            key = {"cohort": cohort.name, "split": seed, "n": n, "epsilon": epsilon}
                            key |= {"prior": "none" if known is None else "public", "labels": label, "method": method}
                            found.append(key | values | {"bins": bins})
    return found


KEYS = ["cohort", "n", "epsilon", "prior", "labels", "method"]


def calibration_error(bins: np.ndarray) -> float:
    """Expected distance of stated and true chances, over bins."""
    return float(np.abs(bins[1] - bins[2]).sum() / bins[0].sum())


def summarise(found: pd.DataFrame) -> pd.DataFrame:
    """Means over splits with standard errors; the calibration error is that of all splits together."""
    rows = []
    for key, part in found.groupby(KEYS, sort=False):
        row = dict(zip(KEYS, key, strict=True)) | {"n_splits": len(part)}
        for name in ("accuracy", "balanced", "log_loss", "overconfidence", "coverage"):
            row |= {name: part[name].mean(), f"{name}_se": part[name].sem()}
        row["calibration_error"] = calibration_error(sum(part["bins"]))
        rows.append(row)
    return pd.DataFrame(rows)


def differences(found: pd.DataFrame) -> pd.DataFrame:
    """Transition minus as-if-right on the same releases, with standard errors; wrong labels only."""
    wrong = found[found["labels"] != "right"]
    keys = [key for key in KEYS if key != "method"]
    values = ["accuracy", "log_loss", "coverage"]
    wide = wrong.pivot_table(index=[*keys, "split"], columns="method", values=values, sort=False)
    gains = pd.DataFrame({name: wide[name]["transition"] - wide[name]["as if right"] for name in values})
    groups = gains.groupby(level=keys, sort=False)
    return groups.mean().join(groups.sem(), rsuffix="_se").reset_index()


def reliability(found: pd.DataFrame, epsilon: float = 2.0) -> pd.DataFrame:
    """Stated and true chances of all cohorts with few labels together, by bins."""
    part, rows = found[(found["epsilon"] == epsilon) & (found["n"] < MANY)], []
    for key, group in part.groupby(["prior", "labels", "method"], sort=False):
        number, stated, right = sum(group["bins"])
        for low, *entry in zip(BINS[:-1], number, stated, right, strict=True):
            if entry[0] > 0:
                row = dict(zip(("prior", "labels", "method"), key, strict=True))
                rows.append(
                    row | {"bin": low, "n": entry[0], "stated": entry[1] / entry[0], "right": entry[2] / entry[0]}
                )
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Reliability with and without the transition, by prior and reader."""
    from matplotlib.figure import Figure

    shown = ["reader 20%", "Wilms reader", "reader 20%, RR(1)"]
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True, sharey=True)
    for line, prior in zip(axes, ("none", "public"), strict=True):
        for axis, labels in zip(line, shown, strict=True):
            axis.plot([0, 1], [0, 1], color="#999999", linewidth=1)
            for method, colour in (("as if right", "#c44e52"), ("transition", "#2f6f8f")):
                part = table[(table["prior"] == prior) & (table["labels"] == labels) & (table["method"] == method)]
                part = part[part["n"] >= 30]
                axis.plot(part["stated"], part["right"], "o-", color=colour, label=method, markersize=4)
            axis.set(title=f"{labels}; prior: {prior}", xlim=(0.2, 1), ylim=(0.2, 1))
    for axis in axes[-1]:
        axis.set_xlabel("stated chance of the likeliest class")
    for line in axes:
        line[0].set_ylabel("share that is right")
    axes[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=120)


def write(name: str, table: pd.DataFrame) -> None:
    path = ROOT / "docs" / "benchmarks" / name
    path.write_text(f"# {COMMAND}\n{table.round(4).to_csv(index=False)}", encoding="utf-8")


def main() -> None:
    """Run cohort by cohort, print, write."""
    quick = "--quick" in sys.argv
    names, n_splits = (("srbct", "wilms"), 5) if quick else (COHORTS, 100)
    found = []
    for name in names:
        parts = Parallel(n_jobs=1 if quick else 2)(delayed(run)(name, seed) for seed in range(n_splits))
        found += [row for part in parts for row in part]
        print(f"{name}: done", flush=True)
    rows = pd.DataFrame(found)
    table, gains = summarise(rows), differences(rows)
    print(table[table["epsilon"] == 2.0].round(3).to_string(index=False))
    print(gains[gains["epsilon"] == 2.0].round(3).to_string(index=False))
    if not quick:
        write("readers.csv", table)
        write("readers_differences.csv", gains)
        plot = reliability(rows)
        write("readers_reliability.csv", plot)
        draw(plot, ROOT / "docs" / "benchmarks" / "readers.png")


if __name__ == "__main__":
    main()
