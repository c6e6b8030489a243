"""Error rates of readers from the cohort's own votes: public guess, one noisy histogram, noisy M-steps (docs/guide/experts.md).

python -m tests.benchmarks.votes           # 400 made-up cohorts; writes docs/benchmarks/votes.csv
python -m tests.benchmarks.votes --quick   # 20, writes nothing

Three readers, three classes. The public guess says 77% right for all; each reader's error rates are drawn around that
("differ"), or are just that ("as guessed"). Label accuracy on the same patients; "exact" is Dawid-Skene without noise, which is no release at all, with the same shrinkage.
"""

from __future__ import annotations

import os

for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import sys  # noqa: E402
import warnings  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from skdpal.cohort.experts import Panel, VoteHistogram, release_votes  # noqa: E402
from skdpal.privacy.randomness import simulation  # noqa: E402

ROOT = Path(__file__).parents[2]
COMMAND = "python -m tests.benchmarks.votes"
CLASSES, READERS = list("abc"), ["Ada", "Ben", "Eva"]
RIGHT, STEPS, STRENGTH = 0.77, 3, 10.0
MUS = (0.5, 1.0, 2.0)


def table(rates: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(rates, CLASSES, CLASSES)


def guessed() -> np.ndarray:
    return (1 - RIGHT) / 2 + (RIGHT - (1 - RIGHT) / 2) * np.eye(3)


def cohort(n: int, seed: int, differ: bool) -> tuple[pd.DataFrame, np.ndarray, Panel]:
    """Votes, true classes, and the true error rates."""
    random = np.random.default_rng(seed)
    fractions = random.dirichlet(np.full(3, 4.0))
    y = random.choice(3, n, p=fractions)
    drawn = {name: 0.35 * random.dirichlet(np.full(3, 0.5), size=3) + 0.65 * np.eye(3) for name in READERS}
    rates = drawn if differ else dict.fromkeys(READERS, guessed())
    votes = {name: [CLASSES[random.choice(3, p=rate[code])] for code in y] for name, rate in rates.items()}
    frame = pd.DataFrame(votes, index=[f"p{at}" for at in range(n)])
    return frame, np.array(CLASSES)[y], Panel({name: table(rate) for name, rate in rates.items()}, fractions)


def noisy_steps(votes: pd.DataFrame, guess: Panel, mu: float, seed: int) -> Panel:
    """Three M-steps at μ together: each a release of all readers' tables, of sensitivity √R."""
    random, panel = np.random.default_rng([seed, 2]), guess
    codes = guess.codes(votes)
    noise = np.sqrt(STEPS * len(READERS)) / mu
    for _ in range(STEPS):
        shares = panel.of_codes(codes)
        rates = {}
        for column, name in zip(codes.T, READERS, strict=True):
            counts = shares.T @ np.eye(3)[column] + random.normal(0, noise, (3, 3))
            belief = STRENGTH * (1 + noise**2 / (len(votes) / 3)) * guess.readers[name].matrix
            counts = np.maximum(counts, 0) + belief
            rates[name] = table(counts / counts.sum(axis=1, keepdims=True))
        panel = Panel(rates, guess.class_prior)
    return panel


def run(n: int, seed: int, differ: bool) -> dict[str, float]:
    """Label accuracy of all methods on one cohort."""
    votes, y, truth = cohort(n, seed, differ)
    guess = Panel({name: table(guessed()) for name in READERS})

    def right(panel: Panel) -> float:
        return float((panel.labels(votes) == y).mean())

    found = {"public guess": right(guess), "true error rates": right(truth)}
    for mu in MUS:
        with simulation(seed):
            histogram = release_votes(votes, guess, noise_multiplier=1 / mu, ledger=None)
        found[f"histogram, μ = {mu:g}"] = right(histogram.panel())
        found[f"three M-steps, μ = {mu:g}"] = right(noisy_steps(votes, guess, mu, seed))
    with simulation(seed):
        nearly = release_votes(votes, guess, noise_multiplier=1e-3, ledger=None)
    found["exact"] = right(VoteHistogram(nearly.counts.round(), guess, 1e-9, n).panel())
    return found


def main() -> None:
    """Run, print, write."""
    quick = "--quick" in sys.argv
    warnings.simplefilter("ignore")
    rows = []
    for differ, n in ((True, 50), (True, 200), (False, 50), (False, 200)):
        found = pd.DataFrame([run(n, seed, differ) for seed in range(20 if quick else 400)])
        gains = found.sub(found["public guess"], axis=0)
        rows += [
            {"readers": "differ" if differ else "as guessed", "n": n, "method": name}
            | {"n_cohorts": len(found), "accuracy": found[name].mean(), "se": found[name].sem()}
            | {"gain": gains[name].mean(), "gain_se": gains[name].sem()}
            for name in found
        ]
    result = pd.DataFrame(rows)
    print(result.round(4).to_string(index=False))
    if not quick:
        path = ROOT / "docs" / "benchmarks" / "votes.csv"
        path.write_text(f"# {COMMAND}\n{result.round(4).to_csv(index=False)}", encoding="utf-8")


if __name__ == "__main__":
    main()
