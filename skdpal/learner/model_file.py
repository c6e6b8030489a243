"""Released models as plain arrays: nothing is executed on loading, nothing else is stored.

The size of a file follows from public shapes alone.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from skdpal.estimators import DPPrototypeClassifier, PublicEncoder, PublicPrior, Release, Transition

__all__ = ["load_model", "save_model"]

SCHEMA = 2
_WITH_TRANSITION = 3  # older versions must not read it: they would take labels for classes


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

    Raises
    ------
    ValueError
        If the encoder is a network, which does not fit into plain arrays.

    Examples
    --------
    >>> import os, tempfile, skdpal
    >>> from skdpal.learner import load_model, save_model
    >>> data = skdpal.datasets.load_srbct()
    >>> lines = data.is_cell_line
    >>> encoder = skdpal.PublicEncoder(n_components=8).fit(data.data[lines], data.target[lines])
    >>> prior = skdpal.DPPrototypeClassifier.prior_from_public(encoder.transform(data.data[lines]), data.target[lines])
    >>> model = skdpal.DPPrototypeClassifier(prior=prior).public_model()  # no patient, so nothing is charged
    >>> path = os.path.join(tempfile.mkdtemp(), "model.npz")
    >>> save_model(path, encoder, model)
    >>> load_model(path).predict(data.data[lines]).shape
    (46,)
    """
    if encoder.method != "whitened-pca":
        raise ValueError(
            f'Expected an encoder of method="whitened-pca". Found {encoder.method!r}. Pickle the pipeline instead: '
            "a network does not fit into a file of plain arrays."
        )
    weight = classifier.prior_weight
    arrays: dict[str, Any] = {
        "schema": SCHEMA if classifier.transition is None else _WITH_TRANSITION,
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
    prior = classifier.prior
    if prior is not None:
        arrays |= {"prior_means": prior.means, "prior_variance": prior.within_variance}
        optional = {"prior_covariance": prior.covariance, "prior_counts": prior.counts}
        arrays |= {name: array for name, array in optional.items() if array is not None}
    if classifier.class_prior is not None:
        arrays["class_prior"] = np.asarray(classifier.class_prior, dtype=np.float64)
    if classifier.transition is not None:
        arrays |= {
            "transition": classifier.transition.matrix,
            "observed": np.array(classifier.transition.observed.tolist()),
        }
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

    Examples
    --------
    >>> from skdpal.learner import load_model
    >>> load_model("no model.npz")
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'no model.npz'

    `save_model` has an example of both.
    """
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    if arrays.get("schema", -1) not in (SCHEMA, _WITH_TRANSITION):
        raise ValueError(
            f"Expected a model file of schema {SCHEMA} or {_WITH_TRANSITION}. Found another. Update skdpal to read {path}."
        )
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
    weight, prior = float(arrays["prior_weight"]), None
    if "prior_means" in arrays:
        prior = PublicPrior(
            arrays["classes"],
            arrays["prior_means"],
            float(arrays["prior_variance"]),
            covariance=arrays.get("prior_covariance"),
            counts=arrays.get("prior_counts"),
        )
    columns = ("sums", "counts", "noise_multiplier", "expected_records")
    rows = zip(*(arrays[name] for name in columns), strict=True)
    releases = [Release(sums, counts, float(noise), float(expected)) for sums, counts, noise, expected in rows]
    classifier = DPPrototypeClassifier(
        releases[-1].noise_multiplier,
        prior,
        arrays["classes"].tolist(),
        prior_weight="fitted" if np.isnan(weight) else weight,
        class_prior=arrays.get("class_prior"),
        transition=_transition(arrays),
    )
    return classifier.restore(releases)


def _transition(arrays: dict[str, Any]) -> Transition | None:
    if "transition" not in arrays:
        return None
    return Transition(arrays["transition"], arrays["classes"], arrays["observed"])
