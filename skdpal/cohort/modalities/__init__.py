"""Several modalities of one patient: encoded, bounded and budgeted each by itself."""

from importlib import import_module
from typing import Any

_LATE = {
    "ClinicalEncoder": "clinical",
    "DPModalityClassifier": "classifier",
    "Modality": "blocks",
    "ModalityBlocks": "blocks",
    "ModalityPrior": "prior",
    "OnlyModalities": "utility",
    "modality_guarantees": "guarantee",
    "modality_tables": "inputs",
    "patient_epsilon": "guarantee",
    "rows_of": "inputs",
}

__all__ = list(_LATE)


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(f"skdpal.cohort.modalities.{_LATE[name]}"), name)
    raise AttributeError(f"module 'skdpal.cohort.modalities' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
