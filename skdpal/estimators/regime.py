"""How much a private cohort can teach, from public numbers alone.

κ = n μ / √d compares the signal of n patients with the noise of one release in d dimensions. Every function here
takes the public or expected number of patients, never a realised one, so its answers may be shown and acted on.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

from skdpal.privacy.randomness import current_simulation
from skdpal.privacy.validation import check_count, check_real

__all__ = [
    "LINEAR",
    "USELESS",
    "WeakSignalWarning",
    "kappa",
    "recommended_components",
    "recommended_steps",
    "warn_if_weak",
]

USELESS = 2.0  # below, patients alone give no useful model
LINEAR = 8.0  # above, there is signal for more than prototypes
_MANY_STEPS = 16.0
_ENOUGH = 24  # dimensions, with a prior: more were not better on any cohort of docs/benchmarks.md


class WeakSignalWarning(UserWarning):
    """So much noise for so few patients that no useful model can be expected."""


def kappa(
    expected_records: float | Sequence[float], noise_multiplier: float | Sequence[float], n_components: int
) -> float:
    """Signal to noise of what is released about a cohort.

    Parameters
    ----------
    expected_records : float or sequence of float
        Public number, or expectation, of patients; of each release, if there are several.
    noise_multiplier : float or sequence of float
        Of each release; μ is its inverse. For T steps of one training it is that of one step divided by √T.
    n_components : int
        Dimension d of the rows.

    Returns
    -------
    float
        n μ / √d; for several releases the root of the sum of their squares, so that a cohort cut in r equal parts
        has n μ / √(d r).

    Examples
    --------
    >>> from skdpal.estimators.regime import kappa
    >>> round(kappa(expected_records=32, noise_multiplier=2.0, n_components=16), 1)
    4.0
    >>> round(kappa([16, 16], [2.0, 2.0], n_components=16), 1)
    2.8
    """
    records = expected_records if isinstance(expected_records, Sequence) else [expected_records]
    noises = noise_multiplier if isinstance(noise_multiplier, Sequence) else [noise_multiplier] * len(records)
    if len(noises) != len(records):
        raise ValueError(
            f"Expected noise_multiplier to have one number for each of expected_records, {len(records)}. "
            f"Found {len(noises)}. Pass one number for all, or one for each."
        )
    n_components = check_count("n_components", n_components, least=1)
    signals = [
        check_real("expected_records", one, above=0.0, closed=True) / check_real("noise_multiplier", noise, above=0.0)
        for one, noise in zip(records, noises, strict=True)
    ]
    return math.hypot(*signals) / math.sqrt(n_components)


def recommended_components(
    expected_records: float, noise_multiplier: float, *, n_public: int | None = None, most: int = 64
) -> int:
    """The dimension of an embedding, from public numbers.

    Without a public prior the largest d with κ >= 2. With one, which carries the directions that noise
    drowns, κ does not bind: 24, or as many as the public rows allow.

    Parameters
    ----------
    expected_records, noise_multiplier : float
        As in `kappa`.
    n_public : int, optional
        Public labelled rows behind the prior. Default: there is no prior.
    most : int, default=64
        Upper limit, for example the number of genes.

    Returns
    -------
    int
        At least 2, unless `most` or `n_public` are smaller.

    Examples
    --------
    >>> from skdpal.estimators.regime import recommended_components
    >>> recommended_components(expected_records=32, noise_multiplier=2.0)
    64
    >>> recommended_components(expected_records=10, noise_multiplier=2.0)
    6
    >>> recommended_components(expected_records=10, noise_multiplier=2.0, n_public=46)
    24
    """
    most = check_count("most", most, least=1)
    allowed = kappa(expected_records, noise_multiplier, 1) / USELESS
    if n_public is None:
        return min(most, max(2, int(min(allowed**2, most))))
    return max(1, min(most, _ENOUGH, check_count("n_public", n_public, least=2) - 1))


def recommended_steps(strength: float) -> int:
    """Steps of private gradient descent: 1 below κ = 8, 4 up to 16, 16 above.

    Parameters
    ----------
    strength : float
        `kappa` of one step at the whole price.

    Examples
    --------
    >>> from skdpal.estimators.regime import recommended_steps
    >>> [recommended_steps(strength) for strength in (3.0, 12.0, 40.0)]
    [1, 4, 16]
    """
    return 1 if strength < LINEAR else 4 if strength < _MANY_STEPS else 16


def warn_if_weak(expected_records: float, noise_multiplier: float, n_components: int, *, stacklevel: int = 3) -> None:
    """Warn of κ < 2, outside simulations; for learners without a public prior, before they charge.

    Warns
    -----
    WeakSignalWarning
    """
    strength = kappa(expected_records, noise_multiplier, n_components)
    if strength >= USELESS or current_simulation() is not None:
        return
    warnings.warn(
        f"κ = n μ/√d = {strength:.2f} is below {USELESS:g} (n={expected_records:g} expected patients, "
        f"μ={1 / noise_multiplier:.3g}, d={n_components}): no useful model can be expected from these patients alone. "
        "Embed in fewer dimensions, pass a public prior, label more patients, or plan a larger epsilon.",
        WeakSignalWarning,
        stacklevel=stacklevel,
    )
