"""What happens when a budget is gone, and what rounds cost."""

from __future__ import annotations

import numpy as np

from .checks import check, refusal

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
