"""The three troubles of a rare-cancer cohort: cold start, many modalities, experts who disagree; and several hospitals."""

from importlib import import_module
from typing import Any

_LATE = {
    "ClinicalEncoder": "skdpal.cohort.modalities",
    "DPModalityClassifier": "skdpal.cohort.modalities",
    "LabelPrivacy": "skdpal.cohort.experts",
    "Modality": "skdpal.cohort.modalities",
    "ModalityBlocks": "skdpal.cohort.modalities",
    "ModalityPrior": "skdpal.cohort.modalities",
    "OnlyModalities": "skdpal.cohort.modalities",
    "Panel": "skdpal.cohort.experts",
    "PublicSource": "skdpal.cohort.warm_start",
    "RandomProjection": "skdpal.cohort.warm_start",
    "Reader": "skdpal.cohort.experts",
    "SecondOpinion": "skdpal.cohort.experts",
    "Sites": "skdpal.cohort.sites",
    "SwitchRule": "skdpal.cohort.warm_start",
    "VoteHistogram": "skdpal.cohort.experts",
    "WarmStart": "skdpal.cohort.warm_start",
    "cold_start_failures": "skdpal.cohort.warm_start",
    "label_epsilon": "skdpal.cohort.experts",
    "modality_guarantees": "skdpal.cohort.modalities",
    "modality_tables": "skdpal.cohort.modalities",
    "patient_epsilon": "skdpal.cohort.modalities",
    "read_provenance": "skdpal.cohort.omics",
    "release_votes": "skdpal.cohort.experts",
    "rows_of": "skdpal.cohort.modalities",
    "write_predictions": "skdpal.cohort.omics",
}

__all__ = list(_LATE)


def __getattr__(name: str) -> Any:
    if name in _LATE:
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module 'skdpal.cohort' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
