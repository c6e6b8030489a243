"""`audit`: look for an attack on a whole study that beats its price."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skdpal.audit.canary import Canary, GhostCanary, PatientCanary
from skdpal.audit.claim import Claim
from skdpal.audit.cohort import AuditCohort
from skdpal.audit.learnt import weighed
from skdpal.audit.odds import power_of
from skdpal.audit.recording import seed_of
from skdpal.audit.report import AuditReport, Finding, judged, judged_ghost
from skdpal.audit.screen import Progress, watched
from skdpal.audit.two_worlds import Attack, attack
from skdpal.audit.worlds import (
    Factory,
    Outcome,
    Run,
    by_itself,
    grants,
    log_ratio,
    play,
    sees_all,
    shift_between,
    statistic_of,
    unpaid,
)
from skdpal.privacy.validation import check_count, check_real

__all__ = ["GHOSTS", "audit", "cohort_of", "default_canaries"]

_ALIASES = 8  # fresh coins over which a likelihood is averaged
GHOSTS = 3  # pairs of runs that show what is not protected
_WORLDS = (True, False)


@dataclass(frozen=True, eq=False)
class _Trial:
    """What is known of a canary before it is put to the test."""

    canary: Canary
    cohort: AuditCohort
    seed: int
    laws: tuple[str, ...]
    statistic: str
    ignored: dict[str, str]
    claim: Claim
    ceiling: Claim
    noise: float = 1.0


def audit(
    study_factory: Factory,
    *,
    cohort: AuditCohort | tuple[Any, ...] | None = None,
    canaries: Sequence[Canary] | None = None,
    runs: int = 500,
    confidence: float = 0.95,
    n_jobs: int | None = None,
    progress: bool | Callable[[int, int, str], None] = True,
    self_test: bool = False,
    seed: int = 0,
) -> AuditReport:
    """Attack a whole study, as often as it takes, and compare what the attacks prove with what its ledger says.

    Parameters
    ----------
    study_factory : callable
        ``study_factory(cohort)`` runs one study on an `AuditCohort` and returns all that it publishes, with its ledger:
        dicts, lists, arrays, tables, fitted estimators, studies, and paths of files and folders. It makes its
        ledger itself, and takes public numbers from ``cohort.n_patients``, not from the number of rows.
    cohort : AuditCohort or tuple (X, y) or (X, y, record_ids), optional
        PUBLIC or made-up patients: what an audit computes is not private. Default: `AuditCohort.example`.
    canaries : sequence of Canary, optional
        Which patients are attacked. Default: the first slot, the last one, and the ghost.
    runs : int, default=500
        Studies in each world, for each canary.
    confidence : float, default=0.95
        That no true claim is refuted, by all canaries together.
    n_jobs : int, optional
        Processes, as in joblib; the result does not depend on it. Default: this one.
    progress : bool or callable, default=True
        Show a bar; or call ``progress(done, total, name)``. Only numbers of runs are shown.
    self_test : bool, default=False
        Also run the first protected canary with half the noise: an audit that cannot find this proves nothing.
    seed : int, default=0
        Of the simulated noise.

    Returns
    -------
    AuditReport
        One finding a canary.

    Raises
    ------
    ValueError
        If no ledger is reachable from what the factory returns.

    Notes
    -----
    What is run is a simulation: nothing is charged to a real ledger, and nothing is private. How the statistic is
    made, and why every price must withstand it: `skdpal.audit.worlds` and docs/auditing.md. A passed audit is no proof
    that a study is private; a failed one is proof that it is not.

    References
    ----------
    Nasr, Hayes, Steinke, Balle, Tramèr, Jagielski, Carlini and Terzis 2023, "Tight auditing of differentially private
    machine learning" (two worlds, Gaussian DP). Kairouz, Oh and Viswanath 2015 (errors and ε).

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.audit import audit
    >>> def study(cohort):
    ...     ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=10.0))
    ...     model = skdpal.DPPrototypeClassifier(0.6, classes=[0, 1, 2], ledger=ledger)
    ...     return model.fit(cohort.X, cohort.y, record_ids=cohort.record_ids, expected_records=cohort.n_patients)
    >>> report = audit(study, runs=60, confidence=1 - 1e-6, progress=False)
    >>> report.passed
    True
    >>> report.frame()["verdict"].tolist()
    ['below its price', 'below its price', 'not protected, as stated']
    """
    runs = check_count("runs", runs, least=2)
    confidence = check_real("confidence", confidence, above=0.0, below=1.0)
    patients = cohort_of(cohort)
    chosen = default_canaries() if canaries is None else list(canaries)
    if not chosen or not all(isinstance(canary, Canary) for canary in chosen):
        raise ValueError(
            f"Expected canaries to be a list of canaries. Found {canaries!r}. See skdpal.audit.PatientCanary."
        )
    if len({canary.name for canary in chosen}) < len(chosen):
        raise ValueError("Expected canaries with different names. Rename those that share one.")
    trials = [_trial(study_factory, canary, patients, seed) for canary in chosen]
    tested = next((trial for trial in trials if self_test and trial.canary.protected), None)
    if tested is not None:
        trials.append(_with(tested, noise=0.5))
    share = 1 - (1 - confidence) / max(sum(trial.canary.protected for trial in trials), 1)
    plans = [_plan(trial, runs, share) for trial in trials]
    jobs = [
        (trial, present, number)
        for trial in trials
        for present in _WORLDS
        for number in range(runs if trial.canary.protected else GHOSTS)
    ]
    with watched(progress, len(jobs)) as shown:
        outcomes = list(_carried_out(study_factory, jobs, n_jobs, shown))
    found: list[Finding] = []
    for trial, plan in zip(trials, plans, strict=True):
        mine = [(present, out) for (one, present, _), out in zip(jobs, outcomes, strict=True) if one is trial]
        worlds = {world: [out for present, out in mine if present is world] for world in _WORLDS}
        found.append(_judged(trial, plan, worlds, share))
    return AuditReport(tuple(found), confidence=confidence)


def default_canaries() -> list[Canary]:
    """A patient in the first slot, one in the last, and the ghost.

    Returns
    -------
    list of Canary
        What `audit` attacks by default.

    Examples
    --------
    >>> from skdpal.audit import default_canaries
    >>> [canary.name for canary in default_canaries()]
    ['first patient', 'last patient', 'ghost']
    """
    return [PatientCanary("first patient", 0), PatientCanary("last patient", -1), GhostCanary(patient=-1)]


def cohort_of(given: Any) -> AuditCohort:
    """The patients that were given, or made-up ones."""
    if given is None:
        return AuditCohort.example()
    if isinstance(given, AuditCohort):
        return given
    if isinstance(given, tuple) and len(given) in (2, 3):
        return AuditCohort.from_arrays(*given)
    raise TypeError(
        f"Expected cohort to be an AuditCohort, or (X, y) or (X, y, record_ids). Found {type(given).__name__}. "
        "Make one with AuditCohort.from_arrays."
    )


def _trial(factory: Factory, canary: Canary, cohort: AuditCohort, seed: int) -> _Trial:
    """One pair of runs that shows how the study is to be attacked, and what it claims."""
    there, gone = canary.worlds(cohort)
    own = seed_of(seed, canary.name)
    first = play(factory, there, own, strict=True, canary=canary)
    if first.claim is None or first.ceiling is None:
        raise ValueError(
            "Expected study_factory to return its ledger with what it publishes, or an estimator that has one. Found none. "
            "Return {'model': model, 'ledger': ledger}."
        )
    laws = tuple(dict.fromkeys([*first.laws, *grants(canary)]))
    again = play(factory, there, own, answers=first.draws, laws=laws)
    play(factory, gone, own, answers=first.draws, laws=laws, strict=not canary.protected)
    known = statistic_of(first), by_itself(first, again), first.claim, first.ceiling
    return _Trial(canary, cohort, own, laws, *known)


def _with(trial: _Trial, noise: float) -> _Trial:
    return _Trial(
        trial.canary,
        trial.cohort,
        seed_of(trial.seed, "self-test"),
        trial.laws,
        trial.statistic,
        trial.ignored,
        trial.claim,
        trial.ceiling,
        noise,
    )


def _plan(trial: _Trial, runs: int, confidence: float) -> Finding:
    """What is known before anything is run, the power above all."""
    canary, claim = trial.canary, trial.claim
    if not canary.protected:
        return Finding(canary.name, False, math.nan, math.nan, claim.delta, GHOSTS, math.nan)
    judging = runs if _fixed(trial) else runs // 2
    name = canary.name if trial.noise == 1 else f"self-test: half the noise ({canary.name})"
    power = power_of(claim, judging, confidence)
    price = (claim.mu, claim.epsilon, claim.delta)
    return Finding(name, True, *price, judging, power, statistic=trial.statistic, planted=trial.noise != 1)


def _fixed(trial: _Trial) -> bool:
    """Whether the threshold is fixed beforehand, half-way between the worlds: the best for μ, and for a pure ε."""
    return trial.statistic == "transcript" and (not math.isnan(trial.claim.mu) or trial.claim.delta == 0)


def _carried_out(
    factory: Factory, jobs: list[tuple[_Trial, bool, int]], n_jobs: int | None, shown: Progress
) -> Iterator[Outcome]:
    from joblib import Parallel, delayed  # type: ignore[import-untyped]

    parallel = Parallel(n_jobs=n_jobs, return_as="generator", batch_size="auto", pre_dispatch="4*n_jobs")
    done = parallel(delayed(_one)(factory, *job) for job in jobs)
    for (trial, _, _), outcome in zip(jobs, done, strict=True):
        shown(trial.canary.name)
        yield outcome


def _one(factory: Factory, trial: _Trial, present: bool, number: int) -> Outcome:
    """One study in one world, and what it tells an attacker."""
    worlds = trial.canary.worlds(trial.cohort)
    own, other = worlds if present else worlds[::-1]
    seed = seed_of(trial.seed, present, number)
    if trial.statistic == "own coins secret" and trial.canary.protected:
        own, other = (_named(world, trial, f"coins-{seed}") for world in (own, other))
    mine = play(factory, own, seed, noise=trial.noise)
    receipts = repr([(receipt.event, receipt.account) for receipt in mine.receipts])
    theirs = play(factory, other, seed, answers=mine.draws, laws=trial.laws, noise=trial.noise)
    blind = trial.statistic == "published" and not sees_all(mine)
    differing = {} if blind else unpaid(mine, theirs, trial.ignored)
    if trial.statistic == "published":
        numbers = {path: leaf.content for path, leaf in mine.leaves.items() if path not in trial.ignored}
        return Outcome(math.nan, differing, numbers, receipts)
    if trial.statistic == "own coins secret":
        return Outcome(_averaged(factory, trial, mine, theirs, present, seed), differing, None, receipts)
    ratio = log_ratio(mine, theirs, trial.laws)
    shift = shift_between(mine, theirs, trial.laws)
    return Outcome(ratio if present else -ratio, differing, None, receipts, shift)


def _averaged(factory: Factory, trial: _Trial, mine: Run, theirs: Run, present: bool, seed: int) -> float:
    """The likelihood with the patient, averaged over fresh coins of the patient, over that without."""
    there, _ = trial.canary.worlds(trial.cohort)
    gone = theirs if present else mine
    ratios = []
    for alias in range(_ALIASES):
        fresh = _named(there, trial, f"coins-{seed}-{alias}")
        guess = play(factory, fresh, seed, answers=mine.draws, laws=trial.laws, noise=trial.noise)
        ratios.append(-log_ratio(gone, guess, trial.laws))
    return float(np.logaddexp.reduce(ratios) - math.log(_ALIASES))


def _named(cohort: AuditCohort, trial: _Trial, name: str) -> AuditCohort:
    """The patient under a name that sorts where the own one does."""
    own = trial.cohort.roster[trial.cohort.position(trial.canary.patient)]
    return cohort.renamed(own, f"{own}~{name}")


def _judged(trial: _Trial, plan: Finding, worlds: dict[bool, list[Outcome]], confidence: float) -> Finding:
    """The verdict on a canary."""
    outcomes = [out for world in _WORLDS for out in worlds[world]]
    differing = {path: size for out in outcomes for path, size in out.differing.items()}
    often = sum(bool(out.differing) for out in outcomes)
    if not trial.canary.protected:
        return judged_ghost(plan, differing)
    claim = trial.claim if len({out.receipts for out in outcomes}) == 1 else trial.ceiling
    found = _attacked(trial, worlds, confidence)
    shifts = [out.shift for out in outcomes if not math.isnan(out.shift)]
    return judged(plan, found, claim, differing, often, max(shifts, default=math.nan))


def _attacked(trial: _Trial, worlds: dict[bool, list[Outcome]], confidence: float) -> Attack:
    present, absent = worlds[True], worlds[False]
    if trial.statistic == "published":
        numbers = [[out.numbers or {} for out in world] for world in (present, absent)]
        there, gone = weighed(*numbers)
    else:
        there, gone = (np.array([out.ratio for out in world]) for world in (present, absent))

    def world(of: bool, runs: int) -> NDArray[np.float64]:
        return there if of else gone

    if _fixed(trial):
        return attack(world, len(there), threshold=0.0, confidence=confidence)
    half = len(there) // 2
    there, gone = there[: 2 * half], gone[: 2 * half]
    delta = None if not math.isnan(trial.claim.mu) else trial.claim.delta
    return attack(world, half, delta=delta, confidence=confidence)
