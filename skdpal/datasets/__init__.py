"""Real cohorts that come with the package."""

from skdpal.datasets.srbct import load_srbct

__all__ = ["load_srbct"]
