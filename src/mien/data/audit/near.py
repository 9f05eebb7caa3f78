"""Near twins: one picture resized, recompressed, mirrored, relit or slightly cropped into another."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mien.data.audit.align import THREADS, similarity
from mien.data.audit.cells import Found, close, gathered
from mien.data.audit.descriptor import Descriptor, learn
from mien.stages import Progress

NEAR = 0.93
"""Similarity from which a pair counts as near twins; docs/audit.md has precision and recall around it."""

CANDIDATE, CANDIDATE_PART = 0.79, 0.82
EXHAUSTIVE = 128
INDEXED = 100_000
_BLOCK = 512


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows: `left` < `right` (P,) int64, `similarity` (P,) float32 up to 1, `mirrored` (P,) bool."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    similarity: NDArray[np.float32]
    mirrored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.left)


def near_pairs(
    miniatures: NDArray[np.uint8],
    threshold: float = NEAR,
    indexed: int = INDEXED,
    first: int | None = None,
    progress: Progress | None = None,
) -> Pairs:
    """All near twins among miniatures (N, S, S) uint8, none of them blank, most alike first.

    With `first`, only pairs of one of the first so many and one of the rest. Candidates are close under a learnt
    descriptor, whole or one of them cropped; each is then aligned and correlated, and of several ways to lay two
    pictures over each other the one counts under which they are most alike. Past `indexed` pictures those that are
    close as a whole, too, come from an approximate search instead of all pairs. Above 1 a threshold is beyond reach,
    and nothing is searched.
    """
    if threshold > 1 or len(miniatures) < 2 or first in (0, len(miniatures)):
        none = np.empty(0, np.int64)
        return Pairs(none, none, np.empty(0, np.float32), np.empty(0, bool))
    # Threads of our own share the work; those of the matrix library would only get in their way.
    with threadpool_limits(1, "blas"):
        asked = candidates(miniatures, indexed, first)
        alike = similarity(miniatures, asked.under, asked.over, asked.mirrored, asked.start, progress)
    left, right = np.minimum(asked.under, asked.over), np.maximum(asked.under, asked.over)
    order = np.lexsort((right, left, -alike))
    order = order[alike[order] >= threshold]
    _, once = np.unique(np.stack([left[order], right[order]]), axis=1, return_index=True)
    order = order[np.sort(once)]
    return Pairs(left[order], right[order], alike[order], asked.mirrored[order])


def near_twin_among(miniatures: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of the miniatures (N, S, S) uint8 have a near twin among others (M, S, S); none of either is blank."""
    pairs = near_pairs(np.concatenate([miniatures, others]), first=len(miniatures))
    return np.isin(np.arange(len(miniatures)), pairs.left)


@dataclass(frozen=True)
class Candidates:
    """Pairs worth aligning, (C,) each: rows `under` and `over`, whether the one under is to be mirrored.

    `start` (C, 2, 2) is the motion that the alignment starts from.
    """

    under: NDArray[np.int64]
    over: NDArray[np.int64]
    mirrored: NDArray[np.bool_]
    start: NDArray[np.float32]


def candidates(miniatures: NDArray[np.uint8], indexed: int = INDEXED, first: int | None = None) -> Candidates:
    """What to align: whole pictures both ways, and parts of pictures over whole ones; `first` as in `near_pairs`."""
    count = len(miniatures)
    if count <= EXHAUSTIVE:
        one, other = np.triu_indices(count, 1)
        if first is not None:
            across = (one < first) & (other >= first)
            one, other = one[across], other[across]
        return _joined([_both_ways(one, other, mirrored) for mirrored in (False, True)])
    descriptor = learn(miniatures)
    plain, turned = descriptor.describe(miniatures)
    found = [
        _both_ways(one, other, mirrored)
        for mirrored, queries in ((False, plain[:first]), (True, turned[:first]))
        for one, other in _of_wholes(queries, plain, first or 0, indexed)
    ]
    return _joined([*found, *_of_parts(miniatures, descriptor, plain, first)])


def _of_wholes(queries: NDArray[np.float32], targets: NDArray[np.float32], begin: int, indexed: int) -> Iterator[Found]:
    """The close pairs of a query and a target later than it, from target `begin` on."""
    if len(targets) <= indexed:
        yield from _through_all(queries, targets, begin)
        return
    for left, right in close(gathered(targets[begin:]), queries, CANDIDATE):
        later = right + begin > left
        yield left[later], right[later] + begin


def _of_parts(
    miniatures: NDArray[np.uint8], descriptor: Descriptor, targets: NDArray[np.float32], first: int | None
) -> Iterator[Candidates]:
    """The close pairs of a part of one picture and another whole one.

    The parts are squares of seven eighths of the side: in the corners, along the sides and in the middle.
    """
    side = miniatures.shape[1]
    inner = side * 7 // 8
    places = (0, (side - inner) // 2, side - inner)
    before, after = slice(0, first), slice(first or 0, None)
    for here, there in ((before, after), (after, before))[: 1 if first is None else 2]:
        cells = gathered(targets[there])
        for top, left in product(places, places):
            both = descriptor.describe(miniatures[here, top : top + inner, left : left + inner])
            start = [[inner / side, (2 * corner + inner) / side - 1] for corner in (top, left)]
            for mirrored, queries in zip((False, True), both, strict=True):
                for part, whole in close(cells, queries, CANDIDATE_PART):
                    under, over = whole + there.start, part + here.start
                    apart = under != over
                    yield _candidates(under[apart], over[apart], mirrored, start)


def _both_ways(one: NDArray[np.int64], other: NDArray[np.int64], mirrored: bool) -> Candidates:
    """A crop and its original are found more surely from one side than from the other."""
    return _candidates(np.append(one, other), np.append(other, one), mirrored, [[1, 0], [1, 0]])


def _candidates(
    under: NDArray[np.int64], over: NDArray[np.int64], mirrored: bool, start: list[list[float]]
) -> Candidates:
    return Candidates(
        under, over, np.full(len(under), mirrored), np.tile(np.array(start, np.float32), (len(under), 1, 1))
    )


def _joined(parts: list[Candidates]) -> Candidates:
    """All of them; of several that differ in their start alone, the first."""
    under, over, mirrored, start = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("under", "over", "mirrored", "start")
    )
    _, once = np.unique(np.stack([under, over, mirrored]), axis=1, return_index=True)
    return Candidates(under[once], over[once], mirrored[once], start[once])


def _through_all(queries: NDArray[np.float32], targets: NDArray[np.float32], begin: int) -> Iterator[Found]:
    """The close pairs of a query and a target later than it, from target `begin` on."""

    def block(start: int) -> Found:
        skipped = max(start, begin)
        cosine = queries[start : start + _BLOCK] @ targets[skipped:].T
        left, right = np.divmod(np.flatnonzero(cosine > CANDIDATE), cosine.shape[1])
        left, right = left + start, right + skipped
        later = right > left
        return left[later], right[later]

    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(block, range(0, len(queries), _BLOCK))
