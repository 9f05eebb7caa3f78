"""What a run takes over from earlier ones: weights or teachers that were fitted on pictures which it holds out."""

from pathlib import Path

import pandas as pd

from mien.data.audit.findings import Finding, counted
from mien.data.samples import Samples


def inherited(samples: Samples, run: Path) -> list[Finding]:
    """Validation and test rows on which the run of folder `run` was fitted, told by the digests of their pictures.

    Pictures that stand among the training rows of `samples` too are twins of the data, and told as such elsewhere.
    That a run keeps no list of its pictures is a finding of its own.
    """
    table, known = samples.table, fitted_on(run)
    if known is None:
        return [Finding(
            "earlier-run-without-list", "warning", 1,
            f"{run}, which this run builds on, has no samples.parquet: whether it was fitted on validation or test "
            "pictures of this run cannot be told",
            "bring the whole folder of that run back, or train it anew",
            leak=True,
        )]  # fmt: skip
    held_out = table["split"].isin(["validation", "test"]).to_numpy(bool, na_value=False)
    fitted = known - _trained(table)
    seen = held_out & table["digest"].isin(fitted).to_numpy(bool, na_value=False)
    rows = tuple(seen.nonzero()[0].tolist())
    if not rows:
        return []
    return [Finding(
        "held-out-seen-by-earlier-run", "block", len(rows),
        f"{counted(len(rows), 'validation or test picture')} among the training pictures of {run}, "
        "which this run builds on",
        "train both runs under the same split and the same split.clean",
        rows, leak=True,
    )]  # fmt: skip


def fitted_on(run: Path) -> set[str] | None:
    """The digests of the pictures that the run of folder `run` was fitted on; None where it has no list of them."""
    kept = run / "samples.parquet"
    return _trained(pd.read_parquet(kept, columns=["digest", "split"])) if kept.is_file() else None


def _trained(table: pd.DataFrame) -> set[str]:
    return set(table["digest"][(table["split"] == "train").to_numpy(bool, na_value=False)].dropna())
