"""Inside scikit-learn: clones, pipelines, searches, and what is recorded of them."""

from __future__ import annotations

import numpy as np

from .checks import check, refusal

RANDOM = np.random.default_rng(0)
Y = np.array([0, 1] * 30)
X = np.clip(RANDOM.normal(size=(60, 3)) / 3 + Y[:, None] - 0.5, -1, 1)
FITS = 11  # two candidates, five folds, one refit


@check("search", "diffprivlib")
def _() -> str:
    """GridSearchCV over ε in {½, 0.9}: budget 1, given to the estimator, or as the default; in one process and in two."""
    from diffprivlib import BudgetAccountant
    from diffprivlib.models import GaussianNB
    from sklearn.model_selection import GridSearchCV

    def searched(accountant, n_jobs, more=lambda: None):
        model = GaussianNB(bounds=(-1, 1), priors=None, accountant=accountant)
        found = GridSearchCV(model, {"epsilon": [0.5, 0.9]}, cv=5, n_jobs=n_jobs).fit(X, Y)
        cost = 5 * 0.5 + 5 * 0.9 + found.best_params_["epsilon"]
        return cost

    own = BudgetAccountant(1.0)
    cost = searched(own, 1)
    given = own.total()[0]
    defaults = []
    for n_jobs in (1, 2):
        with BudgetAccountant() as default:
            searched(None, n_jobs)
        defaults.append(default.total()[0])
    return (
        f"{FITS} fits that cost ε = {cost:.1f}. An accountant with ceiling 1 given to the estimator: no error, "
        f"{given:g} recorded. The default accountant: {defaults[0]:g}; with n_jobs=2: {defaults[1]:g}"
    )


@check("search", "skdpal")
def _() -> str:
    """GridSearchCV over two noise multipliers, the ledger in a file; budget for all of it, and for less."""
    import tempfile
    from pathlib import Path

    from sklearn.model_selection import GridSearchCV, KFold

    from skdpal import DPPrototypeClassifier, PrivacyBudget, PrivacyLedger

    found = []
    with tempfile.TemporaryDirectory() as folder:
        for number, (epsilon, n_jobs) in enumerate([(8.0, 1), (8.0, 2), (1.0, 1)]):
            ledger = PrivacyLedger.create(Path(folder) / f"{number}.ledger", PrivacyBudget(epsilon))
            model = DPPrototypeClassifier(classes=[0, 1], ledger=ledger)
            search = GridSearchCV(
                model, {"noise_multiplier": [8.0, 6.0]}, cv=KFold(5), n_jobs=n_jobs, error_score="raise"
            )
            said = refusal(lambda search=search: search.fit(X, Y)).split(":")[0]
            found.append((len(ledger.receipts()), ledger.spent(), said))
    (one, two, less) = found
    return (
        f"{one[0]} receipts, ε = {one[1]:.2f}; with n_jobs=2: {two[0]}, ε = {two[1]:.2f}. With a budget of 1: {less[2]} "
        f"at ε = {less[1]:.2f}, after {less[0]} fits (error_score='raise'; scikit-learn's default turns it into nan)"
    )


@check("search", "Opacus")
def _() -> str:
    """Its engine is not an estimator."""
    from opacus import PrivacyEngine
    from sklearn.base import clone

    return f"clone(PrivacyEngine()): {refusal(lambda: clone(PrivacyEngine()))}"


@check("search", "OpenDP")
def _() -> str:
    """Its one estimator, PCA, in a search: how many fits, and whether a second fit of one object is refused."""
    import opendp.prelude as dp
    from sklearn.model_selection import GridSearchCV

    dp.enable_features("contrib", "floating-point", "honest-but-curious")
    fits, PCA = [], dp.sklearn.decomposition.PCA

    class Counted(PCA):
        """Counts."""

        def fit(self, X, y=None):  # noqa: ANN001, ANN202
            """Release."""
            fits.append(self.epsilon)
            return super().fit(X)

    def make():
        return Counted(epsilon=0.5, row_norm=2.0, n_samples=48, n_features=3, n_components=2)

    def searched():
        return GridSearchCV(
            make(),
            {"epsilon": [0.5, 0.9]},
            cv=5,
            refit=False,
            scoring=lambda model, X, y=None: 0.0,
            error_score="raise",
        ).fit(X)

    first = refusal(searched)
    again = make().fit(X[:48])
    return (
        f"PCA in GridSearchCV, ten folds: {first}; {len(fits) - 1} fits, ε recorded nowhere. "
        f"A second fit of one object: {refusal(lambda: again.fit(X[:48]))}"
    )


@check("search", "modAL")
def _() -> str:
    """A learner with training data, cloned."""
    from modAL.models import ActiveLearner
    from sklearn.base import clone
    from sklearn.linear_model import LogisticRegression

    learner = ActiveLearner(LogisticRegression(), X_training=X[:10], y_training=Y[:10])
    said = refusal(lambda: clone(learner))
    return f"clone(ActiveLearner): {said}; it has no budget to record"


@check("search", "scikit-activeml")
def _() -> str:
    """Its classifiers are estimators."""
    from skactiveml.classifier import ParzenWindowClassifier
    from sklearn.model_selection import GridSearchCV

    search = GridSearchCV(ParzenWindowClassifier(classes=[0, 1]), {"n_neighbors": [3, 5]}, cv=5)
    return f"GridSearchCV(ParzenWindowClassifier): {refusal(lambda: search.fit(X, Y))}; it has no budget to record"
