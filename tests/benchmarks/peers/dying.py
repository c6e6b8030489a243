"""A process is killed after the charge and before the answer; two processes race for the rest of a budget."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .checks import check, in_a_process

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
