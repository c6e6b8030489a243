"""An encoder that public data begin and patients finish."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from skdpal.estimators.display import BudgetRepr
from skdpal.estimators.neural.classifier import DPNeuralClassifier
from skdpal.estimators.neural.modules import GenomicEncoder
from skdpal.estimators.patients import expected_number
from skdpal.estimators.prior import PublicPrior
from skdpal.estimators.public import PublicEncoder
from skdpal.estimators.scoring import void_if_scored
from skdpal.privacy import events
from skdpal.privacy.identities import identify
from skdpal.privacy.mechanisms import require_ledger

__all__ = ["DPEncoder"]


class _Network(nn.Module):
    """Network, whitening and unit length as in `PublicEncoder`, then a linear head."""

    def __init__(self, network: nn.Module, whitening: nn.Linear | None, n_components: int, n_classes: int) -> None:
        super().__init__()
        self.network = network
        self.whitening = nn.Identity() if whitening is None else whitening.requires_grad_(False)
        self.head = nn.Linear(n_components, n_classes)

    def latent(self, rows: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.whitening(self.network(rows)), dim=1)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.head(self.latent(rows))


class DPEncoder(BudgetRepr, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A neural encoder, pre-trained on public data, fine-tuned on patients by DP-SGD; its rows have length 1.

    Parameters
    ----------
    public : PublicEncoder, optional
        Fitted with ``method="neural"``; where fine-tuning starts. None starts from random weights, which
        a few dozen patients cannot make useful.
    noise_multiplier : float, default=2.0
        Standard deviation of the noise on the sum of clipped gradients, in units of `max_grad_norm`.
    max_grad_norm : float, default=1.0
        Clipping norm of a patient's gradient.
    classes : sequence, optional
        All labels that may occur. Default: those of `prior`.
    ledger : PrivacyLedger or Handle, optional
        Who pays. None is allowed inside `simulation` only.
    prior : PublicPrior, optional
        Class means of public rows embedded by `public`: the head on which fine-tuning starts is then the public model.
    max_epochs : int, default=10
        Noisy gradients.
    lr : float, default=0.5
        Learning rate.
    trainable, adapter_rank, sampling_rate : optional
        As in `DPNeuralClassifier`.
    widths : sequence of int, default=(256, 64)
        Of the layers, without `public`.
    random_state : int, optional
        As in `DPNeuralClassifier`: for the first weights, which are public.

    Attributes
    ----------
    classifier_ : DPNeuralClassifier
        What was trained; the encoder is all of it but the head.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        If X had names.

    Notes
    -----
    Charged: `privacy_event`, as `DPNeuralClassifier`, by each `fit`, before X is read; `transform` is free. In a `Pipeline` before a
    DP classifier both are charged, and `BudgetGuard` prices both. docs/guide/neural.md compares it with the frozen
    `PublicEncoder`, which costs nothing: fine-tuning pays only with many patients or a large ε.

    Examples
    --------
    >>> import skdpal
    >>> data = skdpal.datasets.load_srbct()
    >>> lines = data.is_cell_line
    >>> public = skdpal.PublicEncoder("neural", n_components=8, widths=(16, 8), max_epochs=5, random_state=0)
    >>> public = public.fit(data.data[lines], data.target[lines])
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> encoder = skdpal.DPEncoder(public, noise_multiplier=10.0, classes=data.target_names, ledger=ledger)
    >>> encoder.fit(data.data[~lines], data.target[~lines]).transform(data.data[~lines]).shape
    (37, 8)
    """

    def __init__(
        self,
        public: Any = None,
        noise_multiplier: float = 2.0,
        max_grad_norm: float = 1.0,
        classes: Any = None,
        ledger: Any = None,
        *,
        prior: PublicPrior | None = None,
        max_epochs: int = 10,
        lr: float = 0.5,
        trainable: Any = None,
        adapter_rank: int | None = None,
        sampling_rate: float | None = None,
        widths: Any = (256, 64),
        random_state: int | None = None,
    ) -> None:
        self.public = public
        self.noise_multiplier = noise_multiplier
        self.max_grad_norm = max_grad_norm
        self.classes = classes
        self.ledger = ledger
        self.prior = prior
        self.max_epochs = max_epochs
        self.lr = lr
        self.trainable = trainable
        self.adapter_rank = adapter_rank
        self.sampling_rate = sampling_rate
        self.widths = widths
        self.random_state = random_state

    def privacy_event(self, n_records: float | None = None) -> events.Event:
        """What one `fit` costs, whatever the number of records."""
        return self._classifier().privacy_event()

    def fit(self, X: Any, y: Any, *, record_ids: Any = None, expected_records: float | None = None) -> Self:
        """Charge, then fine-tune.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            At least one row; columns are found by name, as `public` does.
        y : array-like of shape (n_rows,)
            Labels, all in `classes`.
        record_ids : sequence of length n_rows, optional
            The patients.
        expected_records : float, optional
            The public number of patients; as in `DPNeuralClassifier`.

        Raises
        ------
        BudgetExhausted
            Before X is read.
        """
        ledger = require_ledger(self.ledger)
        if ledger is not None:
            ledger.require(self.privacy_event(), "fit of the encoder")
            expected_number(ledger, expected_records)
        void_if_scored(ledger)
        if self.public is not None:  # names of patients are lost in the network's inputs
            record_ids = identify(X, record_ids)
        classifier = self._classifier()
        classifier.fit(self._inputs(X), y, record_ids=record_ids, expected_records=expected_records)
        self.classifier_ = classifier
        self._remember(classifier if self.public is None else self.public)
        self._n_features_out = classifier.module_.head.in_features
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embed rows; each result has length 1.

        Returns
        -------
        ndarray of shape (n_rows, n_components)
        """
        check_is_fitted(self, "classifier_")
        return self.classifier_.transform(self._inputs(X))

    # -- inside ------------------------------------------------------------------------------

    def _classifier(self) -> DPNeuralClassifier:
        classes = self.prior.classes if self.classes is None and self.prior is not None else self.classes
        return DPNeuralClassifier(
            _Start(self._public_embedding(), self.prior, tuple(self.widths)),
            self.noise_multiplier,
            self.max_grad_norm,
            classes,
            self.ledger,
            max_epochs=self.max_epochs,
            lr=self.lr,
            trainable=self.trainable,
            adapter_rank=self.adapter_rank,
            sampling_rate=self.sampling_rate,
            random_state=self.random_state,
        )

    def _public_embedding(self) -> Any:
        if self.public is None:
            return None
        if not isinstance(self.public, PublicEncoder) or not hasattr(self.public, "network_"):
            raise ValueError(
                f'Expected public to be a PublicEncoder(method="neural"), fitted on public data. Found {self.public!r}. '
                "A linear PublicEncoder has nothing to fine-tune: use it as it is."
            )
        return self.public.network_

    def _inputs(self, X: Any) -> Any:
        return X if self.public is None else self.public.network_inputs(X)

    def _remember(self, other: Any) -> None:
        self.n_features_in_ = other.n_features_in_
        vars(self).pop("feature_names_in_", None)
        if hasattr(other, "feature_names_in_"):
            self.feature_names_in_ = other.feature_names_in_


class _Start:
    """Makes the network on which training starts, once the number of columns and classes is known."""

    def __init__(self, embedding: Any, prior: PublicPrior | None, widths: tuple[int, ...]) -> None:
        self.embedding, self.prior, self.widths = embedding, prior, widths

    def __call__(self, n_features: int, n_classes: int) -> nn.Module:
        if self.embedding is None:
            return _Network(GenomicEncoder(n_features, self.widths), None, self.widths[-1], n_classes)
        whitening = self.embedding.whitening
        linear = nn.Linear(*reversed(whitening.components.shape))
        network = copy.deepcopy(self.embedding.network).requires_grad_(True)
        start = _Network(network, linear, linear.out_features, n_classes)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(whitening.components.copy()))
            linear.bias.copy_(torch.from_numpy(-whitening.components @ whitening.mean))
            if self.prior is not None:
                self._public_head(start.head)
        return start

    def _public_head(self, head: nn.Linear) -> None:
        """Log-odds of Gaussian classes around the public means."""
        means, variance = torch.from_numpy(self.prior.means.copy()), self.prior.within_variance
        if means.shape != head.weight.shape:
            raise ValueError(
                f"Expected prior to have {head.out_features} classes in {head.in_features} dimensions. "
                f"Found {tuple(means.shape)}. Make it from public rows embedded by public."
            )
        head.weight.copy_(means / variance)
        head.bias.copy_(-(means**2).sum(dim=1) / (2 * variance))
