"""Private logistic regression for cohorts with signal to spare: a few noisy full-batch gradient steps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from skdpal.estimators.display import BudgetRepr
from skdpal.estimators.patients import expected_number, read_patients, refuse_weights
from skdpal.estimators.prior import PublicPrior, unit_ball
from skdpal.estimators.regime import kappa, recommended_steps, warn_if_weak
from skdpal.estimators.rows import validated
from skdpal.estimators.scoring import exact_score, void_if_scored
from skdpal.privacy import events
from skdpal.privacy.identities import sum_by_patient
from skdpal.privacy.mechanisms import release, require_ledger
from skdpal.privacy.randomness import perturb
from skdpal.privacy.validation import check_count, check_finite, check_real

__all__ = ["DPLinearClassifier"]

Array = NDArray[np.float64]

_ROOT2 = float(np.sqrt(2.0))
_MARGIN = 1 - 1e-9  # float64 sums of clipped gradients stay within the sensitivity


class DPLinearClassifier(BudgetRepr, ClassifierMixin, BaseEstimator):
    """Multinomial logistic regression by a few steps of noisy full-batch gradient descent.

    For κ = n μ/√d above 8, where one release of prototypes leaves signal unused: cohorts of hundreds or
    thousands. Below, `DPPrototypeClassifier` is better.

    Parameters
    ----------
    noise_multiplier : float, default=2.0
        Noise of the whole fit, in units of the clipping norm: a fit costs as much as one Gaussian release with this
        multiplier, however many steps it has. Each step's noise is √steps times larger.
    prior : PublicPrior, optional
        From `prior_from_public` of `DPPrototypeClassifier`: descent starts at the public model, and is drawn to it by `l2`.
    classes : sequence, optional
        All labels that may occur. Default: those of `prior`.
    ledger : PrivacyLedger or Handle, optional
        Who pays. None is allowed inside `simulation` only.
    steps : int or "auto", default="auto"
        Number of noisy gradients; "auto" takes 1, 4 or 16 by κ (`skdpal.estimators.regime.recommended_steps`), from
        public numbers.
    learning_rate : float or "auto", default="auto"
        "auto" is 24/√steps, the best of a few on simulated cohorts of κ 19 to 180.
    clipping_norm : float, default=1.0
        Public bound on the L2 norm of a patient's gradient, whose natural bound is √2.
    l2 : float, default=0.01
        Strength of the pull to the public model (to zero without one), per patient.

    Attributes
    ----------
    coef_ : ndarray of shape (n_classes, n_features)
    intercept_ : ndarray of shape (n_classes,)
        Averages of the weights after each step of the second half of the descent.
    steps_ : int
        Steps of the latest fit.
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If X had names.

    Notes
    -----
    Charged: `events.gaussian(noise_multiplier)` by each `fit` and `partial_fit`, before X is read: T steps, each of
    multiplier noise_multiplier √T, are one Gaussian release of μ = 1/noise_multiplier (Dong, Roth and Su 2022).
    `predict` and `predict_proba` are free. Rows longer than 1 are scaled to length 1. All rows of a patient are
    summed, then clipped (Abadi et al. 2016); few, large, full-batch steps suit a few hundred patients.

    Examples
    --------
    >>> import numpy as np, skdpal
    >>> X = np.random.default_rng(0).normal(size=(600, 4)) / 4
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> model = skdpal.DPLinearClassifier(noise_multiplier=2.2, classes=[0, 1], ledger=ledger)
    >>> model = model.fit(X, (X[:, 0] > 0).astype(int), record_ids=range(600))
    >>> model.steps_, model.predict_proba(X).shape
    (16, (600, 2))
    """

    def __init__(
        self,
        noise_multiplier: float = 2.0,
        prior: PublicPrior | None = None,
        classes: Any = None,
        ledger: Any = None,
        *,
        steps: Any = "auto",
        learning_rate: Any = "auto",
        clipping_norm: float = 1.0,
        l2: float = 0.01,
    ) -> None:
        self.noise_multiplier = noise_multiplier
        self.prior = prior
        self.classes = classes
        self.ledger = ledger
        self.steps = steps
        self.learning_rate = learning_rate
        self.clipping_norm = clipping_norm
        self.l2 = l2

    def privacy_event(self, n_records: float | None = None) -> events.Event:
        """What one `fit` or `partial_fit` costs, whatever the number of records and steps."""
        return events.gaussian(self.noise_multiplier)

    def fit(
        self, X: Any, y: Any, *, record_ids: Any = None, expected_records: float | None = None, **unknown: Any
    ) -> Self:
        """Charge, then descend from the public model, or from zero.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            At least one row.
        y : array-like of shape (n_rows,)
            Labels, all in `classes`.
        record_ids : sequence of length n_rows, optional
            The patients; rows of one patient are clipped together.
        expected_records : float, optional
            The public number of patients, which normalises every step. Default: the number in X, unless a
            hidden selection was made, after which the true number is private and the expectation must be given.

        Raises
        ------
        BudgetExhausted
            Before X is read.
        """
        refuse_weights("fit", unknown)
        return self._learn(X, y, None, record_ids, expected_records, first=True, least=1)

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        *,
        record_ids: Any = None,
        expected_records: float | None = None,
        **unknown: Any,
    ) -> Self:
        """Charge, then descend from the present weights on a new cohort only.

        The pull is to the present weights, and as strong as all earlier cohorts together. Zero rows are a cohort:
        charged and released. Parameters as in `fit`.
        """
        refuse_weights("partial_fit", unknown)
        first = not hasattr(self, "coef_")
        return self._learn(X, y, classes, record_ids, expected_records, first=first, least=0)

    def decision_function(self, X: Any) -> Array:
        """Log-odds of shape (n_rows, n_classes); of shape (n_rows,) for two classes, in favour of the second."""
        check_is_fitted(self, "coef_")
        rows = unit_ball(check_finite("X", validated(self, X, reset=False)))
        scores = rows @ self.coef_.T + self.intercept_
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_proba(self, X: Any) -> Array:
        """Probabilities of shape (n_rows, n_classes)."""
        scores = self.decision_function(X)
        return softmax(np.column_stack([np.zeros(len(scores)), scores]) if scores.ndim == 1 else scores, axis=1)

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest label of each row."""
        best = np.argmax(self.predict_proba(X), axis=1)
        return self.classes_[best]

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, public: bool = False) -> float:
        """Exact accuracy: free on public data (`public=True`), else the ledger's certificate becomes void."""
        check_is_fitted(self, "coef_")
        exact_score(self, public)
        return super().score(X, y, sample_weight)

    def fingerprint(self) -> str:
        """Digest of the released weights; it names the round in which a query is asked."""
        check_is_fitted(self, "coef_")
        return hashlib.sha256(self.coef_.tobytes() + self.intercept_.tobytes()).hexdigest()

    # -- inside ------------------------------------------------------------------------------

    def _learn(
        self, X: Any, y: Any, classes: Any, record_ids: Any, expected: float | None, *, first: bool, least: int
    ) -> Self:
        ledger = require_ledger(self.ledger)
        label = "fit" if first else f"partial_fit {self.cohorts_}"
        if ledger is not None:
            ledger.require(self.privacy_event(), label)
            expected_number(ledger, expected)
        patients = read_patients(
            self,
            X,
            y,
            classes=self._public_classes(classes) if first else classes,
            record_ids=record_ids,
            expected_records=expected,
            first=first,
            least=least,
        )
        void_if_scored(ledger)
        rows, n_classes = unit_ball(patients.rows), len(patients.classes)
        start = self._public_weights(rows.shape[1], patients.classes) if first else self._weights()
        earlier = 0.0 if first else self.records_
        descent = self._descent(start, patients.expected_records, earlier)
        if first and self.prior is None:
            warn_if_weak(patients.expected_records, float(self.noise_multiplier), rows.shape[1], stacklevel=4)
        table = np.column_stack([rows, np.ones(len(rows))]) / _ROOT2
        truth = np.eye(n_classes)[patients.codes]
        weights = release(lambda: (table, truth), descent, ledger, label, record_ids=patients.ids)
        self.classes_, self.steps_ = patients.classes, descent.steps
        self.coef_, self.intercept_ = weights[:, :-1] / _ROOT2, weights[:, -1] / _ROOT2
        self.cohorts_ = 1 if first else self.cohorts_ + 1
        self.records_ = earlier + patients.expected_records
        return self

    def _descent(self, start: Array, expected: float, earlier: float) -> NoisyDescent:
        strength = kappa(expected, self.noise_multiplier, start.shape[1] - 1)
        steps = recommended_steps(strength) if self.steps == "auto" else check_count("steps", self.steps, least=1)
        rate = 24.0 / steps**0.5 if self.learning_rate == "auto" else self.learning_rate
        size = max(expected, 1.0)
        pull = check_real("l2", self.l2, above=0.0, closed=True) + earlier / size * 0.1
        return NoisyDescent(
            float(check_real("noise_multiplier", self.noise_multiplier, above=0.0)),
            steps,
            check_real("clipping_norm", self.clipping_norm, above=0.0),
            check_real("learning_rate", rate, above=0.0),
            pull,
            size,
            start,
        )

    def _public_classes(self, given: Any) -> Any:
        given = self.classes if given is None else given
        if self.prior is not None:
            if given is not None and not np.array_equal(np.unique(np.asarray(given)), self.prior.classes):
                raise ValueError(
                    f"Expected classes to be those of the prior, {self.prior.classes.tolist()}. Found {given!r}. "
                    "Make the prior from public data of the same classes."
                )
            return self.prior.classes
        return given

    def _public_weights(self, n_features: int, classes: NDArray[Any]) -> Array:
        """Those of the public model, for rows [x, 1]/√2; zero without a prior."""
        if self.prior is None:
            return np.zeros((len(classes), n_features + 1))
        means, variance = self.prior.means, self.prior.within_variance
        if means.shape[1] != n_features:
            raise ValueError(
                f"Expected X to have the {means.shape[1]} columns of the prior. Found {n_features}. "
                "Embed public and private data with the same PublicEncoder."
            )
        bias = -(means**2).sum(axis=1) / (2 * variance)
        return np.column_stack([means / variance, bias]) * _ROOT2

    def _weights(self) -> Array:
        return np.column_stack([self.coef_, self.intercept_]) * _ROOT2


@dataclass(frozen=True)
class NoisyDescent:
    """The mechanism: `steps` noisy sums of clipped gradients, each used for one step.

    Attributes
    ----------
    noise_multiplier : float
        Of the whole; each step has √steps times as much.
    steps : int
    clipping_norm, learning_rate, pull : float
        Public.
    size : float
        Public number of patients that divides every sum.
    start : ndarray of shape (n_classes, n_features + 1)
        Public, or released earlier.
    """

    noise_multiplier: float
    steps: int
    clipping_norm: float
    learning_rate: float
    pull: float
    size: float
    start: Array
    one_row_each: ClassVar[bool] = False

    @property
    def event(self) -> events.Event:
        """The price: μ = 1 / noise_multiplier."""
        return events.gaussian(self.noise_multiplier)

    def run(self, values: tuple[Array, Array], ids: Sequence[str]) -> Array:
        """The weights. Only `release` calls this, after the charge."""
        rows, truth = values
        weights, total, kept = self.start, np.zeros_like(self.start), 0
        scale = self.noise_multiplier * self.steps**0.5 * (1 + 1e-12) * self.clipping_norm  # the root is rounded
        reach = self.learning_rate * self.pull
        for step in range(self.steps):
            slope = perturb(self._clipped_sum(rows, truth, weights, ids), scale) / self.size
            # the pull is taken implicitly, so that a strong one cannot overshoot
            weights = (weights - self.learning_rate * slope + reach * self.start) / (1 + reach)
            if 2 * step + 2 > self.steps:  # Polyak's average, of the second half
                total, kept = total + weights, kept + 1
        return total / kept

    def _clipped_sum(self, rows: Array, truth: Array, weights: Array, ids: Sequence[str]) -> Array:
        errors = softmax(rows @ weights.T, axis=1) - truth
        slopes = (errors[:, :, None] * rows[:, None, :]).reshape(len(rows), weights.size)
        patients = sum_by_patient(slopes, ids)
        norms = np.sqrt(np.einsum("ij,ij->i", patients, patients))
        factors = np.minimum(1.0, self.clipping_norm * _MARGIN / np.maximum(norms, 1e-300))
        return (factors @ patients).reshape(weights.shape)
