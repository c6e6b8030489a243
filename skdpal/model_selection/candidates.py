"""What a search will try: lists of parameters, public and fixed before anything is fitted."""

from __future__ import annotations

from collections import Counter
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    LeaveOneOut,
    LeavePOut,
    ParameterGrid,
    ParameterSampler,
    RandomizedSearchCV,
    RepeatedKFold,
    ShuffleSplit,
)
from sklearn.model_selection._search import BaseSearchCV

from skdpal.model_selection.payers import is_ledger
from skdpal.privacy.validation import check_count

__all__ = ["candidates_of_search", "folds_of_search", "list_of"]

# splitters that assign rows by position alone; stratified ones read the labels of all patients
_BLIND_SPLITTERS = (KFold, RepeatedKFold, ShuffleSplit, LeaveOneOut, LeavePOut)


def list_of(candidates: Any, n_candidates: int | None = None, random_state: int = 0) -> list[dict[str, Any]]:
    """All candidates of a private or public search.

    Parameters
    ----------
    candidates : dict or list of dict
        A list, tuple or array is an axis of a grid; what has `rvs` is a distribution; anything else one value.
    n_candidates : int, optional
        Draw as many, once, with the public `random_state`; needed for distributions.
    random_state : int, default=0
        Public.
    """
    spaces = [candidates] if isinstance(candidates, dict) else list(candidates)
    if not spaces or not all(isinstance(space, dict) for space in spaces):
        raise ValueError("Expected candidates to be a dict, or a list of dicts, not empty. Pass {parameter: [values]}.")
    spaces = [{name: _axis(values) for name, values in space.items()} for space in spaces]
    if any(is_ledger(name) for space in spaces for name in space):
        raise ValueError("Expected candidates without a ledger. One ledger pays for the search: pass ledger= to it.")
    if not all(isinstance(axis, list) and axis for space in spaces for axis in space.values()):
        if n_candidates is None:
            raise ValueError("Expected n_candidates with distributions, and no empty list. Pass n_candidates=8, say.")
    elif n_candidates is None or check_count("n_candidates", n_candidates, least=1) >= len(ParameterGrid(spaces)):
        return list(ParameterGrid(spaces))
    n_candidates = check_count("n_candidates", n_candidates, least=1)
    return list(ParameterSampler(spaces, n_candidates, random_state=check_count("random_state", random_state)))


def candidates_of_search(search: BaseSearchCV) -> tuple[list[Any], int | None, str]:
    """What scikit-learn's search will fit.

    Returns
    -------
    candidates : list of estimator
    draws : int or None
        If it is not known which of the candidates, the number of draws; else each is fitted once a fold.
    culprit : str
        Why that cannot be known.
    """
    name = type(search).__name__
    if type(search) is GridSearchCV:
        return _estimators(search, ParameterGrid(search.param_grid)), None, ""
    if type(search) is not RandomizedSearchCV:
        return [], None, f"{name} decides by scores what to fit; use GridSearchCV, or PrivateSearchCV"
    spaces = search.param_distributions
    spaces = [spaces] if isinstance(spaces, dict) else list(spaces)
    enumerable = not any(hasattr(axis, "rvs") for space in spaces for axis in space.values())
    if enumerable and search.n_iter >= len(ParameterGrid(spaces)):
        return _estimators(search, ParameterGrid(spaces)), None, ""
    if isinstance(search.random_state, Integral):
        drawn = ParameterSampler(spaces, search.n_iter, random_state=search.random_state)
        return _estimators(search, drawn), None, ""
    if enumerable:
        return _estimators(search, ParameterGrid(spaces)), search.n_iter, ""
    return [], None, f"{name} may draw a candidate of any price; pass random_state=0, or lists"


def folds_of_search(search: BaseSearchCV, n: int) -> tuple[Counter[int], str]:
    """How many fits there are of each number of rows; or why that depends on patients."""
    splitter = search.cv
    if type(splitter) not in _BLIND_SPLITTERS:  # None and numbers stratify classifiers
        return Counter(), f"cv={splitter!r} may split by the labels of all patients; pass cv=KFold(5)"
    return Counter(len(train) for train, _ in splitter.split(np.zeros((n, 1)))), ""


def _estimators(search: Any, parameters: Any) -> list[Any]:
    return [clone(search.estimator).set_params(**chosen) for chosen in parameters]


def _axis(values: Any) -> Any:
    if isinstance(values, list | tuple | np.ndarray):
        return list(values)
    return values if hasattr(values, "rvs") else [values]
