"""How far a private cohort lies from the public data, as a whole: one charged release, taken away from every row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skdpal.estimators.prior import unit_ball
from skdpal.estimators.public.whitening import to_sphere
from skdpal.estimators.rows import validated
from skdpal.privacy import events
from skdpal.privacy.accounts import POOL, ROOT
from skdpal.privacy.errors import LedgerError
from skdpal.privacy.identities import identify
from skdpal.privacy.mechanisms import GaussianSum, release, require_ledger
from skdpal.privacy.randomness import current_simulation
from skdpal.privacy.validation import check_finite, check_real

__all__ = ["DPShift"]

_LABEL = "shift of the whole cohort"


class DPShift(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Take away the mean by which a private cohort differs from public data, estimated with differential privacy.

    A laboratory moves all its samples alike. The mean embedding of everybody, also of patients without labels, is
    released once with Gaussian noise; its distance to the public mean is shrunk toward zero by the noise that it is known
    to hold, subtracted from every row, and the rows are scaled back to length 1.

    Parameters
    ----------
    noise_multiplier : float, default=5.0
        Standard deviation of the noise on the sum of rows of length 1.
    public_mean : array-like of shape (n_features,), optional
        Mean of the public rows, embedded alike; see `mean_of_public`. Default: 0.
    ledger : PrivacyLedger, optional
        Who pays: everybody. None is allowed inside `simulation` only.

    Attributes
    ----------
    release_ : ndarray of shape (n_features,)
        The noisy sum; the noise on each number has standard deviation `noise_multiplier`.
    shift_ : ndarray of shape (n_features,)
        What is taken away from every row.
    kept_ : float
        Part of the estimate that was not shrunk away, in [0, 1].
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If X had names.

    Notes
    -----
    Charged: `events.gaussian(noise_multiplier)`, to the account of everybody, before any patient is moved to
    another account. A patient who is later trained on in a cohort at μ_r has paid sqrt(μ_s² + μ_r²), with
    μ = 1/noise_multiplier; plan with sqrt(B² - μ_s²) left for training. `transform` is free.
    Each `fit` is another charge, so a second one on the same ledger must be asked for. In a `Pipeline`, put
    ``sklearn.frozen.FrozenEstimator(shift)``.

    The mean of a cohort also moves with its mix of classes: give `mean_of_public` the fractions that the
    protocol expects. The classifier's own fitted prior (`DPPrototypeClassifier`, `prior_weight="fitted"`) learns a shift of
    the labelled patients from the release that it pays for anyway, for free; try that first (docs/guide/encoders.md).

    The shrinkage is the positive part of 1 - d v / ‖difference‖², with d v the known variance of the noise and
    a public bound on that of sampling (after James and Stein 1961).

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.estimators.public import DPShift
    >>> data = skdpal.datasets.load_srbct()
    >>> lines = data.is_cell_line
    >>> encoder = skdpal.PublicEncoder(n_components=8).fit(data.data[lines], data.target[lines])
    >>> public, patients = encoder.transform(data.data[lines]), encoder.transform(data.data[~lines])
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> shift = DPShift(5.0, public_mean=DPShift.mean_of_public(public, data.target[lines]), ledger=ledger)
    >>> shift.fit(patients, expected_records=37).transform(patients).shape
    (37, 8)
    """

    def __init__(self, noise_multiplier: float = 5.0, public_mean: Any = None, ledger: Any = None) -> None:
        self.noise_multiplier = noise_multiplier
        self.public_mean = public_mean
        self.ledger = ledger

    @staticmethod
    def mean_of_public(X: Any, y: Any = None, fractions: Mapping[Any, float] | None = None) -> NDArray[np.float64]:
        """Mean of PUBLIC rows, weighted as the classes are expected in the private cohort.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Public rows, embedded as the patients will be.
        y : array-like of shape (n_rows,), optional
            Public labels.
        fractions : mapping of label to float, optional
            Public expectation: how common each class is; scaled to sum to 1. Default: as in y.

        Raises
        ------
        ValueError
            If `fractions` has a label that is not in y.
        """
        rows = unit_ball(check_finite("X", X))
        if fractions is None:
            return rows.mean(axis=0)
        labels = np.asarray(y)
        shares = [check_real("fractions", share, above=0.0, closed=True) for share in fractions.values()]
        known = [label in labels for label in fractions]
        if labels.shape != (len(rows),) or not all(known) or not sum(shares):
            raise ValueError("Expected fractions of labels that occur in y, one label for each row of X.")
        means = [rows[labels == label].mean(axis=0) for label in fractions]
        return np.average(means, axis=0, weights=shares)

    def privacy_event(self, n_records: float | None = None) -> events.Event:
        """What one `fit` costs everybody, whatever the number of records."""
        return self._mechanism().event

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        record_ids: Any = None,
        expected_records: float | None = None,
        again: bool = False,
    ) -> Self:
        """Charge everybody, then release the noisy sum of their rows.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Embedded rows of everybody: labelled, in the pool, kept for evaluation.
        y : None
            Not used.
        record_ids : sequence of length n_rows, optional
            The patients; rows of one patient are summed, then clipped to length 1.
        expected_records : float
            The public number of patients, which divides the sum. Inside `simulation`, the default is the
            number in X.
        again : bool, default=False
            Whether another charge is meant, where this ledger has paid for a shift before.

        Raises
        ------
        ValueError
            If `expected_records` is missing.
        BudgetExhausted
            Before X is read.
        LedgerError
            If the ledger has paid for a shift before, or patients were moved to other accounts already.
        """
        ledger, mechanism = require_ledger(self.ledger), self._mechanism()
        if ledger is not None:
            self._check_ledger(ledger, again)
            ledger.require(mechanism.event, _LABEL)
        if expected_records is None and current_simulation() is None:
            raise ValueError(
                "Expected expected_records, the public number of patients that divides the sum. Found None. "
                "Pass fit(X, expected_records=n); in a Pipeline, fit first and use FrozenEstimator(shift)."
            )
        rows = unit_ball(check_finite("X", validated(self, X)))
        ids = identify(X, record_ids)
        number = len(set(ids)) if expected_records is None else expected_records
        expected = check_real("expected_records", number, above=0.0)
        centre = self._centre(rows.shape[1])
        self.release_ = release(lambda: rows, mechanism, ledger, _LABEL, record_ids=ids)
        self.shift_, self.kept_ = _shrunk(self.release_ / expected - centre, self.noise_multiplier, expected)
        return self

    def transform(self, X: Any) -> NDArray[np.float64]:
        """Rows without the shift, of length 1; nothing is charged.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Embedded rows of the private cohort; never public ones.
        """
        check_is_fitted(self)
        rows = check_finite("X", validated(self, X, reset=False, ensure_min_samples=0))
        return to_sphere(unit_ball(rows) - self.shift_)

    # -- inside ------------------------------------------------------------------------------

    def _mechanism(self) -> GaussianSum:
        return GaussianSum(self.noise_multiplier)

    def _check_ledger(self, ledger: Any, again: bool) -> None:
        if ledger.account != ROOT:
            raise LedgerError(
                f"Expected ledger to be the whole ledger, whose account is {ROOT!r}: a shift reads everybody. "
                f"Found a handle of {ledger.account!r}. Pass ledger.root."
            )
        asked = getattr(ledger, "paid", None)
        if asked is not None and asked(self._mechanism().event):
            return  # a handle whose question was answered before: the stored release comes back, and nobody pays
        if ledger.root.accounts() != [POOL]:
            raise LedgerError(
                "Expected a ledger from which no patients were moved to accounts of their own. Found one that was split. "
                "Fit the shift on everybody before the first split; afterwards let the classifier's fitted prior learn it."
            )
        if not again and any(receipt.label == _LABEL for receipt in ledger.root.receipts()):
            raise LedgerError(
                "This ledger has paid for a shift of the whole cohort before; another fit is another charge on everybody. "
                "Use the fitted DPShift, or pass fit(..., again=True)."
            )

    def _centre(self, n_features: int) -> NDArray[np.float64]:
        if self.public_mean is None:
            return np.zeros(n_features)
        centre = check_finite("public_mean", self.public_mean)
        if centre.shape != (n_features,):
            raise ValueError(
                f"Expected public_mean to have the {n_features} columns of X. Found shape {centre.shape}. "
                "Embed public and private data with the same PublicEncoder."
            )
        return centre


def _shrunk(
    difference: NDArray[np.float64], noise_multiplier: float, expected: float
) -> tuple[NDArray[np.float64], float]:
    """The difference without the part that noise explains; rows of length 1 vary by 1 at most, over all columns."""
    variance = len(difference) * (noise_multiplier / expected) ** 2 + 1 / expected
    kept = max(0.0, 1 - variance / max(float(difference @ difference), 1e-300))
    return kept * difference, kept
