"""One study in two worlds: recorded in one, replayed with the same answers in the other.

Why the statistic is one that the price must withstand
------------------------------------------------------
*Transcript.* The log-likelihood ratio of all noisy answers, given the coins (`recording`). The attacker is told the coins:
who would have been accepted at which score, which labels were swapped inside. For prices of Gaussian, Laplace, Gumbel
and randomized-response releases this changes nothing: coins have the same law in both worlds, for each
value of the coins the two transcripts are as close as the price says (docs/trusted_kernel.md, Theorem C, step 1, and Lemma
G), and a mixture of such pairs over the coins is as close (joint convexity). Of Gumbel noise only winners leave, and only
their chances enter.

*Own coins secret.* A price of a Poisson sample (an amplified round) rests on the patient's own coins. Their
likelihood is averaged over fresh coins for this one patient, drawn apart from those of the run: the statistic is a function of
the answers, of the others' coins, which that proof grants (Theorem A), and of coins that have nothing to do with the run.

*Published.* A price of repeat-and-select rests on a secret number of runs and on losers who are forgotten; noise that
does not pass through the kernel's sampler (gradients) cannot be forced. There the statistic is a function of what was
published alone, a weighted sum whose weights are learnt from runs that judge nothing. Any function of what was published
must be withstood by any price.

*What is left.* With all paid answers and all coins alike, whatever still differs between the two worlds in what was
published depends on the patient and has no noise of its own: no receipt pays for that.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from skdpal.audit.canary import Canary, LabelCanary
from skdpal.audit.claim import Claim, claim_of, paid_laws, releases, rests_on_coins
from skdpal.audit.cohort import AuditCohort
from skdpal.audit.published import Leaf, differences, publication_of
from skdpal.audit.recording import Draw, recorded
from skdpal.privacy.ledger import PrivacyLedger
from skdpal.privacy.ledger.state import Receipt

__all__ = [
    "ANSWERS",
    "Factory",
    "Outcome",
    "Run",
    "by_itself",
    "grants",
    "log_ratio",
    "play",
    "sees_all",
    "shift_between",
    "statistic_of",
    "unpaid",
]

Factory = Callable[[AuditCohort], Any]
ANSWERS = "noisy answers"  # the path of the transcript itself, if the worlds do not even ask the same
REFUSAL = "refusal"
_WORDS = 160  # of an error's message


@dataclass(eq=False)
class Run:
    """A study that was run.

    Attributes
    ----------
    draws : list of Draw
        In order.
    leaves : dict of str to Leaf
        What was published.
    ledgers : list of PrivacyLedger
    receipts : list of Receipt
        Of all ledgers.
    laws : tuple of str
        Laws of noise that receipts pay for.
    claim, ceiling : Claim or None
        What was spent, and what was committed, on a canary that was named.
    whole : bool
        Whether all answers that were told were asked for, and no others.
    """

    draws: list[Draw]
    leaves: dict[str, Leaf]
    ledgers: list[PrivacyLedger]
    receipts: list[Receipt]
    laws: tuple[str, ...]
    whole: bool = True
    claim: Claim | None = None
    ceiling: Claim | None = None

    def seen(self, laws: Sequence[str]) -> list[Draw]:
        """The draws of some laws."""
        return [draw for draw in self.draws if draw.law in laws]


@dataclass(frozen=True)
class Outcome:
    """What one run tells an attacker.

    Attributes
    ----------
    ratio : float
        Log-likelihood ratio of the transcript, large if the patient seems present.
    differing : dict of str to float
        What differs without a receipt: paths, with the largest difference of numbers.
    numbers : dict of str to ndarray
        What was published, as numbers, where the statistic is learnt.
    receipts : str
        A digest of the receipts, to see whether they are always the same.
    shift : float
        √Σ ‖v − v'‖²/σ² of the Gaussian answers along the run: what it told at most, without chance (Lemma G).
    """

    ratio: float
    differing: dict[str, float]
    numbers: dict[str, Any] | None = None
    receipts: str = ""
    shift: float = math.nan


def play(
    factory: Factory,
    cohort: AuditCohort,
    seed: int,
    *,
    certificates: bool = False,
    strict: bool = False,
    canary: Canary | None = None,
    **options: Any,
) -> Run:
    """Run a study in one world and write down what it draws and publishes.

    Parameters
    ----------
    factory, cohort
        The study, and its patients in this world.
    seed : int
        Of coins and noise.
    certificates : bool, default=False
        Publish what ledgers certify, too.
    strict : bool, default=False
        Let an error pass. Else that a study refuses, and its words, are what it publishes: an error that one world alone
        raises tells the worlds apart.
    canary : Canary, optional
        Whose claim is read off the ledgers, while they are there.
    **options
        Of `Recorder`.
    """
    with ExitStack() as lent, recorded(seed, **options) as recorder:
        folder = cache(lambda: Path(lent.enter_context(tempfile.TemporaryDirectory(prefix="skdpal-audit-"))))
        published = _attempt(factory, replace(cohort, workspace=folder), strict)
        read = publication_of(published, certificates=certificates)
        laws = paid_laws(read.receipts)
        spent, committed = (
            None if canary is None or not read.ledgers else claim_of(read.ledgers, canary, committed=all_of_it)
            for all_of_it in (False, True)
        )
        return Run(recorder.draws, read.leaves, read.ledgers, read.receipts, laws, recorder.finished, spent, committed)


def grants(canary: Canary) -> tuple[str, ...]:
    """Laws whose draws the attacker sees though no receipt says so: labels that are noisy once and for all."""
    return ("response", "laplace") if isinstance(canary, LabelCanary) and canary.epsilon is not None else ()


def unpaid(mine: Run, theirs: Run, ignored: dict[str, str]) -> dict[str, float]:
    """What differs though all paid answers were the same.

    Parameters
    ----------
    mine, theirs : Run
        The second with the answers of the first.
    ignored : dict of str to str
        Paths that differ from run to run by themselves, such as names drawn at random: "form" if even their form does, else
        "content".
    """
    found = differences(mine.leaves, theirs.leaves)
    if REFUSAL in found:  # one of the two published nothing else
        words = next(run.leaves[REFUSAL].content for run in (mine, theirs) if REFUSAL in run.leaves)
        return {f"{REFUSAL} {words[:_WORDS]}": math.nan}
    kept = {path: size for path, size in found.items() if not _ignored(path, mine, theirs, ignored)}
    if not theirs.whole:
        kept = {ANSWERS: math.nan, **kept}
    pairs = zip(mine.seen(mine.laws), theirs.seen(mine.laws), strict=False)
    for place, (one, other) in enumerate(pairs, start=1):  # noise that follows a patient tells of them
        if (one.law, one.parameters, one.values.shape) != (other.law, other.parameters, other.values.shape):
            kept[f"noise of answer {place}"] = math.nan
    return kept


def by_itself(mine: Run, again: Run) -> dict[str, str]:
    """Paths that differ between two runs in one world with the same coins and answers."""
    found = differences(mine.leaves, again.leaves)
    nothing = Leaf("nothing", "")
    return {
        path: "content" if mine.leaves.get(path, nothing).form == again.leaves.get(path, nothing).form else "form"
        for path in found
    }


def log_ratio(mine: Run, theirs: Run, laws: Sequence[str]) -> float:
    """Ln p(answers | mine) - ln p(answers | theirs), as far as both asked the same."""
    pairs = zip(mine.seen(laws), theirs.seen(laws), strict=False)
    return sum(
        one.ratio(other) for one, other in pairs if one.values.shape == other.values.shape and one.law == other.law
    )


def shift_between(mine: Run, theirs: Run, laws: Sequence[str]) -> float:
    """√Σ ‖v − v'‖²/σ² along a run whose visible noise is Gaussian; NaN if some is not."""
    if any(law != "gaussian" for law in laws):
        return math.nan
    shifts = [one.shift(other) for one, other in zip(mine.seen(laws), theirs.seen(laws), strict=False)]
    return math.sqrt(math.fsum(shift**2 for shift in shifts if not math.isnan(shift)))


def sees_all(run: Run) -> bool:
    """Whether all paid noise passed through the sampler; that of gradients does not."""
    return len(run.seen(run.laws)) >= releases(run.receipts)


def statistic_of(run: Run) -> str:
    """The sharpest statistic that the price of a run must withstand: "transcript", "own coins secret" or "published"."""
    sampled, repeated = rests_on_coins(run.receipts)
    if repeated or not sees_all(run):
        return "published"
    return "own coins secret" if sampled else "transcript"


def _attempt(factory: Factory, cohort: AuditCohort, strict: bool) -> Any:
    """What a study publishes."""
    try:
        return factory(cohort)
    except Exception as error:
        if strict:
            error.add_note(f"So failed the study under audit, {cohort.world}.")
            raise
        return {REFUSAL: f"{type(error).__name__}: {error}"}


def _ignored(path: str, mine: Run, theirs: Run, ignored: dict[str, str]) -> bool:
    how = ignored.get(path)
    if how is None or how == "form":
        return how is not None
    nothing = Leaf("nothing", "")
    return mine.leaves.get(path, nothing).form == theirs.leaves.get(path, nothing).form
