"""What a study shows: the report for everybody, and the benchmark page for comparisons."""

from skdpal.report.benchmark_page import write_benchmark_page
from skdpal.report.study_page import write_report

__all__ = ["write_benchmark_page", "write_report"]
