"""The two pages of a study, made from its ``release/`` folder alone.

Whatever is not in that folder cannot get into them: no worksheet, no log, no count of labels. One is for clinicians and
referees, the other for the data-protection officer, who prints it, signs it and files it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd

from skdpal.learner import load_model
from skdpal.report import figures
from skdpal.report.page import Picture, picture, render, write_page
from skdpal.report.risk import Risk, odds_in_words
from skdpal.report.words import files_in_words, noise_in_words, receipt_in_words

__all__ = ["OFFICER", "REPORT", "write_report"]

REPORT, OFFICER = "report.html", "data-protection.html"


def write_report(release_folder: str | os.PathLike[str], X_public: Any = None, *, title: str = "Study report") -> Path:
    """Write ``report.html`` and ``data-protection.html`` into the release folder of a study.

    Parameters
    ----------
    release_folder : path
        ``release/`` of an `ActiveLearningStudy`.
    X_public : array-like or DataFrame, optional
        Public rows on which to show why the released models are unsure.
    title : str
        Heading of the pages.

    Returns
    -------
    Path
        Of the report; the page for the data-protection officer lies beside it. Each is one file that needs no other, for
        screen and paper.

    Raises
    ------
    FileNotFoundError
        If the folder holds no certificate.

    Examples
    --------
    >>> from skdpal.report import write_report
    >>> write_report("skdpal-demo/release")  # doctest: +SKIP
    """
    folder = Path(release_folder)
    certificate = json.loads((folder / "certificate.json").read_text(encoding="utf-8"))
    study = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    risk = Risk.of(certificate)
    common = {
        "title": title,
        "certificate": certificate,
        "study": study,
        "risk": risk,
        "exchange": Risk.of_exchange(certificate),
        "receipts": [
            {**receipt, "words": receipt_in_words(receipt), "noise": noise_in_words(receipt["event"])}
            for receipt in certificate["receipts"]
        ],
        "slip": odds_in_words(risk.slip),
    }
    files, others = files_in_words(folder, [REPORT, OFFICER])
    page = render("officer.html.j2", **common, files=files, others=others, drawing=_risk(risk))
    write_page(folder / OFFICER, page)
    drawings = _drawings(folder, certificate, study, X_public)
    page = render("report.html.j2", **common, drawings=drawings, noises=_noises(study["plan"]), officer=OFFICER)
    return write_page(folder / REPORT, page)


def _drawings(folder: Path, certificate: dict[str, Any], study: dict[str, Any], X_public: Any) -> dict[str, Picture]:
    paid, evaluation = certificate["odometer"]["epsilon_spent_by_account"], study["evaluation"]
    drawings = {
        "budget": picture(
            lambda narrow: figures.budget_figure(paid, certificate["epsilon"], narrow),
            "Bars: epsilon paid by the patients of each account: "
            + ", ".join(f"{account} {epsilon:.2f}" for account, epsilon in paid.items())
            + f". Line: the ceiling, {certificate['epsilon']:g}.",
        )
    }
    if evaluation is not None:
        drawings["accuracy"] = picture(
            lambda narrow: figures.accuracy_figure(evaluation, narrow),
            f"Accuracy {evaluation['accuracy']:.2f}, interval {evaluation['low']:.2f} to {evaluation['high']:.2f}.",
        )
    if X_public is not None:
        parts = _uncertainty(folder / "models", X_public)
        drawings["uncertainty"] = picture(
            lambda narrow: figures.uncertainty_figure(parts, narrow),
            "Stacked bars of the variance of log-odds by cause after each release: "
            + "; ".join(
                f"{name} {row.sum():.0f}, of it privacy noise {row['dp_noise']:.0f}" for name, row in parts.iterrows()
            ),
        )
    return drawings


def _risk(risk: Risk) -> Picture:
    false, true = risk.curve()
    return picture(
        lambda narrow: figures.risk_figure(false, true, narrow),
        "Curve of the best attacker: "
        + ", ".join(f"{hits} hits at {alarms} false alarms" for alarms, hits in risk.alarms)
        + ". The diagonal is guessing.",
    )


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
