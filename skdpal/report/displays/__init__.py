"""Displays: drawings that keep the numbers they show, with scikit-learn's conventions. One file each."""

from skdpal.report.displays.audit import AuditDisplay
from skdpal.report.displays.budget import BudgetDisplay
from skdpal.report.displays.calibration import CalibrationDisplay
from skdpal.report.displays.learning_curve import LearningCurveDisplay
from skdpal.report.displays.plan import PlanDisplay
from skdpal.report.displays.uncertainty import UncertaintyDisplay

__all__ = [
    "AuditDisplay",
    "BudgetDisplay",
    "CalibrationDisplay",
    "LearningCurveDisplay",
    "PlanDisplay",
    "UncertaintyDisplay",
]
