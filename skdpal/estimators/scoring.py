"""Exact scores of private rows decide nothing without a trace.

A search asks an estimator to predict, scores the predictions itself and keeps the winner: no receipt pays for
that. What can be seen is the search, on the call stack of the fit that it asks for.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from typing import Any

from skdpal.privacy import PrivacyLeakWarning
from skdpal.privacy.randomness import current_simulation

__all__ = ["MARK", "SETTLED", "exact_score", "void_if_scored"]

MARK = "scores_are"  # an attribute of scorers: "public" or "private" (paid for)
SETTLED = "scores_are_settled"  # an attribute of a ledger's handle: whoever made it has dealt with the scores

_REASON = "chosen by uncharged scores"
# scikit-learn's functions that fit and score, and what they call the scorer
_SCORING = {
    "_fit_and_score": "scorer",
    "_incremental_fit_estimator": "scorer",
    "_permutation_test_score": "scorer",
    "_fit_and_score_over_thresholds": "curve_scorer",
    "_rfe_single_fit": "scorer",
}


def void_if_scored(ledger: Any) -> None:
    """Mark a ledger void if the running fit belongs to a search whose exact scores nobody pays for.

    Called by every `fit` of ours. It looks for scikit-learn's search or cross-validation on the call stack: that
    works in worker processes and through pipelines, and with scikit-learn 1.7 to 1.9.

    Parameters
    ----------
    ledger : PrivacyLedger or Handle or None
        Of the fit. Nothing happens in a simulation, without a ledger, or if all scorers of the search are marked
        as public or paid for (`skdpal.model_selection.public_scorer`, `make_private_scorer`).

    Warns
    -----
    PrivacyLeakWarning
        If it marks.
    """
    if ledger is None or current_simulation() is not None or getattr(ledger, SETTLED, False):
        return
    if all(hasattr(scorer, MARK) for scorer in _enclosing_scorers()):
        return
    ledger.mark_void(_REASON)
    warnings.warn(
        "A search or cross-validation scores private rows exactly, and no receipt pays for that; the certificate is "
        'now void. Pass scoring=public_scorer("accuracy") if the rows are public, or pay with '
        'make_private_scorer("accuracy", ...) or PrivateSearchCV, all of skdpal.model_selection.',
        PrivacyLeakWarning,
        stacklevel=3,
    )


def exact_score(estimator: Any, public: bool) -> None:
    """Mark a ledger void before an estimator scores itself on rows that were not declared public.

    Parameters
    ----------
    estimator : estimator
        Whose `ledger` paid for it.
    public : bool
        What the caller of `score` declared.

    Warns
    -----
    PrivacyLeakWarning
        If the rows are not public, outside `simulation`.
    """
    if public or current_simulation() is not None:
        return
    ledger = estimator.ledger
    if getattr(ledger, SETTLED, False) and _enclosing_scorers():
        return  # of the search only: a score that is asked for afterwards is another
    if ledger is not None:
        ledger.mark_void(_REASON)
    warnings.warn(
        "An exact score of private data leaves without a receipt; the certificate is now void. "
        "Pass public=True for public data, or pay with skdpal.model_selection.private_accuracy.",
        PrivacyLeakWarning,
        stacklevel=3,
    )


def _enclosing_scorers() -> list[Any]:
    """All scorers of all searches that are running now, outermost last."""
    return [scorer for found in _on_the_stack() for scorer in _each(found)]


def _on_the_stack() -> Iterator[Any]:
    frame: Any = sys._getframe(1)
    while frame is not None:
        variable = _SCORING.get(frame.f_code.co_name)
        if variable is not None and frame.f_globals.get("__name__", "").startswith("sklearn."):
            yield frame.f_locals.get(variable)
        frame = frame.f_back


def _each(scorer: Any) -> list[Any]:
    """One scorer, or those of several metrics."""
    scorer = getattr(scorer, "_scorers", scorer)
    return list(scorer.values()) if isinstance(scorer, dict) else [scorer]
