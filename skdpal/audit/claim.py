"""What a ledger says that a study costs: the claim that an attack must not beat.

Invariants
----------
* Claims are read off receipts and ceilings, never off what a mechanism did.
* If receipts differ from run to run, the study chose its noise as it went along; then what was spent is a reading, and the
  committed ceiling is the claim.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skdpal.audit.canary import Canary, LabelCanary, ModalityCanary
from skdpal.audit.recording import LAWS
from skdpal.privacy import events
from skdpal.privacy.accounting.gaussian import ceiling_mu_squared, epsilon_of_mu, mu_squared
from skdpal.privacy.accounts import ROOT
from skdpal.privacy.events import Event
from skdpal.privacy.events.kinds import by_modality
from skdpal.privacy.ledger import PrivacyLedger
from skdpal.privacy.ledger.state import Receipt

__all__ = ["Claim", "claim_of", "paid_laws", "releases", "rests_on_coins"]


@dataclass(frozen=True)
class Claim:
    """A price: μ of Gaussian DP where one is proven, and (ε, δ).

    Attributes
    ----------
    mu : float
        NaN if none is claimed.
    epsilon, delta : float
    """

    mu: float
    epsilon: float
    delta: float


def claim_of(ledgers: Sequence[PrivacyLedger], canary: Canary, *, committed: bool = False) -> Claim:
    """What ledgers claim about the difference between a canary's two worlds.

    Parameters
    ----------
    ledgers : sequence of PrivacyLedger
        All that the study paid with; what they say adds up.
    canary : Canary
    committed : bool, default=False
        The ceilings instead of what was spent.
    """
    claims = [_of_one(ledger, canary, committed) for ledger in ledgers]
    mu = math.sqrt(sum(claim.mu**2 for claim in claims))
    return Claim(mu, sum(claim.epsilon for claim in claims), min(sum(claim.delta for claim in claims), 1.0))


def paid_laws(receipts: Iterable[Receipt]) -> tuple[str, ...]:
    """The laws of noise that receipts pay for. What is drawn of another law stays inside, or leaves unpaid."""
    found = {law for receipt in receipts for law in _laws(receipt.event)}
    return tuple(law for law in LAWS if law in found)


def rests_on_coins(receipts: Iterable[Receipt]) -> tuple[bool, bool]:
    """Whether a price rests on secret samples, and whether one rests on a secret number of runs."""
    kinds = [kind for receipt in receipts for kind in _kinds(receipt.event)]
    return events.PoissonGaussian in kinds, events.RepeatAndSelect in kinds


def releases(receipts: Iterable[Receipt]) -> int:
    """How many noisy answers receipts pay for, at least."""
    return sum(_number(receipt.event) for receipt in receipts)


def _number(event: Event) -> int:
    if isinstance(event, events.Composed):
        return event.count * sum(map(_number, event.events))
    if isinstance(event, events.OneOf):
        return min(map(_number, event.events), default=0)
    if isinstance(event, events.RepeatAndSelect):
        return _number(event.event)
    return event.steps if isinstance(event, events.Gaussian | events.PoissonGaussian) else 1


def _of_one(ledger: PrivacyLedger, canary: Canary, committed: bool) -> Claim:
    delta = ledger.budget.delta
    if isinstance(canary, LabelCanary):
        return _of_label(ledger, canary, committed)
    if isinstance(canary, ModalityCanary):
        parts = [part for event in _paid(ledger, canary.account) if (part := by_modality(event).get(canary.modality))]
        if not parts:
            raise ValueError(
                f"Expected receipts that name the modality {canary.modality!r}. Found none. Name it as the blocks do."
            )
        return _gaussian(math.fsum(map(mu_squared, parts)), delta)
    account = _existing(ledger, canary.account)
    if committed:
        certificate = ledger.certificate(account)
        return Claim(certificate.get("mu", math.nan), certificate["epsilon"], delta)
    spent = ledger.spent(account)
    if ledger.filter != "gdp":
        return Claim(math.nan, spent, delta)
    state = ledger._book.read()
    leaves = state.accounts.under(account)
    paid = max((math.fsum(mu_squared(one.event) for one in _of_leaf(ledger, leaf)) for leaf in leaves), default=0.0)
    return Claim(math.sqrt(min(paid, ceiling_mu_squared(ledger.budget))), spent, delta)


def _of_label(ledger: PrivacyLedger, canary: LabelCanary, committed: bool) -> Claim:
    """One label for another: what is priced so as it is, and everything else as a patient who is exchanged."""
    delta = ledger.budget.delta
    if canary.epsilon is not None:
        return Claim(math.nan, canary.epsilon, 0.0)
    if committed:
        certificate = ledger.certificate(_existing(ledger, canary.account))
        return Claim(math.nan, certificate["replace_one"]["epsilon"], certificate["replace_one"]["delta"])
    paid = _paid(ledger, canary.account)
    if paid and all(isinstance(event, events.RandomizedResponse) for event in paid):
        return Claim(math.nan, math.fsum(event.epsilon for event in paid), 0.0)  # type: ignore[attr-defined]
    return _gaussian(math.fsum(_exchange(event) for event in paid), delta)


def _exchange(event: Event) -> float:
    """μ² when a patient's label is exchanged."""
    if isinstance(event, events.Composed):
        return event.count * math.fsum(map(_exchange, event.events))
    factor = event.replace_one if isinstance(event, events.Gaussian) else 1.0
    if not isinstance(event, events.Gaussian | events.RandomizedResponse):
        factor = 2.0
    return mu_squared(event) * factor**2


def _gaussian(paid: float, delta: float) -> Claim:
    mu = math.sqrt(paid)
    return Claim(mu, epsilon_of_mu(mu, delta), delta)


def _existing(ledger: PrivacyLedger, account: str) -> str:
    known = [ROOT, *ledger.accounts()]
    if account not in known and not any(name.startswith(f"{account}/") for name in known):
        raise ValueError(
            f"Expected account to be one of {known}. Found {account!r}. Name where the canary's patient pays."
        )
    return account


def _paid(ledger: PrivacyLedger, account: str) -> list[Event]:
    """What the leaf that paid most at or below an account paid."""
    leaves = ledger._book.read().accounts.under(_existing(ledger, account))
    lists = [[receipt.event for receipt in _of_leaf(ledger, leaf)] for leaf in leaves]
    return max(lists, key=lambda paid: math.fsum(map(mu_squared, paid)), default=[])


def _of_leaf(ledger: PrivacyLedger, leaf: str) -> list[Receipt]:
    """The receipts that fell on a leaf, or on the leaves that it was split from, before the split."""
    state = ledger._book.read()
    return [receipt for receipt in state.receipts if leaf in state.payers(receipt)]


def _laws(event: Event) -> set[str]:
    if isinstance(event, events.Composed | events.OneOf):
        return {law for part in event.events for law in _laws(part)}
    if isinstance(event, events.RepeatAndSelect):
        return _laws(event.event)
    for kinds, law in (
        (events.Gaussian | events.PoissonGaussian, "gaussian"),
        (events.Laplace, "laplace"),
        (events.BoundedRange, "gumbel"),
        (events.RandomizedResponse, "response"),
    ):
        if isinstance(event, kinds):
            return {law}
    return set()


def _kinds(event: Event) -> list[type[Event]]:
    inner: tuple[Event, ...] = ()
    if isinstance(event, events.Composed | events.OneOf):
        inner = event.events
    elif isinstance(event, events.RepeatAndSelect):
        inner = (event.event,)
    return [type(event), *(kind for part in inner for kind in _kinds(part))]
