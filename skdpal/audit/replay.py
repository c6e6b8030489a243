"""`replay`: one study on two neighbouring cohorts, with the same noise and with the same answers, compared leaf by leaf."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from skdpal.audit.canary import Canary, PatientCanary
from skdpal.audit.claim import Claim
from skdpal.audit.engine import cohort_of
from skdpal.audit.published import differences
from skdpal.audit.recording import Draw, seed_of
from skdpal.audit.worlds import Factory, Run, by_itself, grants, play, shift_between, unpaid
from skdpal.privacy.validation import check_count

__all__ = ["ReplayReport", "replay"]

PAID = "noise of a charged release"
UNPAID = "without a receipt"
ITSELF = "varies by itself"
_SHOWN = 12  # paths in words; all are in the table


@dataclass(frozen=True, eq=False)
class ReplayReport:
    """What of a study follows one patient, and what pays for it.

    Attributes
    ----------
    canary : str
    differences : DataFrame
        One row for each thing that was published and differs: ``path``; ``size``, the largest difference of numbers (NaN for
        what is no number); ``explained`` by "noise of a charged release", "varies by itself" or "without a receipt"; ``runs``, in how
        many.
    draws : DataFrame
        One row for each noisy answer of the first run: law, scale, size of the answer, and ``shift``, how far the
        exact values of both worlds are apart in units of the noise.
    mu : float
        The largest √Σ shift² of Gaussian answers along a run: exact, without chance.
    claim : Claim
        What receipts say.
    receipts : tuple of str
        Of the first run.

    Examples
    --------
    `replay` makes it.

    >>> from skdpal.audit import ReplayReport
    >>> sorted(name for name in vars(ReplayReport) if name in ("explained", "unexplained", "passed"))
    ['explained', 'passed', 'unexplained']
    """

    canary: str
    differences: pd.DataFrame
    draws: pd.DataFrame
    mu: float
    claim: Claim
    receipts: tuple[str, ...]

    @property
    def explained(self) -> pd.DataFrame:
        """The differences that a receipt pays for, or that are there in one world too."""
        return self.differences[self.differences["explained"] != UNPAID]

    @property
    def unexplained(self) -> pd.DataFrame:
        """The differences that nothing pays for."""
        return self.differences[self.differences["explained"] == UNPAID]

    @property
    def passed(self) -> bool:
        """Whether a receipt pays for every difference, and the answers are no further apart than μ claims."""
        within = math.isnan(self.claim.mu) or self.mu <= self.claim.mu * (1 + 1e-6)
        return self.unexplained.empty and within

    def summary(self) -> str:
        """In words, with the paths."""
        word = "PASSED" if self.passed else "FAILED"
        lines = [f"{word}: {self.canary}; receipts {len(self.receipts)}, noisy answers {len(self.draws)}."]
        if not math.isnan(self.claim.mu):
            lines.append(
                f"Exact values of both worlds are apart by μ = {self.mu:.4f}; receipts pay for {self.claim.mu:.4f}."
            )
        for words in (UNPAID, PAID, ITSELF):
            paths = self.differences.loc[self.differences["explained"] == words, "path"].tolist()
            if paths:
                more = f", and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
                lines.append(f"{words}: {', '.join(paths[:_SHOWN])}{more}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        first = html.escape(self.summary().split("\n")[0])
        return f"<p>{first}</p>{self.differences.to_html(index=False)}"


def replay(
    study_factory: Factory,
    *,
    cohort: Any = None,
    canary: Canary | None = None,
    runs: int = 5,
    seed: int = 0,
) -> ReplayReport:
    """Run a study on two neighbouring cohorts and report every difference in what was released.

    Four studies a run: with the patient; without, with the same noise, which shows all that follows the patient; without,
    with the same noisy answers, which shows what of that no receipt pays for; and with the patient again, which shows what is
    never the same, such as names drawn at random.

    Parameters
    ----------
    study_factory, cohort
        As in `audit`.
    canary : Canary, optional
        Default: the patient in the first slot, or nobody there.
    runs : int, default=5
        With other noise and coins each.
    seed : int, default=0
        Of the simulated noise.

    Returns
    -------
    ReplayReport
        The differences, and what pays for them.

    Raises
    ------
    ValueError
        If no ledger is reachable from what the factory returns.

    Notes
    -----
    Nothing is charged: it is a simulation. Of a study that returns a folder, every file is compared: names, sizes, bytes.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.audit import replay
    >>> def study(cohort):
    ...     ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=10.0))
    ...     model = skdpal.DPPrototypeClassifier(0.6, classes=[0, 1, 2], ledger=ledger)
    ...     model.fit(cohort.X, cohort.y, record_ids=cohort.record_ids, expected_records=cohort.n_patients)
    ...     return {"model": model, "rows": len(cohort.X)}
    >>> report = replay(study)
    >>> report.passed
    False
    >>> report.unexplained["path"].tolist()
    ['rows']
    """
    runs = check_count("runs", runs, least=1)
    chosen = PatientCanary("first patient") if canary is None else canary
    there, gone = chosen.worlds(cohort_of(cohort))
    found: dict[tuple[str, str], list[float]] = {}
    first: Run | None = None
    draws, mu = pd.DataFrame(), 0.0
    for number in range(runs):
        own = seed_of(seed, chosen.name, number)
        mine = play(study_factory, there, own, certificates=True, strict=number == 0, canary=chosen)
        laws = tuple(dict.fromkeys([*mine.laws, *grants(chosen)]))
        told: dict[str, Any] = {"answers": mine.draws, "laws": laws, "certificates": True}
        again, forced = play(study_factory, there, own, **told), play(study_factory, gone, own, **told)
        noisy = play(study_factory, gone, own, certificates=True)
        ignored = by_itself(mine, again)
        left = unpaid(mine, forced, ignored)
        for path, size in {**differences(mine.leaves, noisy.leaves), **left}.items():
            words = UNPAID if path in left else ITSELF if path in ignored else PAID
            found.setdefault((path, words), []).append(size)
        shifts = [one.shift(other) for one, other in zip(mine.seen(laws), forced.seen(laws), strict=False)]
        mu = max(mu, shift_between(mine, forced, [law for law in laws if law == "gaussian"]))
        if first is None:
            first, draws = mine, _draws(mine.seen(laws), shifts)
    assert first is not None
    if first.claim is None:
        raise ValueError(
            "Expected study_factory to return its ledger with what it publishes, or an estimator that has one. Found none. "
            "Return {'model': model, 'ledger': ledger}."
        )
    rows = [(path, _largest(sizes), words, len(sizes)) for (path, words), sizes in found.items()]
    return ReplayReport(
        chosen.name,
        pd.DataFrame(rows, columns=["path", "size", "explained", "runs"]),
        draws,
        mu,
        first.claim,
        tuple(f"{receipt.label} ({receipt.account})" for receipt in first.receipts),
    )


def _draws(draws: list[Draw], shifts: list[float]) -> pd.DataFrame:
    rows = [
        (draw.law, draw.parameters[0], draw.answer.size, shift)
        for draw, shift in zip(draws, [*shifts, *[math.nan] * (len(draws) - len(shifts))], strict=True)
    ]
    return pd.DataFrame(rows, columns=["law", "scale", "numbers", "shift"])


def _largest(sizes: list[float]) -> float:
    known = [size for size in sizes if not math.isnan(size)]
    return max(known, default=math.nan)
