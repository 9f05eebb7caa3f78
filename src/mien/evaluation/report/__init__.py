"""Reports: one self-contained HTML file for a run, a comparison, runs on several sources, or the audit of a dataset."""

from mien.evaluation.report.audit import write_audit_report
from mien.evaluation.report.comparison import write_comparison_report
from mien.evaluation.report.cross import write_cross_report
from mien.evaluation.report.gallery import select_gallery
from mien.evaluation.report.run import write_run_report
from mien.evaluation.report.weighed import weigh

__all__ = [
    "select_gallery",
    "weigh",
    "write_audit_report",
    "write_comparison_report",
    "write_cross_report",
    "write_run_report",
]
