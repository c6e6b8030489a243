"""What a study shows: displays, the report for everybody, and the benchmark page for comparisons."""

from skdpal.report.benchmark_page import write_benchmark_page
from skdpal.report.displays import (
    AuditDisplay,
    BudgetDisplay,
    CalibrationDisplay,
    LearningCurveDisplay,
    PlanDisplay,
    UncertaintyDisplay,
)
from skdpal.report.study_page import write_report

__all__ = [
    "AuditDisplay",
    "BudgetDisplay",
    "CalibrationDisplay",
    "LearningCurveDisplay",
    "PlanDisplay",
    "UncertaintyDisplay",
    "write_benchmark_page",
    "write_report",
]
