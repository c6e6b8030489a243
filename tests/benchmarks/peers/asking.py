"""The same question twice."""

from __future__ import annotations

import numpy as np

from .checks import check, refusal

Y = np.array([0, 1] * 20)
X = np.clip(np.random.default_rng(0).normal(size=(40, 3)) / 3, -1, 1)


@check("twice", "diffprivlib")
def _() -> str:
    """A noisy mean."""
    from diffprivlib import BudgetAccountant
    from diffprivlib.tools import mean

    accountant = BudgetAccountant(2.0)
    found = {mean(Y, epsilon=0.5, bounds=(0, 1), accountant=accountant) for _ in range(2)}
    return f"{len(found)} different answers, ε = {accountant.total()[0]:.1f} for ½ each"


@check("twice", "OpenDP")
def _() -> str:
    """A noisy count, by one query object."""
    import opendp.prelude as dp

    dp.enable_features("contrib", "floating-point")
    context = dp.Context.compositor(
        data=[1.0] * 1000,
        privacy_unit=dp.unit_of(contributions=1),
        privacy_loss=dp.loss_of(epsilon=0.01),
        split_evenly_over=2,
    )
    query = context.query().count().laplace()
    found = {query.release() for _ in range(2)}
    return f"{len(found)} different answers; a third: {refusal(query.release)}"


@check("twice", "skdpal")
def _() -> str:
    """A sum under a name, asked for again."""
    from skdpal import PrivacyBudget, PrivacyLedger
    from skdpal.privacy.mechanisms import GaussianSum, release

    ledger, found = PrivacyLedger(PrivacyBudget(2.0)), set()
    for _ in range(3):
        asked = ledger.within("cohort", question="mean expression")
        found.add(tuple(release(lambda: X, GaussianSum(8.0), asked, "sum", record_ids=list(map(str, range(40))))))
    return f"asked three times: answers {len(found)}, receipts {len(ledger.receipts())}, ε = {ledger.spent():.2f}"
