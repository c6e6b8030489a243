"""Real cohorts that come with the package."""

from skdpal.datasets.leukemia import load_leukemia
from skdpal.datasets.miniacc import load_miniacc
from skdpal.datasets.srbct import load_srbct
from skdpal.datasets.wilms import load_wilms_readers

__all__ = ["load_leukemia", "load_miniacc", "load_srbct", "load_wilms_readers"]
