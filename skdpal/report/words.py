"""Receipts and files in words that need no mathematics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["FileInWords", "files_in_words", "noise_in_words", "receipt_in_words"]

FileInWords = tuple[str, str]  # its name, and what it is
_KNOWN = {
    "certificate.json": "The promise and all receipts, for programs to check.",
    "study.json": "The rules of the study, fixed before it began, and the noisy accuracy.",
    "report.html": "The report, for clinicians and referees.",
    "data-protection.html": "This page.",
}


def receipt_in_words(receipt: Mapping[str, Any]) -> str:
    """What was computed from patients' data, what for, and what hides each of them.

    Parameters
    ----------
    receipt : mapping
        Of a certificate.

    Examples
    --------
    >>> receipt_in_words({"account": "cohort", "event": {"kind": "laplace", "noise_multiplier": 2.0}})
    'a number, hidden in noise of 2 times the most that one patient can change it'
    """
    steps = {"cohort/start": "to teach the first model: ", "cohort/evaluation": "to measure the accuracy: "}
    number = receipt["account"].removeprefix("cohort/round-")
    sampled = receipt["event"]["kind"] == "poisson-gaussian" and receipt["account"] == "cohort/pool"
    teaching = f"to teach the model of round {number}: " if number.isdigit() else ""
    teaching = "to teach the model of a round: " if sampled else teaching
    return steps.get(receipt["account"], teaching) + event_in_words(receipt["event"])


def event_in_words(event: Mapping[str, Any]) -> str:
    """What was computed, whatever it was for."""
    kind, noise = event["kind"], event.get("noise_multiplier", 0.0)
    hidden = f"hidden in noise of {noise:.3g} times the most that one patient can change"
    some = f", {event['steps']} times" if event.get("steps", 1) > 1 else ""
    words = {
        "gaussian": f"sums over the patients of the account, {hidden} them{some}",
        "noisy-scores": f"one score for each patient of the account, {hidden} it; the highest were chosen",
        "poisson-gaussian": f"sums over patients whom secret coins chose, at most {_share(event)} of the account, {hidden} them{some}",
        "laplace": f"a number, {hidden} it",
        "randomized-response": f"one label a patient, each true or false by a coin, of {event.get('n_classes')} labels",
        "bounded-range": f"the names of {event.get('k')} patients with the highest scores, {hidden} a score",
    }
    if kind in words:
        return words[kind]
    if kind == "repeat-and-select":
        return (
            f"the best of a secret number of runs, about {event['mean']:g}, each of: {event_in_words(event['event'])}"
        )
    if kind == "modalities":
        parts = zip(event["names"], event["events"], strict=True)
        return "; ".join(f"of {name}: {event_in_words(part)}" for name, part in parts)
    joined = " or " if kind == "one-of" else "; and "
    times = f"{event['count']} times: " if event.get("count", 1) > 1 else ""
    return times + (joined.join(map(event_in_words, event["events"])) or "nothing")


def noise_in_words(event: Mapping[str, Any]) -> str:
    """The noise multiplier, to four digits; a dash if an event has none, or several."""
    return f"{event['noise_multiplier']:.4f}" if "noise_multiplier" in event else "–"


def files_in_words(folder: Path, pages: Sequence[str] = ()) -> tuple[list[FileInWords], bool]:
    """The files that skdpal wrote into the folder that leaves, and whether others lie there.

    Parameters
    ----------
    folder : Path
        ``release/`` of a study.
    pages : sequence of str
        Pages that will be there.

    Notes
    -----
    Names of other files are not repeated: nobody knows what is in a name.
    """
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} | set(pages)
    order = {"models/start.npz": -1, "models/final.npz": 1}
    models = sorted((name for name in present if _model(name)), key=lambda name: (order.get(name, 0), len(name), name))
    found = [(name, words) for name, words in _KNOWN.items() if name in present]
    return [*found, *((name, _model(name)) for name in models)], bool(present - set(_KNOWN) - set(models))


def _model(name: str) -> str:
    stem = name.removeprefix("models/").removesuffix(".npz")
    if f"models/{stem}.npz" != name:
        return ""
    if stem in ("start", "final"):
        when = "of the starting patients alone" if stem == "start" else "at the end"
    elif stem.startswith("round-") and stem.removeprefix("round-").isdigit():
        when = f"after round {stem.removeprefix('round-')}"
    else:
        return ""
    return f"The model {when}: noisy sums and counts, and what comes from public data. No patient's row, no label, no name."


def _share(event: Mapping[str, Any]) -> str:
    return f"{100 * event.get('sampling_rate', 1.0):.3g} %"
