"""What of a certificate follows from the rest of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from typing import Any

import numpy as np

from skdpal.audit.certificate import gaussian, schedule
from skdpal.audit.certificate.losses import bounds
from skdpal.audit.certificate.prices import mu_squared, renyi_epsilon
from skdpal.audit.certificate.replay import Amounts, Replay
from skdpal.audit.certificate.verification import Check

__all__ = ["CHECKS", "made"]

Certificate = Mapping[str, Any]
_EXACT = 1e-6  # relative, for prices in closed form: our own error, and theirs, many times over
_GRID = 5e-3  # for grids of orders and losses
_SEARCH = 5e-2  # for the best of a random number of runs, whose proof leaves a choice
_SAID = ("slot", "hospital", "relatives", "public data", "timing", "labelled", "without passing")
_BEYOND = (ArithmeticError, ValueError, RecursionError, MemoryError)  # numbers and nestings that no ledger writes
_WORDS = {
    "unit": "patient (all samples of a patient together)",
    "adjacency_in_words": "replaced by nothing; the slot stays",
    "caps_in_words": "no guarantees of their own",
}
_FILTERS = {
    "gdp": "Gaussian differential privacy",
    "renyi": "Rényi differential privacy",
    "planned": "Privacy loss distributions of a frozen schedule",
}
_RANDOM = {False: "operating system entropy, no seed", True: "seeded simulation: not private"}


def numbering(certificate: Certificate, replay: Replay) -> tuple[bool, str]:
    """Rows of the journal have no gaps, and every receipt is one of them."""
    rows = certificate["history"]
    if [row["number"] for row in rows] != list(range(len(rows))) or rows[0]["kind"] != "header":
        return False, "the rows of the history are not numbered 0, 1, 2, ... from the first"
    if any(row["kind"] == "header" for row in rows[1:]):
        return False, "the history has a second beginning"
    charges = [row["number"] for row in rows if row["kind"] == "charge"]
    numbers = [receipt["number"] for receipt in certificate["receipts"]]
    if numbers != sorted(set(numbers)) or not set(numbers) <= set(charges):
        return False, "the receipts are not charges of the history, in order"
    missing = sorted(set(charges) - set(numbers))
    if certificate["account"] == "cohort" and missing:
        return False, f"receipts of rows {missing} are missing"
    others = f"; {len(missing)} receipts of other accounts are not shown" if missing else ""
    return True, f"{len(rows)} rows, {len(numbers)} receipts{others}"


def status(certificate: Certificate, replay: Replay) -> tuple[bool, str]:
    """Valid, and nothing in the history says otherwise."""
    said = certificate["status"]
    if said == "simulation: not private":
        return False, "simulation: seeded noise, not private"
    reasons = [row["reason"] for row in certificate["history"] if row["kind"] == "void"]
    expected = f"void: {'; '.join(reasons)}" if reasons else "valid"
    if said != expected:
        return False, f"the status is {said!r}, and the history says {expected!r}"
    seeded = certificate["randomness"].startswith(_RANDOM[True])
    if seeded or not certificate["randomness"].startswith(_RANDOM[False]):
        return False, f"a valid certificate, and its noise came from {certificate['randomness'][:60]!r}"
    return said == "valid", said if said == "valid" else f"{said}: not private"


def statement(certificate: Certificate, replay: Replay) -> tuple[bool, str]:
    """The sentences say the same as the numbers, and no more."""
    account = certificate["account"]
    promise = f"(ε={certificate['epsilon']:g}, δ={certificate['delta']:g})-differentially private for each patient"
    whose = "" if account == "cohort" else f" of account {account!r}"
    expected = f"Everything released under this ledger is {promise}{whose}, however often and adaptively it is used."
    if certificate["statement"] != expected:
        return False, f"the sentence is not: {expected}"
    for field, words in _WORDS.items():
        if words not in certificate[field]:
            return False, f"{field} does not say {words!r}"
    if not certificate["filter_in_words"].startswith(_FILTERS[certificate["filter"]]):
        return False, f"the words for the filter are not those of {certificate['filter']!r}"
    return True, promise


def accounts(certificate: Certificate, replay: Replay) -> tuple[bool, str]:
    """Who paid exists, and the leaves are those that the history makes."""
    if replay.problems:
        return False, "; ".join(replay.problems[:3])
    if certificate["accounts"] != ["cohort", *replay.leaves]:
        return False, f"the history makes the leaves {', '.join(replay.leaves)}; others are listed"
    return True, f"{len(replay.leaves)} leaves"


def receipts(certificate: Certificate, replay: Replay) -> tuple[bool, str]:
    """Every receipt states the price of its event."""
    for receipt in certificate["receipts"]:
        low, high = _alone(certificate, receipt["event"])
        if not low - 1e-9 <= receipt["epsilon"] <= high + 1e-9:
            return False, (
                f"receipt {receipt['number']} states ε={receipt['epsilon']:.6g}; its event costs {low:.6g}"
                + ("" if high < low * 1.01 else f" to {high:.6g}")
            )
    return True, f"{len(certificate['receipts'])} prices computed again"


def ceiling(certificate: Certificate, replay: Replay) -> tuple[bool, str]:
    """What every leaf of the account was charged, its own charges and those it inherited, stays below its ceiling."""
    epsilon = certificate["epsilon"]
    if replay.scale is None:
        return _planned(certificate)
    if replay.scale.curve is not None and certificate["account"] == "cohort":
        proven = replay.scale.epsilon(tuple(replay.scale.curve))
        if proven > epsilon * (1 + _EXACT):
            return False, f"the curve proves ε={proven:.6g}, more than {epsilon:g}"
    dearest = 0.0
    for name in replay.under(certificate["account"]):
        leaf = replay.leaves[name]
        own = epsilon if leaf.ceiling is None else leaf.ceiling
        own = min(own, epsilon) if certificate["account"] == "cohort" else own
        spent = replay.scale.epsilon(leaf.high)
        if not _fit(leaf.high, replay.scale.most(own, epsilon)):
            return False, f"{name} was charged ε={spent:.6g}, more than {own:g}"
        dearest = max(dearest, spent)
    return True, f"the dearest leaf was charged ε={dearest:.4g}, of {epsilon:g}"


def _planned(certificate: Certificate) -> tuple[bool, str]:
    parameters, epsilon = certificate["filter_parameters"], certificate["epsilon"]
    if schedule.digest_of(parameters["schedule"]) != parameters["digest"]:
        return False, "the schedule is not the one that was frozen"
    wrong = schedule.illegal(parameters["schedule"]) or schedule.deviations(certificate)
    if wrong:
        return False, wrong[0]
    low, high = schedule.price_of(certificate)
    good = low <= epsilon and high <= epsilon * (1 + _GRID)
    return good, f"the schedule costs ε between {low:.5g} and {high:.5g}, of {epsilon:g}"


def odometer(certificate: Certificate, replay: Replay) -> tuple[bool, str]:
    """The readings are the sums."""
    reading, readings = certificate["odometer"], certificate["odometer"]["epsilon_spent_by_account"]
    account = certificate["account"]
    if list(readings) != replay.under(account):
        return False, "the readings are not those of the account's leaves"
    for name, said in [*readings.items(), (account, reading["epsilon_spent"])]:
        low, high = _spent(certificate, replay, name)
        if not low - 1e-9 <= said <= high + 1e-9:
            return False, f"{name} reads ε={said:.6g}; its receipts sum up to {low:.6g}"
    if "not a guarantee" not in reading["in_words"]:
        return False, "the reading is not called one"
    return True, f"ε={reading['epsilon_spent']:.4g} spent"


def ceilings(certificate: Certificate, replay: Replay) -> tuple[bool, str]:
    """Lower ceilings are those that the history set, and the account's is the one that stood before it paid."""
    lower = {name: leaf.ceiling for name, leaf in replay.leaves.items() if _limits(replay, leaf.ceiling)}
    said, account, epsilon = certificate["lower_ceilings"], certificate["account"], certificate["epsilon"]
    if account == "cohort":
        lower = {name: value for name, value in lower.items() if value < epsilon}
    wrong = [name for name in {*lower, *said} if not _close(lower.get(name), said.get(name))]
    if wrong and not (account != "cohort" and not set(said) - set(lower)):
        return False, f"the ceiling of {sorted(wrong)[0]} is not the one of the history"
    if account == "cohort":
        return True, f"ε={epsilon:g} for everybody"
    leaves = replay.under(account)
    before = [value for name in leaves if (value := replay.leaves[name].committed) is not None]
    if len(before) < len(leaves):
        return True, "the ledger's own, which is in its whole certificate"
    expected = max(before)
    below = epsilon <= expected * (1 + _EXACT)
    same = below if set(leaves) - set(said) else _close(epsilon, expected)  # one above the ledger's is none
    return same, f"ε={expected:g} stood before the account paid"


def caps(certificate: Certificate, replay: Replay) -> tuple[bool, str]:
    """Caps are those of the history, and nobody's part was charged more."""
    found = {
        name: {part: cap[0] for part, cap in leaf.caps.items()} for name, leaf in replay.leaves.items() if leaf.caps
    }
    said = certificate["caps"]
    if {name: list(parts) for name, parts in found.items()} != {name: list(parts) for name, parts in said.items()}:
        return False, "the history sets other caps"
    for name in found:
        for part, (epsilon, _, paid) in replay.leaves[name].caps.items():
            known = certificate["account"] == "cohort" or _limits(replay, epsilon)
            stated = epsilon if _limits(replay, epsilon) else certificate["epsilon"]
            if known and not _close(said[name][part], stated):
                return False, f"the cap {part!r} of {name} is ε={epsilon:g}, not {said[name][part]:g}"
            if replay.scale is not None and not _fit(paid, replay.scale.most(epsilon, certificate["epsilon"])):
                spent = replay.scale.epsilon(paid)
                return False, f"the cap {part!r} of {name} was charged ε={spent:.6g}, more than {epsilon:g}"
    return True, f"{sum(map(len, said.values()))} caps"


def exchange(certificate: Certificate, replay: Replay) -> tuple[bool, str]:
    """μ, and the guarantee for exchanging a patient, follow from ε and δ."""
    epsilon, delta, said = certificate["epsilon"], certificate["delta"], certificate["replace_one"]
    if certificate["filter"] != "gdp":
        expected = 2 * epsilon, min(1.0, (1 + math.exp(min(epsilon, 700.0))) * delta)
        good = _close(said["epsilon"], expected[0]) and _close(said["delta"], expected[1])
        return good, f"two zero-outs: ε={expected[0]:.6g}, δ={expected[1]:.3g}"
    mu = certificate["mu"]
    if not _close(mu, gaussian.mu_of(epsilon, delta)):
        return False, f"μ={mu:.6g}; ε={epsilon:g} at δ={delta:g} is μ={gaussian.mu_of(epsilon, delta):.6g}"
    factor = max((_factor(receipt["event"]) for receipt in certificate["receipts"]), default=2.0)
    spent = math.sqrt(max(float(replay.leaves[name].high[0]) for name in replay.under(certificate["account"])))
    figures = [
        ("ε", said["epsilon"], 2 * mu),
        ("ε of these kinds", said["epsilon_of_these_kinds"], factor * mu),
        ("the reading", certificate["odometer"]["replace_one_epsilon_spent"], factor * spent),
    ]
    for name, value, size in figures:
        expected_epsilon = gaussian.epsilon_of(size, delta)
        if not _close(value, expected_epsilon):
            return False, f"{name} for an exchange is {value:.6g}; {size:.6g}-Gaussian DP is ε={expected_epsilon:.6g}"
    if said["delta"] != delta or f"{factor:.4g} times" not in said["of_these_kinds_in_words"]:
        return False, "δ, or the words, are those of another guarantee"
    return True, f"twice the μ of {mu:.4g}: ε={said['epsilon']:.4g}"


def selection(certificate: Certificate, replay: Replay) -> tuple[bool, str]:
    """Whether the chosen were published is as the history says."""
    hidden = any(row["kind"] == "round" and row["hidden"] for row in certificate["history"])
    published = any(_publishes(receipt["event"]) for receipt in certificate["receipts"])
    expected = "hidden selection" if hidden else "published selection" if published else "no private selection"
    if certificate["account"] != "cohort" and not hidden and certificate["release_mode"] == "published selection":
        return True, "published selection, which others paid for"
    return certificate["release_mode"] == expected, expected


def again(certificate: Certificate, replay: Replay) -> tuple[bool, str]:
    """What was drawn again is what the history says, and can be asked again."""
    expected = [row["receipt"] for row in certificate["history"] if row["kind"] == "redraw"]
    charges = {row["number"] for row in certificate["history"] if row["kind"] == "charge"}
    good = certificate["drawn_again"] == expected and set(expected) <= charges
    return good, f"{len(expected)} receipts drawn again after a crash"


def dates(certificate: Certificate, replay: Replay) -> tuple[bool, str]:
    """Days exist, and follow each other."""
    days = [certificate["created"], *(receipt["date"] for receipt in certificate["receipts"]), certificate["issued"]]
    try:
        parsed = [date.fromisoformat(day) for day in days]
    except ValueError:
        return False, "there is no such day"
    return parsed == sorted(parsed), f"{days[0]} to {days[-1]}"


def limits(certificate: Certificate, replay: Replay) -> tuple[bool, str]:
    """What is not covered is said."""
    text = " ".join(certificate["not_covered"]).lower()
    silent = [word for word in _SAID if word not in text]
    return (
        not silent,
        f"nothing is said about: {', '.join(silent)}" if silent else f"{len(certificate['not_covered'])} limits",
    )


CHECKS: Mapping[str, Callable[[Certificate, Replay], tuple[bool, str]]] = {
    "numbering": numbering,
    "status": status,
    "statement": statement,
    "accounts": accounts,
    "receipts": receipts,
    "ceiling": ceiling,
    "lower ceilings": ceilings,
    "caps": caps,
    "odometer": odometer,
    "replace-one": exchange,
    "selection": selection,
    "drawn again": again,
    "dates": dates,
    "limits": limits,
}


def made(certificate: Certificate) -> Iterator[Check]:
    """All of them, one after the other. What cannot be computed has failed: a certificate is a stranger's file."""
    try:
        with np.errstate(all="ignore"):  # what is infinite, or no number, fits below no ceiling
            replay = Replay(certificate)
    except _BEYOND as error:
        yield Check("accounts", False, f"cannot be computed: {error}")
        return
    if not replay.under(certificate["account"]):
        yield Check("accounts", False, f"there is no account {certificate['account']!r}")
        return
    for name, look in CHECKS.items():
        try:
            with np.errstate(all="ignore"):
                ok, found = look(certificate, replay)
        except _BEYOND as error:
            ok, found = False, f"cannot be computed: {error}"
        yield Check(name, ok, found)


def _alone(certificate: Certificate, event: Mapping[str, Any]) -> tuple[float, float]:
    kind, delta = certificate["filter"], certificate["delta"]
    if kind == "gdp":
        mu2 = float(mu_squared(event))
        exact = gaussian.epsilon_of(math.sqrt(mu2), delta) if mu2 < math.inf else math.inf
        return exact * (1 - _EXACT), exact * (1 + _EXACT)
    low, high = renyi_epsilon(event, delta) if kind == "renyi" else bounds([[[event]]], delta)
    return low * (1 - _GRID), high * (1 + _loose([event]))


def _spent(certificate: Certificate, replay: Replay, account: str) -> tuple[float, float]:
    if replay.scale is None:
        low, high = schedule.price_of(certificate, account, done=True)
        return low * (1 - _GRID), high * (1 + _loose([certificate["filter_parameters"]["schedule"]]))
    leaves = [replay.leaves[name] for name in replay.under(account)]
    low, high = (
        replay.scale.epsilon(tuple(map(max, zip(*amounts, strict=True))))
        for amounts in ([leaf.low for leaf in leaves], [leaf.high for leaf in leaves])
    )
    loose = _EXACT if certificate["filter"] == "gdp" else max(_EXACT, _loose(certificate["receipts"]) - _GRID)
    return low * (1 - _EXACT), high * (1 + loose)


def _limits(replay: Replay, epsilon: float | None) -> bool:
    """Whether a ceiling of its own is lower than the ledger's: along a curve that costs less, it is not."""
    scale = replay.scale
    along = None if scale is None or scale.curve is None else scale.epsilon(tuple(scale.curve))
    return epsilon is not None and (along is None or along > epsilon)


def _fit(amounts: Amounts, most: Amounts) -> bool:
    return all(amount <= limit * (1 + 1e-9) for amount, limit in zip(amounts, most, strict=True))


def _loose(events: Iterable[Any]) -> float:
    return _SEARCH if "repeat-and-select" in repr(list(events)) else _GRID


def _close(left: float | None, right: float | None) -> bool:
    return left is not None and right is not None and math.isclose(left, right, rel_tol=_EXACT, abs_tol=1e-9)


def _factor(event: Mapping[str, Any]) -> float:
    """How far the dearest part of an event moves for an exchange."""
    if "events" in event:
        return max(map(_factor, event["events"]), default=0.0)
    return float(event.get("replace_one", 2.0))


def _publishes(event: Mapping[str, Any]) -> bool:
    return event["kind"] in ("noisy-scores", "bounded-range") or any(map(_publishes, event.get("events", ())))
