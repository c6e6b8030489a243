"""A warm start as a table: what happens, who looks at the pool, who pays. Public numbers only."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pandas as pd

from skdpal.estimators.regime import warn_if_weak
from skdpal.privacy import epsilon_of, events
from skdpal.privacy.validation import check_count

if TYPE_CHECKING:
    from skdpal.cohort.warm_start.warm_start import WarmStart

__all__ = ["timetable"]

TUNING, LEARNING = "private fine-tuning", "active learning"


def timetable(
    warm: WarmStart, n_labelled: int, labels_per_round: int, rounds: int, *, hold_start: bool, ledger: Any
) -> pd.DataFrame:
    """See `WarmStart.schedule`."""
    start = check_count("n_labelled", n_labelled, least=1)
    each = check_count("labels_per_round", labels_per_round, least=1)
    check_count("rounds", rounds, least=1 if hold_start else 0)
    if hold_start and warm.prior is None:
        raise ValueError(
            "Expected a source with a public prior for hold_start=True: nothing else could choose the first round. "
            "Use PublicSource.same_classes, or hold_start=False."
        )
    if warm.prior is None:
        warn_if_weak(start, warm.noise_multiplier, warm.source.n_components, stacklevel=4)
    noise = warm.noise_multiplier
    what = "nothing: there are no public data" if warm.source.kind == "none" else "nothing: it is public"
    rows = [_row("public pre-training", what)]
    if warm.shift_noise is not None:
        rows.append(_row("shift correction", "mean embedding of everybody", "cohort", warm.shift_noise))
    if not hold_start:
        rows.append(_row(TUNING, "model of the start", "cohort/start", noise, labels=start, number=0))
    for number, scorer in enumerate(_scorers(warm, rounds, hold_start, ledger), start=1):
        held = hold_start and number == 1
        row = _row(TUNING if held else LEARNING, f"model of round {number}", f"cohort/round-{number}", noise)
        rows.append({**row, "round": number, "scorer": scorer, "labels": each + start * held})
    table = pd.DataFrame(rows)
    table["mu"] = 1 / table["noise_multiplier"]
    table["epsilon"] = [_epsilon(one, warm.budget.delta) for one in table["noise_multiplier"]]
    dearest = math.hypot(1 / noise, 1 / (warm.shift_noise or math.inf))
    total = {**_row("in all", "everything above", "each patient", math.nan), "mu": dearest, "epsilon": warm.epsilon}
    labels = start + each * rounds
    table = pd.DataFrame([*table.to_dict("records"), {**total, "labels": labels}])
    return table.astype({"round": "Int64", "labels": "Int64"})


def _row(
    phase: str, released: str, account: str = "", noise: float = math.inf, labels: Any = pd.NA, number: Any = pd.NA
) -> dict[str, Any]:
    return {
        "phase": phase,
        "round": number,
        "scorer": "",
        "released": released,
        "labels": labels,
        "noise_multiplier": noise,
        "account": account,
    }


def _scorers(warm: WarmStart, rounds: int, hold_start: bool, ledger: Any) -> list[str]:
    """Who looks at the pool in each round; of rounds that a ledger knows, who did."""
    first = "coins" if warm.prior is None else "public"
    planned = [first if hold_start and number == 0 else f"{first} until trusted" for number in range(rounds)]
    known = [] if ledger is None else [row.get("scorer", "") for row in ledger.root.rounds().values()]
    return [*known[:rounds], *planned[len(known) :]]


def _epsilon(noise: float, delta: float) -> float:
    return 0.0 if math.isinf(noise) else epsilon_of([events.gaussian(noise)], delta)
