"""How a study starts: public pre-training, a first private release, then active learning."""

from skdpal.cohort.warm_start.failure import cold_start_failures
from skdpal.cohort.warm_start.projection import RandomProjection
from skdpal.cohort.warm_start.sources import PublicSource
from skdpal.cohort.warm_start.switch import SwitchRule
from skdpal.cohort.warm_start.warm_start import WarmStart

__all__ = ["PublicSource", "RandomProjection", "SwitchRule", "WarmStart", "cold_start_failures"]
