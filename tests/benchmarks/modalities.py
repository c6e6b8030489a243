"""Several modalities against the best of them, at equal ε of the patient: 92 adrenocortical carcinomas.

python -m tests.benchmarks.modalities             # 200 splits; writes docs/benchmarks/modalities.csv and .png
python -m tests.benchmarks.modalities --quick     # 4 splits, writes nothing

Random patients, a third of each class, are declared public, anew in each split and the same for every method; 32 others are
labelled, the rest judge. Nobody is left out for lack of a modality: 35 of the 78 patients with a class of expression lack some. The bundled
data are those of SKDPAL_DATA/miniacc_multiomics.
"""

from __future__ import annotations

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import sys  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from skdpal import DPPrototypeClassifier, PrivacyBudget, PublicEncoder  # noqa: E402
from skdpal.cohort import DPModalityClassifier, Modality, ModalityBlocks, ModalityPrior  # noqa: E402
from skdpal.cohort.modalities.layout import Layout  # noqa: E402
from skdpal.datasets import load_miniacc  # noqa: E402
from skdpal.privacy import PrivacyLeakWarning, calibrate, events  # noqa: E402
from skdpal.privacy.randomness import simulation  # noqa: E402

ROOT = Path(__file__).parents[2]
COMMAND = "python -m tests.benchmarks.modalities"
DELTA, EPSILONS, SPLITS, LABELLED, LEAST = 1e-5, (0.5, 1.0, 2.0, 4.0), 200, 32, 16
SILENT = 1e-6  # a noise multiplier that is no noise
SCALING = {"rna": "standardize", "mirna": "standardize", "cnv": None, "rppa": None, "mut": None}
NAMES = tuple(SCALING)
COMPONENTS = 8
TARGETS = {
    "C1A.C1B": "class of expression, C1A or C1B",
    "MethyLevel": "class of methylation, three",
    "vital_status": "dead or alive",
    "pathologic_stage": "stage III-IV or I-II",
}


def cohort(target: str) -> tuple[pd.DataFrame, pd.Series]:
    """All patients whose class is known."""
    data = load_miniacc(target, as_frame=True)
    if target != "pathologic_stage":
        return data.data, data.target
    return data.data, data.target.isin(["stage iii", "stage iv"]).map({True: "late", False: "early"})


class Split:
    """Who is public, who is labelled, who judges; everything that public rows make."""

    def __init__(self, X: pd.DataFrame, y: pd.Series, seed: int) -> None:
        random = np.random.default_rng(seed)
        public = np.zeros(len(y), dtype=bool)
        for label in np.unique(y):
            places = random.permutation(np.flatnonzero(y == label))
            public[places[: max(2, round(len(places) / 3))]] = True
        patients = random.permutation(np.flatnonzero(~public))
        n = min(LABELLED, len(patients) - LEAST)
        public_rows, self.public_labels = X[public], y[public]
        self.blocks = ModalityBlocks(
            {name: Modality(f"{name}:", self._encoder(name, public_rows)) for name in NAMES}
        ).fit(public_rows, self.public_labels)
        self.layout: Layout = self.blocks.layout
        self.public = self.blocks.transform(public_rows)
        self.out_of_sample = self.blocks.out_of_sample(public_rows, self.public_labels)
        rows = self.blocks.transform(X.iloc[patients])
        self.train, self.test = rows.iloc[:n], rows.iloc[n:]
        self.y_train, self.y_test = y.iloc[patients[:n]], y.iloc[patients[n:]]
        self.prior = ModalityPrior.from_public(self.public, self.public_labels, self.blocks)
        self.early_prior = DPPrototypeClassifier.prior_from_public(self.public, self.public_labels)

    @staticmethod
    def _encoder(name: str, public: pd.DataFrame) -> PublicEncoder:
        owners = public.filter(regex=f"^{name}:").notna().any(axis=1).sum()
        return PublicEncoder(n_components=min(COMPONENTS, owners - 1), sample_scaling=SCALING[name])

    def alone(self, name: str, rows: pd.DataFrame) -> np.ndarray:
        """Unit rows of one modality."""
        return self.layout.cut(rows.to_numpy(), [name])[name]

    def shares(self) -> dict[str, float]:
        """Clipping norms by how well public rows are told apart, each embedded and judged without itself."""
        found = {name: self._separation(self.alone(name, self.out_of_sample)) for name in NAMES}
        total = sum(value**2 for value in found.values()) ** 0.5
        return {name: value / total for name, value in found.items()}

    def _separation(self, rows: np.ndarray) -> float:
        """Leave-one-out accuracy of the nearest class mean above chance, times the share who have it; at least 0.02."""
        there, labels = rows.any(axis=1), self.public_labels.to_numpy()
        own, codes = rows[there], np.unique(labels[there], return_inverse=True)[1]
        right = 0
        for at in range(len(own)):
            others = np.arange(len(own)) != at
            kinds = np.unique(codes[others])
            means = np.array([own[others & (codes == code)].mean(axis=0) for code in kinds])
            right += kinds[np.linalg.norm(means - own[at], axis=1).argmin()] == codes[at]
        return max(right / len(own) - 1 / len(np.unique(labels)), 0.02) * there.mean()


def methods(split: Split, noise: float) -> Iterator[tuple[str, np.ndarray]]:
    """Predicted probabilities of every method, each with one release of the same price."""
    y = split.y_train
    for name in NAMES:
        prior = ModalityPrior(
            {name: split.prior[name]} if name in split.prior else {}, split.prior.fractions, classes=split.prior.classes
        )
        model = DPModalityClassifier(noise, {name: split.layout.widths[name]}, prior, split.prior.classes)
        yield f"{name} alone", model.fit(split.alone(name, split.train), y).predict_proba(split.alone(name, split.test))
    late = {
        "late fusion": {},
        "late fusion, independent": {"correlation": 0.0},
        "late fusion, public shares": {
            "noise_multiplier": {name: noise / norm for name, norm in split.shares().items()}
        },
    }
    for name, options in late.items():
        model = DPModalityClassifier(
            **{"noise_multiplier": noise, "blocks": split.blocks, "prior": split.prior, **options}
        )
        yield name, model.fit(split.train, y).predict_proba(split.test)
    yield "early fusion", DPPrototypeClassifier(noise, split.early_prior).fit(split.train, y).predict_proba(split.test)


def run(target: str, seed: int) -> list[dict[str, Any]]:
    """All methods on one split."""
    split, rows = Split(*cohort(target), seed), []
    classes = split.prior.classes
    codes = np.searchsorted(classes, split.y_test.to_numpy())

    def note(method: str, epsilon: float, found: np.ndarray) -> None:
        chance = np.maximum(found[np.arange(len(codes)), codes], 1e-12)
        score = {"accuracy": (found.argmax(axis=1) == codes).mean(), "log_loss": -np.log(chance).mean()}
        rows.append({"target": target, "split": seed, "method": method, "epsilon": epsilon, **score})

    note("largest class", np.nan, np.tile(split.prior.fractions, (len(codes), 1)))
    public = DPModalityClassifier(1.0, split.blocks, split.prior).public_model()
    note("public model alone", np.nan, public.predict_proba(split.test))
    for name in NAMES:
        note(f"public model alone, {name}", np.nan, public.only(name).predict_proba(split.test))
    for epsilon in (*EPSILONS, np.inf):
        noise = calibrate(events.gaussian, PrivacyBudget(epsilon, DELTA)) if np.isfinite(epsilon) else SILENT
        with simulation(seed):
            for method, found in methods(split, noise):
                note(method, epsilon, found)
    return rows


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Means with standard errors over splits; and of the paired difference to the best modality, chosen by its mean."""
    rows = []
    for (target, epsilon), part in table.groupby(["target", "epsilon"], dropna=False, sort=False):
        wide = part.pivot(index="split", columns="method", values="accuracy")
        alone = [name for name in wide if name.endswith(" alone") and not name.startswith("public")]
        best = wide[alone].mean().idxmax() if alone else None
        for method, own in part.groupby("method", sort=False):
            row = {"target": target, "epsilon": epsilon, "method": method, "splits": len(own)}
            row |= {"accuracy": own["accuracy"].mean(), "standard_error": own["accuracy"].sem()}
            row |= {"log_loss": own["log_loss"].mean()}
            if best is not None:
                gain = wide[method] - wide[best]
                row |= {"best_modality": best.removesuffix(" alone"), "gain": gain.mean(), "gain_error": gain.sem()}
            rows.append(row)
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, path: Path) -> None:
    """Accuracy against ε, question by question."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown = {"late fusion": ("late fusion", "#0b5d8a", "-"), "early fusion": ("early fusion", "#c77b1e", "-")}
    figure, axes = plt.subplots(1, len(TARGETS), figsize=(13, 3.6), layout="constrained")
    for axis, (target, words) in zip(axes, TARGETS.items(), strict=True):
        part = table[table["target"] == target]
        private = part[np.isfinite(part["epsilon"])]
        ends = {}
        for name in NAMES:
            own = private[private["method"] == f"{name} alone"]
            axis.plot(own["epsilon"], own["accuracy"], color="#b9b9b9", lw=1)
            ends[name] = float(own["accuracy"].iloc[-1])
        for method, (label, colour, line) in shown.items():
            own = private[private["method"] == method]
            axis.errorbar(
                own["epsilon"],
                own["accuracy"],
                own["standard_error"],
                label=label,
                color=colour,
                linestyle=line,
                marker="o",
                ms=4,
            )
        flat = part[part["epsilon"].isna()].set_index("method")["accuracy"]
        axis.axhline(flat["public model alone"], color="#5aa9c7", ls="--", lw=1.2, label="public model alone")
        axis.axhline(flat["largest class"], color="#dddddd", lw=1, label="largest class")
        silent = part[(part["epsilon"] == np.inf) & (part["method"] == "late fusion")]["accuracy"]
        axis.axhline(float(silent.iloc[0]), color="#444444", ls=":", lw=1.2, label="late fusion, no privacy")
        axis.set_xscale("log", base=2)
        axis.set_xticks(EPSILONS, [f"{epsilon:g}" for epsilon in EPSILONS])
        axis.set_xlim(0.45, 6.0)
        axis.set_title(words, size=10)
        axis.set_xlabel("ε of the patient")
        axis.spines[["top", "right"]].set_visible(False)
        low, high = axis.get_ylim()
        height = -np.inf  # of the label below
        for name, end in sorted(ends.items(), key=lambda item: item[1]):
            height = max(end, height + 0.045 * (high - low))
            axis.text(4.3, height, name, va="center", size=8, color="#777777")
    axes[0].set_ylabel("accuracy")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
    figure.suptitle(
        f"miniACC, {LABELLED} labelled patients, δ = 1e-5; bars are standard errors; grey: each modality alone at the whole ε",
        size=11,
    )
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    """Measure, and write unless it is quick."""
    quick = "--quick" in sys.argv
    warnings.simplefilter("ignore", PrivacyLeakWarning)
    rows = []
    for target in TARGETS:
        for seed in range(4 if quick else SPLITS):
            rows += run(target, seed)
        print(target, "done", flush=True)
    table = summarise(pd.DataFrame(rows))
    print(table.round(3).to_string())
    if not quick:
        folder = ROOT / "docs" / "benchmarks"
        table.round(4).to_csv(folder / "modalities.csv", index=False)
        draw(table, folder / "modalities.png")


if __name__ == "__main__":
    main()
