"""How releases are described: one function a kind, with its source and its price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skdpal.privacy.events.kinds import (
    BoundedRange,
    Composed,
    Event,
    Gaussian,
    Laplace,
    Modalities,
    NoisyScores,
    NonPrivate,
    OneOf,
    PoissonGaussian,
    RandomizedResponse,
    RepeatAndSelect,
)

__all__ = [
    "composed",
    "gaussian",
    "gumbel_top_k",
    "laplace",
    "modalities",
    "noisy_scores",
    "nonprivate",
    "one_of",
    "poisson_gaussian",
    "randomized_response",
    "repeat_and_select",
]


def gaussian(noise_multiplier: float, steps: int = 1, *, replace_one: float = 2.0) -> Gaussian:
    """Describe Gaussian noise on a statistic of L2 sensitivity 1 (full batch).

    Parameters
    ----------
    noise_multiplier : float
        Standard deviation of the noise divided by the L2 sensitivity under zero-out.
    steps : int, default=1
        Number of such releases.
    replace_one : float, default=2.0
        Sensitivity under exchange of a patient, relative to zero-out, at most 2.

    Returns
    -------
    Gaussian
        It is exactly μ-GDP with μ = √steps / noise_multiplier (Dong, Roth and Su 2022).

    Examples
    --------
    >>> from skdpal.privacy import events
    >>> events.gaussian(noise_multiplier=2.0)
    Gaussian(noise_multiplier=2.0, steps=1, replace_one=2.0)
    """
    return Gaussian(noise_multiplier, steps, replace_one)


def noisy_scores(noise_multiplier: float) -> NoisyScores:
    """Describe Gaussian noise on every score of one round; any number of the best may be published.

    Parameters
    ----------
    noise_multiplier : float
        Standard deviation divided by the sensitivity: ½ for scores in [0, 1] whose null
        patient scores ½. One patient moves one score, so the number of scores does not matter.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> round(epsilon_of([events.noisy_scores(4.0)], delta=1e-5), 3)
    0.926
    """
    return NoisyScores(noise_multiplier)


def poisson_gaussian(noise_multiplier: float, sampling_rate: float, steps: int) -> PoissonGaussian:
    """Describe DP-SGD with Poisson sampling.

    Parameters
    ----------
    noise_multiplier : float
        Standard deviation divided by the clipping norm.
    sampling_rate : float
        0 < rate <= 1, public, the same for every patient, with fresh secret coins in each step.
    steps : int
        Number of steps.

    Notes
    -----
    Shuffled batches are not Poisson samples and must not be charged as such (Chua et al. 2024).

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> round(epsilon_of([events.poisson_gaussian(4.0, sampling_rate=0.25, steps=50)], delta=1e-5), 2)
    1.85
    """
    return PoissonGaussian(noise_multiplier, sampling_rate, steps)


def laplace(noise_multiplier: float) -> Laplace:
    """Describe Laplace noise on a statistic of L1 sensitivity 1: pure ε = 1 / noise_multiplier.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> round(epsilon_of([events.laplace(2.0)], delta=1e-9), 2)
    0.5
    """
    return Laplace(noise_multiplier)


def randomized_response(epsilon: float, n_classes: int) -> RandomizedResponse:
    """Describe a published label under randomized response.

    Parameters
    ----------
    epsilon : float
        ε when one label is exchanged for another. It covers zero-out too, whatever public mixture of
        labels an empty slot emits (a uniform one, say), and is what is charged.
    n_classes : int
        2 or more; a fixed public set.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> round(epsilon_of([events.randomized_response(1.0, n_classes=4)], delta=1e-9), 2)
    1.0
    """
    return RandomizedResponse(epsilon, n_classes)


def gumbel_top_k(noise_multiplier: float, k: int = 1) -> BoundedRange:
    """Describe the `k` best of noisy scores, in order, under Gumbel noise.

    Parameters
    ----------
    noise_multiplier : float
        Scale of the noise divided by the sensitivity of one score, when one patient moves one score.
    k : int, default=1
        Number of winners. From k = 3 on, `noisy_scores` is cheaper.

    Notes
    -----
    One-shot Gumbel noise is k peels of the exponential mechanism (Durfee and Rogers 2019), each
    η-bounded-range with η = 1 / noise_multiplier.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> epsilon_of([events.gumbel_top_k(2.0, k=3)], delta=1e-5) < 1.5
    True
    """
    return BoundedRange(noise_multiplier, k)


def repeat_and_select(event: Event, mean: float, shape: float = 1.0) -> RepeatAndSelect:
    """Describe private tuning: the best of a random number of runs, all else withheld.

    Parameters
    ----------
    event : Event
        One run: fit and private score together, for the dearest candidate.
    mean : float
        Expected number of runs, above 1.
    shape : float, default=1.0
        Law of the number: 1 geometric, 0 logarithmic (cheapest), inf Poisson
        (truncated negative binomial in between; Papernot and Steinke 2022).

    Notes
    -----
    The number of runs must be secret: whoever can time the search must not learn it.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> one = events.gaussian(3.73)  # ε = 1
    >>> round(epsilon_of([events.repeat_and_select(one, mean=10)], delta=1e-5), 1)
    1.6
    """
    return RepeatAndSelect(event, mean, shape)


def one_of(events: Sequence[Event]) -> OneOf:
    """Describe a round in which each patient is in one of several releases.

    Which one must follow from earlier releases (and the patient's own data and coins), never
    from this round's. It costs the dominating pair, less than all together.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> either = events.one_of([events.gaussian(4.0), events.noisy_scores(5.0)])
    >>> round(epsilon_of([either], delta=1e-5), 3)
    0.926
    """
    return OneOf(tuple(events))


def composed(events: Sequence[Event], count: int = 1) -> Composed:
    """Describe several releases that are charged together, as for a grid search.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> twice = events.composed([events.randomized_response(1.0, 2)], count=2)
    >>> round(epsilon_of([twice], delta=1e-9), 2)
    2.0
    """
    return Composed(tuple(events), count)


def modalities(events: Mapping[str, Event]) -> Modalities:
    """Describe releases of separate parts of the patients' data, such as "rna" and "methylation".

    The patient pays for all of them together. Where an account has a cap of one of these names
    (`PrivacyLedger.cap`), that cap pays its own part as well, in the same transaction.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> both = events.modalities({"rna": events.gaussian(3.73), "methylation": events.gaussian(7.03)})
    >>> round(epsilon_of([both], delta=1e-5), 2)  # of ε = 1 and 0.5
    1.15
    """
    return Modalities(tuple(events.values()), 1, tuple(events))


def nonprivate() -> NonPrivate:
    """Describe a release without noise. Every ledger refuses it.

    Examples
    --------
    >>> from skdpal.privacy import epsilon_of, events
    >>> epsilon_of([events.nonprivate()], delta=1e-5)
    inf
    """
    return NonPrivate()
