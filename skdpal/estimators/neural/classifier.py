"""skorch's classifier, trained by noisy gradients that a ledger pays for."""

from __future__ import annotations

import copy
import hashlib
from contextlib import nullcontext
from typing import Any, Self

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skdpal.estimators.display import BudgetRepr
from skdpal.estimators.neural.callbacks import CallbackSupportMixin, with_callbacks
from skdpal.estimators.neural.latent import dropout_layers, last_linear, masked, watched
from skdpal.estimators.neural.modules import GenomicClassifier
from skdpal.estimators.neural.net import PublicTermsNet
from skdpal.estimators.neural.trainer import Trainer
from skdpal.estimators.neural.training import NoisyGradientDescent, Recipe, as_tensors
from skdpal.estimators.patients import expected_number, read_patients, refuse_weights
from skdpal.estimators.rows import validated
from skdpal.estimators.scoring import exact_score, void_if_scored
from skdpal.privacy import events
from skdpal.privacy.mechanisms import release, require_ledger
from skdpal.privacy.validation import check_count, check_finite, check_real

__all__ = ["DPNeuralClassifier"]

_CHUNK = 1024  # rows that are predicted at once


class DPNeuralClassifier(
    BudgetRepr, ClassNamePrefixFeaturesOutMixin, TransformerMixin, CallbackSupportMixin, PublicTermsNet
):
    """A neural network trained by differentially private gradient descent.

    Each step sums the patients' gradients, each clipped to `max_grad_norm` (all rows of a patient together), and
    adds Gaussian noise; everything that training does beside that reads public numbers only (Abadi et al. 2016). Full batches by
    default: with a few dozen patients they give more signal for the same ε than sampled ones.

    Parameters
    ----------
    module : torch.nn.Module class or instance, default=GenomicClassifier
        Returns logits of shape (n_rows, n_classes). A class is made with ``module__*`` parameters, and with `n_features`
        and `n_classes` if it takes them; an instance is copied, and its weights, public, are where training starts.
    noise_multiplier : float, default=2.0
        Standard deviation of the noise on the sum of clipped gradients, in units of `max_grad_norm`.
    max_grad_norm : float, default=1.0
        Clipping norm of a patient's gradient.
    classes : sequence, optional
        All labels that may occur; needed outside `simulation`.
    ledger : PrivacyLedger or Handle, optional
        Who pays. None is allowed inside `simulation` only.
    sampling_rate : float, optional
        Poisson sampling: the public chance of each patient to be in a batch, in (0, 1). Such a fit has no μ: it needs a
        ledger with ``filter="renyi"`` or ``"planned"``. None is full batches.
    class_weight : dict or sequence, optional
        Public weight of each class in the loss; never computed from private labels.
    trainable : str or sequence of str, optional
        Shell patterns of the parameters that learn, as in ``"head.*"``. Default: all.
    adapter_rank : int, optional
        Freeze all weights, give each linear layer but the last a low-rank adapter of this rank, and train these and the last.
    public_validation : tuple of (X, y), optional
        PUBLIC rows. Training stops when their loss has not fallen for `patience` epochs, and the best weights are kept.
        What was charged stays charged.
    patience : int, default=5
        Epochs.
    engine : {"auto", "linear", "ghost", "hooks", "functorch"}, default="auto"
        How gradients are clipped: "linear" without per-patient gradients, for stacks of linear layers; the
        others are Opacus' own. The result is the same.
    random_state : int, optional
        For the first weights and dropout, which are public. The noise never depends on it.
    criterion : torch loss, default=CrossEntropyLoss
        Of logits and labels, row by row.
    lr : float, default=0.5
        Learning rate; callbacks such as `skorch.callbacks.LRScheduler` may change it.
    max_epochs : int, default=20
        Passes over the cohort; a pass is one step for full batches, ``round(1 / sampling_rate)`` steps for sampled ones.
    train_split : None
        Anything else is refused: a score of held-out patients is a release. See `public_validation`.
    verbose : int, default=0
        1 shows the epoch, and nothing about patients.
    **skorch_parameters
        Any other of `skorch.NeuralNetClassifier`: ``optimizer``, ``callbacks``, ``device``, ``module__*``, ...

    Attributes
    ----------
    module_ : torch.nn.Module
        The released network.
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    engine_ : str
        The engine that was used.
    history : skorch.history.History
        Learning rates and, with `public_validation`, public losses; nothing about patients.

    Notes
    -----
    Charged: `privacy_event` by each `fit` and `partial_fit`, before X is read: ``events.gaussian(noise_multiplier, steps)``, or
    ``events.poisson_gaussian``. `predict`, `predict_proba` and `transform` are post-processing and free. There is no
    internal validation split, no training loss, no batch statistics.

    Examples
    --------
    >>> import numpy as np, skdpal
    >>> from skdpal.estimators.neural.modules import GenomicClassifier
    >>> ledger = skdpal.PrivacyLedger(skdpal.PrivacyBudget(epsilon=2.0))
    >>> model = skdpal.DPNeuralClassifier(
    ...     GenomicClassifier, noise_multiplier=10.0, classes=[False, True], ledger=ledger, module__widths=(16, 8))
    >>> X = np.random.default_rng(0).normal(size=(30, 50))
    >>> model.fit(X, X[:, 0] > 0, record_ids=range(30)).predict_proba(X).shape
    (30, 2)
    >>> model.transform(X).shape
    (30, 8)
    """

    def __init__(
        self,
        module: Any = GenomicClassifier,
        noise_multiplier: float = 2.0,
        max_grad_norm: float = 1.0,
        classes: Any = None,
        ledger: Any = None,
        *,
        sampling_rate: float | None = None,
        class_weight: Any = None,
        trainable: Any = None,
        adapter_rank: int | None = None,
        public_validation: Any = None,
        patience: int = 5,
        engine: str = "auto",
        random_state: int | None = None,
        criterion: Any = torch.nn.CrossEntropyLoss,
        lr: float = 0.5,
        max_epochs: int = 20,
        train_split: Any = None,
        verbose: int = 0,
        **skorch_parameters: Any,
    ) -> None:
        super().__init__(
            module,
            criterion=criterion,
            lr=lr,
            max_epochs=max_epochs,
            train_split=train_split,
            classes=classes,
            verbose=verbose,
            **skorch_parameters,
        )
        self.noise_multiplier = noise_multiplier
        self.max_grad_norm = max_grad_norm
        self.ledger = ledger
        self.sampling_rate = sampling_rate
        self.class_weight = class_weight
        self.trainable = trainable
        self.adapter_rank = adapter_rank
        self.public_validation = public_validation
        self.patience = patience
        self.engine = engine
        self.random_state = random_state

    # -- what it costs -------------------------------------------------------------------------

    def privacy_event(self, n_records: float | None = None) -> events.Event:
        """What one `fit` or `partial_fit` costs, whatever the number of records."""
        return self._recipe(1.0).event

    # -- learning ------------------------------------------------------------------------------

    @with_callbacks
    def fit(
        self, X: Any, y: Any, *, record_ids: Any = None, expected_records: float | None = None, **unknown: Any
    ) -> Self:
        """Charge, then train from the first weights (from the present ones with ``warm_start=True``).

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            At least one row.
        y : array-like of shape (n_rows,)
            Labels, all in `classes`.
        record_ids : sequence of length n_rows, optional
            The patients; the rows of one patient are clipped together.
        expected_records : float, optional
            The public number of patients, which normalises every step. Default: the number in X, unless a
            hidden selection was made, after which the true number is private and the expectation must be given.

        Raises
        ------
        BudgetExhausted
            Before X is read.
        """
        refuse_weights("fit", unknown)
        first = not (self.warm_start and self.initialized_)
        return self._learn(X, y, None, record_ids, expected_records, first=first, label="fit", least=1)

    @with_callbacks
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
        """Charge, then train on a new cohort only, from the present weights.

        Zero rows are a cohort: charged, and trained on noise alone. Parameters as in `fit`.
        """
        refuse_weights("partial_fit", unknown)
        label = f"partial_fit {getattr(self, 'cohorts_', 0)}" if self.initialized_ else "fit"
        return self._learn(
            X, y, classes, record_ids, expected_records, first=not self.initialized_, label=label, least=0
        )

    # -- what the released network says ----------------------------------------------------------

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest label of each row."""
        best = np.argmax(self.predict_proba(X), axis=1)
        return self.classes_[best]

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of shape (n_rows, n_classes)."""
        return self._probabilities(self._forward(self._rows(X)))

    def predict_proba_samples(self, X: Any, n_samples: int = 20, *, seed: int = 0) -> np.ndarray:
        """Answers of `n_samples` networks, each with a dropout mask of its own that all rows share.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
        n_samples : int, default=20
            Number of masks.
        seed : int, default=0
            Public: masks need not be secret.

        Returns
        -------
        ndarray of shape (n_samples, n_rows, n_classes)
            All alike if the module has no dropout.
        """
        rows, answers = self._rows(X), []
        for number in range(check_count("n_samples", n_samples, least=1)):
            generator = torch.Generator().manual_seed(check_count("seed", seed) * 100_003 + number)
            with masked(self.module_, generator) if dropout_layers(self.module_) else nullcontext():
                answers.append(self._probabilities(self._forward(rows, chunk=max(len(rows), 1))))
        return np.stack(answers)

    def transform(self, X: Any) -> np.ndarray:
        """Latent features: what enters the last linear layer, of shape (n_rows, n_latent)."""
        rows = self._rows(X)
        with watched(last_linear(self.module_)) as seen:
            self._forward(rows)
        return torch.cat(seen).cpu().numpy().astype(np.float64)

    @property
    def _n_features_out(self) -> int:
        return last_linear(self.module_).in_features

    def score(self, X: Any, y: Any, sample_weight: Any = None, *, public: bool = False) -> float:
        """Exact accuracy: free on public data, an uncovered release on private data.

        Parameters
        ----------
        X, y, sample_weight : array-like
            As in scikit-learn.
        public : bool, default=False
            Declare that X and y are public. Otherwise the ledger's certificate becomes void.
            `skdpal.model_selection.private_accuracy` pays instead.
        """
        check_is_fitted(self, "module_")
        exact_score(self, public)
        return super().score(X, y, sample_weight)

    def fingerprint(self) -> str:
        """Digest of the released weights; it names the round in which a query is asked."""
        check_is_fitted(self, "module_")
        digest = hashlib.sha256()
        for value in self.module_.state_dict().values():
            digest.update(np.ascontiguousarray(value.detach().cpu().numpy()).tobytes())
        return digest.hexdigest()

    # -- inside --------------------------------------------------------------------------------

    def _recipe(self, expected_records: float) -> Recipe:
        rate = self.sampling_rate
        if rate is not None:
            rate = check_real("sampling_rate", rate, above=0.0, below=1.0)
        return Recipe(
            self.noise_multiplier, check_count("max_epochs", self.max_epochs, least=1), rate, expected_records
        )

    def _learn(
        self,
        X: Any,
        y: Any,
        classes: Any,
        record_ids: Any,
        expected: float | None,
        *,
        first: bool,
        label: str,
        least: int,
    ) -> Self:
        ledger = require_ledger(self.ledger)
        price = self.privacy_event()
        if ledger is not None:
            ledger.require(price, label)
            expected_number(ledger, expected)
        patients = read_patients(
            self,
            X,
            y,
            classes=self.classes if classes is None else classes,
            record_ids=record_ids,
            expected_records=expected,
            first=first,
            least=least,
        )
        if first:
            self.classes_inferred_ = patients.classes
            self.schema_ = (patients.rows.shape[1], len(patients.classes))
            self.cohorts_ = 0
            self.initialize()
        recipe = self._recipe(patients.expected_records)
        before = None if first else copy.deepcopy(self.module_.state_dict())
        trainee = Trainer(self, recipe)
        void_if_scored(ledger)
        try:
            with self._public_randomness():
                release(
                    lambda: as_tensors(patients.rows, patients.codes),
                    NoisyGradientDescent(recipe, trainee, self.device),
                    ledger,
                    label,
                    record_ids=patients.ids,
                )
        except BaseException:
            self._forget(before)
            raise
        finally:
            trainee.end()
        self.cohorts_ += 1
        return self

    def _forget(self, before: Any) -> None:
        """Drop half-trained weights, which nobody planned to release."""
        if before is None:
            self.initialized_ = False
            vars(self).pop("module_")
        else:
            self.module_.load_state_dict(before)

    def _rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self, "module_")
        return check_finite("X", validated(self, X, reset=False))

    def _forward(self, rows: np.ndarray, chunk: int = _CHUNK) -> torch.Tensor:
        table = torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))
        self.module_.eval()
        with torch.no_grad():
            outputs = [self.module_(part.to(self.device)) for part in torch.split(table, chunk)]
        return torch.cat([out[0] if isinstance(out, tuple) else out for out in outputs])

    def _probabilities(self, outputs: torch.Tensor) -> np.ndarray:
        chances = self._get_predict_nonlinearity()(outputs).double()
        return (chances / chances.sum(dim=1, keepdim=True)).cpu().numpy()
