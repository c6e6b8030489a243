"""The only one who says yes.

Invariants
----------
* Check and write are one transaction, committed before the mechanism reads data. A crash
  afterwards leaves the charge spent; there are no refunds.
* The ceiling and the kind of filter live in the store and never change.
* `clone`, `copy` and `deepcopy` return the same ledger; a pickle reopens the file; the pickle
  of an in-memory ledger is sealed.
* Only public fields are written here. Members and coins are in the vault.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from typing import Any, Self

from skdpal.privacy import certificate, events
from skdpal.privacy.accounting import epsilon_of_mu
from skdpal.privacy.accounts import ROOT
from skdpal.privacy.budget import PrivacyBudget
from skdpal.privacy.errors import LedgerError
from skdpal.privacy.events import Event, mu_squared
from skdpal.privacy.handle import Handle
from skdpal.privacy.randomness import current_simulation
from skdpal.privacy.sealed import SealedJournal, SealedVault
from skdpal.privacy.state import Receipt, State, header_of, today
from skdpal.privacy.store import Journal, Row, Transaction, create_file, file_of
from skdpal.privacy.vault import Vault, vault_path

__all__ = ["PrivacyLedger"]


class PrivacyLedger:
    """The journal of everything released, and the filter that refuses what is too much.

    Parameters
    ----------
    budget : PrivacyBudget
        The ceiling. It can never be changed.
    filter : {"gdp"}, default="gdp"
        How releases add up. "gdp" sums μ², which is exact for Gaussian releases
        under any adaptivity.

    Notes
    -----
    ``PrivacyLedger(budget)`` lives in memory. `create` and `open` keep it in an SQLite file that
    several processes may share. Beside the file lies ``<file>.vault`` with the members and the
    secret of the coins: it stays in the hospital.

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
    """

    def __init__(self, budget: PrivacyBudget, filter: str = "gdp") -> None:
        self._attach(Journal(None, header=header_of(budget, filter)), Vault(None, create=True))

    @classmethod
    def create(cls, url: str | os.PathLike[str], budget: PrivacyBudget, filter: str = "gdp") -> Self:
        """Make a durable ledger; an existing one is an error, never overwritten.

        Parameters
        ----------
        url : str or path
            A file path or ``sqlite:///PATH``.
        budget : PrivacyBudget
            The ceiling.
        filter : {"gdp"}, default="gdp"
            How releases add up.

        Raises
        ------
        FileExistsError
            If the ledger or its vault exists.
        """
        path = file_of(url)
        header = header_of(budget, filter)
        if vault_path(path).exists() and not path.exists():
            raise FileExistsError(
                f"{vault_path(path)} exists without its ledger. Restore the ledger or choose another path."
            )
        create_file(path)
        self = cls.__new__(cls)
        self._attach(Journal(path, header=header), Vault(vault_path(path), create=True))
        return self

    @classmethod
    def open(cls, url: str | os.PathLike[str]) -> Self:
        """Open an existing durable ledger.

        Raises
        ------
        FileNotFoundError
            If it, or its vault, is missing: a lost ledger is never a fresh budget.
        """
        path = file_of(url)
        self = cls.__new__(cls)
        self._attach(Journal(path), Vault(vault_path(path)))
        return self

    # -- what anybody may know ---------------------------------------------------------------

    @property
    def budget(self) -> PrivacyBudget:
        """The ceiling that the store was created with."""
        return self._read().filter.budget

    @property
    def filter(self) -> str:
        """The kind of filter that the store was created with."""
        return self._read().filter.kind

    @property
    def account(self) -> str:
        """The account that pays unless another is named."""
        return ROOT

    @property
    def root(self) -> PrivacyLedger:
        """The ledger itself."""
        return self

    @property
    def hidden_rounds(self) -> int:
        """How many rounds of hidden selection were begun."""
        return self._read().hidden_rounds

    def spent(self, account: str = ROOT) -> float:
        """ε spent so far by the most expensive leaf of an account: an odometer, not a guarantee.

        The guarantee is the ceiling. Whoever stops because of this reading has no
        right to quote it (docs/trusted_kernel.md, "Reading is not guaranteeing").
        """
        return epsilon_of_mu(math.sqrt(self._read().accounts.spent(account)), self.budget.delta)

    def affords(self, event: Event, account: str = ROOT) -> bool:
        """Whether `charge` would say yes now. Costs nothing, reveals nothing."""
        state = self._read()
        return state.filter.affords(state.accounts, event, account)

    def require(self, event: Event, label: str, account: str = ROOT) -> None:
        """Raise `BudgetExhausted` if `charge` would; write nothing."""
        state = self._read()
        state.filter.require(state.accounts, event, label, account)

    def receipts(self) -> list[Receipt]:
        """All charges, in order."""
        return list(self._read().receipts)

    def accounts(self) -> list[str]:
        """The names of all leaves."""
        return list(self._read().accounts.leaves)

    def verify(self) -> str:
        """Check the chain of the journal; return its head.

        Raises
        ------
        LedgerTampered
            If a row was changed, removed or added by another hand.
        """
        return self._journal.verify()

    def certificate(self) -> dict[str, Any]:
        """What may be published about the guarantee, as a JSON-ready dict."""
        return certificate.of(self._read(), head=self.verify())

    # -- what costs --------------------------------------------------------------------------

    def charge(self, event: Event, label: str, account: str = ROOT, record_ids: Sequence[str] | None = None) -> Receipt:
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

        Returns
        -------
        Receipt

        Raises
        ------
        BudgetExhausted
            If a leaf cannot afford it. Nothing is written.
        """
        with self._journal.transaction() as transaction:
            state = self._replay(transaction)
            state.accounts.check(account)
            self._check_members(state, account, record_ids)
            state.filter.require(state.accounts, event, label, account)
            return self._append_charge(transaction, state, event, label, account)

    def reserve(self, event: Event, label: str, account: str = ROOT) -> Handle:
        """Charge a whole procedure as one receipt; return a handle that draws on it, and only on it."""
        with self._journal.transaction() as transaction:
            state = self._replay(transaction)
            state.filter.require(state.accounts, event, label, account)
            receipt = self._append_charge(transaction, state, event, label, account, reserve=True)
        return Handle(self, account, reservation=receipt.number)

    def split(self, source: str, into: str, members: Sequence[Any]) -> Handle:
        """Move patients out of a leaf into a new leaf that inherits what the old one paid.

        Splits are not receipts. Charge what the selection cost first (rule L5); the new leaf
        exists even if nobody is in it.

        Parameters
        ----------
        source, into : str
            An existing leaf, and the name of a new one.
        members : sequence
            The patients, as in `charge`; may be empty.

        Returns
        -------
        Handle
            The new leaf.
        """
        if isinstance(members, str):
            raise ValueError("Expected members to be a sequence of patients, not a word. Pass [patient].")
        with self._journal.transaction() as transaction:
            self._append_split(transaction, self._replay(transaction), source, into, members)
        return self.within(into)

    def within(self, account: str) -> Handle:
        """A handle with this ledger's interface, bound to one account."""
        self._read().accounts.check(account)
        return Handle(self, account)

    def branch(self, source: str, into: str, members: Sequence[Any]) -> Handle:
        """A handle whose first charge also makes the split, in one transaction.

        Until then nothing is written: a refusal or bad input leaves every patient where they were.
        """
        self._read().accounts.check_split(source, into)
        return Handle(self, into, source=source, members=tuple(map(str, members)))

    def mark_void(self, reason: str) -> None:
        """Write that something left which no receipt pays for; the certificate will say so."""
        with self._journal.transaction() as transaction:
            if reason not in self._replay(transaction).void:
                self._append(transaction, {"kind": "void", "reason": reason})

    def mark_hidden_round(self) -> None:
        """Write that a hidden selection begins: from here on, row counts are private."""
        with self._journal.transaction() as transaction:
            self._replay(transaction)
            self._append(transaction, {"kind": "hidden-round"})

    # -- the hospital's side -----------------------------------------------------------------

    def accounts_of(self, record_ids: Sequence[str]) -> list[str]:
        """The leaf of each patient. Hospital only: never publish the answer."""
        return self._vault.accounts_of(map(str, record_ids), self._read().splits)

    def coin(self, label: str, record_id: str) -> float:
        """A secret uniform number in [0, 1) for one patient, the same for the same label."""
        return self._vault.coin(label, str(record_id))

    # -- copies share ------------------------------------------------------------------------

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __sklearn_clone__(self) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self._journal.path is None:
            return _sealed, (self._read(),)
        return type(self).open, (str(self._journal.path),)

    def __repr__(self) -> str:
        budget, where = self.budget, self._journal.path.name if self._journal.path else "in memory"
        return f"<PrivacyLedger {where}: ε={budget.epsilon:g} at δ={budget.delta:g} committed, spent {self.spent():.2f} (odometer)>"

    # -- inside ------------------------------------------------------------------------------

    def _attach(self, journal: Journal | SealedJournal, vault: Vault | SealedVault, state: State | None = None) -> None:
        self._journal, self._vault = journal, vault
        self._state, self._lock = State() if state is None else state, threading.RLock()

    def _read(self) -> State:
        with self._journal.transaction() as transaction:
            return self._replay(transaction)

    def _replay(self, transaction: Transaction | SealedJournal) -> State:
        with self._lock:
            for row in transaction.rows(self._state.seen):
                self._state.apply(row)
            if not self._state.header:
                raise LedgerError("The store has no header: it is not a skdpal ledger. Open another file.")
            return self._state

    def _append(self, transaction: Transaction | SealedJournal, row: Row) -> Row:
        self._check_mode()
        return transaction.append({**row, "date": today()})

    def _append_charge(
        self,
        transaction: Transaction | SealedJournal,
        state: State,
        event: Event,
        label: str,
        account: str,
        *,
        reserve: bool = False,
    ) -> Receipt:
        alone = epsilon_of_mu(math.sqrt(mu_squared(event)), state.filter.budget.delta)
        priced = {"event": events.to_json(event), "label": str(label), "account": account, "epsilon": alone}
        row = self._append(transaction, {"kind": "charge", **priced, "reserve": reserve})
        return Receipt(row["number"], str(label), account, event, alone, row["date"])

    def _append_split(
        self, transaction: Transaction | SealedJournal, state: State, source: str, into: str, members: Sequence[str]
    ) -> None:
        state.accounts.check_split(source, into)
        self._check_members(state, source, members)
        row = self._append(transaction, {"kind": "split", "source": source, "into": into})
        self._vault.move(
            [str(member) for member in members], into, source, row["number"], state.splits
        )  # an unfinished journal leaves them where they were

    def _charge_branch(
        self,
        source: str,
        into: str,
        members: Sequence[str],
        event: Event,
        label: str,
        record_ids: Sequence[str] | None,
    ) -> Receipt:
        if record_ids is not None and not set(map(str, record_ids)) <= set(members):
            raise ValueError(
                f"Expected rows of the members of {into!r} only. Pass the record_ids that made the branch."
            )
        with self._journal.transaction() as transaction:
            state = self._replay(transaction)
            state.filter.require(state.accounts, event, label, source)
            self._append_split(transaction, state, source, into, members)
            return self._append_charge(transaction, state, event, label, into)

    def _draw(
        self, reservation: int, event: Event, label: str, account: str, record_ids: Sequence[str] | None = None
    ) -> Receipt:
        with self._journal.transaction() as transaction:
            state = self._replay(transaction)
            state.require_reserved(reservation, event, label)
            self._check_members(state, account, record_ids)
            row = {"kind": "draw", "event": events.to_json(event), "label": str(label), "reservation": reservation}
            self._append(transaction, row)
            return next(receipt for receipt in state.receipts if receipt.number == reservation)

    def _check_mode(self) -> None:
        block = current_simulation()
        token = self._state.header["simulation"]
        if token != (block.token if block else None):
            raise LedgerError(
                "This ledger was made inside simulation() and can be charged only inside that block."
                if token
                else "A real ledger cannot be charged inside simulation(). Make one inside the block."
            )

    def _check_members(self, state: State, account: str, record_ids: Sequence[str] | None) -> None:
        if record_ids is None or account == ROOT:
            return
        allowed = set(state.accounts.under(account))
        leaves = self._vault.accounts_of(map(str, record_ids), state.splits)
        if not allowed.issuperset(leaves):
            raise ValueError(
                f"Expected rows of patients of account {account!r} only. Pass their record_ids, or charge 'cohort'."
            )


def _sealed(state: State) -> PrivacyLedger:
    ledger = PrivacyLedger.__new__(PrivacyLedger)
    ledger._attach(SealedJournal(), SealedVault(), state)
    return ledger
