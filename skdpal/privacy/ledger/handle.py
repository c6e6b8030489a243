"""A ledger as seen from one account.

A handle has the ledger's interface, so an estimator does not know which of the two it holds.
Copies and clones are the same handle; a pickle reopens the ledger. A handle of a branch makes
its split together with its first charge; a handle of a reservation draws on what was reserved; a handle with a
question remembers the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from skdpal.privacy import events
from skdpal.privacy.errors import BudgetExhausted, LedgerError
from skdpal.privacy.events import Event
from skdpal.privacy.validation import check_real

if TYPE_CHECKING:
    from skdpal.privacy.budget import PrivacyBudget
    from skdpal.privacy.ledger import PrivacyLedger
    from skdpal.privacy.ledger.state import Question, Receipt

__all__ = ["Branch", "Handle", "Selection"]


@dataclass(frozen=True)
class Branch:
    """A split that is made together with the first charge of the new leaf."""

    source: str
    into: str
    members: tuple[str, ...]
    selection: Selection | None


@dataclass(frozen=True)
class Selection:
    """How the members of a new leaf were chosen.

    Parameters
    ----------
    round : str
        Label of the round, and of its coins.
    rate : float, optional
        No patient, whatever their data say, is chosen with a higher probability; from 0 to 1. If given, the source
        pays for a Poisson sample, and the new leaf pays nothing. Each round fills one such sample.

    Examples
    --------
    >>> from skdpal.privacy import Selection, events
    >>> Selection("round-1", rate=0.25).event_of(events.gaussian(2.0))
    PoissonGaussian(noise_multiplier=2.0, sampling_rate=0.25, steps=1)
    """

    round: str
    rate: float | None = None

    def __post_init__(self) -> None:
        if self.rate is not None:
            check_real("rate", self.rate, above=0.0, below=1.0, closed=True)

    def event_of(self, event: Event) -> Event:
        """What one release of the chosen costs; if they are a sample, everybody from whom it was drawn.

        Raises
        ------
        ValueError
            If the event is not one Gaussian release.
        """
        if self.rate is None:
            return event
        if type(event) is not events.Gaussian or event.steps != 1:
            raise ValueError(
                f"Expected one Gaussian release of the sample. Found {event}. Charge the new leaf instead: leave rate out."
            )
        return events.poisson_gaussian(event.noise_multiplier, self.rate, 1)


class Handle:
    """One account of a ledger; made by `PrivacyLedger.within`, `split`, `branch` and `reserve`.

    Parameters
    ----------
    ledger : PrivacyLedger
        Who says yes.
    account : str
        To which the handle is bound.
    source, members : str and tuple of str, optional
        Of a split that is made together with the first charge.
    reservation : int, optional
        Number of the receipt that has paid already.
    cap : str, optional
        The part of the account that pays as well.
    question : str, optional
        Public name under which answers are kept.
    selection : Selection, optional
        How the members were chosen.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.privacy import events
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> start = ledger.split("cohort/pool", into="cohort/start", members=["p1", "p2"])
    >>> receipt = start.charge(events.gaussian(4.0), label="start")
    >>> receipt.account, round(start.spent(), 2)
    ('cohort/start', 0.93)
    """

    def __init__(
        self,
        ledger: PrivacyLedger,
        account: str,
        *,
        source: str | None = None,
        members: tuple[str, ...] = (),
        reservation: int | None = None,
        cap: str | None = None,
        question: str | None = None,
        selection: Selection | None = None,
    ) -> None:
        self.root = ledger
        self.account = account
        self.cap = cap
        self.question = question
        self.selection = selection
        self._source, self._members, self._turn = source, members, 0
        self._reservation = reservation

    @property
    def budget(self) -> PrivacyBudget:
        """The ceiling of the ledger."""
        return self.root.budget

    @property
    def hidden_rounds(self) -> int:
        """How many rounds of hidden selection were begun."""
        return self.root.hidden_rounds

    def charge(
        self, event: Event, label: str, account: str | None = None, record_ids: Sequence[str] | None = None
    ) -> Receipt:
        """As `PrivacyLedger.charge`, for this account.

        Raises
        ------
        ValueError
            If `account` is not the one to which the handle is bound.
        """
        if account not in (None, self.account):
            raise ValueError(
                f"Expected account to be {self.account!r}, to which this handle is bound. Found {account!r}."
            )
        return self._pay(event, label, record_ids, None)

    # -- what `release` alone calls: a receipt with a question never pays for anything that is not kept --------

    def recall(self, event: Event) -> NDArray[Any] | None:
        """The stored answer, if this was asked, and answered, before; free."""
        key = self._key(event)
        answer = None if key is None else self.root._book.recall(key)
        if answer is not None:
            self._settle(self._turn + 1)
        return answer

    def charge_once(self, event: Event, label: str, record_ids: Sequence[str]) -> Receipt:
        """Charge; or find the receipt of the same question, whose answer was lost before it left."""
        key = self._key(event)
        if key is None:
            return self.charge(event, label, record_ids=record_ids)
        return self._pay(event, label, record_ids, key)

    def remember(self, event: Event, answer: NDArray[Any]) -> NDArray[Any]:
        """Store the answer to the question; return the one that counts, the first that was stored."""
        key = self._key(event)
        if key is None:
            return answer
        kept = self.root._book.remember(key, np.asarray(answer))
        self._settle(self._turn + 1)
        return kept

    def affords(self, event: Event) -> bool:
        """As `PrivacyLedger.affords`, for this account."""
        try:
            self.require(event, "release")
        except BudgetExhausted:
            return False
        return True

    def require(self, event: Event, label: str) -> None:
        """As `PrivacyLedger.require`, for this account."""
        state = self.root._book.read()
        if self._key(event) in state.asked:
            return  # paid
        if self._reservation is not None:
            state.require_reserved(self._reservation, event, label)
        elif self._source is None:
            self.root.require(event, label, self.account, cap=self.cap)
        elif self.selection is not None and self.selection.rate is not None:
            state.filter.require_sample(state.accounts, self._source, self.account, self._paid(event), label)
        else:
            state.filter.require_branch(state.accounts, self._source, self.account, event, label)

    def used_up(self, event: Event) -> list[str]:
        """As `PrivacyLedger.used_up`, for this account; none of a reservation, which was paid for as a whole."""
        return [] if self._reservation is not None else self.root.used_up(event, self._payer)

    def paid(self, event: Event) -> bool:
        """Whether this question was asked before, so that nobody will pay for it."""
        return self._key(event) in self.root._book.read().asked

    def headroom(self, make_event: Callable[[Any], Event]) -> float:
        """As `PrivacyLedger.headroom`, for this account.

        Raises
        ------
        LedgerError
            If the handle is a reservation.
        """
        if self._reservation is not None:
            raise LedgerError("A reservation has no headroom: it pays for what it was made for. Ask the ledger.")
        return self.root.headroom(make_event, self._payer, cap=self.cap)

    def spent(self) -> float:
        """As `PrivacyLedger.spent`, for this account."""
        return self.root.spent(self._payer, cap=self.cap)

    def receipts(self) -> list[Receipt]:
        """All charges of the ledger, in order."""
        return self.root.receipts()

    def certificate(self) -> dict[str, Any]:
        """The certificate of the whole ledger."""
        return self.root.certificate()

    def within(self, account: str, *, cap: str | None = None) -> Handle:
        """A handle on another account of the same ledger."""
        return self.root.within(account, cap=cap)

    def mark_void(self, reason: str) -> None:
        """As `PrivacyLedger.mark_void`."""
        self.root.mark_void(reason)

    def _pay(self, event: Event, label: str, record_ids: Sequence[str] | None, key: Question | None) -> Receipt:
        book = self.root._book
        if self._reservation is not None:
            return book.draw(self._reservation, event, label, self.account, record_ids)
        if self._source is None:
            return book.charge(event, label, self.account, record_ids, cap=self.cap, key=key)
        branch = Branch(self._source, self.account, self._members, self.selection)
        receipt = book.branch(branch, event, label, record_ids, key=key)
        self._settle(self._turn)
        return receipt

    def _settle(self, turn: int) -> None:
        """The branch is made: from now on an account like any other."""
        self._source, self._members, self._turn = None, (), turn

    def _key(self, event: Event) -> Question | None:
        """The question; a procedure of several releases asks a new one each time."""
        if self.question is None:
            return None
        return f"{self.question} ({self._turn + 1})", self.account, self._paid(event)

    def _paid(self, event: Event) -> Event:
        return event if self.selection is None else self.selection.event_of(event)

    @property
    def _payer(self) -> str:
        """The leaf whose payments count: the source, as long as the branch is not made."""
        return self.account if self._source is None else self._source

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __sklearn_clone__(self) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_members": ()}  # ids of patients do not travel

    def __repr__(self) -> str:
        return f"<{self.account!r} of {self.root!r}>"

    def _repr_html_(self) -> str:
        return self.root._repr_html_()
