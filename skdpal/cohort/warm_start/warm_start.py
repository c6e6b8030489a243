"""Public pre-training, then a first private release, then active learning: what each step needs, and what all cost together."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.exceptions import NotFittedError

from skdpal.cohort.warm_start.sources import PublicSource
from skdpal.cohort.warm_start.switch import SwitchRule
from skdpal.cohort.warm_start.timetable import timetable
from skdpal.estimators.prior import PublicPrior
from skdpal.estimators.prototype import DPPrototypeClassifier
from skdpal.estimators.public import DPShift
from skdpal.estimators.public.genes import GeneMatch
from skdpal.privacy import PrivacyBudget, calibrate, epsilon_of, events
from skdpal.privacy.accounts import ROOT
from skdpal.privacy.validation import check_real
from skdpal.query import PrivateQuery

__all__ = ["WarmStart"]


class WarmStart:
    """A study that does not start from nothing: an embedding, a prior, a rule of who chooses, and the noise that is left.

    Parameters
    ----------
    source : PublicSource
        What public data there are; see its class methods.
    budget : PrivacyBudget
        Of the whole study.
    classes : sequence, optional
        All labels that may occur. Needed unless the public data are labelled with them.
    shift_noise : float, optional
        Noise multiplier of a shift correction: the mean embedding of everybody is released once, before any patient is
        moved to another account, and what it differs from the public mean is taken away from every row; see `DPShift`.
        Default: none, which costs nothing.
    confidence : float, default=1.0
        Of the `SwitchRule`, with public rows; without any, it waits for κ >= 2.

    Attributes
    ----------
    encoder : transformer
        Frozen.
    prior : PublicPrior or None
    reference : ndarray of shape (n_public, n_components) or None
        Public rows out of sample; for queries.
    switch : SwitchRule
    noise_multiplier : float
        Of every training release: the smallest that the budget still pays for after the shift.
    shift : DPShift or None
        Fitted by `correct_shift`.

    Raises
    ------
    TypeError
        If `source` or `budget` is of another kind.

    Notes
    -----
    Charged: nothing by itself; `correct_shift` charges everybody ``events.gaussian(shift_noise)``, and each training
    release its cohort. A patient who is trained on has paid sqrt(μ_shift² + μ_round²), a patient of the pool μ_shift:
    with `noise_multiplier` in every round, the whole budget.

    Order matters: the shift first, on the ledger of everybody, then the splits.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.cohort import PublicSource
    >>> data = skdpal.datasets.load_srbct(as_frame=True)
    >>> lines = data.is_cell_line
    >>> source = PublicSource.same_classes(data.data[lines], data.target[lines], n_components=16)
    >>> warm = skdpal.WarmStart(source, skdpal.PrivacyBudget(epsilon=2.0))
    >>> X, y = warm.transform(data.data[~lines]), data.target[~lines].to_numpy()
    >>> learner = skdpal.PrivateActiveLearner(warm.estimator(), warm.query(n_pool=20), X[:10], y[:10],
    ...     ledger=skdpal.PrivacyLedger(warm.budget))
    >>> indices, rows = learner.query(X[10:30], n_instances=3)
    >>> learner.teach(rows, y[10:30][indices])
    >>> warm.schedule(n_labelled=10, labels_per_round=3, rounds=2)[["phase", "account", "epsilon"]]
                      phase         account  epsilon
    0   public pre-training                      0.0
    1  private fine-tuning    cohort/start      2.0
    2      active learning  cohort/round-1      2.0
    3      active learning  cohort/round-2      2.0
    4                in all    each patient      2.0
    """

    def __init__(
        self,
        source: PublicSource,
        budget: PrivacyBudget,
        classes: Any = None,
        *,
        shift_noise: float | None = None,
        confidence: float = 1.0,
    ) -> None:
        if not isinstance(source, PublicSource):
            raise TypeError(
                f"Expected source to be a PublicSource. Found {type(source).__name__}. "
                "Make one with PublicSource.same_classes, other_classes, unlabelled or nothing."
            )
        if not isinstance(budget, PrivacyBudget):
            raise TypeError(f"Expected budget to be a PrivacyBudget. Found {type(budget).__name__}.")
        self.source = source
        self.budget = budget
        self.classes = _classes(source, classes)
        self.shift_noise = None if shift_noise is None else check_real("shift_noise", shift_noise, above=0.0)
        self.noise_multiplier = _noise_left(budget, self.shift_noise)
        self.switch = SwitchRule(confidence, source.reference)
        self.shift: DPShift | None = None

    @property
    def encoder(self) -> Any:
        """The frozen embedding."""
        return self.source.encoder

    @property
    def prior(self) -> PublicPrior | None:
        """Public class means, if the public data are labelled with the classes."""
        return self.source.prior

    @property
    def reference(self) -> Any:
        """Public rows out of sample; None without public data."""
        return self.source.reference

    @property
    def epsilon(self) -> float:
        """ε at the budget's δ of whoever pays most: the shift, and one training release."""
        return epsilon_of([self._price(self.noise_multiplier)], self.budget.delta)

    def match_report(self, X: pd.DataFrame) -> GeneMatch:
        """How the columns of the patients' table fit the public genes; only names are read.

        Parameters
        ----------
        X : DataFrame
            With column names, as the public data had.
        """
        return self.encoder.match_report(X)

    def correct_shift(
        self, X: Any, *, ledger: Any, expected_records: float | None = None, record_ids: Any = None
    ) -> Self:
        """Charge everybody, then release how far the whole cohort lies from the public data.

        Once, before the first split. Asked again of the same ledger, also after a restart, the stored release comes
        back.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_genes)
            Rows of everybody: the start, the pool, those kept for evaluation.
        ledger : PrivacyLedger
        expected_records : float
            The public number of patients; in a simulation, by default the number in X.
        record_ids : sequence of length n_rows, optional
            The patients. Default: the index of X.

        Raises
        ------
        ValueError
            If `shift_noise` was not given.
        BudgetExhausted
            Before X is read.
        LedgerError
            If patients were moved to other accounts already.
        """
        if self.shift_noise is None:
            raise ValueError(
                "Expected shift_noise, which decides what the shift costs and what noise is left. Found None. "
                "Make WarmStart(..., shift_noise=5.0)."
            )
        shift = DPShift(self.shift_noise, self.source.centre, _asking(ledger, self.source))
        if shift.ledger is not None:
            shift.ledger.require(shift.privacy_event(), "shift of the whole cohort")
        rows = self._embed(X)
        self.shift = shift.fit(rows, record_ids=record_ids, expected_records=expected_records)
        return self

    def transform(self, X: Any) -> Any:
        """Embed patients, and take the shift away.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_rows, n_genes)
            Patients; genes are found by name if both sides have names.

        Returns
        -------
        ndarray or DataFrame of shape (n_rows, n_components)
            As X; a DataFrame keeps the names of the patients.

        Raises
        ------
        NotFittedError
            If a shift is to be corrected and was not measured yet.
        """
        if self.shift_noise is not None and self.shift is None:
            raise NotFittedError(
                "This WarmStart corrects a shift that was not measured yet. Call correct_shift(X, ledger=...) with everybody's rows first, "
                "before patients are moved to other accounts; or make WarmStart without shift_noise."
            )
        rows = self._embed(X)
        return rows if self.shift is None else _like(self.shift.transform(rows), X)

    def estimator(self, noise_multiplier: float | None = None, **options: Any) -> DPPrototypeClassifier:
        """The private learner, to be fitted.

        Parameters
        ----------
        noise_multiplier : float, optional
            Default: `noise_multiplier` of this warm start.
        **options
            Of `DPPrototypeClassifier`.
        """
        noise = self.noise_multiplier if noise_multiplier is None else noise_multiplier
        return DPPrototypeClassifier(noise, prior=self.prior, classes=self.classes, **options)

    def query(self, utility: Any = "margin", n_pool: int | None = None, **options: Any) -> PrivateQuery:
        """The query strategy, with the public reference and the switch.

        Parameters
        ----------
        utility, n_pool, **options : optional
            Of `PrivateQuery`.
        """
        return PrivateQuery(utility, reference=self.reference, n_pool=n_pool, **{"scorer": self.switch, **options})

    def trusted(self, learner: Any) -> Any:
        """Who should predict now, by the same rule: the released model, or the public one until that can be trusted.

        Parameters
        ----------
        learner : PrivateActiveLearner or DP estimator
            Fitted.

        Returns
        -------
        classifier
            The released model if there is no public one.
        """
        released = getattr(learner, "estimator", learner)
        return self.switch.choose(released, released.public_model()) or released

    def schedule(
        self, n_labelled: int, labels_per_round: int, rounds: int, *, hold_start: bool = False, ledger: Any = None
    ) -> pd.DataFrame:
        """What happens, who looks at the pool, who pays and how much; public numbers only.

        Parameters
        ----------
        n_labelled : int
            Public size of the starting cohort.
        labels_per_round, rounds : int
        hold_start : bool, default=False
            Whether the start is released with the first round (`PrivateActiveLearner(hold_start=True)`).
        ledger : PrivacyLedger, optional
            Of a running study: says who looked at the pool in the rounds that began.

        Returns
        -------
        DataFrame
            One row each step, and one for all together. "phase", "round"; "scorer": who looks at the pool; "released";
            "labels": expected number; "noise_multiplier" and "mu", its inverse; "account" that pays; "epsilon" of this
            release alone, at the budget's δ.

        Warns
        -----
        WeakSignalWarning
            Without a prior, if κ of the first release is below 2.
        """
        return timetable(self, n_labelled, labels_per_round, rounds, hold_start=hold_start, ledger=ledger)

    def __repr__(self) -> str:
        shift = "" if self.shift_noise is None else f", shift_noise={self.shift_noise:g}"
        return (
            f"WarmStart({self.source!r}, {self.budget!r}{shift}; noise_multiplier {self.noise_multiplier:.4g} is left)"
        )

    # -- inside ------------------------------------------------------------------------------

    def _embed(self, X: Any) -> Any:
        return _like(self.encoder.transform(X), X)

    def _price(self, noise_multiplier: float) -> events.Event:
        """What the patient who pays most pays."""
        return _together(self.shift_noise, noise_multiplier)


def _together(shift_noise: float | None, noise_multiplier: float) -> events.Event:
    training = events.gaussian(noise_multiplier)
    return training if shift_noise is None else events.composed([events.gaussian(shift_noise), training])


def _noise_left(budget: PrivacyBudget, shift_noise: float | None) -> float:
    """The smallest noise multiplier of training, by the ledger's own arithmetic; B² - μ_shift² is left."""
    everything = calibrate(events.gaussian, budget)
    if shift_noise is not None and shift_noise <= everything:
        raise ValueError(
            f"Expected shift_noise above {everything:.4g}, at which the shift alone costs the whole budget of ε={budget.epsilon:g}. "
            f"Found {shift_noise:g}: nothing would be left for training. Raise it to {2.5 * everything:.2g} or so, or leave the shift out."
        )
    return calibrate(lambda noise: _together(shift_noise, noise), budget)


def _classes(source: PublicSource, given: Any) -> Any:
    if source.prior is None:
        if given is None:
            raise ValueError(
                f"Expected classes. Found None: {source!r} does not name them. "
                "Pass classes=[...] with every label that may occur; they are never inferred from patients."
            )
        classes = np.unique(np.asarray(given))
        if len(classes) < 2:
            raise ValueError(f"Expected classes to be at least two labels. Found {classes.tolist()}.")
        return classes.tolist()
    if given is not None and not np.array_equal(np.unique(np.asarray(given)), source.prior.classes):
        raise ValueError(
            f"Expected classes to be those of the public data, {source.prior.classes.tolist()}. "
            f"Found {np.unique(np.asarray(given)).tolist()}. If the public labels answer another question, use PublicSource.other_classes."
        )
    return source.prior.classes.tolist()


def _asking(ledger: Any, source: PublicSource) -> Any:
    """A handle of everybody that remembers the answer; as it is, if it is not the whole ledger."""
    if ledger is None or ledger.account != ROOT:
        return ledger
    return ledger.root.within(
        ROOT, question=f"shift of the whole cohort in {source.n_components} columns, {source.kind}"
    )


def _like(rows: Any, X: Any) -> Any:
    """A table of the same kind; columns are numbered, so that a model takes tables and arrays alike."""
    return pd.DataFrame(rows, index=X.index) if isinstance(X, pd.DataFrame) else np.asarray(rows)
