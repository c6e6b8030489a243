"""Tables of patients, checked without quoting them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

__all__ = ["validated"]


def validated(estimator: Any, X: Any, **options: Any) -> np.ndarray:
    """scikit-learn's checks of X, without the patients' values that its messages quote."""
    try:
        return validate_data(estimator, X, dtype=np.float64, ensure_all_finite=False, **options)
    except ValueError as error:
        message = str(error)
    if "could not convert" in message:
        message = "Expected X to be numeric. Convert its columns to numbers first."
    elif "array=" in message or "Complex data" in message:
        message = (
            f"{message.splitlines()[0].rstrip(':')}. Reshape your data: X has one row a patient, real numbers only."
        )
    raise ValueError(message)
