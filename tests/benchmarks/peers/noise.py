"""Where noise comes from, and what becomes of NaN and infinity."""

from __future__ import annotations

import numpy as np

from .checks import check, refusal

Y = np.array([0, 1] * 20)
X = np.clip(np.random.default_rng(0).normal(size=(40, 3)) / 3 + (Y[:, None] - 0.5) / 2, -1, 1)


def equal(first: object, second: object) -> str:
    """In words."""
    return "equal" if np.array_equal(np.asarray(first), np.asarray(second)) else "different"


# -- two runs after the same seed


@check("seed", "diffprivlib")
def _() -> str:
    """random_state, and numpy's global seed."""
    from diffprivlib.models import LogisticRegression

    def fitted(state: int | None) -> np.ndarray:
        np.random.seed(0)
        return LogisticRegression(epsilon=1.0, data_norm=2.0, random_state=state).fit(X, Y).coef_

    return f"random_state=0: noise is {equal(fitted(0), fitted(0))}; None: {equal(fitted(None), fitted(None))}"


@check("seed", "Opacus")
def _() -> str:
    """torch's global seed; and secure_mode."""
    import torch
    from opacus import PrivacyEngine
    from torch.utils.data import DataLoader, TensorDataset

    def fitted() -> np.ndarray:
        torch.manual_seed(0)
        module = torch.nn.Linear(3, 2)
        module, optimizer, loader = PrivacyEngine(accountant="rdp").make_private(
            module=module,
            optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
            data_loader=DataLoader(TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(Y)), batch_size=20),
            noise_multiplier=1.0,
            max_grad_norm=1.0,
        )
        for rows, labels in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(module(rows), labels).backward()
            optimizer.step()
        return module._module.weight.detach().numpy()

    secure = refusal(lambda: PrivacyEngine(secure_mode=True))
    return f"torch.manual_seed(0): weights, noise included, are {equal(fitted(), fitted())}; secure_mode=True: {secure}"


@check("seed", "OpenDP")
def _() -> str:
    """It takes no seed; numpy's does nothing."""
    import opendp.prelude as dp

    dp.enable_features("contrib", "floating-point")
    space = dp.atom_domain(T=float, nan=False), dp.absolute_distance(T=float)
    measurement = space >> dp.m.then_gaussian(1.0)

    def drawn() -> float:
        np.random.seed(0)
        return measurement(0.0)

    return f"no argument; after np.random.seed(0) noise is {equal(drawn(), drawn())}"


@check("seed", "skdpal")
def _() -> str:
    """numpy's global seed outside of a simulation, and a simulation, which a real ledger refuses."""
    from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
    from skdpal.privacy.randomness import simulation

    def fitted(ledger: object) -> np.ndarray:
        np.random.seed(0)
        return DPPrototypeClassifier(4.0, classes=[0, 1], ledger=ledger).fit(X, Y).release_[0]

    ledger = PrivacyLedger(PrivacyBudget(2.0))
    first, second = fitted(ledger), fitted(ledger)
    with simulation(0):
        said = refusal(lambda: fitted(ledger)).split(":")[0]
    return (
        f"no argument; after np.random.seed(0) noise is {equal(first, second)}; simulation(0) on a real ledger: {said}"
    )


# -- a row that is not a number


def with_bad(value: float) -> np.ndarray:
    """The rows, one of them spoilt."""
    rows = X.copy()
    rows[5, 1] = value
    return rows


@check("bad_rows", "diffprivlib")
def _() -> str:
    """Classifier and mean."""
    from diffprivlib import BudgetAccountant
    from diffprivlib.models import GaussianNB
    from diffprivlib.tools import mean

    accountant, found = BudgetAccountant(9.0), []
    for value in (np.nan, np.inf):
        model = GaussianNB(epsilon=1.0, bounds=(-1, 1), accountant=accountant)
        found.append(refusal(lambda model=model, value=value: model.fit(with_bad(value), Y)).split(":")[0])
    of_mean = [mean(with_bad(value)[:, 1], epsilon=1.0, bounds=(-1, 1)) for value in (np.nan, np.inf)]
    finite = ["finite" if np.isfinite(one) else str(one) for one in of_mean]
    return f"GaussianNB: {' and '.join(found)}, ε = {accountant.total()[0]:g} recorded; mean of NaN and of inf: {' and '.join(finite)}"


@check("bad_rows", "OpenDP")
def _() -> str:
    """A Laplace measurement whose domain excludes NaN; and a clamped sum."""
    import opendp.prelude as dp

    dp.enable_features("contrib", "floating-point", "honest-but-curious")
    space = dp.atom_domain(T=float, nan=False), dp.absolute_distance(T=float)
    measurement = space >> dp.m.then_laplace(1.0)
    found = [measurement(value) for value in (float("nan"), float("inf"))]
    said = ["near 0" if abs(one) < 100 else f"{one:.2g}" for one in found]
    return f"Laplace noise on NaN, though the domain excludes it: a number {said[0]}; on inf: {said[1]}"


@check("bad_rows", "Opacus")
def _() -> str:
    """A step on a batch with one NaN."""
    import torch
    from opacus import PrivacyEngine
    from torch.utils.data import DataLoader, TensorDataset

    module = torch.nn.Linear(3, 2)
    rows = torch.tensor(with_bad(np.nan), dtype=torch.float32)
    module, optimizer, loader = PrivacyEngine(accountant="rdp").make_private(
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
        data_loader=DataLoader(TensorDataset(rows, torch.tensor(Y)), batch_size=40),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
    )
    for batch, labels in loader:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(module(batch), labels).backward()
        optimizer.step()
    lost = int(torch.isnan(module._module.weight).sum())
    return f"no error; {lost} of 6 weights become NaN, which tells that the row was there"


@check("bad_rows", "skdpal")
def _() -> str:
    """Whether the fit goes on, and what is charged."""
    from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger

    found = []
    for value in (np.nan, np.inf):
        ledger = PrivacyLedger(PrivacyBudget(2.0))
        model = DPPrototypeClassifier(4.0, classes=[0, 1], ledger=ledger)
        said = refusal(lambda model=model, value=value: model.fit(with_bad(value), Y))
        found.append(f"{said.split(':')[0]}, {len(ledger.receipts())} receipts")
    return f"NaN: {found[0]}; inf: {found[1]}"
