"""What is released, described by public parameters only.

Invariants
----------
* An event holds what is needed to price a release, and nothing read from patients:
  a refusal computed from it reveals nothing.
* Events are frozen, compare by value and go to JSON and back under a schema version.
  An unknown kind, field or version is refused: an event that cannot be read costs infinity.
* Sensitivities are for zero-out: a patient's whole content becomes nothing, the slot stays.
  `noise_multiplier` is always the scale of the noise divided by the sensitivity.
* Arithmetic is elsewhere (`accounting/`): events describe, accountants interpret.
"""

from skdpal.privacy.events.describe import (
    composed,
    gaussian,
    gumbel_top_k,
    laplace,
    modalities,
    noisy_scores,
    nonprivate,
    one_of,
    poisson_gaussian,
    randomized_response,
    repeat_and_select,
)
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
    by_modality,
)
from skdpal.privacy.events.record import from_json, to_json

__all__ = [
    "BoundedRange",
    "Composed",
    "Event",
    "Gaussian",
    "Laplace",
    "Modalities",
    "NoisyScores",
    "NonPrivate",
    "OneOf",
    "PoissonGaussian",
    "RandomizedResponse",
    "RepeatAndSelect",
    "by_modality",
    "composed",
    "from_json",
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
    "to_json",
]
