"""Where it is decided: replay, check, append, in one transaction.

Invariants
----------
* Check and write are one transaction, committed before the mechanism reads data. A crash
  afterwards leaves the charge spent; there are no refunds.
* Only public fields are written to the journal. Members and coins are in the vault.
* A ledger of a simulation can be charged in its block only, and a real one in none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from numpy.typing import NDArray

from skdpal.privacy import events
from skdpal.privacy.accounts import ROOT
from skdpal.privacy.errors import LedgerError
from skdpal.privacy.events import Event
from skdpal.privacy.filters import Filter
from skdpal.privacy.filters.planned import PlannedFilter
from skdpal.privacy.ledger.handle import Branch, Selection
from skdpal.privacy.ledger.sealed import SealedJournal, SealedVault
from skdpal.privacy.ledger.state import Question, Receipt, State, today
from skdpal.privacy.randomness import current_simulation
from skdpal.privacy.storage.journal import Journal, Row, Transaction
from skdpal.privacy.storage.vault import Evidence, Vault
from skdpal.privacy.validation import check_real

__all__ = ["Book"]

T = TypeVar("T")


class Book:
    """A journal with its vault, and what is known of them.

    Parameters
    ----------
    journal : Journal or SealedJournal
    vault : Vault or SealedVault
    state : State, optional
        What is known already.
    """

    def __init__(
        self, journal: Journal | SealedJournal, vault: Vault | SealedVault, state: State | None = None
    ) -> None:
        self.journal, self.vault = journal, vault
        self._state = State() if state is None else state

    def read(self) -> State:
        """What is known now."""
        return self.journal.read(self._replay)

    def filter(self) -> Filter:
        """What decides; it never changes."""
        return self._state.filter if self._state.header else self.read().filter

    def charge(
        self,
        event: Event,
        label: str,
        account: str,
        record_ids: Sequence[str] | None = None,
        *,
        cap: str | None = None,
        reserve: bool = False,
        key: Question | None = None,
    ) -> Receipt:
        """Write a receipt if every leaf at or below an account can pay."""
        alone = self.filter().epsilon_alone(event)  # may take long: not while others wait

        def pay(transaction: Transaction) -> Receipt:
            state = self._replay(transaction)
            if key in state.asked:
                return self._again(transaction, state, key, record_ids)
            if reserve and isinstance(state.filter, PlannedFilter):
                raise LedgerError("A planned ledger reserves nothing: put every fit into its schedule.")
            self._check_members(transaction, state, account, record_ids)
            state.accounts.check_whole(account)
            state.filter.require(state.accounts, event, label, account, cap)
            return self._append_charge(transaction, event, label, account, alone, cap=cap, reserve=reserve, key=key)

        return self._write(pay)

    def charge_each(
        self, prices: Mapping[str, Event], label: str, record_ids: Sequence[str]
    ) -> tuple[list[Receipt], list[str]]:
        """Several disjoint accounts pay, each its own price, all of them or none; also the account of each patient."""
        alone = {account: self.filter().epsilon_alone(event) for account, event in prices.items()}

        def pay(transaction: Transaction) -> tuple[list[Receipt], list[str]]:
            state = self._replay(transaction)
            owner: dict[str, str] = {}
            for account, event in prices.items():
                leaves = state.accounts.under(state.accounts.check(account))
                if not owner.keys().isdisjoint(leaves):
                    raise ValueError(f"Expected accounts without a common leaf. Found {account!r} beside another.")
                owner |= dict.fromkeys(leaves, account)
                state.accounts.check_whole(account)
                state.filter.require(state.accounts, event, label, account)
            found = self.vault.accounts_of(map(str, record_ids), _evidence(transaction, state))
            if not owner.keys() >= set(found):
                raise ValueError(
                    f"Expected rows of patients of the accounts {list(prices)} only. Pass their record_ids."
                )
            receipts = [self._append_charge(transaction, prices[one], label, one, alone[one]) for one in prices]
            return receipts, [owner[leaf] for leaf in found]

        return self._write(pay)

    def draw(
        self, reservation: int, event: Event, label: str, account: str, record_ids: Sequence[str] | None
    ) -> Receipt:
        """Take from what was reserved; return the receipt of the reservation."""

        def take(transaction: Transaction) -> Receipt:
            state = self._replay(transaction)
            state.require_reserved(reservation, event, label)
            self._check_members(transaction, state, account, record_ids, state.reserved[reservation][0])
            row = {"kind": "draw", "event": events.to_json(event), "label": str(label), "reservation": reservation}
            self._append(transaction, row)
            return state.reserved[reservation][0]

        return self._write(take)

    def split(
        self, source: str, into: str, members: Iterable[Any], epsilon: float | None, round: str | None = None
    ) -> None:
        """Move patients out of a leaf into a new one."""
        selection = None if round is None else Selection(round)
        patients = [str(member) for member in members]

        def move(transaction: Transaction) -> None:
            state = self._replay(transaction)
            state.filter.require_split(state.accounts, source, into)
            self._append_split(transaction, state, source, into, patients, epsilon=epsilon, selection=selection)

        self._write(move)

    def branch(
        self,
        branch: Branch,
        event: Event,
        label: str,
        record_ids: Sequence[str] | None,
        *,
        key: Question | None = None,
    ) -> Receipt:
        """Split, and charge the new leaf; or charge the source for a sample, and split. Both or neither."""
        source, into, members, selection = branch.source, branch.into, branch.members, branch.selection
        if record_ids is not None and not set(map(str, record_ids)) <= set(members):
            raise ValueError(
                f"Expected rows of the members of {into!r} only. Pass the record_ids that made the branch."
            )
        paid = event if selection is None else selection.event_of(event)
        alone = self.filter().epsilon_alone(paid)

        def move_and_pay(transaction: Transaction) -> Receipt:
            state = self._replay(transaction)
            if key in state.asked:
                return self._again(transaction, state, key, record_ids)
            state.accounts.check_whole(source)  # a leaf split from a sample is of the sample
            state.filter.require_branch(state.accounts, source, into, event, label)
            self._append_split(transaction, state, source, into, members, selection=selection)
            return self._append_charge(transaction, event, label, into, alone, key=key)

        if selection is None or selection.rate is None:
            return self._write(move_and_pay)
        round, rate = selection.round, selection.rate

        def pay_and_move(transaction: Transaction) -> Receipt:
            state = self._replay(transaction)
            if key in state.asked:
                return self._again(transaction, state, key, record_ids)
            self._check_coins(state, round, rate, members)
            state.accounts.check_whole(source)
            state.filter.require_sample(state.accounts, source, into, paid, label)
            receipt = self._append_charge(transaction, paid, label, source, alone, key=key)
            self._append_split(transaction, state, source, into, members, selection=selection)
            return receipt

        return self._write(pay_and_move)

    def recall(self, key: Question) -> NDArray[Any] | None:
        """The answer to a question, if it was asked and the answer stored."""

        def look(transaction: Transaction) -> tuple[Receipt, str, bool] | None:
            state = self._replay(transaction)
            receipt = state.asked.get(key)
            if receipt is None:
                return None
            return receipt, transaction.hash_of(receipt.number), receipt.number in state.answered

        asked = self.journal.read(look)
        if asked is None:
            return None
        receipt, digest, answered = asked
        answer = self.vault.answer(digest)
        if answer is None and answered:
            raise LedgerError(
                f"The vault has lost the answer that receipt {receipt.number} paid for; drawing it again would be "
                "another release. Restore the vault of the same day."
            )
        if answer is not None and not answered:
            self._note_answer(receipt)
        return answer

    def remember(self, key: Question, answer: NDArray[Any]) -> NDArray[Any]:
        """Store the answer to a question; return the one that was stored first."""

        def look(transaction: Transaction) -> tuple[Receipt, str]:
            receipt = self._replay(transaction).asked[key]
            return receipt, transaction.hash_of(receipt.number)

        receipt, digest = self.journal.read(look)
        kept = self.vault.store(digest, answer)
        self._note_answer(receipt)
        return kept

    def keep(self, name: str, record_ids: Sequence[str], drawn: NDArray[Any]) -> NDArray[Any]:
        """What was first drawn for each patient under a name; seeded draws never get among real ones."""
        self.filter()  # the header is known
        self._check_randomness()
        return self.vault.keep([self.vault.tag(f"kept\n{name!r}\n{patient}") for patient in record_ids], drawn)

    def cap(self, account: str, name: str, epsilon: float) -> None:
        """Limit a part of an account from now on."""

        def limit(transaction: Transaction) -> None:
            state = self._replay(transaction)
            state.accounts.check_cap(account, name)
            state.filter.ceiling_of(check_real("epsilon", epsilon, above=0.0))
            self._append(transaction, {"kind": "cap", "account": account, "name": name, "epsilon": float(epsilon)})

        self._write(limit)

    def note(self, rows_of: Callable[[State], list[Row]]) -> None:
        """Append rows that cost nothing."""

        def append(transaction: Transaction) -> None:
            for row in rows_of(self._replay(transaction)):
                self._append(transaction, row)

        self._write(append)

    def accounts_of(self, record_ids: Iterable[str]) -> list[str]:
        """The leaf of each patient."""
        head = self.vault.head()  # before the journal is read, and the members after it: both may go on meanwhile

        def look(transaction: Transaction) -> list[str]:
            state = self._replay(transaction)
            evidence = Evidence(state.header["id"], state.splits, lambda _: not head or transaction.went_through(head))
            return self.vault.accounts_of(map(str, record_ids), evidence)

        return self.journal.read(look)

    def _write(self, work: Callable[[Transaction], T]) -> T:
        """The result of a writing transaction, remembered: a store set back to before it will be noticed."""
        result = self.journal.write(work)
        self.read()
        return result

    def _replay(self, transaction: Transaction | SealedJournal) -> State:
        """What is known, brought up to date; the journal's lock keeps other threads out."""
        state = self._state
        rows, head = transaction.rows(state.seen, state.head)
        for row in rows:
            state.apply(row)
        state.head = head
        if not state.header:
            raise LedgerError("The store has no header: it is not a skdpal ledger. Open another file.")
        return state

    def _append(self, transaction: Transaction, row: Row) -> Row:
        self._check_randomness()
        return transaction.append({**row, "date": today()})

    def _check_randomness(self) -> None:
        block = current_simulation()
        token = self._state.header["simulation"]
        if token != (block.token if block else None):
            raise LedgerError(
                "This ledger was made inside simulation() and can be charged only inside that block."
                if token
                else "A real ledger cannot be charged inside simulation(). Make one inside the block."
            )

    def _append_charge(
        self,
        transaction: Transaction,
        event: Event,
        label: str,
        account: str,
        alone: float,
        *,
        cap: str | None = None,
        reserve: bool = False,
        key: Question | None = None,
    ) -> Receipt:
        priced = {"event": events.to_json(event), "label": str(label), "account": account, "cap": cap, "epsilon": alone}
        asked = {"question": None, "asker": None} if key is None else {"question": key[0], "asker": key[1]}
        return Receipt.of(self._append(transaction, {"kind": "charge", **priced, "reserve": reserve, **asked}))

    def _append_split(
        self,
        transaction: Transaction,
        state: State,
        source: str,
        into: str,
        members: Sequence[str],
        *,
        epsilon: float | None = None,
        selection: Selection | None = None,
    ) -> None:
        ceiling = None if epsilon is None else state.filter.ceiling_of(check_real("epsilon", epsilon, above=0.0))
        state.accounts.check_split(source, into, ceiling)
        self._check_members(transaction, state, source, members)
        round, rate = (None, None) if selection is None else (selection.round, selection.rate)
        row = self._append(
            transaction,
            {
                "kind": "split",
                "source": source,
                "into": into,
                "epsilon": epsilon,
                "round": round,
                "sampled": rate is not None,
            },
        )
        # an unfinished journal leaves them where they were
        self.vault.move(members, into, source, row["number"], state.head, _evidence(transaction, state))

    def _again(
        self, transaction: Transaction, state: State, key: Question | None, record_ids: Sequence[str] | None
    ) -> Receipt:
        """The receipt of a question without an answer: a crash came between, or another process is at it, and nothing left."""
        assert key is not None  # nobody asks nothing
        receipt = state.asked[key]
        self._check_members(transaction, state, key[1], record_ids, receipt)
        if receipt.number not in state.answered:  # else another process was faster, and its answer counts
            self._append(transaction, {"kind": "redraw", "receipt": receipt.number})
        return receipt

    def _note_answer(self, receipt: Receipt) -> None:
        row = {"kind": "answer", "receipt": receipt.number}
        self.note(lambda state: [] if receipt.number in state.answered else [row])

    def _check_coins(self, state: State, round: str, rate: float, members: Sequence[str]) -> None:
        """Whatever rule accepted them, a coin below the rate did: the price of a sample holds for no others."""
        if round in state.selected.values():
            raise ValueError(f"The coins of {round!r} filled an account already. Toss new ones: query again.")
        if (self.vault.coins(round, members) >= rate).any():
            raise ValueError(
                "Expected members whose coins are below the rate of the sample. Pass the patients that query chose."
            )

    def _check_members(
        self,
        transaction: Transaction,
        state: State,
        account: str,
        record_ids: Sequence[str] | None,
        receipt: Receipt | None = None,
    ) -> None:
        state.accounts.check(account)
        if record_ids is None or account == ROOT:
            return
        allowed = set(state.accounts.under(account))
        if receipt is not None:  # paid before: leaves that came from elsewhere since then did not pay
            allowed &= state.payers(receipt)
        if not allowed.issuperset(self.vault.accounts_of(map(str, record_ids), _evidence(transaction, state))):
            raise ValueError(
                f"Expected rows of patients of account {account!r} only. Pass their record_ids, or charge 'cohort'."
            )


def _evidence(transaction: Transaction, state: State) -> Evidence:
    return Evidence(state.header["id"], state.splits, transaction.went_through)
