"""What releases of a noisy label tell about the label."""

from __future__ import annotations

import math

from scipy.special import log_ndtr

from skdpal.privacy.accounting.search import bisect
from skdpal.privacy.validation import check_count, check_one_of, check_real

__all__ = ["label_epsilon"]

_ROUNDING = 1e-9


def label_epsilon(
    epsilon: float,
    noise_multiplier: float,
    n_releases: int = 1,
    *,
    n_classes: int = 2,
    mechanism: str = "randomized-response",
    replace_one: float = math.sqrt(2),
    delta: float = 1e-5,
) -> float:
    """ε of one label, everything else about the patients known, when its noisy twin enters Gaussian releases.

    Parameters
    ----------
    epsilon : float
        Of `LabelPrivacy`.
    noise_multiplier : float
        Of each release.
    n_releases : int, default=1
        How many releases read the noisy label, adaptively or not.
    n_classes : int, default=2
        Number of labels.
    mechanism : {"randomized-response", "laplace"}, default="randomized-response"
    replace_one : float, default=√2
        How far a release moves when a patient's label is exchanged, in units of its sensitivity: √2 for the sums of
        `DPPrototypeClassifier`, 2 at most.
    delta : float, default=1e-5
        Of the patient's guarantee.

    Returns
    -------
    float
        Exact for two labels, an upper bound for more. Never above `epsilon`, nor above what the releases alone tell of
        a label.

    Notes
    -----
    The true label gives the noisy label a with probability p and another one, b, with probability q, p/q = e^ε;
    exchanged, q and p. All releases together tell the noisy labels apart as N(0, 1) and N(d, 1),
    d = replace_one √n / σ (docs/trusted_kernel.md, Lemma G), through one and the same post-processing, so that the
    worlds are the mixtures p N(0,1) + q N(d,1) and q N(0,1) + p N(d,1). Their likelihood ratio is monotone, hence ::

        δ(x) = (p − e^x q) Φ(t) − (e^x p − q) Φ(t − d),    t = d/2 + (1/d) log((p − e^x q) / (e^x p − q))

    Labels other than the two weigh the same in both worlds, and joint convexity leaves them out. Any mechanism of
    pure ε is a post-processing of the binary one, with p = e^ε / (1 + e^ε).

    The patient, features and label, pays for the releases as ever; this is no part of that price.

    Examples
    --------
    >>> from skdpal.cohort.experts import label_epsilon
    >>> [round(label_epsilon(1.0, noise_multiplier=2.0, n_releases=n), 3) for n in (1, 10, 50)]
    [0.836, 0.998, 1.0]
    """
    epsilon = check_real("epsilon", epsilon, above=0.0)
    noise = check_real("noise_multiplier", noise_multiplier, above=0.0)
    releases = check_count("n_releases", n_releases)
    labels = check_count("n_classes", n_classes, least=2)
    check_one_of("mechanism", mechanism, ["randomized-response", "laplace"])
    distance = check_real("replace_one", replace_one, above=0.0, below=2.0, closed=True) * math.sqrt(releases) / noise
    delta = check_real("delta", delta, above=0.0, below=1.0)
    pair = 1.0  # the weight of the two labels that differ
    if mechanism == "randomized-response":
        pair = (1 + math.exp(-epsilon)) / (1 + (labels - 1) * math.exp(-epsilon))
    if distance == 0 or _delta(0.0, epsilon, distance, pair) <= delta:
        return 0.0
    found = bisect(lambda x: _delta(x, epsilon, distance, pair) <= delta, 0.0, epsilon)[1]
    return min(found * (1 + _ROUNDING), epsilon)


def _delta(x: float, epsilon: float, distance: float, pair: float) -> float:
    """δ(x) of the two mixtures."""
    other = 1 / (1 + math.exp(min(epsilon, 700.0)))
    own = 1 - other
    for_own, for_other = own - math.exp(x) * other, math.exp(x) * own - other
    if for_own <= 0:
        return 0.0
    log_ratio = math.log(for_own) - math.log(for_other) if for_other > 0 else math.inf
    if math.isinf(log_ratio):
        return pair * for_own
    edge = distance / 2 + log_ratio / distance
    first = math.log(for_own) + float(log_ndtr(edge))
    second = math.log(for_other) + float(log_ndtr(edge - distance))
    return pair * math.exp(first) * -math.expm1(min(second - first, 0.0))
