"""What a label would teach the prototype model, seen through the noise of the next release."""

from __future__ import annotations

from typing import Any

import numpy as np

from skdpal.privacy.validation import check_one_of, check_real
from skdpal.query.utilities.base import Array, Utility, holder_of, probabilities

__all__ = ["InformationGain"]


class InformationGain(Utility):
    """Expected reduction of the posterior's uncertainty by this label, given that it is seen through noise only.

    Parameters
    ----------
    noise_multiplier : float, optional
        PUBLIC: that of the next release. Default: the model's own.
    expected_records : float, default=1.0
        PUBLIC: labels that the next release is expected to hold, this one included; at least 1. Noise is shared
        by all of them, so in company a label counts for more.
    scale : {"relative", "absolute"}, default="relative"
        "relative": divided by the largest gain that any row could have under this model. "absolute":
        1 − exp(−2g) of the gain g, the share of the variance that the label removes; near 0 for all
        patients if noise is large.

    Raises
    ------
    TypeError
        If the model has no posterior over class means, as `DPPrototypeClassifier` has.

    Notes
    -----
    The posterior is Gaussian: along axis j of the within-class covariance (variance w_j) the mean m_kj of class k has
    variance C_kj. A patient of class k adds x/√2 to the class's sum, under noise N(0, σ²). With n patients, times √2,
    the release holds, of precision Λ_j(n) about m_kj, ::

        n m_kj + N(0, n w_j + 2σ²),    Λ_j(n) = n² / (n w_j + 2σ²)

    What the model says about x rests on the mean along x, ⟨m_k, x⟩. Its variance after such a release is ::

        v_k(n) = Σ_j x_j² C_kj / (1 + C_kj Λ_j(n))

    and since all is Gaussian the mutual information of the release and ⟨m_k, x⟩ is ½ log(v_k(0) / v_k(n)). One more
    label adds, when n_k = (expected_records − 1) f_k others of the class (fraction f_k) are expected, ::

        g(x) = Σ_k p_k(x) ½ log(v_k(n_k) / v_k(n_k + 1))    nats

    averaged over the posterior's settings. It is 0 without uncertainty about the means, falls to 0 as 1/σ² when noise
    grows, and does not depend on the length of x. A ratio of sums is at most the largest ratio of their terms, so ::

        g(x) ≤ max_k max_j ½ log((1 + C_kj Λ_j(n_k + 1)) / (1 + C_kj Λ_j(n_k)))

    with the average over settings inside the first maximum: the released, hence public, bound of "relative".

    Left out: the count 1/√2, which tells about class fractions the same for every patient of a class, and what
    the sums of other classes tell through a common shift. The gain follows the information-theoretic choice of data by
    MacKay (1992); that noise enters as a known likelihood follows Bernstein and Sheldon (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from skdpal import DPPrototypeClassifier
    >>> from skdpal.estimators import Release
    >>> from skdpal.query.utilities import InformationGain, score
    >>> released = Release(np.array([[9.0, 0.0], [0.0, 9.0]]), np.array([20.0, 5.0]), 2.0, 36.0)
    >>> model = DPPrototypeClassifier(classes=["common", "rare"]).restore([released])
    >>> score(InformationGain(), model, np.eye(2)).round(2)
    array([0.23, 0.53])
    """

    name = "information_gain"

    def __init__(
        self, noise_multiplier: float | None = None, *, expected_records: float = 1.0, scale: str = "relative"
    ) -> None:
        if noise_multiplier is not None:
            noise_multiplier = check_real("noise_multiplier", noise_multiplier, above=0.0)
        self.noise_multiplier = noise_multiplier
        self.expected_records = check_real("expected_records", expected_records, above=1.0, closed=True)
        self.scale = check_one_of("scale", scale, ["relative", "absolute"])

    def of_rows(self, model: Any, X: Any) -> Array:
        """The gain, scaled."""
        gains, bound = self._gains(model, X)
        if self.scale == "absolute":
            return -np.expm1(-2 * gains)
        return gains / bound if bound > 0 else np.zeros(len(gains))

    def gain(self, model: Any, X: Any) -> Array:
        """Gain of each row in nats, before scaling."""
        return self._gains(model, X)[0]

    def _gains(self, model: Any, X: Any) -> tuple[Array, float]:
        """Gains in nats, and the largest that any row could have."""
        posterior = self._posterior(model)
        weighted = probabilities(model, X)  # checks X, too
        shares = _shares(np.asarray(X, dtype=np.float64), posterior.axes)
        before, after = self._variances(model, posterior)
        gains, bounds = np.zeros(len(shares)), np.zeros(weighted.shape[1])
        for weight, old, new in zip(posterior.weights, before, after, strict=True):
            gains += weight * (weighted * _half_log(shares @ old, shares @ new)).sum(axis=1)
            bounds += weight * _half_log(old, new).max(axis=0)
        return gains, float(bounds.max())

    def _variances(self, model: Any, posterior: Any) -> tuple[Array, Array]:
        """Of the class means along each axis without and with this label, each (n_settings, n_features, n_classes)."""
        variance = np.einsum("sdkk->sdk", sum(posterior.covariances.values()))
        others = (self.expected_records - 1) * np.asarray(posterior.fractions)
        noise = _noise(model) if self.noise_multiplier is None else self.noise_multiplier

        def left(records: Array) -> Array:
            return variance / (1 + variance * (records**2 / (records * posterior.within[:, None] + 2 * noise**2)))

        return left(others), left(others + 1)

    def _posterior(self, model: Any) -> Any:
        holder = holder_of(model, "posterior_")
        if holder is None:
            found = type(getattr(model, "estimator", model)).__name__
            raise TypeError(
                f"Expected a fitted DPPrototypeClassifier, whose posterior tells what is not yet known. Found {found}. "
                'Use Bald() for a network with dropout, or utility="entropy" for any classifier.'
            )
        return holder.posterior_

    def __repr__(self) -> str:
        return (
            f"InformationGain(noise_multiplier={self.noise_multiplier!r}, "
            f"expected_records={self.expected_records!r}, scale={self.scale!r})"
        )


def _noise(model: Any) -> float:
    """That of the model's own releases."""
    holder = holder_of(model, "noise_multiplier")
    if holder is None:
        raise ValueError(
            "Expected noise_multiplier, because the model has none of its own. Found None. "
            "Pass InformationGain(noise_multiplier=...), that of the next release."
        )
    return check_real("noise_multiplier", holder.noise_multiplier, above=0.0)


def _shares(rows: Array, axes: Array) -> Array:
    """Squared coordinates along the axes, of rows of length 1; a row of zeros has no direction, so all equally."""
    squares = (rows @ axes) ** 2
    total = squares.sum(axis=1, keepdims=True)
    even = np.full_like(squares, 1.0 / squares.shape[1])
    return np.divide(squares, total, out=even, where=total > 0)


def _half_log(old: Array, new: Array) -> Array:
    """½ log(old/new), 0 where nothing was unknown."""
    return 0.5 * np.log(np.divide(old, new, out=np.ones_like(old), where=new > 0))
