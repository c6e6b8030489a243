"""Who may still afford what: the adaptive filters, the frozen schedule, and how much noise fits a budget."""

from skdpal.privacy.filters.base import Filter
from skdpal.privacy.filters.gdp import GdpFilter
from skdpal.privacy.filters.planned import Charge, PlannedFilter, Schedule, Split
from skdpal.privacy.filters.renyi import RenyiFilter

__all__ = ["Charge", "Filter", "GdpFilter", "PlannedFilter", "RenyiFilter", "Schedule", "Split"]
