"""What happens when a budget is gone, when a process dies, when two race for the rest, and over rounds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from .checks import check, in_a_process, refusal

Y = np.array([0, 1] * 20)
X = np.clip(np.random.default_rng(0).normal(size=(40, 3)) / 3, -1, 1)


# -- the budget is gone


@check("refusal", "diffprivlib")
def _() -> str:
    """Three fits of ε = 0.4 against a ceiling of 1."""
    from diffprivlib import BudgetAccountant
    from diffprivlib.models import GaussianNB

    accountant = BudgetAccountant(1.0)
    said = [refusal(lambda: GaussianNB(epsilon=0.4, bounds=(-1, 1), accountant=accountant).fit(X, Y)) for _ in range(3)]
    return f"fits 1 and 2: {said[0]}; fit 3: {said[2]}; ε = {accountant.total()[0]:.1f} recorded"


@check("refusal", "OpenDP")
def _() -> str:
    """A context that allows two queries."""
    import opendp.prelude as dp

    dp.enable_features("contrib", "floating-point", "honest-but-curious")
    context = dp.Context.compositor(
        data=[1.0] * 40,
        privacy_unit=dp.unit_of(contributions=1),
        privacy_loss=dp.loss_of(epsilon=1.0),
        split_evenly_over=2,
    )
    said = [refusal(lambda: context.query().count().laplace().release()) for _ in range(3)]
    return f"queries 1 and 2: {said[0]}; query 3: {said[2]}"


@check("refusal", "Opacus")
def _() -> str:
    """Training for twice the epochs that the budget was made for."""
    import torch
    from opacus import PrivacyEngine
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(Y))
    module = torch.nn.Linear(3, 2)
    engine = PrivacyEngine(accountant="rdp")
    module, optimizer, loader = engine.make_private_with_epsilon(
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
        data_loader=DataLoader(data, batch_size=10),
        target_epsilon=1.0,
        target_delta=1e-5,
        epochs=2,
        max_grad_norm=1.0,
    )

    def train() -> None:
        for _ in range(2):
            for rows, labels in loader:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(module(rows), labels).backward()
                optimizer.step()

    said, spent = [], []
    for _ in range(2):
        said.append(refusal(train))
        spent.append(engine.get_epsilon(1e-5))
    return f"target ε = 1 for two epochs: ε = {spent[0]:.2f} after two, {spent[1]:.2f} after four; {said[1]}: the caller stops"


@check("refusal", "skdpal")
def _() -> str:
    """Three fits that cost more than the budget; the third gets rows that nobody may read."""
    from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger

    class Untouchable:
        """Rows that tell when they are read."""

        def __len__(self) -> int:
            raise AssertionError("the rows were read")

        __getitem__ = __iter__ = __array__ = __getattr__ = lambda *_: Untouchable().__len__()

    ledger = PrivacyLedger(PrivacyBudget(1.0))
    fit = DPPrototypeClassifier(6.0, classes=[0, 1], ledger=ledger).fit
    said = [refusal(lambda: fit(X, Y)), refusal(lambda: fit(X, Y)), refusal(lambda: fit(Untouchable(), Untouchable()))]
    return f"fits 1 and 2: {said[0]}; fit 3, before its rows are read: {said[2]}"


# -- killed after the charge, before anything is returned

DIES = "import os, signal\ndie = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)\n"
ROWS = "import numpy as np\nX, y = np.eye(4) / 2, [0, 1, 0, 1]\n"


@check("killed", "diffprivlib")
def _() -> str:
    """The accountant lives in memory; it has no file."""
    study = ROWS + (
        "from diffprivlib import BudgetAccountant\n"
        "from diffprivlib.models import GaussianNB\n"
        "accountant = BudgetAccountant(1.0)\n"
    )
    fit = "GaussianNB(epsilon=0.9, bounds=(-1, 1), accountant=accountant).fit(X, y)\n"
    spend = (
        "spend = BudgetAccountant.spend\n"
        "def charged(self, *a):\n    spend(self, *a)\n    assert self.total()[0] > 0.8\n    die()\n"
        "BudgetAccountant.spend = charged\n"
    )
    in_a_process(DIES + study + spend + fit, killed=True)
    after = in_a_process(study + "print(accountant.total()[0])\n" + fit)
    return f"the next process starts at ε = {after}, and fits again"


@check("killed", "OpenDP")
def _() -> str:
    """The context lives in memory."""
    study = (
        "import opendp.prelude as dp\ndp.enable_features('contrib', 'floating-point')\n"
        "context = dp.Context.compositor(data=[1.0] * 9, privacy_unit=dp.unit_of(contributions=1),"
        " privacy_loss=dp.loss_of(epsilon=1.0), split_evenly_over=1)\n"
    )
    release = "context.query().count().laplace().release()\n"
    in_a_process(DIES + study + release + "die()\n", killed=True)
    return "the next process starts anew, and releases again" if in_a_process(study + release + "print(1)") else ""


@check("killed", "Opacus")
def _() -> str:
    """The accountant lives in memory, unless its state is saved by hand; here after a step, which comes too late."""
    study = (
        "import torch\nfrom opacus import PrivacyEngine\nfrom torch.utils.data import DataLoader, TensorDataset\n"
        "engine, module = PrivacyEngine(accountant='rdp'), torch.nn.Linear(3, 2)\n"
        "data = TensorDataset(torch.zeros(8, 3), torch.zeros(8, dtype=torch.long))\n"
        "module, optimizer, loader = engine.make_private(module=module, noise_multiplier=1.0, max_grad_norm=1.0,"
        " optimizer=torch.optim.SGD(module.parameters(), lr=0.1), data_loader=DataLoader(data, batch_size=4))\n"
    )
    step = (
        "for rows, labels in loader:\n    optimizer.zero_grad()\n"
        "    torch.nn.functional.cross_entropy(module(rows), labels).backward()\n    optimizer.step()\n    die()\n"
    )
    in_a_process(DIES + study + step, killed=True)
    after = in_a_process(study + "print(len(engine.accountant.history))")
    return f"the next process knows of {after} steps; `accountant.state_dict()` can be saved by hand"


@check("killed", "skdpal")
def _() -> str:
    """A ledger in a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "study.ledger")
        made = (
            "from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger\n"
            f"ledger = PrivacyLedger.create({path!r}, PrivacyBudget(2.0))\n"
            "from skdpal.privacy.mechanisms import GaussianSum\nGaussianSum.run = die\n"
        )
        fit = "DPPrototypeClassifier(4.0, classes=[0, 1], ledger=ledger).fit(X, y)\n"
        in_a_process(DIES + ROWS + made + fit, killed=True)
        after = in_a_process(
            f"from skdpal import PrivacyLedger\nledger = PrivacyLedger.open({path!r})\n"
            "print(len(ledger.receipts()), round(ledger.spent(), 2))"
        )
    receipts, spent = after.split()
    return f"the next process finds {receipts} receipt, ε = {spent}: charged, though nothing was returned"


# -- two processes, and budget for one


def race(make: str, spend: str) -> int:
    """How many of two forked processes were served."""
    return int(
        in_a_process(
            make
            + "import multiprocessing as mp\n"
            + f"def go(gate, answers):\n    gate.wait()\n    try:\n        {spend}\n        answers.put(1)\n"
            + "    except Exception:\n        answers.put(0)\n"
            + "context = mp.get_context('fork')\ngate, answers = context.Barrier(2), context.Queue()\n"
            + "both = [context.Process(target=go, args=(gate, answers)) for _ in range(2)]\n"
            + "[one.start() for one in both]\nprint(sum(answers.get(timeout=60) for _ in both))\n[one.join() for one in both]\n"
        )
    )


@check("race", "diffprivlib")
def _() -> str:
    """One accountant, two forked workers."""
    make = (
        "from diffprivlib import BudgetAccountant\nfrom diffprivlib.tools import mean\n"
        "accountant = BudgetAccountant(1.0)\n"
    )
    served = race(make, "mean([0.1, 0.9], epsilon=0.9, bounds=(0, 1), accountant=accountant)")
    return f"{served} of 2 served"


@check("race", "skdpal")
def _() -> str:
    """One ledger in a file, two forked workers."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "study.ledger")
        make = (
            "from skdpal import PrivacyBudget, PrivacyLedger\nfrom skdpal.privacy import calibrate, events\n"
            f"budget = PrivacyBudget(1.0)\nPrivacyLedger.create({path!r}, budget)\n"
            "event = events.gaussian(calibrate(events.gaussian, budget) * 1.1)\n"
        )
        served = race(make, f"PrivacyLedger.open({path!r}).charge(event, 'the last of it')")
    return f"{served} of 2 served"


# -- rounds

ROUNDS, SIGMA, DELTA = 5, 4.0, 1e-5


@check("rounds", "Opacus")
def _() -> str:
    """Five trainings of ten full-batch steps on everybody so far, by its accountants, each with what five cost together."""
    from opacus.accountants import create_accountant

    found = []
    for kind in ("rdp", "prv"):
        spent = []
        for rounds in (1, ROUNDS):
            accountant = create_accountant(kind)
            accountant.history = [(SIGMA * 10**0.5, 1.0, 10 * rounds)]
            spent.append(accountant.get_epsilon(delta=DELTA))
        found.append(f"{spent[0]:.2f} and {spent[1]:.2f} ({kind.upper()})")
    return f"one round and {ROUNDS}, retrained on all labels: ε = {', '.join(found)}"


@check("rounds", "skdpal")
def _() -> str:
    """A start and five hidden rounds at the same noise: whoever is accepted is trained on once."""
    from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger, PrivateActiveLearner, PrivateQuery

    ledger, ids = PrivacyLedger(PrivacyBudget(2.0)), np.array([f"p{at}" for at in range(40)])
    learner = PrivateActiveLearner(
        DPPrototypeClassifier(SIGMA, classes=[0, 1]),
        PrivateQuery(n_pool=32),
        X[:8],
        Y[:8],
        ledger=ledger,
        record_ids=ids[:8],
    )
    one = ledger.spent()
    for _ in range(ROUNDS):
        chosen, rows = learner.query(X[8:], 4, record_ids=ids[8:])
        learner.teach(rows, Y[8:][chosen], record_ids=ids[8:][chosen])
    return f"the start and {ROUNDS} rounds, each on its own cohort: ε = {one:.2f} and {ledger.spent():.2f} a patient"
