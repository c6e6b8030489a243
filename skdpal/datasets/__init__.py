"""Real cohorts that come with the package."""

from skdpal.datasets.leukemia import load_leukemia
from skdpal.datasets.srbct import load_srbct

__all__ = ["load_leukemia", "load_srbct"]
