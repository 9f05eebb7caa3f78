"""The pictures behind the findings as CSV files, for people and scripts that mend a dataset by its files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mien.data.audit.check import Audit
from mien.data.audit.looks import Looks
from mien.data.audit.twins import Kind
from mien.data.samples import Samples
from mien.files import write_text

_KINDS: tuple[Kind, ...] = ("exact", "near")


def write_lists(folder: Path, samples: Samples, looks: Looks, audit: Audit) -> list[str]:
    """Write `twins.csv`, `suspect-labels.csv` and `unreadable.csv`, those that have rows, and return their names.

    Lists of an earlier audit that have no rows now are removed.
    """
    lists = {
        "twins.csv": _twins(samples, audit),
        "suspect-labels.csv": _suspects(samples, audit),
        "unreadable.csv": _unreadable(samples, looks),
    }
    written = []
    for name, rows in lists.items():
        table = pd.DataFrame(rows)
        if len(table):
            write_text(folder / name, table.to_csv(index=False))
            written.append(name)
        else:
            (folder / name).unlink(missing_ok=True)
    return written


def _twins(samples: Samples, audit: Audit) -> Iterator[dict[str, Any]]:
    groups = [(kind, rows) for kind in _KINDS for rows in audit.likeness.groups(kind)]
    for number, (kind, rows) in enumerate(groups, 1):
        for row in samples.table.iloc[rows].itertuples():
            yield {
                "group": number, "kind": kind, "path": row.image,
                "label": row.label, "split": row.split, "subject": row.subject,
            }  # fmt: skip


def _suspects(samples: Samples, audit: Audit) -> Iterator[dict[str, Any]]:
    for finding in audit.findings:
        for row, (predicted, probability) in zip(finding.rows, finding.predicted, strict=False):
            path, label = samples.table.loc[row, ["image", "label"]]
            yield {"path": path, "label": label, "predicted": predicted, "probability": round(probability, 3)}


def _unreadable(samples: Samples, looks: Looks) -> Iterator[dict[str, Any]]:
    for path in samples.table["image"].iloc[np.flatnonzero(~looks.readable)]:
        yield {"path": path, "reason": looks.reasons.get(path, "")}
