"""Many at once, and many copies: there is one budget.

The races run in a process of its own (this file run as a script): its workers are forked once, from a warm parent.
"""

import copy
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score

from skdpal import DPPrototypeClassifier
from skdpal.model_selection import public_scorer
from skdpal.privacy import BudgetExhausted, PrivacyBudget, PrivacyLedger, calibrate, epsilon_of, events
from skdpal.privacy.accounts import POOL

RACERS = 8
BUDGET = PrivacyBudget(2.0, 1e-5)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(24, 3)), np.array([0, 1] * 12)
NOISE = 30.0
FIT = DPPrototypeClassifier(NOISE).privacy_event()


def test_eight_processes_race_for_the_last_of_a_budget():
    report = racing(50)
    assert report == {"rounds": 50, "paid": 98, "refused": 302, "left behind": 70}  # room for 1, 1, 1, 5, ...


@pytest.mark.slow
def test_eight_processes_race_for_the_last_of_a_budget_many_times():
    assert racing(200)["rounds"] == 200


def test_planted_results_of_a_race_are_caught(tmp_path):
    path, event, k = last_of_a_budget(tmp_path / "a.ledger", 0)
    PrivacyLedger.open(path).charge(event, "race")
    PrivacyLedger.open(path).split(POOL, "cohort/racer-0", ["the only patient"])
    good = [("paid", "moved")] + [("refused", "left behind")] * (RACERS - 1)
    check_race(path, k, good)
    for plant in (
        [("paid", "moved")] * 2 + good[2:],  # an overspend
        [("refused", "moved"), *good[1:]],  # a receipt that nobody got
        [*good[:-1], ("LedgerError('locked')", "left behind")],
        [("paid", "moved"), ("refused", "moved"), *good[2:]],  # a patient of two accounts
    ):
        with pytest.raises(AssertionError):
            check_race(path, k, plant)


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize("meanwhile", ["charge, split", "split, charge", "split, split"])
def test_who_looks_while_others_write_sees_a_moment_that_was(tmp_path, monkeypatch, at, meanwhile):
    """Journal and vault are two files; between reading the one and the other, anybody may write both."""
    path = tmp_path / "busy.ledger"
    PrivacyLedger.create(path, BUDGET).split(POOL, "cohort/start", ["p"])
    ledger, other = PrivacyLedger.open(path), PrivacyLedger.open(path)

    def write():
        for number, step in enumerate(meanwhile.split(", ")):
            if step == "charge":
                other.charge(events.gaussian(50.0), "meanwhile")
            else:
                other.split(POOL, f"cohort/late-{number}", [f"q{number}"])

    before_read(monkeypatch, ledger, at, write)
    assert ledger.accounts_of(["p", "q0"])[0] == "cohort/start"
    assert ledger.accounts_of(["p", "x"]) == ["cohort/start", POOL]


def before_read(monkeypatch, ledger, at, write):
    """Let others write just before the `at`-th time that one of the two files is read."""
    reads = []
    for database in (ledger._book.vault._database, ledger._book.journal._database):

        def counted(work, run=database.run, **how):
            reads.append(work)
            if len(reads) == at + 1:
                write()
            return run(work, **how)

        monkeypatch.setattr(database, "run", counted)


# -- copies and workers of scikit-learn ----------------------------------------------------------


@pytest.fixture(params=["one account", "after a split"])
def shared(request, tmp_path):
    """A ledger in a file; after a split, everybody's fits fall on both leaves."""
    ledger = PrivacyLedger.create(tmp_path / "shared.ledger", BUDGET)
    if request.param == "after a split":
        ledger.branch(POOL, "cohort/start", ["p"]).charge(events.gaussian(10.0), "start", record_ids=["p"])
        ledger.split(POOL, "cohort/round-1", [])
    return ledger


def model_of(ledger, **changes):
    return DPPrototypeClassifier(NOISE, classes=[0, 1], ledger=ledger, **changes)


def search(model):
    grid = {"prior_weight": ["fitted", 5.0]}
    GridSearchCV(model, grid, cv=KFold(3), scoring=public_scorer("accuracy"), n_jobs=2, error_score="raise").fit(X, Y)


def bag(model):
    BaggingClassifier(model, n_estimators=5, n_jobs=2, random_state=0).fit(X, Y)


def cross_validate(model):
    cross_val_score(model, X, Y, cv=KFold(4), scoring=public_scorer("accuracy"), n_jobs=2, error_score="raise")


def fit_there(model):
    model.fit(X, Y)


def parallel(model):
    joblib.Parallel(n_jobs=2)(joblib.delayed(fit_there)(model) for _ in range(4))


def copies(model):
    for duplicate in (clone, copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))):
        duplicate(model).fit(X, Y)
    model.fit(X, Y)


def copies_of_the_ledger(model):
    for duplicate in (clone, copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))):
        model_of(duplicate(model.ledger)).fit(X, Y)


def nested_copies(model):
    for _ in range(3):
        model = copy.deepcopy({"model": [clone(model)]})["model"][0].fit(X, Y)


FITS = {search: 7, bag: 5, cross_validate: 4, parallel: 4, copies: 5, copies_of_the_ledger: 4, nested_copies: 3}


def check_fits(ledger, before, fits):
    """Every fit has its receipt, and every leaf has paid for all of them."""
    receipts = ledger.receipts()
    assert len(receipts) == before["receipts"] + fits, "a fit has no receipt of its own"
    assert {receipt.account for receipt in receipts[before["receipts"] :]} == {"cohort"}
    for leaf, paid in before["paid"].items():
        expected = epsilon_of([*paid, *[FIT] * fits], BUDGET.delta)
        assert ledger.spent(leaf) == pytest.approx(expected, rel=1e-6), leaf
    assert ledger.spent() <= BUDGET.epsilon
    ledger.verify()


def seen(ledger):
    """What there is before."""
    start = [receipt.event for receipt in ledger.receipts()]
    return {
        "receipts": len(start),
        "paid": {leaf: start if leaf == "cohort/start" else [] for leaf in ledger.accounts()},
    }


@pytest.mark.parametrize("use", FITS, ids=lambda use: use.__name__)
def test_all_copies_charge_one_ledger(shared, use):
    before = seen(shared)
    use(model_of(shared))
    check_fits(shared, before, FITS[use])
    check_fits(PrivacyLedger.open(shared._book.journal.address), before, FITS[use])


def test_a_dumped_model_charges_the_same_ledger_when_it_is_loaded(shared, tmp_path):
    before = seen(shared)
    joblib.dump(model_of(shared).fit(X, Y), tmp_path / "model.joblib")
    for _ in range(2):
        joblib.load(tmp_path / "model.joblib").fit(X, Y)
    check_fits(shared, before, 3)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_forks_charge_one_ledger():
    assert script("fork") == {"fits": 7}  # of the parent before and after, and of five children


@pytest.mark.parametrize("use", [search, bag, copies], ids=lambda use: use.__name__)
def test_a_planted_ledger_that_is_copied_is_caught(shared, use):
    before = seen(shared)
    with pytest.raises(AssertionError, match="no receipt of its own"):
        run_and_check(use, model_of(Forgetful(shared)), shared, before)


def run_and_check(use, model, ledger, before):
    use(model)
    check_fits(ledger, before, FITS[use])


class Forgetful:
    """The planted fault: a copy has a budget of its own."""

    def __init__(self, ledger):
        self._ledger = ledger

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._ledger, name)

    def __deepcopy__(self, memo):
        return Forgetful(self._anew())

    def __reduce__(self):
        return Forgetful, (self._anew(),)

    def _anew(self):
        path = Path(tempfile.mkdtemp(dir=self._ledger._book.journal.address.parent)) / "copy.ledger"
        return PrivacyLedger.create(path, self._ledger.budget)


# -- the races -----------------------------------------------------------------------------------


def racing(rounds):
    return script("race", rounds)


def script(*arguments):
    """What this file, run as a script, reports."""
    command = [sys.executable, "-W", "error", "-W", "ignore:κ = n μ:UserWarning", __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def last_of_a_budget(path, number):
    """A ledger with room for exactly k more releases of that kind."""
    k = 5 if number % 4 == 3 else 1
    noise = calibrate(lambda sigma: events.gaussian(sigma, steps=k + 2), BUDGET)
    ledger = PrivacyLedger.create(path, BUDGET)
    ledger.charge(events.gaussian(noise, steps=2), "before")
    return path, events.gaussian(noise), k


def check_race(path, k, results):
    """As many were paid as the budget had room for, each with a receipt; all others were refused as poor."""
    ledger = PrivacyLedger.open(path)
    ledger.verify()
    money, moves = [result[0] for result in results], [word for result in results for word in result[1:]]
    assert set(money) <= {"paid", "refused"}
    assert money.count("paid") == k == len(ledger.receipts()) - 1
    assert ledger.spent() <= BUDGET.epsilon
    if not moves:
        return
    assert set(moves) <= {"moved", "left behind"}
    assert moves.count("moved") == 1
    winner = f"cohort/racer-{moves.index('moved')}"
    assert ledger.accounts() == [POOL, winner]
    assert ledger.accounts_of(["the only patient"]) == [winner]


def attempt(call, done, refusal, refused):
    try:
        call()
    except refusal:
        return refused
    except BaseException as error:  # noqa: BLE001
        return repr(error)
    return done


def racer(number, connection, barrier):
    """Wait for a ledger, then for everybody, then try."""
    while (work := connection.recv()) is not None:
        path, event, patients = work
        ledger = PrivacyLedger.open(path)
        barrier.wait(60)
        result = [attempt(partial(ledger.charge, event, "race"), "paid", BudgetExhausted, "refused")]
        if patients:
            split = partial(ledger.split, POOL, f"cohort/racer-{number}", patients)
            result.append(attempt(split, "moved", ValueError, "left behind"))
        connection.send(result)


def race(folder, rounds):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(RACERS)
    pipes = [context.Pipe() for _ in range(RACERS)]
    racers = [context.Process(target=racer, args=(n, pipes[n][1], barrier), daemon=True) for n in range(RACERS)]
    for process in racers:
        process.start()
    report = {"rounds": 0, "paid": 0, "refused": 0, "left behind": 0}
    for number in range(rounds):
        path, event, k = last_of_a_budget(folder / f"{number}.ledger", number)
        patients = ["the only patient"] if number % 5 == 0 else []  # in some rounds also for a patient
        for ours, _ in pipes:
            ours.send((str(path), event, patients))
        results = [ours.recv() for ours, _ in pipes]
        check_race(path, k, results)
        report["rounds"] += 1
        for word in ("paid", "refused", "left behind"):
            report[word] += sum(result.count(word) for result in results)
    for ours, _ in pipes:
        ours.send(None)
    for process in racers:
        process.join(60)
        assert process.exitcode == 0
    return report


def fork(folder):
    """A model that was made before the fork fits on both sides of it."""
    ledger = PrivacyLedger.create(folder / "forked.ledger", BUDGET)
    before = seen(ledger)
    model = model_of(ledger).fit(X, Y)
    children = []
    for _ in range(5):
        children.append(os.fork())
        if children[-1] == 0:
            code = 1
            try:
                model.fit(X, Y)
                code = 0
            finally:
                os._exit(code)
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    model.fit(X, Y)
    check_fits(ledger, before, 7)
    return {"fits": 7}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        print(json.dumps(race(here, int(sys.argv[2])) if sys.argv[1] == "race" else fork(here)))
