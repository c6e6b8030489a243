"""What is compared: every method sees the same split, spends the same ε, and asks for as many labels on average.

`DPPrototypeClassifier` in simulation mode, the library's acceptance rule, utilities and mechanisms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skdpal import DPPrototypeClassifier
from skdpal.privacy.mechanisms import release
from skdpal.query.selections import AcceptanceRule, PublishedSelection, accept_all
from skdpal.query.selections.acceptance import rate_of
from skdpal.query.utilities import InformationGain, Typicality, score, utility_of
from tests.benchmarks.active.protocol import Case, amplified_noise, noise_of

__all__ = [
    "BASELINE",
    "CONTROL",
    "CONTROLLED",
    "MAIN",
    "METHODS",
    "NO_PRIVACY",
    "OTHERS",
    "PUBLIC",
    "SHOWN",
    "Study",
    "one_shot",
    "public_model",
    "study",
]

SILENT = 1e-4  # a noise multiplier that is no noise


@dataclass(frozen=True)
class Study:
    """An active-learning loop.

    Attributes
    ----------
    utility, acceptance, tilt, scorer, release
        Of `PrivateQuery`.
    rounds : int
    hold_start, amplified : bool
        Of `PrivateActiveLearner`.
    private : bool
        False: without noise.
    """

    utility: str = "margin"
    acceptance: str = "threshold"
    tilt: float = 0.5
    scorer: str = "public-first"
    release: str = "hidden"
    rounds: int = 1
    hold_start: bool = True
    amplified: bool = False
    private: bool = True

    def noise(self, epsilon: float) -> tuple[float, list[float], float | None]:
        """Of the start, of each round, and of published scores."""
        rounds = self.rounds
        if not self.private:
            return SILENT, [SILENT] * rounds, None
        if self.release == "published":  # the pool pays for every round of scores and for one release
            each = noise_of(epsilon, rounds + 1)
            return (each if self.hold_start else noise_of(epsilon)), [each] * rounds, each
        once = noise_of(epsilon)
        if self.amplified:
            tilt = 0.0 if self.utility == "random" else self.tilt
            return once, [amplified_noise(epsilon, rounds, tilt)] * rounds, None
        return once, [once] * rounds, None


def study(case: Case, epsilon: float, how: Study) -> tuple[Any, int]:
    """Run a loop as `PrivateActiveLearner` and `PrivateQuery` do, without a ledger; the last model, and the labels it used.

    The estimator, the rule, the scores and the noise are the library's; `tests/learner/test_active_benchmark.py` compares the loop
    with the library's.
    """
    protocol, (first_noise, round_noise, score_noise) = case.protocol, how.noise(epsilon)
    wanted, random = protocol.labels // how.rounds, np.random.default_rng(case.seed)
    names, utility = np.array(case.ids), utility_of(_utility(how.utility, case))
    weights, left, labelled = np.ones(len(case.reference)), case.pool, case.start
    model = DPPrototypeClassifier(first_noise, case.prior)
    if not how.hold_start:
        _learn(model, case, labelled, len(labelled))
    for number in range(how.rounds):
        public = how.scorer == "public-first" and number == 0
        scorer, rate = case.public_model if public else model, rate_of(wanted, protocol.pool - number * wanted)
        if score_noise is None:
            rule, weights = _rule(how, utility, scorer, case, rate, weights)
            accepted = accept_all(case.X[left], list(names[left]), scorer, utility, rule, random.random(len(left)))
            chosen = left[accepted]
        else:
            chosen = left[_published(score(utility, scorer, case.X[left]), score_noise, wanted)]
        held = how.hold_start and number == 0
        model.set_params(noise_multiplier=round_noise[number])
        _learn(model, case, np.concatenate([case.start, chosen]) if held else chosen, wanted + held * protocol.start)
        left, labelled = np.setdiff1d(left, chosen), np.concatenate([labelled, chosen])
    return model, len(labelled)


def _learn(model: Any, case: Case, patients: np.ndarray, expected: float) -> None:
    """One release."""
    model.partial_fit(case.X[patients], case.y[patients], expected_records=float(expected))


def _rule(
    how: Study, utility: Any, scorer: Any, case: Case, rate: float, weights: np.ndarray
) -> tuple[AcceptanceRule, np.ndarray]:
    """The rule of a round, and the reference as it leaves it."""
    if how.utility == "random":
        return AcceptanceRule(rate, "probability", 0.0), weights
    scores = score(utility, scorer, case.reference)
    rule = AcceptanceRule.from_reference(rate, how.acceptance, how.tilt, scores, weights)
    return rule, weights * np.maximum(1 - rule.probability(scores), 1e-12)


def _published(scores: np.ndarray, noise_multiplier: float, wanted: int) -> np.ndarray:
    """The best of noisy scores."""
    selection = PublishedSelection("gaussian", noise_multiplier)
    noisy = release(
        lambda: selection.values(scores), selection.mechanism(wanted), None, "scores", record_ids=range(len(scores))
    )
    return selection.choose(noisy, wanted)


def one_shot(case: Case, epsilon: float, labels: int | None = None, *, private: bool = True) -> tuple[Any, int]:
    """The start and random patients of the pool, one release."""
    n = case.protocol.start + case.protocol.labels if labels is None else labels  # patients are in random order
    model = DPPrototypeClassifier(noise_of(epsilon) if private else SILENT, case.prior)
    return model.fit(case.X[:n], case.y[:n]), n


def public_model(case: Case, epsilon: float) -> tuple[Any, int]:
    """The classifier before any patient."""
    return case.public_model, 0


def _utility(name: str, case: Case) -> Any:
    if name == "typicality":
        return Typicality(case.prior.means)
    if name == "information_gain":  # of the release to come, by the classes' shares of it
        return InformationGain(expected_records=case.protocol.start + case.protocol.labels)
    return name


Method = Callable[[Case, float], tuple[Any, int]]

BASELINE = "one-shot random"
PUBLIC = "public model alone"
CONTROL = "one-shot random, labels of: "  # and the name of a study: as many labels as it took in the same split
NO_PRIVACY = "no privacy: "
_HELD, _PLAIN = Study(), Study(hold_start=False, scorer="released")
_TILTED, _AMPLIFIED = (
    Study(acceptance="probability", tilt=1.0),
    Study(acceptance="probability", hold_start=False, amplified=True),
)


def _loop(how: Study) -> Method:
    return lambda case, epsilon: study(case, epsilon, how)


# run at every ε and on all splits
MAIN: dict[str, Method] = {
    BASELINE: one_shot,
    PUBLIC: public_model,
    "held start: random": _loop(replace(_HELD, utility="random")),
    "held start: margin, tilt 1": _loop(_TILTED),
    "held start: rarity, tilt 1": _loop(replace(_TILTED, utility="rarity")),
    "held start: margin, threshold": _loop(_HELD),
}
# run at the middle ε, on fewer splits
OTHERS: dict[str, Method] = {
    **{
        f"held start: {name}, tilt 1": _loop(replace(_TILTED, utility=name))
        for name in ("entropy", "least_confidence", "information_gain", "coherence", "typicality")
    },
    "held start: margin, tilt .5": _loop(replace(_TILTED, tilt=0.5)),
    "held start: margin, tilt 1, 3 rounds": _loop(replace(_TILTED, rounds=3)),
    "held start: margin, published": _loop(replace(_TILTED, release="published")),
    "released start: margin, tilt 1": _loop(replace(_PLAIN, acceptance="probability", tilt=1.0)),
    "released start: margin, threshold": _loop(_PLAIN),
    "released start: random, 3 rounds": _loop(replace(_PLAIN, utility="random", rounds=3)),
    "released start: margin, threshold, 3 rounds": _loop(replace(_PLAIN, rounds=3)),
    "amplified: random": _loop(replace(_AMPLIFIED, utility="random")),
    "amplified: margin, tilt .5": _loop(_AMPLIFIED),
    "amplified: random, 3 rounds": _loop(replace(_AMPLIFIED, utility="random", rounds=3)),
    "amplified: margin, tilt .5, 3 rounds": _loop(replace(_AMPLIFIED, rounds=3)),
    NO_PRIVACY + BASELINE: lambda case, epsilon: one_shot(case, epsilon, private=False),
    NO_PRIVACY + "held start: margin, tilt 1": _loop(replace(_TILTED, private=False)),
    NO_PRIVACY + "held start: margin, threshold": _loop(replace(_HELD, private=False)),
    NO_PRIVACY + "released start: margin, threshold": _loop(replace(_PLAIN, private=False)),
    NO_PRIVACY + "released start: margin, threshold, 3 rounds": _loop(replace(_PLAIN, rounds=3, private=False)),
}
METHODS = {**MAIN, **OTHERS}
CONTROLLED = ("held start: margin, tilt 1", "held start: margin, threshold")
SHOWN = CONTROLLED[1]  # in the figure, cohort by cohort
