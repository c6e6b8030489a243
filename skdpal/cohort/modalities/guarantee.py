"""What may be said about one modality of a patient, and what about the patient."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from skdpal.privacy import PrivacyBudget, events
from skdpal.privacy.accounting.gaussian import ceiling_mu_squared, epsilon_of_mu, mu_squared
from skdpal.privacy.events import Event
from skdpal.privacy.validation import check_real

__all__ = ["modality_guarantees", "patient_epsilon"]

_NAMED = "OnlyModalities("
_SLACK = 1e-6  # relative, of sums of μ² that were rounded in different order


def patient_epsilon(budgets: Mapping[str, float], delta: float) -> float:
    """What budgets of separate modalities mean for the patient who has them all.

    Each ε is turned into its μ; Gaussian releases of separate blocks together are μ-GDP with μ² = Σ μ_m² (Dong, Roth
    and Su 2022).

    Parameters
    ----------
    budgets : mapping of str to float
        ε of each modality, all at the same δ.
    delta : float
        Of the patient's guarantee.

    Returns
    -------
    float
        ε of the patient at δ: more than the largest, less than the sum.

    Raises
    ------
    ValueError
        If there is no budget.

    Examples
    --------
    >>> from skdpal.cohort import patient_epsilon
    >>> round(patient_epsilon({"rna": 1.0, "methylation": 0.5, "clinical": 0.5}, delta=1e-5), 2)
    1.28
    """
    if not budgets:
        raise ValueError("Expected budgets of at least one modality. Found none. Pass {name: epsilon}.")
    total = math.fsum(
        ceiling_mu_squared(PrivacyBudget(check_real(f"budgets[{name!r}]", epsilon, above=0.0), delta))
        for name, epsilon in budgets.items()
    )
    return epsilon_of_mu(math.sqrt(total), delta)


def modality_guarantees(
    ledger: Any,
    modalities: Sequence[str] | None = None,
    *,
    account: str = "cohort",
    scores_read: Sequence[str] | None = None,
) -> pd.DataFrame:
    """For the patient, and for each modality, the ε that may be stated, or why there is none.

    Two worlds: a patient's modality m is there, or it is zeros, everything else being equal. The ε of its cap holds if
    all releases are separated by modality (`DPModalityClassifier`) and neither acceptance nor a published score reads
    m. Acceptance that reads m decides *in which round* all other modalities of the patient are released, so that both
    worlds differ in two releases: μ² = 2 μ_patient² − μ_m². A published score that reads m moves by up to 1: it adds (2
    μ_score)².

    Parameters
    ----------
    ledger : PrivacyLedger
        Of filter "gdp". Its journal tells what was released, and what acceptance read: a utility that
        is not `OnlyModalities` or ``"random"`` reads all modalities.
    modalities : sequence of str, optional
        Default: those that have a cap or were released.
    account : str, default="cohort"
        Whose guarantee.
    scores_read : sequence of str, optional
        Modalities that published scores read. Default: all.

    Returns
    -------
    DataFrame
        One row for the "patient", which is the headline, and one for each modality: "cap" (ε; NaN if there is none),
        "epsilon" (that may be stated; NaN: nothing may) and "reason".

    Raises
    ------
    ValueError
        If the ledger is not of filter "gdp", or `scores_read` names an unknown modality.

    Notes
    -----
    Reads the journal, which is public; nothing is charged. Modalities of one patient are related: a small ε of one says
    nothing about what the others tell about it.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.cohort import modality_guarantees
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> cap = ledger.cap("cohort", "rna", epsilon=1.0)
    >>> modality_guarantees(ledger)["epsilon"].round(2).to_dict()
    {'patient': 2.0, 'rna': 1.0}
    """
    certificate = ledger.certificate(account=account)
    if ledger.filter != "gdp":
        raise ValueError(
            f'Expected a ledger of filter="gdp". Found {ledger.filter!r}: how its prices divide among modalities is not proven. '
            "State the patient's ε only."
        )
    leaves = _leaves(ledger, certificate, account)
    found = [name for leaf in leaves for name in (*leaf.caps, *leaf.parts)]
    names = list(dict.fromkeys(found)) if modalities is None else list(modalities)
    unknown = sorted(set(scores_read or ()) - set(names))
    if unknown:
        raise ValueError(f"Expected scores_read to be some of {names}. Found {unknown[0]!r}. Correct the name.")
    read = {name for name in names if any(_accepts_by(name, one) for one in ledger.rounds().values())}
    scored = set(names if scores_read is None else scores_read)
    patient = float(certificate["epsilon"])
    table = {"patient": (math.nan, patient if certificate["status"] == "valid" else math.nan, certificate["status"])}
    for name in names:
        caps = [leaf.caps.get(name, math.nan) for leaf in leaves]
        cap = math.nan if any(map(math.isnan, caps)) else max(caps)
        why = _why_none(name, leaves, cap, patient, certificate, name in read, name in scored)
        table[name] = (cap, math.nan if why else cap, why or "its cap; nobody chose by it, and no release mixes it")
    return pd.DataFrame.from_dict(table, orient="index", columns=["cap", "epsilon", "reason"])


@dataclass
class _Leaf:
    """What the patients of a leaf paid, and may pay, as far as modalities are concerned."""

    caps: dict[str, float]
    counted: dict[str, float]  # ε that each cap has counted
    parts: dict[str, float]  # μ² of each modality, of all receipts
    least: dict[str, float]  # the smallest μ² of a modality in one release
    scores: float = 0.0  # μ² of published scores
    mixed: str = ""  # label of a release that is not separated


def _why_none(
    name: str,
    leaves: list[_Leaf],
    cap: float,
    patient: float,
    certificate: dict[str, Any],
    accepted_by: bool,
    scored_by: bool,
) -> str:
    """Why no ε of a modality may be stated; empty if its cap may."""
    delta = certificate["delta"]
    if certificate["status"] != "valid":
        return f"the ledger is not valid: {certificate['status']}"
    if math.isnan(cap):
        return "no cap: it may cost as much as the patient"
    mixed = next((leaf.mixed for leaf in leaves if leaf.mixed), "")
    if mixed:
        return f"release {mixed!r} does not separate modalities"
    for leaf in leaves:
        if epsilon_of_mu(math.sqrt(leaf.parts.get(name, 0.0)), delta) > leaf.counted[name] * (1 + _SLACK) + _SLACK:
            return "its cap was made after a release that it does not count"
    if accepted_by:
        own = min((leaf.least[name] for leaf in leaves if name in leaf.least), default=0.0)
        both = epsilon_of_mu(math.sqrt(2 * _mu2(patient, delta) - own), delta)
        return f"hidden acceptance reads it: ε = {both:.2f}, more than the patient's {patient:.2f}"
    selection = max(leaf.scores for leaf in leaves)
    if scored_by and selection > 0:
        more = epsilon_of_mu(math.sqrt(_mu2(cap, delta) + 4 * selection), delta)
        return f"published scores read it: ε = {more:.2f} so far"
    return "" if cap < patient else "its cap is not below the patient's ε"


def _mu2(epsilon: float, delta: float) -> float:
    return ceiling_mu_squared(PrivacyBudget(epsilon, delta))


def _leaves(ledger: Any, certificate: dict[str, Any], account: str) -> list[_Leaf]:
    found = []
    for name in certificate["accounts"]:
        if name != account and not name.startswith(f"{account}/"):
            continue
        if name == "cohort":
            continue  # no leaf
        caps = dict(certificate["caps"].get(name, {}))
        leaf = _Leaf(caps, {cap: ledger.spent(name, cap=cap) for cap in caps}, {}, {})
        for receipt in ledger.certificate(account=name)["receipts"]:
            _add(leaf, events.from_json(receipt["event"]), receipt["label"])
        found.append(leaf)
    return found


def _add(leaf: _Leaf, event: Event, label: str) -> None:
    for one in _releases(event):
        if isinstance(one, events.Modalities):
            for name, part in events.by_modality(one).items():
                price = mu_squared(part)
                leaf.parts[name] = leaf.parts.get(name, 0.0) + price
                leaf.least[name] = min(leaf.least.get(name, math.inf), price)
        elif isinstance(one, events.NoisyScores):
            leaf.scores += mu_squared(one)
        elif not isinstance(one, events.RandomizedResponse):  # of labels: no modality is read
            leaf.mixed = leaf.mixed or label


def _releases(event: Event) -> Iterable[Event]:
    """The releases of a composition; modalities stay together."""
    if isinstance(event, events.Modalities) or not isinstance(event, events.Composed | events.OneOf):
        return [event]
    count = event.count if isinstance(event, events.Composed) else 1
    return [one for _ in range(count) for part in event.events for one in _releases(part)]


def _accepts_by(name: str, round: Mapping[str, Any]) -> bool:
    """Whether hidden acceptance of a round read a modality, as its own record says."""
    utility = round.get("utility")
    if utility is None or utility == "Random()" or round.get("scorer") == "coins":
        return False  # published, or by coins
    if utility.startswith(_NAMED):
        return name in ast.literal_eval(utility[len(_NAMED) : utility.index("]") + 1])
    return True
