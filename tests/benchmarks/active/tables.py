"""From accuracies of single splits to means, paired differences and their intervals."""

from __future__ import annotations

import numpy as np
import pandas as pd

from tests.benchmarks.active.methods import BASELINE, CONTROL

__all__ = ["intervals", "markdown_of_cohorts", "markdown_of_methods", "means", "summarise"]

N_RESAMPLES = 4000
_KEYS = ["epsilon", "method"]


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """By cohort, ε and method: means, standard errors, and the paired difference to one-shot random with a 95% interval.

    Returns
    -------
    DataFrame
        "accuracy", "standard_error", "log_loss", "labels"; "difference" to `BASELINE` at the same ε on the same splits, "low" and
        "high"; "n_splits".
    """
    result = []
    for (cohort, epsilon, method), part in rows.groupby(["cohort", *_KEYS], sort=False):
        gaps = _differences(rows, cohort, epsilon, method)
        half = 1.96 * gaps.sem() if len(gaps) > 1 else np.nan
        result.append(
            {
                "cohort": cohort,
                "epsilon": epsilon,
                "method": method,
                "accuracy": part["accuracy"].mean(),
                "standard_error": part["accuracy"].sem(),
                "log_loss": part["log_loss"].mean(),
                "labels": part["labels"].mean(),
                "difference": gaps.mean(),
                "low": gaps.mean() - half,
                "high": gaps.mean() + half,
                "n_splits": len(part),
            }
        )
    return pd.DataFrame(result)


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """The mean over cohorts, each with the same weight.

    Returns
    -------
    DataFrame
        As of `summarise`, with cohort "mean". "low" and "high": bootstrap over splits within the cohorts; "low_cohorts" and
        "high_cohorts": cohorts are drawn again, too. "worst": the smallest difference of a cohort. "beyond_labels" with
        "beyond_low", "beyond_high": the difference to one-shot random with as many labels as the study took in the same split.
    """
    result = []
    for (epsilon, method), part in rows.groupby(_KEYS, sort=False):
        cohorts = list(dict.fromkeys(part["cohort"]))
        gaps = [_differences(rows, cohort, epsilon, method).to_numpy() for cohort in cohorts]
        each = part.groupby("cohort")
        result.append(
            {
                "cohort": "mean",
                "epsilon": epsilon,
                "method": method,
                "accuracy": each["accuracy"].mean().mean(),
                "standard_error": float(np.sqrt((each["accuracy"].sem() ** 2).sum()) / len(cohorts)),
                "log_loss": each["log_loss"].mean().mean(),
                "labels": each["labels"].mean().mean(),
                "difference": float(np.mean([gap.mean() for gap in gaps])),
                **intervals(gaps),
                "worst": min(gap.mean() for gap in gaps),
                **_beyond_labels(rows, cohorts, epsilon, method),
                "n_splits": min(len(gap) for gap in gaps),
            }
        )
    return pd.DataFrame(result)


def intervals(gaps: list[np.ndarray], seed: int = 0) -> dict[str, float]:
    """95% bootstrap intervals of the mean of cohort means, cohorts kept or drawn again."""
    random = np.random.default_rng(seed)
    drawn = np.array([random.choice(gap, (N_RESAMPLES, len(gap))).mean(axis=1) for gap in gaps])
    again = random.integers(len(gaps), size=(N_RESAMPLES, len(gaps)))
    crossed = drawn[again.T, np.arange(N_RESAMPLES)].mean(axis=0)
    low, high = np.quantile(drawn.mean(axis=0), [0.025, 0.975])
    low_cohorts, high_cohorts = np.quantile(crossed, [0.025, 0.975])
    return {"low": low, "high": high, "low_cohorts": low_cohorts, "high_cohorts": high_cohorts}


def _beyond_labels(rows: pd.DataFrame, cohorts: list[str], epsilon: float, method: str) -> dict[str, float]:
    """What is left if one-shot random gets the labels of the study; of studies that have such a control."""
    if CONTROL + method not in set(rows["method"]):
        return {}
    gaps = [_differences(rows, cohort, epsilon, method, CONTROL + method).to_numpy() for cohort in cohorts]
    found = intervals(gaps)
    mean = float(np.mean([gap.mean() for gap in gaps]))
    return {"beyond_labels": mean, "beyond_low": found["low"], "beyond_high": found["high"]}


def _differences(rows: pd.DataFrame, cohort: str, epsilon: float, method: str, rival: str = BASELINE) -> pd.Series:
    """Accuracy minus that of another method, by default one-shot random, split by split."""
    here = rows[(rows["cohort"] == cohort) & (rows["epsilon"] == epsilon)]
    own = here[here["method"] == method].set_index("split")["accuracy"]
    return own - here[here["method"] == rival].set_index("split")["accuracy"].reindex(own.index)


def markdown_of_methods(table: pd.DataFrame, epsilon: float) -> str:
    """All methods, the best first: mean over cohorts, in points."""
    part = table[(table["cohort"] == "mean") & (table["epsilon"] == epsilon)].sort_values("difference", ascending=False)
    lines = [
        "| method | difference | 95%, these cohorts | 95%, cohorts like these | worst cohort | labels | splits |",
        "|---" * 7 + "|",
    ]
    for _, row in part.iterrows():
        spans = " | ".join(_span(row[f"low{kind}"], row[f"high{kind}"]) for kind in ("", "_cohorts"))
        worst = f"{_points(row['worst'])} | {row['labels']:.1f} | {row['n_splits']:.0f}"
        lines.append(f"| {row['method']} | {_points(row['difference'])} | {spans} | {worst} |")
    return "\n".join(lines)


def markdown_of_cohorts(table: pd.DataFrame, epsilon: float, methods: dict[str, str]) -> str:
    """By cohort: accuracy of one-shot random, and differences of some methods, in points, with the labels that they took."""
    part = table[(table["epsilon"] == epsilon) & (table["cohort"] != "mean")].set_index(["cohort", "method"])
    lines = [
        f"| cohort | one-shot random (labels) | {' | '.join(methods.values())} |",
        "|---" * (len(methods) + 2) + "|",
    ]
    for cohort in dict.fromkeys(part.index.get_level_values(0)):
        first, cells = part.loc[(cohort, BASELINE)], []
        for method in methods:
            row = part.loc[(cohort, method)]
            cells.append(f"{_points(row['difference'])} {_span(row['low'], row['high'])} ({row['labels']:.1f})")
        lines.append(f"| {cohort} | {first['accuracy']:.3f} ({first['labels']:.0f}) | {' | '.join(cells)} |")
    return "\n".join(lines)


def _points(value: float) -> str:
    """A difference of accuracies, in hundredths; no minus before a zero."""
    return f"{100 * value + 0.0:+.2f}"


def _span(low: float, high: float) -> str:
    return f"[{_points(low)}, {_points(high)}]"
