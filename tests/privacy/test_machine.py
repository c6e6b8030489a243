"""Any sequence of what a ledger can be asked, against a model in which every patient keeps their own receipts.

The model knows nothing of accounts that inherit. A person has a list of what their rows could have been charged,
a ceiling and caps; whoever moves takes all of it along. Each leaf has one person who never leaves it, so that empty
leaves are somebody's too.
"""

import contextlib
import copy
import json
import math
import pickle
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import NormalDist

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from skdpal.privacy import BudgetExhausted, PrivacyBudget, PrivacyLedger, events
from skdpal.privacy.accounting.gaussian import epsilon_of_mu
from skdpal.privacy.accounting.renyi import conversion, curve
from skdpal.privacy.accounts import POOL, ROOT, Accounts
from skdpal.privacy.ledger import state
from skdpal.privacy.ledger.book import Book
from skdpal.privacy.storage import vault

DELTA = 1e-5
EPSILON = 3.0
ORDER = 8.0
CLOSE = 1e-9  # nearer to a ceiling the model does not judge
PATIENTS = [f"NHS-{number:04d}" for number in range(6)]
ABOVE = ["cohort", "cohort/site-0", "cohort/site-1"]
CAPS = ["rna", "image"]

USUAL = {"max_examples": 25, "stateful_step_count": 20}
LONG = {"max_examples": 60, "stateful_step_count": 40}

NOISE = st.floats(1.5, 40.0)
EVENTS = st.one_of(
    st.builds(events.gaussian, NOISE, st.integers(1, 3)),
    st.builds(events.noisy_scores, NOISE),
    st.builds(events.laplace, st.floats(3.0, 40.0)),
    st.builds(events.randomized_response, st.floats(0.05, 1.0), st.integers(2, 5)),
)
PICK = st.integers(0, 10**6)
SOME = st.sets(st.sampled_from(PATIENTS))
LOWER = st.one_of(st.none(), st.sampled_from([0.5, 1.0, 1.5, 2.0, 2.5]))


# -- the model -----------------------------------------------------------------------------------


class Gdp:
    """μ², from the formulas of the papers."""

    arguments = {"filter": "gdp"}

    @staticmethod
    def price(event):
        normal = NormalDist()
        if isinstance(event, events.Gaussian):
            return event.steps / event.noise_multiplier**2
        if isinstance(event, events.Laplace):
            pure = math.exp(1 / event.noise_multiplier)
            return (2 * normal.inv_cdf(pure / (1 + pure))) ** 2
        weight = math.exp(event.epsilon)
        true, other = (share / (weight + event.n_classes - 1) for share in (weight, 1.0))
        return (normal.inv_cdf(true) + normal.inv_cdf(1 - other)) ** 2

    @staticmethod
    def epsilon(paid):
        return epsilon_of_mu(math.sqrt(paid), DELTA)

    @staticmethod
    @cache
    def ceiling(epsilon):
        low, high = 0.0, 100.0
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if epsilon_of_mu(middle, DELTA) <= epsilon else (low, middle)
        return low**2


class Renyi:
    """The divergence at one order."""

    arguments = {"filter": "renyi", "order": ORDER}

    @staticmethod
    def price(event):
        return float(curve(event, (ORDER,))[0])

    @staticmethod
    def epsilon(paid):
        return paid + conversion(ORDER, DELTA) if paid else 0.0

    @staticmethod
    def ceiling(epsilon):
        return epsilon - conversion(ORDER, DELTA)


@dataclass(frozen=True)
class Purse:
    """What somebody paid, payment by payment, and may pay at most."""

    ceiling: float
    paid: tuple = ()
    caps: dict = field(default_factory=dict)

    @property
    def total(self):
        return math.fsum(self.paid)

    def after(self, price, cap):
        caps = self.caps if cap is None else {**self.caps, cap: self.caps[cap].after(price, None)}
        return replace(self, paid=(*self.paid, price), caps=caps)

    def room(self, price, cap):
        """By how much this is above what a payment needs, relative to the ceiling; below 0: too poor."""
        own = (self.ceiling - self.total - price) / self.ceiling
        return own if cap is None else min(own, self.caps[cap].room(price, None))


def contains(account, leaf):
    return leaf == account or leaf.startswith(f"{account}/")


class Machine(RuleBasedStateMachine):
    """Subclasses say which filter, and whether in a file."""

    kind = Gdp
    durable = False

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "study.ledger"
        budget = PrivacyBudget(EPSILON, DELTA)
        if self.durable:
            self.ledger = PrivacyLedger.create(self.path, budget, **self.kind.arguments)
        else:
            self.ledger = PrivacyLedger(budget, **self.kind.arguments)
        self.leaf_of = dict.fromkeys(PATIENTS, POOL) | {f"stays in {POOL}": POOL}
        self.purse_of = dict.fromkeys(self.leaf_of, Purse(self.kind.ceiling(EPSILON)))
        self.receipts = 0
        self.reserved = []
        self.names = 0

    def teardown(self):
        shutil.rmtree(self.folder)

    # what the model says

    @property
    def leaves(self):
        return [leaf for person, leaf in self.leaf_of.items() if person.startswith("stays in ")]

    def accounts(self):
        """The leaves, and the inner accounts that have one below."""
        return [*self.leaves, *(above for above in ABOVE if any(contains(above, leaf) for leaf in self.leaves))]

    def persons(self, account):
        return [person for person, leaf in self.leaf_of.items() if contains(account, leaf)]

    def members(self, leaf, some):
        return sorted(patient for patient in some if self.leaf_of[patient] == leaf)

    def pay(self, account, event, cap=None, count=1):
        for person in self.persons(account):
            self.purse_of[person] = self.purse_of[person].after(count * self.kind.price(event), cap)
        self.receipts += 1

    def move(self, source, into, members, ceiling=math.inf):
        stays = f"stays in {into}"
        self.purse_of[stays] = self.purse_of[f"stays in {source}"]
        for person in [stays, *members]:
            self.leaf_of[person] = into
            purse = self.purse_of[person]
            self.purse_of[person] = replace(purse, ceiling=min(purse.ceiling, ceiling))

    def expect(self, account, event, cap, call, count=1):
        """Whether a call pays; it must exactly if all can."""
        price = count * self.kind.price(event)
        room = min(self.purse_of[person].room(price, cap) for person in self.persons(account))
        try:
            call()
        except BudgetExhausted:
            assert room < CLOSE, f"refused, though every purse has {room:.3g} to spare"
            return False
        assert room > -CLOSE, f"paid, though a purse lacks {-room:.3g}"
        return True

    def capped(self, account, name):
        return all(name in self.purse_of[person].caps for person in self.persons(account))

    def new_name(self, above):
        self.names += 1
        return f"{above}/leaf-{self.names}"

    # what may happen

    @rule(pick=PICK, event=EVENTS, some=st.one_of(st.none(), SOME), cap=st.sampled_from([None, None, *CAPS]))
    def charge(self, pick, event, some, cap):
        accounts = self.accounts()
        account = accounts[pick % len(accounts)]
        ids = None if some is None else sorted(some)
        strangers = account != ROOT and any(not contains(account, self.leaf_of[patient]) for patient in ids or ())
        capped = cap is None or self.capped(account, cap)

        def call():
            self.ledger.charge(event, "x", account, ids, cap=cap)

        if strangers or not capped:
            with pytest.raises(ValueError, match="Expected"):
                call()
        elif self.expect(account, event, cap, call):
            self.pay(account, event, cap)

    @precondition(lambda self: any(purse.caps for purse in self.purse_of.values()))
    @rule(pick=PICK, event=EVENTS)
    def charge_a_part(self, pick, event):
        parts = [(account, name) for account in self.accounts() for name in CAPS if self.capped(account, name)]
        if parts:
            account, name = parts[pick % len(parts)]
            if self.expect(account, event, name, lambda: self.ledger.within(account, cap=name).charge(event, "x")):
                self.pay(account, event, name)

    @rule(pick=PICK, above=st.sampled_from(ABOVE), some=SOME, epsilon=LOWER)
    def split(self, pick, above, some, epsilon):
        source = self.leaves[pick % len(self.leaves)]
        into, members = self.new_name(above), self.members(source, some)
        ceiling = math.inf if epsilon is None else self.kind.ceiling(epsilon)
        if ceiling <= 0 or self.purse_of[f"stays in {source}"].total > ceiling:
            with pytest.raises(ValueError, match="Expected"):
                self.ledger.split(source, into, members, epsilon=epsilon)
        else:
            self.ledger.split(source, into, members, epsilon=epsilon)
            self.move(source, into, members, ceiling)

    @rule(pick=PICK, above=st.sampled_from(ABOVE), some=SOME.filter(bool))
    def split_of_somebody_elses(self, pick, above, some):
        source = self.leaves[pick % len(self.leaves)]
        if self.members(source, some) != sorted(some):
            with pytest.raises(ValueError, match="Expected rows of patients"):
                self.ledger.split(source, self.new_name(above), sorted(some))

    @rule(pick=PICK, name=st.sampled_from(CAPS), epsilon=st.sampled_from([0.5, 1.5, 2.0]))
    def cap(self, pick, name, epsilon):
        accounts = self.accounts()
        account = accounts[pick % len(accounts)]
        ceiling = self.kind.ceiling(epsilon)
        if ceiling <= 0 or any(name in self.purse_of[person].caps for person in self.persons(account)):
            with pytest.raises(ValueError, match=r"Expected|exists"):
                self.ledger.cap(account, name, epsilon)
            return
        self.ledger.cap(account, name, epsilon)
        for person in self.persons(account):
            purse = self.purse_of[person]
            self.purse_of[person] = replace(purse, caps={**purse.caps, name: Purse(ceiling)})

    @rule(pick=PICK, event=EVENTS, count=st.integers(1, 3))
    def reserve(self, pick, event, count):
        accounts = self.accounts()
        account = accounts[pick % len(accounts)]
        paid = []

        def call():
            paid.append(self.ledger.reserve(events.composed([event], count=count), "several", account))

        if self.expect(account, event, None, call, count):
            self.pay(account, event, count=count)
            self.reserved.append([paid[0], event, count])

    @precondition(lambda self: self.reserved)
    @rule(pick=PICK, times=st.integers(1, 4))
    def draw(self, pick, times):
        reservation = self.reserved[pick % len(self.reserved)]
        handle, event, _ = reservation
        for _ in range(times):
            assert handle.affords(event) == (reservation[2] > 0)
            if reservation[2]:
                handle.charge(event, "one of several")
                reservation[2] -= 1
            else:
                with pytest.raises(BudgetExhausted, match="of the reservation is left"):
                    handle.charge(event, "one too many")

    @rule(pick=PICK, above=st.sampled_from(ABOVE), some=SOME, event=EVENTS)
    def branch(self, pick, above, some, event):
        source = self.leaves[pick % len(self.leaves)]
        into, members = self.new_name(above), self.members(source, some)
        handle = self.ledger.branch(source, into, members)
        if self.expect(source, event, None, lambda: handle.charge(event, "branch", record_ids=members)):
            self.move(source, into, members)
            self.pay(into, event)

    @rule(pick=PICK, above=st.sampled_from(ABOVE), some=SOME, late=st.booleans())
    def crash(self, pick, above, some, late):
        """After the members moved in the vault, before the journal is committed."""
        source = self.leaves[pick % len(self.leaves)]
        into, members = self.new_name(above), self.members(source, some)
        append = Book._append_charge

        def die(*arguments, **named):
            if late:
                append(*arguments, **named)
            raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Book, "_append_charge", die)
            with contextlib.suppress(BudgetExhausted), pytest.raises(KeyboardInterrupt):
                self.ledger.branch(source, into, members).charge(events.gaussian(1e3), "crash")
            with contextlib.suppress(BudgetExhausted), pytest.raises(KeyboardInterrupt):
                self.ledger.charge(events.gaussian(1e3), "crash")

    @rule(deep=st.booleans())
    def copy(self, deep):
        assert (copy.deepcopy if deep else copy.copy)(self.ledger) is self.ledger

    @precondition(lambda self: self.durable)
    @rule()
    def reopen(self):
        self.ledger = PrivacyLedger.open(self.path)

    @precondition(lambda self: self.durable)
    @rule()
    def travel(self):
        self.ledger, self.reserved = pickle.loads(pickle.dumps((self.ledger, self.reserved)))

    # what must hold

    @invariant()
    def everybody_is_where_they_are(self):
        assert self.ledger.accounts_of(PATIENTS) == [self.leaf_of[patient] for patient in PATIENTS]
        assert sorted(self.ledger.accounts()) == sorted(self.leaves)

    @invariant()
    def every_leaf_has_paid_what_its_patients_paid(self):
        for person, leaf in self.leaf_of.items():
            purse = self.purse_of[person]
            shared = self.purse_of[f"stays in {leaf}"]
            assert purse.total == pytest.approx(shared.total, rel=1e-9)  # the model agrees with itself
            if person != f"stays in {leaf}":
                continue
            assert self.ledger.spent(leaf) == pytest.approx(self.kind.epsilon(purse.total), rel=1e-6)
            for name, part in purse.caps.items():
                assert self.ledger.spent(leaf, cap=name) == pytest.approx(self.kind.epsilon(part.total), rel=1e-6)
        assert self.ledger.spent() == pytest.approx(max(map(self.ledger.spent, self.leaves)))
        assert self.ledger.spent() <= EPSILON

    @invariant()
    def the_journal_is_whole_and_says_nothing_of_patients(self):
        head = self.ledger.verify()
        certificate = self.ledger.certificate()
        assert certificate["journal_head"] == head
        assert len(certificate["receipts"]) == len(self.ledger.receipts()) == self.receipts
        text = json.dumps(certificate)
        rows = json.dumps(self.ledger._book.journal.read(lambda transaction: transaction.rows()[0]))
        assert not any(patient in text + rows for patient in PATIENTS)


def machine_of(kind, durable):
    return type(f"{kind.__name__}Machine", (Machine,), {"kind": kind, "durable": durable})


def run(machine, **chosen):
    run_state_machine_as_test(machine, settings=settings(deadline=None, **chosen))


@pytest.mark.parametrize(("kind", "durable"), [(Gdp, True), (Renyi, False)])
def test_a_ledger_agrees_with_its_patients(kind, durable):
    run(machine_of(kind, durable), **USUAL)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("kind", [Gdp, Renyi])
@pytest.mark.parametrize("durable", [True, False], ids=["file", "memory"])
def test_a_ledger_agrees_with_its_patients_at_length(kind, durable):
    run(machine_of(kind, durable), **LONG)


# -- planted faults ------------------------------------------------------------------------------


def forgets_what_was_paid(patch):
    split = Accounts.split

    def planted(self, source, into, ceiling=None):
        split(self, source, into, ceiling)
        self.leaves[into] = replace(self.leaves[into], paid=tuple(0 for _ in self.leaves[into].paid))

    patch.setattr(Accounts, "split", planted)


def forgets_a_lower_ceiling(patch):
    split = Accounts.split
    patch.setattr(Accounts, "split", lambda self, source, into, ceiling=None: split(self, source, into))


def asks_only_one_leaf(patch):
    broke = Accounts.broke

    def planted(self, account, price, parts=None):
        return min((broke(self, leaf, price, parts or {}) for leaf in self.under(account)), key=len)

    patch.setattr(Accounts, "broke", planted)


def does_not_ask_the_cap(patch):
    broke = Accounts.broke
    patch.setattr(Accounts, "broke", lambda self, account, price, parts=None: broke(self, account, price))


def lets_only_the_named_leaf_pay(patch):
    patch.setattr(
        Accounts, "under", lambda self, account: [leaf for leaf in self.leaves if leaf.startswith(account)][:1]
    )


def believes_what_a_crash_left(patch):
    patch.setattr(vault, "_leaf", lambda row, splits: row.account)


def draws_without_end(patch):
    patch.setattr("skdpal.privacy.ledger.state._APPLY", {**state._APPLY, "draw": lambda self, row: None})


FAULTS = [
    forgets_what_was_paid,
    forgets_a_lower_ceiling,
    asks_only_one_leaf,
    does_not_ask_the_cap,
    lets_only_the_named_leaf_pay,
    believes_what_a_crash_left,
    draws_without_end,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_planted_fault_is_caught(fault, monkeypatch):
    fault(monkeypatch)
    chosen = {"max_examples": 300, "stateful_step_count": 20, "derandomize": True, "phases": [Phase.generate]}
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run(machine_of(Gdp, durable=False), report_multiple_bugs=False, database=None, **chosen)
