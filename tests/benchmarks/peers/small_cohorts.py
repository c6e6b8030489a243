"""Which numbers of a study depend on how many patients there are, and against which neighbours ε is stated."""

from __future__ import annotations

import inspect

import numpy as np

from .checks import check, refusal

SIZES, BATCH = range(8, 52), 4


@check("small_n", "Opacus")
def _() -> str:
    """The rate and the normaliser that `make_private` takes from a loader of n rows, against n + 1."""
    import torch
    from opacus import PrivacyEngine
    from torch.utils.data import DataLoader, TensorDataset

    def public_numbers(n: int) -> tuple[float, int]:
        module = torch.nn.Linear(2, 2)
        data = TensorDataset(torch.zeros(n, 2), torch.zeros(n, dtype=torch.long))
        _, optimizer, loader = PrivacyEngine(accountant="rdp").make_private(
            module=module,
            optimizer=torch.optim.SGD(module.parameters(), lr=0.1),
            data_loader=DataLoader(data, batch_size=BATCH),
            noise_multiplier=1.0,
            max_grad_norm=1.0,
        )
        return loader.sample_rate, optimizer.expected_batch_size

    found = {n: public_numbers(n) for n in (*SIZES, SIZES[-1] + 1)}
    differ = sum(found[n] != found[n + 1] for n in SIZES)
    return (
        f"of {len(SIZES)} pairs n, n + 1 (8 to 51, batches of {BATCH}) {differ} differ in rate or normaliser; "
        f"8 to 9 moves the rate from {found[8][0]:.2f} to {found[9][0]:.2f}"
    )


@check("small_n", "diffprivlib")
def _() -> str:
    """What a mean over n and n + 1 rows is divided by, without noise (ε huge)."""
    from diffprivlib.models import GaussianNB

    found = [
        GaussianNB(epsilon=1e9, bounds=(-1, 1)).fit(np.zeros((n, 1)), [0] * (n - 4) + [1] * 4).class_count_
        for n in (8, 9)
    ]
    return (
        f"class counts are released with noise: {found[0].tolist()} and {found[1].tolist()} at ε = 1e9, for n = 8 and 9"
    )


@check("small_n", "OpenDP")
def _() -> str:
    """A mean needs a size; is it checked against the rows?"""
    import opendp.prelude as dp

    dp.enable_features("contrib", "floating-point", "honest-but-curious")
    context = dp.Context.compositor(
        data=[1.0] * 9,
        privacy_unit=dp.unit_of(contributions=1),
        privacy_loss=dp.loss_of(epsilon=1e6),
        split_evenly_over=1,
        domain=dp.vector_domain(dp.atom_domain(T=float, nan=False)),
    )
    query = context.query().clamp((0.0, 1.0)).resize(8, constant=0.5).mean().laplace()
    return f"the caller states a size, and rows are cut or filled to it: a mean over 9 rows with size 8 is {query.release():.3f}"


@check("small_n", "skdpal")
def _() -> str:
    """Receipt, normaliser and certificate of n and n + 1 patients, with 40 expected."""
    from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger

    def public_numbers(n: int) -> tuple[object, ...]:
        ledger = PrivacyLedger(PrivacyBudget(2.0))
        model = DPPrototypeClassifier(4.0, classes=[0, 1], ledger=ledger)
        model.fit(np.zeros((n, 2)), [0, 1] * (n // 2) + [0] * (n % 2), expected_records=40)
        certificate = {key: ledger.certificate()[key] for key in ("epsilon", "delta", "odometer")}
        return ledger.receipts()[0].event, model.releases_[0].expected_records, certificate

    found = {n: public_numbers(n) for n in (*SIZES, SIZES[-1] + 1)}
    return f"of {len(SIZES)} pairs n, n + 1 (8 to 51) {sum(found[n] != found[n + 1] for n in SIZES)} differ"


# -- neighbours


@check("neighbours", "Opacus")
def _() -> str:
    """Whether ε can be asked for under a relation."""
    from opacus.accountants import PRVAccountant, RDPAccountant

    names = {
        kind.__name__: list(inspect.signature(kind.get_epsilon).parameters)[1:]
        for kind in (RDPAccountant, PRVAccountant)
    }
    return f"no argument for it (get_epsilon takes {', '.join(names['RDPAccountant'])}); add or remove one sample"


@check("neighbours", "diffprivlib")
def _() -> str:
    """The same."""
    from diffprivlib import BudgetAccountant
    from diffprivlib.models import GaussianNB

    taken = [*inspect.signature(BudgetAccountant).parameters, *inspect.signature(GaussianNB).parameters]
    return f"no argument for it (BudgetAccountant and GaussianNB take {', '.join(taken)})"


@check("neighbours", "OpenDP")
def _() -> str:
    """Both units, and several rows of one person."""
    import opendp.prelude as dp

    dp.enable_features("contrib")
    units = [dp.unit_of(contributions=1), dp.unit_of(changes=1), dp.unit_of(contributions=3)]
    said = "; ".join(f"{distance} under {metric}" for metric, distance in units)
    return f"chosen by the caller: {said}. Zero-out: {refusal(lambda: dp.unit_of(zeroed=1)).split(':')[0]}"


@check("neighbours", "skdpal")
def _() -> str:
    """What the certificate says of one release."""
    from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger

    ledger = PrivacyLedger(PrivacyBudget(2.0))
    DPPrototypeClassifier(4.0, classes=[0, 1], ledger=ledger).fit(np.eye(4), [0, 1, 0, 1])
    certificate = ledger.certificate()
    replaced = certificate["odometer"]["replace_one_epsilon_spent"]
    return (
        f"the certificate says {certificate['adjacency']!r}, unit {certificate['unit']!r}; for one exchanged patient it "
        f"reads ε = {replaced:.2f} where zero-out reads {certificate['odometer']['epsilon_spent']:.2f}"
    )
