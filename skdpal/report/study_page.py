"""The report of a study, made from its ``release/`` folder alone.

Whatever is not in that folder cannot get into the report: no worksheet, no log, no count of labels.
"""

from __future__ import annotations

import json
import os
from math import exp
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import norm

from skdpal.learner import load_model
from skdpal.report import figures
from skdpal.report.page import picture, render

__all__ = ["write_report"]


def write_report(release_folder: str | os.PathLike[str], X_public: Any = None, *, title: str = "Study report") -> Path:
    """Write ``report.html`` into the release folder of a study.

    Parameters
    ----------
    release_folder : path
        ``release/`` of an `ActiveLearningStudy`.
    X_public : array-like or DataFrame, optional
        Public rows on which to show why the released models are unsure.
    title : str
        Heading of the page.

    Returns
    -------
    Path
        Of the page: one file without links to others, for screen and paper.

    Examples
    --------
    >>> from skdpal.report import write_report
    >>> write_report("skdpal-demo/release")  # doctest: +SKIP
    """
    folder = Path(release_folder)
    certificate = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    paid = certificate["odometer"]["epsilon_spent_by_account"]
    evaluation = study["evaluation"]
    drawings = {
        "budget": picture(
            figures.budget_figure(paid, certificate["epsilon"]),
            "Bars: epsilon paid by the patients of each account: "
            + ", ".join(f"{account} {epsilon:.2f}" for account, epsilon in paid.items())
            + f". Line: the ceiling, {certificate['epsilon']:g}.",
        )
    }
    if evaluation is not None:
        drawings["accuracy"] = picture(
            figures.accuracy_figure(evaluation),
            f"Accuracy {evaluation['accuracy']:.2f}, interval {evaluation['low']:.2f} to {evaluation['high']:.2f}.",
        )
    if X_public is not None:
        parts = _uncertainty(folder / "models", X_public)
        drawings["uncertainty"] = picture(
            figures.uncertainty_figure(parts),
            "Stacked bars of the variance of log-odds by cause after each release: "
            + "; ".join(
                f"{name} {row.sum():.0f}, of it privacy noise {row['dp_noise']:.0f}" for name, row in parts.iterrows()
            ),
        )
    page = render(
        "report.html.j2",
        title=title,
        certificate=certificate,
        study=study,
        drawings=drawings,
        **_guesses(certificate),
        noises=_noises(study["plan"]),
    )
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _guesses(certificate: dict[str, Any]) -> dict[str, float]:
    """How often, in a hundred, the best guess about one patient is right: blanked out or not, this patient or another."""
    if "mu" in certificate:
        return {
            "guess": 100 * norm.cdf(certificate["mu"] / 2),
            "guess_replace": 100 * norm.cdf(certificate["mu"]),
        }
    both = (certificate, certificate["replace_one"])
    chances = [
        (1 + min(1.0, promise["delta"]) * exp(-promise["epsilon"])) / (1 + exp(-promise["epsilon"])) for promise in both
    ]
    return dict(zip(("guess", "guess_replace"), (100 * min(1.0, chance) for chance in chances), strict=True))


def _noises(plan: dict[str, Any]) -> str:
    """The noise multipliers of the models, in words."""
    models = [*([] if plan["hold_start"] else [plan["noise_multiplier"]]), *plan["round_noise"]]
    shown = list(dict.fromkeys(f"{float(noise):.4f}" for noise in models))
    return f"{shown[0]} for every model" if len(shown) == 1 else f"{', then '.join(shown)} for the models in turn"


def _uncertainty(models: Path, X_public: Any) -> pd.DataFrame:
    rounds = sorted(models.glob("round-*.npz"), key=lambda path: int(path.stem.split("-")[1]))
    rows = {}
    starts = [path for path in [models / "start.npz"] if path.exists()]  # a held start is in the first round's model
    for path in [*starts, *rounds]:
        model = load_model(path)
        rows[path.stem.replace("-", " ")] = model[-1].uncertainty(model[:-1].transform(X_public)).mean()
    return pd.DataFrame(rows).T
