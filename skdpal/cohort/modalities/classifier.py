"""Several modalities, one noisy release a cohort: prototypes of each modality, fused late."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from skdpal.cohort.modalities.charge import ROOT2, affordable, each, noises_of
from skdpal.cohort.modalities.fusion import Fusion, ModalityRelease, fuse, nothing
from skdpal.cohort.modalities.layout import WHOLE, Layout, layout_of
from skdpal.cohort.modalities.prior import ModalityPrior
from skdpal.estimators.patients import Patients, expected_number, read_patients, refuse_weights
from skdpal.estimators.posterior import Release
from skdpal.estimators.regime import kappa, warn_if_weak
from skdpal.estimators.released import ReleasedClassifier
from skdpal.estimators.rows import validated
from skdpal.estimators.scoring import void_if_scored
from skdpal.privacy import events
from skdpal.privacy.mechanisms import GaussianBlocks, release, require_ledger
from skdpal.privacy.validation import check_finite, check_real

__all__ = ["DPModalityClassifier"]

_MOST = 1.0 + 1e-12  # a share of 1 is allowed


class DPModalityClassifier(ReleasedClassifier):
    """Nearest prototypes in each modality, from one differentially private release a cohort, fused for each patient.

    In each modality m that they have, a patient contributes ``[x_m, 1]/√2`` to the row of their class; where they lack
    it, zeros, also in its count. Each modality has noise of its own, so that the statistics are separable: what a
    patient's modality m tells is bounded by its noise alone, and the whole patient by all of them together.

    Parameters
    ----------
    noise_multiplier : float or mapping of str to float, default=2.0
        One number: the patient pays μ = 1 / noise_multiplier, shared out by the clipping norms c_m of `blocks`, so that
        modality m has noise noise_multiplier / c_m. A mapping: the noise of each modality;
        the patient pays μ² = Σ 1 / noise_m².
    blocks : ModalityBlocks or mapping of str to int, optional
        Which columns are which modality; of a mapping, their numbers, in order. Default: one modality, "all".
    prior : ModalityPrior, optional
        From `prior_from_public`.
    classes : sequence, optional
        All labels that may occur. Default: those of `prior`.
    ledger : PrivacyLedger or Handle, optional
        Who pays. None is allowed inside `simulation` only.
    availability : float or mapping of str to float, default=1.0
        PUBLIC guess of the share of patients who have each modality, above 0; the noisy counts correct it.
    correlation : float, default=0.25
        PUBLIC, from 0 to 1: how far modalities repeat each other within a class. With 0 they are taken as independent,
        which is too sure of itself (docs/guide/modalities.md); with 1 they are averaged.
    prior_weight, class_prior : optional
        As in `DPPrototypeClassifier`.

    Attributes
    ----------
    fusion_ : Fusion
        Belief about the class means of each modality, and the class fractions.
    releases_ : list of ModalityRelease
        Of all cohorts.
    classes_ : ndarray of shape (n_classes,)
    layout_ : Layout
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If X had names.

    Notes
    -----
    Charged: `privacy_event()`, one receipt by each `fit` and `partial_fit`, for every modality, whoever has it and even
    if nobody has. A modality whose cap (`ModalityBlocks.cap`) is used up is left out of the release while the others go
    on; that follows from the ledger alone and is settled before a row is read. Predictions are post-processing and
    free. An amplified round (`PrivateActiveLearner(amplified=True)`) is refused: its price is proven for one Gaussian.

    Examples
    --------
    >>> import skdpal
    >>> from skdpal.cohort import DPModalityClassifier, ModalityBlocks
    >>> data = skdpal.datasets.load_miniacc(as_frame=True)
    >>> public, private = data.data.iloc[:26], data.data.iloc[26:]
    >>> y_public, y = data.target.iloc[:26], data.target.iloc[26:]
    >>> blocks = ModalityBlocks({"rna": "rna:", "mirna": "mirna:", "rppa": "rppa:"}).fit(public, y_public)
    >>> prior = DPModalityClassifier.prior_from_public(blocks.transform(public), y_public, blocks)
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0, delta=1e-5))
    >>> model = DPModalityClassifier(noise_multiplier=2.0, blocks=blocks, prior=prior, ledger=ledger)
    >>> model = model.fit(blocks.transform(private), y)
    >>> model.predict_proba(blocks.transform(private)).shape, round(ledger.spent(), 2)
    ((52, 2), 1.99)
    """

    def __init__(
        self,
        noise_multiplier: Any = 2.0,
        blocks: Any = None,
        prior: ModalityPrior | None = None,
        classes: Any = None,
        ledger: Any = None,
        *,
        availability: Any = 1.0,
        correlation: float = 0.25,
        prior_weight: Any = "fitted",
        class_prior: Any = None,
    ) -> None:
        self.noise_multiplier = noise_multiplier
        self.blocks = blocks
        self.prior = prior
        self.classes = classes
        self.ledger = ledger
        self.availability = availability
        self.correlation = correlation
        self.prior_weight = prior_weight
        self.class_prior = class_prior

    @staticmethod
    def prior_from_public(X: Any, y: Any, blocks: Any) -> ModalityPrior:
        """Class means of PUBLIC rows, as a frozen prior; nothing is charged. See `ModalityPrior.from_public`."""
        return ModalityPrior.from_public(X, y, blocks)

    def privacy_event(self, n_records: float | None = None, *, modalities: Sequence[str] | None = None) -> events.Event:
        """What one `fit` or `partial_fit` costs, whatever the number of records, without modalities that are used up."""
        return self._event(self.ledger, modalities)

    def privacy_event_for(self, payer: Any) -> events.Event:
        """The same, if another payer paid: one that answered the question before, or whose caps are used up."""
        return self._event(payer, None)

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        record_ids: Any = None,
        expected_records: float | None = None,
        modalities: Sequence[str] | None = None,
        **unknown: Any,
    ) -> Self:
        """Charge, then release the first cohort.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_columns)
            Rows of ``blocks.transform``, at least one; a modality that a patient lacks is zeros.
        y : array-like of shape (n_rows,)
            Labels, all in `classes`.
        record_ids : sequence of length n_rows, optional
            The patients; rows of one patient are summed, then clipped.
        expected_records : float, optional
            The public number of patients, whatever they lack. Default: the number in X, unless a hidden selection
            was made, after which the true number is private and the expectation must be given.
        modalities : sequence of str, optional
            Exactly these are released. Default: all whose caps are not used up.

        Raises
        ------
        BudgetExhausted
            Before X is read; also if a modality is asked for whose cap is used up.
        """
        refuse_weights("fit", unknown)
        return self._learn(X, y, None, record_ids, expected_records, modalities, first=True)

    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: Any = None,
        *,
        record_ids: Any = None,
        expected_records: float | None = None,
        modalities: Sequence[str] | None = None,
        **unknown: Any,
    ) -> Self:
        """Charge, then release one more cohort and combine it with the earlier ones.

        Zero rows are a cohort: charged and released like any other. Parameters as in `fit`.
        """
        refuse_weights("partial_fit", unknown)
        first = not hasattr(self, "releases_")
        return self._learn(X, y, classes, record_ids, expected_records, modalities, first=first, least=0)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of shape (n_rows, n_classes), from the modalities that each row has."""
        blocks = self._blocks(X)
        return self.fusion_.predict_proba(blocks)

    def uncertainty(self, X: Any) -> pd.DataFrame:
        """Why each row is uncertain.

        Returns
        -------
        DataFrame of shape (n_rows, 4)
            Variance of the log-odds of the two likeliest classes, by cause, as `DPPrototypeClassifier.uncertainty`
            gives it, summed over the modalities of each row, as they are weighted. The sum is exact for "dp_noise",
            because noise is independent; the others are what they would be if modalities were independent within a
            class.
        """
        blocks = self._blocks(X)
        parts = pd.DataFrame(self.fusion_.log_odds_variance(blocks))
        parts.index = X.index if isinstance(X, pd.DataFrame) else parts.index
        return parts

    def only(self, *names: str) -> Self:
        """The fitted model as it judges by some modalities; columns of others are not looked at. Nothing is charged.

        Parameters
        ----------
        *names : str
            At least one; ValueError if it is unknown.

        Returns
        -------
        DPModalityClassifier
            For rows with the columns of all; it has no ledger.
        """
        check_is_fitted(self)
        known = list(self.fusion_.posteriors)
        if not names or not set(names) <= set(known):
            raise ValueError(f"Expected some of the modalities {known}. Found {list(names)}. Correct the names.")
        view = copy.copy(self)
        view.ledger, view.fusion_ = None, self.fusion_.only([name for name in known if name in names])
        return view

    def fingerprint(self) -> str:
        """Digest of everything released so far; it names the round in which a query is asked."""
        check_is_fitted(self)
        digest = hashlib.sha256()
        for cohort in self.releases_:
            for name, part in cohort.parts.items():
                digest.update(name.encode() + part.sums.tobytes() + part.counts.tobytes())
        return digest.hexdigest()

    def public_model(self) -> Self | None:
        """The classifier before any patient, from the priors alone; None without them. Nothing is charged."""
        if not self.prior or self.blocks is None:
            return None
        classes, layout = self.prior.classes, layout_of(self.blocks)
        parts = {name: nothing(len(classes), width) for name, width in layout.widths.items()}
        return clone(self).set_params(ledger=None).restore([ModalityRelease(parts)])

    def restore(self, releases: Sequence[ModalityRelease]) -> Self:
        """Take up what was released earlier; no patient is read and nothing is charged.

        Parameters
        ----------
        releases : sequence of ModalityRelease
            Of all cohorts, at least one. `classes` or `prior` must be given, else ValueError.
        """
        classes = self._public_classes(None)
        if classes is None:
            raise ValueError("Expected classes or a prior. Found None. Pass classes=[...], those of the releases.")
        widths = {name: part.sums.shape[1] for one in releases for name, part in one.parts.items()}
        self.layout_ = layout_of(self.blocks, widths.get(WHOLE))
        self.n_features_in_ = self.layout_.n_columns
        if hasattr(self.blocks, "get_feature_names_out"):
            self.feature_names_in_ = self.blocks.get_feature_names_out()
        return self._conclude(list(releases), np.unique(np.asarray(classes)))

    # -- inside ------------------------------------------------------------------------------

    def _learn(
        self,
        X: Any,
        y: Any,
        classes: Any,
        record_ids: Any,
        expected: float | None,
        modalities: Sequence[str] | None,
        *,
        first: bool,
        least: int = 1,
    ) -> Self:
        ledger, event = require_ledger(self.ledger), self._event(self.ledger, modalities)
        label = "fit" if first else f"partial_fit {len(self.releases_)}"
        known = self._public_classes(classes) if first else self.classes_
        self._check_public(known)
        if ledger is not None:
            ledger.require(event, label)
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
        )
        layout = self._checked_layout(patients)
        void_if_scored(ledger)
        noises = {name: part.noise_multiplier for name, part in events.by_modality(event).items()}
        if first and least and not self.prior:
            self._warn_if_weak(patients.expected_records, noises, layout)
        n_classes = len(patients.classes)
        shapes = {name: (n_classes, layout.widths[name] + 1) for name in noises}
        mechanism = GaussianBlocks(
            {name: (noise, shapes[name][0] * shapes[name][1]) for name, noise in noises.items()}, ROOT2
        )
        flat = release(
            lambda: _contributions(layout.cut(patients.rows, list(noises)), patients.codes, n_classes),
            mechanism,
            ledger,
            label,
            record_ids=patients.ids,
        )
        if flat.size != sum(np.prod(shape) for shape in shapes.values()):
            raise ValueError("Expected X with the columns of the stored release. Embed with the same ModalityBlocks.")
        new = _parts(flat, shapes, noises, patients.expected_records)
        self.layout_ = layout
        return self._conclude([new] if first else [*self.releases_, new], patients.classes)

    def _conclude(self, releases: list[ModalityRelease], classes: Any) -> Self:
        """Everything that follows from the releases, the priors and public constants."""
        self.classes_, self.releases_ = classes, releases
        self.fusion_: Fusion = fuse(
            releases,
            self.layout_,
            self.prior,
            len(classes),
            prior_weight=self._prior_weight(),
            class_prior=self._class_prior(classes),
            availability=each("availability", self.availability, self.layout_.widths, below=_MOST),
            correlation=check_real("correlation", self.correlation, above=0.0, below=1.0, closed=True),
        )
        return self

    def _event(self, payer: Any, modalities: Sequence[str] | None) -> events.Modalities:
        return affordable(payer, noises_of(self.noise_multiplier, self.blocks), modalities)

    def _check_public(self, classes: Any) -> None:
        """Everything that can be wrong before a row is read."""
        self._prior_weight()
        self._class_prior(classes)
        check_real("correlation", self.correlation, above=0.0, below=1.0, closed=True)
        each("availability", self.availability, noises_of(self.noise_multiplier, self.blocks), below=_MOST)
        if self.prior is None:
            return
        if not isinstance(self.prior, ModalityPrior):
            raise TypeError(
                f"Expected prior to be a ModalityPrior. Found {type(self.prior).__name__}. "
                "Use DPModalityClassifier.prior_from_public, or ModalityPrior({name: PublicPrior})."
            )
        if self.blocks is None:
            raise ValueError(
                "Expected blocks with a prior of modalities. Found None. Pass the ModalityBlocks of the prior."
            )
        widths = layout_of(self.blocks).widths
        for name, prior in self.prior.items():
            if widths.get(name) != prior.means.shape[1]:
                raise ValueError(
                    f"Expected the prior of {name!r} to have {widths.get(name, 'no')} columns, as blocks. "
                    f"Found {prior.means.shape[1]}. Embed public and private data with the same ModalityBlocks."
                )

    def _checked_layout(self, patients: Patients) -> Layout:
        layout = layout_of(self.blocks, patients.rows.shape[1])
        names, expected = getattr(self, "feature_names_in_", None), getattr(self.blocks, "get_feature_names_out", None)
        if names is not None and expected is not None and not np.array_equal(names, expected()):
            raise ValueError("Expected X to have the columns of blocks, in their order. Pass rows of blocks.transform.")
        return layout

    @staticmethod
    def _warn_if_weak(expected: float, noises: dict[str, float], layout: Layout) -> None:
        """Warn if even the best modality alone gives no useful model."""
        best = max(noises, key=lambda name: kappa(expected, noises[name], layout.widths[name]))
        warn_if_weak(expected, noises[best], layout.widths[best], stacklevel=5)

    def _blocks(self, X: Any) -> dict[str, np.ndarray]:
        check_is_fitted(self)
        rows = check_finite("X", validated(self, X, reset=False))
        return self.layout_.cut(rows, list(self.fusion_.posteriors))


def _contributions(blocks: Mapping[str, np.ndarray], codes: np.ndarray, n_classes: int) -> np.ndarray:
    """[x_m, 1]/√2 in the row of the class, zeros if the modality is missing; modalities side by side."""
    parts = []
    for rows in blocks.values():
        there = rows.any(axis=1)
        table = np.zeros((len(rows), n_classes, rows.shape[1] + 1))
        table[np.arange(len(rows)), codes] = np.column_stack([rows, there]) / ROOT2
        parts.append(table.reshape(len(rows), n_classes * (rows.shape[1] + 1)))
    return np.hstack(parts)


def _parts(
    flat: np.ndarray, shapes: Mapping[str, tuple[int, int]], noises: Mapping[str, float], expected: float
) -> ModalityRelease:
    """The noisy sums, modality by modality."""
    cuts = np.cumsum([rows * columns for rows, columns in shapes.values()])[:-1]
    parts = {}
    for (name, shape), cut in zip(shapes.items(), np.split(flat, cuts), strict=True):
        table = cut.reshape(shape)
        parts[name] = Release(table[:, :-1], table[:, -1], float(noises[name]), expected)
    return ModalityRelease(parts)
