"""Twins, exact and near: who is like whom, how they fall across a split, and what that means."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mien.data.audit.findings import Finding
from mien.data.audit.looks import Looks
from mien.data.audit.near import NEAR, near_pairs
from mien.data.samples import SPLITS, Samples
from mien.errors import counted
from mien.files import digest
from mien.stages import Progress

Mask = NDArray[np.bool_]
Kind = Literal["exact", "near"]

BLANK = 2.0
"""Pictures whose grey levels spread less (standard deviation, of 255) show nothing."""


@dataclass(frozen=True)
class Likeness:
    """Rows as classes of exact twins, and the near twins among the classes.

    `picture` (N,) int64 numbers the distinct pictures, -1 where unreadable; `first` (K,) is a row of each;
    `edges` (E, 2) near twins among pictures, most alike first, with `similarity` (E,) and `mirrored` (E,).
    """

    picture: NDArray[np.int64]
    first: NDArray[np.int64]
    edges: NDArray[np.int64]
    similarity: NDArray[np.float32]
    mirrored: Mask

    def exact_twin_in(self, rows: Mask) -> Mask:
        """Which rows (N,) have an exact twin, other than themselves, among `rows` (N,) bool."""
        readable = self.picture >= 0
        counts = np.bincount(self.picture[rows & readable], minlength=len(self.first))
        return readable & (counts[self.picture] - rows > 0)

    def near_twin_in(self, rows: Mask) -> Mask:
        """Which rows (N,) have a near twin that is not an exact one among `rows` (N,) bool."""
        present, touched = np.zeros((2, len(self.first)), bool)
        present[self.picture[rows & (self.picture >= 0)]] = True
        for one, other in ((0, 1), (1, 0)):
            touched[self.edges[present[self.edges[:, other]], one]] = True
        return (self.picture >= 0) & touched[self.picture]

    def twin_in(self, rows: Mask) -> Mask:
        """Which rows (N,) have any twin, exact or near, among `rows` (N,) bool."""
        return self.exact_twin_in(rows) | self.near_twin_in(rows)

    def groups(self, kind: Kind) -> list[NDArray[np.int64]]:
        """Rows of each group: exact twins of one another, or linked by near twins (their exact twins included)."""
        if kind == "exact":
            return [rows for rows in _gathered(self.picture) if len(rows) > 1]
        of = self.together()
        touched = np.zeros(len(self.picture), bool)
        touched[self.first[self.edges.ravel()]] = True
        chosen = np.unique(of[touched])
        return _gathered(np.where(np.isin(of, chosen), of, -1))

    def together(self) -> NDArray[np.int64]:
        """(N,) number of the group of twins of either kind that each row belongs to; unreadable rows are -1."""
        size = len(self.first)
        graph = coo_array((np.ones(len(self.edges), bool), (self.edges[:, 0], self.edges[:, 1])), shape=(size, size))
        _, component = connected_components(graph, directed=False)
        return np.where(self.picture >= 0, component.astype(np.int64)[self.picture], -1)


def liken(looks: Looks, threshold: float = NEAR, progress: Progress | None = None) -> Likeness:
    """Find every exact twin, and every near twin from `threshold` on. Blank pictures are near twins of nothing.

    The last answer is kept: seeds, folds and cells that share their pictures differ in who is where, not in who is like
    whom.
    """
    key = digest(str(threshold), *looks.digests)
    if key not in _last:
        found = _likened(looks, threshold, progress)
        _last.clear()
        _last[key] = found
    return _last[key]


_last: dict[str, Likeness] = {}


def _likened(looks: Looks, threshold: float, progress: Progress | None) -> Likeness:
    readable = np.flatnonzero(looks.readable)
    _, first, number = np.unique(looks.digests[readable], return_index=True, return_inverse=True)
    picture = np.full(len(looks.digests), -1)
    picture[readable] = number
    first = readable[first]
    shown = np.flatnonzero(spread(looks.miniatures, first) >= BLANK)
    pairs = near_pairs(looks.miniatures[first[shown]], threshold, progress=progress)
    edges = np.stack([shown[pairs.left], shown[pairs.right]], axis=1)
    return Likeness(picture, first, edges, pairs.similarity, pairs.mirrored)


def spread(miniatures: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Standard deviation of the grey levels of each row's miniature."""
    return np.array([miniatures[row].std() for row in rows])


def figures(samples: Samples, likeness: Likeness, kind: Kind) -> dict[str, Any]:
    """Counts of one kind of twin, as `mien audit --json` prints them."""
    groups = likeness.groups(kind)
    split, label = samples.table["split"].to_numpy(object), samples.table["label"].to_numpy(object)
    images = sum(map(len, groups))
    twin_in = likeness.exact_twin_in if kind == "exact" else likeness.near_twin_in
    has_training_twin = twin_in(_of(samples, "train"))
    return {
        "groups": len(groups),
        "images": images,
        "redundant": images - len(groups),
        "cross_split_groups": sum(_distinct(split[rows]) > 1 for rows in groups),
        "label_conflicts": sum(_distinct(label[rows]) > 1 for rows in groups),
        "twins_in_training": {
            name: int((has_training_twin & _of(samples, name)).sum()) for name in SPLITS[1:] if _of(samples, name).any()
        },
    }


def findings(samples: Samples, likeness: Likeness, kind: Kind) -> list[Finding]:
    """What the twins of one kind mean for this split."""
    groups = likeness.groups(kind)
    split, label = samples.table["split"].to_numpy(object), samples.table["label"].to_numpy(object)
    train = _of(samples, "train")
    judged = _of(samples, "validation") | _of(samples, "test")
    twin_in = likeness.exact_twin_in if kind == "exact" else likeness.near_twin_in
    leaking = np.flatnonzero(twin_in(train) & judged)
    apart = [rows for rows in groups if _distinct(split[rows]) > 1 and not train[rows].any()]
    conflicts = [rows for rows in groups if _distinct(label[rows]) > 1]
    found = []
    if len(leaking):
        found.append(Finding(
            f"{kind}-twins-across-splits", "warning", len(leaking),
            f"{counted(len(leaking), 'validation or test picture')} with {_ARTICLE[kind]} twin in training: "
            "a model can know the answer by heart",
            "drop their twins from training with split.clean: train, and report accuracy with and without",
            tuple(leaking.tolist()), leak=True,
        ))  # fmt: skip
    if apart:
        found.append(Finding(
            f"{kind}-twins-validation-test", "info", len(apart),
            f"{counted(len(apart), 'group')} of {kind} twins in both validation and test",
            f"what is chosen on validation knows these test pictures; {_PAIRS}",
            tuple(np.concatenate(apart).tolist()),
        ))  # fmt: skip
    if conflicts:
        found.append(Finding(
            f"{kind}-twins-conflicting-labels", "warning", len(conflicts),
            f"{counted(len(conflicts), 'group')} of {kind} twins with two labels or more: {_CONFLICT[kind]}",
            f"relabel them, or leave them out; {_PAIRS}",
            tuple(np.concatenate(conflicts).tolist()),
        ))  # fmt: skip
    redundant = sum(map(len, groups)) - len(groups)
    if redundant:
        found.append(Finding(
            f"{kind}-twins", "info", redundant,
            f"{counted(redundant, 'redundant picture')} in {counted(len(groups), 'group')} of {kind} twins"
            f"{_WITH[kind]}",
            "they count more than once in training and in every average",
            tuple(np.concatenate(groups).tolist()),
        ))  # fmt: skip
    return found


_PAIRS = "see the pairs with: mien audit SOURCE ROOT --out DIR"
_ARTICLE = {"exact": "an exact", "near": "a near"}
_WITH = {"exact": "", "near": ", with the exact twins of their pictures"}
_CONFLICT = {"exact": "no model can be right on all", "near": "one face, judged twice and not alike"}


def _of(samples: Samples, split: str) -> Mask:
    return (samples.table["split"] == split).to_numpy(dtype=bool, na_value=False)


def _distinct(values: NDArray[np.object_]) -> int:
    return len({value for value in values if isinstance(value, str)})


def _gathered(of: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Rows by number, rows with -1 left out; groups in order of their first row, rows ascending."""
    rows = np.flatnonzero(of >= 0)
    rows = rows[np.argsort(of[rows], kind="stable")]
    if not len(rows):
        return []
    parts = np.split(rows, np.flatnonzero(np.diff(of[rows])) + 1)
    return sorted(parts, key=lambda part: int(part[0]))
