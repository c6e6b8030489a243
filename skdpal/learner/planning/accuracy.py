"""What accuracy to expect, from numbers that a hospital has before it starts.

Fitted on docs/benchmarks/cohorts.csv (nine questions of six cohorts); how well it covers cohorts that it was not
fitted on is in docs/guide/planning.md. It describes `DPPrototypeClassifier` in the dimension that
`skdpal.estimators.regime.recommended_components` names, and no other learner.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from skdpal.privacy.validation import check_count, check_one_of, check_real

__all__ = ["PublicModel", "Range", "Skill", "expected_accuracy", "without_privacy"]


@dataclass(frozen=True)
class Skill:
    """What part of the way from chance to the accuracy without privacy patients alone go.

    With signal s = √Σ(n/σ)² over the releases, K classes and g = (A - 1/K) / (1 - 1/K), where A is the accuracy
    without privacy: the odds are ((2 s / K) g^`difficulty` / `half`)^`slope`.

    Attributes
    ----------
    slope, difficulty, half : float
        By least squares on the benchmark's cells.
    margin : float
        Half the width of the range.
    """

    slope: float
    difficulty: float
    half: float
    margin: float

    def __call__(self, signal: float, n_classes: int, ceiling: float) -> float:
        """The middle of the range."""
        chance = 1 / n_classes
        gain = max(ceiling - chance, 0.0)
        if signal <= 0 or gain == 0:
            return chance
        odds = (2 * signal / n_classes * (gain / (1 - chance)) ** self.difficulty / self.half) ** self.slope
        return chance + gain * odds / (1 + odds)


PROTOTYPES = Skill(slope=1.175, difficulty=1.162, half=4.427, margin=0.08)
USUAL = Skill(slope=1.176, difficulty=0.0, half=11.08, margin=0.10)  # DP gradient descent on genes, retrained
_UNKNOWN = (0.25, 1.0)  # g of hard and of easy questions, if nobody knows: those of the benchmark
_QUANTILE = 1.28  # of a normal law: 80%
_ANOTHER_KIND = 0.15  # what cell lines and another batch promised too much


@dataclass(frozen=True)
class PublicModel:
    """The classifier before any patient, and how well it did on PUBLIC rows that it had not seen.

    Attributes
    ----------
    accuracy : float
        Out of sample, by cross-validation of encoder and prior together.
    n : int
        Public rows.
    kind : {"other", "same"}
        Whether the public rows are of another kind than the patients (cell lines, another laboratory), or of the same.
    """

    accuracy: float
    n: int
    kind: str = "other"

    def __post_init__(self) -> None:
        check_real("public_accuracy", self.accuracy, above=0.0, below=1.0, closed=True)
        check_count("n_public", self.n, least=2)
        check_one_of("public_kind", self.kind, ["other", "same"])

    @property
    def range(self) -> Range:
        """Accuracy on patients: the sampling error of public rows, and what another kind may take away."""
        middle = (self.accuracy * self.n + 2) / (self.n + 4)
        error = _QUANTILE * math.sqrt(middle * (1 - middle) / (self.n + 4))
        shift = _ANOTHER_KIND if self.kind == "other" else 0.0
        return max(self.accuracy - error - shift, 0.0), min(self.accuracy + error, 1.0)


Range = tuple[float, float]


def expected_accuracy(
    signal: float,
    n_classes: int | None = None,
    *,
    public: PublicModel | None = None,
    nonprivate: float | None = None,
    skill: Skill = PROTOTYPES,
) -> Range:
    """A range for the accuracy of a released model on new patients.

    Parameters
    ----------
    signal : float
        √Σ(n/σ)² over the releases that the model is made of; κ times √d.
    n_classes : int, optional
        Number of classes; needed unless there is a public model.
    public : PublicModel, optional
        The public prior. Then it carries the range, and patients can only raise the upper end, if `nonprivate` says so.
    nonprivate : float, optional
        Accuracy hoped for without privacy. Default: unknown, from hard questions to easy ones.
    skill : Skill
        Of the learner.

    Returns
    -------
    low, high : float
        NaN if nothing is known.

    Examples
    --------
    >>> from skdpal.learner.planning.accuracy import PublicModel, expected_accuracy
    >>> [round(end, 2) for end in expected_accuracy(signal=16.0, n_classes=2, nonprivate=0.9)]
    [0.73, 0.89]
    >>> [round(end, 2) for end in expected_accuracy(signal=16.0, public=PublicModel(0.9, n=40, kind="same"))]
    [0.83, 0.97]
    """
    check_real("signal", signal, above=0.0, closed=True)
    patients = _of_patients(signal, n_classes, nonprivate, skill)
    if public is None:
        return patients
    low, high = public.range
    return (low, high) if nonprivate is None or n_classes is None else (low, max(high, patients[1]))


def without_privacy(
    n_classes: int | None = None, *, public: PublicModel | None = None, nonprivate: float | None = None
) -> float:
    """The accuracy that is hoped for without noise; NaN if nobody knows."""
    known = [value for value in (nonprivate, None if public is None else public.accuracy) if value is not None]
    return max(known, default=math.nan)


def _of_patients(signal: float, n_classes: int | None, nonprivate: float | None, skill: Skill) -> Range:
    if n_classes is None:
        return math.nan, math.nan
    chance = 1 / check_count("n_classes", n_classes, least=2)
    if nonprivate is None:
        ceilings = tuple(chance + part * (1 - chance) for part in _UNKNOWN)
    else:
        ceilings = (check_real("nonprivate_accuracy", nonprivate, above=0.0, below=1.0, closed=True),) * 2
    low, high = (skill(signal, n_classes, ceiling) for ceiling in ceilings)
    return max(low - skill.margin, 0.0), min(high + skill.margin, 1.0)
