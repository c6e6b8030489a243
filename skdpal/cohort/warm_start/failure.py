"""When a study has failed to start."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from skdpal.privacy.validation import check_count, check_finite

__all__ = ["cold_start_failures"]

_ROUNDING = 1e-9  # a mean of three fractions is no worse than itself


def cold_start_failures(accuracies: Any, majority: Any, public: Any = None, *, releases: int = 3) -> pd.DataFrame:
    """Whether each study failed to start.

    A study fails if the mean accuracy of its first three released models (the start's and those of rounds 1 and 2) is
    below the share of the commonest class among those who judge, or below the public model alone. Ties are not below.

    Parameters
    ----------
    accuracies : array-like of shape (n_studies, n_releases)
        Of each released model, in order, on the patients who judge; in [0, 1].
    majority : float or array-like of shape (n_studies,)
        Share of the commonest class among those who judge.
    public : float or array-like of shape (n_studies,), optional
        Accuracy of the public model alone, on the same patients. Default: there is none, and only the majority counts.
    releases : int, default=3
        How many releases are the start.

    Returns
    -------
    DataFrame of shape (n_studies, 6)
        "accuracy": mean of the first releases; "below_majority", "below_public", "fails": of that mean; "any", "every":
        whether one, or each, of the first releases is below either bar by itself.

    Raises
    ------
    ValueError
        If accuracies are no fractions, or there are too few releases.

    Notes
    -----
    A pure function of numbers. Exact accuracies of private patients are an uncovered release: use it on published
    cohorts, in simulation.

    Examples
    --------
    >>> from skdpal.cohort import cold_start_failures
    >>> cold_start_failures([[0.5, 0.7, 0.9], [0.7, 0.6, 0.6]], majority=0.6, public=[0.7, 0.8])["fails"].tolist()
    [False, True]
    """
    releases = check_count("releases", releases, least=1)
    table = check_finite("accuracies", accuracies)
    if table.ndim != 2 or table.shape[1] < releases:
        raise ValueError(
            f"Expected accuracies of shape (n_studies, n_releases) with at least {releases} releases. Found shape {table.shape}. "
            "Pass one row for each study, or lower releases."
        )
    first = table[:, :releases]
    bars = {"majority": _bar("majority", majority, len(table))}
    bars["public"] = np.full(len(table), -np.inf) if public is None else _bar("public", public, len(table))
    for name, values in {"accuracies": first, **({"majority": bars["majority"]})}.items():
        if ((values < 0) | (values > 1)).any():
            raise ValueError(f"Expected {name} to be in [0, 1]. Pass fractions, not percents.")
    mean = first.mean(axis=1)
    higher = np.maximum(bars["majority"], bars["public"])
    each = _below(first, higher[:, None])
    return pd.DataFrame(
        {
            "accuracy": mean,
            "below_majority": _below(mean, bars["majority"]),
            "below_public": _below(mean, bars["public"]),
            "fails": _below(mean, higher),
            "any": each.any(axis=1),
            "every": each.all(axis=1),
        }
    )


def _below(values: NDArray[np.float64], bar: NDArray[np.float64]) -> NDArray[np.bool_]:
    return values < bar - _ROUNDING


def _bar(name: str, value: Any, n_studies: int) -> NDArray[np.float64]:
    """One number for each study."""
    bar = check_finite(name, value)
    if bar.shape not in ((), (n_studies,)):
        raise ValueError(
            f"Expected {name} to be one number, or one for each of {n_studies} studies. Found shape {bar.shape}."
        )
    return np.broadcast_to(bar, (n_studies,)).astype(np.float64)
