"""Released models as plain arrays: nothing is executed on loading, nothing else is stored.

The size of a file follows from public shapes alone.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from skdpal.estimators import DPPrototypeClassifier, PublicEncoder, PublicPrior, Release
from skdpal.estimators.posterior import infer

__all__ = ["load_model", "save_model"]

SCHEMA = 1


def save_model(path: str | os.PathLike[str], encoder: PublicEncoder, classifier: DPPrototypeClassifier) -> None:
    """Write an encoder and a classifier, as released, to an ``.npz`` file.

    Parameters
    ----------
    path : path
        Overwritten if it exists.
    encoder : PublicEncoder
        Fitted.
    classifier : DPPrototypeClassifier
        Fitted.
    """
    weight = classifier.prior_weight
    arrays: dict[str, Any] = {
        "schema": SCHEMA,
        "encoder_mean": encoder.mean_,
        "encoder_components": encoder.components_,
        "encoder_sample_scaling": encoder.sample_scaling or "",
        "classes": np.array(classifier.classes_.tolist()),  # object arrays would need pickle
        "prior_weight": np.nan if weight == "fitted" else weight,
        "sums": np.array([release.sums for release in classifier.releases_]),
        "counts": np.array([release.counts for release in classifier.releases_]),
        "noise_multiplier": np.array([release.noise_multiplier for release in classifier.releases_]),
        "expected_records": np.array([release.expected_records for release in classifier.releases_]),
    }
    if classifier.prior is not None:
        arrays |= {"prior_means": classifier.prior.means, "prior_variance": classifier.prior.within_variance}
    if hasattr(encoder, "feature_names_in_"):
        arrays["feature_names"] = np.asarray(encoder.feature_names_in_, dtype=str)
    np.savez(path, **arrays)


def load_model(path: str | os.PathLike[str]) -> Pipeline:
    """Read a released model.

    Parameters
    ----------
    path : path
        A file of `save_model`, for example ``release/models/final.npz`` of a study.

    Returns
    -------
    Pipeline
        Encoder and classifier, ready to predict from the genes; it has no ledger and cannot learn.

    Raises
    ------
    ValueError
        If the file has another schema.
    """
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    if arrays.get("schema", -1) != SCHEMA:
        raise ValueError(f"Expected a model file of schema {SCHEMA}. Found another. Update skdpal to read {path}.")
    encoder = PublicEncoder(
        n_components=len(arrays["encoder_components"]),
        sample_scaling=str(arrays["encoder_sample_scaling"]) or None,
    )
    encoder.mean_, encoder.components_ = arrays["encoder_mean"], arrays["encoder_components"]
    encoder.n_features_in_, encoder._n_features_out = len(encoder.mean_), len(encoder.components_)
    if "feature_names" in arrays:
        encoder.feature_names_in_ = arrays["feature_names"].astype(object)
    return Pipeline([("encoder", encoder), ("classifier", _classifier(arrays))])


def _classifier(arrays: dict[str, Any]) -> DPPrototypeClassifier:
    weight = float(arrays["prior_weight"])
    prior = None
    if "prior_means" in arrays:
        prior = PublicPrior(arrays["classes"], arrays["prior_means"], float(arrays["prior_variance"]))
    columns = ("sums", "counts", "noise_multiplier", "expected_records")
    rows = zip(*(arrays[name] for name in columns), strict=True)
    releases = [Release(sums, counts, float(noise), float(expected)) for sums, counts, noise, expected in rows]
    classifier = DPPrototypeClassifier(
        releases[-1].noise_multiplier,
        prior,
        arrays["classes"].tolist(),
        prior_weight="fitted" if np.isnan(weight) else weight,
    )
    classifier.classes_, classifier.releases_ = arrays["classes"], releases
    classifier.release_ = (releases[-1].sums, releases[-1].counts)
    classifier.n_features_in_ = releases[-1].sums.shape[1]
    known = (None, None) if prior is None else (prior.means, prior.within_variance)
    classifier.posterior_ = infer(releases, *known, None if np.isnan(weight) else weight)
    return classifier
