"""SIGKILL at any moment of a fit: nothing was released without its receipt, and no receipt is lost.

The killing is done in a process of its own (this file run as a script), whose children are forked from one
warm parent: everything is imported, the samplers are loaded, and no test runner's thread is forked along.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from skdpal import DPPrototypeClassifier
from skdpal.privacy import BudgetExhausted, PrivacyBudget, PrivacyLedger, events
from skdpal.privacy.accounts import POOL
from skdpal.privacy.ledger.book import Book
from skdpal.privacy.mechanisms import GaussianSum
from skdpal.privacy.randomness import perturb
from skdpal.privacy.storage.vault import Vault

CHILDREN = 3
EPSILON = 2.0
KILLS_A_LEDGER = 20
X, Y = np.eye(4), ["a", "b", "a", "b"]
MOMENTS = ["before the vault", "inside the vault", "after the vault", "before the commit", "after the commit"]


def test_a_kill_in_the_middle_of_a_fit_loses_nothing():
    report = killing("kill", 20)
    assert report["kills"] == 20
    assert report["announced"] > 20


@pytest.mark.slow
def test_a_kill_in_the_middle_of_a_fit_loses_nothing_many_times():
    report = killing("kill", 200)
    assert report["kills"] == 200
    assert report["branches announced"] > 0
    assert report["refused"] > 0  # and some ledgers were used up


def test_a_kill_between_the_two_files_leaves_patients_where_they_were():
    """The vault is written before the journal; only the journal's commit counts."""
    report = killing("moments")
    assert report["announced"] == dict.fromkeys(MOMENTS, 0)
    assert report["written"] == {moment: moment == "after the commit" for moment in MOMENTS}
    assert "without a receipt" in report["planted"]  # a release before its charge is caught by the same check


def test_planted_losses_are_caught():
    paid = dict.fromkeys(range(1, 4), 100.0)
    check_announced([(1, 100.0), (3, 100.0)], paid)
    check_growth(3, {"receipts": 4, "spent": 1.9, "numbers": [0, 1, 2]})
    for plant, words in [
        (lambda: check_announced([(4, 100.0)], paid), "without a receipt"),
        (lambda: check_announced([(1, 50.0)], paid), "another release"),
        (lambda: check_announced([(1, 100.0), (1, 100.0)], paid), "shared"),
        (lambda: check_growth(3, {"receipts": 2, "spent": 1.0, "numbers": [0, 1, 2]}), "lost"),
        (lambda: check_growth(3, {"receipts": 4, "spent": 2.1, "numbers": [0, 1, 2]}), "ceiling"),
        (lambda: check_growth(3, {"receipts": 4, "spent": 1.0, "numbers": [0, 2, 3]}), "gap"),
    ]:
        with pytest.raises(AssertionError, match=words):
            plant()


def killing(*arguments):
    """What this file, run as a script, reports."""
    command = [sys.executable, "-W", "error", "-W", "ignore:κ = n μ:UserWarning", __file__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# -- the checks ----------------------------------------------------------------------------------


def check_announced(announced, paid):
    """Every release that was announced has a receipt of its own, of that very release."""
    assert len({number for number, _ in announced}) == len(announced), "two releases shared a receipt"
    for number, noise_multiplier in announced:
        assert number in paid, f"release {number} left without a receipt"
        assert paid[number] == noise_multiplier, f"receipt {number} is for another release"


def check_growth(before, now):
    assert now["receipts"] >= before, "a receipt was lost"
    assert now["spent"] <= EPSILON, "more was spent than the ceiling"
    assert now["numbers"] == list(range(len(now["numbers"]))), "the journal has a gap"


def check(path, before, announced, branches):
    """All that must hold after a kill; the number of receipts."""
    ledger = PrivacyLedger.open(path)
    ledger.verify()
    rows = ledger._book.journal.read(lambda transaction: transaction.rows()[0])
    paid = {row["number"]: row["event"]["noise_multiplier"] for row in rows if row["kind"] == "charge"}
    check_announced(announced, paid)
    numbers = [row["number"] for row in rows]
    check_growth(before, {"receipts": len(paid), "spent": ledger.spent(), "numbers": numbers})
    made = [row["into"] for row in rows if row["kind"] == "split"]
    assert set(branches) <= set(made), "a branch was lost"
    assert ledger.accounts_of(made) == made  # the only patient of each branch has its name
    assert {row["account"] for row in rows if row["kind"] == "charge"} == {"cohort", *made}  # never half a branch
    return len(paid)


# -- the children --------------------------------------------------------------------------------


class Recording:
    """A ledger that remembers the number of the receipt it gave."""

    def __init__(self, ledger):
        self._ledger, self.number = ledger, None

    def __getattr__(self, name):
        return getattr(self._ledger, name)

    def charge_once(self, *arguments, **named):
        receipt = self._ledger.charge_once(*arguments, **named)
        self.number = receipt.number
        return receipt


def fit(ledger, noise_multiplier, patients=None):
    """One fit; the number of its receipt, after the release."""
    payer = Recording(ledger)
    model = DPPrototypeClassifier(noise_multiplier, classes=["a", "b"], ledger=payer)
    if patients is None:
        model.fit(X, Y)
    else:
        model.fit(X[:1], Y[:1], record_ids=patients)
    assert np.isfinite(model.release_[0]).all()
    return payer.number


def work(path, writing, noise_multiplier):
    """Fit until killed; every seventh fit makes a branch of one patient."""
    ledger = PrivacyLedger.open(path)
    for turn in range(10**9):
        name, patients, payer = "", None, ledger
        if turn % 7 == 6:
            name = f"cohort/p-{os.getpid()}-{turn}"
            patients, payer = [name], ledger.branch(POOL, name, [name])
        try:
            number = fit(payer, noise_multiplier, patients)
            os.write(writing, f"{number} {noise_multiplier} {name}\n".encode())
        except BudgetExhausted:
            os.write(writing, b"refused\n")


def planted(path, writing, noise_multiplier):
    """Release, say so, and die before paying."""
    ledger = PrivacyLedger.open(path)
    number = len(ledger.receipts()) + 1
    GaussianSum(noise_multiplier).run(X, Y)
    os.write(writing, f"{number} {noise_multiplier} \n".encode())
    die()
    ledger.charge(events.gaussian(noise_multiplier), "too late")


class Child:
    """A forked process, and what it said."""

    def __init__(self, target, *arguments):
        self._reading, writing = os.pipe()
        self.said = b""
        self.pid = os.fork()
        if self.pid == 0:
            try:
                target(arguments[0], writing, *arguments[1:])
            except BaseException as error:  # noqa: BLE001
                os.write(writing, f"failed: {error!r}\n".encode())
            os._exit(1)
        os.close(writing)
        os.set_blocking(self._reading, False)

    def listen(self):
        """Take in all that was said so far."""
        while True:
            try:
                more = os.read(self._reading, 65536)
            except BlockingIOError:
                return
            if not more:
                return
            self.said += more

    def wait(self):
        """Wait for the end, and close."""
        status = os.waitpid(self.pid, 0)[1]
        self.listen()
        os.close(self._reading)
        assert os.WIFSIGNALED(status), self.said.decode()
        assert os.WTERMSIG(status) == signal.SIGKILL

    def lines(self):
        """What was said, line by line; a line that is not finished was not said."""
        lines = self.said.decode().split("\n")[:-1]
        assert not any(line.startswith("failed") for line in lines), lines
        return [line.split(" ") for line in lines]


def die(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)


# -- the warm parent -----------------------------------------------------------------------------


def fresh(folder, name="killed.ledger"):
    path = folder / name
    PrivacyLedger.create(path, PrivacyBudget(EPSILON, 1e-5)).charge(events.gaussian(100.0), "first")
    return path


def kill(folder, kills):
    """Kill that many fitting processes; what was seen."""
    report = Counter()
    for start in range(0, kills, KILLS_A_LEDGER):
        path = fresh(folder, f"{start}.ledger")
        report.update(kill_on_one_ledger(path, min(KILLS_A_LEDGER, kills - start), start))
    return report


def kill_on_one_ledger(path, kills, seed):
    rng = random.Random(seed)
    # every other ledger is used up on the way
    noise = iter(np.arange(8.0 if seed // KILLS_A_LEDGER % 2 else 100.0, 1e6).tolist())
    children = [Child(work, path, next(noise)) for _ in range(CHILDREN)]
    dead, count = [], 1
    for number in range(kills):
        time.sleep(0.03 + rng.uniform(0, 0.03))
        victim = children.pop(rng.randrange(len(children)))
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        dead.append(victim)
        if number < kills - CHILDREN:
            children.append(Child(work, path, next(noise)))
        for child in children:  # they go on while this one looks
            child.listen()
        said = [line for child in dead + children for line in child.lines() if line[0] != "refused"]
        announced = [(int(line[0]), float(line[1])) for line in said]
        count = check(path, count, announced, [line[2] for line in said if line[2]])
    assert not children
    return {
        "kills": len(dead),
        "announced": len(announced),
        "paid but not released": count - 1 - len(announced),
        "branches announced": sum(bool(line[2]) for line in said),
        "refused": sum(line[0] == "refused" for child in dead for line in child.lines()),
    }


def kill_a_branch(folder, moment):
    """Kill one process at a chosen moment of the fit that makes a branch."""
    path = fresh(folder, f"{moment}.ledger")

    def branch(path, writing):
        ledger = PrivacyLedger.open(path)
        append = Book._append_charge
        if moment == "before the vault":
            Vault.move = die
        elif moment == "inside the vault":
            sa.event.listen(ledger._book.vault._database._engine, "commit", die)
        elif moment == "after the vault":
            Book._append_charge = die
        elif moment == "before the commit":
            Book._append_charge = lambda *arguments, **named: (append(*arguments, **named), die())
        else:
            GaussianSum.run = die
        number = fit(ledger.branch(POOL, "cohort/start", ["cohort/start"]), 50.0, ["cohort/start"])
        os.write(writing, f"{number} 50.0 cohort/start\n".encode())

    child = Child(branch, path)
    child.wait()
    ledger = PrivacyLedger.open(path)
    written = len(ledger.receipts()) == 2
    assert check(path, 1, [], []) == 1 + written
    assert ledger.accounts_of(["cohort/start"]) == (["cohort/start"] if written else [POOL])
    if not written:
        fit(ledger.branch(POOL, "cohort/start", ["q"]), 50.0, ["q"])  # takes nobody along who was left by the kill
        assert ledger.accounts_of(["cohort/start", "q"]) == [POOL, "cohort/start"]
        fit(ledger.branch(POOL, "cohort/again", ["cohort/start"]), 50.0, ["cohort/start"])
    assert len(child.lines()) == 0
    return len(child.lines()), written


def plant(folder):
    """Let the planted fault run into the same check."""
    path = fresh(folder)
    child = Child(planted, path, 50.0)
    child.wait()
    announced = [(int(line[0]), float(line[1])) for line in child.lines()]
    try:
        check(path, 1, announced, [])
    except AssertionError as error:
        return str(error)
    return "nothing"


def main(command, *arguments):
    perturb([0.0], 1.0)  # loads the sampler, so that the children need not
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if command == "kill":
            report = kill(folder, int(arguments[0]))
        else:
            seen = {moment: kill_a_branch(folder, moment) for moment in MOMENTS}
            announced, written = ({moment: pair[at] for moment, pair in seen.items()} for at in (0, 1))
            report = {"announced": announced, "written": written, "planted": plant(folder)}
    print(json.dumps(report))


if __name__ == "__main__":
    main(*sys.argv[1:])
