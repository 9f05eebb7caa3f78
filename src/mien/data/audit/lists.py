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
        "suspect-labels.csv": pd.DataFrame(_suspects(samples, audit)),
        "unreadable.csv": pd.DataFrame(_unreadable(samples, looks)),
    }
    written = []
    for name, table in lists.items():
        if len(table):
            write_text(folder / name, table.to_csv(index=False))
            written.append(name)
        else:
            (folder / name).unlink(missing_ok=True)
    return written


def _twins(samples: Samples, audit: Audit) -> pd.DataFrame:
    groups = [(kind, rows) for kind in _KINDS for rows in audit.likeness.groups(kind)]
    sizes = [len(rows) for _, rows in groups]
    of = samples.table.iloc[np.concatenate([np.empty(0, np.int64), *(rows for _, rows in groups)])]
    return pd.DataFrame({
        "group": np.repeat(np.arange(1, len(groups) + 1), sizes),
        "kind": np.repeat(np.array([kind for kind, _ in groups], object), sizes),
        "path": of["image"].to_numpy(), "label": of["label"].to_numpy(),
        "split": of["split"].to_numpy(), "subject": of["subject"].to_numpy(),
    })  # fmt: skip


def _suspects(samples: Samples, audit: Audit) -> Iterator[dict[str, Any]]:
    for finding in audit.findings:
        for row, (predicted, probability) in zip(finding.rows, finding.predicted, strict=False):
            path, label = samples.table.loc[row, ["image", "label"]]
            yield {"path": path, "label": label, "predicted": predicted, "probability": round(probability, 3)}


def _unreadable(samples: Samples, looks: Looks) -> Iterator[dict[str, Any]]:
    for path in samples.table["image"].iloc[np.flatnonzero(~looks.readable)]:
        yield {"path": path, "reason": looks.reasons.get(path, "")}
