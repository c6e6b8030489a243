"""Several hospitals in one study, each with a ceiling of its own."""

from skdpal.cohort.sites.sites import Sites

__all__ = ["Sites"]
