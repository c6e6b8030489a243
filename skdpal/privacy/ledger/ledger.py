"""The only one who says yes.

Invariants
----------
* Whatever is decided is decided by `book`, in one transaction. This is what users hold in their hands.
* The ceiling and the kind of filter live in the store and never change.
* `clone`, `copy` and `deepcopy` return the same ledger; a pickle reopens the file; the pickle
  of an in-memory ledger is sealed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from skdpal.privacy.accounts import ROOT
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.events import Event
from skdpal.privacy.ledger.book import Book
from skdpal.privacy.ledger.handle import Handle, Selection
from skdpal.privacy.ledger.hospital import HospitalSide
from skdpal.privacy.ledger.readings import Readings
from skdpal.privacy.ledger.sealed import SealedJournal, SealedVault
from skdpal.privacy.ledger.shares import Shares
from skdpal.privacy.ledger.state import Receipt, State, header_of
from skdpal.privacy.storage.database import address_of, create_file, text_of
from skdpal.privacy.storage.journal import Journal
from skdpal.privacy.storage.vault import Vault, vault_of

__all__ = ["PrivacyLedger"]


class PrivacyLedger(Readings, HospitalSide):
    """The journal of everything released, and the filter that refuses what is too much.

    Parameters
    ----------
    budget : PrivacyBudget
        The ceiling. It can never be changed.
    filter : {"gdp", "renyi", "planned"}, default="gdp"
        How releases add up. "gdp" sums μ², which is exact for Gaussian releases under any adaptivity, and
        takes others with a proven μ. "renyi" sums Rényi divergences, also of Poisson sampling and
        repeat-and-select. "planned" allows one schedule, frozen now and priced by loss distributions.
    order : float, optional
        Of "renyi", above 1. Default: the order at which a Gaussian release needs least noise.
    schedule : Schedule, sequence of events, or a plan, optional
        What "planned" allows. With "renyi": its curve is the ceiling, at every order, in any sequence.

    Notes
    -----
    ``PrivacyLedger(budget)`` lives in memory. `create` and `open` keep it in an SQLite file, or in a
    PostgreSQL database, that several processes may share. Beside the file lies ``<file>.vault`` with the
    members and the secret of the coins: it stays in the hospital, as the tables ``vault_*`` of a database do.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.privacy import events
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0, delta=1e-5))
    >>> receipt = ledger.charge(events.gaussian(4.0), label="fit round 1")
    >>> round(ledger.spent(), 3)
    0.926
    >>> ledger.affords(events.gaussian(1.0))
    False
    >>> ledger.headroom(lambda steps: events.gaussian(20.0, steps=steps))
    75
    """

    def __init__(
        self, budget: PrivacyBudget, filter: str = "gdp", *, order: float | None = None, schedule: Any = None
    ) -> None:
        header = header_of(budget, filter, order, schedule)
        self._book = Book(Journal(None, header=header), Vault(None, ledger=header["id"]))

    @classmethod
    def create(
        cls,
        url: str | os.PathLike[str],
        budget: PrivacyBudget,
        filter: str = "gdp",
        *,
        order: float | None = None,
        schedule: Any = None,
    ) -> Self:
        """Make a durable ledger; an existing one is an error, never overwritten.

        Parameters
        ----------
        url : str or path
            A file path, ``sqlite:///PATH`` or ``postgresql+psycopg://HOST/DATABASE``.
        budget, filter, order, schedule : optional
            As for the class.

        Raises
        ------
        FileExistsError
            If the ledger or its vault exists.
        """
        header, address = header_of(budget, filter, order, schedule), address_of(url)
        if isinstance(address, Path):
            beside = vault_of(address)
            if isinstance(beside, Path) and beside.exists() and not address.exists():
                raise FileExistsError(f"{beside} exists without its ledger. Restore the ledger or choose another path.")
            create_file(address)
        vault = Vault(vault_of(address), ledger=header["id"])  # first: without a journal it opens nothing
        return cls._of(Book(Journal(address, header=header), vault))

    @classmethod
    def open(cls, url: str | os.PathLike[str]) -> Self:
        """Open an existing durable ledger.

        Raises
        ------
        FileNotFoundError
            If it, or its vault, is missing: a lost ledger is never a fresh budget.
        """
        address = address_of(url)
        book = Book(Journal(address), Vault(vault_of(address)))
        book.accounts_of([])  # the vault is the journal's, and as old
        return cls._of(book)

    @property
    def account(self) -> str:
        """The account that pays unless another is named."""
        return ROOT

    @property
    def root(self) -> PrivacyLedger:
        """The ledger itself."""
        return self

    # -- what costs --------------------------------------------------------------------------

    def charge(
        self,
        event: Event,
        label: str,
        account: str = ROOT,
        record_ids: Sequence[str] | None = None,
        *,
        cap: str | None = None,
    ) -> Receipt:
        """Pay for a release before it happens.

        Parameters
        ----------
        event : Event
            What will be released.
        label : str
            Public words for the receipt.
        account : str, default="cohort"
            Who pays: every leaf at or below.
        record_ids : sequence of str, optional
            The patients whose rows will be read (see `skdpal.privacy.identities.identify`).
            They must all belong to `account`.
        cap : str, optional
            A part of the account made by `cap`, which pays as well.

        Returns
        -------
        Receipt

        Raises
        ------
        BudgetExhausted
            If a leaf cannot afford it. Nothing is written.
        """
        return self._book.charge(event, label, account, record_ids, cap=cap)

    def reserve(self, event: Event, label: str, account: str = ROOT) -> Handle:
        """Charge a whole procedure as one receipt; return a handle that draws on it, and only on it."""
        receipt = self._book.charge(event, label, account, reserve=True)
        return Handle(self, account, reservation=receipt.number)

    def split(
        self,
        source: str,
        into: str,
        members: Sequence[Any],
        *,
        epsilon: float | None = None,
        round: str | None = None,
    ) -> Handle:
        """Move patients out of a leaf into a new leaf that inherits what the old one paid.

        Splits are not receipts. Charge what the selection cost first (rule L5); the new leaf
        exists even if nobody is in it.

        Parameters
        ----------
        source, into : str
            An existing leaf, and the name of a new one.
        members : sequence
            The patients, as in `charge`; may be empty.
        epsilon : float, optional
            A lower ceiling for the new leaf and all leaves split from it, as a site or a consent group may
            have. It must not depend on what the patients' data say.
        round : str, optional
            The round of selection in which they were chosen; see `begin_round`.

        Returns
        -------
        Handle
            The new leaf.

        Raises
        ------
        ValueError
            If `members` is one word instead of a sequence.
        """
        if isinstance(members, str):
            raise ValueError("Expected members to be a sequence of patients, not a word. Pass [patient].")
        self._book.split(source, into, members, epsilon, round)
        return self.within(into)

    def cap(self, account: str, name: str, epsilon: float) -> Handle:
        """Limit a part of an account, such as one modality: what is charged to it counts for both.

        Parameters
        ----------
        account : str
            Its leaves, and those split from them later, get the cap.
        name : str
            Public word, such as ``"rna"``.
        epsilon : float
            Ceiling of the part, from now on; it never changes. It limits how the account is used and is no
            guarantee of its own: the headline is the patient's (docs/trusted_kernel.md).

        Returns
        -------
        Handle
            The part of the account.
        """
        self._book.cap(account, name, epsilon)
        return self.within(account, cap=name)

    def within(self, account: str, *, cap: str | None = None, question: str | None = None) -> Handle:
        """A handle with this ledger's interface, bound to one account, or to one part of it.

        Parameters
        ----------
        account : str
        cap : str, optional
            Made by `cap`.
        question : str, optional
            Public name of what will be released. Asked again by the same account, for the same event, the stored
            answer is returned and nobody pays (docs/trusted_kernel.md, "Asking again").
        """
        self._book.read().accounts.check(account, cap)
        return Handle(self, account, cap=cap, question=question)

    def among(self, shares: Mapping[str, float]) -> Shares:
        """A handle of several accounts, in whose releases a patient counts, and pays, the share of their account.

        Parameters
        ----------
        shares : mapping of str to float
            For each account a public number from 0 (excluded) to 1. Accounts have no leaf in common.
        """
        return Shares(self, shares)

    def branch(
        self,
        source: str,
        into: str,
        members: Sequence[Any],
        *,
        question: str | None = None,
        selection: Selection | None = None,
    ) -> Handle:
        """A handle whose first charge also makes the split, in one transaction.

        Until then nothing is written: a refusal or bad input leaves every patient where they were.

        Parameters
        ----------
        source, into : str
            As in `split`.
        members : sequence
            As in `split`.
        question : str, optional
            As in `within`.
        selection : Selection, optional
            The round in which the members were chosen, and whether their source pays for a Poisson sample.
        """
        state = self._book.read()
        if question is None or into not in state.accounts.leaves:  # one that is asked again has its leaf
            state.accounts.check_split(source, into)
        return Handle(
            self, into, source=source, members=tuple(map(str, members)), question=question, selection=selection
        )

    def mark_void(self, reason: str) -> None:
        """Write that something left which no receipt pays for; the certificate will say so."""
        self._book.note(lambda state: [] if reason in state.void else [{"kind": "void", "reason": reason}])

    def begin_round(self, label: str, parameters: Mapping[str, Any] | None = None, *, hidden: bool) -> None:
        """Write that a selection begins; after a hidden one, row counts are private.

        Parameters
        ----------
        label : str
            Public name of the round; the same name again only changes its parameters.
        parameters : mapping, optional
            What is public about the round, JSON-ready.
        hidden : bool
            Whether the chosen stay inside the hospital.
        """
        row = {"kind": "round", "label": label, "parameters": dict(parameters or {}), "hidden": hidden}

        def known(state: State) -> bool:
            return state.rounds.get(label) == row["parameters"] and (not hidden or label in state.hidden)

        self._book.note(lambda state: [] if known(state) else [row])

    # -- no questions asked, no answers kept: see `within` ---------------------------------------

    def recall(self, event: Event) -> NDArray[Any] | None:
        """None: only a handle with a question remembers answers."""
        return None

    def charge_once(self, event: Event, label: str, record_ids: Sequence[str]) -> Receipt:
        """As `charge`; see `recall`."""
        return self.charge(event, label, record_ids=record_ids)

    def remember(self, event: Event, answer: NDArray[Any]) -> NDArray[Any]:
        """The answer as it is; see `recall`."""
        return answer

    # -- copies share ------------------------------------------------------------------------

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __sklearn_clone__(self) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self._book.journal.address is None:
            return _sealed, (self._book.read(),)
        return type(self).open, (text_of(self._book.journal.address),)

    def __repr__(self) -> str:
        budget = self.budget
        return f"<PrivacyLedger {self._book.journal.name}: ε={budget.epsilon:g} at δ={budget.delta:g} committed, spent {self.spent():.2f} (odometer)>"

    # -- inside ------------------------------------------------------------------------------

    @classmethod
    def _of(cls, book: Book) -> Self:
        self = cls.__new__(cls)
        self._book = book
        return self


def _sealed(state: State) -> PrivacyLedger:
    return PrivacyLedger._of(Book(SealedJournal(), SealedVault(), state))
