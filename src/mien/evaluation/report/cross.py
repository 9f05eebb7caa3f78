"""The page of several runs on several sources."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mien.evaluation.cross import remarks
from mien.evaluation.report.page import write_page

SHOWN = ("accuracy", "balanced_accuracy", "macro_f1", "ece")


def write_cross_report(matrix: Mapping[str, Any], out: Path) -> Path:
    """Write a table of `mien.evaluation.cross.cross_matrix` as one HTML file: runs down, sources across."""
    cells = {(cell["run"], cell["source"]): cell for cell in matrix["cells"]}
    return write_page(out, "cross.html.j2", matrix=matrix, cells=cells, remarks=remarks(matrix), shown=SHOWN)
