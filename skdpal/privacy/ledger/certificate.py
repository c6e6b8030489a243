"""What a ledger may say in public.

Invariants
----------
* The headline is the committed ceiling. A sum of what was spent is labelled an odometer.
* Nothing here depends on who, or how many, is in an account.
* Whoever has the certificate can compute every figure again: receipts and history hold all that prices depend on.
  docs/certificate.md explains the fields; the schema is in skdpal/audit/certificate/.
"""

from __future__ import annotations

import math
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from skdpal.privacy import events
from skdpal.privacy.accounting.amounts import Amounts, value_of
from skdpal.privacy.accounting.gaussian import ceiling_mu_squared, epsilon_of_mu
from skdpal.privacy.accounts import ROOT
from skdpal.privacy.filters import GdpFilter
from skdpal.privacy.ledger.state import Receipt, State

__all__ = ["NOT_COVERED", "of"]

SCHEMA = 2
NOT_COVERED = (
    "That a person has a slot in the study: the roster, the number of patients and the dates are public.",
    "What stays on the hospital's side: worksheets, query log, vault, screen and messages there.",
    "What can be inferred about a patient from others, such as relatives, or from the disease itself.",
    "The public data, and whether it was right to call it public.",
    "Side channels of the computer: timing, memory, electricity.",
    "Those who read and labelled: what they answered, and how often they err, may be seen.",
    "Anything that left without passing through this ledger.",
)
_VERSIONED = ("skdpal", "numpy", "scipy", "scikit-learn", "dp-accounting", "opendp", "SQLAlchemy", "modAL-python")


def of(state: State, head: str | None = None, account: str = ROOT) -> dict[str, Any]:
    """The certificate of a replayed journal, for everybody or for the patients of one account."""
    header, filter, accounts, budget = state.header, state.filter, state.accounts, state.filter.budget
    leaves = set(accounts.under(accounts.check(account)))
    ceiling = state.committed(account)
    epsilon = filter.epsilon_below(ceiling)
    whose = "" if account == ROOT else f" of account {account!r}"
    receipts = [receipt for receipt in state.receipts if account == ROOT or leaves & state.payers(receipt)]
    return {
        "schema": SCHEMA,
        "status": _status(state),
        "account": account,
        "epsilon": epsilon,
        "delta": budget.delta,
        "statement": (
            f"Everything released under this ledger is (ε={epsilon:g}, δ={budget.delta:g})-differentially "
            f"private for each patient{whose}, however often and adaptively it is used."
        ),
        "adjacency": "zero-out",
        "adjacency_in_words": "A patient's whole content may be replaced by nothing; the slot stays.",
        "unit": "patient (all samples of a patient together)",
        **_replace_one(state, account, ceiling, receipts),
        "filter": filter.kind,
        "filter_in_words": filter.words,
        "filter_parameters": filter.header(),
        "release_mode": _release_mode(state),
        "accounts": ["cohort", *accounts.leaves],
        "lower_ceilings": {
            name: filter.epsilon_below(leaf.ceiling)
            for name, leaf in accounts.leaves.items()
            if leaf.ceiling != filter.ceiling
        },
        "caps": {
            name: {part: filter.epsilon_below(cap.ceiling) for part, cap in leaf.caps.items()}
            for name, leaf in accounts.leaves.items()
            if leaf.caps
        },
        "caps_in_words": "Limits of use of one part of the data, such as a modality; no guarantees of their own.",
        "receipts": [{**asdict(receipt), "event": events.to_json(receipt.event)} for receipt in receipts],
        "history": [dict(row) for row in state.history],  # of the whole journal: its rows have no gaps
        "drawn_again": state.redrawn,  # numbers of receipts: the first answer was lost in a crash and never left
        "randomness": (
            "seeded simulation: not private"
            if header["simulation"]
            else "operating system entropy, no seed. Small releases: OpenDP's float-safe samplers. Gradients: "
            "floating-point Gaussian noise whose every bit comes from the operating system."
        ),
        "not_covered": list(NOT_COVERED),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _VERSIONED}},
        "journal_head": head,
        "created": header["created"],
        "issued": datetime.now(UTC).date().isoformat(),
    }


def _replace_one(state: State, account: str, limit: Amounts, receipts: list[Receipt]) -> dict[str, Any]:
    """The guarantee when a patient is exchanged for another: two zero-outs, and for Gaussian ledgers exactly."""
    filter, budget, accounts = state.filter, state.filter.budget, state.accounts
    odometer = {
        "epsilon_spent": filter.spent(accounts, account),
        "epsilon_spent_by_account": {name: filter.spent(accounts, name) for name in accounts.under(account)},
        "in_words": "A reading, not a guarantee: quote the committed ceiling above.",
    }
    if not isinstance(filter, GdpFilter):
        epsilon = filter.epsilon_below(limit)
        twice = {
            "epsilon": 2 * epsilon,
            "delta": min(1.0, (1 + math.exp(min(epsilon, 700.0))) * budget.delta),
            "in_words": "One patient exchanged for another: two zero-outs, (2ε, (1 + e^ε) δ).",
        }
        return {"replace_one": twice, "odometer": odometer}
    ceiling = math.sqrt(ceiling_mu_squared(budget) if account == ROOT else value_of(limit[0]))
    spent = math.sqrt(value_of(accounts.spent(account)[0]))
    largest = max((_largest_factor(receipt.event) for receipt in receipts), default=2.0)
    return {
        "mu": ceiling,
        "replace_one": {
            "epsilon": epsilon_of_mu(2 * ceiling, budget.delta),
            "delta": budget.delta,
            "in_words": "One patient exchanged for another: at most twice the μ of zero-out, for any releases.",
            "epsilon_of_these_kinds": epsilon_of_mu(largest * ceiling, budget.delta),
            "of_these_kinds_in_words": f"If the protocol admits only releases like those below: {largest:.4g} times μ.",
        },
        "odometer": {**odometer, "replace_one_epsilon_spent": epsilon_of_mu(largest * spent, budget.delta)},
    }


def _release_mode(state: State) -> str:
    if state.hidden:
        return "hidden selection"
    published = any(_publishes(receipt.event) for receipt in state.receipts)
    return "published selection" if published else "no private selection"


def _publishes(event: events.Event) -> bool:
    if isinstance(event, events.Composed | events.OneOf):
        return any(_publishes(part) for part in event.events)
    return isinstance(event, events.NoisyScores | events.BoundedRange)


def _status(state: State) -> str:
    if state.header["simulation"]:
        return "simulation: not private"
    if state.void:
        return f"void: {'; '.join(state.void)}"
    return "valid"


def _largest_factor(event: events.Event) -> float:
    if isinstance(event, events.Composed | events.OneOf):
        return max((_largest_factor(part) for part in event.events), default=0.0)
    return event.replace_one if isinstance(event, events.Gaussian) else 2.0


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
