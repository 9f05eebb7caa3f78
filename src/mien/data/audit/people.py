"""People, video sequences and made rows that stand on both sides of a split."""

from collections.abc import Sequence
from unicodedata import normalize

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mien.data.audit.findings import Finding
from mien.data.samples import Samples
from mien.data.split import group_names
from mien.errors import counted

_PLURAL = {"subject": "subjects", "sequence": "sequences"}


def shared(samples: Samples, column: str) -> dict[str, tuple[int, ...]]:
    """Rows of each subject or sequence (`column`) that is in more than one split."""
    named = pd.DataFrame({"group": group_names(samples.table, column), "split": samples.table["split"]}).dropna()
    splits = named.groupby("group")["split"].nunique()
    both = named[named["group"].isin(splits.index[splits > 1])]
    return {str(name): tuple(rows) for name, rows in both.groupby("group").groups.items()}


def findings(samples: Samples, promised: Sequence[str] = ()) -> list[Finding]:
    """Subjects of two spellings; subjects and sequences across splits, which block where the split or protocol promised
    (`promised`) whole ones.
    """
    found = []
    if alike := _named_alike(samples):
        found.append(Finding(
            "subjects-named-alike", "warning", len(alike),
            f"{counted(len(alike), 'name')} of subjects in more than one spelling, each taken for a person of its own: "
            f"{'; '.join(', '.join(names) for names in alike[:3])}",
            "give each person one name if they are the same: they may train and test under two",
        ))  # fmt: skip
    for column in ("subject", "sequence"):
        across = shared(samples, column)
        if across:
            rows = tuple(sorted(row for rows in across.values() for row in rows))
            found.append(Finding(
                f"{_PLURAL[column]}-across-splits", "block" if column in promised else "warning", len(across),
                f"{counted(len(across), column)} in more than one split ({counted(len(rows), 'picture')}): "
                "a model can recognise the face instead of the expression",
                f"split by {column}: split.method: grouped, split.group: {column}",
                rows, leak=True,
            ))  # fmt: skip
    return found


def _named_alike(samples: Samples) -> list[list[str]]:
    """Names of subjects that differ in upper and lower case, spaces or the composition of letters only."""
    names = pd.Series(samples.table["subject"].dropna().unique(), dtype=object)
    plain = names.map(lambda name: "".join(normalize("NFKC", name).casefold().split()))
    return [sorted(alike) for _, alike in names.groupby(plain) if len(alike) > 1]


def children(samples: Samples, parents: NDArray[np.int64] | None = None) -> list[Finding]:
    """Made rows (SMOTE, augmentation, copies) that are in another split than a row they were made from.

    `parents` (N, k) int64 rows each row comes from, -1 for none; by default the table's `parent` column.
    The kind of a made row is read from its image name, `<parent>~<kind>-<number>`; a row without one was augmented.
    """
    table = samples.table
    if parents is None:
        parents = table["parent"].fillna(-1).to_numpy(np.int64)[:, None]
    split = pd.Categorical(table["split"]).codes.astype(np.int64)
    there = np.where(parents >= 0, split[parents], -1)
    across = ((there >= 0) & (split[:, None] >= 0) & (there != split[:, None])).any(axis=1)
    kinds = table["image"].str.extract(r"~([a-z-]+?)-\d+$")[0].fillna("augment").to_numpy(object)
    found = []
    for kind in sorted(set(kinds[across])):
        rows = np.flatnonzero(across & (kinds == kind))
        found.append(Finding(
            f"{_MAKER.get(kind, kind)}-child-across-splits", "block", len(rows),
            f"{counted(len(rows), 'picture')} made by {_MAKER.get(kind, kind)} in another split than their parents",
            "split first and balance the training rows only: balance.order: after-split",
            tuple(rows.tolist()), leak=True,
        ))  # fmt: skip
    return found


_MAKER = {"augment": "augmentation", "smote": "smote", "oversample": "oversampling"}
