"""Near twins: one picture resized, recompressed, mirrored, relit or slightly cropped into another."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mien.data.audit.align import THREADS, similarity
from mien.data.audit.descriptor import WIDTH, learn
from mien.stages import Progress

NEAR = 0.93
"""Similarity from which a pair counts as near twins; docs/audit.md has precision and recall around it."""

CANDIDATE = 0.79
EXHAUSTIVE = 128
INDEXED = 100_000
_BLOCK = 512
_PROBES = 24


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows: `left` < `right` (P,) int64, `similarity` (P,) float32 up to 1, `mirrored` (P,) bool."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    similarity: NDArray[np.float32]
    mirrored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.left)


Found = tuple[NDArray[np.int64], NDArray[np.int64]]


def near_pairs(
    miniatures: NDArray[np.uint8],
    threshold: float = NEAR,
    indexed: int = INDEXED,
    first: int | None = None,
    progress: Progress | None = None,
) -> Pairs:
    """All near twins among miniatures (N, S, S) uint8, none of them blank, most alike first.

    With `first`, only pairs of one of the first so many and one of the rest. Candidates are close under a learnt
    descriptor; each is then aligned and correlated. Past `indexed` pictures the candidates come from an approximate
    index (FAISS IVF) instead of all pairs. Above 1 a threshold is beyond reach, and nothing is searched.
    """
    if threshold > 1 or len(miniatures) < 2 or first in (0, len(miniatures)):
        none = np.empty(0, np.int64)
        return Pairs(none, none, np.empty(0, np.float32), np.empty(0, bool))
    # Threads of our own share the work; those of the matrix library would only get in their way.
    with threadpool_limits(1, "blas"):
        left, right, mirrored = candidates(miniatures, indexed, first)
        alike = similarity(miniatures, left, right, mirrored, progress)
    order = np.lexsort((right, left, -alike))
    order = order[alike[order] >= threshold]
    _, once = np.unique(np.stack([left[order], right[order]]), axis=1, return_index=True)
    order = order[np.sort(once)]
    return Pairs(left[order], right[order], alike[order], mirrored[order])


def near_twin_among(miniatures: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which of the miniatures (N, S, S) uint8 have a near twin among others (M, S, S); none of either is blank."""
    pairs = near_pairs(np.concatenate([miniatures, others]), first=len(miniatures))
    return np.isin(np.arange(len(miniatures)), pairs.left)


def candidates(
    miniatures: NDArray[np.uint8], indexed: int = INDEXED, first: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Pairs worth aligning: rows `left` < `right`, whether the left is to be mirrored; `first` as in `near_pairs`."""
    count, begin = len(miniatures), first or 0
    if count <= EXHAUSTIVE:
        left, right = np.triu_indices(count, 1)
        if first is not None:
            across = (left < first) & (right >= first)
            left, right = left[across], right[across]
        return np.tile(left, 2), np.tile(right, 2), np.repeat([False, True], len(left))
    descriptor = learn(miniatures)
    plain = descriptor.describe(miniatures)
    turned = descriptor.describe(miniatures[:first], mirrored=True)
    search = _through_index if count > indexed else _through_all
    found = [list(search(queries, plain, begin)) for queries in (plain[:first], turned)]
    left = np.concatenate([part[0] for parts in found for part in parts])
    right = np.concatenate([part[1] for parts in found for part in parts])
    turned_from = sum(len(part[0]) for part in found[0])
    mirrored = np.arange(len(left)) >= turned_from
    return left, right, mirrored


def _through_all(queries: NDArray[np.float32], targets: NDArray[np.float32], begin: int) -> Iterator[Found]:
    """The close pairs of a query and a target later than it, from target `begin` on."""

    def block(start: int) -> Found:
        skipped = max(start, begin)
        close = queries[start : start + _BLOCK] @ targets[skipped:].T
        left, right = np.divmod(np.flatnonzero(close > CANDIDATE), close.shape[1])
        left, right = left + start, right + skipped
        later = right > left
        return left[later], right[later]

    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(block, range(0, len(queries), _BLOCK))


def _through_index(queries: NDArray[np.float32], targets: NDArray[np.float32], begin: int) -> Iterator[Found]:
    import faiss

    cells = int(4 * np.sqrt(len(targets)))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(WIDTH), WIDTH, cells, faiss.METRIC_INNER_PRODUCT)
    index.train(targets[:: max(1, len(targets) // (cells * 64))])
    index.add(targets)
    index.nprobe = _PROBES
    for start in range(0, len(queries), _BLOCK * 16):
        block = queries[start : start + _BLOCK * 16]
        limits, _, right = index.range_search(block, CANDIDATE)
        limits = limits.astype(np.int64)
        left = np.repeat(np.arange(start, start + len(block)), limits[1:] - limits[:-1])
        later = (right > left) & (right >= begin)
        yield left[later], right[later]
