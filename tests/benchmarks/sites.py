"""Several hospitals with ceilings of their own: one release in which they share, one each, the strictest for all, or alone.

Run ``SKDPAL_DATA=FOLDER python -m tests.benchmarks.sites``; it writes docs/benchmarks/sites.csv. In each split public rows are
declared, and a third of each site's other patients judge. All spend their ceilings, end to end: every patient of a site has the
ε of its column, whichever way is compared. "all at the highest" breaks the promise to the others, and is there to see what the
lower ceilings cost.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import balanced_accuracy_score, log_loss

from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger, PublicEncoder
from skdpal.cohort import Sites
from skdpal.estimators.regime import recommended_components
from tests.benchmarks.cohorts.cohorts import load_cohort
from tests.benchmarks.cohorts.methods import noise_of

OUT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "sites.csv"
CEILINGS = ((1.0, 2.0, 4.0), (4.0, 2.0, 1.0), (0.5, 1.0, 8.0))
DELTA = 1e-5
PUBLIC = {"bladder": 12, "fusion": 24, "lineage": 24}
UNINFORMED = {"lineage"}  # public rows without labels: an encoder, and no prior


def split(name: str, seed: int) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """The cohort, the public rows, the site of each patient, and who judges."""
    random = np.random.default_rng(seed)
    cohort = load_cohort(name)
    site = _batches(len(cohort.y)) if name == "bladder" else _by_chance(random, len(cohort.y))
    public = np.zeros(len(site), dtype=bool)
    for label in np.unique(cohort.y):
        rows = random.permutation(np.flatnonzero((cohort.y == label) & (site >= 0)))
        public[rows[: max(2, round(PUBLIC[name] * len(rows) / (site >= 0).sum()))]] = True
    judges = np.zeros(len(site), dtype=bool)
    for number in range(3):
        rows = random.permutation(np.flatnonzero((site == number) & ~public))
        judges[rows[: round(len(rows) / 3)]] = True
    return cohort, public, np.where(public, -1, site), judges


def _batches(n: int) -> np.ndarray:
    """The three largest batches, largest first; -1: another."""
    batch = pd.read_csv(Path(os.environ["SKDPAL_DATA"]) / "bladder_batch" / "meta.csv.gz")["batch"].to_numpy()
    return np.select([batch == 5, batch == 2, batch == 1], [0, 1, 2], default=-1)[:n]


def _by_chance(random: np.random.Generator, n: int) -> np.ndarray:
    """A half, three tenths and a fifth."""
    return random.permutation(np.searchsorted([0.5, 0.8], (np.arange(n) + 0.5) / n))


def carry_out(name: str, seed: int, ceilings: tuple[float, ...]) -> Iterator[dict[str, Any]]:
    """Every way on one split."""
    cohort, public, site, judges = split(name, seed)
    learn = (site >= 0) & ~judges
    encoder, prior = _public(cohort, public, learn.sum(), noise_of(max(ceilings)), name not in UNINFORMED)
    rows, ids = encoder.transform(cohort.X), np.array([f"patient-{at}" for at in range(len(site))])
    model = DPPrototypeClassifier(prior=prior, classes=np.unique(cohort.y))

    def judged(way: str, fitted: Any) -> dict[str, Any]:
        chances = fitted.predict_proba(rows[judges])
        truth, found = cohort.y[judges], fitted.classes_[chances.argmax(axis=1)]
        return {
            "cohort": cohort.name if prior is not None else f"{cohort.name}, no prior",
            "ceilings": "/".join(f"{one:g}" for one in ceilings),
            "n": "/".join(str(int((learn & (site == number)).sum())) for number in range(3)),
            "way": way,
            "accuracy": float((truth == found).mean()),
            "balanced_accuracy": float(balanced_accuracy_score(truth, found)),
            "log_loss": float(log_loss(truth, chances, labels=fitted.classes_)),
        }

    def opened(values: dict[str, float]) -> Sites:
        members = {one: ids[learn & (site == int(one))].tolist() for one in values}
        return Sites(members, values).open(PrivacyLedger(PrivacyBudget(max(values.values()), DELTA)))

    def fitted(sites: Sites, how: str) -> Any:
        mine = learn & np.isin(site, [int(one) for one in sites.members])
        return sites.fit(model, rows[mine], cohort.y[mine], record_ids=ids[mine], how=how)

    own = {str(number): ceiling for number, ceiling in enumerate(ceilings)}
    if prior is not None:
        yield judged("public model alone", model.public_model())
    for one, ceiling in own.items():
        yield judged(f"site {int(one) + 1} alone", fitted(opened({one: ceiling}), "each"))
    for how in ("strictest", "each", "shares"):
        yield judged(how, fitted(opened(own), how))
    yield judged("all at the highest", fitted(opened(dict.fromkeys(own, max(ceilings))), "strictest"))


def _public(cohort: Any, public: np.ndarray, n: int, noise: float, labelled: bool) -> tuple[PublicEncoder, Any]:
    """Encoder, and prior if public rows have labels, in the dimension that the public rule recommends."""
    X, y = cohort.X[public], cohort.y[public] if labelled else None
    width = recommended_components(int(n), noise, n_public=len(X) if labelled else None)
    encoder = PublicEncoder(n_components=min(width, len(X) - 1), sample_scaling=cohort.sample_scaling).fit(X, y)
    return encoder, DPPrototypeClassifier.prior_from_public(encoder.transform(X), y) if labelled else None


def table(splits: int, cohorts: tuple[str, ...]) -> pd.DataFrame:
    """Means over the splits, with standard errors; and of each way less the strictest, split by split."""
    found = pd.DataFrame(
        [
            {**row, "seed": seed}
            for name in cohorts
            for ceilings in CEILINGS
            for seed in range(splits)
            for row in carry_out(name, seed, ceilings)
        ]
    )
    keys = ["cohort", "ceilings", "way"]
    measured = ["accuracy", "balanced_accuracy", "log_loss"]
    base = found[found["way"] == "strictest"].set_index(["cohort", "ceilings", "seed"])[measured]
    against = found.join(base, on=["cohort", "ceilings", "seed"], rsuffix="_base")
    for name in measured:
        found[f"{name}_gain"] = against[name] - against[f"{name}_base"]
    groups = found.groupby(keys, sort=False)
    columns = [*measured, *(f"{name}_gain" for name in measured)]
    result = groups[columns].mean().join(groups[columns].sem(), rsuffix="_se").join(groups["n"].first())
    return result.assign(splits=splits).reset_index().round(4)


def main() -> None:
    """Run, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 splits, printed only")
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--cohorts", nargs="+", default=list(PUBLIC), choices=list(PUBLIC))
    chosen = parser.parse_args()
    result = table(3 if chosen.quick else chosen.splits, tuple(chosen.cohorts))
    print(result.to_string())
    if not chosen.quick:
        result.to_csv(OUT, index=False)


if __name__ == "__main__":
    main()
