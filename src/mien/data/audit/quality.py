"""Pictures that show nothing, are too small or cannot be read; classes that are uneven or shift between splits."""

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from mien.data.audit.findings import Finding
from mien.data.audit.looks import Looks
from mien.data.audit.twins import BLANK, spread
from mien.data.samples import SPLITS, Samples
from mien.data.split import unjudged
from mien.errors import counted

TINY = 24
UNEVEN = 10.0
SHIFT = 0.05
CERTAIN = 0.001


def findings(samples: Samples, looks: Looks) -> list[Finding]:
    """Unreadable, blank and tiny pictures."""
    sizes = looks.sizes.min(axis=1)
    unreadable = np.flatnonzero(~looks.readable)
    blank = blanks(looks)
    tiny = np.flatnonzero((sizes > 0) & (sizes < TINY))
    reasons = sorted({looks.reasons.get(image, "") for image in samples.table["image"].iloc[unreadable]})
    kinds = (
        ("unreadable", unreadable, f"that cannot be read ({'; '.join(reasons[:3])})", "replace or delete the files"),
        ("blank", blank, "without content: one grey level throughout", "leave them out; no label fits them"),
        ("tiny", tiny, f"smaller than {TINY} pixels", "check that they were not thumbnails, or leave them out"),
    )
    return [
        Finding(code, "warning", len(rows), f"{counted(len(rows), 'picture')} {what}", advice, tuple(rows.tolist()))
        for code, rows, what, advice in kinds
        if len(rows)
    ]


def blanks(looks: Looks) -> np.ndarray:
    """Rows of readable pictures that show nothing."""
    readable = np.flatnonzero(looks.readable)
    return readable[spread(looks.miniatures, readable) < BLANK]


def balance(samples: Samples) -> list[Finding]:
    """Uneven classes in training, classes without validation or test pictures, and class shares that differ between
    training and another split.

    Shift is the total variation distance of the class shares, told only where a chi-squared test of homogeneity
    rules chance out.
    """
    counts = pd.crosstab(samples.table["label"], samples.table["split"]).reindex(
        index=list(samples.labels), columns=list(SPLITS), fill_value=0
    )
    train = counts["train"]
    found = []
    if train.sum() and train.max() > UNEVEN * max(train.min(), 1):
        found.append(Finding(
            "uneven-classes", "info", int(train.max()),
            f"training has {train.max():,} pictures of {train.idxmax()} and {train.min():,} of {train.idxmin()}",
            "judge by macro F1 and balanced accuracy; weights or balancing are options of the recipe",
        ))  # fmt: skip
    for split, (said, count) in unjudged(samples).items():
        found.append(Finding(
            f"class-missing-{split}", "warning", count, said,
            "bring pictures of them, split otherwise, or leave them out with data.classes",
        ))  # fmt: skip
    for split in SPLITS[1:]:
        both = counts.loc[(counts["train"] + counts[split]) > 0, ["train", split]].to_numpy()
        if len(both) < 2 or not both.sum(axis=0).all():
            continue
        distance = np.abs(both / both.sum(axis=0) @ [1, -1]).sum() / 2
        if distance > SHIFT and _chance(both) < CERTAIN:
            found.append(Finding(
                f"class-shift-{split}", "warning", int(both[:, 1].sum()),
                f"class shares differ between training and {split} (total variation {distance:.2f})",
                "compare by per-class figures, or split again with split.method: stratified",
            ))  # fmt: skip
    return found


def _chance(counts: np.ndarray) -> float:
    """Pearson's chi-squared test: how probable such counts (classes, 2) are when both columns have the same shares."""
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    return float(chdtrc(len(counts) - 1, ((counts - expected) ** 2 / expected).sum()))
