"""What stays on disk: records of what was spent, and patients' rows in pickles."""

from __future__ import annotations

import json
import pickle
import tempfile
from pathlib import Path

import numpy as np

from .checks import check, refusal

Y = np.array([0, 1] * 20)
X = np.clip(np.random.default_rng(0).normal(size=(40, 3)) / 3 + (Y[:, None] - 0.5) / 2, -1, 1)


def rows_in(stored: bytes) -> str:
    """How many rows are in a pickle, byte by byte, as they are or in single precision, by row or by column."""
    found = 0
    for row in X:
        forms = [np.ascontiguousarray(row), np.ascontiguousarray(row.astype(np.float32))]
        found += any(form.tobytes() in stored or all(number.tobytes() in stored for number in form) for form in forms)
    return f"{found} of {len(X)} rows"


@check("pickle", "modAL")
def _() -> str:
    """A learner."""
    from modAL.models import ActiveLearner
    from sklearn.linear_model import LogisticRegression

    return rows_in(pickle.dumps(ActiveLearner(LogisticRegression(), X_training=X, y_training=Y)))


@check("pickle", "scikit-activeml")
def _() -> str:
    """Two of its classifiers."""
    from skactiveml.classifier import ParzenWindowClassifier, SklearnClassifier
    from sklearn.linear_model import LogisticRegression

    models = {
        "ParzenWindowClassifier": ParzenWindowClassifier(classes=[0, 1]),
        "SklearnClassifier(LogisticRegression)": SklearnClassifier(LogisticRegression(), classes=[0, 1]),
    }
    return "; ".join(f"{name}: {rows_in(pickle.dumps(model.fit(X, Y)))}" for name, model in models.items())


@check("pickle", "diffprivlib")
def _() -> str:
    """A fitted classifier."""
    from diffprivlib.models import LogisticRegression

    return rows_in(pickle.dumps(LogisticRegression(epsilon=1.0, data_norm=2.0).fit(X, Y)))


@check("pickle", "Opacus")
def _() -> str:
    """The wrapped module, and its state_dict, after a step."""
    import torch
    from opacus import PrivacyEngine
    from torch.utils.data import DataLoader, TensorDataset

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
    return f"state_dict: {rows_in(pickle.dumps(module.state_dict()))}"


@check("pickle", "skdpal")
def _() -> str:
    """A learner after a query and a lesson, its classifier, and the ledger's two files."""
    from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger, PrivateActiveLearner, PrivateQuery

    ids = np.array([f"p{at}" for at in range(40)])
    with tempfile.TemporaryDirectory() as folder:
        ledger = PrivacyLedger.create(Path(folder) / "study.ledger", PrivacyBudget(2.0))
        learner = PrivateActiveLearner(
            DPPrototypeClassifier(6.0, classes=[0, 1]),
            PrivateQuery(n_pool=30),
            X[:10],
            Y[:10],
            ledger=ledger,
            record_ids=ids[:10],
        )
        chosen, rows = learner.query(X[10:], 20, record_ids=ids[10:])
        learner.teach(rows, Y[10:][chosen], record_ids=ids[10:][chosen])
        files = b"".join(path.read_bytes() for path in Path(folder).iterdir())
        return (
            f"learner: {rows_in(pickle.dumps(learner))}; classifier: {rows_in(pickle.dumps(learner.estimator))}; "
            f"ledger and vault: {rows_in(files)}"
        )


# -- the record of what was spent


@check("record", "diffprivlib")
def _() -> str:
    """What an accountant can be written as."""
    from diffprivlib import BudgetAccountant
    from diffprivlib.tools import mean

    accountant = BudgetAccountant(1.0)
    mean(Y, epsilon=0.5, bounds=(0, 1), accountant=accountant)
    again = pickle.loads(pickle.dumps(accountant))  # noqa: S301
    methods = [name for name in ("save", "to_json", "certificate", "serialize") if hasattr(accountant, name)]
    return f"{accountant!r}; pickles ({again.total()[0]:.1f} kept); methods to save it: {methods or 'none'}"


@check("record", "Opacus")
def _() -> str:
    """The accountant's state."""
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    for _ in range(3):
        accountant.step(noise_multiplier=1.0, sample_rate=0.1)
    return f"state_dict: {json.dumps(dict(accountant.state_dict()))}; ε can be recomputed from it"


@check("record", "OpenDP")
def _() -> str:
    """A measurement, and a context after a query."""
    import opendp.prelude as dp

    dp.enable_features("contrib", "floating-point")
    measurement = dp.m.make_laplace(dp.atom_domain(T=float, nan=False), dp.absolute_distance(T=float), 1.0)
    context = dp.Context.compositor(
        data=[1.0] * 9,
        privacy_unit=dp.unit_of(contributions=1),
        privacy_loss=dp.loss_of(epsilon=1.0),
        split_evenly_over=1,
    )
    context.query().count().laplace().release()
    said = {
        name: refusal(lambda one=one: dp.serialize(one)).split(":")[0]
        for name, one in (("measurement", measurement), ("context", context))
    }
    return "; ".join(f"serialize({name}): {words}" for name, words in said.items())


@check("record", "skdpal")
def _() -> str:
    """A chained journal on disk, and a certificate from which ε is recomputed."""
    import math

    from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger
    from skdpal.privacy.accounting.gaussian import epsilon_of_mu

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.ledger"
        ledger = PrivacyLedger.create(path, PrivacyBudget(2.0))
        model = DPPrototypeClassifier(8.0, classes=[0, 1], ledger=ledger).fit(X, Y)
        model.partial_fit(X, Y)
        certificate = json.loads(json.dumps(PrivacyLedger.open(path).certificate()))
    mu = math.sqrt(
        sum(one["event"]["steps"] / one["event"]["noise_multiplier"] ** 2 for one in certificate["receipts"])
    )
    again, said = epsilon_of_mu(mu, certificate["delta"]), certificate["odometer"]["epsilon_spent"]
    return (
        f"reopened after the process: {len(certificate['receipts'])} receipts; ε spent {said:.3f}, recomputed from the "
        f"receipts {again:.3f}; journal head {certificate['journal_head'][:8]}..."
    ).replace(certificate["journal_head"][:8] + "...", f"of {len(certificate['journal_head'])} digits")
