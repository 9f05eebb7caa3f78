"""What a run takes over from earlier ones: weights or teachers that were fitted on pictures which it holds out."""

from pathlib import Path

import pandas as pd

from mien.data.audit.findings import Finding, counted
from mien.data.samples import Samples


def inherited(samples: Samples, run: Path) -> list[Finding]:
    """Validation and test rows on which the run of folder `run` was fitted, told by the digests of their pictures.

    Pictures that stand among the training rows of `samples` too are twins of the data, and told as such elsewhere.
    """
    table = samples.table
    held_out = table["split"].isin(["validation", "test"]).to_numpy(bool, na_value=False)
    fitted = fitted_on(run) - _trained(table)
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


def fitted_on(run: Path) -> set[str]:
    """The digests of the pictures that the run of folder `run` was fitted on."""
    return _trained(pd.read_parquet(run / "samples.parquet", columns=["digest", "split"]))


def _trained(table: pd.DataFrame) -> set[str]:
    return set(table["digest"][(table["split"] == "train").to_numpy(bool, na_value=False)].dropna())
