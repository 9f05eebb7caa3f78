"""Reports: one self-contained HTML file for a run, one for a comparison, one for runs on several sources."""

from mien.evaluation.report.comparison import write_comparison_report
from mien.evaluation.report.cross import write_cross_report
from mien.evaluation.report.gallery import select_gallery
from mien.evaluation.report.run import write_run_report
from mien.evaluation.report.weighed import weigh

__all__ = ["select_gallery", "weigh", "write_comparison_report", "write_cross_report", "write_run_report"]
