"""What an audit found, as a table, in words, and as JSON."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pandas as pd

from skdpal.audit.claim import Claim
from skdpal.audit.two_worlds import Attack

__all__ = ["VERDICTS", "AuditReport", "Finding", "judged", "judged_ghost"]

BELOW = "below its price"
BEATEN = "BEATS ITS PRICE"
PATH = "exceeds its price on a path"
UNPAID = "differs without a receipt"
PUBLIC = "not protected, as stated"
UNSEEN = "NOT SEEN: the audit is blind"
CAUGHT = "planted fault, caught"
MISSED = "PLANTED FAULT, MISSED"
VERDICTS = (BELOW, BEATEN, PATH, UNPAID, PUBLIC, UNSEEN, CAUGHT, MISSED)
_ROUNDING = 1e-6  # relative; clipping leaves more room than sums of floats take
_FINE = (BELOW, PUBLIC, CAUGHT)

COLUMNS = (
    "canary",
    "protected",
    "claimed_mu",
    "claimed_epsilon",
    "delta",
    "runs",
    "power",
    "mu_low",
    "epsilon_low",
    "false_positives",
    "false_negatives",
    "verdict",
)


@dataclass(frozen=True)
class Finding:
    """One canary: what was claimed, and what an attack proves.

    Attributes
    ----------
    canary : str
    protected : bool
        Whether anything is promised about the difference between the two worlds.
    claimed_mu : float
        NaN where no μ is claimed.
    claimed_epsilon, delta : float
    runs : int
        In each world, those that judge.
    power : float
        How often so many runs find half the noise, computed before they ran.
    statistic : str
        "transcript", "own coins secret" or "published".
    mu_low, epsilon_low : float
        What the study has at least, at the confidence of the report.
    false_positives, false_negatives : int
    mu_path : float
        The largest √Σ‖v − v'‖²/σ² of a run, v and v' the exact values of both worlds: no run may tell more than the claim, if
        all its noise is Gaussian (docs/trusted_kernel.md, Lemma G). Exact, so that one run is enough; NaN where other noise is.
    differing : dict of str to float
        What differs without a receipt: path, and largest difference (NaN for what is no number).
    differing_runs : int
        In how many runs, of both worlds.
    verdict : str
    planted : bool
        Whether half of the noise was taken away to see whether the audit notices.

    Examples
    --------
    >>> from skdpal.audit import Finding
    >>> Finding("training", True, 1.0, 4.38, 1e-5, 500, 0.999, verdict="below its price").fine
    True
    """

    canary: str
    protected: bool
    claimed_mu: float
    claimed_epsilon: float
    delta: float
    runs: int
    power: float
    statistic: str = "transcript"
    mu_low: float = math.nan
    epsilon_low: float = math.nan
    false_positives: int = 0
    false_negatives: int = 0
    mu_path: float = math.nan
    differing: Mapping[str, float] = field(default_factory=dict)
    differing_runs: int = 0
    verdict: str = ""
    planted: bool = False

    @property
    def fine(self) -> bool:
        """Whether it is as it should be."""
        return self.verdict in _FINE

    def words(self) -> str:
        """Why, in one sentence; empty if there is nothing to add."""
        paths = ", ".join(list(self.differing)[:4]) + (", ..." if len(self.differing) > 4 else "")
        if self.verdict == UNPAID:
            return (
                f"{self.canary}: {paths} follow the patient though every paid answer was the same, in {self.differing_runs} "
                "runs. Release it through a charged mechanism, make it of public numbers (cohort.n_patients), or leave it out."
            )
        if self.verdict == PUBLIC:
            return f"{self.canary}: {paths} tell an empty slot from none. The roster is public; only a patient's content is protected."
        if self.verdict == PATH:
            return (
                f"{self.canary}: along one run the exact values of both worlds are apart by μ = {self.mu_path:.3f}, receipts pay "
                f"for {self.claimed_mu:.3f}. Something is not clipped, not charged, or charged to somebody else."
            )
        if self.verdict == UNSEEN:
            return f"{self.canary}: nothing tells an empty slot from none. Return what the study publishes, its ledger too."
        return ""


def judged(
    finding: Finding, found: Attack, claim: Claim, differing: Mapping[str, float], often: int, mu_path: float
) -> Finding:
    """A finding with the result of an attack, and of what differs in how many runs."""
    beaten = found.beats(mu=claim.mu) if not math.isnan(claim.mu) else False
    if math.isnan(claim.mu) and math.isfinite(claim.epsilon):
        beaten = found.beats(epsilon=claim.epsilon, delta=claim.delta)
    verdict = UNPAID if differing else BEATEN if beaten else BELOW
    if verdict == BELOW and mu_path > claim.mu * (1 + _ROUNDING):
        verdict = PATH
    if finding.planted:
        verdict = CAUGHT if beaten else MISSED
    return replace(
        finding,
        claimed_mu=claim.mu,
        claimed_epsilon=claim.epsilon,
        delta=claim.delta,
        runs=found.runs,
        mu_low=found.mu,
        epsilon_low=found.epsilon(claim.delta),
        false_positives=found.false_positives,
        false_negatives=found.false_negatives,
        mu_path=mu_path,
        differing=dict(differing),
        differing_runs=often,
        verdict=verdict,
    )


def judged_ghost(finding: Finding, differing: Mapping[str, float]) -> Finding:
    """A finding with what tells an empty slot from none."""
    verdict, least = (PUBLIC, math.inf) if differing else (UNSEEN, 0.0)
    return replace(
        finding,
        statistic="published",
        mu_low=least,
        epsilon_low=least,
        differing=dict(differing),
        differing_runs=finding.runs * 2 if differing else 0,
        verdict=verdict,
    )


@dataclass(frozen=True, repr=False)
class AuditReport:
    """All canaries of an audit.

    Attributes
    ----------
    findings : tuple of Finding
    confidence : float
        That no true claim was refuted, by all canaries together.

    Examples
    --------
    >>> from skdpal.audit import AuditReport
    >>> AuditReport((), confidence=0.95).passed
    True
    """

    findings: tuple[Finding, ...]
    confidence: float = 0.95

    @property
    def passed(self) -> bool:
        """Whether no price was beaten, nothing differed without a receipt, and what must be found was found."""
        return all(finding.fine for finding in self.findings)

    def frame(self) -> pd.DataFrame:
        """One row a canary.

        Returns
        -------
        DataFrame
            With columns canary, protected, claimed_mu, claimed_epsilon, delta, runs, power, mu_low, epsilon_low,
            false_positives, false_negatives, verdict.
        """
        return pd.DataFrame(
            [{name: getattr(one, name) for name in COLUMNS} for one in self.findings], columns=[*COLUMNS]
        )

    def differences(self) -> pd.DataFrame:
        """What differs without a receipt: canary, path and largest difference."""
        rows = [(one.canary, path, size) for one in self.findings for path, size in one.differing.items()]
        return pd.DataFrame(rows, columns=["canary", "path", "size"])

    def summary(self) -> str:
        """The table, and what it means, for a terminal."""
        return "\n".join([self._table(), *self._words()])

    def to_json(self) -> str:
        """The same for machines; infinity and what is not claimed are null."""
        rows = [{key: _finite(value) for key, value in asdict(one).items()} for one in self.findings]
        return json.dumps({"passed": self.passed, "confidence": self.confidence, "findings": rows}, indent=2)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        return f"<AuditReport: {len(self.findings)} canaries, {'passed' if self.passed else 'FAILED'}>"

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{html.escape(name)}</th>" for name in _SHOWN)
        rows = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in _cells(one)) + "</tr>"
            for one in self.findings
        )
        words = "".join(f"<p>{html.escape(line)}</p>" for line in self._words())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{words}"

    def _table(self) -> str:
        rows = [_SHOWN, *(_cells(one) for one in self.findings)]
        widths = [max(len(row[at]) for row in rows) for at in range(len(_SHOWN))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])

    def _words(self) -> list[str]:
        first = "PASSED" if self.passed else "FAILED"
        verdict = (
            "no attack beats its price. This is no proof that none could."
            if self.passed
            else f"see {', '.join(one.canary for one in self.findings if not one.fine)}."
        )
        alarm = f"Bounds hold together with probability {self.confidence:.7g}."
        lines = [f"{first}: {verdict} {alarm}", *(one.words() for one in self.findings)]
        return [line for line in lines if line]


_SHOWN = ("canary", "μ claimed", "μ at least", "ε claimed", "ε at least", "runs", "power", "errors", "verdict")


def _cells(one: Finding) -> tuple[str, ...]:
    return (
        one.canary,
        _number(one.claimed_mu),
        _number(one.mu_low) if not math.isnan(one.claimed_mu) or not one.protected else "-",
        _number(one.claimed_epsilon),
        _number(one.epsilon_low),
        str(one.runs),
        "-" if math.isnan(one.power) else f"{100 * math.floor(one.power * 1e4) / 1e4:.4g}%",
        f"{one.false_positives} + {one.false_negatives}" if one.protected else "-",
        one.verdict,
    )


def _number(value: float) -> str:
    return "-" if math.isnan(value) else "∞" if math.isinf(value) else f"{value:.2f}"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
