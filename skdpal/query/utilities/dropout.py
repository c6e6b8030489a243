"""Doubt of a network, from its answers under dropout."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from scipy.special import entr

from skdpal.privacy.validation import check_count
from skdpal.query.utilities.base import Array, Utility, holder_of, take

__all__ = ["Aleatoric", "Bald"]


class _Dropout(Utility):
    """Answers of networks with a mask each."""

    def __init__(self, n_samples: int = 20, *, seed: int = 0) -> None:
        self.n_samples = check_count("n_samples", n_samples, least=1)
        self.seed = check_count("seed", seed)

    def of_rows(self, model: Any, X: Any) -> Array:
        """Row by row: in single precision the last digits of a product depend on who else is in the batch."""
        network = holder_of(model, "predict_proba_samples")
        if network is None:
            found = type(getattr(model, "estimator", model)).__name__
            raise TypeError(
                f"Expected a model with predict_proba_samples, as DPNeuralClassifier has. Found {found}. "
                "Use InformationGain() for DPPrototypeClassifier, Disagreement() for a committee, "
                'or utility="entropy" for any classifier.'
            )
        return np.array([self._one(network, take(X, [position])) for position in range(len(X))])

    def _one(self, network: Any, row: Any) -> float:
        answers = network.predict_proba_samples(row, self.n_samples, seed=self.seed)[:, 0]
        answers = np.asarray(answers, dtype=np.float64)
        expected = float(entr(answers).sum(axis=1).mean())
        total = float(entr(answers.mean(axis=0)).sum())
        return self._doubt(total, expected) / float(np.log(max(answers.shape[1], 2)))

    @abstractmethod
    def _doubt(self, total: float, expected: float) -> float:
        """Which part of the entropy counts."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(n_samples={self.n_samples}, seed={self.seed})"


class Bald(_Dropout):
    """Epistemic doubt: what the label would tell about the network, by MC dropout.

    Parameters
    ----------
    n_samples : int, default=20
        Number of dropout masks.
    seed : int, default=0
        PUBLIC: for fixed masks a score is a function of one row, so masks need be neither fresh nor secret.

    Raises
    ------
    TypeError
        If the model has no `predict_proba_samples`.

    Notes
    -----
    Entropy of the mean answer minus mean entropy of the answers, divided by ln K (Houlsby et al., 2011; Gal et al., 2017). All rows
    share the mask of a pass, so neither place nor company of a row matters; rows that are not finite get 1/2, not
    the network's answer. It is 0 for a network without dropout, and dropout does not see privacy noise.

    Examples
    --------
    >>> from skdpal.query.utilities import Bald
    >>> Bald(n_samples=30)
    Bald(n_samples=30, seed=0)
    """

    name = "bald"

    def _doubt(self, total: float, expected: float) -> float:
        return total - expected


class Aleatoric(_Dropout):
    """Doubt that more labels would not remove: mean entropy of the answers under dropout, divided by ln K.

    Parameters
    ----------
    n_samples, seed
        As in `Bald`; the sum of the two scores is the entropy of the mean answer.

    Examples
    --------
    >>> from skdpal.query.utilities import Aleatoric
    >>> Aleatoric()
    Aleatoric(n_samples=20, seed=0)
    """

    name = "aleatoric"

    def _doubt(self, total: float, expected: float) -> float:
        return expected
