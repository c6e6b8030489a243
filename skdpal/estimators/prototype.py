"""The closed-form private learner: one noisy release of class sums and counts."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from skdpal.estimators.patients import Patients, expected_number, read_patients, refuse_weights
from skdpal.estimators.posterior import Release, infer
from skdpal.estimators.prior import PublicPrior, unit_ball
from skdpal.estimators.regime import warn_if_weak
from skdpal.estimators.released import ReleasedClassifier
from skdpal.estimators.rows import validated
from skdpal.estimators.scoring import void_if_scored
from skdpal.estimators.transition import Transition
from skdpal.privacy import events
from skdpal.privacy.mechanisms import GaussianSum, release, require_ledger
from skdpal.privacy.validation import check_finite

__all__ = ["DPPrototypeClassifier"]

_ROOT2 = float(np.sqrt(2.0))


class DPPrototypeClassifier(ReleasedClassifier):
    """Nearest-prototype classifier on one differentially private release a cohort.

    Each patient contributes ``[x, 1]/√2`` to the row of their class; the sum over patients has L2
    sensitivity 1 under zero-out, and √2 when a patient is exchanged for another. One Gaussian
    release pays for everything that follows: class means, their exact uncertainty, probabilities.

    Parameters
    ----------
    noise_multiplier : float, default=2.0
        Standard deviation of the noise. Get it from `plan_study` or `skdpal.privacy.calibrate`.
    prior : PublicPrior, optional
        From `prior_from_public`. At n = 30 it decides whether the model is of any use.
    classes : sequence, optional
        All labels that may occur. Default: those of `prior`. They are never inferred from
        private labels, except inside `simulation`.
    ledger : PrivacyLedger or Handle, optional
        Who pays. None is allowed inside `simulation` only.
    prior_weight : "fitted" or float, default="fitted"
        How many patients of each class the prior counts for; "fitted" averages over how far
        the private cohort may lie from the public one, as the noisy release tells.
    class_prior : sequence of float of length n_classes, optional
        PUBLIC guess of the class fractions, in the order of `classes_`; the noisy counts correct it. Default:
        those of the public rows, uniform without a prior.
    transition : Transition, optional
        PUBLIC chance of each label for each true class, if y holds labels that may be wrong: those of a reader, or of
        randomized response. Sums are then released by label, the posterior takes the errors into account, and what is
        predicted are true classes. The price is the same.

    Attributes
    ----------
    release_ : tuple of (ndarray of shape (n_classes, n_features), ndarray of shape (n_classes,))
        Noisy sums and counts of the latest cohort, in units of sensitivity 1: the noise
        on each number has standard deviation `noise_multiplier`. With `transition`, a row for each of its labels.
    releases_ : list of Release
        Those of all cohorts.
    posterior_ : Posterior
        Belief about the class means.
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If X had names.

    Notes
    -----
    Charged: `events.gaussian(noise_multiplier)` by each `fit` and `partial_fit`. `predict`,
    `predict_proba` and `uncertainty` are post-processing and free. Rows longer than 1 are scaled
    to length 1: embed with `PublicEncoder` first. The prototypes follow Wahdany et al. (2024);
    the noise-aware posterior follows Bernstein and Sheldon (2019).

    Examples
    --------
    >>> import skdpal
    >>> data = skdpal.datasets.load_srbct()
    >>> lines = data.is_cell_line
    >>> encoder = skdpal.PublicEncoder(n_components=16).fit(data.data[lines], data.target[lines])
    >>> prior = skdpal.DPPrototypeClassifier.prior_from_public(encoder.transform(data.data[lines]), data.target[lines])
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0, delta=1e-5))
    >>> model = skdpal.DPPrototypeClassifier(noise_multiplier=2.0, prior=prior, ledger=ledger)
    >>> model = model.fit(encoder.transform(data.data[~lines]), data.target[~lines])
    >>> model.predict_proba(encoder.transform(data.data[~lines])).shape
    (37, 4)
    """

    def __init__(
        self,
        noise_multiplier: float = 2.0,
        prior: PublicPrior | None = None,
        classes: Any = None,
        ledger: Any = None,
        *,
        prior_weight: Any = "fitted",
        class_prior: Any = None,
        transition: Transition | None = None,
    ) -> None:
        self.noise_multiplier = noise_multiplier
        self.prior = prior
        self.classes = classes
        self.ledger = ledger
        self.prior_weight = prior_weight
        self.class_prior = class_prior
        self.transition = transition

    @staticmethod
    def prior_from_public(X: Any, y: Any) -> PublicPrior:
        """Class means of PUBLIC rows, as a frozen prior; nothing is charged.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Public rows in the space in which patients will be given.
        y : array-like of shape (n_rows,)
            Public labels.
        """
        return PublicPrior.from_public(X, y)

    def privacy_event(self, n_records: float | None = None) -> events.Event:
        """What one `fit` or `partial_fit` costs, whatever the number of records."""
        return self._mechanism().event

    def fit(
        self, X: Any, y: Any, *, record_ids: Any = None, expected_records: float | None = None, **unknown: Any
    ) -> Self:
        """Charge, then release the first cohort.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            At least one row.
        y : array-like of shape (n_rows,)
            Labels, all in `classes`, or among those of `transition`.
        record_ids : sequence of length n_rows, optional
            The patients; rows of one patient are summed, then clipped.
        expected_records : float, optional
            The public number of patients. Default: the number in X, unless a hidden selection
            was made, after which the true number is private and the expectation must be given.

        Raises
        ------
        BudgetExhausted
            Before X is read.
        """
        refuse_weights("fit", unknown)
        return self._learn(X, y, None, record_ids, expected_records, first=True)

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
        """Charge, then release one more cohort and combine it with the earlier ones.

        Zero rows are a cohort: charged and released like any other. Parameters as in `fit`.
        """
        refuse_weights("partial_fit", unknown)
        first = not hasattr(self, "releases_")
        return self._learn(X, y, classes, record_ids, expected_records, first=first, least=0)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of shape (n_rows, n_classes), averaged over the posterior."""
        rows = self._rows(X)
        return self.posterior_.predict_proba(rows)

    def uncertainty(self, X: Any) -> pd.DataFrame:
        """Why each row is uncertain.

        Returns
        -------
        DataFrame of shape (n_rows, 4)
            Variance of the log-odds of the two likeliest classes, by cause: "dp_noise", "sampling"
            (few patients), "transfer" (the prior may not fit), "overlap" (patients of one class differ).
        """
        rows = self._rows(X)
        parts = pd.DataFrame(self.posterior_.log_odds_variance(rows))
        parts.index = X.index if isinstance(X, pd.DataFrame) else parts.index
        return parts[["dp_noise", "sampling", "transfer", "overlap"]]

    def fingerprint(self) -> str:
        """Digest of everything released so far; it names the round in which a query is asked."""
        check_is_fitted(self)
        digest = hashlib.sha256()
        for cohort in self.releases_:
            digest.update(cohort.sums.tobytes() + cohort.counts.tobytes())
        return digest.hexdigest()

    def public_model(self) -> Self | None:
        """The classifier before any patient, from the prior alone; None without a prior. Nothing is charged."""
        if self.prior is None:
            return None
        n_labels, n_features = len(self._labels(self.prior.classes)), self.prior.means.shape[1]
        nothing = Release(np.zeros((n_labels, n_features)), np.zeros(n_labels), 1.0, 0.0)
        public = clone(self).set_params(ledger=None).restore([nothing])
        if hasattr(self, "feature_names_in_"):  # it is asked about the same tables
            public.feature_names_in_ = self.feature_names_in_
        return public

    def restore(self, releases: Sequence[Release]) -> Self:
        """Take up what was released earlier, as from a file; no patient is read and nothing is charged.

        Parameters
        ----------
        releases : sequence of Release
            Of all cohorts, at least one. `classes` or `prior` must be given.

        Raises
        ------
        ValueError
            If classes are unknown, or the releases were made for others.
        """
        classes = self._public_classes(None)
        if classes is None:
            raise ValueError("Expected classes or a prior. Found None. Pass classes=[...], those of the releases.")
        classes = np.unique(np.asarray(classes))
        if any(len(one.counts) != len(self._labels(classes)) for one in releases):
            raise ValueError(
                f"Expected releases with a row for each of the labels {list(self._labels(classes))}. Found another number of "
                "rows. Pass the classes and the transition with which they were made."
            )
        self.n_features_in_ = releases[0].sums.shape[1]
        return self._conclude(list(releases), classes, self._prior_weight(), self._class_prior(classes))

    # -- inside ------------------------------------------------------------------------------

    def _mechanism(self) -> GaussianSum:
        return GaussianSum(self.noise_multiplier, replace_one=_ROOT2)

    def _learn(
        self, X: Any, y: Any, classes: Any, record_ids: Any, expected: float | None, *, first: bool, least: int = 1
    ) -> Self:
        ledger, mechanism = require_ledger(self.ledger), self._mechanism()
        label = "fit" if first else f"partial_fit {len(self.releases_)}"
        weight, known = self._prior_weight(), self._public_classes(classes) if first else self.classes_
        fractions, labels = self._class_prior(known), self._labels(known)
        if ledger is not None:
            ledger.require(mechanism.event, label)
            expected_number(ledger, expected)
        patients = read_patients(
            self,
            X,
            y,
            classes=known if first else classes,
            record_ids=record_ids,
            expected_records=expected,
            first=first,
            least=least,
            observed=None if self.transition is None else labels,
        )
        self._check_prior(patients)
        void_if_scored(ledger)
        rows, known = unit_ball(patients.rows), patients.classes
        n_labels = len(known if labels is None else labels)
        if first and least and self.prior is None:
            warn_if_weak(patients.expected_records, float(self.noise_multiplier), rows.shape[1], stacklevel=4)

        def contributions() -> np.ndarray:
            table = np.zeros((len(rows), n_labels, rows.shape[1] + 1))
            table[np.arange(len(rows)), patients.codes] = np.column_stack([rows, np.ones(len(rows))]) / _ROOT2
            return table.reshape(len(rows), n_labels * (rows.shape[1] + 1))

        flat = release(contributions, mechanism, ledger, label, record_ids=patients.ids)
        if flat.size != n_labels * (rows.shape[1] + 1):
            raise ValueError(
                "Expected X with the columns, and y with the labels, of the stored release. Embed with the same PublicEncoder."
            )
        table = flat.reshape(n_labels, -1)
        new = Release(table[:, :-1], table[:, -1], float(self.noise_multiplier), patients.expected_records)
        return self._conclude([new] if first else [*self.releases_, new], known, weight, fractions)

    def _conclude(self, releases: list[Release], classes: Any, weight: float | None, fractions: Any) -> Self:
        """Everything that follows from the releases, the prior and public constants."""
        self.classes_, self.releases_ = classes, releases
        self.release_ = (releases[-1].sums, releases[-1].counts)
        rates = None if self.transition is None else self.transition.matrix
        if self.prior is None:
            self.posterior_ = infer(releases, None, None, class_prior=fractions, transition=rates)
        else:
            self.posterior_ = infer(
                releases,
                self.prior.means,
                self.prior.within,
                weight,
                public_counts=None if weight is not None else self.prior.counts,
                class_prior=self.prior.fractions if fractions is None else fractions,
                transition=rates,
            )
        return self

    def _check_prior(self, patients: Patients) -> None:
        if self.prior is None:
            return
        if patients.rows.shape[1] != self.prior.means.shape[1]:
            raise ValueError(
                f"Expected X to have the {self.prior.means.shape[1]} columns of the prior. "
                f"Found {patients.rows.shape[1]}. Embed public and private data with the same PublicEncoder."
            )
        names = getattr(self, "feature_names_in_", None)
        if names is not None and self.prior.feature_names not in (None, tuple(names)):
            raise ValueError("Expected X to have the columns of the prior, in its order. Reorder or rename them.")

    def _rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        rows = validated(self, X, reset=False)
        return unit_ball(check_finite("X", rows))
