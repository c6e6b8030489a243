"""Utilities by name, those that are refused, and the score that everybody uses."""

from __future__ import annotations

from typing import Any

import numpy as np

from skdpal.query.utilities.base import NULL, Array, Utility
from skdpal.query.utilities.committee import Disagreement
from skdpal.query.utilities.dropout import Aleatoric, Bald
from skdpal.query.utilities.information import InformationGain
from skdpal.query.utilities.probabilities import Entropy, LeastConfidence, Margin, Random
from skdpal.query.utilities.rarity import Rarity
from skdpal.query.utilities.typicality import Coherence

__all__ = ["REFUSED", "UTILITIES", "score", "utility_of"]

UTILITIES: dict[str, Utility] = {
    utility.name: utility
    for utility in (
        Margin(),
        Entropy(),
        LeastConfidence(),
        Random(),
        InformationGain(),
        Bald(),
        Aleatoric(),
        Disagreement(),
        Rarity(),
        Coherence(),
    )
}

_CENTRES = (
    "it picks patients far from those already picked",
    "PrivateQuery(partition=...), which spreads the choice over public cells",
)
_BATCH = ("it scores a patient by the others in the batch", "Margin() with PrivateQuery(partition=...)")
_DENSITY = (
    "it scores a patient by how many others of the pool are near",
    "Typicality(prototypes), the closeness to public prototypes",
)
_POOL = ("it compares a patient with the rest of the pool", "Margin(), with public reference scores")

# name: what the score depends on, and what to use instead
REFUSED: dict[str, tuple[str, str]] = {
    "coreset": _CENTRES,
    "core_set": _CENTRES,
    "k_center": _CENTRES,
    "kmeans": _CENTRES,
    "diversity": _CENTRES,
    "badge": ("it picks gradients far from those already picked", "Margin() with PrivateQuery(partition=...)"),
    "ranked_batch": _BATCH,
    "batchbald": (
        "it scores a patient by what the others in the batch would tell",
        "Bald(), which scores each patient alone",
    ),
    "density": _DENSITY,
    "information_density": _DENSITY,
    "typiclust": _DENSITY,
    "probcover": (
        "it scores a patient by how many of the pool are covered anew",
        "Typicality(prototypes), or PrivateQuery(partition=...)",
    ),
    "rank": _POOL,
    "quantile": _POOL,
    "z_score": _POOL,
    "expected_error_reduction": (
        "it scores a patient by the model's doubt about the rest of the pool",
        "InformationGain(), which looks at one patient and the released posterior",
    ),
}

_ABOUT_ROWS = {"typicality": "Typicality(prototypes), with public rows", "per_patient": "PerPatient(function, name)"}


def utility_of(utility: str | Utility) -> Utility:
    """Look a utility up, and refuse those that compare patients.

    Parameters
    ----------
    utility : str or Utility
        A key of `UTILITIES`, or an object of `skdpal.query.utilities`.

    Raises
    ------
    ValueError
        If the name is unknown, or of a score that depends on other patients.
    TypeError
        If it is a bare function or anything else.

    Examples
    --------
    >>> from skdpal.query.utilities import utility_of
    >>> utility_of("margin")
    Margin()
    >>> utility_of("coreset")
    Traceback (most recent call last):
    ...
    ValueError: Expected utility to score each patient alone. Found 'coreset': it picks patients far from those already
    picked, so one patient would move everybody's score, and the price with it. Use PrivateQuery(partition=...), which
    spreads the choice over public cells.
    """
    if isinstance(utility, Utility):
        return utility
    if isinstance(utility, str):
        return _named(utility)
    if callable(utility):
        raise TypeError(
            "Expected utility to be a name or a Utility. Found a function, which could compare patients. "
            'Wrap it: PerPatient(function, name="...") calls it with one patient at a time.'
        )
    raise TypeError(
        f"Expected utility to be a name or a Utility. Found {type(utility).__name__}. Pass, e.g., Margin()."
    )


def score(utility: str | Utility, model: Any, X: Any) -> Array:
    """Scores that may be used: one for each row, 1/2 where there is none, from 0 to 1.

    Parameters
    ----------
    utility : str or Utility
        As in `utility_of`.
    model : object
        Released or public.
    X : array-like or DataFrame of shape (n_rows, n_features)
        Rows that are not finite get 1/2.

    Returns
    -------
    ndarray of shape (n_rows,), in [0, 1]
        Clipped last, so that one patient moves it by at most 1/2 from the middle.

    Raises
    ------
    ValueError
        If the utility does not give one number for each row.

    Examples
    --------
    >>> import numpy as np
    >>> from skdpal.query.utilities import score
    >>> score("random", None, np.zeros((0, 5)))
    array([], dtype=float64)
    """
    utility = utility_of(utility)
    found = np.asarray(utility.scores(model, X), dtype=np.float64)
    if found.shape != (len(X),):
        raise ValueError(
            f"Expected utility {utility.name!r} to give one number for each row, shape ({len(X)},). Found {found.shape}."
        )
    return np.clip(np.where(np.isnan(found), NULL, found), 0.0, 1.0)


def _named(name: str) -> Utility:
    known = UTILITIES.get(name)
    if known is not None:
        return known
    key = name.lower().replace("-", "_").replace(" ", "_")
    if key in REFUSED:
        why, instead = REFUSED[key]
        raise ValueError(
            f"Expected utility to score each patient alone. Found {name!r}: {why}, so one patient would move "
            f"everybody's score, and the price with it. Use {instead}."
        )
    words = ", ".join(repr(word) for word in UTILITIES)
    remedy = f"Pass {_ABOUT_ROWS[key]}." if key in _ABOUT_ROWS else "Pass one of these, or a Utility."
    raise ValueError(f"Expected utility to be one of {words}. Found {name!r}. {remedy}")
